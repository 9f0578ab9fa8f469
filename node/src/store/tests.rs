use std::{collections::BTreeMap, fs};

use hearth_protocol::{id::GroupId, time::Day};

use super::*;

mod crash;
mod damage;

fn bucket(group: u8, expires: Option<u64>) -> Bucket {
    Bucket { group: Some(GroupId([group; 32])), expires: expires.map(Day) }
}

fn put(bucket: Bucket, table: Table, key: &[u8], value: &[u8]) -> Write {
    Write { bucket, table, key: key.to_vec(), value: Some(value.to_vec()) }
}

fn delete(bucket: Bucket, table: Table, key: &[u8]) -> Write {
    Write { bucket, table, key: key.to_vec(), value: None }
}

/// Rows in an order of their own.
fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by(|a, b| (a.bucket, a.table, &a.key).cmp(&(b.bucket, b.table, &b.key)));
    rows
}

fn fresh() -> (tempfile::TempDir, RingKey, Store) {
    let home = tempfile::tempdir().unwrap();
    let key = RingKey::random().unwrap();
    let store = Store::create_with(home.path(), key.clone()).unwrap();
    (home, key, store)
}

fn reopen(home: &tempfile::TempDir, key: &RingKey) -> Vec<Row> {
    let mut store = Store::open_with(home.path(), key.clone()).unwrap();
    assert!(!store.is_damaged());
    sorted(store.load_all().unwrap())
}

#[test]
fn rows_come_back_as_they_were_last_written() {
    let (home, key, mut store) = fresh();
    let (a, b) = (bucket(1, Some(30)), bucket(2, None));
    let whole = Bucket { group: None, expires: None };
    let big: Vec<u8> = (0..150_000_u32).map(|n| (n % 251) as u8).collect();
    store.commit(&[put(a, Table::Envelope, b"k", b"one"), put(b, Table::Node, b"k", &big)]).unwrap();
    store.commit(&[put(a, Table::Envelope, b"k", b"two"), put(a, Table::Op, b"k", b"op")]).unwrap();
    store.commit(&[put(b, Table::Node, b"k", b"small now"), put(whole, Table::Setting, b"", b"")]).unwrap();
    store
        .commit(&[put(b, Table::Draft, b"d", &big), delete(a, Table::Op, b"k"), delete(a, Table::Frame, b"none")])
        .unwrap();
    // Within a batch the last write counts.
    store
        .commit(&[put(a, Table::State, b"s", b"1"), delete(a, Table::State, b"s"), put(a, Table::State, b"s", b"2")])
        .unwrap();
    store.commit(&[]).unwrap();
    let row = |bucket, table, key: &[u8], value: &[u8]| Row { bucket, table, key: key.to_vec(), value: value.to_vec() };
    let expected = sorted(vec![
        row(a, Table::Envelope, b"k", b"two"),
        row(b, Table::Node, b"k", b"small now"),
        row(whole, Table::Setting, b"", b""),
        row(b, Table::Draft, b"d", &big),
        row(a, Table::State, b"s", b"2"),
    ]);
    assert_eq!(sorted(store.load_all().unwrap()), expected);
    drop(store);
    assert_eq!(reopen(&home, &key), expected);
    assert_eq!(fs::read_dir(home.path().join("db/blobs")).unwrap().count(), 0, "sled syncs no blob");
}

