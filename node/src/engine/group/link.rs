//! Links between members: who is at the other end, and reconciliation of what each side has.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    mls::{Mls, MlsNode},
    schedule::{Network, SHARE_LABEL},
    seal::seal_body,
};
use hearth_protocol::{
    card::SignedCard,
    cbor,
    envelope::SignedEnvelope,
    id::{DeviceId, EnvelopeId, NodeId, PersonaId},
    limits::{SYNC_ITEMS_MAX, SYNC_WANT_MAX},
    packet::{Packet, SharedEnvelopes},
    sync::{SyncMessage, SyncSet},
    time::Timestamp,
};
use minicbor::bytes::ByteVec;
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::{
    Group,
    cards::{Cards, Lane},
    catalogue::Item,
    post::SHARED_SEAL,
};
use crate::engine::{
    ctx::Ctx,
    lane::{LaneCommand, LaneKey, LinkId},
    timeline::Kept,
};

/// Reconciliation with a linked member is repeated this often.
const SYNC_EVERY_MS: u64 = 10 * 60_000;
/// Bytes of envelopes in one packet handed on, and of packets in one message.
const SHARE_BYTES: usize = 128 * 1024;
const ITEMS_BYTES: usize = 512 * 1024;
/// Sets kept for comparing.
const SNAPSHOTS: usize = 8;
/// Frame limit of negentropy messages.
const RECONCILE_BYTES: u64 = 64 * 1024;

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

/// All links of a group.
#[derive(Default)]
pub(crate) struct Links {
    pub(crate) lanes: BTreeMap<NodeId, Lane>,
    pub(crate) links: BTreeMap<LinkId, Link>,
    /// How others are found.
    pub(super) cards: Cards,
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

    pub(super) fn is_linked(&self, network: &NodeId, device: &DeviceId) -> bool {
        self.links.values().any(|l| l.network == *network && l.member.is_some_and(|(_, d)| d == *device))
    }
}

impl<M: Mls> Group<M> {
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
            self.seek_soon(ctx);
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
        let version = (self.log.came(), self.dag.came(), self.timeline.len());
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
        let Some((since, _)) = tip.elders.places.get(&persona).filter(|_| is_here && stays) else { return false };
        let depth = kept.depth.or_else(|| self.dag.entry(&kept.node).map(|e| e.depth));
        let after = depth.is_some_and(|depth| depth >= *since);
        let window = u64::from(self.view.settings.history_days) * 24 * 60;
        after || (window > 0 && kept.sent_at.0 + window >= now.minute().0)
    }
}

#[cfg(test)]
mod tests;
