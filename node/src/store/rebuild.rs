//! sled's files, written anew: it never shrinks them by itself.
//!
//! `db.new` is filled and synced; `db` becomes `db.old`; `db.new` becomes `db`; `db.old` goes. [`recover`] finishes or
//! undoes what a crash left: without `db` the old files come back, with `db` everything beside it is superfluous.

use std::{fs, io, path::Path};

use super::{StoreError, files, scan};

/// Rows per batch while copying.
const BATCH: usize = 256;

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Throws all of sled's files away.
pub(super) fn clear(home: &Path) -> Result<(), StoreError> {
    for name in ["db", "db.new", "db.old"] {
        remove(&home.join(name))?;
    }
    Ok(())
}

/// Before sled is opened: exactly one folder remains.
pub(super) fn recover(home: &Path) -> Result<(), StoreError> {
    let (db, old) = (home.join("db"), home.join("db.old"));
    if !db.exists() && old.exists() {
        fs::rename(&old, &db)?;
        files::sync_dir(home)?;
    }
    remove(&old)?;
    Ok(remove(&home.join("db.new"))?)
}

/// Copies every row as it is sealed, and waits for the disk.
pub(super) fn copy(home: &Path, from: &sled::Db) -> Result<(), StoreError> {
    let folder = home.join("db.new");
    remove(&folder)?;
    let to = scan::open_sled(&folder)?;
    let mut batch = sled::Batch::default();
    for (n, item) in (1..).zip(from.iter()) {
        let (place, sealed) = item?;
        batch.insert(place, sealed);
        if n % BATCH == 0 {
            to.apply_batch(std::mem::take(&mut batch))?;
        }
    }
    to.apply_batch(batch)?;
    to.flush()?;
    files::open_private(&folder.join("db"), false)?.sync_all()?;
    drop(to);
    // Once more: closing may have written.
    files::open_private(&folder.join("db"), false)?.sync_all()?;
    Ok(files::sync_dir(&folder)?)
}

/// Puts the copy in place. Both must be closed.
pub(super) fn swap(home: &Path) -> Result<(), StoreError> {
    let (db, old, fresh) = (home.join("db"), home.join("db.old"), home.join("db.new"));
    remove(&old)?;
    fs::rename(&db, &old)?;
    fs::rename(&fresh, &db)?;
    files::sync_dir(home)?;
    Ok(remove(&old)?)
}
