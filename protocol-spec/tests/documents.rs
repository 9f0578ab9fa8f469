//! SPEC.md and hearth.cddl say what the code does: every rule and limit of the code stands in them.

use std::{collections::BTreeSet, fs, io, path::Path};

use hearth_protocol::limits::*;

fn document(name: &str) -> io::Result<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
}

fn sources(folder: &Path, out: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(fs::read_to_string(&path)?);
        }
    }
    Ok(())
}

fn rules(text: &str) -> BTreeSet<&str> {
    text.split("[R-").skip(1).filter_map(|rest| rest.split_once(']')).map(|(number, _)| number).collect()
}

#[test]
fn every_rule_of_the_code_is_in_the_specification() {
    let spec = document("SPEC.md").unwrap();
    let mut code = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut code).unwrap();
    let code = code.concat();
    assert!(rules(&code).len() > 8);
    for rule in rules(&code) {
        assert!(spec.contains(&format!("- [R-{rule}] ")), "[R-{rule}] is in the code alone");
    }
    for rule in rules(&spec) {
        assert!(spec.matches(&format!("- [R-{rule}] ")).count() <= 1, "[R-{rule}] is stated twice");
    }
}

macro_rules! values {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), u64::try_from($name).unwrap())),*] };
}

#[test]
fn the_limits_are_the_codes() {
    let spec = document("SPEC.md").unwrap();
    let stated: Vec<(String, u64)> = spec
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((name.to_owned(), rest.split_once(" |")?.0.parse().ok()?))
        })
        .collect();
    let values = values![
        FRAME_SMALL,
        FRAME_LARGE,
        FRAME_OVERHEAD,
        PACKET_MAX,
        PART_BYTES,
        PARTS_MAX,
        OBJECT_MAX,
        CBOR_DEPTH,
        OP_MAX,
        OP_PREV_MAX,
        TEXT_MAX,
        ENVELOPE_MAX,
        CONTENT_MAX,
        CONTENT_PARTS_MAX,
        CONTENT_PART_DEPTH,
        EXTENSIONS_MAX,
        EXTENSION_NAME_MAX,
        EXTENSION_VALUE_MAX,
        TOPIC_ID_MAX,
        LANGUAGE_MAX,
        CONTENT_TYPE_MAX,
        EXTERNAL_TEXT_MAX,
        EXTERNAL_BYTES_MAX,
        SHARED_ENVELOPES_MAX,
        ENVELOPE_PARENTS_MAX,
        ACK_IDS_MAX,
        NAME_CHARS_MAX,
        NAME_BYTES_MAX,
        NAME_INPUT_MAX,
        FILE_NAME_CHARS_MAX,
        CHARTER_MAX,
        REASON_MAX,
        CONTENT_NOTE_CHARS_MAX,
        RELAYS_MAX,
        ADDRESS_MAX,
        BOOTSTRAP_MAX,
        SUCCESSORS_MAX,
        LAST_SEEN_MAX,
        DEVICES_MAX,
        DEVICES_GONE_MAX,
        INVITE_USES_MAX,
        MEMBERS_MAX,
        OPERATOR_MAX,
        ENTRY_RELAYS_MAX,
        CARD_BYTES,
        PEER_ID_MAX,
        CARD_ADDRESSES_MAX,
        RECORD_MAX,
        SLOT_BODY_MAX,
        DOOR_MAX,
        DOOR_OPS_MAX,
        DOOR_FRAMES_MAX,
        DOOR_SIGNATURES_MAX,
        KNOCK_BYTES,
        DOOR_ELDERS_MAX,
        CHAIN_MAX,
        CONTEXT_MAX,
        SLOT_KEEPS,
        MAILBOX_FRAME_MAX,
        REQUEST_MAX,
        POW_BITS_MAX,
        GET_MAX,
        SYNC_FRAME_MAX,
        SYNC_WANT_MAX,
        SYNC_ITEMS_MAX,
        LINK_MAX,
        LIGHT_NODES_MAX,
        TWINS_MAX,
    ];
    assert_eq!(stated, values.map(|(name, value)| (name.to_owned(), value)));
    let declared = document("src/limits.rs").unwrap().matches("pub const ").count();
    assert_eq!(declared, values.len(), "a limit is missing here");
}

/// Names used in the CDDL are defined there, and what is defined is used or is a type of its own.
#[test]
fn the_cddl_is_closed() {
    let cddl = document("hearth.cddl").unwrap();
    let code: Vec<&str> = cddl.lines().map(|line| line.split(" ;").next().unwrap_or_default()).collect();
    let code: Vec<&str> = code.into_iter().filter(|line| !line.starts_with(';')).collect();
    let defined: BTreeSet<&str> =
        code.iter().filter_map(|line| line.split_once(" = ")).map(|(name, _)| name.trim()).collect();
    let words = code.iter().flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'));
    let types: BTreeSet<&str> = words.filter(|w| w.starts_with(|c: char| c.is_ascii_uppercase())).collect();
    let undefined: Vec<_> = types.difference(&defined).collect();
    assert!(undefined.is_empty(), "{undefined:?}");
    for name in ["SignedOp", "Control", "Packet", "AppMessage", "Content", "DoorBody", "Record", "Frame", "SyncMessage"]
    {
        assert!(defined.contains(name), "{name}");
    }
}
