//! One stream to one peer, on a connection made for it under a PeerId made for it.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, noise,
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    commons::alive,
    tunnel::{Isolation, Tunnel, through},
};

/// How the peer is reached.
#[derive(Clone, Debug)]
pub(super) enum Path {
    /// By TCP: it sees this computer's address.
    Straight,
    /// Through a tunnel, and on no other path.
    Through(Arc<dyn Tunnel>, Isolation),
}

/// Ends the task that drives a swarm.
#[derive(Debug)]
pub(super) struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream, and what drives its connection: dropping it closes both.
pub(super) struct Dialled {
    pub(super) stream: Stream,
    pub(super) driver: Driver,
}

impl AsyncRead for Dialled {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut [u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Dialled {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, from)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Path {
    /// How long a connection may take; by TCP short, so that a dead network is noticed to be back within ten seconds.
    pub(super) fn within(&self) -> Duration {
        match self {
            Self::Straight => Duration::from_secs(5),
            Self::Through(tunnel, _) => tunnel.within(),
        }
    }

    /// How long a peer that is there may take for a byte.
    fn patience(&self) -> Duration {
        match self {
            Self::Straight => alive::PATIENCE,
            Self::Through(tunnel, _) => tunnel.patience(),
        }
    }
}

fn swarm(path: Path) -> Option<Swarm<libp2p_stream::Behaviour>> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let behaviour = |_: &_| libp2p_stream::Behaviour::new();
    let idle = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(Duration::from_secs(600));
    let within = path.within();
    let swarm = match path {
        Path::Straight => builder
            .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
            .ok()?
            .with_behaviour(behaviour)
            .ok()?
            .with_swarm_config(idle)
            .with_connection_timeout(within)
            .build(),
        Path::Through(tunnel, isolation) => builder
            .with_other_transport(|keys| {
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(through(tunnel, isolation, keys)?)
            })
            .ok()?
            .with_behaviour(behaviour)
            .ok()?
            .with_swarm_config(idle)
            .with_connection_timeout(within)
            .build(),
    };
    Some(swarm)
}

/// Dials, and opens one stream; `None` when there is no such peer, or it does not speak the protocol.
pub(super) async fn open(
    address: &Multiaddr,
    peer: Option<PeerId>,
    protocol: StreamProtocol,
    path: Path,
) -> Option<Dialled> {
    let patience = path.patience();
    let mut swarm = swarm(path)?;
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
    let watch = alive::watch(control.clone(), peer, connection, (patience, dead));
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
    let stream = control.open_stream(peer, protocol).await.ok()?;
    Some(Dialled { stream, driver })
}
