//! Mailboxes of relays: what is read from them and put into them.

use hearth_crypto::{
    mls::Mls,
    schedule::{Network, Signer},
    seal::{open_frame, seal_frame},
};
use hearth_protocol::{
    cbor,
    frame::Control,
    id::{EnvelopeId, NodeId, OpId, QueueId},
    limits::GET_MAX,
    mailbox::{Action, Answer, Blob, Refusal as Refused},
    packet::Packet,
    time::Day,
};

use super::{Group, rows};
use crate::{
    app::{Notice, RelayState},
    engine::{
        ctx::Ctx,
        desk::{Asked, PUTS_UNDER_WAY, Queue, SKEW_DAYS, Step},
        lane::{LaneCommand, LaneKey, RelayFailure, Ticket},
        outbox::{Item, parts_of},
    },
    store::Table,
};

/// Queues that a relay did not have are asked for again this often.
const LOOK_MS: u64 = 10 * 60_000;
/// A busy relay is left alone this long.
pub(super) const BUSY_MS: u64 = 1_500;

impl<M: Mls> Group<M> {
    pub(super) fn relay_up(&mut self, address: &str, key: [u8; 32], ctx: &mut Ctx<'_, M>) {
        let Some(session) = self.desk.sessions.get_mut(address) else { return };
        session.key = Some(key);
        session.full = false;
        self.want_queues(address, ctx);
        self.doors.relay_up(address, ctx.now);
        if self.is_relay(address) {
            self.carry_later(ctx);
        }
        self.seek(ctx);
        self.tell_network(ctx);
    }

    pub(super) fn relay_down(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        for asked in self.desk.lost(address) {
            if let Asked::Carried(key, _) = asked {
                self.carry_again(&key);
            }
        }
        self.outbox.relay_lost(address);
        self.doors.relay_down(address);
        self.knocks.relay_down(address);
        self.tell_network(ctx);
    }

    pub(super) fn tell_network(&self, ctx: &mut Ctx<'_, M>) {
        let relays = self.relay_states().into_iter().filter(|(a, _)| self.is_relay(a)).collect();
        let peers = self.links.members();
        ctx.notice(Notice::NetworkChanged { group: Some(self.id), peers, relays });
    }

    /// Every mailbox in use and its state.
    pub(crate) fn relay_states(&self) -> Vec<(String, RelayState)> {
        let state = |s: &crate::engine::desk::Session| match (s.key, s.full) {
            (None, _) => RelayState::Unreachable,
            (Some(_), true) => RelayState::Full,
            (Some(_), false) => RelayState::Ok,
        };
        self.desk.sessions.iter().map(|(a, s)| (a.clone(), state(s))).collect()
    }

    /// Adds the queues of every known network at a relay.
    pub(super) fn want_queues(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        let from = Day(self.synced.0.saturating_sub(SKEW_DAYS));
        // A relay that was away for a week still gets what was said on its first day.
        let from = self.outbox.first_day().map_or(from, |day| day.min(from));
        let firsts: Vec<_> = self.networks.iter().map(Network::first_day).collect();
        let tip = self.dag.tip_entry().map(|e| e.network);
        let ended = |n: &Network| {
            firsts.iter().filter(|day| **day > n.first_day()).min().copied().filter(|_| Some(n.id()) != tip)
        };
        self.desk.want(address, self.networks.iter().map(|n| (n, (from, ended(n)))), ctx.today());
        match self.listens() {
            true => self.desk.only_control(),
            false => self.want_knocks(address),
        }
    }

    /// Adds the queues that knocks come in.
    fn want_knocks(&mut self, address: &str) {
        let Some(session) = self.desk.sessions.get(address) else { return };
        let Some(key) = session.key else { return };
        let new = |network: &NodeId, invite: &OpId| !session.hears(network, invite);
        self.knock_queues(&key, new).into_iter().for_each(|queue| self.desk.want_knocks(address, queue));
    }

