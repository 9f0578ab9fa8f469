//! Where members can be reached: lanes, the own card, and those of others, which say where to dial.

use std::collections::BTreeMap;

use hearth_crypto::{
    envelope,
    mls::Mls,
    persona::{sign_with, verify},
    schedule::{Network, live_slots},
    seal::{open_card, seal_card},
};
use hearth_protocol::{
    card::{CardContent, Record, SLOT_MS, SignedCard, record_key, record_message, slot_of},
    cbor,
    id::{DeviceId, NodeId, hash},
    limits::CARD_ADDRESSES_MAX,
    time::{Day, Minute, Timestamp},
};

use super::{Group, rows};
use crate::{
    engine::{
        ctx::Ctx,
        desk::SKEW_DAYS,
        lane::{LaneCommand, LaneKey},
    },
    store::Table,
};

/// Members without a link: their last known addresses are dialled this often, and they are looked up in the DHT after
/// 1, 2, 4 and 8 s, then as often for [`EAGER_ROUNDS`] rounds, then rarely, and both ever more rarely after an hour; each
/// time at most [`LOOKUPS`] of them. Whatever says that the network is back (a lost link, a relay, a DHT peer) begins
/// anew, and whoever comes back looks for the others. So members find each other again within ten seconds, and those who
/// sleep for days cost next to nothing.
const DIAL_EVERY_MS: u64 = 6_000;
const EAGER_ROUNDS: u32 = 12;
const LOOKUP_EVERY_MS: u64 = 60_000;
const PATIENT_ROUNDS: u32 = EAGER_ROUNDS + 60;
const LOOKUP_RARELY_MS: u64 = 600_000;
const LOOKUPS: usize = 12;
/// The own card is written again this often, and at once when it changed.
const PUBLISH_EVERY_MS: u64 = 3_600_000;
/// Nodes refuse a record that is ten minutes ahead; clocks differ too.
const SEQ_AHEAD: u64 = 8;

/// A lane as it stands.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// PeerId bytes and addresses, once it listens.
    pub(super) own: Option<(Vec<u8>, Vec<String>)>,
}

/// A record that is looked for.
struct Lookup {
    network: NodeId,
    slot: u64,
    device: DeviceId,
    /// Hash of the record that was found in order last: the same bytes need no second look.
    checked: Option<[u8; 32]>,
}

/// See the module's page.
#[derive(Default)]
pub(crate) struct Cards {
    /// Last card of each device, as far as known: dialled again after a restart.
    known: BTreeMap<DeviceId, CardContent>,
    /// Keys being looked up, and the key of each: deriving one takes a key pair.
    lookups: BTreeMap<[u8; 32], Lookup>,
    record_keys: BTreeMap<(NodeId, u64, DeviceId), [u8; 32]>,
    next_lookup: Timestamp,
    /// Lookups since the network was last heard of.
    rounds: u32,
    next_dial: Timestamp,
    next_publish: Timestamp,
    /// Of the last record written, kept across stops: nodes take only what rises, and a start may follow another
    /// within its minute.
    seq: u64,
    turn: usize,
}

impl Cards {
    /// The key of a device's record in a slot, from now on looked for.
    fn lookup(&mut self, network: &Network, slot: u64, device: DeviceId) -> [u8; 32] {
        if self.lookups.len() > 64 * LOOKUPS {
            self.lookups.clear();
            self.record_keys.clear();
        }
        let id = network.id();
        let fresh = || record_key(network.record_signer(slot, &device).verifying_key().as_bytes());
        let key = *self.record_keys.entry((id, slot, device)).or_insert_with(fresh);
        self.lookups.entry(key).or_insert(Lookup { network: id, slot, device, checked: None });
        key
    }
}

/// Whether a card may still be used, by a clock that may be wrong.
fn is_current(card: &CardContent, now: Timestamp) -> bool {
    let skew = SKEW_DAYS / 2 * 24 * 60;
    card.expires.0.saturating_add(skew) > now.minute().0
}

impl<M: Mls> Group<M> {
    pub(super) fn lane(&self, network: NodeId) -> LaneKey {
        LaneKey { group: self.id, network }
    }

    fn topics(&self, network: &NodeId, today: Day) -> Vec<[u8; 16]> {
        let days = [today.0.saturating_sub(1), today.0, today.0 + 1];
        self.network_of(network).map(|n| days.iter().map(|d| n.topic(Day(*d))).collect()).unwrap_or_default()
    }

    pub(super) fn open_lane(&mut self, network: NodeId, ctx: &mut Ctx<'_, M>) {
        if self.links.lanes.contains_key(&network) {
            return;
        }
        let Some(gate) = self.network_of(&network).map(Network::gate) else { return };
        let topics = self.topics(&network, ctx.today());
        self.links.lanes.insert(network, Lane::default());
        let (lane, members) = (self.lane(network), self.view.members.len());
        ctx.send(LaneCommand::Open { lane, gate, topics, members });
    }

