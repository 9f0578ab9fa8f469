//! The walls of the house: who may name what. A word in a comment or a string counts for nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// Source files with their path from the workspace's root, comments and strings blanked.
fn sources() -> Result<Vec<(String, String)>> {
    let root = root();
    let mut out = Vec::new();
    let mut todo: Vec<PathBuf> =
        ["protocol-spec", "crypto", "node", "gui"].iter().map(|room| root.join(room).join("src")).collect();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("{}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(&root)?.display().to_string();
                out.push((name, code_only(&fs::read_to_string(&path)?)));
            }
        }
    }
    assert!(out.len() > 30, "only {} files were found", out.len());
    Ok(out)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Blanks comments and the inside of strings; lines stay lines.
fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(hashes) = raw_string(rest) {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = hashes + 2;
            rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len())
        } else if next == '"' {
            string_end(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with("'\\\"'") || rest.starts_with("'\\''") {
            4
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
            continue;
        };
        out.extend(rest[..skip].chars().filter(|&c| c == '\n'));
        out.push(' ');
        rest = &rest[skip..];
    }
    out
}

/// How many `#` a raw string that begins here has.
fn raw_string(rest: &str) -> Option<usize> {
    let tail = rest.strip_prefix('r')?;
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    tail[hashes..].starts_with('"').then_some(hashes)
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Whether the path `words` (`a::b`) is named in this code.
fn names(code: &str, words: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(words).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + words.len()..].chars().next();
        !before.is_some_and(word) && !after.is_some_and(word)
    })
}

fn only_in(word: &str, rooms: &[&str]) -> Result<()> {
    let outside: Vec<String> = sources()?
        .into_iter()
        .filter(|(path, code)| names(code, word) && !rooms.iter().any(|room| path.starts_with(room)))
        .map(|(path, _)| path)
        .collect();
    assert_eq!(outside, Vec::<String>::new(), "{word} belongs to {rooms:?}");
    Ok(())
}

fn never_in(room: &[&str], words: &[&str]) -> Result<()> {
    for (path, code) in sources()? {
        if room.iter().any(|room| path.starts_with(room)) {
            for word in words {
                assert!(!names(&code, word), "{path} names {word}");
            }
        }
    }
    Ok(())
}

#[test]
fn libp2p_stays_in_net_and_relay() -> Result<()> {
    for word in ["libp2p", "libp2p_stream"] {
        only_in(word, &["node/src/net", "node/src/relay"])?;
    }
    Ok(())
}

#[test]
fn sled_stays_in_store_and_relay() -> Result<()> {
    only_in("sled", &["node/src/store", "node/src/relay"])
}

#[test]
fn openmls_stays_in_crypto() -> Result<()> {
    for word in ["openmls", "openmls_traits", "openmls_rust_crypto"] {
        only_in(word, &["crypto/src"])?;
    }
    Ok(())
}

#[test]
fn egui_stays_in_the_window() -> Result<()> {
    for word in ["egui", "eframe"] {
        only_in(word, &["gui/src"])?;
    }
    Ok(())
}

#[test]
fn tokio_stays_in_the_node() -> Result<()> {
    only_in("tokio", &["node/src", "gui/src"])
}

/// The calling contract of the pure rooms: everything they need is handed to them.
#[test]
fn the_pure_rooms_have_no_clock_socket_disk_or_async() -> Result<()> {
    let pure = ["protocol-spec/src", "crypto/src", "node/src/engine"];
    never_in(
        &pure,
        &[
            "tokio",
            "SystemTime::now",
            "Instant::now",
            "Timestamp::now",
            "Zoned::now",
            "std::fs",
            "std::net",
            "File::open",
        ],
    )?;
    never_in(&pure, &["async fn", "thread::spawn", "thread::sleep"])?;
    never_in(&["node/src/app"], &["std::fs", "std::net", "SystemTime::now", "Instant::now", "Timestamp::now"])
}

/// The wall clock has one door, so that a test can stand in it.
#[test]
fn the_wall_clock_is_read_in_one_place() -> Result<()> {
    for word in ["SystemTime::now", "Timestamp::now", "Zoned::now"] {
        only_in(word, &["node/src/clock.rs", "node/src/relay", "gui/src"])?;
    }
    Ok(())
}

#[test]
fn dependencies_point_one_way() -> Result<()> {
    never_in(&["protocol-spec/src"], &["hearth_crypto", "hearth_node", "hearth"])?;
    never_in(&["crypto/src"], &["hearth_node", "hearth"])?;
    never_in(&["node/src"], &["hearth"])?;
    never_in(&["gui/src"], &["hearth_crypto"])
}

#[test]
fn no_file_is_called_mod_and_none_is_a_monster() -> Result<()> {
    for (path, code) in sources()? {
        assert!(!path.ends_with("/mod.rs"), "{path}");
        assert!(code.lines().count() <= 900, "{path} is too long to be understood");
    }
    Ok(())
}

#[test]
fn the_scanner_itself_sees_code_and_nothing_else() {
    let text =
        "use sled::Db; // tokio\n/* libp2p */ let a = \"egui \\\" eframe\"; let b = r#\"openmls\"#; let c = '\"'; x";
    let code = code_only(text);
    assert!(names(&code, "sled") && names(&code, "x"));
    for word in ["tokio", "libp2p", "egui", "eframe", "openmls"] {
        assert!(!names(&code, word), "{word}");
    }
    assert!(!names("my_sled::x; sledge", "sled"));
    assert!(names("std::time::SystemTime::now()", "SystemTime::now"));
}
