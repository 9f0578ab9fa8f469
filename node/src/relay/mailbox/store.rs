//! What a mailbox asks of its storage, and the same in memory.

use std::{collections::BTreeMap, io};

use hearth_protocol::{
    id::{QueueId, SlotId},
    limits::SLOT_KEEPS,
    mailbox::{Blob, QueueKind},
    time::Timestamp,
};
use minicbor::{Decode, Encode};

/// Why storage failed. Nothing is acknowledged after that: the mailbox stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Reading or writing failed, or the disk is full.
    #[error("mailbox storage failed")]
    Io(#[from] io::Error),
    /// A row is not what was written.
    #[error("mailbox storage damaged")]
    Damaged,
}

/// What is known of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct QueueRow {
    /// Key that signs PUT.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub write_pk: [u8; 32],
    /// Key that signs GET and SUBSCRIBE.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub read_pk: [u8; 32],
    /// Kind.
    #[n(2)]
    pub kind: QueueKind,
    /// Oldest sequence number still kept; `last + 1` when none is.
    #[n(3)]
    pub first: u64,
    /// Newest sequence number given; 0 when none was.
    #[n(4)]
    pub last: u64,
    /// Bytes of the blobs kept.
    #[n(5)]
    pub bytes: u64,
    /// When it was made, or last written to.
    #[n(6)]
    pub touched: Timestamp,
}

impl QueueRow {
    /// Blobs kept.
    #[must_use]
    pub fn blobs(&self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }
}

/// What is known of a slot. Bodies of versions `oldest..=version` are kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SlotRow {
    /// Key that signs writes and rotations.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub write_pk: [u8; 32],
    /// Version of the newest body; from 1.
    #[n(1)]
    pub version: u64,
    /// Lengths of the bodies kept, oldest first.
    #[n(2)]
    pub sizes: Vec<u64>,
    /// Last write.
    #[n(3)]
    pub touched: Timestamp,
}

impl SlotRow {
    /// Version of the oldest body kept.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        (self.version + 1).saturating_sub(self.sizes.len() as u64)
    }

    /// Bytes of the bodies kept.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }

    /// The row after one more body: the oldest goes when [`SLOT_KEEPS`] are there.
    #[must_use]
    pub fn next(mut self, size: usize, now: Timestamp) -> Self {
        self.version = self.version.saturating_add(1);
        if self.sizes.len() >= SLOT_KEEPS {
            self.sizes.remove(0);
        }
        self.sizes.push(size as u64);
        self.touched = now;
        self
    }
}

/// A blob on its way to the store.
#[derive(Clone, Copy, Debug)]
pub struct NewBlob<'a> {
    /// When it came: its time to live counts from here.
    pub at: Timestamp,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// Rows of queues and slots. Every method is one atomic step, visible to the next call, and durable after
/// [`MailboxStore::sync`]. The mailbox decides; a store only keeps.
pub trait MailboxStore {
    /// A queue's row.
    ///
    /// # Errors
    /// [`StoreError`], as all methods here.
    fn queue(&self, id: &QueueId) -> Result<Option<QueueRow>, StoreError>;
    /// Writes a queue's row, and the blob numbered `row.last` with it.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_queue(&mut self, id: &QueueId, row: &QueueRow, blob: Option<NewBlob<'_>>) -> Result<(), StoreError>;
    /// Blobs numbered above `after`, at most `max`, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn blobs(&self, id: &QueueId, after: u64, max: usize) -> Result<Vec<Blob>, StoreError>;
    /// When the blob `seq` came, and its length.
    ///
    /// # Errors
    /// [`StoreError`].
    fn blob_age(&self, id: &QueueId, seq: u64) -> Result<Option<(Timestamp, u64)>, StoreError>;
    /// Drops the blobs from `from` up to `row.first`, and writes the row; `None` drops the row too.
    ///
    /// # Errors
    /// [`StoreError`].
    fn drop_blobs(&mut self, id: &QueueId, from: u64, row: Option<&QueueRow>) -> Result<(), StoreError>;
    /// Up to `max` queues after `after`, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    fn queues(&self, after: Option<&QueueId>, max: usize) -> Result<Vec<(QueueId, QueueRow)>, StoreError>;
    /// A slot's row.
    ///
    /// # Errors
    /// [`StoreError`].
    fn slot(&self, id: &SlotId) -> Result<Option<SlotRow>, StoreError>;
    /// Writes a slot's row, and the body of version `row.version` with it; bodies below `row.oldest()` go.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_slot(&mut self, id: &SlotId, row: &SlotRow, body: Option<&[u8]>) -> Result<(), StoreError>;
    /// The bodies kept, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    fn bodies(&self, id: &SlotId, row: &SlotRow) -> Result<Vec<Vec<u8>>, StoreError>;
    /// Drops a slot and its bodies.
    ///
    /// # Errors
    /// [`StoreError`].
    fn drop_slot(&mut self, id: &SlotId, row: &SlotRow) -> Result<(), StoreError>;
    /// Up to `max` slots after `after`, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    fn slots(&self, after: Option<&SlotId>, max: usize) -> Result<Vec<(SlotId, SlotRow)>, StoreError>;
    /// Makes everything so far survive a crash. After an error nothing may be acknowledged any more.
    ///
    /// # Errors
    /// [`StoreError`].
    fn sync(&mut self) -> Result<(), StoreError>;
}

