//! Bad input 23: whatever happens to the files, the store says "damaged" or has everything. Never silently less.

use std::path::{Path, PathBuf};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use super::*;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A home with history of several buckets, overwritten and deleted rows, and one row per batch at the end.
fn filled() -> (tempfile::TempDir, RingKey, Vec<Row>) {
    let (home, key, mut store) = fresh();
    for n in 0..40_u8 {
        let b = bucket(n % 2, [None, Some(50)][usize::from(n % 4 / 2)]);
        store
            .commit(&[
                put(b, Table::Envelope, &[n], &[n; 700]),
                put(b, Table::Node, b"ratchet", &[n; 5_000]),
                delete(b, Table::Envelope, &[n.wrapping_sub(8)]),
            ])
            .unwrap();
    }
    let rows = sorted(store.load_all().unwrap());
    store.close();
    (home, key, rows)
}

/// What came of opening: `None` for damage, else the rows.
fn outcome(home: &Path, key: &RingKey) -> Option<Vec<Row>> {
    match Store::open_with(home, key.clone()) {
        Err(StoreError::Damaged) => None,
        Err(e) => panic!("an error that is not damage: {e}"),
        Ok(mut store) => {
            let rows = sorted(store.load_all().unwrap());
            let plausible =
                |row: &Row| [700, 5_000].contains(&row.value.len()) && row.value.iter().all(|b| *b == row.value[0]);
            assert!(rows.iter().all(plausible), "a row that was never written");
            if store.is_damaged() {
                let write = put(bucket(1, None), Table::Op, b"k", b"v");
                assert_eq!(store.commit(&[write]).unwrap_err(), StoreError::Damaged);
                assert_eq!(store.wipe(true).unwrap_err(), StoreError::Damaged);
                assert_eq!(store.expire(Day(90_000), true).unwrap_err(), StoreError::Damaged);
                assert_eq!(store.rebuild().unwrap_err(), StoreError::Damaged);
                return None;
            }
            Some(rows)
        }
    }
}

/// Applies each change to a copy of the home and counts how many gave damage.
fn try_all(changes: usize, mut change: impl FnMut(usize, &Path)) -> usize {
    let (home, key, full) = filled();
    assert!(full.len() > 10);
    let mut damaged = 0;
    for n in 0..changes {
        let copied = tempfile::tempdir().unwrap();
        copy(home.path(), copied.path());
        change(n, copied.path());
        match outcome(copied.path(), &key) {
            None => damaged += 1,
            Some(rows) => assert_eq!(rows, full, "change {n} lost rows silently"),
        }
    }
    assert_eq!(outcome(home.path(), &key), Some(full), "control: unchanged, it is whole");
    damaged
}

fn files() -> [&'static str; 4] {
    ["db/db", "anchor", "ring", "db/conf"]
}

/// Mostly sled's log, and there mostly the part that holds something.
fn pick(home: &Path, random: &mut ChaCha8Rng) -> (PathBuf, Vec<u8>, usize) {
    let name = if random.next_u32().is_multiple_of(10) { files()[random.next_u32() as usize % 4] } else { "db/db" };
    let path = home.join(name);
    let bytes = fs::read(&path).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    let at = random.next_u32() as usize % used;
    (path, bytes, at)
}

#[test]
fn two_hundred_flipped_bits() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let damaged = try_all(200, |_, home| {
        let (path, mut bytes, at) = pick(home, &mut random);
        bytes[at] ^= 1 << (random.next_u32() % 8);
        fs::write(path, bytes).unwrap();
    });
    assert!(damaged > 50, "control: {damaged} of 200 flips were noticed at all");
}

#[test]
fn twenty_truncations() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let damaged = try_all(20, |_, home| {
        let (path, bytes, at) = pick(home, &mut random);
        fs::write(path, &bytes[..at]).unwrap();
    });
    assert!(damaged > 10, "{damaged}");
}

#[test]
fn ten_swapped_or_missing_files() {
    let (other, _, _) = filled();
    let damaged = try_all(10, |n, home| match n {
        0 => fs::rename(home.join("anchor"), home.join("ring")).unwrap(),
        1 => drop(fs::copy(home.join("ring"), home.join("anchor")).unwrap()),
        2 => fs::remove_dir_all(home.join("db")).unwrap(),
        3 => fs::remove_file(home.join("db/db")).unwrap(),
        4 => fs::remove_file(home.join("anchor")).unwrap(),
        5 => fs::remove_file(home.join("ring")).unwrap(),
        6 => fs::write(home.join("db/db"), b"").unwrap(),
        _ => {
            let name = ["db/db", "anchor", "ring"][n - 7];
            fs::copy(other.path().join(name), home.join(name)).unwrap();
        }
    });
    assert_eq!(damaged, 10);
}

#[test]
fn an_older_copy_of_the_rows_is_noticed() {
    let (home, key, mut store) = fresh();
    let b = bucket(1, None);
    store.commit(&[put(b, Table::Op, b"1", b"first")]).unwrap();
    store.close();
    let old = tempfile::tempdir().unwrap();
    copy(home.path(), old.path());
    let mut store = Store::open_with(home.path(), key.clone()).unwrap();
    store.commit(&[put(b, Table::Op, b"2", b"second")]).unwrap();
    store.close();

    fs::remove_dir_all(home.path().join("db")).unwrap();
    copy(&old.path().join("db"), &home.path().join("db"));
    for _ in 0..2 {
        let mut store = Store::open_with(home.path(), key.clone()).unwrap();
        assert!(store.is_damaged());
        let rows = store.load_all().unwrap();
        assert_eq!((rows.len(), &rows[0].value[..]), (1, &b"first"[..]), "what is there can still be read");
    }
}

#[test]
fn a_row_deleted_replaced_or_rolled_back_inside_sled_is_noticed() {
    let (home, key, mut store) = fresh();
    let b = bucket(1, None);
    store.commit(&[put(b, Table::Op, b"1", b"first"), put(b, Table::Op, b"2", b"second")]).unwrap();
    let before = pieces(&store);
    store.commit(&[put(b, Table::Op, b"1", b"changed")]).unwrap();
    let after = pieces(&store);
    store.close();
    let changed: Vec<_> = before.iter().filter(|piece| !after.contains(piece)).collect();
    assert_eq!(changed.len(), 3, "the row, its tally and the head");

    let all = after.iter().map(|(place, _)| (place, None)).chain(changed.iter().map(|(p, old)| (p, Some(old))));
    for (place, old) in all {
        let copied = tempfile::tempdir().unwrap();
        copy(home.path(), copied.path());
        let db = scan::open_sled(&copied.path().join("db")).unwrap();
        match old {
            None => drop(db.remove(place).unwrap()),
            Some(old) => drop(db.insert(place, old.as_slice()).unwrap()),
        }
        db.flush().unwrap();
        drop(db);
        assert!(Store::open_with(copied.path(), key.clone()).unwrap().is_damaged());
    }
    // Row, tally and head together are the state before, which only the anchor tells from the present one.
    let db = scan::open_sled(&home.path().join("db")).unwrap();
    changed.iter().for_each(|(place, old)| drop(db.insert(place, old.as_slice()).unwrap()));
    db.flush().unwrap();
    drop(db);
    assert!(Store::open_with(home.path(), key).unwrap().is_damaged());
}
