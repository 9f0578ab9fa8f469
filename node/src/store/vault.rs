//! The file `vault`: the ring key, wrapped under the passphrase. Always exactly 4 KiB.
//!
//! Layout, integers little-endian: magic 8 ‖ version u16 ‖ Argon2id memory KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt 16
//! ‖ nonce 24 ‖ XChaCha20-Poly1305 of (ring key 32 ‖ zeros) ‖ BLAKE3 of everything before, 32. What stands before the
//! nonce's end is authenticated as associated data. The plain checksum tells a damaged file from a wrong passphrase.

use std::{io, path::Path};

use argon2::{Algorithm, Argon2, Params, Version};
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInPlace};
use zeroize::Zeroizing;

use super::files;
use crate::app::{Kind, Refusal};

/// Length of the file in bytes.
pub const VAULT_LEN: usize = 4_096;
/// Longest passphrase in bytes.
pub const PASSPHRASE_MAX: usize = 4_096;

const MAGIC: &[u8; 8] = b"HEARTHVT";
const VERSION: u16 = 1;
const HEAD: usize = 8 + 2 + 4 + 4 + 4 + 16 + 24;
const TAG: usize = 16;
const SUM: usize = 32;
const BODY: usize = VAULT_LEN - HEAD - TAG - SUM;

/// The least memory a file may name: OWASP's minimum.
const READ_KIB_MIN: u32 = 19 * 1_024;
/// The most memory a file may name; more would let a file stop the machine.
const READ_KIB_MAX: u32 = 1_024 * 1_024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;
/// The least memory that new vaults get: RFC 9106's second choice.
const WRITE_MIB_MIN: u32 = 64;
const WRITE_MIB_MAX: u32 = 1_024;

/// Why the vault refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// There is no vault.
    #[error("no vault")]
    Missing,
    /// There is a vault already.
    #[error("a vault exists")]
    Exists,
    /// The passphrase does not open it.
    #[error("wrong passphrase")]
    BadPassphrase,
    /// A passphrase has 1 to [`PASSPHRASE_MAX`] bytes.
    #[error("passphrase empty or too long")]
    Passphrase,
    /// Not a vault, or a changed one.
    #[error("vault damaged")]
    Damaged,
    /// The file names Argon2 parameters outside what is safe to compute.
    #[error("vault parameters refused")]
    Params,
    /// The memory that Argon2 needs is not there.
    #[error("not enough memory")]
    Memory,
    /// The operating system refused.
    #[error("disk refused: {0}")]
    Io(io::ErrorKind),
}

impl From<io::Error> for VaultError {
    fn from(e: io::Error) -> Self {
        Self::Io(e.kind())
    }
}

impl From<getrandom::Error> for VaultError {
    fn from(_: getrandom::Error) -> Self {
        Self::Io(io::ErrorKind::Unsupported)
    }
}

impl From<VaultError> for Refusal {
    fn from(e: VaultError) -> Self {
        let (kind, message) = match e {
            VaultError::Missing => (Kind::NotFound, "there is no vault yet: create one"),
            VaultError::Exists => (Kind::Conflict, "a vault exists already: unlock it"),
            VaultError::BadPassphrase => (Kind::BadPassphrase, "that is not the passphrase: try again"),
            VaultError::Passphrase => (Kind::Invalid, "the passphrase is empty or too long: choose another"),
            VaultError::Damaged => (Kind::Storage, "the vault file is damaged: restore it from a backup"),
            VaultError::Params => {
                (Kind::Storage, "the vault file asks for unsafe parameters: restore it from a backup")
            }
            VaultError::Memory => (Kind::Storage, "not enough memory to unlock: close other programs and try again"),
            VaultError::Io(_) => (Kind::Storage, "the disk refused: check it and its permissions, then try again"),
        };
        Self::new(kind, message)
    }
}

/// The cost of a guess. Stored in the file, so it can grow without locking anyone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultParams {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl Default for VaultParams {
    /// 256 MiB, 3 passes, 4 lanes: about a second of one core.
    fn default() -> Self {
        Self { memory_kib: 256 * 1_024, passes: 3, lanes: 4 }
    }
}

