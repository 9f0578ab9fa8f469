//! The store: batches in, rows out.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    path::{Path, PathBuf},
};

use hearth_protocol::time::Day;
use zeroize::Zeroizing;

use super::{
    Row, StoreError, Table, VaultParams, Write, files,
    manifest::{self, Anchor, Head, Manifest, MetaRow, Tally},
    rebuild,
    ring::{Key, Ring, Serial, Slot},
    rows::{self, KEY_MAX, Sealer, VALUE_MAX},
    scan::{self, Index},
    vault::{self, RingKey, VaultError},
};

/// A clock this many days ahead of the last time is rather wrong than right.
const JUMP_DAYS: u64 = 366;

/// What [`Store::expire`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// So many keys were erased.
    Erased(usize),
    /// The clock is more than a year ahead of the last time: nothing was erased.
    ClockJumped,
}

/// An open vault. One at a time per home: the caller holds the home's lock.
///
/// All calls block on the disk. When a commit fails, nothing of it was acknowledged and the store is closed: after
/// [`Store::reopen`] the batch is there wholly or not at all. A damaged store reads what authenticates and writes
/// nothing.
pub struct Store {
    pub(super) home: PathBuf,
    key: RingKey,
    ring: Ring,
    pub(super) open: Option<Open>,
    loaded: Option<Vec<Row>>,
    damaged: bool,
}

pub(super) struct Open {
    pub(super) db: sled::Db,
    /// sled's log; its own flush does not wait for the disk.
    log: File,
    anchor: Anchor,
    manifest: Manifest,
    index: Index,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("damaged", &self.damaged).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes a vault and opens it. What a creation that never finished left behind is thrown away. About a second.
    ///
    /// # Errors
    /// [`VaultError::Exists`] when there is one; the passphrase's and the disk's refusals.
    pub fn create(home: &Path, passphrase: &str, params: VaultParams) -> Result<Self, StoreError> {
        if vault::exists(home) {
            return Err(VaultError::Exists.into());
        }
        let key = RingKey::random()?;
        let vault = vault::wrap(&key, passphrase, params)?;
        let store = Self::create_with(home, key)?;
        // Last: from here on there is a vault, and everything it needs is durable.
        vault::write(home, &vault)?;
        Ok(store)
    }

    /// Opens the vault; parameters weaker than `params` are raised. About a second, also for a wrong passphrase.
    ///
    /// # Errors
    /// [`VaultError::BadPassphrase`] and the vault's other refusals; [`StoreError::Damaged`] when nothing at all can
    /// be read.
    pub fn unlock(home: &Path, passphrase: &str, params: VaultParams) -> Result<Self, StoreError> {
        let (key, stored) = vault::open(home, passphrase)?;
        if stored.weaker_than(params) {
            // Best effort: the vault opens as it is.
            let _ = vault::wrap(&key, passphrase, params).and_then(|file| vault::write(home, &file));
        }
        Self::open_with(home, key)
    }

