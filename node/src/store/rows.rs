//! One row on disk: where it lies, how it is sealed, how its length is hidden.
//!
//! - sled key: 16 bytes of a keyed hash over serial and logical key; further pieces append their index, two bytes.
//! - sled value: nonce 24 ‖ masked header 8 (serial u32, index u16, pieces u16) ‖ ciphertext ‖ tag 16.
//! - plaintext: table u8 ‖ key length u16 ‖ key ‖ value length u32 ‖ value ‖ zeros up to the size class, cut into pieces
//!   of 4 KiB. Pieces, because sled puts pages over 128 KiB into files of their own that it never syncs, and a page
//!   holds up to 17 rows.
//!
//! The header is masked so that the disk does not show which rows belong together; it is authenticated as associated
//! data with the sled key, so a row cannot stand in another's place.

use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce, aead::AeadInPlace};
use zeroize::Zeroizing;

use super::{
    StoreError,
    ring::{Key, Serial},
};

/// Longest value in bytes.
pub const VALUE_MAX: usize = 16 << 20;
/// Longest logical key in bytes.
pub const KEY_MAX: usize = 8 << 10;

/// Schema ‖ tree ‖ row version: the beginning of every row's associated data.
const AAD: &[u8] = b"hearth store 1 rows 1";
const NONCE: usize = 24;
const HEADER: usize = 8;
const TAG: usize = 16;
const PIECE: usize = 4_096;

/// Where a row begins.
pub(super) type Name = [u8; 16];

/// What the masked header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) serial: Serial,
    pub(super) index: u16,
    pub(super) pieces: u16,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let [a, b, c, d] = self.serial.to_le_bytes();
        let [e, f] = self.index.to_le_bytes();
        let [g, h] = self.pieces.to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    fn from_bytes([a, b, c, d, e, f, g, h]: [u8; HEADER]) -> Self {
        Self {
            serial: Serial::from_le_bytes([a, b, c, d]),
            index: u16::from_le_bytes([e, f]),
            pieces: u16::from_le_bytes([g, h]),
        }
    }
}

/// The sled key of a row's first piece.
pub(super) fn name(names: &Key, serial: Serial, key: &[u8]) -> Name {
    let mut hasher = blake3::Hasher::new_keyed(names);
    hasher.update(b"name").update(&serial.to_le_bytes()).update(key);
    let mut name = [0; 16];
    hasher.finalize_xof().fill(&mut name);
    name
}

/// The sled key of a piece.
pub(super) fn place(name: Name, index: u16) -> Vec<u8> {
    let mut place = name.to_vec();
    if index > 0 {
        place.extend_from_slice(&index.to_be_bytes());
    }
    place
}

/// The row that a sled key belongs to.
pub(super) fn name_of(place: &[u8]) -> Option<Name> {
    place.get(..16)?.try_into().ok()
}

fn mask(names: &Key, nonce: &[u8]) -> [u8; HEADER] {
    let mut hasher = blake3::Hasher::new_keyed(names);
    hasher.update(b"mask").update(nonce);
    let mut mask = [0; HEADER];
    hasher.finalize_xof().fill(&mut mask);
    mask
}

fn xor(mut a: [u8; HEADER], b: [u8; HEADER]) -> [u8; HEADER] {
    a.iter_mut().zip(b).for_each(|(a, b)| *a ^= b);
    a
}

/// The header of a sealed piece; garbage gives a garbage header, which then fails to authenticate.
pub(super) fn header(names: &Key, sealed: &[u8]) -> Option<Header> {
    let (nonce, rest) = sealed.split_at_checked(NONCE)?;
    let masked: [u8; HEADER] = rest.get(..HEADER)?.try_into().ok()?;
    Some(Header::from_bytes(xor(masked, mask(names, nonce))))
}

/// The part of a sealed piece that stands for all of it: nonce, header and tag.
pub(super) fn essence(sealed: &[u8]) -> Option<[&[u8]; 2]> {
    Some([sealed.get(..NONCE + HEADER)?, sealed.get(sealed.len().checked_sub(TAG)?..)?])
}

/// Bytes that a plaintext of this length takes: 256 B, 1, 4, 16, 64 KiB, then multiples of 64 KiB.
fn class(len: usize) -> usize {
    [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10]
        .into_iter()
        .find(|&class| len <= class)
        .unwrap_or_else(|| len.next_multiple_of(64 << 10))
}

/// Sealed pieces, each with its sled key.
pub(super) type Pieces = Vec<(Vec<u8>, Vec<u8>)>;

/// How a row is sealed.
pub(super) struct Sealer<'a> {
    pub(super) names: &'a Key,
    pub(super) key: &'a Key,
    pub(super) serial: Serial,
}

