//! What the engine asks of the network and hears from it. Plain data: no libp2p type crosses this line.
//!
//! Three kinds of links, each its own libp2p swarm and PeerId, made fresh at every start and never stored:
//! - a **lane** per (group, network): members only, gated by the network's pre-shared key; gossip and sync;
//! - a **relay session** per (group, relay): mailbox requests;
//! - the **commons**, of no group: the DHT, and this member's own mailbox for groups without relays.
//!
//! Every command is fire-and-forget; what comes of it arrives as an event. Both directions are bounded
//! channels in the shell; an event that cannot be queued closes the link it came from, and sync repairs.

use hearth_crypto::schedule::Signer;
use hearth_protocol::{
    id::{GroupId, NodeId, QueueId},
    mailbox::{Action, Answer, Blob},
};
use zeroize::Zeroizing;

/// The name of a relay that is a member's own node: its mailbox lies in memory and holds its own groups only.
pub const MEMBER_RELAY: &str = "member";

/// The address that means "this process's own mailbox".
pub const OWN_MAILBOX: &str = "self";

/// A lane: one swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneKey {
    /// Group.
    pub group: GroupId,
    /// Network (key era).
    pub network: NodeId,
}

/// A gossip topic: 16 derived bytes, rotating daily and with the network.
pub type Topic = [u8; 16];

/// A connection to one member, unique within this process's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Matches an answer to its question; chosen by the engine, unique within a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What the engine wants done.
#[derive(Clone, Debug)]
pub enum LaneCommand {
    /// Opens a lane, listening; answers with [`LaneEvent::Listening`].
    Open {
        /// Which.
        lane: LaneKey,
        /// Pre-shared key of the gate (libp2p pnet).
        gate: Zeroizing<[u8; 32]>,
        /// Topics to follow.
        topics: Vec<Topic>,
        /// Members expected, for the gossip mesh's size.
        members: usize,
    },
    /// Follows exactly these topics from now on.
    Topics {
        /// Which lane.
        lane: LaneKey,
        /// Topics.
        topics: Vec<Topic>,
    },
    /// Closes a lane.
    Close {
        /// Which lane.
        lane: LaneKey,
    },
    /// Publishes a sealed, padded frame.
    Publish {
        /// Which lane.
        lane: LaneKey,
        /// Topic.
        topic: Topic,
        /// Frame.
        frame: Vec<u8>,
    },
    /// Tells gossip whether a message was good: only then is it forwarded.
    Verdict {
        /// Which lane.
        lane: LaneKey,
        /// From [`LaneEvent::Gossip`].
        message: u64,
        /// Whether its seal opened.
        accept: bool,
    },
    /// Dials a member; addresses are multiaddrs, with or without `/p2p/…`. No-op when already connected.
    Dial {
        /// Which lane.
        lane: LaneKey,
        /// libp2p PeerId bytes.
        peer: Vec<u8>,
        /// Addresses.
        addresses: Vec<String>,
    },
    /// Sends one message on a member link (framed, at most `SYNC_FRAME_MAX`).
    Send {
        /// Which lane.
        lane: LaneKey,
        /// Which link.
        link: LinkId,
        /// Encoding of a `SyncMessage`.
        message: Vec<u8>,
    },
    /// The card was good: the link stays. Without it the shell closes a link ten seconds after `LinkUp`.
    Accept {
        /// Which lane.
        lane: LaneKey,
        /// Which link.
        link: LinkId,
    },
    /// Closes a member link.
    Hangup {
        /// Which lane.
        lane: LaneKey,
        /// Which link.
        link: LinkId,
    },
    /// Keeps sessions of this group with exactly these relays; lost ones are redialled with backoff
    /// (first retry at once, then 1, 2, 4 … at most 8 s, jittered).
    Relays {
        /// Group.
        group: GroupId,
        /// Addresses: multiaddrs; with `/p2p/…` for relays, without for members' own mailboxes.
        addresses: Vec<String>,
    },
    /// One mailbox request. `address` is one of `Relays`, or [`OWN_MAILBOX`].
    /// Answered exactly once by [`LaneEvent::RelayAnswer`].
    Relay {
        /// Group.
        group: GroupId,
        /// Relay.
        address: String,
        /// Ticket.
        ticket: Ticket,
        /// Request.
        action: Action,
        /// Signs it, if it is of those that are signed.
        signer: Option<Signer>,
    },
    /// Peers of the DHT to begin with: relays and remembered members.
    DhtBootstrap {
        /// Multiaddrs, with or without `/p2p/…`.
        addresses: Vec<String>,
    },
    /// Stores a record (encoding of `card::Record`) under its key; also kept and served by this node itself.
    DhtPut {
        /// Key: `card::record_key`.
        key: [u8; 32],
        /// Value.
        value: Vec<u8>,
    },
    /// Looks a record up; each copy found arrives as [`LaneEvent::DhtFound`], possibly none.
    DhtGet {
        /// Key.
        key: [u8; 32],
    },
}

