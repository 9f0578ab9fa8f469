//! MIMI content (draft-ietf-mimi-content): the body of what people write.
//!
//! Edits, reactions, replies and retractions are all contents that name another by its [`MessageId`]:
//! ```
//! use hearth_protocol::{content::Content, id::{GroupId, PersonaId}};
//!
//! let (sender, room) = (PersonaId([1; 32]), GroupId([2; 32]));
//! let hello = Content::text([7; 16], "hello").note("illness");
//! let bytes = hello.encode();
//! let id = hello.message_id(&bytes, &sender, &room);
//! let answer = Content::reaction([8; 16], id, "with_you");
//! assert_eq!(answer.as_reaction(), Some("with_you"));
//! assert_eq!(Content::decode(&bytes)?.as_text(), Some("hello"));
//! # Ok::<(), hearth_protocol::cbor::DecodeError>(())
//! ```

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};

use crate::{
    cbor::{self, DecodeError},
    id::{GroupId, MessageId, PersonaId, hash},
    limits::{CONTENT_MAX, CONTENT_NOTE_CHARS_MAX, TOPIC_ID_MAX},
};

mod part;
mod value;

pub use part::{ExternalPart, Part, PartKind, PartSemantics, disposition};
pub use value::{Extensions, Key, Value};

/// Media type of what people write.
pub const MARKDOWN: &str = "text/markdown;variant=GFM-MIMI";
/// Media type of reactions.
pub const PLAIN: &str = "text/plain;charset=utf-8";
/// Extension: content note, a text.
pub const EXT_NOTE: &str = "hearth.note";
/// Extension: whether the author agrees to this standing in the Library, a bool.
pub const EXT_LIBRARY: &str = "hearth.library";
/// First byte of a message id: SHA-256 in the registry of named information.
const HASH_SHA256: u8 = 1;

/// One content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Random; makes equal contents distinct and their ids unguessable.
    pub salt: [u8; 16],
    /// The message that this edits or, with a null body, retracts.
    pub replaces: Option<MessageId>,
    /// The topic it belongs to; empty for none.
    pub topic_id: Vec<u8>,
    /// When it disappears.
    pub expires: Option<Expiration>,
    /// The message it answers or reacts to.
    pub in_reply_to: Option<MessageId>,
    /// Fields beside these.
    pub extensions: Extensions,
    /// What is said.
    pub body: Part,
}

/// When a content disappears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Expiration {
    /// Whether `time` counts from when it was read; else from 1970-01-01T00:00:00Z.
    #[n(0)]
    pub relative: bool,
    /// Seconds.
    #[n(1)]
    pub time: u32,
}

impl Content {
    /// A content with nothing but a body.
    #[must_use]
    pub fn new(salt: [u8; 16], body: Part) -> Self {
        let extensions = Extensions::default();
        Self { salt, replaces: None, topic_id: Vec::new(), expires: None, in_reply_to: None, extensions, body }
    }

    /// What a person wrote, in Markdown.
    #[must_use]
    pub fn text(salt: [u8; 16], text: &str) -> Self {
        Self::new(salt, Part::single(disposition::RENDER, MARKDOWN, text.as_bytes()))
    }

    /// A new text in place of `target`.
    #[must_use]
    pub fn edit(salt: [u8; 16], target: MessageId, text: &str) -> Self {
        Self::text(salt, text).replaces(target)
    }

    /// Takes `target` back.
    #[must_use]
    pub fn retraction(salt: [u8; 16], target: MessageId) -> Self {
        Self::new(salt, Part::null(disposition::RENDER)).replaces(target)
    }

    /// A reaction to `target`: `with_you`, `me_too` or `thank_you`.
    #[must_use]
    pub fn reaction(salt: [u8; 16], target: MessageId, reaction: &str) -> Self {
        Self::new(salt, Part::single(disposition::REACTION, PLAIN, reaction.as_bytes())).reply_to(target)
    }

    /// Takes back the reaction message `reaction`, which reacted to `target`.
    #[must_use]
    pub fn unreaction(salt: [u8; 16], target: MessageId, reaction: MessageId) -> Self {
        Self::new(salt, Part::null(disposition::REACTION)).reply_to(target).replaces(reaction)
    }

    /// Puts it into a topic.
    #[must_use]
    pub fn topic(mut self, topic_id: &[u8]) -> Self {
        self.topic_id = topic_id.to_vec();
        self
    }

    /// Makes it an answer.
    #[must_use]
    pub fn reply_to(mut self, message: MessageId) -> Self {
        self.in_reply_to = Some(message);
        self
    }

    /// Makes it stand in place of another.
    #[must_use]
    pub fn replaces(mut self, message: MessageId) -> Self {
        self.replaces = Some(message);
        self
    }

    /// Makes it disappear so many seconds after it was read.
    #[must_use]
    pub fn expires_relative(mut self, seconds: u32) -> Self {
        self.expires = Some(Expiration { relative: true, time: seconds });
        self
    }

    /// Folds it behind a content note of at most [`CONTENT_NOTE_CHARS_MAX`] characters; readers ignore longer ones.
    #[must_use]
    pub fn note(mut self, note: &str) -> Self {
        self.extensions.set(EXT_NOTE, Value::text(note));
        self
    }