    /// Invites or roles changed: other queues may be wanted.
    pub(super) fn look_for_knocks(&mut self) {
        for address in self.desk.sessions.keys().cloned().collect::<Vec<_>>() {
            self.want_knocks(&address);
        }
    }

    /// A new day: tomorrow's queues and topics.
    pub(super) fn new_day(&mut self, ctx: &mut Ctx<'_, M>) {
        for address in self.desk.sessions.keys().cloned().collect::<Vec<_>>() {
            self.want_queues(&address, ctx);
        }
        self.follow_topics(ctx);
        self.forget_knocks(ctx);
    }

    /// Now and then, asks again for queues that were not there.
    pub(super) fn look_again(&mut self, ctx: &mut Ctx<'_, M>) {
        if self.look_at <= ctx.now {
            let wait = ctx.cover.map_or(LOOK_MS, |cover| cover.around_ms(LOOK_MS, &self.id, ctx.now));
            self.look_at = ctx.now.plus_ms(wait);
            self.desk.look_again();
            if self.is_joined() {
                self.watch_doors(ctx);
            }
        }
        if !self.desk.sessions.is_empty() {
            ctx.wake_at(self.look_at);
        }
    }

    /// Asks what can be asked, and offers what waits.
    pub(super) fn work_desk(&mut self, ctx: &mut Ctx<'_, M>) {
        // Most inputs leave nothing to do here.
        let waits = !self.outbox.is_empty() || !self.carry.is_empty() || !self.knocks.are_answered();
        let busy = self.desk.sessions.iter().filter(|(_, s)| s.key.is_some() && (waits || s.is_asking()));
        for address in busy.map(|(address, _)| address.clone()).collect::<Vec<_>>() {
            let Some(session) = self.desk.sessions.get(&address) else { continue };
            if session.pause > ctx.now {
                ctx.wake_at(session.pause);
                continue;
            }
            for queue in self.desk.idle(&address) {
                let (id, after, read) = (queue.keys.id, queue.cursor, queue.keys.read.clone());
                let max = u16::try_from(GET_MAX).unwrap_or(u16::MAX);
                let (action, asked) = match queue.is_current(ctx.today()) {
                    true => (Action::Subscribe { queue: id, after }, Asked::Subscribe(id)),
                    false => (Action::Get { queue: id, after, max }, Asked::Get(id)),
                };
                self.ask(&address, action, Some(read), asked, ctx);
            }
            self.offer(&address, ctx);
            if !self.listens() {
                self.hand_in(&address, ctx);
                self.offer_answers(&address, ctx);
            }
        }
        let read = || self.desk.sessions.keys().any(|a| self.is_relay(a) && self.desk.is_read(a));
        if self.synced < ctx.today() && read() {
            self.note_absence(ctx.today());
            self.synced = ctx.today();
            self.save_group(ctx);
        }
    }

    pub(super) fn ask(
        &mut self,
        address: &str,
        action: Action,
        signer: Option<Signer>,
        asked: Asked,
        ctx: &mut Ctx<'_, M>,
    ) {
        if let Asked::Subscribe(queue) | Asked::Get(queue) | Asked::Create(queue) = &asked
            && let Some(queue) = self.desk.queue(address, queue)
        {
            queue.step = Step::Asked;
        }
        let ticket = ctx.ticket();
        self.desk.asked.insert(ticket, (address.to_owned(), asked));
        ctx.send(LaneCommand::Relay { group: self.id, address: address.to_owned(), ticket, action, signer });
    }

