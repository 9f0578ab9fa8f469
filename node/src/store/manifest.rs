//! What the store must contain, authenticated. sled neither notices nor reports lost rows by itself.
//!
//! **In sled**, written in the same atomic batch as the rows: per slot a *tally* (number of pieces, and the sum of a
//! keyed hash over each piece's place, nonce, header and tag), and the *head* (a generation that every batch raises,
//! and the sum over all tallies). The sum is XOR of a keyed hash: without the key nobody can find two sets of rows with
//! the same sum, and nobody without the key ever sees a sum. Places are distinct, so no piece can cancel itself.
//!
//! **Outside sled**, the file `anchor`: generation and sum of the last batch known durable.
//!
//! At open all rows are summed and compared. Why damage is noticed:
//! - a row lost, changed, added or put elsewhere: its tally does not fit (or it does not authenticate);
//! - a row and its tally rolled back together: the head does not fit;
//! - everything rolled back, or sled lost the end of its log: the head is older than the anchor;
//! - head and anchor of the same generation with different sums: not the same history.
//!
//! Why a crash is never taken for damage: sled applies a batch wholly or not at all, so tallies and head always fit the
//! rows. The anchor is written only after the batch was synced, so it is never ahead of what the disk has; it may be
//! behind, which is accepted, because a crash can fall between the two. It is not synced itself on each batch (the
//! kernel keeps it across a kill; after a power cut it is at most behind), and is written alternately into two places
//! of one sector each, so a torn write leaves the other.
//!
//! What cannot be noticed: the whole home replaced by an older copy of itself, anchor included. Only other members
//! know better, and sync tells.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    path::Path,
};

use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInPlace};

use super::{
    StoreError, files,
    ring::{Key, Serial},
    rows,
};

/// The serial of the manifest's own rows, which no tally counts.
pub(super) const SERIAL: Serial = 0;
/// The table number of the manifest's own rows.
pub(super) const TABLE: u8 = 0;

pub(super) type Sum = [u8; 32];

fn add(a: &mut Sum, b: &Sum) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
}

/// What a slot contains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Pieces.
    pub(super) count: u64,
    /// Sum over the pieces.
    pub(super) sum: Sum,
    /// Rows overwritten or deleted since the slot's key was made: sled may still have them.
    pub(super) stale: u64,
}

impl Tally {
    /// Counts a piece in.
    pub(super) fn put(&mut self, sums: &Key, place: &[u8], sealed: &[u8]) {
        self.count = self.count.wrapping_add(1);
        add(&mut self.sum, &piece_sum(sums, place, sealed));
    }

    /// Counts a piece out.
    pub(super) fn take(&mut self, sums: &Key, place: &[u8], sealed: &[u8]) {
        self.count = self.count.wrapping_sub(1);
        add(&mut self.sum, &piece_sum(sums, place, sealed));
    }

    /// Whether both name the same rows.
    pub(super) fn fits(&self, other: &Self) -> bool {
        self.count == other.count && self.sum == other.sum
    }

    fn to_bytes(self) -> Vec<u8> {
        [&self.count.to_le_bytes()[..], &self.sum, &self.stale.to_le_bytes()].concat()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (count, rest) = bytes.split_at_checked(8)?;
        let (sum, stale) = rest.split_at_checked(32)?;
        Some(Self {
            count: u64::from_le_bytes(count.try_into().ok()?),
            sum: sum.try_into().ok()?,
            stale: u64::from_le_bytes(stale.try_into().ok()?),
        })
    }
}

fn piece_sum(sums: &Key, place: &[u8], sealed: &[u8]) -> Sum {
    let mut hasher = blake3::Hasher::new_keyed(sums);
    hasher.update(b"piece").update(&[u8::try_from(place.len()).unwrap_or(u8::MAX)]).update(place);
    // A piece too short to have an essence counts by its whole content; it fails to open anyway.
    for part in rows::essence(sealed).unwrap_or([sealed, &[]]) {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Generation, and the sum over all tallies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) generation: u64,
    pub(super) sum: Sum,
}

impl Head {
    fn to_bytes(self) -> [u8; 40] {
        let mut bytes = [0; 40];
        let content = self.generation.to_le_bytes().into_iter().chain(self.sum);
        bytes.iter_mut().zip(content).for_each(|(to, from)| *to = from);
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (generation, sum) = bytes.split_at_checked(8)?;
        Some(Self { generation: u64::from_le_bytes(generation.try_into().ok()?), sum: sum.try_into().ok()? })
    }
}

/// One of the manifest's own rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaRow {
    Head(Head),
    Tally(Serial, Tally),
}

impl MetaRow {
    /// Logical key and value.
    pub(super) fn to_row(self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Head(head) => (head_key(), head.to_bytes().to_vec()),
            Self::Tally(serial, tally) => (tally_key(serial), tally.to_bytes()),
        }
    }

    pub(super) fn from_row(key: &[u8], value: &[u8]) -> Option<Self> {
        match key.split_first()? {
            (b'h', []) => Head::from_bytes(value).map(Self::Head),
            (b't', serial) => {
                let serial = Serial::from_le_bytes(serial.try_into().ok()?);
                Tally::from_bytes(value).map(|tally| Self::Tally(serial, tally))
            }
            _ => None,
        }
    }
}

pub(super) fn head_key() -> Vec<u8> {
    b"h".to_vec()
}

pub(super) fn tally_key(serial: Serial) -> Vec<u8> {
    [&b"t"[..], &serial.to_le_bytes()].concat()
}

/// Head and tallies as they are in sled.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    pub(super) head: Head,
    pub(super) tallies: BTreeMap<Serial, Tally>,
}

