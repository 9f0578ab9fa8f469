//! The draft's own examples of MIMI content, where a copy of them lies beside the workspace.

use std::path::{Path, PathBuf};

use hearth_protocol::content::{Content, Key, Value, message_id};

/// The draft's own examples, where a copy of them lies beside the workspace or under `HEARTH_SHARED`.
#[test]
fn the_drafts_examples_have_their_ids() {
    let Some(folder) = examples() else {
        println!("skipped: no MIMI examples; set HEARTH_SHARED to the folder that holds data/mimi");
        return;
    };
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "cbor") {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let notes = std::fs::read_to_string(path.with_extension("edn")).unwrap();
        let content = Content::decode(&bytes).unwrap();
        assert_eq!(content.encode(), bytes, "{}", path.display());
        let uri = |n| content.extensions.0.get(&Key::Uint(n)).and_then(Value::as_text).unwrap();
        let id = message_id(uri(1), uri(2), &bytes, &content.salt);
        assert_eq!(id.to_hex(), stated_id(&notes), "{}", path.display());
        seen += 1;
    }
    println!("{seen} MIMI examples checked");
    assert!(seen > 0);
}

fn examples() -> Option<PathBuf> {
    let below = |root: &Path| Some(root.join("data/mimi")).filter(|folder| folder.is_dir());
    if let Some(root) = std::env::var_os("HEARTH_SHARED") {
        return below(Path::new(&root));
    }
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().find_map(|up| below(&up.join("shared")))
}

/// The first 64 hexadecimal digits between quotes: the id in the note's head comment.
fn stated_id(notes: &str) -> String {
    let quoted = notes.split('\'').nth(1).unwrap_or_default();
    quoted.chars().filter(char::is_ascii_hexdigit).collect()
}
