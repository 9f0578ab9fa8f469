//! Doors: what a joiner finds at a relay, or at a member, while everybody sleeps.

use minicbor::{Decode, Encode};
use zeroize::Zeroize as _;

use crate::{
    cbor::Wire,
    frame::{CommitFrame, Nack, NodeSignature},
    id::{GroupId, NodeId, OpId, PersonaId, QueueId},
    limits::{
        CHAIN_MAX, CHARTER_MAX, CONTEXT_MAX, DOOR_ELDERS_MAX, DOOR_FRAMES_MAX, DOOR_MAX, DOOR_OPS_MAX,
        DOOR_SIGNATURES_MAX, MEMBERS_MAX, NAME_BYTES_MAX,
    },
    op::SignedOp,
    time::Day,
};

/// The network a node belongs to, with the secrets a new member needs to speak in it.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct NetworkKeys {
    /// The node that began it.
    #[n(0)]
    pub network: NodeId,
    /// Day of `secret`.
    #[n(1)]
    pub day: Day,
    /// The network secret of `day`; later days follow from it, earlier ones do not.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub secret: [u8; 32],
    /// The control secret, constant within the network.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub control: [u8; 32],
}

impl Drop for NetworkKeys {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.control.zeroize();
    }
}

impl std::fmt::Debug for NetworkKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkKeys").field("network", &self.network).finish_non_exhaustive()
    }
}

/// The sealed body of a door.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct DoorBody {
    /// The group.
    #[n(0)]
    pub group: GroupId,
    /// The node the joiner builds on.
    #[n(1)]
    pub node: NodeId,
    /// MLSMessage of the node's GroupInfo, ratchet tree and external public key inside.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub group_info: Vec<u8>,
    /// A final node of class 0, or the first of the group: the root of the joiner's commit DAG.
    #[n(3)]
    pub base: NodeId,
    /// MLSMessage of the base's GroupInfo with its tree; empty when `base` is `node`.
    #[cbor(n(4), with = "minicbor::bytes")]
    pub base_info: Vec<u8>,
    /// Commits from `base` to `node` and their rivals, parents first.
    #[n(5)]
    pub frames: Vec<CommitFrame>,
    /// Ops from Genesis on, causes first; those of the past without their attachments.
    #[n(6)]
    pub ops: Vec<SignedOp>,
    /// Signatures since `base`.
    #[n(7)]
    pub signatures: Vec<NodeSignature>,
    /// The network of `node`.
    #[n(8)]
    pub keys: NetworkKeys,
    /// Who had come before `base`, by PersonaId; none when it is the first node.
    #[n(9)]
    pub elders: Vec<Elder>,
    /// What makes `base` final, link by link from Genesis; none when it is the first node.
    #[n(10)]
    pub chain: Vec<Link>,
    /// Nacks of `frames`.
    #[n(11)]
    pub nacks: Vec<Nack>,
}

/// Somebody's place in seniority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Elder {
    /// Who.
    #[n(0)]
    pub persona: PersonaId,
    /// Depth of the first node with a leaf of theirs.
    #[n(1)]
    pub depth: u64,
    /// That leaf's index.
    #[n(2)]
    pub leaf: u32,
}

/// A final node of class 0 or 1, and the quorum that made it so: those who decided at the link before.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Link {
    /// TLS encoding of its GroupContext, which its NodeId hashes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub context: Vec<u8>,
    /// Signatures of exactly this node.
    #[n(1)]
    pub signatures: Vec<LinkSignature>,
}

/// One of a link's signatures.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LinkSignature {
    /// Who signs.
    #[n(0)]
    pub persona: PersonaId,
    /// Ed25519 by `persona` over what a node's signature covers.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl Wire for DoorBody {
    const MAX: usize = DOOR_MAX;

    fn within_limits(&self) -> bool {
        self.frames.len() <= DOOR_FRAMES_MAX
            && self.signatures.len() <= DOOR_SIGNATURES_MAX
            && (1..=DOOR_OPS_MAX).contains(&self.ops.len())
            && self.ops.iter().all(Wire::within_limits)
            && self.nacks.len() <= DOOR_SIGNATURES_MAX
            && self.elders.len() <= DOOR_ELDERS_MAX
            && self.chain.len() <= CHAIN_MAX
            && self.chain.iter().all(|l| l.context.len() <= CONTEXT_MAX && l.signatures.len() <= MEMBERS_MAX)
    }
}

/// Why an invite admits nobody any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum ClosedReason {
    /// Every use is taken.
    #[n(0)]
    Exhausted,
    /// Past its expiry.
    #[n(1)]
    Expired,
    /// Revoked, or voided by a removal or the Shield.
    #[n(2)]
    Revoked,
}

/// What an invite's HPKE key opens.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub enum DoorWrapper {
    /// Where the body lies and its key.
    #[n(0)]
    Open {
        /// The Invite op.
        #[n(0)]
        invite: OpId,
        /// Opens the body.
        #[cbor(n(1), with = "minicbor::bytes")]
        body_key: [u8; 32],
        /// The body's slot at this relay.
        #[n(2)]
        body_slot: crate::id::SlotId,
    },
    /// A facilitator admits: what may be known before.
    #[n(2)]
    Knock {
        /// The Invite op.
        #[n(0)]
        invite: OpId,
        /// The group's name.
        #[n(1)]
        name: String,
        /// Its charter.
        #[n(2)]
        charter: String,
        /// Its history window in days.
        #[n(3)]
        history_days: u16,
        /// MLS ciphersuite code point, for the KeyPackage.
        #[n(4)]
        suite: u16,
        /// X25519 key that a knock is sealed to, and that its queue's write key derives from.
        #[cbor(n(5), with = "minicbor::bytes")]
        knock_pk: [u8; 32],
        /// The queue at this relay.
        #[n(6)]
        queue: QueueId,
    },
    /// Nobody may come in by this invite.
    #[n(1)]
    Closed {
        /// The reason.
        #[n(0)]
        reason: ClosedReason,
    },
}

impl Wire for DoorWrapper {
    const MAX: usize = CHARTER_MAX + NAME_BYTES_MAX + 256;

    fn within_limits(&self) -> bool {
        match self {
            Self::Open { .. } | Self::Closed { .. } => true,
            Self::Knock { name, charter, .. } => name.len() <= NAME_BYTES_MAX && charter.len() <= CHARTER_MAX,
        }
    }
}

impl Drop for DoorWrapper {
    fn drop(&mut self) {
        if let Self::Open { body_key, .. } = self {
            body_key.zeroize();
        }
    }
}

impl std::fmt::Debug for DoorWrapper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Open { .. } => f.write_str("Open(…)"),
            Self::Knock { .. } => f.write_str("Knock(…)"),
            Self::Closed { reason } => f.debug_struct("Closed").field("reason", reason).finish(),
        }
    }
}
