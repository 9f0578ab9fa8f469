//! Packets: what is sealed into one padded frame. An observer sees 4,096 or 16,384 bytes and nothing else.

use minicbor::{Decode, Encode};

use crate::{
    cbor::Wire,
    envelope::SignedEnvelope,
    frame::Control,
    id::NodeId,
    knock::KnockAnswer,
    limits::{OBJECT_MAX, PART_BYTES, PARTS_MAX, SHARED_ENVELOPES_MAX},
};

/// The content of a frame, inside the outer seal.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and short-lived")]
pub enum Packet {
    /// An MLS application message (PrivateMessage) of the node it names.
    #[n(0)]
    App {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// MLSMessage bytes.
        #[cbor(n(1), with = "minicbor::bytes")]
        mls: Vec<u8>,
    },
    /// An op, commit, signature, Nack or Welcome.
    #[n(1)]
    Control(#[n(0)] Control),
    /// Envelopes handed on by a member, under a key that every member at `node` can export.
    #[n(2)]
    Shared {
        /// The node.
        #[n(0)]
        node: NodeId,
        /// Sealed encoding of [`SharedEnvelopes`].
        #[cbor(n(1), with = "minicbor::bytes")]
        sealed: Vec<u8>,
    },
    /// A part of a packet too long for one frame.
    #[n(3)]
    Part {
        /// SHA-256 of the whole packet's encoding.
        #[cbor(n(0), with = "minicbor::bytes")]
        object: [u8; 32],
        /// From 0.
        #[n(1)]
        index: u16,
        /// At most [`crate::limits::PARTS_MAX`].
        #[n(2)]
        count: u16,
        /// The bytes.
        #[cbor(n(3), with = "minicbor::bytes")]
        bytes: Vec<u8>,
    },
    /// In the queue of a knock's answer, and nowhere else.
    #[n(4)]
    Answer(#[n(0)] KnockAnswer),
}

/// What a [`Packet::Shared`] holds: signed envelopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct SharedEnvelopes {
    /// The envelopes, oldest first.
    #[n(0)]
    pub envelopes: Vec<SignedEnvelope>,
}

impl Wire for Packet {
    const MAX: usize = OBJECT_MAX;

    fn within_limits(&self) -> bool {
        match self {
            Self::App { mls, .. } => !mls.is_empty(),
            Self::Control(control) => control.within_limits(),
            Self::Shared { sealed, .. } => !sealed.is_empty(),
            Self::Answer(answer) => answer.within_limits(),
            Self::Part { index, count, bytes, .. } => {
                index < count && usize::from(*count) <= PARTS_MAX && (1..=PART_BYTES).contains(&bytes.len())
            }
        }
    }
}

impl Wire for SharedEnvelopes {
    const MAX: usize = OBJECT_MAX;

    fn within_limits(&self) -> bool {
        self.envelopes.len() <= SHARED_ENVELOPES_MAX && self.envelopes.iter().all(Wire::within_limits)
    }
}
