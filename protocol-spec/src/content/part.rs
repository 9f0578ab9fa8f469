//! The parts of a content: what is shown, or where it lies.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use super::Value;
use crate::limits::{
    CONTENT_PART_DEPTH, CONTENT_PARTS_MAX, CONTENT_TYPE_MAX, EXTERNAL_BYTES_MAX, EXTERNAL_TEXT_MAX, LANGUAGE_MAX,
};

/// What a part is for. Values without a name here are kept as they are.
pub mod disposition {
    /// Not said.
    pub const UNSPECIFIED: u8 = 0;
    /// Shown.
    pub const RENDER: u8 = 1;
    /// A reaction to the message in `in_reply_to`.
    pub const REACTION: u8 = 2;
    /// A profile.
    pub const PROFILE: u8 = 3;
    /// Shown inside another part.
    pub const INLINE: u8 = 4;
    /// An icon.
    pub const ICON: u8 = 5;
    /// Offered for download.
    pub const ATTACHMENT: u8 = 6;
    /// A call.
    pub const SESSION: u8 = 7;
    /// A preview of another part.
    pub const PREVIEW: u8 = 8;
}

/// One part, which may hold others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// One of [`disposition`], or a number unknown here.
    pub disposition: u8,
    /// Language tags separated by commas; empty when unknown.
    pub language: String,
    /// The body.
    pub kind: PartKind,
}

/// The body of a part, told apart by the draft's cardinality.
#[derive(Clone, PartialEq, Eq)]
pub enum PartKind {
    /// Nothing: with `replaces`, a retraction.
    Null,
    /// The content itself.
    Single {
        /// Media type.
        content_type: String,
        /// The bytes.
        content: Vec<u8>,
    },
    /// Content that lies elsewhere.
    External(Box<ExternalPart>),
    /// Several parts.
    Multi {
        /// How they belong together.
        semantics: PartSemantics,
        /// Two or more.
        parts: Vec<Part>,
    },
    /// A cardinality unknown here, 4 or above, with its fields as they came.
    Unknown {
        /// The number.
        cardinality: u64,
        /// What follows it.
        fields: Vec<Value>,
    },
}

/// The draft's part semantics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum PartSemantics {
    /// The reader picks one.
    #[n(0)]
    ChooseOne,
    /// All of them, or none.
    #[n(1)]
    SingleUnit,
    /// As many as the reader can.
    #[n(2)]
    ProcessAll,
}

/// Where a content lies, and what opens it.
#[derive(Clone, PartialEq, Eq)]
pub struct ExternalPart {
    /// Media type.
    pub content_type: String,
    /// Where to fetch it.
    pub url: String,
    /// Seconds since 1970 after which it is gone; 0 for never.
    pub expires: u32,
    /// Bytes; 0 when unknown.
    pub size: u64,
    /// AEAD number of the IANA registry; 0 for none.
    pub enc_alg: u16,
    /// AEAD key.
    pub key: Vec<u8>,
    /// AEAD nonce.
    pub nonce: Vec<u8>,
    /// AEAD associated data.
    pub aad: Vec<u8>,
    /// Hash number of the IANA registry of named information.
    pub hash_alg: u8,
    /// Hash of what lies at `url`.
    pub content_hash: Vec<u8>,
    /// For people who cannot see it.
    pub description: String,
    /// Suggested name of a file. Never a path: see [`crate::name::file`].
    pub filename: String,
}

/// What people wrote stays out of logs: kinds and lengths only.
impl std::fmt::Debug for PartKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Single { content, .. } => write!(f, "Single({} bytes)", content.len()),
            Self::External(_) => f.write_str("External"),
            Self::Multi { parts, .. } => f.debug_list().entries(parts).finish(),
            Self::Unknown { cardinality, fields } => write!(f, "Unknown({cardinality}, {} fields)", fields.len()),
        }
    }
}

impl std::fmt::Debug for ExternalPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExternalPart({} bytes)", self.size)
    }
}

impl Part {
    /// A part with content inside and no language.
    #[must_use]
    pub fn single(disposition: u8, content_type: &str, content: &[u8]) -> Self {
        let kind = PartKind::Single { content_type: content_type.to_owned(), content: content.to_vec() };
        Self { disposition, language: String::new(), kind }
    }

    /// A part with nothing in it.
    #[must_use]
    pub fn null(disposition: u8) -> Self {
        Self { disposition, language: String::new(), kind: PartKind::Null }
    }

