//! Links between members: lanes, cards, and reconciliation of what each side has.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    envelope,
    mls::{Mls, MlsNode},
    persona::{sign_with, verify},
    schedule::{Network, SHARE_LABEL, live_slots},
    seal::{open_card, seal_body, seal_card},
};
use hearth_protocol::{
    card::{CardContent, Record, SLOT_MS, SignedCard, record_key, record_message, slot_of},
    cbor,
    envelope::SignedEnvelope,
    id::{DeviceId, EnvelopeId, NodeId, PersonaId, hash},
    limits::{CARD_ADDRESSES_MAX, SYNC_ITEMS_MAX, SYNC_WANT_MAX},
    packet::{Packet, SharedEnvelopes},
    sync::{SyncMessage, SyncSet},
    time::{Day, Minute, Timestamp},
};
use minicbor::bytes::ByteVec;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::{Group, catalogue::Item, post::SHARED_SEAL, rows};
use crate::{
    engine::{
        ctx::Ctx,
        desk::SKEW_DAYS,
        lane::{LaneCommand, LaneKey, LinkId},
        timeline::Kept,
    },
    store::Table,
};

/// Reconciliation with a linked member is repeated this often.
const SYNC_EVERY_MS: u64 = 10 * 60_000;
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
/// Bytes of envelopes in one packet handed on, and of packets in one message.
const SHARE_BYTES: usize = 128 * 1024;
const ITEMS_BYTES: usize = 512 * 1024;
/// Sets kept for comparing.
const SNAPSHOTS: usize = 8;
/// Frame limit of negentropy messages.
const RECONCILE_BYTES: u64 = 64 * 1024;

/// A lane as it stands.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    /// PeerId bytes and addresses, once it listens.
    own: Option<(Vec<u8>, Vec<String>)>,
}

/// A connection to one member.
pub(crate) struct Link {
    pub(crate) network: NodeId,
    peer: Vec<u8>,
    outbound: bool,
    /// Who it is, once its card was checked.
    pub(crate) member: Option<(PersonaId, DeviceId)>,
    /// Up to this epoch it keeps nothing of the DAG.
    base: u64,
    /// The reconciliation that this side began.
    ours: Option<Session>,
    /// Another one was asked for meanwhile: it begins when this one is through.
    again: bool,
    /// The one that the other side began.
    theirs: BTreeMap<SyncSet, Negentropy<'static, NegentropyStorageVector>>,
    last_sync: Timestamp,
}

struct Session {
    set: SyncSet,
    negentropy: Negentropy<'static, NegentropyStorageVector>,
    have: Vec<Id>,
    need: Vec<Id>,
}

/// What is compared with others, as long as nothing new has come.
#[derive(Default)]
struct Snapshots {
    /// Number of ops, of nodes and signatures that ever came, and of envelopes.
    version: (usize, (usize, usize), usize),
    /// By set, what the other side keeps nothing of, and the network that it has to cross.
    sets: Vec<(Compared, NegentropyStorageVector)>,
}

type Compared = (SyncSet, u64, Option<NodeId>);

/// A record that is looked for.
struct Lookup {
    network: NodeId,
    slot: u64,
    device: DeviceId,
    /// Hash of the record that was found in order last: the same bytes need no second look.
    checked: Option<[u8; 32]>,
}

/// All links of a group.
#[derive(Default)]
pub(crate) struct Links {
    pub(crate) lanes: BTreeMap<NodeId, Lane>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    /// Last card of each device, as far as known: dialled again after a restart.
    cards: BTreeMap<DeviceId, CardContent>,
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
    snapshots: Snapshots,
    /// Own envelopes that were said again, and at which node last.
    pub(crate) resent: BTreeMap<EnvelopeId, NodeId>,
}

impl Links {
    /// Members linked now.
    pub(crate) fn members(&self) -> usize {
        let linked = self.links.values().filter_map(|l| l.member.map(|(p, _)| p));
        linked.collect::<BTreeSet<_>>().len()
    }

    /// Links to members who have greeted.
    pub(crate) fn greeted(&self) -> impl Iterator<Item = LinkId> {
        self.links.iter().filter(|(_, l)| l.member.is_some()).map(|(id, _)| *id)
    }

    pub(crate) fn members_on(&self, network: &NodeId) -> usize {
        self.links.values().filter(|l| l.network == *network && l.member.is_some()).count()
    }

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

