//! What people say: making envelopes, taking them in, acknowledging them.

use std::collections::BTreeSet;

use hearth_crypto::{
    envelope::{self, CheckedEnvelope},
    mls::{Leaf, Mls, MlsNode},
    schedule::SHARE_LABEL,
    seal::open_body,
};
use hearth_protocol::{
    cbor,
    content::Content,
    envelope::{AppMessage, EnvelopeContent, SignedEnvelope},
    id::{DeviceId, EnvelopeId, MessageId, NodeId, PersonaId},
    limits::ACK_IDS_MAX,
    op::{OpBody, Role},
    packet::{Packet, SharedEnvelopes},
    time::Timestamp,
};

use super::{Group, ask::COMES_BACK, rows};
use crate::{
    app::{Delivery, GroupState, Kind, MessageRow, Notice, Refusal, Utc},
    engine::{
        ctx::Ctx,
        names,
        outbox::Delivered,
        timeline::{Inserted, Kept, Says, Timeline},
    },
    store::Table,
};

/// Label of what members hand on.
pub(crate) const SHARED_SEAL: &[u8] = b"hearth shared/1";
/// Acknowledgements are gathered this long.
const ACK_MS: u64 = 400;
/// Above this size acknowledgements ride along with the member's next message, or go out once a day.
const ACK_AT_ONCE_MEMBERS: usize = 16;
const ACK_LAZY_MS: u64 = 24 * 3_600_000;

const FULL: Refusal =
    Refusal::new(Kind::Storage, "too many messages wait to be delivered: connect to the network first");

///
const TWICE: &str =
    "a member said two things where only one can be: their vault is in use twice, or they mislead the group";
const OWN_TWICE: &str = "this vault is in use twice, or was set back to an old copy: use one of them only";

impl<M: Mls> Group<M> {
    /// Says something. On disk with this call's effects; delivery is the outbox's.
    pub(crate) fn say(&mut self, content: &Content, ctx: &mut Ctx<'_, M>) -> Result<MessageId, Refusal> {
        self.must_be_joined()?;
        if self.view.role_of(&self.me()) == Some(Role::Reader) {
            return Err(Refusal::new(Kind::NotPermitted, "readers read: ask a facilitator for another role"));
        }
        if self.outbox.is_full() {
            return Err(FULL);
        }
        let node = self.sending_node().ok_or(COMES_BACK)?;
        let (seq, prev) = self.timeline.chain_end(&self.keys.device());
        let said = EnvelopeContent {
            v: 1,
            persona: self.me(),
            device: self.keys.device(),
            node,
            seq,
            prev,
            parents: self.timeline.parents_now(),
            sent_at: ctx.now.minute(),
            body: content.encode(),
        };
        let signed = envelope::sign(&self.keys, &self.id, &said);
        let checked = CheckedEnvelope { id: signed.id(), content: said, signed };
        let message = Timeline::read(&self.id, &checked)
            .map(|k| k.message)
            .ok_or(Refusal::new(Kind::Invalid, "this cannot be sent"))?;
        self.transmit(&node, &checked.signed, checked.id, ctx)?;
        self.outbox.delivered.insert(checked.id, Delivered::default());
        self.accept(checked, ctx);
        self.ride_along(ctx);
        Ok(message)
    }

    /// The node to send at: the tip, if its secrets are held; else the last on the way to it; else, for a member whose
    /// join lost a fork, its own node, which the others can read as well.
    pub(super) fn sending_node(&self) -> Option<NodeId> {
        let mut at = Some(self.dag.tip);
        while let Some(entry) = at.and_then(|node| self.dag.entry(&node)) {
            if entry.state.as_ref().is_some_and(MlsNode::has_secrets) {
                return at;
            }
            at = entry.parent;
        }
        let held = self.dag.nodes.iter().filter(|(_, e)| e.state.as_ref().is_some_and(MlsNode::has_secrets));
        held.max_by_key(|(node, e)| (e.depth, **node)).map(|(node, _)| *node)
    }

