//! Opening sled, and reading everything in it once: what is there, what it says, what does not fit.

use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::Duration,
};

use zeroize::Zeroizing;

use super::{
    Row, StoreError,
    manifest::{self, Head, Manifest, MetaRow, Tally},
    ring::{Ring, Serial},
    rows::{self, Header, Name},
};

/// sled's page cache in bytes. Rows are read once, at unlock; the engine holds what it needs.
const CACHE: u64 = 16 << 20;
/// sled gives its lock up some time after it was dropped: how often to look again, and how long to wait between.
const LOCK_TRIES: u32 = 60;
const LOCK_WAIT: Duration = Duration::from_millis(50);

/// Rows by slot: where each begins and in how many pieces it is.
pub(super) type Index = HashMap<Serial, HashMap<Name, u16>>;

/// Opens sled. Its background flusher stays on, because it also collects garbage.
pub(super) fn open_sled(path: &Path) -> Result<sled::Db, StoreError> {
    let config = sled::Config::new().path(path).use_compression(false).cache_capacity(CACHE).flush_every_ms(Some(500));
    let mut tries = 0;
    loop {
        // A changed file may make sled panic: that is damage like any other.
        match catch_unwind(AssertUnwindSafe(|| config.open())) {
            Err(_) => return Err(StoreError::Damaged),
            Ok(Ok(db)) => return Ok(db),
            Ok(Err(e)) => match StoreError::from(e) {
                StoreError::InUse if tries < LOCK_TRIES => std::thread::sleep(LOCK_WAIT),
                e => return Err(e),
            },
        }
        tries += 1;
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Scan {
    pub(super) rows: Vec<Row>,
    pub(super) index: Index,
    /// As recorded in sled.
    pub(super) manifest: Manifest,
    /// As counted now.
    counted: BTreeMap<Serial, Tally>,
    has_head: bool,
    /// Something does not authenticate or cannot be read.
    broken: bool,
}

/// Reads everything.
pub(super) fn scan(db: &sled::Db, ring: &Ring) -> Scan {
    let mut found = Scan::default();
    let walked = catch_unwind(AssertUnwindSafe(|| {
        let mut partial = None;
        for item in db.iter() {
            let Ok((place, sealed)) = item else {
                found.broken = true;
                break;
            };
            if found.piece(ring, &mut partial, &place, &sealed).is_none() {
                found.broken = true;
                partial = None;
            }
        }
        found.broken |= partial.is_some();
    }));
    found.broken |= walked.is_err();
    found
}

/// A row of which some pieces were read.
struct Partial {
    name: Name,
    header: Header,
    plain: Zeroizing<Vec<u8>>,
}

impl Scan {
    /// Whether this is everything that was ever acknowledged: see [`manifest`].
    pub(super) fn is_whole(&self, ring: &Ring, anchor: Option<Head>) -> bool {
        let Some(anchor) = anchor else { return false };
        let head = self.manifest.head;
        let recorded = &self.manifest.tallies;
        let zero = Tally::default();
        let mut serials = recorded.keys().chain(self.counted.keys());
        let tallies_fit =
            serials.all(|serial| recorded.get(serial).unwrap_or(&zero).fits(self.counted.get(serial).unwrap_or(&zero)));
        !self.broken
            && self.has_head
            && tallies_fit
            && head.sum == Manifest::sum(&ring.sums, recorded)
            && head.generation >= anchor.generation
            && (head.generation > anchor.generation || head.sum == anchor.sum)
    }

    fn piece(&mut self, ring: &Ring, partial: &mut Option<Partial>, place: &[u8], sealed: &[u8]) -> Option<()> {
        let header = rows::header(&ring.names, sealed)?;
        let name = rows::name_of(place)?;
        if partial.is_some() && header.index == 0 {
            *partial = None;
            self.broken = true;
        }
        if header.serial == manifest::SERIAL {
            return self.meta(ring, place, header, sealed);
        }
        self.counted.entry(header.serial).or_default().put(&ring.sums, place, sealed);
        if header.index == 0 {
            self.index.entry(header.serial).or_default().insert(name, header.pieces);
        }
        let Some((slot, key)) = ring.get(header.serial) else {
            return ring.is_dead(header.serial).then_some(());
        };

        let mut so_far = match partial.take() {
            None if header.index == 0 => Partial { name, header, plain: Zeroizing::default() },
            Some(p) if p.name == name && p.header.serial == header.serial && p.header.index + 1 == header.index => p,
            _ => return None,
        };
        rows::open_piece(key, place, header, sealed, &mut so_far.plain)?;
        so_far.header = header;
        if header.index + 1 < header.pieces {
            *partial = Some(so_far);
            return Some(());
        }
        let (table, key, value) = rows::parse(&so_far.plain)?;
        if table != slot.table as u8 {
            return None;
        }
        self.rows.push(Row { bucket: slot.bucket, table: slot.table, key: key.to_vec(), value: value.to_vec() });
        Some(())
    }

    fn meta(&mut self, ring: &Ring, place: &[u8], header: Header, sealed: &[u8]) -> Option<()> {
        let mut plain = Vec::new();
        rows::open_piece(&ring.meta, place, header, sealed, &mut plain)?;
        let (_, key, value) = rows::parse(&plain)?;
        match MetaRow::from_row(key, value)? {
            MetaRow::Head(head) => {
                self.has_head = true;
                self.manifest.head = head;
            }
            MetaRow::Tally(serial, tally) => {
                self.manifest.tallies.insert(serial, tally);
            }
        }
        Some(())
    }
}
