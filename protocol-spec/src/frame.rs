//! Commits, signatures and Nacks as they travel: what the control queue of a network carries.

use minicbor::{Decode, Encode};

use crate::{
    cbor::{self, Wire},
    id::{DeviceId, FrameId, GroupId, NodeId, PersonaId, hash},
    limits::OBJECT_MAX,
    op::SignedOp,
};

/// What a node's signature covers: this label, group id, node.
pub const SIGNATURE_LABEL: &[u8] = b"hearth node signature/1";
/// What a Nack covers: this label, group id, frame.
pub const NACK_LABEL: &[u8] = b"hearth nack/1";

/// A commit as sent. The MLS message is a PublicMessage: a member validates a rival branch without its secrets.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct CommitFrame {
    /// The node it builds on.
    #[n(0)]
    pub parent: NodeId,
    /// MLSMessage (RFC 9420 §6) of a PublicMessage.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub commit: Vec<u8>,
}

impl CommitFrame {
    /// Hash of the whole frame; NodeId does not cover the confirmation tag, this does.
    #[must_use]
    pub fn id(&self) -> FrameId {
        FrameId(hash(&[b"hearth frame/1", &cbor::to_vec(self)]))
    }
}

/// A facilitator's statement that it has fully processed a node; stands for the node's ancestors too.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeSignature {
    /// The node.
    #[n(0)]
    pub node: NodeId,
    /// Who signs.
    #[n(1)]
    pub persona: PersonaId,
    /// Ed25519 by `persona`: see [`signature_message`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

/// The bytes that a signer of a node signs.
#[must_use]
pub fn signature_message(group: &GroupId, node: &NodeId) -> Vec<u8> {
    [SIGNATURE_LABEL, &group.0, &node.0].concat()
}

/// A member's statement that it holds the parent and cannot open this frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Nack {
    /// The frame.
    #[n(0)]
    pub frame: FrameId,
    /// Who says so.
    #[n(1)]
    pub persona: PersonaId,
    /// Ed25519 by `persona`: see [`nack_message`].
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

/// The bytes that the signer of a Nack signs.
#[must_use]
pub fn nack_message(group: &GroupId, frame: &FrameId) -> Vec<u8> {
    [NACK_LABEL, &group.0, &frame.0].concat()
}

/// A Welcome for one added device.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct WelcomeFrame {
    /// The node the Welcome opens.
    #[n(0)]
    pub node: NodeId,
    /// The added device.
    #[n(1)]
    pub device: DeviceId,
    /// MLSMessage of a Welcome, its ratchet tree inside.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub welcome: Vec<u8>,
    /// A DoorBody of the node without its GroupInfo, sealed as behind its door: who opens the Welcome can open this.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub door: Vec<u8>,
}

/// Everything that decides the roster. Never dropped, never expired before 120 days.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Control {
    /// A policy op.
    #[n(0)]
    Op(#[n(0)] SignedOp),
    /// A commit.
    #[n(1)]
    Commit(#[n(0)] CommitFrame),
    /// A signature of a node.
    #[n(2)]
    Signature(#[n(0)] NodeSignature),
    /// A Nack of a frame.
    #[n(3)]
    Nack(#[n(0)] Nack),
    /// A Welcome.
    #[n(4)]
    Welcome(#[n(0)] WelcomeFrame),
}

impl Control {
    /// What sync compares: SHA-256 of the encoding.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&[b"hearth control item/1", &cbor::to_vec(self)])
    }
}

impl Wire for CommitFrame {
    const MAX: usize = OBJECT_MAX;

    fn within_limits(&self) -> bool {
        !self.commit.is_empty()
    }
}

impl Wire for Control {
    const MAX: usize = OBJECT_MAX;

    fn within_limits(&self) -> bool {
        match self {
            Self::Op(op) => op.within_limits(),
            Self::Commit(frame) => frame.within_limits(),
            Self::Welcome(frame) => !frame.welcome.is_empty(),
            Self::Signature(_) | Self::Nack(_) => true,
        }
    }
}
