//! Carrying to the relays what others said. What came from a member may have reached nobody else: its author may be
//! gone before a relay had it, and members whose clocks differ too much have no link to each other. So whoever has it
//! and sees it at no relay for a while puts it there ([R-95]).

use std::collections::BTreeMap;

use hearth_crypto::{mls::Mls, seal::seal_frame};
use hearth_protocol::{
    cbor,
    frame::Control,
    id::{EnvelopeId, NodeId, OpId, QueueId, hash},
    mailbox::{Action, Answer, Refusal as Refused},
    packet::Packet,
    time::Timestamp,
};
use minicbor::{Decode, Encode};

use super::{Group, rows};
use crate::{
    engine::{
        ctx::Ctx,
        desk::{Asked, SKEW_DAYS},
        lane::RelayFailure,
        outbox::parts_of,
    },
    store::Table,
};

/// The author has this long to bring it to a relay.
const CARRY_MS: u64 = 60_000;
/// Then each member waits a random time on top, so that one is first and the others see it: as long again in groups up
/// to this size, longer in larger ones, up to a bound.
const CARRY_MEMBERS: u64 = 16;
const SPREAD_MS: u64 = 600_000;
/// A relay that comes back puts off what is carried, as its author may be coming with it; but not for ever.
const PUT_OFF_MS: u64 = 300_000;
/// Packets carried at once, of those that decide the roster and of others; the one known for longest gives way.
const CARRIED_MAX: usize = 256;
/// Packets under way to one relay.
const UNDER_WAY: usize = 8;

/// A packet that fits one frame and that no relay has shown.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Carried {
    #[cbor(n(0), with = "minicbor::bytes")]
    packet: Vec<u8>,
    #[n(1)]
    network: NodeId,
    #[n(2)]
    control: bool,
    #[n(3)]
    since: Timestamp,
    #[n(4)]
    due: Timestamp,
    #[cbor(skip)]
    under_way: bool,
}

/// What is carried, by the hash of its packet. What decides the roster is on disk too.
#[derive(Debug, Default)]
pub(crate) struct Carry {
    packets: BTreeMap<[u8; 32], Carried>,
    /// Packets that carry an envelope which only a member handed over.
    shared: BTreeMap<EnvelopeId, Vec<[u8; 32]>>,
    /// What is being taken in comes from a relay.
    from_relay: bool,
}

impl Carry {
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Keys of what is on disk.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.packets.iter().filter(|(_, c)| c.control).map(|(key, _)| key)
    }

    pub(super) fn is_from_relay(&self) -> bool {
        self.from_relay
    }

    pub(super) fn restore(&mut self, key: [u8; 32], carried: Carried) {
        self.packets.insert(key, carried);
    }
}

impl<M: Mls> Group<M> {
    /// Remembers what a packet of somebody else said, now that it was taken in at this node or rests on it.
    pub(super) fn carry(&mut self, packet: &Packet, node: &NodeId, ctx: &mut Ctx<'_, M>) {
        let network = self.dag.entry(node).or(self.dag.tip_entry()).map(|e| e.network);
        let Some(network) = network.filter(|n| !self.relays().is_empty() && self.network_of(n).is_some()) else {
            return;
        };
        let control = matches!(packet, Packet::Control(_));
        for part in parts_of(packet) {
            let key = hash(&[&part]);
            if self.inbox.is_at_relay(&key) || self.carry.packets.contains_key(&key) {
                continue;
            }
            let alike = || self.carry.packets.iter().filter(|(_, c)| c.control == control);
            if alike().count() >= CARRIED_MAX
                && let Some(first) = alike().min_by_key(|(_, c)| c.since).map(|(key, _)| *key)
            {
                self.put_down(&first, ctx);
            }
            let (since, due) = (ctx.now, self.patience(ctx));
            let carried = Carried { packet: part, network, control, since, due, under_way: false };
            if control {
                ctx.write(self.id, Table::State, &rows::carried_key(&key), Some(cbor::to_vec(&carried)));
            }
            self.carry.packets.insert(key, carried);
        }
    }

    pub(super) fn carry_op(&mut self, op: &OpId, ctx: &mut Ctx<'_, M>) {
        let at = self.log.content(op).map(|c| c.at_node);
        if let (Some(op), Some(node)) = (self.log.get(op).cloned(), at) {
            self.carry(&Packet::Control(Control::Op(op)), &node, ctx);
        }
    }

    pub(super) fn carry_commit(&mut self, node: &NodeId, ctx: &mut Ctx<'_, M>) {
        let frame = self.dag.entry(node).and_then(|e| e.made.as_ref()).map(|m| m.frame);
        if let Some(frame) = frame.and_then(|id| self.dag.frame(&id)).cloned() {
            let parent = frame.parent;
            self.carry(&Packet::Control(Control::Commit(frame)), &parent, ctx);
        }
    }

    fn patience(&self, ctx: &mut Ctx<'_, M>) -> Timestamp {
        let spread = CARRY_MS.saturating_mul(1 + self.view.members.len() as u64 / CARRY_MEMBERS).min(SPREAD_MS);
        ctx.now.plus_ms(CARRY_MS + u64::from_be_bytes(ctx.random()) % spread)
    }

