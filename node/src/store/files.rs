//! Small files that are replaced as a whole: after a crash there is the old one or the new one, never a mixture.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

/// Opens for reading and writing, readable by this user alone; made if absent when `create` is set.
pub(super) fn open_private(path: &Path, create: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(create).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Makes a folder that only this user can enter; its parents too.
pub fn private_dir(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Makes renames and new names in a folder durable. Windows has no such call and needs none.
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// The whole file, refusing more than `max` bytes before reading them.
pub(super) fn read_bounded(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Where the new content lies until it takes the old one's place; a leftover of a crash is overwritten.
fn beside(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Puts `bytes` in the place of `path`: temporary file, fsync, rename, fsync of the folder. The old content is then
/// overwritten where it lay, since it may hold a key that was just erased; on a copy-on-write disk that is in vain.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = beside(path);
    let mut file = open_private(&fresh, true)?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    let old = open_private(path, false).ok().filter(sole_link);
    fs::rename(&fresh, path)?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))?;
    if let Some(old) = old {
        // The new file is in place: failing to overwrite the old one is no failure of the replacement.
        let _ = wipe(old);
    }
    Ok(())
}

/// A file with further names, as some backup programs make, is not ours to overwrite.
fn sole_link(file: &File) -> bool {
    #[cfg(unix)]
    {
        file.metadata().is_ok_and(|m| std::os::unix::fs::MetadataExt::nlink(&m) == 1)
    }
    #[cfg(not(unix))]
    {
        let _ = file;
        false
    }
}

fn wipe(mut file: File) -> io::Result<()> {
    let mut left = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    while left > 0 {
        let n = left.min(4_096);
        io::copy(&mut io::repeat(0).take(n), &mut file)?;
        left -= n;
    }
    file.sync_all()
}

/// Bytes of everything under `path`; what vanishes meanwhile counts as nothing.
pub(super) fn bytes_under(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return fs::metadata(path).map_or(0, |m| m.len()) };
    entries.flatten().map(|e| bytes_under(&e.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replacement_that_stopped_half_way_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        replace(&path, b"first").unwrap();
        // The process died while writing, then after fsync and before the rename.
        for half in [&b"sec"[..], b"second"] {
            fs::write(beside(&path), half).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"first");
        }
        // The next replacement is not disturbed by the leftover, even a longer one.
        fs::write(beside(&path), [7; 100]).unwrap();
        replace(&path, b"third").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        assert!(!beside(&path).exists());
    }

    #[cfg(unix)]
    #[test]
    fn the_old_content_is_overwritten_unless_it_has_another_name() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        replace(&path, b"old key").unwrap();
        let mut held = File::open(&path).unwrap();
        replace(&path, b"new key").unwrap();
        let mut seen = Vec::new();
        held.read_to_end(&mut seen).unwrap();
        assert_eq!(seen, [0; 7]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let backup = dir.path().join("backup");
        fs::hard_link(&path, &backup).unwrap();
        replace(&path, b"newer").unwrap();
        assert_eq!(fs::read(backup).unwrap(), b"new key");
    }

    #[test]
    fn a_file_longer_than_allowed_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        fs::write(&path, [0; 11]).unwrap();
        assert!(read_bounded(&path, 10).is_err());
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
    }
}
