//! How this process reaches others: decided here, once, and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use libp2p::{Multiaddr, PeerId};

use super::{
    address,
    dial::Path,
    session::Target,
    tunnel::{Isolation, RelayAt, entry::EntryTunnel, tor::TorTunnel},
};

/// How others are reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Members and relays are dialled and dial: nothing about addresses is hidden.
    #[default]
    Direct,
    /// Relays are reached through each other; nobody else is dialled, and nothing listens.
    Relayed {
        /// Relays known beside those of groups.
        relays: Vec<String>,
    },
    /// Relays are reached through Tor; nobody else is dialled, and nothing listens.
    Tor {
        /// The SOCKS port of a Tor on this computer.
        socks: SocketAddr,
    },
}

/// The way to one relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By TCP.
    Straight(Multiaddr, Option<PeerId>),
    /// Through one of several others.
    Entries(RelayAt, Vec<RelayAt>),
    /// Through Tor, by this SOCKS port.
    Tor(RelayAt, SocketAddr),
}

impl Reach {
    /// Whether nothing but relays may be touched.
    pub(super) fn is_private(&self) -> bool {
        !matches!(self, Self::Direct)
    }

    /// The way to one of a group's relays; `None` when there is none in this mode.
    pub(super) fn way(&self, address: &str, of_group: &BTreeSet<String>) -> Option<Way> {
        let (at, peer) = match self {
            Self::Tor { .. } => address::relay(&address.parse().ok()?)?,
            Self::Direct | Self::Relayed { .. } => address::target(address)?,
        };
        let relays = match self {
            Self::Direct => return Some(Way::Straight(at, peer)),
            Self::Tor { socks } => return Some(Way::Tor(RelayAt { address: at, peer: peer? }, *socks)),
            Self::Relayed { relays } => relays,
        };
        // Without a PeerId it is a member's own mailbox: that member would see where it was dialled from.
        let to = RelayAt { address: at, peer: peer? };
        // Whoever makes a link, or decides on a group's relays, may run those. So relays of this member's own choice come
        // first, of these such as the group does not have, which see nothing of it but that it is carried.
        let others = |of: &mut dyn Iterator<Item = &String>| {
            let others = of.filter_map(|text| {
                let (address, peer) = address::target(text)?;
                Some(RelayAt { address, peer: peer.filter(|peer| *peer != to.peer)? })
            });
            let others: BTreeMap<PeerId, RelayAt> = others.map(|entry| (entry.peer, entry)).collect();
            others.into_values().collect::<Vec<_>>()
        };
        let outside = others(&mut relays.iter().filter(|relay| !of_group.contains(*relay)));
        let own = others(&mut relays.iter());
        let entries = if !outside.is_empty() {
            outside
        } else if relays.is_empty() {
            others(&mut of_group.iter())
        } else {
            own
        };
        // Of one relay alone nothing can be hidden; the status line says so. With others it is never dialled.
        Some(if entries.is_empty() { Way::Straight(to.address, Some(to.peer)) } else { Way::Entries(to, entries) })
    }
}

impl Way {
    /// Whether the relay sees this computer's address beside what is asked of it.
    pub(super) fn is_seen(&self) -> bool {
        matches!(self, Self::Straight(..))
    }

    /// What a session dials.
    pub(super) fn target(&self) -> Target {
        match self {
            Self::Straight(address, peer) => {
                Target::Relay { address: address.clone(), peer: *peer, path: Path::Straight }
            }
            Self::Entries(to, entries) => {
                let path = Path::Through(Arc::new(EntryTunnel::new(entries)), Isolation(rand::random()));
                Target::Relay { address: to.address.clone(), peer: Some(to.peer), path }
            }
            Self::Tor(to, socks) => {
                let path = Path::Through(Arc::new(TorTunnel::new(*socks)), Isolation(rand::random()));
                Target::Relay { address: to.address.clone(), peer: Some(to.peer), path }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(port: u16) -> String {
        format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", PeerId::random())
    }

    fn at(text: &str) -> RelayAt {
        let (address, peer) = address::target(text).unwrap();
        RelayAt { address, peer: peer.unwrap() }
    }

    /// The entries on the way to a relay, by their ports.
    fn entries(reach: &Reach, to: &str, group: &[&String]) -> Vec<String> {
        let group = group.iter().map(|relay| (*relay).clone()).collect();
        match reach.way(to, &group) {
            Some(Way::Entries(at, entries)) => {
                assert_eq!(at, self::at(to));
                let mut entries: Vec<_> = entries.iter().map(|entry| entry.address.to_string()).collect();
                entries.sort();
                entries
            }
            Some(Way::Straight(..)) => vec!["straight".into()],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_relay_is_reached_through_another_and_through_those_of_ones_own_choice_if_there_are_some() {
        let (one, two, three, four) = (relay(1), relay(2), relay(3), relay(4));
        let tcp = |port: u16| format!("/ip4/127.0.0.1/tcp/{port}");
        let own = |relays: &[&String]| Reach::Relayed { relays: relays.iter().map(|r| (*r).clone()).collect() };
        for (reach, to, group, expected) in [
            // None of one's own: the group's others.
            (own(&[]), &one, vec![&one, &two, &three], vec![tcp(2), tcp(3)]),
            (own(&[]), &one, vec![&one], vec!["straight".into()]),
            // Never a relay that only the group names, which may be somebody's who wants to know.
            (own(&[&three]), &one, vec![&one, &two], vec![tcp(3)]),
            (own(&[&three, &four]), &one, vec![&one, &two], vec![tcp(3), tcp(4)]),
            // Better one that the group does not have.
            (own(&[&two, &three]), &one, vec![&one, &two], vec![tcp(3)]),
            (own(&[&one, &two]), &one, vec![&one, &two], vec![tcp(2)]),
            // One's only own one is trusted with what others would be told.
            (own(&[&one]), &one, vec![&one, &two], vec!["straight".into()]),
            (own(&[&one]), &two, vec![&one, &two], vec![tcp(1)]),
            (Reach::Direct, &one, vec![&one, &two], vec!["straight".into()]),
        ] {
            assert_eq!(entries(&reach, to, &group), expected, "{reach:?}");
        }
    }

    #[test]
    fn onion_services_are_for_tor_and_members_for_nobody_there() {
        let onion = format!("/onion3/{}:4101/p2p/{}", "a".repeat(56), PeerId::random());
        let tor = Reach::Tor { socks: ([127, 0, 0, 1], 9050).into() };
        for (reach, reached) in
            [(tor.clone(), true), (Reach::Direct, false), (Reach::Relayed { relays: Vec::new() }, false)]
        {
            assert_eq!(reach.way(&onion, &BTreeSet::new()).is_some(), reached, "{reach:?}");
        }
        assert!(matches!(tor.way(&relay(1), &BTreeSet::new()), Some(Way::Tor(..))));
        assert_eq!(tor.way("/ip4/127.0.0.1/tcp/9", &BTreeSet::new()), None);
    }

    #[test]
    fn members_mailboxes_are_dialled_in_direct_mode_only() {
        let member = "/ip4/127.0.0.1/tcp/9".to_owned();
        let group = BTreeSet::from([member.clone(), relay(1)]);
        assert_eq!(Reach::Relayed { relays: Vec::new() }.way(&member, &group), None);
        assert!(matches!(Reach::Direct.way(&member, &group), Some(Way::Straight(_, None))));
        assert_eq!(Reach::Direct.way("/dns4/example.org/tcp/1", &group), None);
    }
}
