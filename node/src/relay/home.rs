//! A relay's folder: its lock, its identity, its mailbox.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    net::commons::{CommonsError, Identity},
    store::private_dir,
};

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// Another process uses it.
    #[error("another process uses this folder: stop it first")]
    InUse,
    /// It cannot be made, read or written.
    #[error("the folder cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The identity file is not what was written. It is left as it is: a new identity would lose every group's trust.
    #[error("the identity file is damaged: restore it from a copy")]
    Damaged,
    /// No key pair could be made.
    #[error(transparent)]
    Identity(#[from] CommonsError),
}

const SEED: usize = 32;

/// A home, locked until dropped.
#[derive(Debug)]
pub(super) struct Home {
    path: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, HomeError> {
        private_dir(path)?;
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(HomeError::InUse),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    pub(super) fn mailbox(&self) -> PathBuf {
        self.path.join("mailbox")
    }

    /// The identity kept here, made at the first start.
    pub(super) fn identity(&self) -> Result<Identity, HomeError> {
        if let Some(identity) = read_identity(&self.path)? {
            return Ok(identity);
        }
        let mut seed = Zeroizing::new([0; SEED]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| CommonsError::Identity)?;
        write_private(&self.path, "identity", seed.as_slice())?;
        Ok(Identity::from_seed(seed)?)
    }
}

/// The PeerId of the relay in `home`, which may be running; made if there is none yet.
///
/// # Errors
/// [`HomeError`].
pub fn peer_id(home: &Path) -> Result<String, HomeError> {
    match read_identity(home)? {
        Some(identity) => Ok(identity.peer_id()),
        None => Ok(Home::open(home)?.identity()?.peer_id()),
    }
}

fn read_identity(home: &Path) -> Result<Option<Identity>, HomeError> {
    let file = match File::open(home.join("identity")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Zeroizing::new(Vec::with_capacity(SEED + 1));
    file.take(SEED as u64 + 1).read_to_end(&mut bytes)?;
    let seed: [u8; SEED] = bytes.as_slice().try_into().map_err(|_| HomeError::Damaged)?;
    Ok(Some(Identity::from_seed(Zeroizing::new(seed))?))
}

/// Writes a file that only this user can read, whole or not at all.
fn write_private(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = folder.join(format!("{name}.new"));
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, folder.join(name))?;
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
