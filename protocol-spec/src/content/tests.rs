use super::*;

const SALT: [u8; 16] = [7; 16];

fn round(content: &Content) -> Content {
    let bytes = content.encode();
    let back = Content::decode(&bytes).unwrap();
    assert_eq!(&back, content);
    assert_eq!(back.encode(), bytes);
    back
}

#[test]
fn what_people_do_reads_back() {
    let target = MessageId([1; 32]);
    let text = round(&Content::text(SALT, "hello *there*").topic(b"t1").reply_to(target).expires_relative(60));
    assert_eq!(text.as_text(), Some("hello *there*"));
    assert_eq!(text.expires, Some(Expiration { relative: true, time: 60 }));
    assert!(!text.is_retraction() && text.as_reaction().is_none());

    let edit = round(&Content::edit(SALT, target, "hello"));
    assert_eq!((edit.replaces, edit.as_text()), (Some(target), Some("hello")));

    let reaction = round(&Content::reaction(SALT, target, "me_too"));
    assert_eq!((reaction.as_reaction(), reaction.as_text()), (Some("me_too"), None));

    let back = round(&Content::unreaction(SALT, target, MessageId([2; 32])));
    assert!(back.is_retraction() && back.in_reply_to == Some(target));
    assert!(round(&Content::retraction(SALT, target)).is_retraction());
    assert!(!Content::new(SALT, Part::null(disposition::RENDER)).is_retraction());
}

#[test]
fn our_extensions_read_back_and_bad_ones_are_ignored() {
    let content = round(&Content::text(SALT, "x").note("illness").library(true));
    assert_eq!((content.content_note(), content.library_consent()), (Some("illness"), true));
    let long = "ä".repeat(CONTENT_NOTE_CHARS_MAX + 1);
    assert_eq!(Content::text(SALT, "x").note(&long).content_note(), None);
    let wrong = Content::text(SALT, "x").extension(EXT_NOTE, Value::uint(1)).extension(EXT_LIBRARY, Value::text("yes"));
    assert_eq!((wrong.content_note(), wrong.library_consent()), (None, false));
}

#[test]
fn what_is_unknown_is_kept_byte_for_byte() {
    // {5: [1.5, {"a": h'00'}], -3: tag 1(0), "hearth.later": undefined}, disposition 200, cardinality 9 with two fields
    let hex = "875007070707070707070707070707070707f640f6f6a30582f93e00a161614100\
               22c1006c6865617274682e6c61746572f78518c862656e09a10102f5";
    let bytes = data_encoding::HEXLOWER.decode(hex.replace(char::is_whitespace, "").as_bytes()).unwrap();
    let content = Content::decode(&bytes).unwrap();
    assert_eq!(content.body.disposition, 200);
    assert!(matches!(&content.body.kind, PartKind::Unknown { cardinality: 9, fields } if fields.len() == 2));
    assert_eq!(content.extensions.0.keys().next(), Some(&Key::Uint(5)));
    assert_eq!(content.encode(), bytes);
}

#[test]
fn keys_stand_in_the_order_of_their_encodings() {
    let names = [Key::Uint(1), Key::Uint(u64::MAX), Key::Negative(0), Key::Negative(u64::MAX)];
    let texts = ["z", "aa", &"b".repeat(255)].map(Key::text);
    let encodings: Vec<_> = names.iter().chain(&texts).map(cbor::to_vec).collect();
    assert!(encodings.is_sorted());
    assert!(names.iter().chain(&texts).is_sorted());
    let mut content = Content::text(SALT, "x");
    content.extensions.0 = names.into_iter().chain(texts).map(|key| (key, Value::bool(false))).collect();
    round(&content);
}

#[test]
fn limits_hold_at_their_edge() {
    use crate::limits::*;
    let with = |extensions: usize, value: usize| {
        let mut content = Content::text(SALT, "x");
        (0..extensions).for_each(|i| content.extensions.set(&format!("x{i:02}"), Value::bytes(&vec![0; value])));
        content.encode()
    };
    assert!(Content::decode(&with(EXTENSIONS_MAX, 0)).is_ok());
    assert!(Content::decode(&with(EXTENSIONS_MAX + 1, 0)).is_err());
    assert!(Content::decode(&with(1, EXTENSION_VALUE_MAX - 3)).is_ok());
    assert!(Content::decode(&with(1, EXTENSION_VALUE_MAX - 2)).is_err());

    let multi = |parts| Part {
        disposition: disposition::RENDER,
        language: String::new(),
        kind: PartKind::Multi { semantics: PartSemantics::ProcessAll, parts },
    };
    let wide = |n| Content::new(SALT, multi(vec![Part::null(disposition::RENDER); n])).encode();
    assert!(Content::decode(&wide(CONTENT_PARTS_MAX - 1)).is_ok());
    assert!(Content::decode(&wide(CONTENT_PARTS_MAX)).is_err());
    assert!(Content::decode(&wide(1)).is_err());
    let deep = |n| {
        let leaf = Part::null(disposition::RENDER);
        Content::new(SALT, (0..n).fold(leaf.clone(), |part, _| multi(vec![part, leaf.clone()]))).encode()
    };
    assert!(Content::decode(&deep(CONTENT_PART_DEPTH)).is_ok());
    assert!(Content::decode(&deep(CONTENT_PART_DEPTH + 1)).is_err());

    assert!(Content::decode(&Content::text(SALT, &"a".repeat(TEXT_MAX)).encode()).is_ok());
    let too_long = Content::text(SALT, &"a".repeat(CONTENT_MAX)).encode();
    assert_eq!(Content::decode(&too_long), Err(DecodeError::TooLong { limit: CONTENT_MAX }));
    assert!(Content::decode(&Content::text(SALT, "x").topic(&[0; TOPIC_ID_MAX + 1]).encode()).is_err());
}

#[test]
fn another_encoding_of_a_content_is_refused() {
    let bytes = Content::text(SALT, "x").extension("a", Value::bool(true)).extension("b", Value::bool(true)).encode();
    assert!(Content::decode(&bytes).is_ok());
    let swapped = data_encoding::HEXLOWER.encode(&bytes).replace("6161f56162f5", "6162f56161f5");
    let swapped = data_encoding::HEXLOWER.decode(swapped.as_bytes()).unwrap();
    assert_ne!(swapped, bytes);
    assert_eq!(Content::decode(&swapped), Err(DecodeError::NotDeterministic));
    let doubled = data_encoding::HEXLOWER.encode(&bytes).replace("6161f56162f5", "6161f56161f5");
    let doubled = data_encoding::HEXLOWER.decode(doubled.as_bytes()).unwrap();
    assert_eq!(Content::decode(&doubled), Err(DecodeError::NotDeterministic));
}

#[test]
fn ids_cover_sender_room_and_bytes() {
    let content = Content::text(SALT, "x");
    let bytes = content.encode();
    let id = content.message_id(&bytes, &PersonaId([1; 32]), &GroupId([2; 32]));
    assert_eq!(id.0[0], 1);
    assert_ne!(id, content.message_id(&bytes, &PersonaId([3; 32]), &GroupId([2; 32])));
    assert_ne!(id, content.message_id(&bytes, &PersonaId([1; 32]), &GroupId([3; 32])));
    let other = Content::text(SALT, "y");
    assert_ne!(id, other.message_id(&other.encode(), &PersonaId([1; 32]), &GroupId([2; 32])));
}