    pub(super) fn create_with(home: &Path, key: RingKey) -> Result<Self, StoreError> {
        files::private_dir(home)?;
        for leftover in ["ring", "anchor"] {
            match fs::remove_file(home.join(leftover)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e.into()),
                _ => {}
            }
        }
        rebuild::clear(home)?;
        let mut ring = Ring::fresh()?;
        ring.save(home, &key)?;
        let db = scan::open_sled(&home.join("db"))?;
        let log = files::open_private(&home.join("db").join("db"), false)?;
        let (anchor, _) = Anchor::open(home, &ring.meta, true)?;
        let mut open = Open { db, log, anchor, manifest: Manifest::default(), index: Index::new() };
        open.finish(&ring, sled::Batch::default(), &BTreeMap::new())?;
        open.anchor.write(&ring.meta, open.manifest.head, true)?;
        files::sync_dir(&home.join("db"))?;
        files::sync_dir(home)?;
        Ok(Self { home: home.to_owned(), key, ring, open: Some(open), loaded: Some(Vec::new()), damaged: false })
    }

    pub(super) fn open_with(home: &Path, key: RingKey) -> Result<Self, StoreError> {
        rebuild::recover(home)?;
        let ring = Ring::open(home, &key)?;
        let mut store = Self { home: home.to_owned(), key, ring, open: None, loaded: None, damaged: false };
        store.open_rows()?;
        Ok(store)
    }

    /// Tries again after a failed write. What authenticates is read anew.
    ///
    /// # Errors
    /// As [`Store::unlock`]; the store stays closed.
    pub fn reopen(&mut self) -> Result<(), StoreError> {
        self.open = None;
        self.loaded = None;
        rebuild::recover(&self.home)?;
        // The ring too: what was not written must not be believed.
        self.ring = Ring::open(&self.home, &self.key)?;
        self.open_rows()
    }

    fn open_rows(&mut self) -> Result<(), StoreError> {
        let folder = self.home.join("db");
        if !folder.join("db").exists() {
            return Err(StoreError::Damaged);
        }
        let (anchor, newest) = Anchor::open(&self.home, &self.ring.meta, false)?;
        let db = scan::open_sled(&folder)?;
        let log = files::open_private(&folder.join("db"), false)?;
        let found = scan::scan(&db, &self.ring);
        self.damaged = !found.is_whole(&self.ring, newest);
        self.loaded = Some(found.rows);
        let mut open = Open { db, log, anchor, manifest: found.manifest, index: found.index };
        if self.damaged {
            tracing::error!("store damaged: reading what authenticates, writing nothing");
            self.open = Some(open);
            return Ok(());
        }
        // sled may have recovered what was never synced; it counts from now on.
        open.log.sync_data()?;
        open.anchor.write(&self.ring.meta, open.manifest.head, true)?;
        self.open = Some(open);
        self.bury()?;
        self.finish_wiping()
    }

    /// Whether rows are missing or changed: then nothing is written any more.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        self.damaged
    }

    /// Every row that authenticates.
    ///
    /// # Errors
    /// [`StoreError::Closed`] after a failed write.
    pub fn load_all(&mut self) -> Result<Vec<Row>, StoreError> {
        if let Some(rows) = self.loaded.take() {
            return Ok(rows);
        }
        let open = self.open.as_ref().ok_or(StoreError::Closed)?;
        let found = scan::scan(&open.db, &self.ring);
        Ok(found.rows)
    }

    /// Writes a batch: all of it or nothing, and durable when this returns. The last of several writes to one key
    /// counts.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] before anything happens; [`StoreError::Damaged`]; else the disk's refusal, after
    /// which the store is closed.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if self.damaged {
            return Err(StoreError::Damaged);
        }
        if self.open.is_none() {
            return Err(StoreError::Closed);
        }
        let too_large = |w: &Write| w.key.len() > KEY_MAX || w.value.as_ref().is_some_and(|v| v.len() > VALUE_MAX);
        if writes.iter().any(too_large) {
            return Err(StoreError::TooLarge);
        }
        self.loaded = None;
        for write in writes.iter().filter(|write| write.value.is_some()) {
            let slot = Slot { bucket: write.bucket, table: write.table };
            if self.ring.current(slot).is_none() {
                self.ring.allocate(slot)?;
            }
        }
        // A key must be on disk before the rows it opens.
        self.save_ring()?;
        self.try_rows(|open, ring| open.apply(ring, writes))
    }

    /// Closes the store when the ring cannot be written: what is in memory would not be what opens the rows.
    fn save_ring(&mut self) -> Result<(), StoreError> {
        let saved = self.ring.save(&self.home, &self.key);
        if saved.is_err() {
            self.open = None;
            self.loaded = None;
        }
        saved
    }

    /// Closes the store when `work` fails, since sled's memory is then ahead of its disk.
    fn try_rows(&mut self, work: impl FnOnce(&mut Open, &Ring) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let open = self.open.as_mut().ok_or(StoreError::Closed)?;
        let done = work(open, &self.ring);
        if done.is_err() {
            self.open = None;
            self.loaded = None;
        }
        done
    }

    /// Erases the keys of all buckets whose day is over, and then their rows. `trusted`: the clock has been seen to
    /// run, so a jump is believed.
    ///
    /// # Errors
    /// As [`Store::commit`]. A key that was erased stays erased.
    pub fn expire(&mut self, today: Day, trusted: bool) -> Result<Expiry, StoreError> {
        if self.damaged {
            return Err(StoreError::Damaged);
        }
        if self.open.is_none() {
            return Err(StoreError::Closed);
        }
        if !trusted && self.ring.seen.is_some_and(|seen| today.0 > seen.0.saturating_add(JUMP_DAYS)) {
            return Ok(Expiry::ClockJumped);
        }
        let over = |slot: Slot| slot.bucket.expires.is_some_and(|day| day < today);
        let serials: Vec<Serial> = self.ring.entries().filter(|(_, slot)| over(*slot)).map(|(s, _)| s).collect();
        for serial in &serials {
            self.ring.forget(*serial, true);
        }
        self.ring.saw(today);
        if !serials.is_empty() {
            self.loaded = None;
        }
        self.save_ring()?;
        self.bury()?;
        Ok(Expiry::Erased(serials.len()))
    }

    /// Deletes the rows of erased keys.
    fn bury(&mut self) -> Result<(), StoreError> {
        let dead = self.ring.dead();
        if dead.is_empty() {
            return Ok(());
        }
        self.try_rows(|open, ring| open.remove(ring, &dead))?;
        self.ring.buried(&dead);
        Ok(())
    }

    /// Makes overwritten and deleted rows unreadable: the living ones of their slots move under fresh keys, the old
    /// keys are erased. Without `all`, only tables whose past is secret or which are small: those are meant for every
    /// minute, the rest for every hour. Returns how many keys were erased.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn wipe(&mut self, all: bool) -> Result<usize, StoreError> {
        if self.damaged {
            return Err(StoreError::Damaged);
        }
        let open = self.open.as_ref().ok_or(StoreError::Closed)?;
        let stale = open.manifest.tallies.iter().filter(|(_, tally)| tally.stale > 0);
        let due = stale.filter_map(|(serial, _)| {
            let (slot, _) = self.ring.get(*serial)?;
            (all || is_prompt(slot.table)).then_some(*serial)
        });
        let due: Vec<Serial> = due.collect();
        if due.is_empty() {
            return Ok(0);
        }
        for serial in &due {
            let living = open.manifest.tallies.get(serial).is_some_and(|tally| tally.count > 0);
            if let Some((slot, _)) = self.ring.get(*serial)
                && living
            {
                self.ring.allocate(slot)?;
            }
        }
        self.move_rows(&due)?;
        Ok(due.len())
    }

    /// A crash may have fallen between the two writes of the ring that [`Store::wipe`] makes.
    fn finish_wiping(&mut self) -> Result<(), StoreError> {
        let entries = self.ring.entries();
        let old = entries.filter(|(serial, slot)| self.ring.current(*slot) != Some(*serial));
        let old: Vec<Serial> = old.map(|(serial, _)| serial).collect();
        if old.is_empty() { Ok(()) } else { self.move_rows(&old) }
    }

    /// Moves rows under the current key of their slots, then erases the keys they had.
    fn move_rows(&mut self, serials: &[Serial]) -> Result<(), StoreError> {
        self.save_ring()?;
        for serial in serials {
            self.try_rows(|open, ring| open.rekey(ring, *serial))?;
        }
        for serial in serials {
            self.ring.forget(*serial, false);
        }
        self.save_ring()
    }

    /// Gives the disk back what deleted rows took: sled's files are written anew beside the old ones, then take their
    /// place. After a crash there are the old ones or the new ones.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn rebuild(&mut self) -> Result<(), StoreError> {
        if self.damaged {
            return Err(StoreError::Damaged);
        }
        let open = self.open.take().ok_or(StoreError::Closed)?;
        let copied = rebuild::copy(&self.home, &open.db);
        drop(open);
        let done = copied.and_then(|()| rebuild::swap(&self.home));
        self.reopen().and(done)
    }

    /// How many batches were ever written.
    #[cfg(test)]
    pub(crate) fn generation(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.manifest.head.generation)
    }

    /// Bytes that the home takes on the disk.
    #[must_use]
    pub fn store_bytes(&self) -> u64 {
        store_bytes(&self.home)
    }

    /// Writes everything out and closes.
    pub fn close(mut self) {
        if let Some(open) = self.open.take() {
            // Everything acknowledged is durable already.
            let _ = open.db.flush();
        }
    }
}

