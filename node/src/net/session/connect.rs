//! From an address to a greeted stream.

use std::time::Duration;

use futures::StreamExt as _;
use hearth_protocol::{
    limits::MAILBOX_FRAME_MAX,
    mailbox::{Greeting, MAILBOX_PROTOCOL, relay_key},
};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tokio::{task::AbortHandle, time::timeout};

use crate::{
    engine::lane::{MEMBER_RELAY, RelayFailure},
    net::{address, framing::Framed},
};

const PROTOCOL: StreamProtocol = StreamProtocol::new(MAILBOX_PROTOCOL);
/// More work than any honest relay asks for (20 bits, 26 under load); beyond it lies a trap for our processor.
const POW_BITS_MAX: u8 = 28;

/// A relay as its address names it.
#[derive(Clone, Debug)]
pub(super) struct Target {
    address: Multiaddr,
    peer: Option<PeerId>,
}

impl Target {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, peer) = address::target(text)?;
        Some(Self { address, peer })
    }

    /// The key that the relay's greeting must show. A member's own mailbox has a name of its own for all members,
    /// since its PeerId changes with every start.
    fn relay_key(&self) -> [u8; 32] {
        relay_key(&self.peer.map_or_else(|| MEMBER_RELAY.to_owned(), |peer| peer.to_string()))
    }
}

/// A stream that has been greeted. Dropping it closes the connection.
pub(super) struct Connected {
    pub(super) framed: Framed<Stream>,
    pub(super) greeting: Greeting,
    pub(super) driver: Driver,
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
    let opened = timeout(connect_within, open(target)).await.map_err(|_| RelayFailure::Unreachable)?;
    let (mut framed, driver) = opened.ok_or(RelayFailure::Unreachable)?;
    let greeting: Greeting = match timeout(greet_within, framed.recv(MAILBOX_FRAME_MAX)).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) if is_garbage(&error) => return Err(RelayFailure::Misbehaved),
        Ok(Err(_)) => return Err(RelayFailure::Unreachable),
        Err(_) => return Err(RelayFailure::Misbehaved),
    };
    if greeting.relay_key != target.relay_key() || greeting.pow_bits > POW_BITS_MAX {
        return Err(RelayFailure::Misbehaved);
    }
    Ok(Connected { framed, greeting, driver })
}

/// Whether the other side, and not the line, is to blame.
pub(super) fn is_garbage(error: &crate::net::framing::FrameError) -> bool {
    use crate::net::framing::FrameError;
    matches!(error, FrameError::TooLong { .. } | FrameError::Decode(_) | FrameError::Stalled)
}

async fn open(target: &Target) -> Option<(Framed<Stream>, Driver)> {
    let mut swarm = swarm()?;
    let address = target.address.clone();
    let options = match target.peer {
        Some(peer) => DialOpts::peer_id(peer).addresses(vec![address]).build(),
        None => DialOpts::unknown_peer_id().address(address).build(),
    };
    swarm.dial(options).ok()?;
    let peer = loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
            SwarmEvent::OutgoingConnectionError { .. } => return None,
            _ => {}
        }
    };
    let mut control = swarm.behaviour().new_control();
    // The swarm has nothing more to say: the stream tells when the connection ends.
    let driver = Driver(tokio::spawn(async move { while swarm.next().await.is_some() {} }).abort_handle());
    let stream = control.open_stream(peer, PROTOCOL).await.ok()?;
    Some((Framed::new(stream), driver))
}
