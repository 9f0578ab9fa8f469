//! HPKE (RFC 9180) base mode for the door: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305.

use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    crypto::OpenMlsCrypto as _,
    types::{HpkeAeadType, HpkeCiphertext, HpkeConfig, HpkeKdfType, HpkeKemType, HpkeKeyPair},
};

/// Bytes that sealing adds: the encapsulated key (32) and the authentication tag (16).
pub const OVERHEAD: usize = ENCAPSULATED + 16;
/// Bytes of the encapsulated key, which come first.
const ENCAPSULATED: usize = 32;
const CONFIG: HpkeConfig = HpkeConfig(HpkeKemType::DhKem25519, HpkeKdfType::HkdfSha256, HpkeAeadType::ChaCha20Poly1305);

/// Why sealing or opening failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HpkeError {
    /// Not sealed to this key under this info and associated data, or changed since.
    #[error("the sealed bytes do not open")]
    Open,
    /// The library failed.
    #[error("HPKE library error")]
    Library,
}

/// Seals `plaintext` to a public key; the result is [`OVERHEAD`] bytes longer.
///
/// # Errors
/// [`HpkeError::Library`] for a key that is no point of the curve's use.
pub fn seal_to(public_key: &[u8; 32], info: &[u8], aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, HpkeError> {
    let sealed = RustCrypto::default().hpke_seal(CONFIG, public_key, info, aad, plaintext);
    let sealed = sealed.map_err(|_| HpkeError::Library)?;
    Ok([sealed.kem_output.as_slice(), sealed.ciphertext.as_slice()].concat())
}

/// Opens what was sealed to [`public_key`] of the same seed, with the same `info` and `aad`.
///
/// # Errors
/// [`HpkeError::Open`].
pub fn open_with(seed: &[u8; 32], info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, HpkeError> {
    let (kem_output, ciphertext) = sealed.split_at_checked(ENCAPSULATED).ok_or(HpkeError::Open)?;
    let input = HpkeCiphertext { kem_output: kem_output.to_vec().into(), ciphertext: ciphertext.to_vec().into() };
    let keys = key_pair(seed)?;
    RustCrypto::default().hpke_open(CONFIG, &input, &keys.private, info, aad).map_err(|_| HpkeError::Open)
}

/// The public key of a seed (RFC 9180 §7.1.3 DeriveKeyPair).
///
/// # Errors
/// [`HpkeError::Library`].
pub fn public_key(seed: &[u8; 32]) -> Result<[u8; 32], HpkeError> {
    key_pair(seed)?.public.try_into().map_err(|_| HpkeError::Library)
}

fn key_pair(seed: &[u8; 32]) -> Result<HpkeKeyPair, HpkeError> {
    RustCrypto::default().derive_hpke_keypair(CONFIG, seed).map_err(|_| HpkeError::Library)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    #[test]
    fn opens_only_with_its_key_info_and_aad() {
        let sealed = seal_to(&public_key(&SEED).unwrap(), b"info", b"aad", b"a door key").unwrap();
        assert_eq!(sealed.len(), b"a door key".len() + OVERHEAD);
        assert_eq!(open_with(&SEED, b"info", b"aad", &sealed).unwrap(), b"a door key");
        assert_eq!(open_with(&[8; 32], b"info", b"aad", &sealed), Err(HpkeError::Open));
        assert_eq!(open_with(&SEED, b"other", b"aad", &sealed), Err(HpkeError::Open));
        assert_eq!(open_with(&SEED, b"info", b"other", &sealed), Err(HpkeError::Open));
    }

    #[test]
    fn no_changed_or_shortened_byte_string_opens() {
        let sealed = seal_to(&public_key(&SEED).unwrap(), b"info", b"", b"text").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            // Bit 255 of an X25519 point is ignored by RFC 7748, but HPKE hashes the encapsulated key as sent.
            changed[at] ^= 0x80;
            assert_eq!(open_with(&SEED, b"info", b"", &changed), Err(HpkeError::Open), "byte {at}");
            assert_eq!(open_with(&SEED, b"info", b"", &sealed[..at]), Err(HpkeError::Open), "length {at}");
        }
    }

    #[test]
    fn two_seals_of_one_text_differ() {
        let key = public_key(&SEED).unwrap();
        assert_ne!(seal_to(&key, b"", b"", b"text").unwrap(), seal_to(&key, b"", b"", b"text").unwrap());
    }
}