/// Bytes that a home takes on the disk, open or not.
#[must_use]
pub fn store_bytes(home: &Path) -> u64 {
    files::bytes_under(home)
}

/// Tables whose overwritten rows are secrets of the past (ratchets, retracted text, drafts), against those that hold
/// bookkeeping or what stays anyway.
fn is_prompt(table: Table) -> bool {
    !matches!(table, Table::State | Table::Op | Table::Frame)
}

impl Open {
    fn apply(&mut self, ring: &Ring, writes: &[Write]) -> Result<(), StoreError> {
        let mut last: HashMap<(Serial, &[u8]), &Write> = HashMap::with_capacity(writes.len());
        for write in writes {
            // No key, no rows: there is nothing to delete.
            if let Some(serial) = ring.current(Slot { bucket: write.bucket, table: write.table }) {
                last.insert((serial, &write.key), write);
            }
        }
        let mut batch = sled::Batch::default();
        let mut touched = BTreeMap::new();
        for ((serial, key), write) in last {
            let tally = touched.entry(serial).or_insert_with(|| self.tally(serial));
            let name = rows::name(&ring.names, serial, key);
            if self.take_out(ring, &mut batch, tally, (serial, name))? {
                tally.stale = tally.stale.saturating_add(1);
            }
            if let Some(value) = &write.value {
                self.put_in(ring, &mut batch, tally, (serial, key, value))?;
            }
        }
        self.finish(ring, batch, &touched)
    }

