//! How the swarm is put together, and where it listens.

use std::{io, net::IpAddr, net::TcpListener, time::Duration};

use libp2p::{
    Multiaddr, StreamProtocol, Swarm, SwarmBuilder, connection_limits, connection_limits::ConnectionLimits, identify,
    kad, multiaddr::Protocol, noise, swarm::NetworkBehaviour, tcp, yamux,
};

use super::{CommonsConfig, CommonsError, CommonsLimits, keypair};
use crate::{
    net::dht::{RECORD_TTL, RecordBook},
    relay::Clock,
};

/// The DHT's protocol name.
pub(super) const KAD: StreamProtocol = StreamProtocol::new("/hearth/kad/1");
/// What identify says of every node alike.
const VERSION: &str = "hearth/1";
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);
const QUERY_TIMEOUT: Duration = Duration::from_secs(20);
const STREAMS: usize = 64;
const PENDING_OUT: u32 = 32;

/// Everything the swarm does.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(super) kad: kad::Behaviour<RecordBook>,
    pub(super) identify: identify::Behaviour,
    pub(super) streams: libp2p_stream::Behaviour,
}

fn behaviour(key: &libp2p::identity::Keypair, limits: &CommonsLimits, clock: Clock) -> Behaviour {
    let own = key.public().to_peer_id();
    let bounds = ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending))
        .with_max_pending_outgoing(Some(PENDING_OUT))
        .with_max_established(Some(limits.connections))
        .with_max_established_per_peer(Some(limits.per_peer));
    let mut kad_config = kad::Config::new(KAD);
    kad_config
        .set_query_timeout(QUERY_TIMEOUT)
        .set_record_ttl(Some(RECORD_TTL))
        .set_record_filtering(kad::StoreInserts::FilterBoth)
        .set_publication_interval(None)
        .set_provider_publication_interval(None)
        .set_kbucket_inserts(kad::BucketInserts::Manual)
        .set_caching(kad::Caching::Disabled)
        .disjoint_query_paths(true);
    let mut kad = kad::Behaviour::with_config(own, RecordBook::new(own, limits.records, clock), kad_config);
    kad.set_mode(Some(kad::Mode::Server));
    let identify = identify::Config::new(VERSION.into(), key.public())
        .with_agent_version(VERSION.into())
        .with_push_listen_addr_updates(false)
        .with_cache_size(0);
    Behaviour {
        limits: connection_limits::Behaviour::new(bounds),
        kad,
        identify: identify::Behaviour::new(identify),
        streams: libp2p_stream::Behaviour::new(),
    }
}

pub(super) fn build(config: &CommonsConfig) -> Result<Swarm<Behaviour>, CommonsError> {
    let yamux = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS);
        config
    };
    let swarm = SwarmBuilder::with_existing_identity(keypair(&config.identity.seed)?)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux)
        .map_err(|_| CommonsError::Swarm)?
        .with_behaviour(|key| behaviour(key, &config.limits, config.clock))
        .map_err(|_| CommonsError::Swarm)?
        .with_swarm_config(|swarm| swarm.with_idle_connection_timeout(IDLE_TIMEOUT))
        .with_connection_timeout(DIAL_TIMEOUT)
        .build();
    Ok(swarm)
}

/// Listens on every address, on a free port where the asked one is taken; returns the taken ports. An address that
/// this machine cannot have, such as IPv6 where there is none, is passed over as long as another one works.
pub(super) fn listen(swarm: &mut Swarm<Behaviour>, addresses: &[String]) -> Result<Vec<u16>, CommonsError> {
    let everywhere = ["/ip4/0.0.0.0/tcp/0".to_owned()];
    let addresses = if addresses.is_empty() { &everywhere } else { addresses };
    let mut probed = Vec::new();
    for address in addresses {
        let (ip, port) = endpoint(&address.parse().map_err(|_| CommonsError::Address)?)?;
        probed.push((ip, port, is_free(ip, port)));
    }
    let (mut taken, mut failed, mut listening) = (Vec::new(), None, false);
    for (ip, port, free) in probed {
        let tried = free.and_then(|free| {
            let address = Multiaddr::from(ip).with(Protocol::Tcp(if free { port } else { 0 }));
            swarm.listen_on(address).map(|_| free).map_err(io::Error::other)
        });
        match tried {
            Ok(free) => {
                listening = true;
                if !free {
                    taken.push(port);
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if !listening => Err(CommonsError::Listen(error)),
        Some(error) => {
            tracing::warn!(kind = %error.kind(), "one listen address cannot be used here");
            Ok(taken)
        }
        None => Ok(taken),
    }
}

/// The TCP listener shares its port with other sockets of the same user that wish so. A plain one finds out first
/// whether somebody else has it.
fn is_free(ip: IpAddr, port: u16) -> io::Result<bool> {
    match TcpListener::bind((ip, port)) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(false),
        Err(error) => Err(error),
    }
}

/// IP address and port of a plain TCP address.
pub(super) fn endpoint(address: &Multiaddr) -> Result<(IpAddr, u16), CommonsError> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::from(ip),
        Some(Protocol::Ip6(ip)) => IpAddr::from(ip),
        _ => return Err(CommonsError::Address),
    };
    match (parts.next(), parts.next()) {
        (Some(Protocol::Tcp(port)), None | Some(Protocol::P2p(_))) => Ok((ip, port)),
        _ => Err(CommonsError::Address),
    }
}