    /// Says whether it may stand in the Library.
    #[must_use]
    pub fn library(mut self, consent: bool) -> Self {
        self.extensions.set(EXT_LIBRARY, Value::bool(consent));
        self
    }

    /// Sets any other extension. At most [`crate::limits::EXTENSIONS_MAX`] in all.
    #[must_use]
    pub fn extension(mut self, name: &str, value: Value) -> Self {
        self.extensions.set(name, value);
        self
    }

    /// The text to show; `None` for retractions, reactions and whatever is not text.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        self.body.as_text()
    }

    /// The reaction; its target is `in_reply_to`.
    #[must_use]
    pub fn as_reaction(&self) -> Option<&str> {
        match &self.body {
            Part { disposition: disposition::REACTION, kind: PartKind::Single { content_type, content }, .. }
                if self.in_reply_to.is_some() && content_type == PLAIN =>
            {
                std::str::from_utf8(content).ok()
            }
            _ => None,
        }
    }

    /// Whether it takes back what it replaces: a text, or a reaction.
    #[must_use]
    pub fn is_retraction(&self) -> bool {
        self.replaces.is_some() && self.body.kind == PartKind::Null
    }

    /// The content note; `None` when it is missing, empty, too long or no text.
    #[must_use]
    pub fn content_note(&self) -> Option<&str> {
        let note = self.extensions.get(EXT_NOTE)?.as_text()?;
        if (1..=CONTENT_NOTE_CHARS_MAX).contains(&note.chars().count()) { Some(note) } else { None }
    }

    /// Whether the author agreed to this standing in the Library.
    #[must_use]
    pub fn library_consent(&self) -> bool {
        self.extensions.get(EXT_LIBRARY).and_then(Value::as_bool).unwrap_or(false)
    }

    /// Its bytes: an envelope's body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// [R-35] Reads bytes back. What a sender made by hand passes this before it is sent.
    ///
    /// # Errors
    /// [`DecodeError`]: not this shape, beyond a limit, or not in deterministic encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        cbor::from_slice(bytes, CONTENT_MAX)
    }

    /// [R-36] The id of these bytes, `encoded`, as sent by `sender` in `room`.
    #[must_use]
    pub fn message_id(&self, encoded: &[u8], sender: &PersonaId, room: &GroupId) -> MessageId {
        message_id(&persona_uri(sender), &group_uri(room), encoded, &self.salt)
    }
}

/// The sender's URI in a message id.
#[must_use]
pub fn persona_uri(persona: &PersonaId) -> String {
    format!("hearth:p/{}", persona.to_hex())
}

/// The room's URI in a message id.
#[must_use]
pub fn group_uri(group: &GroupId) -> String {
    format!("hearth:g/{}", group.to_hex())
}

/// The draft's message id: the hash's number, then 31 bytes of SHA-256 over sender and room, each behind its
/// length in two big-endian bytes, the content, and the salt once more.
#[must_use]
pub fn message_id(sender_uri: &str, room_uri: &str, encoded: &[u8], salt: &[u8; 16]) -> MessageId {
    let length = |uri: &str| u16::try_from(uri.len()).unwrap_or(u16::MAX).to_be_bytes();
    let (sender_length, room_length) = (length(sender_uri), length(room_uri));
    let digest =
        hash(&[&sender_length, sender_uri.as_bytes(), &room_length, room_uri.as_bytes(), encoded, salt.as_slice()]);
    let mut id = [HASH_SHA256; 32];
    for (byte, from) in id.iter_mut().skip(1).zip(digest) {
        *byte = from;
    }
    MessageId(id)
}

impl cbor::Wire for Content {
    const MAX: usize = CONTENT_MAX;

    fn within_limits(&self) -> bool {
        true
    }
}

impl<C> Encode<C> for Content {
    fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, ctx: &mut C) -> Result<(), encode::Error<W::Error>> {
        e.array(7)?.bytes(&self.salt)?.encode_with(self.replaces, ctx)?.bytes(&self.topic_id)?;
        e.encode_with(self.expires, ctx)?.encode_with(self.in_reply_to, ctx)?;
        e.encode_with(&self.extensions, ctx)?.encode_with(&self.body, ctx)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Content {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, decode::Error> {
        if d.array()? != Some(7) {
            return Err(decode::Error::message("a content has seven fields"));
        }
        let salt = d.bytes()?.try_into().map_err(|_| decode::Error::message("a salt is 16 bytes"))?;
        let replaces = d.decode_with(ctx)?;
        let topic_id = d.bytes()?.to_vec();
        if topic_id.len() > TOPIC_ID_MAX {
            return Err(decode::Error::message("topic id too long"));
        }
        let expires = d.decode_with(ctx)?;
        let in_reply_to = d.decode_with(ctx)?;
        let extensions = d.decode_with(ctx)?;
        let body = d.decode_with(ctx)?;
        Ok(Self { salt, replaces, topic_id, expires, in_reply_to, extensions, body })
    }
}

#[cfg(test)]
mod tests;
