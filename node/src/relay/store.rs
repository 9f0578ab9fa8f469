//! A relay's mailbox on disk.
//!
//! One tree, one atomic batch per step, so that a crash leaves a prefix of the steps. `flush` alone does not reach
//! the platter, so [`SledStore::sync`] follows it with `sync_data` on the database file. Values above a quarter of a
//! segment would go to side files that are never synced; hence large segments, and slot bodies in pieces.

use std::{
    fs::{File, OpenOptions},
    io,
    path::Path,
};

use hearth_protocol::{
    cbor,
    id::{QueueId, SlotId},
    mailbox::Blob,
    time::Timestamp,
};
use sled::{Batch, Db, IVec};

use super::mailbox::{MailboxStore, NewBlob, QueueRow, SlotRow, StoreError};

const QUEUE: u8 = b'q';
const BLOB: u8 = b'b';
const SLOT: u8 = b's';
const BODY: u8 = b'v';
/// A leaf holds at most 17 values, so 17 of these must stay well below a quarter of [`SEGMENT`].
const PIECE: usize = 16 * 1_024;
const SEGMENT: usize = 2 << 20;
const CACHE: u64 = 64 << 20;
/// The longest row.
const ROW_MAX: usize = 1_024;

/// Rows in a sled database; opening it a second time is refused by its own lock.
pub struct SledStore {
    db: Db,
    file: File,
}

impl SledStore {
    /// Opens or makes the database in folder `path`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::new().path(path).segment_size(SEGMENT).cache_capacity(CACHE);
        let db = config.open().map_err(failed)?;
        let file = OpenOptions::new().read(true).write(true).open(path.join("db"))?;
        file.sync_all()?;
        sync_folder(path)?;
        if let Some(parent) = path.parent() {
            sync_folder(parent)?;
        }
        Ok(Self { db, file })
    }

    fn row<T>(&self, key: &[u8]) -> Result<Option<T>, StoreError>
    where
        T: for<'b> minicbor::Decode<'b, ()> + minicbor::Encode<()>,
    {
        match self.db.get(key).map_err(failed)? {
            Some(bytes) => Ok(Some(decode(&bytes)?)),
            None => Ok(None),
        }
    }

    /// Up to `max` rows of one kind after a given id.
    fn page<T>(&self, kind: u8, after: Option<&[u8; 32]>, max: usize) -> Result<Vec<([u8; 32], T)>, StoreError>
    where
        T: for<'b> minicbor::Decode<'b, ()> + minicbor::Encode<()>,
    {
        // A zero byte behind the last id: the first key that is greater.
        let from = after.map_or(vec![kind], |id| [&[kind], id.as_slice(), &[0]].concat());
        let mut rows = Vec::new();
        for entry in self.db.range(from..vec![kind + 1]).take(max) {
            let (key, bytes) = entry.map_err(failed)?;
            let id = key.get(1..).and_then(|id| id.try_into().ok()).ok_or(StoreError::Damaged)?;
            rows.push((id, decode(&bytes)?));
        }
        Ok(rows)
    }

    fn remove_bodies(&self, batch: &mut Batch, id: &SlotId, version: u64) -> Result<(), StoreError> {
        for key in self.db.scan_prefix(numbered(BODY, &id.0, version)).keys() {
            batch.remove(key.map_err(failed)?);
        }
        Ok(())
    }
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

fn failed(error: sled::Error) -> StoreError {
    StoreError::Io(io::Error::from(error))
}

fn decode<T>(bytes: &IVec) -> Result<T, StoreError>
where
    T: for<'b> minicbor::Decode<'b, ()> + minicbor::Encode<()>,
{
    cbor::from_slice(bytes, ROW_MAX).map_err(|_| StoreError::Damaged)
}

fn plain(kind: u8, id: &[u8; 32]) -> Vec<u8> {
    [&[kind], id.as_slice()].concat()
}

fn numbered(kind: u8, id: &[u8; 32], number: u64) -> Vec<u8> {
    [&[kind], id.as_slice(), &number.to_be_bytes()].concat()
}

/// The number behind kind and id.
fn number_of(key: &[u8]) -> Result<u64, StoreError> {
    let bytes = key.get(33..41).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_be_bytes).ok_or(StoreError::Damaged)
}

/// A blob lies behind the time it came.
fn split_blob(value: &[u8]) -> Result<(Timestamp, &[u8]), StoreError> {
    let (at, bytes) = value.split_first_chunk().ok_or(StoreError::Damaged)?;
    Ok((Timestamp(u64::from_be_bytes(*at)), bytes))
}