#[test]
fn random_batches_match_a_map() {
    use rand_chacha::{
        ChaCha8Rng,
        rand_core::{Rng, SeedableRng},
    };
    let (home, key, mut store) = fresh();
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut model: BTreeMap<(Bucket, Table, Vec<u8>), Vec<u8>> = BTreeMap::new();
    for round in 0..60_u32 {
        let mut batch = Vec::new();
        for _ in 0..random.next_u32() % 20 {
            let bucket = bucket((random.next_u32() % 2) as u8, [None, Some(9)][(random.next_u32() % 2) as usize]);
            let table = [Table::Envelope, Table::Node, Table::State][(random.next_u32() % 3) as usize];
            let name = vec![(random.next_u32() % 12) as u8];
            if random.next_u32().is_multiple_of(4) {
                batch.push(delete(bucket, table, &name));
                model.remove(&(bucket, table, name));
            } else {
                let value = vec![random.next_u32() as u8; (random.next_u32() % 9_000) as usize];
                batch.push(put(bucket, table, &name, &value));
                model.insert((bucket, table, name), value);
            }
        }
        store.commit(&batch).unwrap();
        match round % 20 {
            7 => drop(store.wipe(round % 40 == 7).unwrap()),
            13 => store.rebuild().unwrap(),
            19 => store.reopen().unwrap(),
            _ => {}
        }
        assert!(!store.is_damaged(), "round {round}");
    }
    let expected: Vec<Row> =
        model.into_iter().map(|((bucket, table, key), value)| Row { bucket, table, key, value }).collect();
    assert_eq!(sorted(store.load_all().unwrap()), expected);
    drop(store);
    assert_eq!(reopen(&home, &key), expected);
}

/// Whether the keys that are on the disk now open any of the sealed pieces saved earlier.
fn opens_any(home: &tempfile::TempDir, key: &RingKey, pieces: &[(Vec<u8>, Vec<u8>)]) -> bool {
    let ring = ring::Ring::open(home.path(), key).unwrap();
    pieces.iter().any(|(place, sealed)| {
        let header = rows::header(&ring.names, sealed).unwrap();
        ring.get(header.serial)
            .is_some_and(|(_, key)| rows::open_piece(key, place, header, sealed, &mut Vec::new()).is_some())
    })
}

fn pieces(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let db = &store.open.as_ref().unwrap().db;
    db.iter().map(|item| item.map(|(k, v)| (k.to_vec(), v.to_vec())).unwrap()).collect()
}

#[test]
fn an_expired_bucket_cannot_be_read_by_anyone() {
    let (home, key, mut store) = fresh();
    let (today, tomorrow, never) = (bucket(1, Some(10)), bucket(1, Some(11)), bucket(1, None));
    store.commit(&[put(today, Table::Envelope, b"a", b"goes")]).unwrap();
    let gone = pieces(&store);
    store.commit(&[put(tomorrow, Table::Envelope, b"b", b"stays"), put(never, Table::Op, b"c", b"stays")]).unwrap();
    assert_eq!(store.expire(Day(10), false).unwrap(), Expiry::Erased(0));
    assert!(opens_any(&home, &key, &gone), "control: it can be read while its key is there");
    assert_eq!(store.expire(Day(11), false).unwrap(), Expiry::Erased(1));
    assert!(!opens_any(&home, &key, &gone));
    assert_eq!(store.load_all().unwrap().len(), 2);
    drop(store);
    assert!(reopen(&home, &key).iter().all(|row| row.value == b"stays"));
}

/// Bad input 21: a clock ten years ahead, or a year behind, erases nothing.
#[test]
fn a_jumping_clock_erases_nothing() {
    let (_home, _key, mut store) = fresh();
    let day = 20_000;
    store.commit(&[put(bucket(1, Some(day + 90)), Table::Envelope, b"a", b"stays")]).unwrap();
    assert_eq!(store.expire(Day(day), false).unwrap(), Expiry::Erased(0));
    assert_eq!(store.expire(Day(day + 3_650), false).unwrap(), Expiry::ClockJumped);
    assert_eq!(store.expire(Day(day - 365), false).unwrap(), Expiry::Erased(0));
    assert_eq!(store.load_all().unwrap().len(), 1);
    assert_eq!(store.expire(Day(day + 3_650), true).unwrap(), Expiry::Erased(1), "a clock that ran is believed");
}