    fn is_linked(&self, network: &NodeId, device: &DeviceId) -> bool {
        self.links.values().any(|l| l.network == *network && l.member.is_some_and(|(_, d)| d == *device))
    }
}

/// Whether a card may still be used, by a clock that may be wrong.
fn is_current(card: &CardContent, now: Timestamp) -> bool {
    let skew = SKEW_DAYS / 2 * 24 * 60;
    card.expires.0.saturating_add(skew) > now.minute().0
}

impl<M: Mls> Group<M> {
    fn lane(&self, network: NodeId) -> LaneKey {
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
        self.links.next_publish = ctx.now;
        if first {
            self.seek(ctx);
        }
        self.find_members(ctx);
    }

    /// Looks for members eagerly from now on: something says that the network is there.
    pub(crate) fn seek(&mut self, ctx: &mut Ctx<'_, M>) {
        self.links.rounds = 0;
        self.links.next_lookup = ctx.now;
        self.links.next_dial = ctx.now;
    }

    fn dial(&mut self, card: &CardContent, ctx: &mut Ctx<'_, M>) {
        let open =
            self.links.lanes.get(&card.network).is_some_and(|l| l.own.as_ref().is_some_and(|(p, _)| *p != card.peer));
        let tips = self.dag.tip_entry().map(|e| e.network);
        let linked = [Some(card.network), tips].iter().flatten().any(|n| self.links.is_linked(n, &card.device));
        if open && !linked && !card.addresses.is_empty() {
            let lane = self.lane(card.network);
            ctx.send(LaneCommand::Dial { lane, peer: card.peer.clone(), addresses: card.addresses.clone() });
        }
    }

