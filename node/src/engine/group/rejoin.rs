//! Coming back after a join that lost a fork: the same Join is offered again at the tip, found through the control
//! secret that this member already holds. Whom an Add made a member asks for a leaf at the tip.

use std::collections::BTreeSet;

use hearth_crypto::{
    mls::Mls,
    policy::{At, InviteKeys},
    schedule::Network,
    seal::open_body,
};
use hearth_protocol::{
    cbor,
    door::{DoorBody, DoorWrapper, NetworkKeys},
    frame::{CommitFrame, Control},
    id::{NodeId, OpId},
    link::InviteLink,
    mailbox::{Action, Answer},
    op::{OpBody, OpContent, SignedOp},
    time::Day,
};
use zeroize::Zeroizing;

use super::{
    Group,
    door::{DOOR_SEAL, REJOIN_SEAL},
};
use crate::{
    app::{Answer as Told, Kind, Refusal},
    engine::{
        ctx::Ctx,
        dag::{Dag, Offered},
        desk::Asked,
        join::{begin_dag, make_join},
        lane::RelayFailure,
    },
};

/// Who has a leaf at the tip that it cannot open waits this long before it asks for another: if others cannot open it
/// either, their Nacks undo it.
const PATIENCE_MS: u64 = 120_000;
/// And this long before it comes in from outside: committers may be asleep.
const OUTSIDE_MS: u64 = 360_000;
/// A stranded member looks for the door this often.
const LOOK_MS: u64 = 10_000;
/// Networks change every 30 days, in groups that anything is decided in.
const BEHIND_DAYS: u64 = 60;
const AGAIN: Refusal = Refusal::new(
    Kind::Conflict,
    "the group moved on meanwhile, or this link leads elsewhere: try again, or ask for a new one",
);
/// Who has commits that wait this long for one that nobody brings looks for it too: what comes between may be gone.
const LATE_MS: u64 = 600_000;

impl<M: Mls> Group<M> {
    /// Looks for the tip's door while this member is outside of it, or does not know the way there.
    pub(super) fn come_back(&mut self, ctx: &mut Ctx<'_, M>) {
        if !self.is_joined() || !(self.is_late(ctx) || self.stranded) {
            return;
        }
        if self.rejoin_at > ctx.now {
            return ctx.wake_at(self.rejoin_at);
        }
        // One junk frame is enough to be late.
        self.rejoin_at = ctx.now.plus_ms(if self.stranded { LOOK_MS } else { LATE_MS });
        ctx.wake_at(self.rejoin_at);
        let waited = self.stranded_since.map_or(0, |since| ctx.now.since(since));
        let me = self.keys.device();
        let has_leaf = self.dag.tip_entry().is_some_and(|t| t.facts.leaves.iter().any(|l| l.device == me));
        let restarted = self.has_restarted();
        if restarted || has_leaf && waited >= PATIENCE_MS {
            self.ask_for_a_leaf(ctx);
        }
        let Some(network) = self.networks.last().cloned() else { return };
        for (address, key) in self.mailbox_keys() {
            let slot = network.rejoin_slot(&key).id;
            self.ask(&address, Action::SlotGet { slot }, None, Asked::RejoinWrapper, ctx);
        }
    }

    /// Whether commits have been waiting for long, without a break.
    fn is_late(&mut self, ctx: &mut Ctx<'_, M>) -> bool {
        if !self.dag.is_waiting() {
            self.late_since = None;
            return false;
        }
        let due = self.late_since.get_or_insert(ctx.now).plus_ms(LATE_MS);
        if due > ctx.now {
            ctx.wake_at(due);
        }
        due <= ctx.now
    }

    pub(super) fn rejoin_wrapper(&mut self, address: &str, answer: Result<Answer, RelayFailure>, ctx: &mut Ctx<'_, M>) {
        let (Ok(Answer::Slot { bodies, .. }), Some(network)) = (answer, self.networks.last()) else { return };
        let key = network.rejoin_key();
        let opened = bodies.iter().find_map(|b| open_body(&key, REJOIN_SEAL, b).ok());
        if let Some(Ok(DoorWrapper::Open { body_key, body_slot, .. })) = opened.map(|b| cbor::read(&b)) {
            let asked = Asked::RejoinBody(Zeroizing::new(body_key));
            self.ask(address, Action::SlotGet { slot: body_slot }, None, asked, ctx);
        }
    }

