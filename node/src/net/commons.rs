//! The swarm of no group: a DHT node and a mailbox, run alike by relays and by members.
//!
//! [`Commons::spawn`] starts one task that owns the swarm; the handle asks, events tell. Nothing here knows a group:
//! records and blobs are opaque.

pub(super) mod alive;
mod dialer;
mod guests;
mod swarm;
mod task;

use std::io;

use libp2p::{PeerId, identity::Keypair};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

pub use super::entry::EntryConfig;
use crate::relay::{Clock, MailboxService, Metrics};

/// Requests waiting for the task; one more is refused.
const COMMANDS: usize = 1_024;
/// Events waiting for the owner. Addresses are told again when there is room; copies of records are dropped.
const EVENTS: usize = 1_024;

/// Who a commons is: a seed, and the PeerId that follows from it.
#[derive(Clone)]
pub struct Identity {
    seed: Zeroizing<[u8; 32]>,
    peer: PeerId,
}

impl Identity {
    /// The identity of an Ed25519 seed.
    ///
    /// # Errors
    /// [`CommonsError::Identity`].
    pub fn from_seed(seed: Zeroizing<[u8; 32]>) -> Result<Self, CommonsError> {
        let peer = keypair(&seed)?.public().to_peer_id();
        Ok(Self { seed, peer })
    }

    /// A fresh one: for members, at every start.
    ///
    /// # Errors
    /// [`CommonsError::Identity`] when the system gives no randomness.
    pub fn random() -> Result<Self, CommonsError> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut_slice()).map_err(|_| CommonsError::Identity)?;
        Self::from_seed(seed)
    }

    /// The PeerId as text.
    #[must_use]
    pub fn peer_id(&self) -> String {
        self.peer.to_base58()
    }

    /// What its mailbox greets with: see `mailbox::relay_key`.
    #[must_use]
    pub fn relay_key(&self) -> [u8; 32] {
        hearth_protocol::mailbox::relay_key(&self.peer_id())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

fn keypair(seed: &Zeroizing<[u8; 32]>) -> Result<Keypair, CommonsError> {
    let mut seed = seed.clone();
    Keypair::ed25519_from_bytes(seed.as_mut_slice()).map_err(|_| CommonsError::Identity)
}

/// Bounds of a commons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonsLimits {
    /// Connections open.
    pub connections: u32,
    /// Connections open with one peer.
    pub per_peer: u32,
    /// Incoming connections not yet negotiated.
    pub pending: u32,
    /// DHT records kept for others.
    pub records: usize,
}

impl Default for CommonsLimits {
    /// For a relay.
    fn default() -> Self {
        Self { connections: 4_096, per_peer: 8, pending: 256, records: 100_000 }
    }
}

impl CommonsLimits {
    /// For a member.
    #[must_use]
    pub fn member() -> Self {
        Self { connections: 512, per_peer: 8, pending: 64, records: 10_000 }
    }
}

/// What a commons needs to start.
pub struct CommonsConfig {
    /// Who it is.
    pub identity: Identity,
    /// Multiaddrs to listen on; empty: every interface, a free port.
    pub listen: Vec<String>,
    /// The mailbox it serves.
    pub mailbox: MailboxService,
    /// Whether it carries members' bytes to other relays; members do not.
    pub entry: Option<EntryConfig>,
    /// Bounds.
    pub limits: CommonsLimits,
    /// Where to read the time.
    pub clock: Clock,
    /// Counters.
    pub metrics: Metrics,
}

/// Why a commons did not start, or an ask was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommonsError {
    /// No key pair could be made.
    #[error("no identity")]
    Identity,
    /// An address is not a TCP multiaddr.
    #[error("not an address to listen on or to dial")]
    Address,
    /// Listening failed for another reason than a taken port.
    #[error("cannot listen")]
    Listen(#[source] io::Error),
    /// The swarm could not be built.
    #[error("cannot start the network")]
    Swarm,
    /// Too many asks are waiting, or the commons has ended.
    #[error("busy or stopped")]
    Busy,
}

/// What a commons tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommonsEvent {
    /// Every address it listens on now, without `/p2p`; those of other machines' reach first. Again on each change.
    Listening {
        /// Multiaddrs.
        addresses: Vec<String>,
    },
    /// A port to listen on was taken; a free one was chosen.
    PortTaken {
        /// The port that was asked for.
        port: u16,
    },
    /// Every DHT peer worth remembering for the next start, without `/p2p`. Again on each change.
    Peers {
        /// Multiaddrs.
        addresses: Vec<String>,
    },
    /// A copy of a record that was looked up; it has proved itself.
    Found {
        /// Key.
        key: [u8; 32],
        /// Value.
        value: Vec<u8>,
    },
}

#[derive(Debug)]
enum Ask {
    Bootstrap(Vec<libp2p::Multiaddr>),
    Put { key: [u8; 32], value: Vec<u8> },
    Get { key: [u8; 32] },
}

/// Asks the commons; cheap to clone. The commons ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub struct CommonsHandle {
    asks: mpsc::Sender<Ask>,
}

impl CommonsHandle {
    /// Keeps connections to these peers, with or without `/p2p/…`. A lost one is dialled again within 4 s.
    ///
    /// # Errors
    /// [`CommonsError::Address`] when one is not a multiaddr (the others are kept), [`CommonsError::Busy`].
    pub fn bootstrap(&self, addresses: Vec<String>) -> Result<(), CommonsError> {
        let parsed: Vec<_> = addresses.iter().filter_map(|address| address.parse().ok()).collect();
        let complete = parsed.len() == addresses.len();
        self.ask(Ask::Bootstrap(parsed))?;
        if complete { Ok(()) } else { Err(CommonsError::Address) }
    }

    /// Stores a record here and at the nodes nearest to its key; also at peers that come later, for 12 h.
    ///
    /// # Errors
    /// [`CommonsError::Busy`].
    pub fn put(&self, key: [u8; 32], value: Vec<u8>) -> Result<(), CommonsError> {
        self.ask(Ask::Put { key, value })
    }

    /// Looks a record up, here and elsewhere; copies arrive as [`CommonsEvent::Found`].
    ///
    /// # Errors
    /// [`CommonsError::Busy`].
    pub fn get(&self, key: [u8; 32]) -> Result<(), CommonsError> {
        self.ask(Ask::Get { key })
    }

    fn ask(&self, ask: Ask) -> Result<(), CommonsError> {
        self.asks.try_send(ask).map_err(|_| CommonsError::Busy)
    }
}

/// The swarm of no group.
#[derive(Debug)]
pub struct Commons;

impl Commons {
    /// Starts listening and serving, on the current tokio runtime.
    ///
    /// # Errors
    /// [`CommonsError`].
    pub fn spawn(config: CommonsConfig) -> Result<(CommonsHandle, mpsc::Receiver<CommonsEvent>), CommonsError> {
        let (asks, inbox) = mpsc::channel(COMMANDS);
        let (events, told) = mpsc::channel(EVENTS);
        let task = task::Task::start(config, inbox, events)?;
        tokio::spawn(task.run());
        Ok((CommonsHandle { asks }, told))
    }
}

#[cfg(test)]
mod tests;
