//! Extensions: fields that a content may carry beside its own, known here or not.

use std::{cmp::Ordering, collections::BTreeMap};

use minicbor::{Decode, Decoder, Encode, Encoder, data::Type, decode, encode};

use crate::{
    cbor::{DecodeError, check_deterministic, to_vec},
    limits::{EXTENSION_NAME_MAX, EXTENSION_VALUE_MAX, EXTENSIONS_MAX},
};

/// Any CBOR value, kept as its one deterministic encoding, so that what is not understood is not changed.
#[derive(Clone, PartialEq, Eq)]
pub struct Value(Vec<u8>);

impl Value {
    /// Takes a value's encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when it is too long, or not one item in deterministic encoding.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > EXTENSION_VALUE_MAX {
            return Err(DecodeError::TooLong { limit: EXTENSION_VALUE_MAX });
        }
        check_deterministic(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// A text.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(to_vec(&text))
    }

    /// A yes or no.
    #[must_use]
    pub fn bool(value: bool) -> Self {
        Self(to_vec(&value))
    }

    /// An unsigned integer.
    #[must_use]
    pub fn uint(value: u64) -> Self {
        Self(to_vec(&value))
    }

    /// A byte string.
    #[must_use]
    pub fn bytes(value: &[u8]) -> Self {
        Self(to_vec(&minicbor::bytes::ByteVec::from(value.to_vec())))
    }

    /// Its encoding.
    #[must_use]
    pub fn as_cbor(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        Decoder::new(&self.0).str().ok()
    }

    /// The yes or no, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        Decoder::new(&self.0).bool().ok()
    }

    /// The unsigned integer, if it is one.
    #[must_use]
    pub fn as_uint(&self) -> Option<u64> {
        Decoder::new(&self.0).u64().ok()
    }

    /// The byte string, if it is one.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        Decoder::new(&self.0).bytes().ok()
    }
}

/// Values are what people wrote: a length says enough.
impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Value({} bytes)", self.0.len())
    }
}

impl<C> Encode<C> for Value {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.writer_mut().write_all(&self.0).map_err(encode::Error::write)
    }
}

impl<'b, C> Decode<'b, C> for Value {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        let from = d.position();
        d.skip()?;
        let bytes = d.input().get(from..d.position()).unwrap_or_default();
        Self::from_cbor(bytes).map_err(|_| decode::Error::message("not a bounded, deterministic value"))
    }
}

/// The name of an extension: an integer, or 1 to 255 bytes of text. Ordered as the encodings are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// Zero or above: registered names.
    Uint(u64),
    /// The integer `-1 - n`: private use.
    Negative(u64),
    /// Text: private use. Ours begin with `hearth.`.
    Text(String),
}

impl Key {
    /// A text name.
    #[must_use]
    pub fn text(name: &str) -> Self {
        Self::Text(name.to_owned())
    }

    fn rank(&self) -> (u8, u64, &str) {
        match self {
            Self::Uint(n) => (0, *n, ""),
            Self::Negative(n) => (1, *n, ""),
            Self::Text(name) => (2, name.len() as u64, name),
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<C> Encode<C> for Key {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
        match self {
            Self::Uint(n) => e.u64(*n)?.ok(),
            // -1 - n: the encoder's own type reaches down to -2^64.
            Self::Negative(n) => e.i128(-1 - i128::from(*n))?.ok(),
            Self::Text(name) => e.str(name)?.ok(),
        }
    }
}

impl<'b, C> Decode<'b, C> for Key {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        if d.datatype()? == Type::String {
            let name = d.str()?;
            let fits = (1..=EXTENSION_NAME_MAX).contains(&name.len());
            return if fits { Ok(Self::text(name)) } else { Err(decode::Error::message("not a name's length")) };
        }
        let n = i128::from(d.int()?);
        let magnitude = if n < 0 { -1 - n } else { n };
        let magnitude = u64::try_from(magnitude).map_err(|_| decode::Error::message("not an integer key"))?;
        Ok(if n < 0 { Self::Negative(magnitude) } else { Self::Uint(magnitude) })
    }
}

/// The extensions of a content, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(pub BTreeMap<Key, Value>);

impl Extensions {
    /// The value of a text name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(&Key::text(name))
    }

    /// Sets the value of a text name.
    pub fn set(&mut self, name: &str, value: Value) {
        self.0.insert(Key::text(name), value);
    }
}

impl<C> Encode<C> for Extensions {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.map(self.0.len() as u64)?;
        for (key, value) in &self.0 {
            e.encode_with(key, ctx)?.encode_with(value, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Extensions {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        let count = d.map()?.unwrap_or(u64::MAX);
        if count > EXTENSIONS_MAX as u64 {
            return Err(decode::Error::message("too many extensions"));
        }
        let mut all = BTreeMap::new();
        for _ in 0..count {
            let key = d.decode_with(ctx)?;
            all.insert(key, d.decode_with(ctx)?);
        }
        Ok(Self(all))
    }
}
