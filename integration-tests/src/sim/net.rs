//! The simulated network: lossy gossip, ordered links, relays with the real mailbox rules, a DHT.

#![allow(clippy::expect_used, reason = "a simulated relay whose memory fails has nothing left to show")]

use hearth_crypto::{mls::Mls, persona::sign_with, schedule::Signer};
use hearth_node::{
    engine::lane::{LaneCommand, LaneEvent, LaneKey, LinkId, OWN_MAILBOX, RelayFailure, Ticket},
    relay::mailbox::{Mailbox, MemoryStore, Party, Policy, Quotas, SessionId},
};
use hearth_protocol::{
    card::Record,
    cbor,
    id::{GroupId, hash},
    mailbox::{Action, Answer, Request, pow_solve, queue_id, relay_key, request_message},
    time::Timestamp,
};

use super::{Happening, Link, Relay, World};

/// Relays are numbered from here in `cut`.
pub(crate) const RELAY: usize = 1_000;
/// A record of the DHT may be this far ahead.
const AHEAD_MINUTES: u64 = 10;
/// A dial or a session takes this long at least.
const HOP_MS: u64 = 2;

/// What a request to a relay is signed with: Ed25519, or a hash that whoever has the key writes, and which costs next to
/// nothing.
#[derive(Clone, Copy)]
pub(super) struct Signing {
    pub(super) is_real: bool,
}

impl Signing {
    fn sign(self, signer: &Signer, message: &[u8]) -> [u8; 64] {
        if self.is_real { sign_with(signer, message) } else { symbol(signer.verifying_key().as_bytes(), message) }
    }

    fn mailbox(self, store: MemoryStore, key: [u8; 32]) -> Mailbox<MemoryStore> {
        let quotas = Quotas { pow_bits: 0, ..Quotas::default() };
        let mailbox = Mailbox::new(store, key, Policy::Open, quotas).expect("memory does not fail");
        if self.is_real { mailbox } else { mailbox.verified_by(|key, message, sig| symbol(key, message) == *sig) }
    }
}

fn symbol(key: &[u8; 32], message: &[u8]) -> [u8; 64] {
    let mut sig = [0; 64];
    sig[..32].copy_from_slice(&hash(&[b"symbolic signature", key, message]));
    sig
}

pub(super) fn relay(index: usize, signing: Signing) -> Relay {
    let address = format!("/ip4/127.0.0.1/tcp/{}/p2p/12D3KooWSimulatedRelay{index}", 4_000 + index);
    let key = relay_key(&format!("12D3KooWSimulatedRelay{index}"));
    let mailbox = signing.mailbox(MemoryStore::default(), key);
    Relay { mailbox, key, address, sessions: Default::default(), away_until: 0 }
}

impl<M: Mls> World<M> {
    /// How long a frame takes: half the longest delay, or for the share that is out of order anything up to it.
    fn delay(&mut self) -> u64 {
        let longest = self.faults.delay_ms;
        if self.calm {
            HOP_MS
        } else if self.chance(self.faults.reorder) {
            HOP_MS + self.random(longest + 1)
        } else {
            HOP_MS + longest / 2
        }
    }

    /// A relay's process ends: its sessions go, what it stored stays.
    pub(crate) fn restart_relay(&mut self, relay: usize, away_ms: u64) {
        let Some(at) = self.relays.get_mut(relay) else { return };
        at.away_until = self.now + away_ms;
        for (node, _, group, _) in at.sessions.values().copied().collect::<Vec<_>>() {
            self.drop_sessions(node, Some((group, relay)));
        }
        let signing = self.signing;
        let Some(at) = self.relays.get_mut(relay) else { return };
        let old = std::mem::replace(&mut at.mailbox, signing.mailbox(MemoryStore::default(), at.key));
        at.mailbox = signing.mailbox(old.into_store(), at.key);
    }

    /// Nothing is broken any more, and nothing breaks.
    pub(crate) fn mend(&mut self) {
        self.calm = true;
        self.cut.clear();
        self.relays.iter_mut().for_each(|r| r.away_until = 0);
        (0..self.nodes.len()).for_each(|node| self.disarm(node));
    }

    fn reaches(&self, from: usize, to: usize) -> bool {
        !self.cut.contains(&(from, to))
    }