impl MailboxStore for SledStore {
    fn queue(&self, id: &QueueId) -> Result<Option<QueueRow>, StoreError> {
        self.row(&plain(QUEUE, &id.0))
    }

    fn put_queue(&mut self, id: &QueueId, row: &QueueRow, blob: Option<NewBlob<'_>>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        if let Some(blob) = blob {
            let value = [blob.at.0.to_be_bytes().as_slice(), blob.bytes].concat();
            batch.insert(numbered(BLOB, &id.0, row.last), value);
        }
        batch.insert(plain(QUEUE, &id.0), cbor::to_vec(row));
        self.db.apply_batch(batch).map_err(failed)
    }

    fn blobs(&self, id: &QueueId, after: u64, max: usize) -> Result<Vec<Blob>, StoreError> {
        let from = numbered(BLOB, &id.0, after.saturating_add(1));
        let mut found = Vec::new();
        for entry in self.db.range(from..=numbered(BLOB, &id.0, u64::MAX)).take(max) {
            let (key, value) = entry.map_err(failed)?;
            found.push(Blob { seq: number_of(&key)?, bytes: split_blob(&value)?.1.to_vec() });
        }
        Ok(found)
    }

    fn blob_age(&self, id: &QueueId, seq: u64) -> Result<Option<(Timestamp, u64)>, StoreError> {
        let Some(value) = self.db.get(numbered(BLOB, &id.0, seq)).map_err(failed)? else { return Ok(None) };
        let (at, bytes) = split_blob(&value)?;
        Ok(Some((at, bytes.len() as u64)))
    }

    fn drop_blobs(&mut self, id: &QueueId, from: u64, row: Option<&QueueRow>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        let until = numbered(BLOB, &id.0, row.map_or(u64::MAX, |row| row.first));
        for key in self.db.range(numbered(BLOB, &id.0, from)..until).keys() {
            batch.remove(key.map_err(failed)?);
        }
        match row {
            Some(row) => batch.insert(plain(QUEUE, &id.0), cbor::to_vec(row)),
            None => batch.remove(plain(QUEUE, &id.0)),
        }
        self.db.apply_batch(batch).map_err(failed)
    }

    fn queues(&self, after: Option<&QueueId>, max: usize) -> Result<Vec<(QueueId, QueueRow)>, StoreError> {
        let page = self.page(QUEUE, after.map(QueueId::as_bytes), max)?;
        Ok(page.into_iter().map(|(id, row)| (QueueId(id), row)).collect())
    }

    fn slot(&self, id: &SlotId) -> Result<Option<SlotRow>, StoreError> {
        self.row(&plain(SLOT, &id.0))
    }

    fn put_slot(&mut self, id: &SlotId, row: &SlotRow, body: Option<&[u8]>) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        if let Some(body) = body {
            for (index, piece) in (0u32..).zip(body.chunks(PIECE)) {
                let key = [numbered(BODY, &id.0, row.version).as_slice(), &index.to_be_bytes()].concat();
                batch.insert(key, piece);
            }
            self.remove_bodies(&mut batch, id, row.oldest().saturating_sub(1))?;
        }
        batch.insert(plain(SLOT, &id.0), cbor::to_vec(row));
        self.db.apply_batch(batch).map_err(failed)
    }

    fn bodies(&self, id: &SlotId, row: &SlotRow) -> Result<Vec<Vec<u8>>, StoreError> {
        let mut bodies = Vec::new();
        for (back, size) in (0u64..).zip(row.sizes.iter().rev()) {
            let version = row.version.saturating_sub(back);
            let mut body = Vec::new();
            for piece in self.db.scan_prefix(numbered(BODY, &id.0, version)).values() {
                body.extend_from_slice(&piece.map_err(failed)?);
            }
            if body.len() as u64 != *size {
                return Err(StoreError::Damaged);
            }
            bodies.push(body);
        }
        Ok(bodies)
    }

    fn drop_slot(&mut self, id: &SlotId, row: &SlotRow) -> Result<(), StoreError> {
        let mut batch = Batch::default();
        for version in row.oldest()..=row.version {
            self.remove_bodies(&mut batch, id, version)?;
        }
        batch.remove(plain(SLOT, &id.0));
        self.db.apply_batch(batch).map_err(failed)
    }

    fn slots(&self, after: Option<&SlotId>, max: usize) -> Result<Vec<(SlotId, SlotRow)>, StoreError> {
        let page = self.page(SLOT, after.map(SlotId::as_bytes), max)?;
        Ok(page.into_iter().map(|(id, row)| (SlotId(id), row)).collect())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        self.db.flush().map_err(failed)?;
        self.file.sync_data()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
