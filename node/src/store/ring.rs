//! The file `ring`: a random key per slot, sealed under the ring key. A slot is a bucket's rows of one table, so that
//! wiping what a ratchet left behind does not rewrite the history beside it.
//!
//! A key that is no longer in this file makes its rows unreadable, whatever sled still has of them on the disk.
//! The file is replaced as a whole and padded to a power of two, so its length tells little.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInPlace};
use hearth_protocol::{id::GroupId, time::Day};
use minicbor::{Decode, Encode};
use zeroize::{Zeroize, Zeroizing};

use super::{Bucket, RingKey, StoreError, Table, files};

const AAD: &[u8] = b"hearth ring 1";
const LEN_MIN: usize = 4_096;
/// Room for about 150,000 slots.
const LEN_MAX: usize = 16 << 20;
const NONCE: usize = 24;
const TAG: usize = 16;

pub(super) type Key = Zeroizing<[u8; 32]>;
/// Names a slot's key on the disk; never used twice. 0 is the manifest.
pub(super) type Serial = u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Slot {
    pub(super) bucket: Bucket,
    pub(super) table: Table,
}

pub(super) struct Ring {
    /// Key of row names and header masks.
    pub(super) names: Key,
    /// Key of the manifest's sums.
    pub(super) sums: Key,
    /// Seals the manifest.
    pub(super) meta: Key,
    /// The last day on which buckets were expired.
    pub(super) seen: Option<Day>,
    next: Serial,
    entries: BTreeMap<Serial, (Slot, Key)>,
    current: BTreeMap<Slot, Serial>,
    /// Keys erased whose rows may still be in sled.
    dead: BTreeSet<Serial>,
    /// Whether the file lacks something.
    unsaved: bool,
}

#[derive(Encode, Decode)]
struct File {
    #[cbor(n(0), with = "minicbor::bytes")]
    names: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    sums: [u8; 32],
    #[cbor(n(2), with = "minicbor::bytes")]
    meta: [u8; 32],
    #[n(3)]
    seen: Option<Day>,
    #[n(4)]
    next: Serial,
    #[n(5)]
    entries: Vec<Entry>,
    #[n(6)]
    dead: Vec<Serial>,
}

#[derive(Encode, Decode)]
struct Entry {
    #[n(0)]
    serial: Serial,
    #[n(1)]
    group: Option<GroupId>,
    #[n(2)]
    expires: Option<Day>,
    #[n(3)]
    table: u8,
    #[cbor(n(4), with = "minicbor::bytes")]
    key: [u8; 32],
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.names.zeroize();
        self.sums.zeroize();
        self.meta.zeroize();
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("slots", &self.entries.len()).finish_non_exhaustive()
    }
}

pub(super) fn random_key() -> Result<Key, StoreError> {
    let mut key = Zeroizing::new([0; 32]);
    getrandom::fill(key.as_mut_slice())?;
    Ok(key)
}

impl Ring {
    pub(super) fn fresh() -> Result<Self, StoreError> {
        Ok(Self {
            names: random_key()?,
            sums: random_key()?,
            meta: random_key()?,
            seen: None,
            next: 1,
            entries: BTreeMap::new(),
            current: BTreeMap::new(),
            dead: BTreeSet::new(),
            unsaved: true,
        })
    }

    /// The serial whose key seals new rows of a slot.
    pub(super) fn current(&self, slot: Slot) -> Option<Serial> {
        self.current.get(&slot).copied()
    }

    pub(super) fn get(&self, serial: Serial) -> Option<(Slot, &Key)> {
        self.entries.get(&serial).map(|(slot, key)| (*slot, key))
    }

    pub(super) fn is_dead(&self, serial: Serial) -> bool {
        self.dead.contains(&serial)
    }

