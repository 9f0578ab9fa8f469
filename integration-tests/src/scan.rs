//! Searching bytes for secrets in every form in which they might have been written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// A form of writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// Which secret, by its place in the list: a secret never appears in a report.
    pub secret: usize,
    /// How it is written.
    pub encoding: &'static str,
    /// What to look for.
    pub bytes: Vec<u8>,
}

/// A find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Find {
    /// Where.
    pub file: PathBuf,
    /// Which secret.
    pub secret: usize,
    /// How it is written.
    pub encoding: &'static str,
}

/// Every form of every secret: UTF-8, UTF-16 of both orders, hex of both cases, and Base64 of both alphabets at each
/// of the three places where a secret may begin.
#[must_use]
pub fn forms(secrets: &[String]) -> Vec<Form> {
    let mut all = Vec::new();
    for (secret, text) in secrets.iter().enumerate() {
        let mut add = |encoding, bytes: Vec<u8>| all.push(Form { secret, encoding, bytes });
        let raw = text.as_bytes();
        add("utf-8", raw.to_vec());
        add("utf-16le", text.encode_utf16().flat_map(u16::to_le_bytes).collect());
        add("utf-16be", text.encode_utf16().flat_map(u16::to_be_bytes).collect());
        add("hex", HEXLOWER.encode(raw).into_bytes());
        add("hex", HEXUPPER.encode(raw).into_bytes());
        for skip in 0..3 {
            // Whole groups of three only: what stands before and after the secret changes the rest.
            let Some(rest) = raw.get(skip..) else { continue };
            let Some(groups) = rest.get(..rest.len() - rest.len() % 3).filter(|groups| groups.len() >= 6) else {
                continue;
            };
            add("base64", BASE64_NOPAD.encode(groups).into_bytes());
            add("base64url", BASE64URL_NOPAD.encode(groups).into_bytes());
        }
    }
    all.sort_by(|a, b| (a.secret, &a.bytes).cmp(&(b.secret, &b.bytes)));
    all.dedup_by(|a, b| a.secret == b.secret && a.bytes == b.bytes);
    all
}

/// Which forms occur in these bytes.
#[must_use]
pub fn search<'a>(bytes: &[u8], forms: &'a [Form]) -> Vec<&'a Form> {
    // One pass: forms that begin with the pair of bytes at each place.
    let mut by_pair = vec![Vec::new(); 1 << 16];
    for form in forms {
        if let [first, second, ..] = form.bytes[..]
            && let Some(list) = by_pair.get_mut(usize::from(first) << 8 | usize::from(second))
        {
            list.push(form);
        }
    }
    let mut found: Vec<&Form> = Vec::new();
    for (at, pair) in bytes.windows(2).enumerate() {
        let [first, second] = pair else { continue };
        let Some(list) = by_pair.get(usize::from(*first) << 8 | usize::from(*second)) else { continue };
        for form in list {
            if bytes.get(at..).is_some_and(|rest| rest.starts_with(&form.bytes)) && !found.contains(form) {
                found.push(form);
            }
        }
    }
    found
}

/// Searches every file below a directory, names included. Returns what was found and how many files were read.
///
/// # Errors
/// When a file cannot be read.
pub fn search_files(dir: &Path, forms: &[Form]) -> Result<(Vec<Find>, usize)> {
    let (mut finds, mut files, mut todo) = (Vec::new(), 0, vec![dir.to_owned()]);
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).with_context(|| format!("{}", dir.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
                continue;
            }
            files += 1;
            let mut bytes = fs::read(&path).with_context(|| format!("{}", path.display()))?;
            bytes.extend(path.to_string_lossy().as_bytes());
            let found = search(&bytes, forms);
            finds.extend(found.iter().map(|form| Find {
                file: path.clone(),
                secret: form.secret,
                encoding: form.encoding,
            }));
        }
    }
    Ok((finds, files))
}
