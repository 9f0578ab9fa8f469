//! How this process reaches others: decided here, once, and nowhere else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use libp2p::{Multiaddr, PeerId};

use super::{
    address,
    dial::Path,
    session::Target,
    tunnel::{Isolation, RelayAt, entry::EntryTunnel},
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
}

/// The way to one relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By TCP.
    Straight(Multiaddr, Option<PeerId>),
    /// Through one of several others.
    Entries(RelayAt, Vec<RelayAt>),
}

impl Reach {
    /// Whether nothing but relays may be touched.
    pub(super) fn is_private(&self) -> bool {
        matches!(self, Self::Relayed { .. })
    }

    /// The way to one of a group's relays; `None` when there is none in this mode.
    pub(super) fn way(&self, address: &str, of_group: &BTreeSet<String>) -> Option<Way> {
        let (at, peer) = address::target(address)?;
        let Self::Relayed { relays } = self else { return Some(Way::Straight(at, peer)) };
        // Without a PeerId it is a member's own mailbox: that member would see where it was dialled from.
        let to = RelayAt { address: at, peer: peer? };
        let known: BTreeSet<&String> = of_group.iter().chain(relays).collect();
        let others = known.into_iter().filter_map(|text| {
            let (address, peer) = address::target(text)?;
            Some(RelayAt { address, peer: peer.filter(|peer| *peer != to.peer)? })
        });
        let others: BTreeMap<PeerId, RelayAt> = others.map(|entry| (entry.peer, entry)).collect();
        let entries: Vec<RelayAt> = others.into_values().collect();
        // Of one relay alone nothing can be hidden; the status line says so. With others it is never dialled.
        Some(if entries.is_empty() { Way::Straight(to.address, Some(to.peer)) } else { Way::Entries(to, entries) })
    }
}

impl Way {
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

    #[test]
    fn a_relay_is_reached_through_any_other_and_straight_only_where_there_is_none() {
        let (one, two, three) = (relay(1), relay(2), relay(3));
        let group = BTreeSet::from([one.clone(), two.clone()]);
        let private = Reach::Relayed { relays: vec![three.clone(), one.clone()] };
        let Some(Way::Entries(to, mut entries)) = private.way(&one, &group) else { panic!("not through others") };
        entries.sort_by_key(|entry| entry.address.to_string());
        assert_eq!((to, entries), (at(&one), vec![at(&two), at(&three)]));

        let alone = Reach::Relayed { relays: vec![one.clone()] };
        let straight = Way::Straight(at(&one).address, Some(at(&one).peer));
        assert_eq!(alone.way(&one, &BTreeSet::from([one.clone()])), Some(straight.clone()));
        assert_eq!(Reach::Direct.way(&one, &group), Some(straight));
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