/// Why a relay did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayFailure {
    /// No session now, or it broke before the answer: try again when it is up.
    Unreachable,
    /// It answered with garbage or not within 10 s; the session is closed.
    Misbehaved,
}

/// What the engine hears.
#[derive(Clone, Debug)]
pub enum LaneEvent {
    /// Addresses where the lane's swarm can be reached, and its PeerId; again whenever they change.
    Listening {
        /// Which lane.
        lane: LaneKey,
        /// libp2p PeerId bytes.
        peer: Vec<u8>,
        /// Multiaddrs without `/p2p`.
        addresses: Vec<String>,
    },
    /// Addresses where the commons (DHT, own mailbox) can be reached.
    CommonsListening {
        /// Multiaddrs without `/p2p`.
        addresses: Vec<String>,
    },
    /// DHT peers worth remembering for the next start.
    CommonsPeers {
        /// Multiaddrs without `/p2p`.
        addresses: Vec<String>,
    },
    /// A member link passed the gate. Both sides now send their card.
    LinkUp {
        /// Which lane.
        lane: LaneKey,
        /// Link.
        link: LinkId,
        /// libp2p PeerId bytes of the other side.
        peer: Vec<u8>,
        /// Whether we dialled.
        outbound: bool,
    },
    /// A member link ended.
    LinkDown {
        /// Which lane.
        lane: LaneKey,
        /// Link.
        link: LinkId,
    },
    /// One message on a member link.
    Message {
        /// Which lane.
        lane: LaneKey,
        /// Link.
        link: LinkId,
        /// Encoding of a `SyncMessage`.
        message: Vec<u8>,
    },
    /// A gossip frame; wants a [`LaneCommand::Verdict`].
    Gossip {
        /// Which lane.
        lane: LaneKey,
        /// Topic it came on.
        topic: Topic,
        /// For the verdict.
        message: u64,
        /// Frame.
        frame: Vec<u8>,
    },
    /// On which path a relay is reached from now on, or tried.
    RelayPath {
        /// Group.
        group: GroupId,
        /// Relay.
        address: String,
        /// Whether the relay sees this computer's address.
        sees_address: bool,
    },
    /// A relay session is up and greeted.
    RelayUp {
        /// Group.
        group: GroupId,
        /// Relay.
        address: String,
        /// Names the relay in derivations; the shell has checked it against the PeerId, if the address has one.
        relay_key: [u8; 32],
    },
    /// A relay session ended; requests under way were answered `Unreachable`, subscriptions are gone.
    RelayDown {
        /// Group.
        group: GroupId,
        /// Relay.
        address: String,
    },
    /// The answer to a request.
    RelayAnswer {
        /// Group.
        group: GroupId,
        /// Ticket.
        ticket: Ticket,
        /// Answer.
        answer: Result<Answer, RelayFailure>,
    },
    /// A new blob of a subscribed queue.
    RelayPush {
        /// Group.
        group: GroupId,
        /// Relay.
        address: String,
        /// Queue.
        queue: QueueId,
        /// Blob.
        blob: Blob,
    },
    /// A copy of a record that was looked up; its form is not yet checked.
    DhtFound {
        /// Key.
        key: [u8; 32],
        /// Value.
        value: Vec<u8>,
    },
}
