//! The check for values whose type this crate does not know: they are kept as bytes, so the bytes must be the
//! only ones for their value (RFC 8949 §4.2.1).

use super::{DecodeError, check_shape};

/// One well-formed item with shortest heads, shortest floats, definite lengths and sorted, distinct map keys.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::NotDeterministic`].
pub fn check_deterministic(bytes: &[u8]) -> Result<(), DecodeError> {
    check_shape(bytes)?;
    let mut at = 0;
    let mut open = vec![Level { left: 1, map: false, key_from: 0, last_key: None }];
    while let Some(level) = open.last_mut() {
        level.before_item(bytes, at)?;
        if level.left == 0 {
            open.pop();
            continue;
        }
        level.left -= 1;
        let head = Head::read(bytes, &mut at)?;
        match head.major {
            MAJOR_BYTES | MAJOR_TEXT => {
                let length = usize::try_from(head.value).map_err(|_| DecodeError::Malformed)?;
                let end = at.checked_add(length).ok_or(DecodeError::Malformed)?;
                let string = bytes.get(at..end).ok_or(DecodeError::Malformed)?;
                if head.major == MAJOR_TEXT && std::str::from_utf8(string).is_err() {
                    return Err(DecodeError::Malformed);
                }
                at = end;
            }
            MAJOR_ARRAY => open.push(Level { left: head.value, map: false, key_from: at, last_key: None }),
            MAJOR_MAP => {
                open.push(Level { left: head.value.saturating_mul(2), map: true, key_from: at, last_key: None });
            }
            MAJOR_TAG => open.push(Level { left: 1, map: false, key_from: at, last_key: None }),
            _ => {}
        }
    }
    Ok(())
}

const MAJOR_BYTES: u8 = 2;
const MAJOR_TEXT: u8 = 3;
const MAJOR_ARRAY: u8 = 4;
const MAJOR_MAP: u8 = 5;
const MAJOR_TAG: u8 = 6;
const MAJOR_SIMPLE: u8 = 7;

/// An open array, map or tag. A map's `left` is even before a key and odd before a value.
struct Level {
    left: u64,
    map: bool,
    key_from: usize,
    last_key: Option<(usize, usize)>,
}

impl Level {
    fn before_item(&mut self, bytes: &[u8], at: usize) -> Result<(), DecodeError> {
        if !self.map {
            return Ok(());
        }
        if self.left.is_multiple_of(2) {
            self.key_from = at;
            return Ok(());
        }
        let key = bytes.get(self.key_from..at);
        let last = self.last_key.and_then(|(from, to)| bytes.get(from..to));
        self.last_key = Some((self.key_from, at));
        if last.is_some() && last >= key { Err(DecodeError::NotDeterministic) } else { Ok(()) }
    }
}

struct Head {
    major: u8,
    value: u64,
}

impl Head {
    fn read(bytes: &[u8], at: &mut usize) -> Result<Self, DecodeError> {
        let first = *bytes.get(*at).ok_or(DecodeError::Malformed)?;
        let (major, info) = (first >> 5, first & 0x1f);
        let width = match info {
            0..24 => 0,
            24..28 => 1usize << (info - 24),
            _ => return Err(DecodeError::Malformed),
        };
        let from = *at + 1;
        let argument = bytes.get(from..from + width).ok_or(DecodeError::Malformed)?;
        *at = from + width;
        let value = match width {
            0 => u64::from(info),
            _ => argument.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)),
        };
        let shortest = match (major, width) {
            (_, 0) => true,
            (MAJOR_SIMPLE, 1) => value >= 32,
            (MAJOR_SIMPLE, 2) => true,
            (MAJOR_SIMPLE, 4) => !fits_half(value),
            (MAJOR_SIMPLE, _) => !fits_single(f64::from_bits(value)),
            (_, 1) => value >= 24,
            (_, 2) => value > 0xff,
            (_, 4) => value > 0xffff,
            _ => value > 0xffff_ffff,
        };
        if shortest { Ok(Self { major, value }) } else { Err(DecodeError::NotDeterministic) }
    }
}

/// Whether a double is exactly a single. Every NaN has its payload's high bits in a shorter form.
fn fits_single(double: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, reason = "the loss is what is being looked for")]
    let single = double as f32;
    if double.is_nan() {
        double.to_bits().trailing_zeros() >= 29
    } else {
        f64::from(single).to_bits() == double.to_bits()
    }
}

/// Whether the bits of a single are exactly a half: its 10 bits of mantissa, or fewer below 2^-14.
fn fits_half(bits: u64) -> bool {
    let exponent = (bits >> 23) & 0xff;
    let mantissa = bits & 0x7f_ffff;
    let spare = match exponent {
        0 => return mantissa == 0,
        0xff => 13,
        113..=142 => 13,
        103..=112 => 13 + (113 - exponent),
        _ => return false,
    };
    mantissa & ((1 << spare) - 1) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(hex: &str) -> Result<(), DecodeError> {
        check_deterministic(&data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap())
    }

    #[test]
    fn accepts_the_one_encoding() {
        for hex in [
            "00",
            "17",
            "1818",
            "190100",
            "1a00010000",
            "1b0000000100000000",
            "20",
            "3818",
            "40",
            "4161",
            "60",
            "6161",
            "80",
            "820102",
            "a0",
            "a201020304",
            "a20102616103",
            "c100",
            "f4",
            "f6",
            "f7",
            "f820",
            "f93e00",
            "fa47c35000",
            "fb3ff199999999999a",
            "f90001",
            "f97c00",
            "f97e00",
            "a28001810102",
        ] {
            assert_eq!(check(hex), Ok(()), "{hex}");
        }
    }

    #[test]
    fn refuses_every_other_encoding_of_the_same_value() {
        for hex in [
            "1817",
            "1900ff",
            "1a0000ffff",
            "1b00000000ffffffff",
            "3817",
            "5801ff",
            "780161",
            "9800",
            "b800",
            "a203040102",
            "a201020102",
            "a26161030102",
            "d80100",
            "fa3fc00000",
            "fa00000000",
            "fa33800000",
            "fa7f800000",
            "fa7fc00000",
            "fb3ff8000000000000",
            "fb7ff8000000000000",
            "fb0000000000000000",
        ] {
            assert_ne!(check(hex), Ok(()), "{hex}");
        }
    }

    #[test]
    fn refuses_what_is_not_one_well_formed_item() {
        for hex in ["", "ff", "0000", "9f01ff", "bf0102ff", "5f4161ff", "6180", "62c328", "f8", "f818", "1c", "a101"] {
            assert!(check(hex).is_err(), "{hex}");
        }
    }
}
