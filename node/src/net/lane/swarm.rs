//! A lane's swarm: TCP, the gate, Noise, Yamux; above them gossip and the streams of member links.

use std::time::Duration;

use libp2p::{
    Swarm, SwarmBuilder, Transport,
    connection_limits::{self, ConnectionLimits},
    core::upgrade::Version,
    noise,
    pnet::{PnetConfig, PreSharedKey},
    swarm::NetworkBehaviour,
    tcp, yamux,
};
use zeroize::Zeroizing;

use crate::net::{
    gossip::{self, Gossip},
    links::streams::Streams,
};

/// Yamux streams of one connection: gossip needs four, the link one; the default allows 512.
const STREAMS_MAX: usize = 32;

/// Why a swarm could not be built.
#[derive(Debug, thiserror::Error)]
#[error("swarm could not be built")]
pub(super) struct BadSwarm;

/// What runs on a lane's connections. The limits come first, so that they refuse before anything else is set up.
#[derive(NetworkBehaviour)]
pub(super) struct LaneBehaviour {
    limits: connection_limits::Behaviour,
    pub(super) gossip: Gossip,
    pub(super) streams: Streams,
}

fn limits() -> connection_limits::Behaviour {
    connection_limits::Behaviour::new(
        ConnectionLimits::default()
            .with_max_pending_incoming(Some(32))
            .with_max_pending_outgoing(Some(32))
            // Two, because two members may dial each other at the same moment.
            .with_max_established_per_peer(Some(2))
            .with_max_established(Some(512)),
    )
}

/// Builds the swarm of one lane, under a PeerId made now.
pub(super) fn build(gate: &Zeroizing<[u8; 32]>, members: usize) -> Result<Swarm<LaneBehaviour>, BadSwarm> {
    let gate = PnetConfig::new(PreSharedKey::new(**gate));
    let gossip = gossip::behaviour(members).map_err(|_| BadSwarm)?;
    let swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|key| {
            let mut mux = yamux::Config::default();
            mux.set_max_num_streams(STREAMS_MAX);
            // Without TCP_NODELAY each small frame waits for the other side's acknowledgement.
            let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
                .and_then(move |socket, _| gate.handshake(socket))
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(key)?)
                .multiplex(mux);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(tcp)
        })
        .map_err(|_| BadSwarm)?
        .with_behaviour(|_| LaneBehaviour { limits: limits(), gossip, streams: Streams::default() })
        .map_err(|_| BadSwarm)?
        // The default closes a quiet connection after ten seconds.
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(600)))
        // Shorter than the engine's pause between two dials, so that none waits for one that began without a network.
        .with_connection_timeout(Duration::from_secs(5))
        .build();
    Ok(swarm)
}