impl Manifest {
    /// The sum over these tallies.
    pub(super) fn sum(sums: &Key, tallies: &BTreeMap<Serial, Tally>) -> Sum {
        let mut sum = Sum::default();
        tallies.iter().for_each(|(serial, tally)| add(&mut sum, &tally_sum(sums, *serial, tally)));
        sum
    }

    /// Puts a slot's tally; an empty one without stale rows is dropped. The head's sum follows.
    pub(super) fn set(&mut self, sums: &Key, serial: Serial, tally: Tally) {
        let gone = tally.count == 0 && tally.stale == 0;
        let old = if gone { self.tallies.remove(&serial) } else { self.tallies.insert(serial, tally) };
        if let Some(old) = old {
            add(&mut self.head.sum, &tally_sum(sums, serial, &old));
        }
        if !gone {
            add(&mut self.head.sum, &tally_sum(sums, serial, &tally));
        }
    }
}

fn tally_sum(sums: &Key, serial: Serial, tally: &Tally) -> Sum {
    let mut hasher = blake3::Hasher::new_keyed(sums);
    hasher.update(b"tally").update(&serial.to_le_bytes()).update(&tally.to_bytes());
    hasher.finalize().into()
}

const SECTOR: usize = 512;
const NONCE: usize = 24;
const TAG: usize = 16;
const ANCHOR_AAD: &[u8] = b"hearth anchor 1";

/// The file `anchor`.
#[derive(Debug)]
pub(super) struct Anchor {
    file: File,
}

impl Anchor {
    /// Opens the file, made if absent when `create` is set, and reads the newest head in it.
    pub(super) fn open(home: &Path, key: &Key, create: bool) -> Result<(Self, Option<Head>), StoreError> {
        let mut file = match files::open_private(&home.join("anchor"), create) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(StoreError::Damaged),
            other => other?,
        };
        let mut bytes = Vec::new();
        (&mut file).take(2 * SECTOR as u64).read_to_end(&mut bytes)?;
        let heads = bytes.chunks_exact(SECTOR).zip(0..).filter_map(|(sector, at)| unseal(key, sector, at));
        let newest = heads.max_by_key(|head| head.generation);
        Ok((Self { file }, newest))
    }

    /// Notes a head that is durable. `sync`: wait until the note is, too.
    pub(super) fn write(&mut self, key: &Key, head: Head, sync: bool) -> Result<(), StoreError> {
        let at = u8::from(!head.generation.is_multiple_of(2));
        let mut body = vec![0; SECTOR - NONCE - TAG];
        body.iter_mut().zip(head.to_bytes()).for_each(|(to, from)| *to = from);
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let tag = XChaCha20Poly1305::new(key.as_slice().into())
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), &[ANCHOR_AAD, &[at]].concat(), &mut body)
            .map_err(|_| StoreError::TooLarge)?;
        self.file.seek(SeekFrom::Start(u64::from(at) * SECTOR as u64))?;
        self.file.write_all(&[&nonce[..], &body, &tag].concat())?;
        if sync { Ok(self.file.sync_all()?) } else { Ok(()) }
    }
}

fn unseal(key: &Key, sector: &[u8], at: u8) -> Option<Head> {
    let (nonce, rest) = sector.split_at_checked(NONCE)?;
    let (body, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let mut body = body.to_vec();
    XChaCha20Poly1305::new(key.as_slice().into())
        .decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            &[ANCHOR_AAD, &[at]].concat(),
            &mut body,
            Tag::from_slice(tag),
        )
        .ok()?;
    Head::from_bytes(body.get(..40)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ring::random_key;

    #[test]
    fn sums_do_not_depend_on_order_and_cancel_out() {
        let key = random_key().unwrap();
        let (a, b) = (vec![1; 100], vec![2; 100]);
        let (mut x, mut y) = (Tally::default(), Tally::default());
        x.put(&key, b"a", &a);
        x.put(&key, b"b", &b);
        y.put(&key, b"b", &b);
        y.put(&key, b"a", &a);
        assert_eq!(x, y);
        y.put(&key, b"a", &b);
        assert!(!x.fits(&y));
        y.take(&key, b"a", &b);
        assert!(x.fits(&y));

        let mut manifest = Manifest::default();
        manifest.set(&key, 1, x);
        manifest.set(&key, 2, Tally { stale: 3, ..Tally::default() });
        manifest.set(&key, 1, Tally { stale: 1, ..x });
        assert_eq!(manifest.head.sum, Manifest::sum(&key, &manifest.tallies));
        manifest.set(&key, 1, Tally::default());
        manifest.set(&key, 2, Tally::default());
        assert_eq!(manifest.head.sum, Sum::default());
    }

    #[test]
    fn a_torn_anchor_leaves_the_one_before() {
        let home = tempfile::tempdir().unwrap();
        let key = random_key().unwrap();
        assert!(matches!(Anchor::open(home.path(), &key, false), Err(StoreError::Damaged)));
        let (mut anchor, none) = Anchor::open(home.path(), &key, true).unwrap();
        assert_eq!(none, None);
        for generation in 1..=5 {
            anchor.write(&key, Head { generation, sum: [9; 32] }, false).unwrap();
        }
        let newest = |home: &Path| Anchor::open(home, &key, false).unwrap().1.map(|head| head.generation);
        assert_eq!(newest(home.path()), Some(5));
        let path = home.path().join("anchor");
        let mut bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 2 * SECTOR);
        bytes[SECTOR + 40] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(newest(home.path()), Some(4));
    }
}