    pub(super) fn follow_topics(&mut self, ctx: &mut Ctx<'_, M>) {
        for network in self.links.lanes.keys().copied().collect::<Vec<_>>() {
            let (lane, topics) = (self.lane(network), self.topics(&network, ctx.today()));
            ctx.send(LaneCommand::Topics { lane, topics });
        }
    }

    pub(super) fn listening(&mut self, lane: LaneKey, peer: Vec<u8>, addresses: Vec<String>, ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.links.lanes.get_mut(&lane.network) else { return };
        let first = at.own.is_none();
        at.own = Some((peer, addresses));
        self.links.cards.next_publish = ctx.now;
        if first {
            self.seek(ctx);
        }
        self.find_members(ctx);
    }

    /// Looks for members eagerly from now on: something says that the network is there.
    pub(crate) fn seek(&mut self, ctx: &mut Ctx<'_, M>) {
        self.links.cards.rounds = 0;
        self.links.cards.next_lookup = ctx.now;
        self.links.cards.next_dial = ctx.now;
    }

    /// The same for a link that was lost. Not at once: a peer that only restarted is not there yet.
    pub(super) fn seek_soon(&mut self, ctx: &mut Ctx<'_, M>) {
        self.seek(ctx);
        self.links.cards.next_lookup = ctx.now.plus_ms(1_000);
        self.links.cards.next_dial = ctx.now.plus_ms(500);
    }

    fn dial(&self, card: &CardContent, ctx: &mut Ctx<'_, M>) {
        let open =
            self.links.lanes.get(&card.network).is_some_and(|l| l.own.as_ref().is_some_and(|(p, _)| *p != card.peer));
        let tips = self.dag.tip_entry().map(|e| e.network);
        let linked = [Some(card.network), tips].iter().flatten().any(|n| self.links.is_linked(n, &card.device));
        if open && !linked && !card.addresses.is_empty() {
            let lane = self.lane(card.network);
            ctx.send(LaneCommand::Dial { lane, peer: card.peer.clone(), addresses: card.addresses.clone() });
        }
    }

    pub(super) fn own_card(&self, network: &NodeId, now: Timestamp) -> Option<SignedCard> {
        let (peer, addresses) = self.links.lanes.get(network)?.own.clone()?;
        let content = CardContent {
            persona: self.me(),
            device: self.keys.device(),
            peer,
            addresses: addresses.into_iter().take(CARD_ADDRESSES_MAX).collect(),
            network: *network,
            made: now.minute(),
            expires: Minute(now.minute().0 + 2 * SLOT_MS / 60_000),
        };
        Some(envelope::sign_card(&self.keys, &self.id, &content))
    }

    /// Writes the own card into the DHT, dials and looks up members without a link, each when it is time.
    pub(super) fn find_members(&mut self, ctx: &mut Ctx<'_, M>) {
        if !(self.is_joined() || self.listens()) || !self.links.lanes.values().any(|l| l.own.is_some()) {
            return;
        }
        if self.links.cards.next_publish <= ctx.now && self.is_joined() {
            // Too many starts within one minute: the next one has room again.
            let wait = if self.publish_card(ctx) { PUBLISH_EVERY_MS } else { 60_000 - ctx.now.0 % 60_000 };
            self.links.cards.next_publish = ctx.now.plus_ms(wait);
        }
        if self.is_joined() {
            ctx.wake_at(self.links.cards.next_publish);
        }
        if self.links.cards.next_dial > ctx.now && self.links.cards.next_lookup > ctx.now {
            return ctx.wake_at(self.links.cards.next_dial.min(self.links.cards.next_lookup));
        }
        let mut missing = self.missing_devices();
        if missing.is_empty() {
            return;
        }
        self.links.cards.turn += 1;
        let start = self.links.cards.turn.wrapping_mul(LOOKUPS) % missing.len();
        missing.rotate_left(start);
        missing.truncate(LOOKUPS);
        if self.links.cards.next_dial <= ctx.now {
            missing.iter().filter_map(|d| self.links.cards.known.get(d)).for_each(|card| self.dial(card, ctx));
            let often = self.links.cards.rounds < PATIENT_ROUNDS;
            self.links.cards.next_dial = ctx.now.plus_ms(if often { DIAL_EVERY_MS } else { LOOKUP_RARELY_MS });
        }
        if self.links.cards.next_lookup <= ctx.now {
            self.look_up(&missing, ctx);
            let wait = match self.links.cards.rounds {
                eager @ ..EAGER_ROUNDS => 1_000 << eager.min(3),
                EAGER_ROUNDS..PATIENT_ROUNDS => LOOKUP_EVERY_MS,
                _ => LOOKUP_RARELY_MS,
            };
            self.links.cards.rounds = self.links.cards.rounds.saturating_add(1);
            self.links.cards.next_lookup = ctx.now.plus_ms(wait);
        }
        ctx.wake_at(self.links.cards.next_dial.min(self.links.cards.next_lookup));
    }

