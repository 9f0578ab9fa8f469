//! Strict CBOR: one encoding per value, bounded before it is read.

use minicbor::{Decode, Decoder, Encode, data::Type};

use crate::limits::CBOR_DEPTH;

mod deterministic;

pub use deterministic::check_deterministic;

/// Why bytes were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than this kind of message may be.
    #[error("longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// Not CBOR, nested too deep, or a count larger than the bytes behind it.
    #[error("not well-formed")]
    Malformed,
    /// Well-formed, but not a value of the expected type.
    #[error("not of the expected shape")]
    Shape,
    /// Of the type, with a count or a length beyond its limit.
    #[error("beyond a limit")]
    Limit,
    /// A value of the type, in another than the one deterministic encoding.
    #[error("not in deterministic encoding")]
    NotDeterministic,
}

/// Encodes a value deterministically. Types of this crate are arrays and integers, so minicbor's
/// shortest forms are the deterministic ones.
#[must_use]
pub fn to_vec<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut out = Vec::new();
    // Writing to a Vec is infallible; a failing Encode impl would leave a prefix that no decoder accepts.
    let _ = minicbor::encode(value, &mut out);
    out
}

/// Decodes exactly one value of at most `limit` bytes, refusing any other encoding of it.
///
/// # Errors
/// [`DecodeError`], before anything proportional to a claimed length is allocated.
pub fn from_slice<T>(bytes: &[u8], limit: usize) -> Result<T, DecodeError>
where
    T: for<'b> Decode<'b, ()> + Encode<()>,
{
    if bytes.len() > limit {
        return Err(DecodeError::TooLong { limit });
    }
    check_shape(bytes)?;
    let value: T = minicbor::decode(bytes).map_err(|_| DecodeError::Shape)?;
    if to_vec(&value) == bytes { Ok(value) } else { Err(DecodeError::NotDeterministic) }
}

/// A type that travels by itself: how long it may be, and what must hold of its fields beside their shape.
pub trait Wire: Encode<()> + for<'b> Decode<'b, ()> {
    /// Bytes of the longest encoding.
    const MAX: usize;

    /// Whether counts and lengths are within the limits.
    fn within_limits(&self) -> bool;
}

/// The way in for whatever others sent: [`from_slice`] with the type's own bound, then its limits.
///
/// # Errors
/// [`DecodeError`]; [`DecodeError::Limit`] when a count or a length is beyond its limit.
pub fn read<T: Wire>(bytes: &[u8]) -> Result<T, DecodeError> {
    let value: T = from_slice(bytes, T::MAX)?;
    if value.within_limits() { Ok(value) } else { Err(DecodeError::Limit) }
}

/// A value as it goes over a stream: its length in four big-endian bytes, then its encoding.
#[must_use]
pub fn frame<T: Wire>(value: &T) -> Vec<u8> {
    let bytes = to_vec(value);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [length.to_be_bytes().as_slice(), &bytes].concat()
}

/// The length that a frame's first four bytes announce, before anything is allocated for it.
///
/// # Errors
/// [`DecodeError::TooLong`] beyond `limit`: the stream is closed, nothing more is read from it.
pub fn frame_length(prefix: [u8; 4], limit: usize) -> Result<usize, DecodeError> {
    match usize::try_from(u32::from_be_bytes(prefix)) {
        Ok(length) if length <= limit => Ok(length),
        _ => Err(DecodeError::TooLong { limit }),
    }
}

/// Walks the tokens once, without recursion: one item, definite lengths, at most
/// [`CBOR_DEPTH`] levels, no count larger than the bytes that are left.
///
/// # Errors
/// [`DecodeError::Malformed`].
pub fn check_shape(bytes: &[u8]) -> Result<(), DecodeError> {
    let malformed = |_| DecodeError::Malformed;
    let mut decoder = Decoder::new(bytes);
    let mut open: Vec<u64> = vec![1];
    while let Some(left) = open.last_mut() {
        if *left == 0 {
            open.pop();
            continue;
        }
        *left -= 1;
        let remaining = (bytes.len() - decoder.position()) as u64;
        let count = match decoder.datatype().map_err(malformed)? {
            Type::Array => decoder.array().map_err(malformed)?.ok_or(DecodeError::Malformed)?,
            Type::Map => {
                let pairs = decoder.map().map_err(malformed)?.ok_or(DecodeError::Malformed)?;
                pairs.checked_mul(2).ok_or(DecodeError::Malformed)?
            }
            Type::Tag => {
                decoder.tag().map_err(malformed)?;
                1
            }
            Type::ArrayIndef | Type::MapIndef | Type::BytesIndef | Type::StringIndef | Type::Break => {
                return Err(DecodeError::Malformed);
            }
            _ => {
                decoder.skip().map_err(malformed)?;
                continue;
            }
        };
        if count > remaining || open.len() >= CBOR_DEPTH {
            return Err(DecodeError::Malformed);
        }
        open.push(count);
    }
    if decoder.position() == bytes.len() { Ok(()) } else { Err(DecodeError::Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_deep_nesting_and_huge_counts_without_allocating() {
        let deep = vec![0x81; 10_000];
        assert_eq!(check_shape(&deep), Err(DecodeError::Malformed));
        let huge = [0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(check_shape(&huge), Err(DecodeError::Malformed));
        let long_bytes = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(check_shape(&long_bytes), Err(DecodeError::Malformed));
    }

    #[test]
    fn refuses_a_second_encoding_of_the_same_value() {
        assert_eq!(from_slice::<u64>(&[0x07], 16), Ok(7));
        assert_eq!(from_slice::<u64>(&[0x18, 0x07], 16), Err(DecodeError::NotDeterministic));
        assert_eq!(from_slice::<u64>(&[0x07, 0x07], 16), Err(DecodeError::Malformed));
        assert_eq!(from_slice::<u64>(&[0x07], 0), Err(DecodeError::TooLong { limit: 0 }));
    }
}
