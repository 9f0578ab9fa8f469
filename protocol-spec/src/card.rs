//! Cards: where a member can be reached in this slot of six hours, sealed for the group alone.

use minicbor::{Decode, Encode};

use crate::{
    cbor::{self, DecodeError, Wire},
    id::{DeviceId, GroupId, NodeId, PersonaId, hash},
    limits::{ADDRESS_MAX, CARD_ADDRESSES_MAX, CARD_BYTES, PEER_ID_MAX, RECORD_MAX},
    time::{Minute, Timestamp},
};

/// What a card's signature covers: this label, group id, then the content's encoding.
pub const CARD_LABEL: &[u8] = b"hearth card/1";
/// What a record's signature covers: this label, `seq` (8 bytes, big-endian), then the sealed card.
pub const RECORD_LABEL: &[u8] = b"hearth record/1";
/// Length of a slot in milliseconds: 6 hours.
pub const SLOT_MS: u64 = 6 * 3_600_000;

/// The slot an instant lies in.
#[must_use]
pub fn slot_of(now: Timestamp) -> u64 {
    now.0 / SLOT_MS
}

/// Who is where.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CardContent {
    /// The member.
    #[n(0)]
    pub persona: PersonaId,
    /// The device, whose key signs.
    #[n(1)]
    pub device: DeviceId,
    /// libp2p PeerId bytes of the lane.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub peer: Vec<u8>,
    /// Multiaddrs of the lane, at most three.
    #[n(3)]
    pub addresses: Vec<String>,
    /// Network.
    #[n(4)]
    pub network: NodeId,
    /// Made in this minute; also the record's seq.
    #[n(5)]
    pub made: Minute,
    /// Not used after this minute.
    #[n(6)]
    pub expires: Minute,
}

impl Wire for CardContent {
    const MAX: usize = CARD_BYTES;

    fn within_limits(&self) -> bool {
        self.peer.len() <= PEER_ID_MAX
            && self.addresses.len() <= CARD_ADDRESSES_MAX
            && self.addresses.iter().all(|a| a.len() <= ADDRESS_MAX)
    }
}

/// A card as it travels between members, and inside the sealed record.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedCard {
    /// Encoding of [`CardContent`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub content: Vec<u8>,
    /// Ed25519 by `device`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl Wire for SignedCard {
    const MAX: usize = CARD_BYTES;

    fn within_limits(&self) -> bool {
        self.content.len() <= CARD_BYTES
    }
}

impl SignedCard {
    /// The content, checked for shape and limits, not yet for signature or time.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn open(&self) -> Result<CardContent, DecodeError> {
        cbor::read(&self.content)
    }
}

/// The bytes that a card's device signs.
#[must_use]
pub fn card_message(group: &GroupId, content: &[u8]) -> Vec<u8> {
    [CARD_LABEL, &group.0, content].concat()
}

/// A self-certifying DHT value. Key: [`record_key`]. A storing node checks everything and learns nothing.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Record {
    /// Ed25519 key, derived from the rendezvous secret, slot and leaf.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub pk: [u8; 32],
    /// The card's minute. Refused when over ten minutes ahead, or not above the stored one.
    #[n(1)]
    pub seq: u64,
    /// Ed25519 by `pk`: see [`RECORD_LABEL`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sig: [u8; 64],
    /// The card, sealed and padded to [`crate::limits::CARD_BYTES`].
    #[cbor(n(3), with = "minicbor::bytes")]
    pub sealed: Vec<u8>,
}

impl Wire for Record {
    const MAX: usize = RECORD_MAX;

    fn within_limits(&self) -> bool {
        self.sealed.len() == CARD_BYTES
    }
}

/// Where a record lies: SHA-256 of its public key.
#[must_use]
pub fn record_key(pk: &[u8; 32]) -> [u8; 32] {
    hash(&[pk])
}

/// The bytes a record's key signs.
#[must_use]
pub fn record_message(seq: u64, sealed: &[u8]) -> Vec<u8> {
    [RECORD_LABEL, &seq.to_be_bytes(), sealed].concat()
}