    pub(super) fn dead(&self) -> Vec<Serial> {
        self.dead.iter().copied().collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (Serial, Slot)> {
        self.entries.iter().map(|(serial, (slot, _))| (*serial, *slot))
    }

    /// A fresh key for a slot; its serial seals the slot's rows from now on. Not on disk before [`Ring::save`].
    pub(super) fn allocate(&mut self, slot: Slot) -> Result<Serial, StoreError> {
        let serial = self.next;
        self.next = serial.checked_add(1).ok_or(StoreError::TooLarge)?;
        self.entries.insert(serial, (slot, random_key()?));
        self.current.insert(slot, serial);
        self.unsaved = true;
        Ok(serial)
    }

    /// Forgets a key. `rows`: whether sled may still have rows of it, which are then no damage.
    pub(super) fn forget(&mut self, serial: Serial, rows: bool) {
        if let Some((slot, _)) = self.entries.remove(&serial)
            && self.current.get(&slot) == Some(&serial)
        {
            self.current.remove(&slot);
        }
        if rows {
            self.dead.insert(serial);
        }
        self.unsaved = true;
    }

    /// The rows of dead keys are gone, durably.
    pub(super) fn buried(&mut self, serials: &[Serial]) {
        for serial in serials {
            self.unsaved |= self.dead.remove(serial);
        }
    }

    pub(super) fn saw(&mut self, day: Day) {
        self.unsaved |= self.seen != Some(day);
        self.seen = Some(day);
    }

    /// Writes the file if anything changed.
    pub(super) fn save(&mut self, home: &Path, key: &RingKey) -> Result<(), StoreError> {
        if self.unsaved {
            files::replace(&home.join("ring"), &self.seal(key)?)?;
            self.unsaved = false;
        }
        Ok(())
    }

    fn seal(&self, key: &RingKey) -> Result<Vec<u8>, StoreError> {
        let file = File {
            names: *self.names,
            sums: *self.sums,
            meta: *self.meta,
            seen: self.seen,
            next: self.next,
            entries: self.entries.iter().map(|(serial, (slot, key))| Entry::new(*serial, *slot, key)).collect(),
            dead: self.dead(),
        };
        // Reserved at once, so that growing leaves no unwiped copy behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(LEN_MIN + file.entries.len() * 192 + file.dead.len() * 8));
        plain.extend_from_slice(&[0; 4]);
        minicbor::encode(&file, &mut *plain).map_err(|_| StoreError::TooLarge)?;
        let len = u32::try_from(plain.len() - 4).map_err(|_| StoreError::TooLarge)?;
        for (to, from) in plain.iter_mut().zip(len.to_le_bytes()) {
            *to = from;
        }
        let padded = (plain.len() + NONCE + TAG).next_power_of_two().max(LEN_MIN);
        if padded > LEN_MAX {
            return Err(StoreError::TooLarge);
        }
        let mut body = Zeroizing::new(vec![0; padded - NONCE - TAG]);
        body.iter_mut().zip(plain.iter()).for_each(|(to, from)| *to = *from);

        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce)?;
        let tag = XChaCha20Poly1305::new(key.as_bytes().into())
            .encrypt_in_place_detached(XNonce::from_slice(&nonce), AAD, &mut body)
            .map_err(|_| StoreError::TooLarge)?;
        Ok([&nonce[..], &body, &tag].concat())
    }