#[test]
fn what_was_overwritten_or_deleted_cannot_be_read_after_wiping() {
    let (home, key, mut store) = fresh();
    let b = bucket(1, None);
    store.commit(&[put(b, Table::Node, b"ratchet", b"old"), put(b, Table::Envelope, b"m", b"regret")]).unwrap();
    let old = pieces(&store);
    store
        .commit(&[
            put(b, Table::Node, b"ratchet", b"new"),
            put(b, Table::Node, b"tree", &[1; 9_000]),
            delete(b, Table::Envelope, b"m"),
        ])
        .unwrap();
    assert!(opens_any(&home, &key, &old), "control: deleting alone leaves it readable");
    assert_eq!(store.wipe(false).unwrap(), 2);
    assert!(!opens_any(&home, &key, &old));
    assert_eq!(store.wipe(true).unwrap(), 0, "nothing is left to wipe");
    drop(store);
    let values: Vec<_> = reopen(&home, &key).into_iter().map(|row| row.value).collect();
    assert_eq!(values, [b"new".to_vec(), vec![1; 9_000]]);
}

#[test]
fn a_crash_between_the_two_ring_writes_of_wiping_is_finished_at_open() {
    let (home, key, mut store) = fresh();
    let b = bucket(1, None);
    store.commit(&[put(b, Table::Node, b"k", b"old")]).unwrap();
    let old = pieces(&store);
    store.commit(&[put(b, Table::Node, b"k", b"new")]).unwrap();
    drop(store);
    // As after the first: a second key for the slot, no rows under it yet.
    let mut ring = ring::Ring::open(home.path(), &key).unwrap();
    ring.allocate(ring::Slot { bucket: b, table: Table::Node }).unwrap();
    ring.save(home.path(), &key).unwrap();
    assert_eq!(reopen(&home, &key)[0].value, b"new");
    assert!(!opens_any(&home, &key, &old));
    assert_eq!(reopen(&home, &key)[0].value, b"new");
}

#[test]
fn a_crash_between_erasing_a_key_and_its_rows_is_no_damage() {
    let (home, key, mut store) = fresh();
    store.commit(&[put(bucket(1, Some(3)), Table::Envelope, b"a", &[1; 9_000])]).unwrap();
    store.commit(&[put(bucket(1, None), Table::Op, b"b", b"stays")]).unwrap();
    drop(store);
    let mut ring = ring::Ring::open(home.path(), &key).unwrap();
    let (serial, _) = ring.entries().find(|(_, slot)| slot.table == Table::Envelope).unwrap();
    ring.forget(serial, true);
    ring.save(home.path(), &key).unwrap();
    for _ in 0..2 {
        let rows = reopen(&home, &key);
        assert_eq!((rows.len(), &rows[0].value[..]), (1, &b"stays"[..]));
    }
}

#[test]
fn rebuilding_shrinks_and_survives_a_crash_at_every_step() {
    let (home, key, mut store) = fresh();
    let b = bucket(1, None);
    for round in 0..20_u8 {
        let batch: Vec<Write> = (0..60_u8).map(|n| put(b, Table::Op, &[n], &[round; 3_000])).collect();
        store.commit(&batch).unwrap();
    }
    let (before, rows) = (store.store_bytes(), sorted(store.load_all().unwrap()));
    store.rebuild().unwrap();
    assert!(store.store_bytes() < before / 2, "{} of {before}", store.store_bytes());
    assert_eq!(sorted(store.load_all().unwrap()), rows);
    store.commit(&[put(b, Table::Setting, b"later", b"row")]).unwrap();
    drop(store);
    let rows = reopen(&home, &key);
    assert_eq!(rows.len(), 61);

    let at = |name: &str| home.path().join(name);
    // Half a copy beside the files.
    fs::create_dir(at("db.new")).unwrap();
    fs::write(at("db.new/db"), b"half").unwrap();
    assert_eq!(reopen(&home, &key), rows);
    // Between the renames.
    fs::rename(at("db"), at("db.old")).unwrap();
    fs::create_dir(at("db.new")).unwrap();
    assert_eq!(reopen(&home, &key), rows);
    // After them.
    fs::create_dir(at("db.old")).unwrap();
    assert_eq!(reopen(&home, &key), rows);
    assert!(!at("db.new").exists() && !at("db.old").exists());
}

