//! Processes that die, and disks that fill up. Each test starts itself again as the process that dies.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use super::*;

/// Set in the process that dies: its home.
const CHILD: &str = "HEARTH_TEST_STORE_CHILD";
/// The ring key of these tests: the parent opens what the child wrote.
const KEY_FILE: &str = "ring-key";

fn child_home() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

fn this_test(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([&format!("store::tests::crash::{name}"), "--exact", "--nocapture", "--test-threads=1"]);
    command
}

fn key_of(home: &std::path::Path) -> RingKey {
    let file = fs::read(home.join(KEY_FILE)).unwrap();
    vault::unwrap(&file, "p").unwrap().0
}

fn home_with_key() -> (tempfile::TempDir, RingKey) {
    let home = tempfile::tempdir().unwrap();
    let key = RingKey::random().unwrap();
    let file = vault::wrap(&key, "p", VaultParams::with_mib(64).unwrap()).unwrap();
    fs::write(home.path().join(KEY_FILE), file).unwrap();
    drop(Store::create_with(home.path(), key.clone()).unwrap());
    (home, key)
}

fn number(row: &Row) -> u64 {
    u64::from_le_bytes(row.value[..8].try_into().unwrap())
}

/// Writes rows until it is killed, and says so after each batch.
fn write_until_killed(home: &std::path::Path) {
    let mut store = Store::open_with(home, key_of(home)).unwrap();
    let start = store.load_all().unwrap().iter().map(number).max().unwrap_or(0);
    for n in start + 1.. {
        let value = [&n.to_le_bytes()[..], &vec![7; (n % 5_000) as usize]].concat();
        let b = bucket((n % 3) as u8, None);
        store
            .commit(&[
                put(b, Table::Envelope, &n.to_le_bytes(), &value),
                put(b, Table::Node, b"ratchet", &value),
                delete(b, Table::Envelope, &n.saturating_sub(300).to_le_bytes()),
            ])
            .unwrap();
        println!("acknowledged {n}");
        if n % 40 == 0 {
            store.wipe(true).unwrap();
        }
    }
}

#[test]
fn kill_nine_ten_times_loses_nothing_acknowledged() {
    if let Some(home) = child_home() {
        return write_until_killed(&home);
    }
    let (home, key) = home_with_key();
    let mut last = 0;
    for round in 0..10 {
        let mut child = this_test("kill_nine_ten_times_loses_nothing_acknowledged")
            .env(CHILD, home.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed after a number of batches, so the disk's speed does not matter.
        let mut left = 20 + round * 9;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in lines.map_while(Result::ok) {
            if let Some((_, n)) = line.rsplit_once("acknowledged ") {
                last = n.parse().unwrap();
                left -= 1;
                if left == 0 {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(left <= 0, "the child ended by itself");
        let mut store = Store::open_with(home.path(), key.clone()).unwrap();
        assert!(!store.is_damaged(), "round {round}: a crash is no damage");
        let rows = store.load_all().unwrap();
        let numbers: std::collections::BTreeSet<u64> =
            rows.iter().filter(|row| row.table == Table::Envelope).map(number).collect();
        // At most one batch more than was acknowledged, and that one wholly.
        let newest = *numbers.last().unwrap();
        assert!(newest == last || newest == last + 1, "{newest} after {last}");
        assert!((newest.saturating_sub(299).max(1)..=newest).all(|n| numbers.contains(&n)), "round {round}");
        let ratchets = rows.iter().filter(|row| row.table == Table::Node).map(number);
        assert_eq!(ratchets.max(), Some(newest), "batches are whole");
    }
}

/// Writes until the file-size limit refuses, then checks itself.
fn write_until_full(home: &std::path::Path) {
    let mut store = Store::open_with(home, key_of(home)).unwrap();
    let b = bucket(1, None);
    let mut n = 0_u64;
    let refused = loop {
        let value = [&n.to_le_bytes()[..], &vec![3; 4_000]].concat();
        match store.commit(&[put(b, Table::Op, &n.to_le_bytes(), &value)]) {
            Ok(()) => n += 1,
            Err(e) => break e,
        }
        assert!(n < 20_000, "the limit does not hold");
    };
    assert_eq!(refused, StoreError::Full);
    assert_eq!(store.commit(&[put(b, Table::Op, b"more", b"")]).unwrap_err(), StoreError::Closed);
    println!("acknowledged {n}");
}

/// A full disk, by way of the limit on a file's length that the system lets anyone set.
#[cfg(unix)]
#[test]
fn a_full_disk_refuses_and_loses_nothing() {
    if let Some(home) = child_home() {
        return write_until_full(&home);
    }
    let (home, key) = home_with_key();
    let test = this_test("a_full_disk_refuses_and_loses_nothing");
    let args: Vec<_> = test.get_args().map(ToOwned::to_owned).collect();
    let out = Command::new("sh")
        // Without the signal the write itself is refused, as on a full disk.
        .args(["-c", "trap '' XFSZ; ulimit -f 6000; exec \"$0\" \"$@\""])
        .arg(test.get_program())
        .args(args)
        .env(CHILD, home.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let said = String::from_utf8(out.stdout).unwrap();
    let acknowledged: u64 =
        said.lines().find_map(|line| line.split_once("acknowledged ")?.1.trim().parse().ok()).unwrap();
    assert!(acknowledged > 10);
    let mut store = Store::open_with(home.path(), key).unwrap();
    assert!(!store.is_damaged(), "a full disk is no damage");
    let rows = store.load_all().unwrap().len() as u64;
    assert!(rows == acknowledged || rows == acknowledged + 1, "{rows} of {acknowledged}");
    store.commit(&[put(bucket(1, None), Table::Op, b"more", b"room again")]).unwrap();
}
