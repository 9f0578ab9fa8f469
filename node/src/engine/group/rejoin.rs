//! Coming back after a join that lost a fork: the same Join is offered again at the tip, found through the control
//! secret that this member already holds. Whom an Add made a member asks for a leaf at the tip.

use hearth_crypto::{
    mls::Mls,
    policy::{At, InviteKeys, Seat},
    schedule::Network,
    seal::open_body,
};
use hearth_protocol::{
    cbor,
    door::{DoorBody, DoorWrapper, NetworkKeys},
    frame::{CommitFrame, Control},
    mailbox::{Action, Answer},
    op::{OpBody, SignedOp},
};

use super::{
    Group,
    door::{DOOR_SEAL, REJOIN_SEAL},
};
use crate::engine::{
    ctx::Ctx,
    dag::Offered,
    desk::Asked,
    join::{begin_dag, free_slot},
    lane::RelayFailure,
};

/// Who has a leaf at the tip that it cannot open waits this long before it asks for another: if others cannot open it
/// either, their Nacks undo it.
const PATIENCE_MS: u64 = 120_000;
/// And this long before it comes in from outside: committers may be asleep.
const OUTSIDE_MS: u64 = 360_000;
/// A stranded member looks for the door this often.
const LOOK_MS: u64 = 10_000;
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
        self.rejoin_at = ctx.now.plus_ms(LOOK_MS);
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
            let asked = Asked::RejoinBody(zeroize::Zeroizing::new(body_key));
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
            self.take_body(&body, ctx);
        }
    }

    /// Takes in what the door tells, and makes an external commit on its node if that is the tip.
    fn offer_join_again(&mut self, body: DoorBody, ctx: &mut Ctx<'_, M>) {
        if !self.take_body(&body, ctx) {
            return;
        }
        self.dag.reselect(&self.log);
        let Some(op) = Some(()).filter(|()| self.dag.tip == body.node).and_then(|()| self.way_back(ctx)) else {
            return;
        };
        let Some(network) = self.dag.tip_entry().map(|e| e.network) else { return };
        let Ok((commit, child)) = ctx.mls.join_external(&self.keys, &body.group_info, &cbor::to_vec(&op)) else {
            return;
        };
        let frame = CommitFrame { parent: body.node, commit };
        let Offered::Accepted(node) = self.dag.offer(ctx.mls, &mut self.log, frame.clone()) else { return };
        if let Some(entry) = self.dag.nodes.get_mut(&node) {
            entry.state = Some(child);
        }
        self.save_node(&node, ctx);
        self.publish_control(Control::Commit(frame), network, ctx);
    }

    /// What is offered at the tip: the own Join again; or, for whom an Add made a member and whose leaf lost a fork, the
    /// wish to have one.
    fn way_back(&mut self, ctx: &mut Ctx<'_, M>) -> Option<SignedOp> {
        let tip = self.dag.tip_entry()?;
        let has_leaf = tip.facts.leaves.iter().any(|leaf| leaf.device == self.keys.device());
        let waited = self.stranded_since.map_or(0, |since| ctx.now.since(since));
        if has_leaf && waited < OUTSIDE_MS {
            return None;
        }
        let heads = tip.heads.clone();
        let suite = tip.facts.suite;
        let is_member = self.dag.policy(&self.log, &self.dag.tip).role_of(&self.me()).is_some();
        match self.own_join.clone() {
            Some(join) if !is_member => self.seat_again(join, ctx),
            // The old leaf, if there is one, goes in the same commit.
            _ if is_member => {
                let (key_package, _) = ctx.mls.key_package(&self.keys, suite).ok()?;
                let at = At { heads: &heads, node: self.dag.tip };
                self.log.make(&self.keys, at, OpBody::RejoinRequest { key_package }).ok()
            }
            _ => None,
        }
    }

    /// The own Join as it may be offered at the tip: the same, or one for another seat of the same link if somebody else
    /// has taken this one meanwhile. `None` when the link admits nobody any more.
    fn seat_again(&mut self, op: SignedOp, ctx: &mut Ctx<'_, M>) -> Option<SignedOp> {
        let OpBody::Join { invite: id, slot, name, .. } = op.open().ok()?.body else { return None };
        let policy = self.dag.policy(&self.log, &self.dag.tip);
        let invite = policy.invites.get(&id)?;
        if !invite.taken.contains_key(&slot) {
            return Some(op);
        }
        let keys = InviteKeys::from_secret(self.link_secret.as_ref()?);
        let slot = free_slot(invite, ctx)?;
        let heads = self.dag.tip_entry()?.heads.clone();
        let at = At { heads: &heads, node: self.dag.tip };
        let op = self.log.make_join(&self.keys, &keys, at, Seat { invite: id, slot, name }).ok()?;
        self.own_join = Some(op.clone());
        self.save_group(ctx);
        Some(op)
    }

    /// The others' DAG begins where this member never was: it begins there too, if that follows from what is final here.
    /// A chain from Genesis alone is not enough: a founder who was removed since can make one, and an old door has one.
    /// What the own nodes could open stays in the timeline; they have nothing more to give.
    pub(super) fn begin_anew(&mut self, body: &DoorBody, ctx: &mut Ctx<'_, M>) -> bool {
        let Some(dag) = begin_dag(ctx.mls, &self.id, &self.log, body) else { return false };
        if !self.dag.leads_on((ctx.mls, &self.id, &self.log), &dag.origin, dag.base_depth()) {
            return false;
        }
        self.signed_to = self.signed_to.max(self.dag.signed_to(&self.me()));
        let left = self.dag.leave_all();
        self.drop_rows(left, ctx);
        self.dag.succeed(dag);
        self.know_network(body.keys.clone(), ctx);
        true
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