    pub(super) fn carry(&mut self, node: usize, command: LaneCommand) {
        let life = self.nodes.get(node).map_or(0, |n| n.life);
        match &command {
            LaneCommand::Publish { frame, .. } => self.overheard(frame),
            LaneCommand::DhtPut { value, .. } => self.overheard(value),
            LaneCommand::Relay {
                action: Action::Put { blob: bytes, .. } | Action::SlotPut { body: bytes, .. },
                ..
            } => {
                self.overheard(bytes);
            }
            _ => {}
        }
        match command {
            // What the network does in such a mode: it has no lanes, and no part in the DHT.
            LaneCommand::Open { .. } | LaneCommand::DhtPut { .. } | LaneCommand::DhtGet { .. }
                if self.is_relayed(node) => {}
            LaneCommand::Open { lane, topics, .. } => {
                if let Some(at) = self.nodes.get_mut(node) {
                    at.lanes.insert(lane, topics.into_iter().collect());
                }
                let event = LaneEvent::Listening {
                    lane,
                    peer: peer_id(node, life),
                    addresses: vec![format!("/sim/{node}/{life}")],
                };
                self.plan(self.now + 1, Happening::Lane { node, life, event });
            }
            LaneCommand::Topics { lane, topics } => {
                if let Some(known) = self.nodes.get_mut(node).and_then(|n| n.lanes.get_mut(&lane)) {
                    *known = topics.into_iter().collect();
                }
            }
            LaneCommand::Close { lane } => self.close_lane(node, lane),
            LaneCommand::Publish { lane, topic, frame } => self.gossip(node, lane, topic, &frame),
            LaneCommand::Verdict { .. } | LaneCommand::Accept { .. } | LaneCommand::DhtBootstrap { .. } => {}
            LaneCommand::Dial { lane, peer, .. } => self.dial(node, lane, &peer),
            LaneCommand::Send { lane, link, message } => self.send(node, lane, link, message),
            LaneCommand::Hangup { link, .. } => self.break_link(node, link),
            LaneCommand::Relays { group, addresses } => self.relays_wanted(node, group, &addresses),
            LaneCommand::Relay { group, address, ticket, action, signer } => {
                let session = self.relays.iter().position(|r| r.address == address);
                let session = session.and_then(|r| Some((r, *self.nodes.get(node)?.sessions.get(&(group, r))?)));
                match session {
                    Some((relay, session)) => {
                        let at = self.now + HOP_MS;
                        self.plan(at, Happening::Ask { node, life, relay, session, group, ticket, action, signer });
                    }
                    None => {
                        let event = LaneEvent::RelayAnswer { group, ticket, answer: Err(RelayFailure::Unreachable) };
                        self.plan(self.now + 1, Happening::Lane { node, life, event });
                    }
                }
            }
            LaneCommand::DhtPut { key, value } => {
                self.publish_record(key, value);
            }
            LaneCommand::DhtGet { key } => {
                if let Some(value) = self.dht.get(&key).cloned() {
                    let at = self.now + self.delay();
                    self.plan(at, Happening::Lane { node, life, event: LaneEvent::DhtFound { key, value } });
                }
            }
        }
    }

    /// The DHT's rules: nothing from far ahead, nothing older than what lies there.
    fn publish_record(&mut self, key: [u8; 32], value: Vec<u8>) {
        let seq = |bytes: &[u8]| cbor::read::<Record>(bytes).map(|r| r.seq).ok();
        let Some(new) = seq(&value).filter(|s| *s <= Timestamp(self.now).minute().0 + AHEAD_MINUTES) else { return };
        if self.dht.get(&key).and_then(|old| seq(old)).is_none_or(|old| old < new) {
            self.dht.insert(key, value);
        }
    }

    fn gossip(&mut self, from: usize, lane: LaneKey, topic: [u8; 16], frame: &[u8]) {
        for to in 0..self.nodes.len() {
            let linked =
                self.nodes.get(from).is_some_and(|n| n.links.values().any(|l| l.other == to && l.lane == lane));
            let follows = self.nodes.get(to).is_some_and(|n| n.lanes.get(&lane).is_some_and(|t| t.contains(&topic)));
            if to == from || !linked || !follows || !self.reaches(from, to) {
                continue;
            }
            let (drop, duplicate) = if self.calm { (0.0, 0.0) } else { (self.faults.drop, self.faults.duplicate) };
            let copies = if self.chance(drop) { 0 } else { 1 + usize::from(self.chance(duplicate)) };
            let life = self.nodes.get(to).map_or(0, |n| n.life);
            for _ in 0..copies {
                let message = self.fresh();
                let at = self.now + self.delay();
                let event = LaneEvent::Gossip { lane, topic, message, frame: frame.to_vec() };
                self.plan(at, Happening::Lane { node: to, life, event });
            }
        }
    }

