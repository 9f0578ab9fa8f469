//! Envelopes: what a member says inside MLS, signed so that history can be proved to a newcomer.

use minicbor::{Decode, Encode};

use crate::{
    cbor::{self, DecodeError, Wire},
    id::{DeviceId, EnvelopeId, GroupId, KnockId, NodeId, PersonaId, hash},
    limits::{ACK_IDS_MAX, CONTENT_MAX, ENVELOPE_MAX, ENVELOPE_PARENTS_MAX},
    time::Minute,
};

/// What the device's signature covers: this label, the group id, then the content's encoding.
pub const ENVELOPE_LABEL: &[u8] = b"hearth envelope/1";

/// What an envelope says.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnvelopeContent {
    /// Version, 1.
    #[n(0)]
    pub v: u8,
    /// Author.
    #[n(1)]
    pub persona: PersonaId,
    /// The author's device, whose key signs.
    #[n(2)]
    pub device: DeviceId,
    /// The node of first sending. A re-send is the same bytes.
    #[n(3)]
    pub node: NodeId,
    /// 1 for the device's first envelope, then one more each.
    #[n(4)]
    pub seq: u64,
    /// Id of the device's previous envelope; all zero for the first.
    #[n(5)]
    pub prev: EnvelopeId,
    /// Causal parents: the newest envelopes the author had seen, sorted.
    #[n(6)]
    pub parents: Vec<EnvelopeId>,
    /// When it was written, to the minute.
    #[n(7)]
    pub sent_at: Minute,
    /// MIMI content.
    #[cbor(n(8), with = "minicbor::bytes")]
    pub body: Vec<u8>,
}

/// An envelope as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedEnvelope {
    /// Encoding of [`EnvelopeContent`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub content: Vec<u8>,
    /// Ed25519 by `device`: see [`signed_message`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl Wire for SignedEnvelope {
    const MAX: usize = ENVELOPE_MAX + 128;

    fn within_limits(&self) -> bool {
        self.content.len() <= ENVELOPE_MAX
    }
}

impl SignedEnvelope {
    /// Its id: SHA-256 of the whole encoding.
    #[must_use]
    pub fn id(&self) -> EnvelopeId {
        EnvelopeId(hash(&[&cbor::to_vec(self)]))
    }

    /// The content, checked for shape and limits, not yet for signature or chain.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn open(&self) -> Result<EnvelopeContent, DecodeError> {
        let content: EnvelopeContent = cbor::from_slice(&self.content, ENVELOPE_MAX)?;
        let sorted = content.parents.windows(2).all(|w| w[0] < w[1]);
        let first = content.seq == 1;
        let linked = first == (content.prev == EnvelopeId([0; 32]));
        let sized = content.parents.len() <= ENVELOPE_PARENTS_MAX && content.body.len() <= CONTENT_MAX;
        if content.v == 1 && content.seq > 0 && linked && sorted && sized {
            Ok(content)
        } else {
            Err(DecodeError::Shape)
        }
    }
}

/// The bytes the device signs.
#[must_use]
pub fn signed_message(group: &GroupId, content: &[u8]) -> Vec<u8> {
    [ENVELOPE_LABEL, &group.0, content].concat()
}

/// The plaintext of an MLS application message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AppMessage {
    /// What somebody wrote.
    #[n(0)]
    Envelope(#[n(0)] SignedEnvelope),
    /// The sender's device has these on disk. A fact of delivery, never of reading.
    #[n(1)]
    Ack(#[n(0)] Vec<EnvelopeId>),
    /// A facilitator has declined this knock: the others need not look at it.
    #[n(2)]
    Declined(#[n(0)] KnockId),
}

impl Wire for AppMessage {
    const MAX: usize = SignedEnvelope::MAX + 16;

    fn within_limits(&self) -> bool {
        match self {
            Self::Envelope(envelope) => envelope.within_limits(),
            Self::Ack(ids) => (1..=ACK_IDS_MAX).contains(&ids.len()),
            Self::Declined(_) => true,
        }
    }
}