    /// A packet from a relay: it need not be carried.
    pub(super) fn receive_from_relay(&mut self, bytes: &[u8], ctx: &mut Ctx<'_, M>) {
        let key = hash(&[bytes]);
        self.put_down(&key, ctx);
        if self.inbox.is_new_at_relay(key)
            && let Ok(packet) = cbor::read::<Packet>(bytes)
        {
            self.carry.from_relay = true;
            self.take(packet, ctx);
            self.carry.from_relay = false;
        }
    }

    /// Carries an envelope that a member handed over, in case its author is gone and others cannot be reached. Not what is
    /// older than a few days, nor what anybody of the tip may not have.
    pub(super) fn carry_shared(&mut self, id: EnvelopeId, ctx: &mut Ctx<'_, M>) {
        let Some(kept) = self.timeline.get(&id) else { return };
        let recent = ctx.today().0.abs_diff(kept.sent_at.start().day().0) <= SKEW_DAYS;
        let Some(tip) = self.dag.tip_entry().filter(|_| recent && !self.relays().is_empty()) else { return };
        if !tip.facts.leaves.iter().all(|l| self.may_have((l.persona, l.device), kept, ctx.now)) {
            return;
        }
        let Some(signed) = kept.signed.clone() else { return };
        let node = self.dag.tip;
        let Some(packet) = self.shared(vec![signed], ctx) else { return };
        let keys = parts_of(&packet).iter().map(|part| hash(&[part])).collect();
        self.carry(&packet, &node, ctx);
        self.carry.shared.insert(id, keys);
    }

    /// An envelope was taken in, perhaps not for the first time.
    pub(super) fn seen(&mut self, id: &EnvelopeId, ctx: &mut Ctx<'_, M>) {
        if self.carry.from_relay {
            let keys = self.carry.shared.remove(id).unwrap_or_default();
            keys.iter().for_each(|key| self.put_down(key, ctx));
        }
    }

    fn put_down(&mut self, key: &[u8; 32], ctx: &mut Ctx<'_, M>) {
        self.carry.shared.retain(|_, keys| !keys.contains(key));
        if self.carry.packets.remove(key).is_some_and(|c| c.control) {
            ctx.write(self.id, Table::State, &rows::carried_key(key), None);
        }
    }

    /// A relay is back.
    pub(super) fn carry_later(&mut self, ctx: &mut Ctx<'_, M>) {
        let later = self.patience(ctx);
        for carried in self.carry.packets.values_mut() {
            carried.due = carried.due.max(later.min(carried.since.plus_ms(PUT_OFF_MS)));
        }
    }

    /// It did not get through.
    pub(super) fn carry_again(&mut self, key: &[u8; 32]) {
        if let Some(carried) = self.carry.packets.get_mut(key) {
            carried.under_way = false;
        }
    }

    /// Puts what is due, once everything that the relay has was read.
    pub(super) fn hand_in(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        if self.carry.packets.is_empty() || !self.is_relay(address) || !self.desk.is_read(address) {
            return;
        }
        let waiting = || self.carry.packets.iter().filter(|(_, c)| !c.under_way);
        if let Some(next) = waiting().map(|(_, c)| c.due).filter(|due| *due > ctx.now).min() {
            ctx.wake_at(next);
        }
        let room = UNDER_WAY.saturating_sub(self.carry.packets.values().filter(|c| c.under_way).count());
        let due = waiting().filter(|(_, c)| c.due <= ctx.now).map(|(key, _)| *key);
        let open = self.desk.open(address);
        for key in due.take(room).collect::<Vec<_>>() {
            let Some(carried) = self.carry.packets.get_mut(&key) else { continue };
            let first_day = self.networks.iter().find(|n| n.id() == carried.network).map(|n| n.first_day());
            let day = (!carried.control).then(|| first_day.map_or(ctx.today(), |first| first.max(ctx.today())));
            let queue = self.desk.queue_for(address, &carried.network, day);
            let Some(queue) = queue.filter(|_| open.contains(&(carried.network, day))) else { continue };
            let Ok(blob) = seal_frame(&queue.keys.seal, &carried.packet, ctx.rng) else { continue };
            carried.under_way = true;
            let (queue, write) = (queue.keys.id, queue.keys.write.clone());
            self.ask(address, Action::Put { queue, blob }, Some(write), Asked::Carried(key, queue), ctx);
        }
    }

    pub(super) fn carried(
        &mut self,
        address: &str,
        (key, queue): (&[u8; 32], &QueueId),
        answer: Result<Answer, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) {
        self.carry_again(key);
        match answer {
            Ok(Answer::Stored { .. }) => {
                self.inbox.is_new_at_relay(*key);
                self.put_down(key, ctx);
            }
            Ok(Answer::Refused(Refused::Full)) => self.mark_full(address, queue, ctx),
            Ok(_) => self.pause(address, ctx),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests;
