//! What a DHT node keeps: self-certifying value records, and nothing else.
//!
//! A record proves itself: its key is the hash of a public key that signed it. So nobody but the holder of the
//! secret key can put anything there, and a node that stores it learns neither who nor which group. Provider
//! records, which name a peer, are never kept.

use std::{
    borrow::Cow,
    collections::{BTreeMap, btree_map},
    iter::{Empty, empty},
    time::{Duration, Instant},
};

use ed25519_dalek::{Signature, VerifyingKey};
use hearth_protocol::{
    card::{Record, record_key, record_message},
    cbor,
    time::Timestamp,
};
use libp2p::{
    PeerId,
    kad::{
        self, KBucketDistance, KBucketKey, ProviderRecord,
        store::{Error, RecordStore, Result as StoreResult},
    },
};

use crate::relay::Clock;

/// How long a record is kept after it came.
pub const RECORD_TTL: Duration = Duration::from_secs(12 * 3_600);
/// Minutes by which a record may be ahead of this node's clock.
const AHEAD_MINUTES: u64 = 10;

/// Why a record was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Not a record, or its card is not of the one size.
    #[error("not a record")]
    Malformed,
    /// It lies under another key than its own.
    #[error("key is not the record's")]
    Key,
    /// Its signature does not hold.
    #[error("wrong signature")]
    Signature,
    /// It is from the future.
    #[error("ahead of time")]
    Ahead,
}

/// Checks a record by itself.
///
/// # Errors
/// [`RecordError`].
pub fn check_record(key: &[u8], value: &[u8], now: Timestamp) -> Result<Record, RecordError> {
    let record: Record = cbor::read(value).map_err(|_| RecordError::Malformed)?;
    if key != record_key(&record.pk) {
        return Err(RecordError::Key);
    }
    if record.seq > now.minute().0.saturating_add(AHEAD_MINUTES) {
        return Err(RecordError::Ahead);
    }
    let message = record_message(record.seq, &record.sealed);
    let signature = Signature::from_bytes(&record.sig);
    match VerifyingKey::from_bytes(&record.pk) {
        Ok(pk) if pk.verify_strict(&message, &signature).is_ok() => Ok(record),
        _ => Err(RecordError::Signature),
    }
}

pub(super) struct Kept {
    seq: u64,
    record: kad::Record,
}

/// The records of one node, nearest to it first. When it is full the farthest goes: to push a record out, one
/// would have to find keys nearer to each node that holds it.
pub(super) struct RecordBook {
    own: KBucketKey<PeerId>,
    clock: Clock,
    max: usize,
    kept: BTreeMap<KBucketDistance, Kept>,
}

impl RecordBook {
    pub(super) fn new(own: PeerId, max: usize, clock: Clock) -> Self {
        Self { own: KBucketKey::from(own), clock, max, kept: BTreeMap::new() }
    }

    fn place(&self, key: &kad::RecordKey) -> KBucketDistance {
        self.own.distance(&KBucketKey::new(key.clone()))
    }
}

type View<'a> = fn(&'a Kept) -> Cow<'a, kad::Record>;

impl RecordStore for RecordBook {
    type RecordsIter<'a> = std::iter::Map<btree_map::Values<'a, KBucketDistance, Kept>, View<'a>>;
    type ProvidedIter<'a> = Empty<Cow<'a, ProviderRecord>>;

    fn get(&self, key: &kad::RecordKey) -> Option<Cow<'_, kad::Record>> {
        self.kept.get(&self.place(key)).map(|kept| Cow::Borrowed(&kept.record))
    }

    /// Keeps a record that proves itself and is newer than the one kept. Its publisher is forgotten.
    fn put(&mut self, mut record: kad::Record) -> StoreResult<()> {
        let checked = check_record(record.key.as_ref(), &record.value, (self.clock)());
        // The trait has no finer error, and nobody is told which.
        let seq = checked.map_err(|_| Error::ValueTooLarge)?.seq;
        let latest = Instant::now() + RECORD_TTL;
        record.publisher = None;
        record.expires = Some(record.expires.map_or(latest, |expires| expires.min(latest)));
        let place = self.place(&record.key);
        if let Some(kept) = self.kept.get(&place) {
            let same = kept.record.value == record.value;
            if seq < kept.seq || seq == kept.seq && !same {
                return Err(Error::ValueTooLarge);
            }
        }
        self.kept.insert(place, Kept { seq, record });
        if self.kept.len() > self.max {
            let gone = self.kept.pop_last();
            if gone.is_some_and(|(farthest, _)| farthest == place) {
                return Err(Error::MaxRecords);
            }
        }
        Ok(())
    }

    fn remove(&mut self, key: &kad::RecordKey) {
        self.kept.remove(&self.place(key));
    }

    fn records(&self) -> Self::RecordsIter<'_> {
        let view: View<'_> = |kept| Cow::Borrowed(&kept.record);
        self.kept.values().map(view)
    }

    fn add_provider(&mut self, _: ProviderRecord) -> StoreResult<()> {
        Err(Error::MaxProvidedKeys)
    }

    fn providers(&self, _: &kad::RecordKey) -> Vec<ProviderRecord> {
        Vec::new()
    }

    fn provided(&self) -> Self::ProvidedIter<'_> {
        empty()
    }

    fn remove_provider(&mut self, _: &kad::RecordKey, _: &PeerId) {}
}

#[cfg(test)]
pub(super) mod tests;