    fn tally(&self, serial: Serial) -> Tally {
        self.manifest.tallies.get(&serial).copied().unwrap_or_default()
    }

    /// Removes a row, if it is there.
    fn take_out(
        &mut self,
        ring: &Ring,
        batch: &mut sled::Batch,
        tally: &mut Tally,
        (serial, name): (Serial, rows::Name),
    ) -> Result<bool, StoreError> {
        let Some(pieces) = self.index.get_mut(&serial).and_then(|names| names.remove(&name)) else { return Ok(false) };
        for index in 0..pieces {
            let place = rows::place(name, index);
            let sealed = self.db.get(&place)?.ok_or(StoreError::Damaged)?;
            tally.take(&ring.sums, &place, &sealed);
            batch.remove(place);
        }
        Ok(true)
    }

    fn put_in(
        &mut self,
        ring: &Ring,
        batch: &mut sled::Batch,
        tally: &mut Tally,
        (serial, key, value): (Serial, &[u8], &[u8]),
    ) -> Result<(), StoreError> {
        let (slot, slot_key) = ring.get(serial).ok_or(StoreError::Damaged)?;
        let sealer = Sealer { names: &ring.names, key: slot_key, serial };
        let pieces = sealer.seal(slot.table as u8, key, value)?;
        let count = u16::try_from(pieces.len()).map_err(|_| StoreError::TooLarge)?;
        for (place, sealed) in pieces {
            tally.put(&ring.sums, &place, &sealed);
            batch.insert(place, sealed);
        }
        self.index.entry(serial).or_default().insert(rows::name(&ring.names, serial, key), count);
        Ok(())
    }

