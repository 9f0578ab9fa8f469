use hearth_protocol::{
    limits::{FRAME_LARGE, SLOT_BODY_MAX},
    mailbox::{Answer, Request},
};
use std::path::PathBuf;

use super::*;
use crate::relay::mailbox::{
    Mailbox, Party, Policy, Quotas, SessionId,
    kit::{Client, blob},
};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const ONE: SessionId = SessionId(1);
const SLOT: SlotId = SlotId([5; 32]);

fn open(path: &Path) -> (Mailbox<SledStore>, Client) {
    let quotas = Quotas { pow_bits: 2, ..Quotas::default() };
    let mut mailbox = Mailbox::new(SledStore::open(path).unwrap(), [9; 32], Policy::Open, quotas).unwrap();
    let greeting = mailbox.open(ONE, [1; 32], Party::Remote, NOW).unwrap();
    (mailbox, Client::new(greeting, 1))
}

fn ask(mailbox: &mut Mailbox<SledStore>, request: &Request) -> Answer {
    mailbox.handle(ONE, request, NOW).unwrap().answer
}

/// The files as they are at this instant, as after a `kill -9`.
fn snapshot(from: &Path, to: PathBuf) -> PathBuf {
    std::fs::create_dir_all(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            snapshot(&entry.path(), target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
    to
}

#[test]
fn what_was_synced_is_there_after_an_abrupt_end() {
    let home = tempfile::tempdir().unwrap();
    let live = home.path().join("live");
    let (mut mailbox, c) = open(&live);
    ask(&mut mailbox, &c.create());
    let mut acknowledged = 0;
    for round in 0..5u8 {
        for n in 0..40 {
            let bytes = if n % 3 == 0 { vec![round; FRAME_LARGE] } else { blob(round) };
            acknowledged += 1;
            assert_eq!(ask(&mut mailbox, &c.put(bytes)), Answer::Stored { seq: acknowledged });
        }
        let body = vec![round; SLOT_BODY_MAX - usize::from(round)];
        assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, u64::from(round) + 1, body)), Answer::SlotStored);
        mailbox.sync().unwrap();
        let copy = snapshot(&live, home.path().join(round.to_string()));
        let (mut again, c) = open(&copy);
        let mut after = 0;
        while let Answer::Blobs { blobs, more } = ask(&mut again, &c.get(after, 64)) {
            for blob in &blobs {
                after += 1;
                assert_eq!(blob.seq, after);
                assert_eq!(u64::from(blob.bytes[0]), (after - 1) / 40);
            }
            if !more {
                break;
            }
        }
        assert_eq!(after, acknowledged);
        let Answer::Slot { version, bodies, .. } = ask(&mut again, &c.slot_get(SLOT)) else { panic!() };
        assert_eq!(version, u64::from(round) + 1);
        assert_eq!(bodies.len(), usize::from(round + 1).min(4));
        assert!(bodies.iter().zip((0..=round).rev()).all(|(body, n)| body.iter().all(|byte| *byte == n)));
        assert_eq!(again.usage(), mailbox.usage());
    }
    // Nothing lies in side files, which would not be synced.
    assert_eq!(std::fs::read_dir(live.join("blobs")).unwrap().count(), 0);
}

#[test]
fn a_second_opening_is_refused_and_sweeping_empties_the_rows() {
    let home = tempfile::tempdir().unwrap();
    let (mut mailbox, c) = open(home.path());
    assert!(SledStore::open(home.path()).is_err());
    ask(&mut mailbox, &c.create());
    for n in 0..100 {
        ask(&mut mailbox, &c.put(blob(n)));
    }
    ask(&mut mailbox, &c.slot_put(SLOT, 1, vec![1; 40_000]));
    let late = NOW.plus_ms(200 * 86_400_000);
    assert_eq!(mailbox.sweep(late).unwrap(), 101);
    mailbox.sync().unwrap();
    assert_eq!(mailbox.usage().bytes, 0);
    drop(mailbox);
    let store = SledStore::open(home.path()).unwrap();
    assert_eq!(store.db.len(), 0);
}