    pub(super) fn rejoin_body(&mut self, key: &[u8; 32], answer: Result<Answer, RelayFailure>, ctx: &mut Ctx<'_, M>) {
        let Ok(Answer::Slot { bodies, .. }) = answer else { return };
        let body = bodies.iter().find_map(|b| cbor::read::<DoorBody>(&open_body(key, DOOR_SEAL, b).ok()?).ok());
        let Some(body) = body.filter(|b| b.group == self.id) else { return };
        if self.stranded {
            self.offer_join_again(body, ctx);
        } else if self.is_late(ctx) {
            let began = self.dag.base;
            self.take_body(&body, ctx);
            if self.dag.base != began {
                // Of what it begins with now it has no secrets.
                self.dag.reselect(&self.log);
                self.refresh(ctx);
            }
        }
    }

    /// Takes in what the door tells, and makes an external commit on its node if that is the tip.
    fn offer_join_again(&mut self, body: DoorBody, ctx: &mut Ctx<'_, M>) {
        if !self.take_body(&body, ctx) {
            return;
        }
        self.dag.reselect(&self.log);
        if self.dag.tip == body.node
            && let Some(op) = self.way_back(ctx)
        {
            self.enter_from_outside(&body, &op, ctx);
        }
    }

    /// Makes an external commit on the door's node. True when it stands.
    fn enter_from_outside(&mut self, body: &DoorBody, op: &SignedOp, ctx: &mut Ctx<'_, M>) -> bool {
        let Some(network) = self.dag.entry(&body.node).map(|e| e.network) else { return false };
        let Ok((commit, child)) = ctx.mls.join_external(&self.keys, &body.group_info, &cbor::to_vec(op)) else {
            return false;
        };
        let frame = CommitFrame { parent: body.node, commit };
        let Offered::Accepted(node) = self.dag.offer(ctx.mls, &mut self.log, frame.clone()) else { return false };
        if let Some(entry) = self.dag.nodes.get_mut(&node) {
            entry.state = Some(child);
        }
        self.save_node(&node, ctx);
        self.publish_control(Control::Commit(frame), network, ctx);
        true
    }

    /// Whether a link may lead on where this member's own way ends: it is outside, or so long ago that its network should
    /// have changed that others may have gone on without a trace that it could find.
    pub(crate) fn may_be_behind(&mut self, today: Day) -> bool {
        let began = self.dag.tip_entry().map_or(today.0, |tip| tip.facts.binding.first_day);
        self.is_joined() && (self.stranded || self.late_since.is_some() || today.0.saturating_sub(began) >= BEHIND_DAYS)
    }

