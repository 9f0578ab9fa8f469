//! How a private mode reaches a relay: through a tunnel, or not at all.
//!
//! A [`Tunnel`] gives a stream to a relay; [`through`] makes it a libp2p transport, with Noise and Yamux on it as on any
//! other, so nothing above knows the difference. The transport neither listens nor dials anything by itself: a swarm
//! that is built on it has no other way out.

pub(super) mod entry;
pub(super) mod tor;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    AsyncRead, AsyncWrite,
    future::{BoxFuture, Pending},
};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
        upgrade::Version,
    },
    identity::Keypair,
    noise, yamux,
};

use super::address;

/// A relay: where it is, and who must answer there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RelayAt {
    /// IP and port, or an onion service.
    pub(super) address: Multiaddr,
    /// Its PeerId.
    pub(super) peer: PeerId,
}

/// What must not be joined with anything else: dials of different isolation share no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Isolation(pub(super) u64);

/// A stream through a tunnel.
pub(super) trait TunnelIo: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> TunnelIo for T {}

/// A stream that some tunnel gave.
pub(super) type TunnelStream = Box<dyn TunnelIo>;

/// A way to relays on which they do not see this computer's address.
pub(super) trait Tunnel: std::fmt::Debug + Send + Sync {
    /// A stream to `to`, or an error; never a stream on another path.
    fn dial(&self, to: RelayAt, isolation: Isolation) -> BoxFuture<'static, io::Result<TunnelStream>>;

    /// How long a dial may take.
    fn within(&self) -> Duration;

    /// How long a relay at its end may take for an answer that it has at hand.
    fn patience(&self) -> Duration;
}

/// A transport through `tunnel` and nowhere else.
pub(super) fn through(
    tunnel: Arc<dyn Tunnel>,
    isolation: Isolation,
    keys: &Keypair,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error> {
    let plain = TunnelTransport { tunnel, isolation };
    let secured = plain.upgrade(Version::V1Lazy).authenticate(noise::Config::new(keys)?);
    Ok(secured.multiplex(yamux::Config::default()).boxed())
}

struct TunnelTransport {
    tunnel: Arc<dyn Tunnel>,
    isolation: Isolation,
}

impl Transport for TunnelTransport {
    type Output = TunnelStream;
    type Error = io::Error;
    type ListenerUpgrade = Pending<io::Result<TunnelStream>>;
    type Dial = BoxFuture<'static, io::Result<TunnelStream>>;

    fn listen_on(&mut self, _: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        match address::relay(&address) {
            Some((address, Some(peer))) => Ok(self.tunnel.dial(RelayAt { address, peer }, self.isolation)),
            // Who answers there could not be told from anybody in between.
            _ => Err(TransportError::MultiaddrNotSupported(address)),
        }
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Poll::Pending
    }
}