/// Storage of a member's own mailbox, and of simulated relays: gone with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    queues: BTreeMap<QueueId, QueueRow>,
    blobs: BTreeMap<(QueueId, u64), (Timestamp, Vec<u8>)>,
    slots: BTreeMap<SlotId, SlotRow>,
    bodies: BTreeMap<(SlotId, u64), Vec<u8>>,
}

impl MailboxStore for MemoryStore {
    fn queue(&self, id: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        Ok(self.queues.get(id).cloned())
    }

    fn put_queue(&mut self, id: &QueueId, row: &QueueRow, blob: Option<NewBlob<'_>>) -> Result<(), StoreError> {
        if let Some(blob) = blob {
            self.blobs.insert((*id, row.last), (blob.at, blob.bytes.to_vec()));
        }
        self.queues.insert(*id, row.clone());
        Ok(())
    }

    fn blobs(&self, id: &QueueId, after: u64, max: usize) -> Result<Vec<Blob>, StoreError> {
        let range = (*id, after.saturating_add(1))..=(*id, u64::MAX);
        let found = self.blobs.range(range).take(max);
        Ok(found.map(|((_, seq), (_, bytes))| Blob { seq: *seq, bytes: bytes.clone() }).collect())
    }

    fn blob_age(&self, id: &QueueId, seq: u64) -> Result<Option<(Timestamp, u64)>, StoreError> {
        Ok(self.blobs.get(&(*id, seq)).map(|(at, bytes)| (*at, bytes.len() as u64)))
    }

    fn drop_blobs(&mut self, id: &QueueId, from: u64, row: Option<&QueueRow>) -> Result<(), StoreError> {
        let until = row.map_or(u64::MAX, |row| row.first);
        let gone: Vec<_> = self.blobs.range((*id, from)..(*id, until)).map(|(key, _)| *key).collect();
        for key in gone {
            self.blobs.remove(&key);
        }
        match row {
            Some(row) => self.queues.insert(*id, row.clone()),
            None => self.queues.remove(id),
        };
        Ok(())
    }

    fn queues(&self, after: Option<&QueueId>, max: usize) -> Result<Vec<(QueueId, QueueRow)>, StoreError> {
        Ok(page(&self.queues, after, max))
    }

    fn slot(&self, id: &SlotId) -> Result<Option<SlotRow>, StoreError> {
        Ok(self.slots.get(id).cloned())
    }

    fn put_slot(&mut self, id: &SlotId, row: &SlotRow, body: Option<&[u8]>) -> Result<(), StoreError> {
        if let Some(body) = body {
            self.bodies.insert((*id, row.version), body.to_vec());
            self.bodies.remove(&(*id, row.oldest().saturating_sub(1)));
        }
        self.slots.insert(*id, row.clone());
        Ok(())
    }

    fn bodies(&self, id: &SlotId, row: &SlotRow) -> Result<Vec<Vec<u8>>, StoreError> {
        let kept = self.bodies.range((*id, row.oldest())..=(*id, row.version));
        Ok(kept.rev().map(|(_, body)| body.clone()).collect())
    }

    fn drop_slot(&mut self, id: &SlotId, row: &SlotRow) -> Result<(), StoreError> {
        for version in row.oldest()..=row.version {
            self.bodies.remove(&(*id, version));
        }
        self.slots.remove(id);
        Ok(())
    }

    fn slots(&self, after: Option<&SlotId>, max: usize) -> Result<Vec<(SlotId, SlotRow)>, StoreError> {
        Ok(page(&self.slots, after, max))
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}

fn page<K: Ord + Copy, V: Clone>(map: &BTreeMap<K, V>, after: Option<&K>, max: usize) -> Vec<(K, V)> {
    use std::ops::Bound::{Excluded, Unbounded};
    let from = after.map_or(Unbounded, Excluded);
    map.range((from, Unbounded)).take(max).map(|(key, row)| (*key, row.clone())).collect()
}
