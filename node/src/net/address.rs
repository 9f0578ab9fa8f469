//! Addresses: where swarms listen, and which of the engine's texts can be dialled.

use std::net::{IpAddr, SocketAddr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// Addresses tried in one dial; a card has three.
const DIAL_MAX: usize = 8;

/// An address of the configuration that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a listen address is an ip4 or ip6 address with a tcp port")]
pub struct BadAddress;

/// Where lanes listen: the interfaces of `listen`, on free ports; every IPv4 interface if it is empty.
pub(super) fn lane_addresses(listen: &[String]) -> Result<Vec<Multiaddr>, BadAddress> {
    let mut out: Vec<Multiaddr> = Vec::new();
    for text in listen {
        let address: Multiaddr = text.parse().map_err(|_| BadAddress)?;
        let mut parts = address.iter();
        let (Some(ip @ (Protocol::Ip4(_) | Protocol::Ip6(_))), Some(Protocol::Tcp(_)), None) =
            (parts.next(), parts.next(), parts.next())
        else {
            return Err(BadAddress);
        };
        let free = Multiaddr::empty().with(ip).with(Protocol::Tcp(0));
        if !out.contains(&free) {
            out.push(free);
        }
    }
    if out.is_empty() {
        let any = Protocol::Ip4(std::net::Ipv4Addr::UNSPECIFIED);
        out.push(Multiaddr::empty().with(any).with(Protocol::Tcp(0)));
    }
    Ok(out)
}

/// Whether an address stands for every interface, so that several listen addresses will be reported for it.
pub(super) fn is_unspecified(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_unspecified(),
        Protocol::Ip6(ip) => ip.is_unspecified(),
        _ => false,
    })
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}

/// What to tell others: loopback addresses only when there is nothing else.
pub(super) fn reachable<'a>(listening: impl IntoIterator<Item = &'a Multiaddr>) -> Vec<String> {
    let (local, mut wide): (Vec<_>, Vec<_>) = listening.into_iter().partition(|a| is_loopback(a));
    if wide.is_empty() {
        wide = local;
    }
    wide.into_iter().map(ToString::to_string).collect()
}

/// Reads `text` as IP and TCP port with or without `/p2p/…`. Nothing else is ever dialled: no names, so no DNS.
pub(super) fn target(text: &str) -> Option<(Multiaddr, Option<PeerId>)> {
    let (address, peer) = relay(&text.parse().ok()?)?;
    socket(&address).map(|_| (address, peer))
}

/// The same of a parsed address, which may be an onion service too: those only Tor reaches.
pub(super) fn relay(address: &Multiaddr) -> Option<(Multiaddr, Option<PeerId>)> {
    let mut parts = address.iter();
    let at = match parts.next()? {
        ip @ (Protocol::Ip4(_) | Protocol::Ip6(_)) => {
            let tcp = parts.next().filter(|part| matches!(part, Protocol::Tcp(_)))?;
            Multiaddr::empty().with(ip).with(tcp)
        }
        onion @ Protocol::Onion3(_) => Multiaddr::empty().with(onion),
        _ => return None,
    };
    let peer = match (parts.next(), parts.next()) {
        (None, _) => None,
        (Some(Protocol::P2p(peer)), None) => Some(peer),
        _ => return None,
    };
    Some((at, peer))
}

/// IP and port; `None` of an onion service.
pub(super) fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::from(ip),
        Protocol::Ip6(ip) => IpAddr::from(ip),
        _ => return None,
    };
    match parts.next()? {
        Protocol::Tcp(port) => Some(SocketAddr::new(ip, port)),
        _ => None,
    }
}

/// The addresses at which `peer` can be dialled.
pub(super) fn dialable(peer: PeerId, texts: &[String]) -> Vec<Multiaddr> {
    let fits = |text: &String| match target(text)? {
        (address, None) => Some(address),
        (address, Some(named)) => (named == peer).then_some(address),
    };
    texts.iter().filter_map(fits).take(DIAL_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_listen_on_the_same_interface_on_a_free_port() {
        let given = ["/ip4/127.0.0.1/tcp/7000".to_owned(), "/ip4/127.0.0.1/tcp/7001".to_owned()];
        assert_eq!(lane_addresses(&given).unwrap(), ["/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()]);
        assert_eq!(lane_addresses(&[]).unwrap(), ["/ip4/0.0.0.0/tcp/0".parse::<Multiaddr>().unwrap()]);
        for bad in ["", "/ip4/127.0.0.1", "/dns4/example.org/tcp/1", "/ip4/127.0.0.1/tcp/1/ws", "127.0.0.1:1"] {
            assert_eq!(lane_addresses(&[bad.to_owned()]), Err(BadAddress), "{bad}");
        }
    }

    #[test]
    fn loopback_is_told_only_when_there_is_nothing_else() {
        let local: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        let wide: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().unwrap();
        assert_eq!(reachable([&local, &wide]), ["/ip4/192.0.2.1/tcp/1"]);
        assert_eq!(reachable([&local]), ["/ip4/127.0.0.1/tcp/1"]);
    }

    #[test]
    fn a_dial_keeps_only_addresses_of_that_peer_and_no_names() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let texts = [
            format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}"),
            format!("/ip4/127.0.0.1/tcp/2/p2p/{other}"),
            "/ip4/127.0.0.1/tcp/3".to_owned(),
            "/dns4/example.org/tcp/4".to_owned(),
            "nonsense".to_owned(),
        ];
        let found: Vec<String> = dialable(peer, &texts).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/3"]);
    }
}
