//! `/hearth/entry/1`: a relay carries a member's bytes to another relay. The one that sees the member's address does not
//! see what it asks; the one that is asked does not see the address. Frames as at a mailbox, until both sides agree; from
//! then on the stream is the connection to the other relay, encrypted between it and the member.
//!
//! The relay speaks first, with [`EntryGreeting`]; then one [`EntryRequest`], one [`EntryAnswer`].

use minicbor::{Decode, Encode};

use crate::{
    cbor::Wire,
    limits::{ENTRY_RELAYS_MAX, OPERATOR_MAX, PEER_ID_MAX},
};

/// libp2p protocol name.
pub const ENTRY_PROTOCOL: &str = "/hearth/entry/1";

/// The entry relay's first frame: who runs it, and where it carries to.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EntryGreeting {
    /// Who runs it, in its own words; its PeerId as text where it says nothing.
    #[n(0)]
    pub operator: String,
    /// The relays in its table.
    #[n(1)]
    pub relays: Vec<KnownRelay>,
}

/// A relay in another one's table.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KnownRelay {
    /// libp2p PeerId bytes.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub peer: Vec<u8>,
    /// Who runs it, as it told.
    #[n(1)]
    pub operator: String,
}

/// Where the rest of the stream is to go.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EntryRequest {
    /// libp2p PeerId bytes of a relay in the table.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub peer: Vec<u8>,
}

/// What becomes of it. After anything but `Carried` the entry relay closes the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum EntryAnswer {
    /// From here on every byte is carried, both ways.
    #[n(0)]
    Carried,
    /// No such relay in its table: it carries nowhere else.
    #[n(1)]
    Unknown,
    /// That relay does not take connections now.
    #[n(2)]
    Unreachable,
    /// It carries for too many already.
    #[n(3)]
    Busy,
}

impl Wire for EntryGreeting {
    const MAX: usize = 32 * 1024;

    fn within_limits(&self) -> bool {
        self.operator.len() <= OPERATOR_MAX
            && self.relays.len() <= ENTRY_RELAYS_MAX
            && self.relays.iter().all(|relay| relay.peer.len() <= PEER_ID_MAX && relay.operator.len() <= OPERATOR_MAX)
    }
}

impl Wire for EntryRequest {
    const MAX: usize = 128;

    fn within_limits(&self) -> bool {
        self.peer.len() <= PEER_ID_MAX
    }
}

impl Wire for EntryAnswer {
    const MAX: usize = 16;

    fn within_limits(&self) -> bool {
        true
    }
}
