//! Disk: the only place that names sled. Rows are sealed; one effect batch is one transaction.

//!
//! Files of a home, from the passphrase inwards: `vault` (the ring key, wrapped) → `ring` (a key per slot) → rows in
//! `db`, which is sled's. `anchor` says how new the rows must be at least. Erasing a key in the ring is how things are
//! deleted; [`Store`] says how damage is noticed.

mod db;
mod error;
mod files;
mod manifest;
mod rebuild;
mod ring;
mod rows;
mod scan;
pub mod vault;

use hearth_protocol::{id::GroupId, time::Day};

pub use db::{Expiry, Store, store_bytes};
pub use error::StoreError;
pub use files::private_dir;
pub use rows::{KEY_MAX, VALUE_MAX};
pub use vault::{RingKey, VaultError, VaultParams};

/// What a row belongs to: erasing the bucket's key erases its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bucket {
    /// The group, or `None` for what belongs to the vault as a whole.
    pub group: Option<GroupId>,
    /// The day at whose end the row expires, if it does.
    pub expires: Option<Day>,
}

/// What kind of row it is. The number is part of the sealed key's derivation and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Settings of the vault.
    Setting = 1,
    /// One row per group: keys of the persona, networks, cursors.
    Group = 2,
    /// Policy ops.
    Op = 3,
    /// Commits as received.
    Frame = 4,
    /// Rows of MLS state: key = node ‖ row key.
    Node = 5,
    /// Signed envelopes.
    Envelope = 6,
    /// What waits to be delivered.
    Outbox = 7,
    /// Drafts and other small things of the window.
    Draft = 8,
    /// Everything else that the engine keeps per group (cursors, delivery state, pending).
    State = 9,
}

impl Table {
    /// The table with this number.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        use Table::{Draft, Envelope, Frame, Group, Node, Op, Outbox, Setting, State};
        let all = [Setting, Group, Op, Frame, Node, Envelope, Outbox, Draft, State];
        all.into_iter().find(|table| *table as u8 == number)
    }
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub struct Write {
    /// Bucket.
    pub bucket: Bucket,
    /// Table.
    pub table: Table,
    /// Logical key; hashed with a secret before it reaches the disk.
    pub key: Vec<u8>,
    /// Plain value, sealed before it reaches the disk; `None` deletes.
    pub value: Option<Vec<u8>>,
}

impl std::fmt::Debug for Write {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = self.value.as_ref().map_or("delete", |_| "put");
        f.debug_struct("Write").field("table", &self.table).field("what", &what).finish_non_exhaustive()
    }
}

/// One row as it was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Bucket.
    pub bucket: Bucket,
    /// Table.
    pub table: Table,
    /// Logical key.
    pub key: Vec<u8>,
    /// Plain value.
    pub value: Vec<u8>,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("table", &self.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