    /// Devices of the tip that have no link in its network: what is said there does not reach them in an older one.
    fn missing_devices(&self) -> Vec<DeviceId> {
        let Some(tip) = self.dag.tip_entry() else { return Vec::new() };
        let me = self.keys.device();
        let devices = tip.facts.leaves.iter().map(|l| l.device);
        devices.filter(|d| *d != me && !self.links.is_linked(&tip.network, d)).collect()
    }

    /// Writes the own card for every open lane: who is still in an older network finds this member there.
    fn publish_card(&mut self, ctx: &mut Ctx<'_, M>) -> bool {
        let seq = ctx.now.minute().0.max(self.links.cards.seq + 1);
        if seq > ctx.now.minute().0 + SEQ_AHEAD {
            return false;
        }
        self.links.cards.seq = seq;
        ctx.write(self.id, Table::State, &rows::card_seq_key(), Some(seq.to_be_bytes().to_vec()));
        let slot = slot_of(ctx.now);
        for id in self.links.lanes.keys() {
            let (Some(card), Some(network)) = (self.own_card(id, ctx.now), self.network_of(id)) else { continue };
            // The next slot's record goes out early, so that a clock that is ahead finds it too.
            for slot in [slot, slot + 1] {
                let key = network.record_signer(slot, &self.keys.device());
                let Ok(sealed) = seal_card(&network.card_key(slot), &cbor::to_vec(&card), ctx.rng) else { continue };
                let (pk, sig) = (key.verifying_key().to_bytes(), sign_with(&key, &record_message(seq, &sealed)));
                let value = cbor::to_vec(&Record { pk, seq, sig, sealed });
                ctx.send(LaneCommand::DhtPut { key: record_key(&pk), value });
            }
        }
        true
    }

    fn look_up(&mut self, devices: &[DeviceId], ctx: &mut Ctx<'_, M>) {
        let Some(network) = self.network().or(self.networks.last()).cloned() else { return };
        for device in devices {
            for slot in live_slots(ctx.now) {
                let key = self.links.cards.lookup(&network, slot, *device);
                ctx.send(LaneCommand::DhtGet { key });
            }
        }
    }

    /// A record came back from the DHT: key, signature, seal and card must all fit.
    pub(super) fn card_found(&mut self, key: &[u8; 32], value: &[u8], ctx: &mut Ctx<'_, M>) {
        let Some(&Lookup { network: id, slot, device, checked }) = self.links.cards.lookups.get(key) else { return };
        let bytes = hash(&[value]);
        if checked == Some(bytes) {
            if let Some(card) = self.links.cards.known.get(&device).filter(|c| is_current(c, ctx.now)).cloned() {
                self.dial(&card, ctx);
            }
            return;
        }
        let Ok(record) = cbor::read::<Record>(value) else { return };
        let fits = record_key(&record.pk) == *key
            && verify(&record.pk, &record_message(record.seq, &record.sealed), &record.sig);
        let Some(network) = self.network_of(&id).filter(|_| fits) else { return };
        let opened = open_card(&network.card_key(slot), &record.sealed).ok();
        if let Some(card) = opened.and_then(|b| cbor::read::<SignedCard>(&b).ok()) {
            let taken = self.take_card(&card, ctx).is_some_and(|c| c.device == device);
            if let Some(lookup) = self.links.cards.lookups.get_mut(key).filter(|_| taken) {
                lookup.checked = Some(bytes);
            }
        }
    }

    /// Checks a card and dials if it is news. Returns whose it is.
    pub(super) fn take_card(&mut self, card: &SignedCard, ctx: &mut Ctx<'_, M>) -> Option<CardContent> {
        let content = envelope::check_card(&self.id, card).ok()?;
        if !is_current(&content, ctx.now) || content.device == self.keys.device() {
            return None;
        }
        let known = self
            .dag
            .tip_entry()?
            .facts
            .leaves
            .iter()
            .any(|l| l.device == content.device && l.persona == content.persona);
        let (kept, ours) = (self.links.cards.known.get(&content.device), self.network().map(Network::id));
        // One of an older network does not take the place of one by which the member is reached in this.
        let better = |c: &CardContent| Some(c.network) != ours || Some(content.network) == ours;
        let newer = kept.is_none_or(|c| c.made <= content.made && *c != content && better(c));
        if known && newer {
            self.links.cards.known.insert(content.device, content.clone());
            ctx.write(self.id, Table::State, &rows::card_key(&content.device), Some(card.content.clone()));
        }
        if known {
            self.dial(&content, ctx);
        }
        Some(content)
    }

    /// A card from disk.
    pub(super) fn restore_card(&mut self, card: CardContent) {
        self.links.cards.known.insert(card.device, card);
    }

    /// From disk.
    pub(super) fn restore_card_seq(&mut self, seq: u64) {
        self.links.cards.seq = seq;
    }

    /// Devices whose cards are on disk.
    pub(super) fn carded(&self) -> impl Iterator<Item = &DeviceId> {
        self.links.cards.known.keys()
    }
}