    fn dial(&mut self, from: usize, lane: LaneKey, peer: &[u8]) {
        let Some((to, life)) = read_peer_id(peer) else { return };
        if self.nodes.get(to).is_none_or(|n| n.life != life) {
            return;
        }
        let listens = self.is_up(to) && self.nodes.get(to).is_some_and(|n| n.lanes.contains_key(&lane));
        let linked = self.nodes.get(from).is_some_and(|n| n.links.values().any(|l| l.other == to && l.lane == lane));
        if to == from || !listens || linked || !self.reaches(from, to) || !self.reaches(to, from) {
            return;
        }
        let (here, there) = (LinkId(self.fresh()), LinkId(self.fresh()));
        for (node, link, other, other_link, outbound) in [(from, here, to, there, true), (to, there, from, here, false)]
        {
            let life = self.nodes.get(node).map_or(0, |n| n.life);
            let peer = peer_id(other, self.nodes.get(other).map_or(0, |n| n.life));
            if let Some(at) = self.nodes.get_mut(node) {
                at.links.insert(link, Link { lane, other, other_link });
            }
            self.plan(
                self.now + HOP_MS,
                Happening::Lane { node, life, event: LaneEvent::LinkUp { lane, link, peer, outbound } },
            );
        }
    }

    /// Links keep their order, so all messages take the same time.
    fn send(&mut self, from: usize, lane: LaneKey, link: LinkId, message: Vec<u8>) {
        let Some(at) = self.nodes.get(from).and_then(|n| n.links.get(&link)).copied() else { return };
        if !self.reaches(from, at.other) {
            return self.break_link(from, link);
        }
        let life = self.nodes.get(at.other).map_or(0, |n| n.life);
        let event = LaneEvent::Message { lane, link: at.other_link, message };
        self.plan(self.now + 2 * HOP_MS, Happening::Lane { node: at.other, life, event });
    }

    pub(super) fn break_link(&mut self, node: usize, link: LinkId) {
        let Some(at) = self.nodes.get_mut(node).and_then(|n| n.links.remove(&link)) else { return };
        if let Some(other) = self.nodes.get_mut(at.other) {
            other.links.remove(&at.other_link);
        }
        for (node, link) in [(node, link), (at.other, at.other_link)] {
            let life = self.nodes.get(node).map_or(0, |n| n.life);
            self.plan(
                self.now + HOP_MS,
                Happening::Lane { node, life, event: LaneEvent::LinkDown { lane: at.lane, link } },
            );
        }
    }

    fn close_lane(&mut self, node: usize, lane: LaneKey) {
        let Some(at) = self.nodes.get_mut(node) else { return };
        at.lanes.remove(&lane);
        let links: Vec<_> = at.links.iter().filter(|(_, l)| l.lane == lane).map(|(id, _)| *id).collect();
        links.into_iter().for_each(|l| self.break_link(node, l));
    }

    fn relays_wanted(&mut self, node: usize, group: GroupId, addresses: &[String]) {
        let wanted =
            self.relays.iter().enumerate().filter(|(_, r)| addresses.contains(&r.address)).map(|(i, _)| i).collect();
        let life = self.nodes.get(node).map_or(0, |n| n.life);
        let Some(at) = self.nodes.get_mut(node) else { return };
        let old = at.wanted.insert(group, wanted).unwrap_or_default();
        let now_wanted = at.wanted.get(&group).cloned().unwrap_or_default();
        for gone in old.difference(&now_wanted) {
            self.drop_sessions(node, Some((group, *gone)));
        }
        for relay in now_wanted.difference(&old) {
            self.plan(self.now + HOP_MS, Happening::Connect { node, life, group, relay: *relay });
        }
        debug_assert!(addresses.iter().all(|a| a == OWN_MAILBOX || a.starts_with('/')));
    }

    /// Opens a session, or tries again in a second.
    pub(super) fn connect(&mut self, node: usize, group: GroupId, relay: usize) {
        let Some(at) = self.nodes.get(node) else { return };
        let life = at.life;
        if !at.wanted.get(&group).is_some_and(|w| w.contains(&relay)) || at.sessions.contains_key(&(group, relay)) {
            return;
        }
        let away = self.relays.get(relay).is_none_or(|r| r.away_until > self.now);
        if away || !self.reaches(node, RELAY + relay) || !self.reaches(RELAY + relay, node) {
            return self.plan(self.now + 1_000, Happening::Connect { node, life, group, relay });
        }
        let session = SessionId(self.fresh());
        let mut nonce = [0; 32];
        rand::Rng::fill_bytes(&mut self.rng, &mut nonce);
        let now = Timestamp(self.now);
        let Some(at) = self.relays.get_mut(relay) else { return };
        if at.mailbox.open(session, nonce, Party::Remote, now).is_err() {
            return self.plan(self.now + 1_000, Happening::Connect { node, life, group, relay });
        }
        at.sessions.insert(session, (node, life, group, nonce));
        let (address, relay_key) = (at.address.clone(), at.key);
        if let Some(at) = self.nodes.get_mut(node) {
            at.sessions.insert((group, relay), session);
        }
        self.plan(
            self.now + HOP_MS,
            Happening::Lane { node, life, event: LaneEvent::RelayUp { group, address, relay_key } },
        );
    }