    /// The first text in it that is meant to be shown.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            PartKind::Single { content_type, content } if self.disposition <= disposition::RENDER => {
                let media = content_type.split(';').next().unwrap_or_default().trim();
                let text = media.eq_ignore_ascii_case("text/markdown") || media.eq_ignore_ascii_case("text/plain");
                if text { std::str::from_utf8(content).ok() } else { None }
            }
            PartKind::Multi { parts, .. } => parts.iter().find_map(Self::as_text),
            _ => None,
        }
    }

    fn decode_at<'b, C>(d: &mut Decoder<'b>, ctx: &mut C, budget: &mut Budget) -> Result<Self, decode::Error> {
        budget.take()?;
        let length = d.array()?.unwrap_or(0);
        let disposition = d.u8()?;
        let language = text(d, LANGUAGE_MAX)?;
        let cardinality = d.u64()?;
        let expected = |n| if length == n { Ok(()) } else { Err(decode::Error::message("not this part's length")) };
        let kind = match cardinality {
            0 => {
                expected(3)?;
                PartKind::Null
            }
            1 => {
                expected(5)?;
                PartKind::Single { content_type: text(d, CONTENT_TYPE_MAX)?, content: d.bytes()?.to_vec() }
            }
            2 => {
                expected(15)?;
                PartKind::External(Box::new(ExternalPart::decode_fields(d)?))
            }
            3 => {
                expected(5)?;
                PartKind::Multi { semantics: d.decode_with(ctx)?, parts: Self::decode_list(d, ctx, budget)? }
            }
            _ => {
                let count = length.saturating_sub(3);
                if count > CONTENT_PARTS_MAX as u64 {
                    return Err(decode::Error::message("too many fields"));
                }
                let fields = (0..count).map(|_| d.decode_with(ctx)).collect::<Result<_, _>>()?;
                PartKind::Unknown { cardinality, fields }
            }
        };
        Ok(Self { disposition, language, kind })
    }

    fn decode_list<'b, C>(d: &mut Decoder<'b>, ctx: &mut C, budget: &mut Budget) -> Result<Vec<Self>, decode::Error> {
        let count = d.array()?.unwrap_or(0);
        if count < 2 || count > budget.parts as u64 || budget.depth == 0 {
            return Err(decode::Error::message("too few, too many or too deep parts"));
        }
        budget.depth -= 1;
        let parts = (0..count).map(|_| Self::decode_at(d, ctx, budget)).collect();
        budget.depth += 1;
        parts
    }
}

/// What is left of the limits while parts are read.
struct Budget {
    parts: usize,
    depth: usize,
}

impl Budget {
    fn take(&mut self) -> Result<(), decode::Error> {
        self.parts = self.parts.checked_sub(1).ok_or_else(|| decode::Error::message("too many parts"))?;
        Ok(())
    }
}

impl<'b, C> Decode<'b, C> for Part {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        Self::decode_at(d, ctx, &mut Budget { parts: CONTENT_PARTS_MAX, depth: CONTENT_PART_DEPTH })
    }
}

impl<C> Encode<C> for Part {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        let (length, cardinality) = match &self.kind {
            PartKind::Null => (3, 0),
            PartKind::Single { .. } => (5, 1),
            PartKind::External(_) => (15, 2),
            PartKind::Multi { .. } => (5, 3),
            PartKind::Unknown { cardinality, fields } => (3 + fields.len() as u64, *cardinality),
        };
        e.array(length)?.u8(self.disposition)?.str(&self.language)?.u64(cardinality)?;
        match &self.kind {
            PartKind::Null => Ok(()),
            PartKind::Single { content_type, content } => e.str(content_type)?.bytes(content)?.ok(),
            PartKind::External(part) => part.encode_fields(e),
            PartKind::Multi { semantics, parts } => {
                e.encode_with(semantics, ctx)?.array(parts.len() as u64)?;
                parts.iter().try_for_each(|part| part.encode(e, ctx))
            }
            PartKind::Unknown { fields, .. } => fields.iter().try_for_each(|field| field.encode(e, ctx)),
        }
    }
}

impl ExternalPart {
    fn decode_fields(d: &mut Decoder<'_>) -> Result<Self, decode::Error> {
        Ok(Self {
            content_type: text(d, CONTENT_TYPE_MAX)?,
            url: text(d, EXTERNAL_TEXT_MAX)?,
            expires: d.u32()?,
            size: d.u64()?,
            enc_alg: d.u16()?,
            key: bytes(d)?,
            nonce: bytes(d)?,
            aad: bytes(d)?,
            hash_alg: d.u8()?,
            content_hash: bytes(d)?,
            description: text(d, EXTERNAL_TEXT_MAX)?,
            filename: text(d, EXTERNAL_TEXT_MAX)?,
        })
    }

    fn encode_fields<W: encode::Write>(&self, e: &mut Encoder<W>) -> Result<(), encode::Error<W::Error>> {
        e.str(&self.content_type)?.str(&self.url)?.u32(self.expires)?.u64(self.size)?.u16(self.enc_alg)?;
        e.bytes(&self.key)?.bytes(&self.nonce)?.bytes(&self.aad)?;
        e.u8(self.hash_alg)?.bytes(&self.content_hash)?.str(&self.description)?.str(&self.filename)?.ok()
    }
}

fn text(d: &mut Decoder<'_>, limit: usize) -> Result<String, decode::Error> {
    let text = d.str()?;
    if text.len() <= limit { Ok(text.to_owned()) } else { Err(decode::Error::message("text too long")) }
}

fn bytes(d: &mut Decoder<'_>) -> Result<Vec<u8>, decode::Error> {
    let bytes = d.bytes()?;
    if bytes.len() <= EXTERNAL_BYTES_MAX { Ok(bytes.to_vec()) } else { Err(decode::Error::message("bytes too long")) }
}