    /// Reads the file back.
    pub(super) fn open(home: &Path, key: &RingKey) -> Result<Self, StoreError> {
        let sealed = files::read_bounded(&home.join("ring"), LEN_MAX as u64).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::FileTooLarge => StoreError::Damaged,
            _ => e.into(),
        })?;
        Self::unseal(&sealed, key).ok_or(StoreError::Damaged)
    }

    fn unseal(sealed: &[u8], key: &RingKey) -> Option<Self> {
        let (nonce, rest) = sealed.split_at_checked(NONCE)?;
        let (body, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
        let mut body = Zeroizing::new(body.to_vec());
        XChaCha20Poly1305::new(key.as_bytes().into())
            .decrypt_in_place_detached(XNonce::from_slice(nonce), AAD, &mut body, Tag::from_slice(tag))
            .ok()?;
        let (len, rest) = body.split_at_checked(4)?;
        let len = usize::try_from(u32::from_le_bytes(len.try_into().ok()?)).ok()?;
        let file: File = minicbor::decode(rest.get(..len)?).ok()?;
        let mut entries = BTreeMap::new();
        let mut current = BTreeMap::new();
        // Ascending serials: the newest key of a slot ends up current.
        for entry in &file.entries {
            let slot = entry.slot()?;
            entries.insert(entry.serial, (slot, Zeroizing::new(entry.key)));
            let newest = current.entry(slot).or_insert(entry.serial);
            *newest = entry.serial.max(*newest);
        }
        Some(Self {
            names: Zeroizing::new(file.names),
            sums: Zeroizing::new(file.sums),
            meta: Zeroizing::new(file.meta),
            seen: file.seen,
            next: file.next,
            entries,
            current,
            dead: file.dead.iter().copied().collect(),
            unsaved: false,
        })
    }
}

impl Entry {
    fn new(serial: Serial, slot: Slot, key: &Key) -> Self {
        let Bucket { group, expires } = slot.bucket;
        Self { serial, group, expires, table: slot.table as u8, key: **key }
    }

    fn slot(&self) -> Option<Slot> {
        let bucket = Bucket { group: self.group, expires: self.expires };
        Some(Slot { bucket, table: Table::from_number(self.table)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(day: u64) -> Slot {
        let bucket = Bucket { group: Some(GroupId([1; 32])), expires: Some(Day(day)) };
        Slot { bucket, table: Table::Envelope }
    }

    #[test]
    fn keys_survive_a_round_trip_and_erased_ones_do_not() {
        let home = tempfile::tempdir().unwrap();
        let key = RingKey::random().unwrap();
        let mut ring = Ring::fresh().unwrap();
        let (a, b) = (ring.allocate(slot(1)).unwrap(), ring.allocate(slot(2)).unwrap());
        let b2 = ring.allocate(slot(2)).unwrap();
        ring.saw(Day(9));
        ring.save(home.path(), &key).unwrap();
        let again = Ring::open(home.path(), &key).unwrap();
        assert_eq!(again.get(a).unwrap().1, ring.get(a).unwrap().1);
        assert_eq!((again.current(slot(1)), again.current(slot(2))), (Some(a), Some(b2)));
        assert_eq!(again.seen, Some(Day(9)));

        ring.forget(a, true);
        ring.forget(b, false);
        ring.save(home.path(), &key).unwrap();
        let mut again = Ring::open(home.path(), &key).unwrap();
        assert!(again.get(a).is_none() && again.get(b).is_none() && again.get(b2).is_some());
        assert_eq!((again.is_dead(a), again.is_dead(b)), (true, false));
        assert!(again.allocate(slot(1)).unwrap() > b2, "serials are never used twice");
    }

    #[test]
    fn its_length_hides_the_number_of_slots_and_every_change_shows() {
        let home = tempfile::tempdir().unwrap();
        let key = RingKey::random().unwrap();
        let mut ring = Ring::fresh().unwrap();
        let few = ring.seal(&key).unwrap();
        for day in 0..20 {
            ring.allocate(slot(day)).unwrap();
        }
        assert_eq!(few.len(), ring.seal(&key).unwrap().len());
        for at in (0..few.len()).step_by(31) {
            let mut bad = few.clone();
            bad[at] ^= 4;
            assert!(Ring::unseal(&bad, &key).is_none());
        }
        assert!(Ring::unseal(&few[..few.len() - 1], &key).is_none());
        assert!(Ring::unseal(&few, &RingKey::random().unwrap()).is_none());
        assert_eq!(Ring::open(home.path(), &key).unwrap_err(), StoreError::Damaged);
    }
}