    /// Ends sessions of a node: one, or all.
    pub(super) fn drop_sessions(&mut self, node: usize, only: Option<(GroupId, usize)>) {
        let Some(at) = self.nodes.get_mut(node) else { return };
        let life = at.life;
        let gone: Vec<_> =
            at.sessions.iter().filter(|(k, _)| only.is_none_or(|o| o == **k)).map(|(k, s)| (*k, *s)).collect();
        for ((group, relay), session) in gone {
            if let Some(at) = self.nodes.get_mut(node) {
                at.sessions.remove(&(group, relay));
            }
            let Some(at) = self.relays.get_mut(relay) else { continue };
            at.mailbox.close(session);
            at.sessions.remove(&session);
            let address = at.address.clone();
            self.plan(
                self.now + HOP_MS,
                Happening::Lane { node, life, event: LaneEvent::RelayDown { group, address } },
            );
            self.plan(self.now + 1_000, Happening::Connect { node, life, group, relay });
        }
    }

    /// A request arrives at a relay: the real rules answer it.
    pub(super) fn asked(
        &mut self,
        (node, life): (usize, u32),
        (relay, session): (usize, SessionId),
        (group, ticket): (GroupId, Ticket),
        (mut action, signer): (Action, Option<Signer>),
    ) -> Option<Answer> {
        let cut = !self.reaches(node, RELAY + relay) || !self.reaches(RELAY + relay, node);
        if cut {
            self.drop_sessions(node, Some((group, relay)));
        }
        let now = Timestamp(self.now);
        let at = self.relays.get_mut(relay)?;
        let Some((_, _, _, nonce)) = at.sessions.get(&session).copied() else {
            let event = LaneEvent::RelayAnswer { group, ticket, answer: Err(RelayFailure::Unreachable) };
            self.plan(self.now + HOP_MS, Happening::Lane { node, life, event });
            return None;
        };
        if let Action::Create { write_pk, read_pk, kind, pow } = &mut action {
            let bits = at.mailbox.pow_bits(now);
            *pow = pow_solve(&at.key, &nonce, &queue_id(write_pk, read_pk, *kind), bits);
        }
        if let Action::SlotPut { body, .. } = &action {
            self.largest_slot = self.largest_slot.max(body.len());
        }
        let message = request_message(&at.key, &nonce, &action);
        let sig = signer.map_or([0; 64], |key| self.signing.sign(&key, &message));
        let request = Request { id: ticket.0, action, sig };
        let outcome = at.mailbox.handle(session, &request, now).expect("memory does not fail");
        let pushes: Vec<_> = outcome
            .push
            .into_iter()
            .flat_map(|p| {
                let to: Vec<_> =
                    p.sessions.iter().filter_map(|s| at.sessions.get(s).map(|(n, l, g, _)| (*n, *l, *g))).collect();
                to.into_iter().map(move |to| (to, p.queue, p.blob.clone()))
            })
            .collect();
        let address = at.address.clone();
        let event = LaneEvent::RelayAnswer { group, ticket, answer: Ok(outcome.answer.clone()) };
        self.plan(self.now + HOP_MS, Happening::Lane { node, life, event });
        for ((to, life, group), queue, blob) in pushes {
            if self.reaches(RELAY + relay, to) {
                let event = LaneEvent::RelayPush { group, address: address.clone(), queue, blob };
                self.plan(self.now + HOP_MS, Happening::Lane { node: to, life, event });
            }
        }
        Some(outcome.answer)
    }
}

fn read_peer_id(peer: &[u8]) -> Option<(usize, u32)> {
    let (node, life) = peer.split_first_chunk()?;
    Some((u32::from_be_bytes(*node) as usize, u32::from_be_bytes(life.try_into().ok()?)))
}

/// A node's PeerId in one of its lives.
fn peer_id(node: usize, life: u32) -> Vec<u8> {
    [(node as u32).to_be_bytes(), life.to_be_bytes()].concat()
}