#[test]
fn a_vault_is_made_once_and_opens_again() {
    let home = tempfile::tempdir().unwrap();
    let params = VaultParams::with_mib(64).unwrap();
    // A creation that died before the vault was written leaves nothing in the way.
    drop(Store::create_with(home.path(), RingKey::random().unwrap()).unwrap());
    assert_eq!(Store::unlock(home.path(), "p", params).unwrap_err(), VaultError::Missing.into());
    let mut store = Store::create(home.path(), "p", params).unwrap();
    store.commit(&[put(bucket(1, None), Table::Op, b"k", b"v")]).unwrap();
    store.close();
    assert_eq!(Store::create(home.path(), "q", params).unwrap_err(), VaultError::Exists.into());
    assert_eq!(Store::unlock(home.path(), "q", params).unwrap_err(), VaultError::BadPassphrase.into());
    assert_eq!(Store::unlock(home.path(), "p", params).unwrap().load_all().unwrap().len(), 1);
}

/// Every form in which a text could lie in a file by accident.
fn forms(text: &[u8]) -> Vec<Vec<u8>> {
    use data_encoding::{BASE64_NOPAD, HEXLOWER, HEXUPPER};
    let mut forms = vec![
        text.to_vec(),
        text.iter().flat_map(|b| [*b, 0]).collect(),
        text.iter().flat_map(|b| [0, *b]).collect(),
        HEXLOWER.encode(text).into_bytes(),
        HEXUPPER.encode(text).into_bytes(),
        text.iter().rev().copied().collect(),
    ];
    for shift in 0..3 {
        let shifted = [&[0; 3][..shift], text].concat();
        let encoded = BASE64_NOPAD.encode(&shifted).into_bytes();
        forms.push(encoded[(shift * 8).div_ceil(6)..encoded.len() - 2].to_vec());
    }
    forms
}

fn found(home: &std::path::Path, text: &[u8]) -> bool {
    let mut files = vec![home.to_owned()];
    let mut content = Vec::new();
    while let Some(path) = files.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => files.extend(entries.map(|e| e.unwrap().path())),
            Err(_) => content.push(fs::read(path).unwrap()),
        }
    }
    let forms = forms(text);
    content.iter().any(|file| forms.iter().any(|form| file.windows(form.len()).any(|w| w == form)))
}

#[test]
fn no_file_holds_plaintext() {
    let home = tempfile::tempdir().unwrap();
    let params = VaultParams::with_mib(64).unwrap();
    let canaries: Vec<String> = (0..4).map(|n| format!("canary-{n}-{}", n * 7_919 + 104_729)).collect();
    let mut store = Store::create(home.path(), &canaries[0], params).unwrap();
    let b = bucket(0xc7, Some(77));
    store
        .commit(&[
            put(b, Table::Envelope, canaries[1].as_bytes(), canaries[2].as_bytes()),
            put(b, Table::Draft, b"d", canaries[3].repeat(900).as_bytes()),
        ])
        .unwrap();
    store.wipe(true).unwrap();
    store.close();
    for canary in &canaries {
        assert!(!found(home.path(), canary.as_bytes()));
    }
    assert!(!found(home.path(), &[0xc7; 32]), "group ids are no plaintext either");
    // Control: the search finds each form that it looks for.
    for form in forms(canaries[2].as_bytes()) {
        fs::write(home.path().join("control"), [&[1; 50][..], &form, &[2; 50]].concat()).unwrap();
        assert!(found(home.path(), canaries[2].as_bytes()));
    }
}

#[test]
fn errors_and_debug_name_no_one() {
    let write = put(bucket(1, None), Table::Op, b"secret key", b"secret value");
    assert!(!format!("{write:?}").contains("secret"));
    let (_home, _key, mut store) = fresh();
    let huge = put(bucket(1, None), Table::Op, b"k", &vec![0; VALUE_MAX + 1]);
    assert_eq!(store.commit(&[write.clone(), huge]).unwrap_err(), StoreError::TooLarge);
    assert!(store.load_all().unwrap().is_empty(), "nothing of a refused batch is written");
    store.commit(&[write]).unwrap();
    assert!(!format!("{store:?} {:?}", store.load_all().unwrap()).contains("secret"));
}