    /// Adds the manifest to a batch, applies it, waits for the disk, then moves the anchor.
    fn finish(
        &mut self,
        ring: &Ring,
        mut batch: sled::Batch,
        touched: &BTreeMap<Serial, Tally>,
    ) -> Result<(), StoreError> {
        let meta = Sealer { names: &ring.names, key: &ring.meta, serial: manifest::SERIAL };
        for (serial, tally) in touched {
            self.manifest.set(&ring.sums, *serial, *tally);
            if self.manifest.tallies.contains_key(serial) {
                insert_meta(&meta, &mut batch, MetaRow::Tally(*serial, *tally))?;
            } else {
                batch.remove(&rows::name(&ring.names, manifest::SERIAL, &manifest::tally_key(*serial))[..]);
                self.index.remove(serial);
            }
        }
        let Head { generation, sum } = self.manifest.head;
        let generation = generation.checked_add(1).ok_or(StoreError::TooLarge)?;
        self.manifest.head = Head { generation, sum };
        insert_meta(&meta, &mut batch, MetaRow::Head(self.manifest.head))?;

        self.db.apply_batch(batch)?;
        self.db.flush()?;
        self.log.sync_data()?;
        if self.anchor.write(&ring.meta, self.manifest.head, false).is_err() {
            // The rows are durable, and an anchor that is behind is no damage.
            tracing::warn!("the anchor could not be written");
        }
        Ok(())
    }

    /// Removes all rows of these slots, with their tallies; no key is needed for it.
    fn remove(&mut self, ring: &Ring, serials: &[Serial]) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        let mut touched = BTreeMap::new();
        for serial in serials {
            for (name, pieces) in self.index.remove(serial).unwrap_or_default() {
                (0..pieces).for_each(|index| batch.remove(rows::place(name, index)));
            }
            touched.insert(*serial, Tally::default());
        }
        self.finish(ring, batch, &touched)
    }

    /// Seals the rows of `old` under the current key of its slot.
    fn rekey(&mut self, ring: &Ring, old: Serial) -> Result<(), StoreError> {
        let names: BTreeSet<rows::Name> =
            self.index.get(&old).map(|names| names.keys().copied().collect()).unwrap_or_default();
        let mut batch = sled::Batch::default();
        let mut touched = BTreeMap::from([(old, Tally::default())]);
        if let Some((slot, key)) = ring.get(old)
            && let Some(new) = ring.current(slot).filter(|new| *new != old)
        {
            let mut tally = self.tally(new);
            for name in &names {
                let plain = self.read(ring, key, old, *name)?;
                let (_, key, value) = rows::parse(&plain).ok_or(StoreError::Damaged)?;
                self.put_in(ring, &mut batch, &mut tally, (new, key, value))?;
            }
            touched.insert(new, tally);
        } else if !names.is_empty() {
            return Err(StoreError::Damaged);
        }
        for (name, pieces) in self.index.remove(&old).unwrap_or_default() {
            (0..pieces).for_each(|index| batch.remove(rows::place(name, index)));
        }
        self.finish(ring, batch, &touched)
    }

    fn read(&self, ring: &Ring, key: &Key, serial: Serial, name: rows::Name) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let pieces = self.index.get(&serial).and_then(|names| names.get(&name)).copied().unwrap_or(0);
        let mut plain = Zeroizing::new(Vec::new());
        for index in 0..pieces {
            let place = rows::place(name, index);
            let sealed = self.db.get(&place)?.ok_or(StoreError::Damaged)?;
            let header = rows::header(&ring.names, &sealed).ok_or(StoreError::Damaged)?;
            rows::open_piece(key, &place, header, &sealed, &mut plain).ok_or(StoreError::Damaged)?;
        }
        Ok(plain)
    }
}

fn insert_meta(meta: &Sealer<'_>, batch: &mut sled::Batch, row: MetaRow) -> Result<(), StoreError> {
    let (key, value) = row.to_row();
    for (place, sealed) in meta.seal(manifest::TABLE, &key, &value)? {
        batch.insert(place, sealed);
    }
    Ok(())
}
