//! Names that others chose, made safe to show: of people, groups and files.
//!
//! Senders clean before they sign, readers clean before they show. Validity of an op never depends on it:
//! tables of Unicode grow, and two versions of this crate must not disagree about who is a member.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use crate::limits::{FILE_NAME_CHARS_MAX, NAME_BYTES_MAX, NAME_CHARS_MAX, NAME_INPUT_MAX};

/// Combining marks that may stand on one base.
const MARKS_MAX: usize = 3;
/// Cleaning twice changes what cleaning once left only when marks that were cut let others compose.
const PASSES_MAX: usize = 8;

/// A name in NFC, in one line, without what hides or reorders: controls, bidirectional overrides and isolates,
/// invisible characters, more than three marks on one base. Runs of white space become one space.
/// `None` when nothing is left, or more than 64 characters or 256 bytes.
#[must_use]
pub fn clean(name: &str) -> Option<String> {
    let clean = settle(name)?;
    let fits = !clean.is_empty() && clean.len() <= NAME_BYTES_MAX && clean.chars().count() <= NAME_CHARS_MAX;
    fits.then_some(clean)
}

/// The last component of a suggested file name, cleaned, without leading dots and characters that file systems
/// give a meaning to; `file` when nothing is left. At most 128 characters, the end (with its extension) kept.
#[must_use]
pub fn file(suggested: &str) -> String {
    let base = suggested.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean: String = settle(base).unwrap_or_default();
    let plain: String = clean.chars().filter(|c| !"<>:\"|?*".contains(*c)).collect();
    let plain = plain.trim_start_matches(['.', ' ', '~', '-']).trim_end_matches(['.', ' ']);
    let skipped = plain.chars().count().saturating_sub(FILE_NAME_CHARS_MAX);
    let kept: String = plain.chars().skip(skipped).collect();
    let kept = kept.trim_start_matches(['.', ' ', '~', '-']);
    if kept.is_empty() { "file".to_owned() } else { kept.to_owned() }
}

fn settle(name: &str) -> Option<String> {
    if name.len() > NAME_INPUT_MAX {
        return None;
    }
    let mut current = pass(name);
    for _ in 0..PASSES_MAX {
        let next = pass(&current);
        if next == current {
            return Some(current);
        }
        current = next;
    }
    None
}

fn pass(name: &str) -> String {
    let mut out = String::new();
    let (mut marks, mut last, mut joiner) = (0, None::<char>, None::<char>);
    for c in name.nfc() {
        if c.is_whitespace() {
            if last.is_some_and(|l| l != ' ') {
                out.push(' ');
                last = Some(' ');
            }
            (marks, joiner) = (0, None);
        } else if is_joiner(c) {
            joiner = Some(c);
        } else if is_hidden(c) {
        } else if is_combining_mark(c) {
            if last.is_some_and(|l| l != ' ') && marks < MARKS_MAX {
                out.push(c);
                (marks, last) = (marks + 1, Some(c));
            }
            joiner = None;
        } else {
            let between_letters = c.is_alphabetic() && last.is_some_and(|l| l.is_alphabetic() || is_combining_mark(l));
            if let Some(joiner) = joiner.take().filter(|_| between_letters) {
                out.push(joiner);
            }
            out.push(c);
            (marks, last) = (0, Some(c));
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Zero width (non-)joiner: part of the spelling between letters of some scripts, invisible elsewhere.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_hides_or_reorders_is_gone() {
        for (input, expected) in [
            ("Mara", Some("Mara")),
            ("  Mara \n\t K. ", Some("Mara K.")),
            ("e\u{301}", Some("é")),
            ("admin\u{202e}nimda", Some("adminnimda")),
            ("\u{2066}Ali\u{2069}\u{200f}", Some("Ali")),
            ("Ma\u{200b}r\u{feff}a\u{ad}", Some("Mara")),
            ("\u{200d}a\u{200d} b\u{200c}", Some("a b")),
            ("می\u{200c}خواهم", Some("می\u{200c}خواهم")),
            ("\u{301}\u{302}a", Some("a")),
            ("a\0b\u{1b}[31m", Some("ab[31m")),
            ("\u{e0041}\u{3164}\u{2800}", None),
            (" \u{200b} ", None),
            ("", None),
        ] {
            assert_eq!(clean(input).as_deref(), expected, "{input:?}");
        }
    }

    #[test]
    fn ten_thousand_marks_become_three() {
        let clean = clean(&format!("a{}b", "\u{310}".repeat(10_000))).unwrap();
        assert_eq!(clean, "a\u{310}\u{310}\u{310}b");
        assert_eq!(super::clean(&"a".repeat(NAME_INPUT_MAX + 1)), None);
    }

    #[test]
    fn length_is_counted_after_cleaning() {
        assert!(clean(&"a\u{200b}".repeat(NAME_CHARS_MAX)).is_some());
        assert_eq!(clean(&"a".repeat(NAME_CHARS_MAX + 1)), None);
        assert!(clean(&"𝔸".repeat(NAME_CHARS_MAX)).is_some());
    }

    #[test]
    fn a_file_name_is_never_a_path() {
        for (input, expected) in [
            ("../../x", "x"),
            ("..\\..\\boot.ini", "boot.ini"),
            ("/etc/passwd", "passwd"),
            ("..", "file"),
            (".bashrc", "bashrc"),
            ("photo\u{202e}gpj.exe", "photogpj.exe"),
            ("a:b|c?.png", "abc.png"),
            ("dir/", "file"),
            ("-rf", "rf"),
        ] {
            assert_eq!(file(input), expected, "{input:?}");
        }
        let long = file(&format!("{}.png", "a".repeat(5_000)));
        assert!(long.ends_with(".png") && long.len() == FILE_NAME_CHARS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn cleaning_twice_changes_nothing(name in "[\\PC\u{300}-\u{320}\u{200b}-\u{200f}\u{202a}-\u{202e}  \n]{0,80}") {
            if let Some(once) = clean(&name) {
                prop_assert_eq!(clean(&once), Some(once.clone()));
                prop_assert!(!once.chars().any(|c| c.is_control() || is_hidden(c)));
                prop_assert!(once.len() <= NAME_BYTES_MAX);
            }
            prop_assert!(!file(&name).contains(['/', '\\']) && !file(&name).starts_with('.'));
        }
    }
}