    /// PUTs what this relay does not have yet, as far as its windows allow.
    fn offer(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        if self.outbox.is_empty() || !self.takes_mail(address) {
            return;
        }
        // A member's own mailbox takes what decides the roster, nothing else.
        let mut open = self.desk.open(address);
        if !self.is_relay(address) {
            open.retain(|(_, day)| day.is_none());
        }
        let room = PUTS_UNDER_WAY.saturating_sub(self.outbox.under_way(address));
        // Who was removed says nothing but what it signs since then: the rest waits for it to be a member again.
        let mut covered = u64::MAX;
        for (number, part) in self.outbox.wanting(address, room, &open, self.removed_at) {
            let Some(item) = self.outbox.get(number).filter(|item| item.number < covered) else { continue };
            if let Some(until) = ctx.cover.and_then(|cover| cover.until((&self.id, address), item, ctx.now)) {
                // What was written later waits behind it: a relay's order is that of writing.
                covered = number;
                ctx.wake_at(until);
                continue;
            }
            let day = (!item.control).then_some(item.day);
            let (Some(queue), Some(bytes)) = (self.desk.queue_for(address, &item.network, day), item.parts.get(part))
            else {
                continue;
            };
            let Ok(blob) = seal_frame(&queue.keys.seal, bytes, ctx.rng) else { continue };
            let (id, write) = (queue.keys.id, queue.keys.write.clone());
            self.outbox.sent(address, number, part);
            self.ask(
                address,
                Action::Put { queue: id, blob },
                Some(write),
                Asked::Put { number, part, queue: id },
                ctx,
            );
        }
    }

    pub(super) fn relay_answer(&mut self, ticket: Ticket, answer: Result<Answer, RelayFailure>, ctx: &mut Ctx<'_, M>) {
        let Some((address, asked)) = self.desk.asked.remove(&ticket) else { return };
        match asked {
            Asked::Subscribe(queue) | Asked::Get(queue) => self.read_answer(&address, &queue, answer, ctx),
            Asked::Create(queue) => {
                let busy = matches!(answer, Ok(Answer::Refused(Refused::Busy | Refused::Work)));
                if busy {
                    self.pause(&address, ctx);
                }
                if let Some(queue) = self.desk.queue(&address, &queue) {
                    queue.made = matches!(answer, Ok(Answer::Created));
                    queue.step = if busy || queue.made { Step::Idle } else { Step::Absent };
                }
            }
            Asked::Put { number, part, queue } => self.put_answer(&address, (number, part, queue), answer, ctx),
            Asked::Carried(key, queue) => self.carried(&address, (&key, &queue), answer, ctx),
            Asked::Slot(slot) => self.slot_answer(&address, slot, answer, ctx),
            Asked::Watch(tip) => self.watched(&address, tip, answer, ctx),
            Asked::RejoinWrapper => self.rejoin_wrapper(&address, answer, ctx),
            Asked::RejoinBody(key) => self.rejoin_body(&key, answer, ctx),
            Asked::Answer(persona) => self.answer_stored(&address, persona, answer, ctx),
        }
    }

    fn read_answer(
        &mut self,
        address: &str,
        queue: &QueueId,
        answer: Result<Answer, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) {
        match answer {
            Ok(Answer::Blobs { blobs, more }) => {
                let Some(at) = self.desk.queue(address, queue) else { return };
                let before = at.cursor;
                // The answer begins with the oldest that the relay still has: what lay before has outlived its time.
                at.cursor = blobs.first().map_or(before, |b| before.max(b.seq.saturating_sub(1)));
                self.take_blobs(address, queue, blobs, ctx);
                let Some(at) = self.desk.queue(address, queue) else { return };
                at.step = Step::Live;
                // A relay that has more and hands over nothing would be asked for ever.
                if more && at.cursor > before {
                    let (after, read) = (at.cursor, at.keys.read.clone());
                    let max = u16::try_from(GET_MAX).unwrap_or(u16::MAX);
                    self.ask(address, Action::Get { queue: *queue, after, max }, Some(read), Asked::Get(*queue), ctx);
                }
            }
            Ok(Answer::Refused(Refused::NotFound)) => {
                let today = ctx.today();
                let firsts: Vec<_> = self.networks.iter().map(|n| (n.id(), n.first_day())).collect();
                let Some(at) = self.desk.queue(address, queue) else { return };
                let written_in =
                    |d: Day| d.0.abs_diff(today.0) <= 2 || (d > today && firsts.contains(&(at.network, d)));
                if !at.made && at.day.is_none_or(written_in) {
                    let create = at.keys.create();
                    self.ask(address, create, None, Asked::Create(*queue), ctx);
                } else {
                    at.step = Step::Absent;
                }
            }
            Ok(Answer::Refused(Refused::Busy)) => {
                self.pause(address, ctx);
                if let Some(at) = self.desk.queue(address, queue) {
                    at.step = Step::Idle;
                }
            }
            // Refused for another reason, or the session is gone: read again with the next session.
            Ok(_) | Err(_) => {
                if let Some(at) = self.desk.queue(address, queue) {
                    at.step = Step::Absent;
                }
            }
        }
    }

