//! What can go wrong at rest. No error carries a path, key or text.

use std::io;

use super::VaultError;
use crate::app::{Kind, Refusal};

/// Why the store refused. After any of these nothing of the refused batch was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The vault file refused.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// Rows are missing, changed or older than they should be.
    #[error("store damaged")]
    Damaged,
    /// No room left on the disk.
    #[error("disk full")]
    Full,
    /// A row is longer than [`super::VALUE_MAX`], its key longer than [`super::KEY_MAX`], or there are too many keys.
    #[error("row too large")]
    TooLarge,
    /// Another process has these files open.
    #[error("store in use by another process")]
    InUse,
    /// A failed write closed the store; [`super::Store::reopen`] tries again.
    #[error("store closed after a failed write")]
    Closed,
    /// The operating system refused.
    #[error("disk refused: {0}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for StoreError {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::Full,
            kind => Self::Io(kind),
        }
    }
}

impl From<getrandom::Error> for StoreError {
    fn from(_: getrandom::Error) -> Self {
        Self::Io(io::ErrorKind::Unsupported)
    }
}

/// sled reports a changed file in many ways; whatever is not plainly the disk's refusal is damage.
impl From<sled::Error> for StoreError {
    fn from(e: sled::Error) -> Self {
        match e {
            sled::Error::Io(e) => match e.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::NotFound => Self::Damaged,
                _ if e.to_string().contains("could not acquire lock") => Self::InUse,
                _ => e.into(),
            },
            _ => Self::Damaged,
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(e: StoreError) -> Self {
        let (kind, message) = match e {
            StoreError::Vault(e) => return e.into(),
            StoreError::Damaged => {
                (Kind::Storage, "the store is damaged: what can be read is shown, nothing more is written")
            }
            StoreError::Full => (Kind::Storage, "the disk is full: free some space and try again"),
            StoreError::TooLarge => (Kind::TooLarge, "this is too large to be stored"),
            StoreError::InUse => (Kind::Storage, "another process uses this folder: stop it first"),
            StoreError::Closed | StoreError::Io(_) => {
                (Kind::Storage, "the disk refused: check it and its permissions, then try again")
            }
        };
        Self::new(kind, message)
    }
}