    /// Encrypts an envelope at a node and hands it to everybody.
    fn transmit(
        &mut self,
        node: &NodeId,
        signed: &SignedEnvelope,
        id: EnvelopeId,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<(), Refusal> {
        let bytes = cbor::to_vec(&AppMessage::Envelope(signed.clone()));
        self.send_app(node, &bytes, Some(id), ctx)
    }

    pub(super) fn send_app(
        &mut self,
        node: &NodeId,
        plain: &[u8],
        id: Option<EnvelopeId>,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<(), Refusal> {
        let network = self.dag.entry(node).map(|e| e.network).ok_or(COMES_BACK)?;
        let keys = self.keys.clone();
        let state = self.dag.secret_state(node).ok_or(COMES_BACK)?;
        let mls = state.encrypt(&keys, plain).map_err(|_| COMES_BACK)?;
        self.save_changes(node, ctx);
        self.publish(&Packet::App { node: *node, mls }, (network, false), id, ctx);
        Ok(())
    }

    /// After a fork: own messages of the losing side that somebody still misses are said again, as the same bytes. Not at a tip
    /// that has somebody in it whose removal was lost with the fork: that is about to be committed again, and they were said
    /// without.
    pub(super) fn say_again(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some(node) = self.sending_node().filter(|n| *n == self.dag.tip) else { return };
        let stays = |leaf: &Leaf| self.view.role_of(&leaf.persona).is_some();
        if !self.dag.tip_entry().is_some_and(|tip| tip.facts.leaves.iter().all(stays)) {
            return;
        }
        let device = self.keys.device();
        let everybody = self.others();
        let lost: Vec<_> = self
            .timeline
            .iter()
            .filter(|(id, k)| {
                let reached = self.outbox.delivered.get(id).map(|d| &d.reached);
                let missed = reached.is_none_or(|r| everybody.iter().any(|p| !r.contains(p)));
                let node = self.sent_at_node(id, k);
                // Of a node before the base nothing is lost any more.
                let lost = self.dag.entry(&node).is_some() && !self.dag.descends(&self.dag.tip, &node);
                k.device == device && missed && lost
            })
            .filter_map(|(id, k)| Some((*id, k.signed.clone()?)))
            .collect();
        for (id, signed) in lost {
            if self.transmit(&node, &signed, id, ctx).is_ok() {
                self.doors_resent(id, node);
            }
        }
    }

    fn sent_at_node(&self, id: &EnvelopeId, kept: &Kept) -> NodeId {
        self.links.resent.get(id).copied().unwrap_or(kept.node)
    }

    fn doors_resent(&mut self, id: EnvelopeId, node: NodeId) {
        self.links.resent.insert(id, node);
    }

    /// Everybody else in the group.
    pub(crate) fn others(&self) -> BTreeSet<PersonaId> {
        let me = self.me();
        self.view.members.keys().filter(|p| **p != me).copied().collect()
    }

    pub(super) fn take_app(&mut self, node: NodeId, mls: Vec<u8>, ctx: &mut Ctx<'_, M>) {
        if self.dag.entry(&node).is_none() {
            if !self.dag.is_past(ctx.mls.place_of(&mls)) {
                self.hold(Packet::App { node, mls }, ctx);
            }
            return;
        }
        let Some(state) = self.dag.reading_state(&node) else { return };
        let Ok(opened) = state.decrypt(&mls) else { return };
        self.save_changes(&node, ctx);
        let Ok(message) = cbor::read::<AppMessage>(&opened.plaintext) else { return };
        self.heard_of(opened.sender.persona);
        match message {
            AppMessage::Envelope(signed) => {
                self.take_envelope(signed, &opened.sender, ctx);
                // An acknowledgement is not worth that.
                self.carry(&Packet::App { node, mls }, &node, ctx);
            }
            AppMessage::Ack(ids) => self.take_ack(&ids, opened.sender.persona, ctx),
            AppMessage::Declined(knock) => self.knock_declined(knock, &opened.sender.persona, ctx),
        }
    }

    /// Whether an envelope is this persona's own.
    fn is_own(&self, id: &EnvelopeId) -> bool {
        self.timeline.get(id).is_some_and(|k| k.persona == self.me())
    }

    fn heard_of(&mut self, persona: PersonaId) {
        self.heard.insert(persona);
    }

    /// An envelope straight from its author: MLS says who sent it, the signature that nobody changed it.
    fn take_envelope(&mut self, signed: SignedEnvelope, sender: &Leaf, ctx: &mut Ctx<'_, M>) {
        if let Ok(checked) = envelope::check(&self.id, signed)
            && checked.content.device == sender.device
            && checked.content.persona == sender.persona
            && self.was_in(&checked.content)
        {
            self.accept(checked, ctx);
        }
    }

    /// Envelopes that another member hands on.
    pub(super) fn take_shared(&mut self, node: NodeId, sealed: Vec<u8>, ctx: &mut Ctx<'_, M>) {
        if self.dag.entry(&node).is_none() {
            return self.hold(Packet::Shared { node, sealed }, ctx);
        }
        let key = self.dag.secret_state(&node).and_then(|s| s.export(SHARE_LABEL, b"").ok());
        let opened = key.and_then(|k| open_body(&k, SHARED_SEAL, &sealed).ok());
        let Some(shared) = opened.and_then(|b| cbor::read::<SharedEnvelopes>(&b).ok()) else { return };
        for signed in shared.envelopes {
            if let Ok(checked) = envelope::check(&self.id, signed)
                && self.vouched(&checked.content.persona, &checked.content.device)
                && self.was_in(&checked.content)
            {
                let (id, known) = (checked.id, self.timeline.contains(&checked.id));
                self.accept(checked, ctx);
                if !known && !self.carry.is_from_relay() {
                    self.carry_shared(id, ctx);
                }
            }
        }
    }

    /// Whether the persona's own word, in an op or a leaf, makes this device its own.
    fn vouched(&self, persona: &PersonaId, device: &DeviceId) -> bool {
        let leaf = self
            .dag
            .nodes
            .values()
            .any(|e| e.facts.leaves.iter().any(|l| l.persona == *persona && l.device == *device));
        leaf || self.log.ops_in_order().any(|(id, _)| {
            self.log
                .content(&id)
                .is_some_and(|c| c.persona == *persona && c.device == *device && !matches!(c.body, OpBody::Leave))
        })
    }

    /// Whether the device had a leaf where it says that it first sent this, as far as that node is known here.
    fn was_in(&self, content: &EnvelopeContent) -> bool {
        let is_its = |leaf: &Leaf| leaf.device == content.device && leaf.persona == content.persona;
        self.dag.entry(&content.node).is_none_or(|entry| entry.facts.leaves.iter().any(is_its))
    }

    /// Puts a checked envelope into the timeline, on disk, and on the screen.
    fn accept(&mut self, checked: CheckedEnvelope, ctx: &mut Ctx<'_, M>) {
        let Some(mut kept) = Timeline::read(&self.id, &checked) else { return };
        let id = checked.id;
        self.seen(&id, ctx);
        if self.timeline.contains(&id) {
            if kept.persona != self.me() {
                self.acknowledge(id, ctx);
            }
            return;
        }
        if kept.expires_s.is_some_and(|s| s.saturating_mul(1000) <= ctx.now.0) {
            kept.signed = None;
        }
        kept.depth = self.dag.entry(&kept.node).map(|e| e.depth);
        let own = kept.persona == self.me();
        let says = kept.says.clone();
        let row = kept.to_row();
        let known = self.timeline.doubled().len();
        let outcome = self.timeline.insert(id, kept);
        if self.timeline.doubled().len() > known {
            ctx.notice(Notice::Warning { text: if own { OWN_TWICE } else { TWICE } });
        }
        ctx.write(self.id, Table::Envelope, &id.0, Some(row));
        if let Says::Retract(target) = says
            && self.timeline.row(&target).is_some_and(|r| r.retracted)
        {
            self.forget(&target, ctx);
        }
        if let Inserted::New(message) = outcome
            && self.timeline.row(&message).is_some_and(|r| r.retracted)
        {
            // Its retraction came first.
            self.forget(&message, ctx);
        }
        if !own {
            self.acknowledge(id, ctx);
        }
        match outcome {
            Inserted::New(message) => {
                if let Some(row) = self.message_row(&message) {
                    ctx.notice(Notice::MessageNew { group: self.id, row });
                }
            }
            Inserted::Changed(message) => {
                if let Some(row) = self.message_row(&message) {
                    ctx.notice(Notice::MessageChanged { group: self.id, row });
                }
            }
            Inserted::Duplicate | Inserted::Silent => {}
        }
    }

    fn forget(&mut self, message: &MessageId, ctx: &mut Ctx<'_, M>) {
        for id in self.timeline.forget(message) {
            let row = self.timeline.get(&id).map(Kept::to_row);
            ctx.write(self.id, Table::Envelope, &id.0, row);
        }
    }

    /// Destroys what has expired.
    pub(super) fn expire(&mut self, ctx: &mut Ctx<'_, M>) {
        for (id, _) in self.timeline.expire(ctx.now) {
            let row = self.timeline.get(&id).map(Kept::to_row);
            ctx.write(self.id, Table::Envelope, &id.0, row);
            ctx.notice(Notice::GroupChanged { group: self.id });
        }
        if let Some(at) = self.timeline.next_expiry() {
            ctx.wake_at(at);
        }
    }

    fn acknowledge(&mut self, id: EnvelopeId, ctx: &mut Ctx<'_, M>) {
        self.acks.insert(id);
        let many = self.view.members.len() > ACK_AT_ONCE_MEMBERS;
        let wait =
            if many { ACK_LAZY_MS } else { ctx.cover.map_or(ACK_MS, |cover| cover.ack_wait_ms(&self.id, ctx.now)) };
        let at = *self.ack_at.get_or_insert(ctx.now.plus_ms(wait));
        ctx.wake_at(at);
    }

    /// Nothing waits for cover any more.
    pub(crate) fn hurry(&mut self) {
        if self.view.members.len() <= ACK_AT_ONCE_MEMBERS && self.ack_at.is_some() {
            self.ack_at = Some(Timestamp(0));
        }
    }

    /// In larger groups acknowledgements go out together with a message.
    fn ride_along(&mut self, ctx: &mut Ctx<'_, M>) {
        if self.view.members.len() > ACK_AT_ONCE_MEMBERS && !self.acks.is_empty() {
            self.ack_at = Some(ctx.now);
        }
    }

    pub(super) fn flush_acks(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.ack_at else { return };
        if at > ctx.now {
            return ctx.wake_at(at);
        }
        let Some(node) = self.sending_node().filter(|n| *n == self.dag.tip) else { return };
        while !self.acks.is_empty() {
            let ids: Vec<_> = self.acks.iter().take(ACK_IDS_MAX).copied().collect();
            let bytes = cbor::to_vec(&AppMessage::Ack(ids.clone()));
            if self.send_app(&node, &bytes, None, ctx).is_err() {
                return;
            }
            self.acks.retain(|a| !ids.contains(a));
        }
        self.ack_at = None;
    }

    fn take_ack(&mut self, ids: &[EnvelopeId], from: PersonaId, ctx: &mut Ctx<'_, M>) {
        if from == self.me() {
            return;
        }
        for id in ids {
            if !self.is_own(id) {
                self.timeline.hear_of(*id);
                continue;
            }
            let delivered = self.outbox.delivered.entry(*id).or_default();
            if let Err(at) = delivered.reached.binary_search(&from) {
                delivered.reached.insert(at, from);
                self.delivery_changed(*id, ctx);
            }
        }
    }

    pub(super) fn mark_held(&mut self, id: EnvelopeId, relay: &str, ctx: &mut Ctx<'_, M>) {
        let delivered = self.outbox.delivered.entry(id).or_default();
        if !delivered.relays.iter().any(|r| r == relay) {
            delivered.relays.push(relay.to_owned());
            self.delivery_changed(id, ctx);
        }
    }

    fn delivery_changed(&mut self, id: EnvelopeId, ctx: &mut Ctx<'_, M>) {
        let Some(delivered) = self.outbox.delivered.get(&id) else { return };
        ctx.write(self.id, Table::State, &rows::delivered_key(&id), Some(cbor::to_vec(delivered)));
        let Some(kept) = self.timeline.get(&id).filter(|k| k.says == Says::Post) else { return };
        let message = kept.message;
        let (state, relays, members_reached, members_total) = self.delivery(&id);
        let group = self.id;
        ctx.notice(Notice::MessageDelivery { group, message, state, relays, members_reached, members_total });
    }

    /// Where an own message is: state, relays, members reached, members in all.
    pub(crate) fn delivery(&self, id: &EnvelopeId) -> (Delivery, usize, usize, usize) {
        let others = self.others();
        if !self.is_own(id) {
            // Of somebody else's message this member knows that it is here, and nothing more.
            return (Delivery::Reached, 0, 1, others.len());
        }
        // Nothing was heard of it yet, in this run or an earlier one.
        let nothing = Delivered::default();
        let delivered = self.outbox.delivered.get(id).unwrap_or(&nothing);
        let relays = delivered.relays.len();
        let reached = delivered.reached.iter().filter(|p| others.contains(p)).count();
        let enough = self.relays().len().clamp(1, 2);
        let state = match (reached, relays) {
            (0, r) if r >= enough => Delivery::Held,
            (0, _) => Delivery::Queued,
            _ => Delivery::Reached,
        };
        (state, relays, reached, others.len())
    }

    /// A row as the façade shows it.
    pub(crate) fn message_row(&self, message: &MessageId) -> Option<MessageRow> {
        let row = self.timeline.row(message)?;
        let own = row.persona == self.me();
        let delivery = if own { self.delivery(&row.envelope).0 } else { Delivery::Reached };
        Some(MessageRow {
            message: row.message,
            persona: row.persona,
            name: self.name_of(&row.persona),
            text: row.text,
            topic: (!row.topic.is_empty()).then(|| data_encoding::HEXLOWER.encode(&row.topic)),
            reply_to: row.reply_to,
            content_note: row.note,
            sent_at: Utc(row.sent_at.start()),
            edited: row.edited,
            retracted: row.retracted,
            reactions: row.reactions,
            delivery,
        })
    }

    /// The name of a persona, also of one that is no longer a member.
    pub(crate) fn name_of(&self, persona: &PersonaId) -> String {
        if let Some(member) = self.view.members.get(persona) {
            return member.name.clone();
        }
        let given = self.log.ops_in_order().filter_map(|(id, _)| {
            let content = self.log.content(&id)?;
            match &content.body {
                OpBody::Genesis { founder, .. } if content.persona == *persona => Some(founder.clone()),
                OpBody::Join { name, .. } if content.persona == *persona => Some(name.clone()),
                OpBody::Add { subject, name, .. } if subject == persona => Some(name.clone()),
                _ => None,
            }
        });
        given.last().map(|name| names::shown(&name)).unwrap_or_default()
    }

    /// Whether a persona came by an open link and nobody has confirmed it by hearing from it.
    pub(crate) fn is_unconfirmed(&self, persona: &PersonaId) -> bool {
        let by_link = self.view.members.get(persona).is_some_and(|m| m.invite.is_some());
        self.standing == GroupState::Joined && by_link && *persona != self.me() && !self.heard.contains(persona)
    }
}