    /// Blobs of a queue, oldest first. A blob that does not open moves the cursor all the same: it never will.
    pub(super) fn take_blobs(&mut self, address: &str, queue: &QueueId, blobs: Vec<Blob>, ctx: &mut Ctx<'_, M>) {
        let Some(key) = self.desk.sessions.get(address).and_then(|s| s.key) else { return };
        let Some(Queue { keys, cursor, knock, network, .. }) = self.desk.queue(address, queue).cloned() else { return };
        if let Some(invite) = knock {
            self.hear_knocks((network, invite), &blobs, ctx);
        }
        let (mut end, mut hole) = (cursor, false);
        for blob in blobs {
            // A push that overtook a GET leaves a hole: the GET under way brings it, or another one.
            if blob.seq == end + 1 {
                end = blob.seq;
            }
            hole |= blob.seq > end;
            if knock.is_none()
                && let Ok(packet) = open_frame(&keys.seal, &blob.bytes)
            {
                match self.is_relay(address) {
                    true => self.receive_from_relay(&packet, ctx),
                    false => self.receive(&packet, ctx),
                }
            }
        }
        if let Some(at) = self.desk.queue(address, queue) {
            at.cursor = end;
            if hole && at.step == Step::Live {
                at.step = Step::Idle;
            }
        }
        if end != cursor {
            self.desk.cursors.insert((key, *queue), end);
            ctx.write(self.id, Table::State, &rows::cursor_key(&key, queue), Some(end.to_be_bytes().to_vec()));
        }
    }

    fn put_answer(
        &mut self,
        address: &str,
        (number, part, queue): (u64, usize, QueueId),
        answer: Result<Answer, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) {
        match answer {
            Ok(Answer::Stored { .. }) => {
                if let Some(session) = self.desk.sessions.get_mut(address) {
                    session.held += 1;
                    session.full = session.queues.values().any(|q| q.full);
                }
                if self.outbox.stored(address, number, part) {
                    self.item_held(address, number, ctx);
                }
            }
            Ok(Answer::Refused(Refused::NotFound)) => {
                self.pause(address, ctx);
                self.outbox.failed(address, number, part);
                if let Some(at) = self.desk.queue(address, &queue) {
                    at.step = Step::Idle;
                }
            }
            Ok(Answer::Refused(Refused::Full)) => {
                self.outbox.failed(address, number, part);
                self.mark_full(address, &queue, ctx);
            }
            // Busy, or refused without a reason that we know of: again, and not as fast as it refuses.
            Ok(_) => {
                self.pause(address, ctx);
                self.outbox.failed(address, number, part);
            }
            Err(_) => self.outbox.failed(address, number, part),
        }
    }

    /// A queue has no room: it is left alone until it is looked at again.
    pub(super) fn mark_full(&mut self, address: &str, queue: &QueueId, ctx: &mut Ctx<'_, M>) {
        if let Some(queue) = self.desk.queue(address, queue) {
            queue.full = true;
        }
        if let Some(session) = self.desk.sessions.get_mut(address)
            && !std::mem::replace(&mut session.full, true)
        {
            self.tell_network(ctx);
        }
    }

