//! From an address to a greeted stream.

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use hearth_protocol::mailbox::{Greeting, MAILBOX_PROTOCOL, relay_key};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};

use super::wire::Wire;
use crate::{
    engine::lane::{MEMBER_RELAY, RelayFailure},
    net::{
        address,
        commons::alive,
        framing::{FrameError, Framed},
    },
    relay::{MailboxService, MailboxSession, Party},
};

const PROTOCOL: StreamProtocol = StreamProtocol::new(MAILBOX_PROTOCOL);

/// Where a session goes.
#[derive(Clone, Debug)]
pub(in crate::net) enum Target {
    /// Over the network.
    Relay {
        /// IP and port.
        address: Multiaddr,
        /// Who must be there; a member's own mailbox has a new PeerId at every start, and none in its address.
        peer: Option<PeerId>,
    },
    /// To the mailbox of this process.
    Own(MailboxService),
}

impl Target {
    /// Reads a relay's address; `None` if it cannot be dialled.
    pub(in crate::net) fn parse(text: &str) -> Option<Self> {
        let (address, peer) = address::target(text)?;
        Some(Self::Relay { address, peer })
    }
}

/// The key that a greeting must show.
fn expected_key(peer: Option<PeerId>) -> [u8; 32] {
    relay_key(&peer.map_or_else(|| MEMBER_RELAY.to_owned(), |peer| peer.to_string()))
}

/// A session that has been greeted. Dropping it closes the connection.
pub(super) struct Connected {
    pub(super) wire: Wire,
    pub(super) greeting: Greeting,
}

/// Ends the task that drives a swarm.
#[derive(Debug)]
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn swarm() -> Option<Swarm<libp2p_stream::Behaviour>> {
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .ok()?
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .ok()?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        .build();
    Some(swarm)
}

/// Dials, opens the mailbox stream and reads the greeting.
///
/// # Errors
/// `Unreachable` when there is no relay at the address, `Misbehaved` when what is there greets wrongly or not
/// within `greet_within`.
pub(super) async fn connect(
    target: &Target,
    connect_within: Duration,
    greet_within: Duration,
) -> Result<Connected, RelayFailure> {
    let (address, peer) = match target {
        Target::Relay { address, peer } => (address, *peer),
        Target::Own(mailbox) => return own(mailbox).await,
    };
    let opened = timeout(connect_within, open(address, peer)).await.map_err(|_| RelayFailure::Unreachable)?;
    let (mut framed, driver) = opened.ok_or(RelayFailure::Unreachable)?;
    let greeting: Greeting = match timeout(greet_within, framed.recv()).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) if is_garbage(&error) => return Err(RelayFailure::Misbehaved),
        Ok(Err(_)) => return Err(RelayFailure::Unreachable),
        Err(_) => return Err(RelayFailure::Misbehaved),
    };
    if greeting.relay_key != expected_key(peer) {
        return Err(RelayFailure::Misbehaved);
    }
    Ok(Connected { wire: Wire::start(framed, driver), greeting })
}

async fn own(mailbox: &MailboxService) -> Result<Connected, RelayFailure> {
    let opened = mailbox.open(Party::Owner).await.map_err(|_| RelayFailure::Unreachable)?;
    let MailboxSession { mut greeting, asker, answers } = opened;
    // The owner pays no proof of work.
    greeting.pow_bits = 0;
    Ok(Connected { wire: Wire::own(asker, answers), greeting })
}

/// Whether the other side, and not the line, is to blame.
pub(super) fn is_garbage(error: &FrameError) -> bool {
    matches!(error, FrameError::TooLong { .. } | FrameError::Decode(_) | FrameError::Stalled)
}

async fn open(address: &Multiaddr, peer: Option<PeerId>) -> Option<(Framed<Stream>, Driver)> {
    let mut swarm = swarm()?;
    let options = match peer {
        Some(peer) => DialOpts::peer_id(peer).addresses(vec![address.clone()]).build(),
        None => DialOpts::unknown_peer_id().address(address.clone()).build(),
    };
    swarm.dial(options).ok()?;
    let (peer, connection) = loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, .. } => break (peer_id, connection_id),
            SwarmEvent::OutgoingConnectionError { .. } => return None,
            _ => {}
        }
    };
    let mut control = swarm.behaviour().new_control();
    // The swarm has nothing more to say: the stream tells when the connection ends.
    // A relay that vanished without a word is noticed by the watch; without the swarm the stream breaks.
    let (dead, mut found_dead) = mpsc::channel(1);
    let watch = alive::watch(control.clone(), peer, connection, dead);
    let driver = Driver(
        tokio::spawn(async move {
            let mut watch = pin!(watch);
            let mut watching = true;
            loop {
                tokio::select! {
                    event = swarm.next() => if event.is_none() { return },
                    Some(_) = found_dead.recv() => return,
                    () = &mut watch, if watching => watching = false,
                }
            }
        })
        .abort_handle(),
    );
    let stream = control.open_stream(peer, PROTOCOL).await.ok()?;
    Some((Framed::new(stream), driver))
}