    /// Comes back by a link, as who it is. Whoever gave it is trusted to know the group, as by one who joins: what is
    /// behind it need not follow from what was final here, of which nobody may be left.
    pub(crate) fn return_by(
        &mut self,
        link: &InviteLink,
        body: &DoorBody,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<Told, Refusal> {
        let known = self.dag.descends(&self.dag.tip, &body.node) && self.dag.entry(&body.node).is_some();
        if known && !self.stranded {
            return Err(Refusal::new(Kind::Conflict, "you are in this group already"));
        }
        if !self.take_body(body, ctx) {
            let Some(dag) = begin_dag(ctx.mls, &self.id, &self.log, body) else { return Err(AGAIN) };
            self.begin_with(dag, body, ctx);
            self.take_body(body, ctx);
        }
        self.know_network(body.keys.clone(), ctx);
        let op = match self.dag.policy(&self.log, &body.node).role_of(&self.me()) {
            Some(_) => self.ask_from_outside(&body.node, ctx),
            None => {
                self.link_secret = Some(Zeroizing::new(link.secret));
                self.name_here().and_then(|name| self.take_seat(&body.node, link.invite, name, ctx))
            }
        };
        if !op.is_some_and(|op| self.enter_from_outside(body, &op, ctx)) {
            return Err(AGAIN);
        }
        self.dag.reselect(&self.log);
        self.refresh(ctx);
        self.save_group(ctx);
        Ok(Told::Joined { group: self.id, state: self.standing, persona: self.me() })
    }

    /// What is offered at the tip: the own Join again; or, for whom an Add made a member and whose leaf lost a fork, the
    /// wish to have one.
    fn way_back(&mut self, ctx: &mut Ctx<'_, M>) -> Option<SignedOp> {
        let (tip, node) = (self.dag.tip_entry()?, self.dag.tip);
        let has_leaf = tip.facts.leaves.iter().any(|leaf| leaf.device == self.keys.device());
        let waited = self.stranded_since.map_or(0, |since| ctx.now.since(since));
        if has_leaf && waited < OUTSIDE_MS {
            return None;
        }
        let is_member = self.dag.policy(&self.log, &node).role_of(&self.me()).is_some();
        match self.own_join.clone() {
            Some(join) if !is_member => self.seat_again(join, ctx),
            // The old leaf, if there is one, goes in the same commit.
            _ if is_member => self.ask_from_outside(&node, ctx),
            _ => None,
        }
    }

    /// The wish to have a fresh leaf, as an external commit on a node carries it.
    fn ask_from_outside(&self, node: &NodeId, ctx: &Ctx<'_, M>) -> Option<SignedOp> {
        let entry = self.dag.entry(node)?;
        let (key_package, _) = ctx.mls.key_package(&self.keys, entry.facts.suite).ok()?;
        let at = At { heads: &entry.heads, node: *node };
        self.log.make(&self.keys, at, OpBody::RejoinRequest { key_package: key_package.into() }).ok()
    }

    /// The own Join as it may be offered at the tip: the same, or another by the same link if somebody else has taken this
    /// seat meanwhile, or if it names a Join that was lost as well: who came in by that may never offer it again. `None` when
    /// the link admits nobody any more.
    fn seat_again(&mut self, op: SignedOp, ctx: &mut Ctx<'_, M>) -> Option<SignedOp> {
        let content = op.open().ok()?;
        let OpBody::Join { invite: id, slot, name, .. } = content.body else { return None };
        let (policy, tip) = (self.dag.policy(&self.log, &self.dag.tip), self.dag.tip);
        let known: BTreeSet<_> = self.log.closure(&self.dag.entry(&tip)?.heads).into_iter().collect();
        let stands = content.prev.iter().all(|head| known.contains(head));
        match stands && !policy.invites.get(&id)?.taken.contains_key(&slot) {
            true => Some(op),
            false => self.take_seat(&tip, id, name, ctx),
        }
    }

    /// A Join for a free seat of the link that this member has, to be offered at a node.
    fn take_seat(&mut self, node: &NodeId, invite: OpId, name: String, ctx: &mut Ctx<'_, M>) -> Option<SignedOp> {
        let keys = InviteKeys::from_secret(self.link_secret.as_ref()?);
        let op = make_join((&self.log, &self.dag), *node, (&self.keys, &keys), (invite, name), ctx)?;
        self.own_join = Some(op.clone());
        self.save_group(ctx);
        Some(op)
    }

    /// The name under which this member came in.
    fn name_here(&self) -> Option<String> {
        let me = self.me();
        let names = self.log.ops_in_order().filter_map(|(id, _)| match self.log.content(&id) {
            Some(OpContent { persona, body: OpBody::Join { name, .. }, .. }) if *persona == me => Some(name.clone()),
            Some(OpContent { body: OpBody::Add { subject, name, .. }, .. }) if *subject == me => Some(name.clone()),
            _ => None,
        });
        names.last()
    }

    /// The others' DAG begins where this member never was: it begins there too, if that follows from what is final here.
    /// A chain from Genesis alone is not enough: a founder who was removed since can make one, and an old door has one.
    /// What the own nodes could open stays in the timeline; they have nothing more to give.
    pub(super) fn begin_anew(&mut self, body: &DoorBody, ctx: &mut Ctx<'_, M>) -> bool {
        let Some(dag) = begin_dag(ctx.mls, &self.id, &self.log, body) else { return false };
        if !self.dag.leads_on((ctx.mls, &self.id, &self.log), &dag.origin, dag.base_depth()) {
            return false;
        }
        self.begin_with(dag, body, ctx);
        true
    }

    fn begin_with(&mut self, dag: Dag<M::Node>, body: &DoorBody, ctx: &mut Ctx<'_, M>) {
        self.signed_to = self.signed_to.max(self.dag.signed_to(&self.me()));
        let left = self.dag.leave_all();
        self.drop_rows(left, ctx);
        self.dag.succeed(dag);
        self.know_network(body.keys.clone(), ctx);
    }

    /// A door told the keys of a network.
    pub(super) fn know_network(&mut self, keys: NetworkKeys, ctx: &mut Ctx<'_, M>) {
        let network = Network::from_keys(keys);
        if self.network_of(&network.id()).is_none() {
            self.networks.push(network);
        }
        self.save_group(ctx);
    }

    fn mailbox_keys(&self) -> Vec<(String, [u8; 32])> {
        self.desk.sessions.iter().filter_map(|(a, s)| Some((a.clone(), s.key?))).collect()
    }
}

#[cfg(test)]
mod tests;
