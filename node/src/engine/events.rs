//! What the network brings, handed to the group or the attempt it is for.

use std::collections::BTreeSet;

use hearth_crypto::mls::Mls;
use hearth_protocol::{id::GroupId, limits, time::Timestamp};

use super::{
    Effects, Engine, SEED_KEY,
    knock::Knocking,
    lane::{LaneCommand, LaneEvent},
};
use crate::store::{Bucket, Table, Write};

/// Addresses of the DHT that are remembered.
const REMEMBERED: usize = 32;

impl<M: Mls> Engine<M> {
    pub(super) fn lane(&mut self, event: LaneEvent, now: Timestamp, fx: &mut Effects) {
        match event {
            LaneEvent::CommonsListening { addresses } => self.shared.commons = addresses,
            LaneEvent::RelayPath { group, address, sees_address: true } => {
                self.seen_by.insert((group, address));
            }
            LaneEvent::RelayPath { group, address, sees_address: false } => {
                self.seen_by.remove(&(group, address));
            }
            LaneEvent::CommonsPeers { addresses } => {
                self.remember(addresses, fx);
                for id in self.groups.keys().copied().collect::<Vec<_>>() {
                    self.with(&id, now, fx, |group, ctx| group.seek(ctx));
                }
            }
            LaneEvent::DhtFound { key, value } => {
                for id in self.groups.keys().copied().collect::<Vec<_>>() {
                    let event = LaneEvent::DhtFound { key, value: value.clone() };
                    self.with(&id, now, fx, |group, ctx| group.on_lane(event, ctx));
                }
            }
            event => {
                let Some(group) = group_of(&event) else { return };
                if self.attempts.contains_key(&group) {
                    self.attempt(&group, now, fx, |attempt, ctx| attempt.on_lane(event, ctx));
                } else if self.knocking.get(&group).is_some_and(|k| k.listens(now)) {
                    self.outside(&group, now, fx, |knocking, ctx| knocking.on_lane(event, ctx));
                } else {
                    self.with(&group, now, fx, |group, ctx| group.on_lane(event, ctx));
                }
            }
        }
    }

    /// Keeps addresses of the DHT for the next start.
    pub(super) fn remember(&mut self, addresses: Vec<String>, fx: &mut Effects) {
        let before = self.remembered.len();
        self.remembered.extend(addresses.into_iter().filter(|a| a.len() <= limits::ADDRESS_MAX));
        while self.remembered.len() > REMEMBERED {
            self.remembered.pop_first();
        }
        if self.remembered.len() != before {
            let text: Vec<_> = self.remembered.iter().map(String::as_str).collect();
            let bucket = Bucket { group: None, expires: None };
            let value = Some(text.join("\n").into_bytes());
            fx.persist.push(Write { bucket, table: Table::Setting, key: SEED_KEY.to_vec(), value });
        }
    }

    /// Tells the DHT where to begin: relays of all groups, links being tried, and remembered members.
    pub(super) fn bootstrap(&mut self, fx: &mut Effects) {
        let joined = self.groups.values().filter(|g| g.is_joined());
        let mut addresses: BTreeSet<String> = joined.flat_map(|g| g.relays().iter().cloned()).collect();
        addresses.extend(self.attempts.values().flat_map(|a| a.link.relays.iter().chain(&a.link.bootstrap).cloned()));
        addresses.extend(self.knocking.values().filter(|k| k.waits()).flat_map(Knocking::addresses).cloned());
        addresses.extend(self.remembered.iter().cloned());
        let addresses: Vec<_> = addresses.into_iter().collect();
        if addresses != self.bootstrapped {
            self.bootstrapped.clone_from(&addresses);
            fx.send.push(LaneCommand::DhtBootstrap { addresses });
        }
    }
}

/// The group that an event concerns.
fn group_of(event: &LaneEvent) -> Option<GroupId> {
    match event {
        LaneEvent::Listening { lane, .. }
        | LaneEvent::LinkUp { lane, .. }
        | LaneEvent::LinkDown { lane, .. }
        | LaneEvent::Message { lane, .. }
        | LaneEvent::Gossip { lane, .. } => Some(lane.group),
        LaneEvent::RelayUp { group, .. }
        | LaneEvent::RelayDown { group, .. }
        | LaneEvent::RelayAnswer { group, .. }
        | LaneEvent::RelayPush { group, .. } => Some(*group),
        LaneEvent::CommonsListening { .. }
        | LaneEvent::CommonsPeers { .. }
        | LaneEvent::DhtFound { .. }
        | LaneEvent::RelayPath { .. } => None,
    }
}