impl VaultParams {
    /// The environment variable that sets the memory in MiB.
    pub const ENV: &str = "HEARTH_ARGON2_MIB";

    /// Parameters with this much memory, 64 to 1,024 MiB; `None` outside.
    #[must_use]
    pub fn with_mib(mib: u32) -> Option<Self> {
        let fits = (WRITE_MIB_MIN..=WRITE_MIB_MAX).contains(&mib);
        fits.then(|| Self { memory_kib: mib.saturating_mul(1_024), ..Self::default() })
    }

    /// The default, or what [`VaultParams::ENV`] says. It exists for tests, which derive hundreds of keys, and for old
    /// machines that cannot spare 256 MiB; 64 MiB is still RFC 9106's second choice. No flag, so nobody lowers it by
    /// habit.
    ///
    /// # Errors
    /// [`VaultError::Params`] when the variable is not a number within 64..=1024.
    pub fn from_env() -> Result<Self, VaultError> {
        match std::env::var(Self::ENV) {
            Ok(text) => text.trim().parse().ok().and_then(Self::with_mib).ok_or(VaultError::Params),
            Err(std::env::VarError::NotPresent) => Ok(Self::default()),
            Err(std::env::VarError::NotUnicode(_)) => Err(VaultError::Params),
        }
    }

    /// Whether guessing is cheaper with these than with `other`.
    #[must_use]
    pub fn weaker_than(self, other: Self) -> bool {
        self.memory_kib < other.memory_kib || self.passes < other.passes
    }

    fn check(self) -> Result<Self, VaultError> {
        let ok = (READ_KIB_MIN..=READ_KIB_MAX).contains(&self.memory_kib)
            && (1..=PASSES_MAX).contains(&self.passes)
            && (1..=LANES_MAX).contains(&self.lanes);
        if ok { Ok(self) } else { Err(VaultError::Params) }
    }
}

/// Opens the ring. Wiped when dropped.
#[derive(Clone)]
pub struct RingKey(Zeroizing<[u8; 32]>);

impl RingKey {
    /// A random one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> Result<Self, VaultError> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut_slice())?;
        Ok(Self(key))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl std::fmt::Debug for RingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RingKey(…)")
    }
}

/// Whether this home has a vault.
#[must_use]
pub fn exists(home: &Path) -> bool {
    home.join("vault").exists()
}

/// The content of a vault file that wraps `ring` under `passphrase`. Takes about a second.
pub(super) fn wrap(ring: &RingKey, passphrase: &str, params: VaultParams) -> Result<Vec<u8>, VaultError> {
    let params = params.check()?;
    let mut salt = [0; 16];
    let mut nonce = [0; 24];
    getrandom::fill(&mut salt)?;
    getrandom::fill(&mut nonce)?;
    let kek = derive(passphrase, &salt, params)?;

    let mut file = Vec::with_capacity(VAULT_LEN);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&VERSION.to_le_bytes());
    for number in [params.memory_kib, params.passes, params.lanes] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(&salt);
    file.extend_from_slice(&nonce);
    let mut body = Zeroizing::new(ring.0.to_vec());
    body.resize(BODY, 0);
    let tag = XChaCha20Poly1305::new(kek.as_slice().into())
        .encrypt_in_place_detached(XNonce::from_slice(&nonce), &file, &mut body)
        .map_err(|_| VaultError::Damaged)?;
    file.extend_from_slice(&body);
    file.extend_from_slice(&tag);
    let sum = blake3::hash(&file);
    file.extend_from_slice(sum.as_bytes());
    Ok(file)
}

/// Puts the file in place, durably.
pub(super) fn write(home: &Path, file: &[u8]) -> Result<(), VaultError> {
    Ok(files::replace(&home.join("vault"), file)?)
}

