//! Through a running Tor, by its SOCKS port. Streams of different isolation never share a circuit: Tor keeps apart what comes
//! with another name and password, unless its owner has told it not to.

use std::{io, net::SocketAddr, time::Duration};

use data_encoding::BASE32_NOPAD;
use futures::future::BoxFuture;
use libp2p::multiaddr::Protocol;
use tokio_socks::{TargetAddr, tcp::Socks5Stream};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::{Isolation, RelayAt, Tunnel, TunnelStream};
use crate::net::address;

/// A circuit may have to be built, to an onion service two.
const WITHIN: Duration = Duration::from_secs(45);
const PATIENCE: Duration = Duration::from_secs(20);

/// See the module's page.
#[derive(Debug)]
pub(in crate::net) struct TorTunnel {
    socks: SocketAddr,
}

impl TorTunnel {
    /// By the SOCKS port of a Tor on this computer.
    pub(in crate::net) fn new(socks: SocketAddr) -> Self {
        Self { socks }
    }
}

/// What Tor is asked for. Names are looked up by Tor alone, and only those of onion services.
fn target(to: &RelayAt) -> Option<TargetAddr<'static>> {
    if let Some(Protocol::Onion3(onion)) = to.address.iter().next() {
        let host = format!("{}.onion", BASE32_NOPAD.encode(onion.hash()).to_lowercase());
        return Some(TargetAddr::Domain(host.into(), onion.port()));
    }
    address::socket(&to.address).map(TargetAddr::Ip)
}

impl Tunnel for TorTunnel {
    fn dial(&self, to: RelayAt, Isolation(token): Isolation) -> BoxFuture<'static, io::Result<TunnelStream>> {
        let socks = self.socks;
        Box::pin(async move {
            let target = target(&to).ok_or(io::ErrorKind::InvalidInput)?;
            let token = format!("{token:016x}");
            let stream = Socks5Stream::connect_with_password(socks, target, "hearth", &token).await;
            let stream = stream.map_err(io::Error::other)?.into_inner();
            stream.set_nodelay(true)?;
            Ok(Box::new(stream.compat()) as TunnelStream)
        })
    }

    fn within(&self) -> Duration {
        WITHIN
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
