//! The outer seal: frames of two sizes, cards of one, bodies of powers of two. XChaCha20-Poly1305, random nonces.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use hearth_protocol::limits::{CARD_BYTES, FRAME_LARGE, FRAME_OVERHEAD, FRAME_SMALL, PACKET_MAX};
use rand::CryptoRng;

const NONCE: usize = 24;
const TAG: usize = 16;
const LENGTH: usize = 4;

/// Why a seal failed. Says nothing of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Longer than the largest size.
    #[error("too long to seal")]
    TooLong,
    /// Another key, other data, or changed bytes.
    #[error("the seal does not open")]
    Broken,
}

/// Seals a packet into exactly 4,096 or 16,384 bytes.
///
/// # Errors
/// [`SealError::TooLong`] above [`PACKET_MAX`].
pub fn seal_frame(key: &[u8; 32], packet: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SealError> {
    let size = match packet.len() {
        n if n <= FRAME_SMALL - FRAME_OVERHEAD => FRAME_SMALL,
        n if n <= PACKET_MAX => FRAME_LARGE,
        _ => return Err(SealError::TooLong),
    };
    seal_to_size(key, b"hearth frame/1", packet, size, rng)
}

/// Opens a frame of either size.
///
/// # Errors
/// [`SealError::Broken`].
pub fn open_frame(key: &[u8; 32], frame: &[u8]) -> Result<Vec<u8>, SealError> {
    if frame.len() != FRAME_SMALL && frame.len() != FRAME_LARGE {
        return Err(SealError::Broken);
    }
    open_padded(key, b"hearth frame/1", frame)
}

/// Seals a card into exactly [`CARD_BYTES`].
///
/// # Errors
/// [`SealError::TooLong`].
pub fn seal_card(key: &[u8; 32], card: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SealError> {
    seal_to_size(key, b"hearth card/1", card, CARD_BYTES, rng)
}

/// Opens a card.
///
/// # Errors
/// [`SealError::Broken`].
pub fn open_card(key: &[u8; 32], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    if sealed.len() != CARD_BYTES {
        return Err(SealError::Broken);
    }
    open_padded(key, b"hearth card/1", sealed)
}

/// Seals a body of any length, padded to a power of two of at least 4,096 bytes.
///
/// # Errors
/// [`SealError::TooLong`] only if the cipher refuses, which needs gigabytes.
pub fn seal_body(key: &[u8; 32], label: &[u8], body: &[u8], rng: &mut dyn CryptoRng) -> Result<Vec<u8>, SealError> {
    let size = (body.len() + FRAME_OVERHEAD).next_power_of_two().max(FRAME_SMALL);
    seal_to_size(key, label, body, size, rng)
}

/// Opens a body.
///
/// # Errors
/// [`SealError::Broken`].
pub fn open_body(key: &[u8; 32], label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    open_padded(key, label, sealed)
}

fn seal_to_size(
    key: &[u8; 32],
    label: &[u8],
    content: &[u8],
    size: usize,
    rng: &mut dyn CryptoRng,
) -> Result<Vec<u8>, SealError> {
    let room = size.checked_sub(FRAME_OVERHEAD).ok_or(SealError::TooLong)?;
    let length = u32::try_from(content.len()).map_err(|_| SealError::TooLong)?;
    if content.len() > room {
        return Err(SealError::TooLong);
    }
    let mut plain = Vec::with_capacity(size - NONCE - TAG);
    plain.extend_from_slice(&length.to_be_bytes());
    plain.extend_from_slice(content);
    plain.resize(size - NONCE - TAG, 0);
    let mut nonce = [0u8; NONCE];
    rng.fill_bytes(&mut nonce);
    let sealed = XChaCha20Poly1305::new(key.into())
        .encrypt(XNonce::from_slice(&nonce), Payload { msg: &plain, aad: label })
        .map_err(|_| SealError::TooLong)?;
    Ok([&nonce[..], &sealed].concat())
}

fn open_padded(key: &[u8; 32], label: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE).ok_or(SealError::Broken)?;
    let mut plain = XChaCha20Poly1305::new(key.into())
        .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad: label })
        .map_err(|_| SealError::Broken)?;
    let (head, _) = plain.split_first_chunk::<LENGTH>().ok_or(SealError::Broken)?;
    let length = u32::from_be_bytes(*head) as usize;
    if length > plain.len() - LENGTH {
        return Err(SealError::Broken);
    }
    plain.truncate(LENGTH + length);
    plain.drain(..LENGTH);
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observer_sees_two_sizes_only() {
        let mut rng = rand::rng();
        for (length, size) in [(0, 4_096), (4_052, 4_096), (4_053, 16_384), (PACKET_MAX, 16_384)] {
            let packet = vec![9; length];
            let frame = seal_frame(&[1; 32], &packet, &mut rng).unwrap();
            assert_eq!(frame.len(), size);
            assert_eq!(open_frame(&[1; 32], &frame).unwrap(), packet);
            assert_eq!(open_frame(&[2; 32], &frame), Err(SealError::Broken));
        }
        assert_eq!(seal_frame(&[1; 32], &vec![0; PACKET_MAX + 1], &mut rng), Err(SealError::TooLong));
    }

    #[test]
    fn every_changed_byte_breaks_the_seal() {
        let mut rng = rand::rng();
        let frame = seal_card(&[1; 32], b"card", &mut rng).unwrap();
        for i in (0..frame.len()).step_by(37) {
            let mut bad = frame.clone();
            bad[i] ^= 1;
            assert_eq!(open_card(&[1; 32], &bad), Err(SealError::Broken), "byte {i}");
        }
        assert_eq!(open_card(&[1; 32], &frame[1..]), Err(SealError::Broken));
        let body = seal_body(&[1; 32], b"door", &[7; 5_000], &mut rng).unwrap();
        assert_eq!(body.len(), 8_192);
        assert_eq!(open_body(&[1; 32], b"door", &body).unwrap(), vec![7; 5_000]);
        assert_eq!(open_body(&[1; 32], b"other", &body), Err(SealError::Broken));
    }
}