/// Opens the vault: the ring key, and the parameters it is wrapped with. Takes about a second, as long for a wrong
/// passphrase as for the right one.
///
/// # Errors
/// As [`VaultError`]; nothing is changed.
pub fn open(home: &Path, passphrase: &str) -> Result<(RingKey, VaultParams), VaultError> {
    let file = match files::read_bounded(&home.join("vault"), VAULT_LEN as u64) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(VaultError::Missing),
        Err(e) if e.kind() == io::ErrorKind::FileTooLarge => return Err(VaultError::Damaged),
        Err(e) => return Err(e.into()),
    };
    unwrap(&file, passphrase)
}

/// Reads what [`wrap`] made.
pub(super) fn unwrap(file: &[u8], passphrase: &str) -> Result<(RingKey, VaultParams), VaultError> {
    let file: &[u8; VAULT_LEN] = file.try_into().map_err(|_| VaultError::Damaged)?;
    let (sealed, sum) = file.split_at(VAULT_LEN - SUM);
    if blake3::hash(sealed) != *<&[u8; SUM]>::try_from(sum).map_err(|_| VaultError::Damaged)? {
        return Err(VaultError::Damaged);
    }
    let (head, rest) = sealed.split_at(HEAD);
    let (body, tag) = rest.split_at(BODY);
    let (magic, fields) = head.split_at(MAGIC.len());
    let (version, fields) = fields.split_at(2);
    if magic != MAGIC || version != VERSION.to_le_bytes() {
        return Err(VaultError::Damaged);
    }
    let (numbers, fields) = fields.split_at(12);
    let (salt, nonce) = fields.split_at(16);
    let number = |i: usize| {
        let bytes = numbers.chunks_exact(4).nth(i).and_then(|b| b.try_into().ok());
        bytes.map(u32::from_le_bytes).ok_or(VaultError::Damaged)
    };
    let params = VaultParams { memory_kib: number(0)?, passes: number(1)?, lanes: number(2)? }.check()?;

    // No vault was ever wrapped under one that is empty or too long.
    let kek = derive(passphrase, salt, params).map_err(|e| match e {
        VaultError::Passphrase => VaultError::BadPassphrase,
        other => other,
    })?;
    let mut body = Zeroizing::new(body.to_vec());
    XChaCha20Poly1305::new(kek.as_slice().into())
        .decrypt_in_place_detached(XNonce::from_slice(nonce), head, &mut body, Tag::from_slice(tag))
        .map_err(|_| VaultError::BadPassphrase)?;
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(body.get(..32).ok_or(VaultError::Damaged)?);
    Ok((RingKey(key), params))
}

/// Only checks the passphrase, with the same work as [`open`].
///
/// # Errors
/// As [`open`].
pub fn verify(home: &Path, passphrase: &str) -> Result<(), VaultError> {
    open(home, passphrase).map(drop)
}

/// Wraps the same ring key under a new passphrase. After a crash the old or the new one opens the vault.
///
/// # Errors
/// As [`open`] for the old passphrase; [`VaultError::Passphrase`] when the new one cannot be used.
pub fn change(home: &Path, old: &str, new: &str, params: VaultParams) -> Result<(), VaultError> {
    check_passphrase(new)?;
    let (ring, stored) = open(home, old)?;
    let params = if params.weaker_than(stored) { stored } else { params };
    write(home, &wrap(&ring, new, params)?)
}

fn check_passphrase(passphrase: &str) -> Result<(), VaultError> {
    if (1..=PASSPHRASE_MAX).contains(&passphrase.len()) { Ok(()) } else { Err(VaultError::Passphrase) }
}

fn derive(passphrase: &str, salt: &[u8], params: VaultParams) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    check_passphrase(passphrase)?;
    let costs =
        Params::new(params.memory_kib, params.passes, params.lanes, Some(32)).map_err(|_| VaultError::Params)?;
    let mut key = Zeroizing::new([0; 32]);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, costs)
        .hash_password_into(passphrase.as_bytes(), salt, key.as_mut_slice())
        .map_err(|e| if e == argon2::Error::OutOfMemory { VaultError::Memory } else { VaultError::Params })?;
    Ok(key)
}

#[cfg(test)]
mod tests;
