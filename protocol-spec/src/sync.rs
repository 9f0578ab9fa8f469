//! `/hearth/sync/1`: what two members exchange on a gated link. Each frame is a 4-byte length and one value.

use minicbor::{Decode, Encode, bytes::ByteVec};

use crate::{
    card::SignedCard,
    cbor::Wire,
    limits::{SYNC_FRAME_MAX, SYNC_ITEMS_MAX, SYNC_WANT_MAX},
};

/// libp2p protocol name.
pub const SYNC_PROTOCOL: &str = "/hearth/sync/1";

/// Which set a reconciliation compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum SyncSet {
    /// Ops, commits, signatures, Nacks, Welcomes.
    #[n(0)]
    Control,
    /// Envelopes.
    #[n(1)]
    Envelopes,
}

/// One message between members.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum SyncMessage {
    /// First on every link, within ten seconds, else it is closed.
    #[n(0)]
    Hello {
        /// Who is there.
        #[n(0)]
        card: SignedCard,
        /// MLS epoch of the sender's base: it keeps nothing of nodes up to there, and wants nothing of them.
        #[n(1)]
        base: u64,
    },
    /// A negentropy message; `to_initiator` tells the two directions apart.
    #[n(1)]
    Reconcile {
        /// The set.
        #[n(0)]
        set: SyncSet,
        /// From the responder.
        #[n(1)]
        to_initiator: bool,
        /// negentropy v1 payload.
        #[cbor(n(2), with = "minicbor::bytes")]
        payload: Vec<u8>,
    },
    /// Asks for items by id.
    #[n(2)]
    Want {
        /// The set.
        #[n(0)]
        set: SyncSet,
        /// 32-byte ids.
        #[n(1)]
        ids: Vec<ByteVec>,
    },
    /// Hands items over: encodings of [`crate::packet::Packet`].
    #[n(3)]
    Items {
        /// The packets.
        #[n(0)]
        packets: Vec<ByteVec>,
    },
    /// The sender has sent all it had to send for this set: both now agree on it.
    #[n(4)]
    Done {
        /// The set.
        #[n(0)]
        set: SyncSet,
    },
}

impl Wire for SyncMessage {
    const MAX: usize = SYNC_FRAME_MAX;

    fn within_limits(&self) -> bool {
        match self {
            Self::Hello { card, .. } => card.within_limits(),
            Self::Want { ids, .. } => ids.len() <= SYNC_WANT_MAX && ids.iter().all(|id| id.len() == 32),
            Self::Items { packets } => packets.len() <= SYNC_ITEMS_MAX,
            Self::Reconcile { .. } | Self::Done { .. } => true,
        }
    }
}