    fn own_card(&self, network: &NodeId, now: Timestamp) -> Option<SignedCard> {
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
        if self.links.next_publish <= ctx.now && self.is_joined() {
            // Too many starts within one minute: the next one has room again.
            let wait = if self.publish_card(ctx) { PUBLISH_EVERY_MS } else { 60_000 - ctx.now.0 % 60_000 };
            self.links.next_publish = ctx.now.plus_ms(wait);
        }
        if self.is_joined() {
            ctx.wake_at(self.links.next_publish);
        }
        if self.links.next_dial > ctx.now && self.links.next_lookup > ctx.now {
            return ctx.wake_at(self.links.next_dial.min(self.links.next_lookup));
        }
        let mut missing = self.missing_devices();
        if missing.is_empty() {
            return;
        }
        self.links.turn += 1;
        let start = self.links.turn.wrapping_mul(LOOKUPS) % missing.len();
        missing.rotate_left(start);
        missing.truncate(LOOKUPS);
        if self.links.next_dial <= ctx.now {
            for card in missing.iter().filter_map(|d| self.links.cards.get(d).cloned()).collect::<Vec<_>>() {
                self.dial(&card, ctx);
            }
            let often = self.links.rounds < PATIENT_ROUNDS;
            self.links.next_dial = ctx.now.plus_ms(if often { DIAL_EVERY_MS } else { LOOKUP_RARELY_MS });
        }
        if self.links.next_lookup <= ctx.now {
            self.look_up(&missing, ctx);
            let wait = match self.links.rounds {
                eager @ ..EAGER_ROUNDS => 1_000 << eager.min(3),
                EAGER_ROUNDS..PATIENT_ROUNDS => LOOKUP_EVERY_MS,
                _ => LOOKUP_RARELY_MS,
            };
            self.links.rounds = self.links.rounds.saturating_add(1);
            self.links.next_lookup = ctx.now.plus_ms(wait);
        }
        ctx.wake_at(self.links.next_dial.min(self.links.next_lookup));
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
        let seq = ctx.now.minute().0.max(self.links.seq + 1);
        if seq > ctx.now.minute().0 + SEQ_AHEAD {
            return false;
        }
        self.links.seq = seq;
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
                let key = self.links.lookup(&network, slot, *device);
                ctx.send(LaneCommand::DhtGet { key });
            }
        }
    }

    /// A record came back from the DHT: key, signature, seal and card must all fit.
    pub(super) fn card_found(&mut self, key: &[u8; 32], value: &[u8], ctx: &mut Ctx<'_, M>) {
        let Some(&Lookup { network: id, slot, device, checked }) = self.links.lookups.get(key) else { return };
        let bytes = hash(&[value]);
        if checked == Some(bytes) {
            if let Some(card) = self.links.cards.get(&device).filter(|c| is_current(c, ctx.now)).cloned() {
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
            if let Some(lookup) = self.links.lookups.get_mut(key).filter(|_| taken) {
                lookup.checked = Some(bytes);
            }
        }
    }

    /// Checks a card and dials if it is news. Returns whose it is.
    fn take_card(&mut self, card: &SignedCard, ctx: &mut Ctx<'_, M>) -> Option<CardContent> {
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
        let (kept, ours) = (self.links.cards.get(&content.device), self.network().map(Network::id));
        // One of an older network does not take the place of one by which the member is reached in this.
        let better = |c: &CardContent| Some(c.network) != ours || Some(content.network) == ours;
        let newer = kept.is_none_or(|c| c.made <= content.made && *c != content && better(c));
        if known && newer {
            self.links.cards.insert(content.device, content.clone());
            ctx.write(self.id, Table::State, &rows::card_key(&content.device), Some(card.content.clone()));
        }
        if known {
            self.dial(&content, ctx);
        }
        Some(content)
    }

    /// A card from disk.
    pub(super) fn restore_card(&mut self, card: CardContent) {
        self.links.cards.insert(card.device, card);
    }

    /// From disk.
    pub(super) fn restore_card_seq(&mut self, seq: u64) {
        self.links.seq = seq;
    }

    /// Devices whose cards are on disk.
    pub(super) fn carded(&self) -> impl Iterator<Item = &DeviceId> {
        self.links.cards.keys()
    }

    pub(super) fn link_up(
        &mut self,
        lane: LaneKey,
        link: LinkId,
        (peer, outbound): (Vec<u8>, bool),
        ctx: &mut Ctx<'_, M>,
    ) {
        let Some(card) = self.own_card(&lane.network, ctx.now) else {
            return ctx.send(LaneCommand::Hangup { lane, link });
        };
        let last_sync = ctx.now;
        let (network, member, ours, again, theirs) = (lane.network, None, None, false, BTreeMap::new());
        let at = Link { network, peer, outbound, member, base: 0, ours, again, theirs, last_sync };
        self.links.links.insert(link, at);
        self.tell(link, &SyncMessage::Hello { card, base: self.dag.base_depth() }, ctx);
    }

    pub(super) fn link_down(&mut self, link: LinkId, ctx: &mut Ctx<'_, M>) {
        if self.links.links.remove(&link).is_some_and(|l| l.member.is_some()) {
            // Not at once: a peer that only restarted is not there yet.
            self.seek(ctx);
            self.links.next_lookup = ctx.now.plus_ms(1_000);
            self.links.next_dial = ctx.now.plus_ms(500);
            self.tell_network(ctx);
        }
    }

    fn tell(&self, link: LinkId, message: &SyncMessage, ctx: &mut Ctx<'_, M>) {
        if let Some(at) = self.links.links.get(&link) {
            ctx.send(LaneCommand::Send { lane: self.lane(at.network), link, message: cbor::to_vec(message) });
        }
    }

    pub(super) fn link_message(&mut self, link: LinkId, message: &[u8], ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.links.links.get(&link) else { return };
        let greeted = at.member.is_some();
        match cbor::read::<SyncMessage>(message) {
            Ok(SyncMessage::Hello { card, base }) if !greeted => self.hello(link, (&card, base), ctx),
            Ok(SyncMessage::Reconcile { set, to_initiator, payload }) if greeted => {
                if to_initiator {
                    self.reconcile_ours(link, set, &payload, ctx)

#[cfg(test)]
mod tests;
                } else {
                    self.reconcile_theirs(link, set, &payload, ctx)
                }
            }
            Ok(SyncMessage::Want { set, ids }) if greeted => {
                let ids: Vec<_> = ids.iter().filter_map(|i| <[u8; 32]>::try_from(i.as_slice()).ok()).collect();
                self.hand_over(link, set, &ids, ctx);
            }
            Ok(SyncMessage::Items { packets }) if greeted => {
                for packet in packets {
                    // A member sends what was asked for, so a copy seen before may be wanted now.
                    if let Ok(packet) = cbor::read::<Packet>(&packet) {
                        self.take(packet, ctx);
                    }
                }
            }
            Ok(SyncMessage::Done { set }) if greeted => {
                if let Some(at) = self.links.links.get_mut(&link) {
                    at.theirs.remove(&set);
                }
            }
            // Out of turn, or garbage: this is no member of ours.
            Ok(_) | Err(_) => {
                let lane = self.lane(at.network);
                self.links.links.remove(&link);
                ctx.send(LaneCommand::Hangup { lane, link });
            }
        }
    }

    fn hello(&mut self, link: LinkId, (card, base): (&SignedCard, u64), ctx: &mut Ctx<'_, M>) {
        let content = self.take_card(card, ctx);
        let Some(at) = self.links.links.get_mut(&link) else { return };
        let lane = LaneKey { group: self.id, network: at.network };
        let Some(content) = content.filter(|c| c.peer == at.peer && c.network == at.network) else {
            self.links.links.remove(&link);
            return ctx.send(LaneCommand::Hangup { lane, link });
        };
        at.member = Some((content.persona, content.device));
        at.base = base;
        let outbound = at.outbound;
        ctx.send(LaneCommand::Accept { lane, link });
        if Some(lane.network) == self.network().map(Network::id) {
            self.leave_crossing(content.device, &lane.network, ctx);
        }
        self.tell_network(ctx);
        if outbound {
            self.sync_with(link, ctx);
        }
    }

    /// A member who is linked in the tip's network needs no link in another.
    fn leave_crossing(&mut self, device: DeviceId, network: &NodeId, ctx: &mut Ctx<'_, M>) {
        let is_other = |l: &Link| l.network != *network && l.member.is_some_and(|(_, d)| d == device);
        let others: Vec<_> = self.links.links.iter().filter(|(_, l)| is_other(l)).map(|(id, _)| *id).collect();
        for link in others {
            if let Some(at) = self.links.links.remove(&link) {
                ctx.send(LaneCommand::Hangup { lane: self.lane(at.network), link });
            }
        }
    }

    /// The network of a link that only helps to cross: an older one's, with somebody whom the tip does not have. It may be
    /// a member who was removed.
    fn crossing(&self, link: LinkId) -> Option<NodeId> {
        let (at, tip) = (self.links.links.get(&link)?, self.dag.tip_entry()?);
        let known = |device: DeviceId| tip.facts.leaves.iter().any(|l| l.device == device);
        (at.network != tip.network && !at.member.is_some_and(|(_, device)| known(device))).then_some(at.network)
    }

    /// Control items that the member at the other end may have: all, or on a link that helps to cross those that
    /// extend its network.
    fn items_for(&mut self, link: LinkId) -> Vec<([u8; 32], Item)> {
        let items = self.control_items();
        let Some(network) = self.crossing(link) else { return items };
        let extends = self.extending(&network);
        items.into_iter().filter(|(_, item)| extends.contains(item)).collect()
    }

    /// Looks at every mailbox and with every linked member now.
    pub(crate) fn sync_now(&mut self, ctx: &mut Ctx<'_, M>) {
        self.desk.read_again();
        self.watch_doors(ctx);
        for link in self.links.greeted().collect::<Vec<_>>() {
            self.sync_with(link, ctx);
        }
        self.seek(ctx);
        self.find_members(ctx);
    }

    pub(super) fn sync_again(&mut self, ctx: &mut Ctx<'_, M>) {
        let links: Vec<_> = self
            .links
            .links
            .iter()
            .filter(|(_, l)| l.outbound && l.member.is_some())
            .map(|(id, l)| (*id, l.last_sync))
            .collect();
        for (link, last) in links {
            if ctx.now.since(last) >= SYNC_EVERY_MS {
                self.sync_with(link, ctx);
            }
            ctx.wake_at(last.max(ctx.now).plus_ms(SYNC_EVERY_MS));
        }
    }

    /// Reconciles both sets with a member, control first. One at a time: an answer to an earlier question would be
    /// taken for one to this. A member who does not answer is asked anew at the next turn.
    pub(super) fn sync_with(&mut self, link: LinkId, ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.links.links.get_mut(&link) else { return };
        if at.ours.is_some() && ctx.now.since(at.last_sync) < SYNC_EVERY_MS {
            at.again = true;
            return;
        }
        at.again = false;
        if let Some(stalled) = at.ours.take() {
            self.tell(link, &SyncMessage::Done { set: stalled.set }, ctx);
        }
        self.begin_sync(link, SyncSet::Control, ctx);
    }

    fn begin_sync(&mut self, link: LinkId, set: SyncSet, ctx: &mut Ctx<'_, M>) {
        let Some(mut negentropy) = self.snapshot(link, set) else { return };
        let Ok(payload) = negentropy.initiate() else { return };
        let Some(at) = self.links.links.get_mut(&link) else { return };
        at.last_sync = ctx.now;
        at.ours = Some(Session { set, negentropy, have: Vec::new(), need: Vec::new() });
        self.tell(link, &SyncMessage::Reconcile { set, to_initiator: false, payload }, ctx);
    }

    /// What this side has of a set, for comparing: nothing of what the other side no longer keeps.
    fn snapshot(&mut self, link: LinkId, set: SyncSet) -> Option<Negentropy<'static, NegentropyStorageVector>> {
        let past = self.links.links.get(&link).map_or(0, |l| l.base);
        let kind = (set, past, self.crossing(link));
        let version = (self.log.len(), self.dag.came(), self.timeline.len());
        if self.links.snapshots.version != version {
            self.links.snapshots = Snapshots { version, ..Snapshots::default() };
        }
        if let Some((_, storage)) = self.links.snapshots.sets.iter().find(|(known, _)| *known == kind) {
            return Negentropy::owned(storage.clone(), RECONCILE_BYTES).ok();
        }
        let mut storage = NegentropyStorageVector::new();
        match set {
            SyncSet::Control => {
                let items = self.items_for(link);
                for (id, _) in items.into_iter().filter(|(_, item)| !self.is_before(item, past)) {
                    storage.insert(0, Id::from_byte_array(id)).ok()?;
                }
            }
            SyncSet::Envelopes if kind.2.is_some() => {}
            SyncSet::Envelopes => {
                for (id, kept) in self.timeline.iter() {
                    storage.insert(kept.sent_at.0, Id::from_byte_array(id.0)).ok()?;
                }
            }
        }
        storage.seal().ok()?;
        let sets = &mut self.links.snapshots.sets;
        sets.truncate(SNAPSHOTS - 1);
        sets.insert(0, (kind, storage.clone()));
        Negentropy::owned(storage, RECONCILE_BYTES).ok()
    }

    fn reconcile_theirs(&mut self, link: LinkId, set: SyncSet, payload: &[u8], ctx: &mut Ctx<'_, M>) {
        let fresh = self.links.links.get(&link).is_some_and(|l| !l.theirs.contains_key(&set));
        let snapshot = if fresh { self.snapshot(link, set) } else { None };
        let Some(at) = self.links.links.get_mut(&link) else { return };
        if let Some(snapshot) = snapshot {
            at.theirs.insert(set, snapshot);
        }
        let Some(Ok(payload)) = at.theirs.get_mut(&set).map(|n| n.reconcile(payload)) else { return };
        self.tell(link, &SyncMessage::Reconcile { set, to_initiator: true, payload }, ctx);
    }

    fn reconcile_ours(&mut self, link: LinkId, set: SyncSet, payload: &[u8], ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.links.links.get_mut(&link) else { return };
        let Some(session) = at.ours.as_mut().filter(|s| s.set == set) else { return };
        let Session { negentropy, have, need, .. } = session;
        match negentropy.reconcile_with_ids(payload, have, need) {
            Ok(Some(payload)) => self.tell(link, &SyncMessage::Reconcile { set, to_initiator: false, payload }, ctx),
            Ok(None) => {
                let Some(session) = at.ours.take() else { return };
                let have: Vec<_> = session.have.iter().map(|i| i.to_bytes()).collect();
                self.hand_over(link, set, &have, ctx);
                for ids in session.need.chunks(SYNC_WANT_MAX) {
                    let ids = ids.iter().map(|i| ByteVec::from(i.to_bytes().to_vec())).collect();
                    self.tell(link, &SyncMessage::Want { set, ids }, ctx);
                }
                self.tell(link, &SyncMessage::Done { set }, ctx);
                match set {
                    // What was asked for arrives before the answer to this: links keep their order.
                    SyncSet::Control => self.begin_sync(link, SyncSet::Envelopes, ctx),
                    SyncSet::Envelopes if self.links.links.get(&link).is_some_and(|l| l.again) => {
                        self.sync_with(link, ctx);
                    }
                    SyncSet::Envelopes => {}
                }
            }
            Err(_) => {
                at.ours = None;
                let again = at.again;
                // What the other side compares with would be out of date the next time.
                self.tell(link, &SyncMessage::Done { set }, ctx);
                if again {
                    self.sync_with(link, ctx);
                }
            }
        }
    }

    /// Sends items of a set that the other side lacks, as far as it may have them.
    fn hand_over(&mut self, link: LinkId, set: SyncSet, ids: &[[u8; 32]], ctx: &mut Ctx<'_, M>) {
        if ids.is_empty() {
            return;
        }
        let packets = match set {
            SyncSet::Control => {
                let wanted: BTreeSet<_> = ids.iter().collect();
                // In this order they can be taken in.
                let items: Vec<_> = self.items_for(link).into_iter().filter(|(id, _)| wanted.contains(id)).collect();
                let items = items.iter().filter_map(|(_, item)| self.control_item(item));
                items.map(|c| cbor::to_vec(&Packet::Control(c))).collect()
            }
            SyncSet::Envelopes if self.crossing(link).is_some() => Vec::new(),
            SyncSet::Envelopes => self.shared_packets(link, ids, ctx),
        };
        let mut batch: Vec<ByteVec> = Vec::new();
        let mut size = 0;
        for packet in packets {
            if !batch.is_empty() && (size + packet.len() > ITEMS_BYTES || batch.len() >= SYNC_ITEMS_MAX) {
                self.tell(link, &SyncMessage::Items { packets: std::mem::take(&mut batch) }, ctx);
                size = 0;
            }
            size += packet.len();
            batch.push(packet.into());
        }
        if !batch.is_empty() {
            self.tell(link, &SyncMessage::Items { packets: batch }, ctx);
        }
    }

    /// Envelopes that the member at the other end may have, sealed for everybody at the tip.
    fn shared_packets(&mut self, link: LinkId, ids: &[[u8; 32]], ctx: &mut Ctx<'_, M>) -> Vec<Vec<u8>> {
        let Some(member) = self.links.links.get(&link).and_then(|l| l.member) else { return Vec::new() };
        let known = ids.iter().filter_map(|id| self.timeline.get(&EnvelopeId(*id)));
        let mut given: Vec<_> = known.filter(|k| self.may_have(member, k, ctx.now)).collect();
        given.sort_by_key(|k| (k.sent_at, k.device, k.seq));
        let given: Vec<SignedEnvelope> = given.into_iter().filter_map(|k| k.signed.clone()).collect();
        let mut batches: Vec<Vec<SignedEnvelope>> = Vec::new();
        let mut room = 0_usize;
        for signed in given {
            let size = signed.content.len() + 80;
            match batches.last_mut().filter(|_| size <= room) {
                Some(batch) => batch.push(signed),
                None => {
                    batches.push(vec![signed]);
                    room = SHARE_BYTES;
                }
            }
            room = room.saturating_sub(size);
        }
        let packets = batches.into_iter().filter_map(|batch| self.shared(batch, ctx));
        packets.map(|packet| cbor::to_vec(&packet)).collect()
    }

    /// Envelopes, sealed for everybody at the tip.
    pub(super) fn shared(&mut self, envelopes: Vec<SignedEnvelope>, ctx: &mut Ctx<'_, M>) -> Option<Packet> {
        let node = self.dag.tip;
        let key = self.dag.secret_state(&node)?.export(SHARE_LABEL, b"").ok()?;
        let sealed = seal_body(&key, SHARED_SEAL, &cbor::to_vec(&SharedEnvelopes { envelopes }), ctx.rng).ok()?;
        Some(Packet::Shared { node, sealed })
    }

    /// A member may have what was first sent at or below the node that brought it, and the group's window; nothing once its
    /// removal is known, committed or not. Its card is signed by its device alone: whose device that is, the tree says.
    pub(super) fn may_have(&self, (persona, device): (PersonaId, DeviceId), kept: &Kept, now: Timestamp) -> bool {
        let Some(tip) = self.dag.tip_entry() else { return false };
        let is_here = tip.facts.leaves.iter().any(|l| l.persona == persona && l.device == device);
        let stays = self.view.role_of(&persona).is_some();
        let Some((since, _)) = tip.elders.get(&persona).filter(|_| is_here && stays) else { return false };
        let depth = kept.depth.or_else(|| self.dag.entry(&kept.node).map(|e| e.depth));
        let after = depth.is_some_and(|depth| depth >= *since);
        let window = u64::from(self.view.settings.history_days) * 24 * 60;
        after || (window > 0 && kept.sent_at.0 + window >= now.minute().0)
    }
}