impl Sealer<'_> {
    /// The pieces of a row, with their places.
    pub(super) fn seal(&self, table: u8, key: &[u8], value: &[u8]) -> Result<Pieces, StoreError> {
        let key_len = u16::try_from(key.len()).ok().filter(|_| key.len() <= KEY_MAX).ok_or(StoreError::TooLarge)?;
        let value_len =
            u32::try_from(value.len()).ok().filter(|_| value.len() <= VALUE_MAX).ok_or(StoreError::TooLarge)?;
        let len = class(7 + key.len() + value.len());
        let mut plain = Zeroizing::new(Vec::with_capacity(len));
        plain.push(table);
        plain.extend_from_slice(&key_len.to_le_bytes());
        plain.extend_from_slice(key);
        plain.extend_from_slice(&value_len.to_le_bytes());
        plain.extend_from_slice(value);
        plain.resize(len, 0);

        let name = name(self.names, self.serial, key);
        let pieces = u16::try_from(len.div_ceil(PIECE)).map_err(|_| StoreError::TooLarge)?;
        let cipher = XChaCha20Poly1305::new(self.key.as_slice().into());
        let mut out = Vec::with_capacity(usize::from(pieces));
        for (index, piece) in (0..pieces).zip(plain.chunks(PIECE)) {
            let place = place(name, index);
            let header = Header { serial: self.serial, index, pieces };
            let mut nonce = [0; NONCE];
            getrandom::fill(&mut nonce)?;
            let mut body = piece.to_vec();
            let tag = cipher
                .encrypt_in_place_detached(XNonce::from_slice(&nonce), &aad(&place, header), &mut body)
                .map_err(|_| StoreError::TooLarge)?;
            let masked = xor(header.to_bytes(), mask(self.names, &nonce));
            out.push((place, [&nonce[..], &masked, &body, &tag].concat()));
        }
        Ok(out)
    }
}

/// Opens one piece and appends its plaintext to `out`; `None` if it is not what was sealed at this place.
pub(super) fn open_piece(key: &Key, place: &[u8], header: Header, sealed: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (nonce, rest) = sealed.split_at_checked(NONCE)?;
    let (_, rest) = rest.split_at_checked(HEADER)?;
    let (body, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let mut body = Zeroizing::new(body.to_vec());
    XChaCha20Poly1305::new(key.as_slice().into())
        .decrypt_in_place_detached(XNonce::from_slice(nonce), &aad(place, header), &mut body, Tag::from_slice(tag))
        .ok()?;
    out.extend_from_slice(&body);
    Some(())
}

/// Table, key and value of a row whose pieces were all opened.
pub(super) fn parse(plain: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&table, rest) = plain.split_first()?;
    let (len, rest) = rest.split_at_checked(2)?;
    let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(len.try_into().ok()?)))?;
    let (len, rest) = rest.split_at_checked(4)?;
    let value = rest.get(..usize::try_from(u32::from_le_bytes(len.try_into().ok()?)).ok()?)?;
    Some((table, key, value))
}

fn aad(place: &[u8], header: Header) -> Vec<u8> {
    [AAD, &header.to_bytes(), place].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::ring::random_key;

    fn open(key: &Key, names: &Key, pieces: &[(Vec<u8>, Vec<u8>)]) -> Option<(u8, Vec<u8>, Vec<u8>)> {
        let mut plain = Vec::new();
        for (place, sealed) in pieces {
            open_piece(key, place, header(names, sealed)?, sealed, &mut plain)?;
        }
        parse(&plain).map(|(table, key, value)| (table, key.to_vec(), value.to_vec()))
    }

    #[test]
    fn rows_of_every_size_come_back_and_only_classes_show() {
        let (names, key) = (random_key().unwrap(), random_key().unwrap());
        let sealer = Sealer { names: &names, key: &key, serial: 7 };
        let expected = [
            (0, 256),
            (200, 256),
            (249, 1 << 10),
            (1_000, 1 << 10),
            (4_000, 4 << 10),
            (4_096, 16 << 10),
            (70_000, 128 << 10),
        ];
        for (len, class) in expected {
            let value = vec![0xa5; len];
            let pieces = sealer.seal(3, b"k", &value).unwrap();
            let bytes: usize = pieces.iter().map(|(_, sealed)| sealed.len() - NONCE - HEADER - TAG).sum();
            assert_eq!(bytes, class, "value of {len}");
            assert!(pieces.iter().all(|(_, sealed)| sealed.len() <= PIECE + 48));
            assert_eq!(open(&key, &names, &pieces), Some((3, b"k".to_vec(), value)));
        }
        assert_eq!(sealer.seal(3, b"k", &vec![0; VALUE_MAX + 1]).unwrap_err(), StoreError::TooLarge);
        assert_eq!(sealer.seal(3, &[0; KEY_MAX + 1], b"").unwrap_err(), StoreError::TooLarge);
    }

    #[test]
    fn a_row_opens_only_unchanged_and_in_its_place() {
        let (names, key) = (random_key().unwrap(), random_key().unwrap());
        let sealer = Sealer { names: &names, key: &key, serial: 7 };
        let a = sealer.seal(3, b"a", b"one").unwrap();
        let b = sealer.seal(3, b"b", b"two").unwrap();
        assert!(open(&key, &names, &[(a[0].0.clone(), b[0].1.clone())]).is_none());
        for at in 0..a[0].1.len() {
            let mut bad = a.clone();
            bad[0].1[at] ^= 1;
            assert!(open(&key, &names, &bad).is_none(), "byte {at}");
        }
        let long = sealer.seal(3, b"a", &[1; 5_000]).unwrap();
        let (mut swapped, places) = (long.clone(), long.iter().map(|p| p.0.clone()));
        swapped.swap(1, 2);
        swapped.iter_mut().zip(places).for_each(|(piece, place)| piece.0 = place);
        assert!(open(&key, &names, &swapped).is_none());
    }
}