    /// A relay is busy: nothing more for a moment.
    pub(super) fn pause(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        if let Some(session) = self.desk.sessions.get_mut(address) {
            session.pause = ctx.now.plus_ms(BUSY_MS);
            ctx.wake_at(session.pause);
        }
    }

    /// A relay holds an item: remember it, and let the item go once every relay of the group does.
    fn item_held(&mut self, address: &str, number: u64, ctx: &mut Ctx<'_, M>) {
        let relays = self.relays().to_vec();
        let Some(item) = self.outbox.get(number) else { return };
        let everywhere = relays.iter().all(|r| item.held.contains(r));
        let envelope = item.envelope;
        let row = (!everywhere).then(|| cbor::to_vec(item));
        ctx.write(self.id, Table::Outbox, &number.to_be_bytes(), row);
        if everywhere {
            self.outbox.remove(number);
        }
        if let Some(envelope) = envelope.filter(|_| self.is_relay(address)) {
            self.mark_held(envelope, address, ctx);
        }
    }

    /// Hands a control item to everybody: gossip and the network's control queue at every relay.
    pub(crate) fn publish_control(&mut self, control: Control, network: NodeId, ctx: &mut Ctx<'_, M>) {
        self.publish(&Packet::Control(control), (network, true), None, ctx);
    }

    /// Hands a packet to everybody. `to`: the network, and whether it is control.
    pub(crate) fn publish(
        &mut self,
        packet: &Packet,
        (network, control): (NodeId, bool),
        envelope: Option<EnvelopeId>,
        ctx: &mut Ctx<'_, M>,
    ) {
        let parts = parts_of(packet);
        for part in &parts {
            self.inbox.is_new(part);
            self.gossip_out(&network, part, ctx);
        }
        // Without any relay members carry packets themselves; only a newcomer's commit is left at its host's mailbox.
        if self.relays().is_empty() && (self.guests.is_empty() || !control) {
            return;
        }
        let item = Item {
            number: self.outbox.next_number(),
            parts: parts.into_iter().map(Into::into).collect(),
            control,
            network,
            // A clock that is behind writes into the first day whose secret it has: others read a few days ahead.
            day: self.network_of(&network).map_or(ctx.today(), |n| ctx.today().max(n.first_day())),
            envelope,
            held: Vec::new(),
            since: ctx.now,
        };
        ctx.write(self.id, Table::Outbox, &item.number.to_be_bytes(), Some(cbor::to_vec(&item)));
        self.outbox.push(item);
    }

    fn gossip_out(&self, network: &NodeId, packet: &[u8], ctx: &mut Ctx<'_, M>) {
        if !self.links.lanes.contains_key(network) || self.links.members_on(network) == 0 {
            return;
        }
        let Some(keys) = self.network_of(network) else { return };
        let today = ctx.today();
        if let Ok(frame) = seal_frame(&keys.wire(today), packet, ctx.rng) {
            let lane = LaneKey { group: self.id, network: *network };
            ctx.send(LaneCommand::Publish { lane, topic: keys.topic(today), frame });
        }
    }

    pub(super) fn gossip_in(&mut self, lane: LaneKey, message: u64, frame: &[u8], ctx: &mut Ctx<'_, M>) {
        let today = ctx.today().0;
        let opened = self.network_of(&lane.network).and_then(|n: &Network| {
            [today, today.saturating_sub(1), today + 1].iter().find_map(|d| open_frame(&n.wire(Day(*d)), frame).ok())
        });
        ctx.send(LaneCommand::Verdict { lane, message, accept: opened.is_some() });
        if let Some(packet) = opened {
            self.receive(&packet, ctx);
        }
    }
}
