//! When and how this member commits: it realises what the ops already say, and nothing else.

use std::collections::BTreeSet;

use hearth_crypto::{
    mls::{Binding, CommitFacts, CommitPlan, Leaf, Mls, MlsNode, NodeFacts},
    policy::{
        Invite, InviteStatus, PolicyState,
        judge::{AskedAdd, Demand},
    },
};
use hearth_protocol::{
    frame::{CommitFrame, Control},
    id::{NodeId, OpId, PersonaId, hash},
    op::{JoinMode, OpBody, Role, SignedOp},
    time::{Day, Timestamp},
};

use super::Group;
use crate::engine::ctx::Ctx;

/// A committer of rank k waits k times this long, so that the senior one usually writes alone.
const RANK_MS: u64 = 20_000;
/// Whoever asks for a leaf seldom asks alone.
const BATCH_MS: u64 = 1_000;
/// Who asks again says so every 15 minutes.
const BACK_MS: u64 = 10 * 60_000;
/// Members who are not committers wait this long before they realise what nobody did.
const MEMBER_MS: u64 = 30 * 60_000;
/// And this long for a removal.
const MEMBER_REMOVAL_MS: u64 = 5 * 60_000;

/// A commit that finds the network this old begins another.
const NETWORK_DAYS: u64 = 30;
/// Joins in a row that a committer writes in.
const CROWDED: usize = 16;
/// Ops that lead nowhere, beyond which only facilitators add to the log: anybody who ever knew a control secret can sign
/// such ops without end.
const STRAY_OPS: usize = 4_096;

/// Ops that no commit realises yet, and the heads that one would write, as they follow from one tip and one log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unrealised {
    /// The tip, and the number of ops.
    seen: Option<(NodeId, usize)>,
    pub(super) above: Vec<OpId>,
    ops: Vec<OpId>,
    /// How many more there are, that nobody had a right to or that rest on a Join which lost.
    pub(super) outside: usize,
    /// Since when all this is so.
    pub(super) since: Timestamp,
    /// Since when the way to the tip ends in many joins.
    crowded: Option<Timestamp>,
}

/// A leaf that a commit brings.
struct NewLeaf {
    /// What asks for it.
    op: OpId,
    key_package: Vec<u8>,
    /// The one that goes for it.
    replaces: Option<Leaf>,
    /// Whether it is a member's who comes back.
    returns: bool,
}

impl<M: Mls> Group<M> {
    /// Commits if ops wait and it is this member's turn. True when it did.
    pub(super) fn commit_if_due(&mut self, ctx: &mut Ctx<'_, M>) -> bool {
        // From outside nothing can be written but a beginning.
        let outside = self.stranded && self.restart_to_begin().is_none();
        if !self.is_joined() || outside || self.is_catching_up(ctx) {
            return false;
        }
        let seen = Some((self.dag.tip, self.log.len()));
        if self.unrealised.seen != seen {
            let above = self.heads_above();
            let realised = self.dag.realised(&self.log, &self.dag.tip);
            let known = self.log.closure(&above);
            let outside = self.log.len() - known.len();
            let ops = known.into_iter().filter(|op| !realised.contains(op) && !self.is_vote(op));
            let ops: Vec<OpId> = ops.collect();
            self.op_since.retain(|op, _| ops.contains(op));
            let (since, crowded) = (ctx.now, self.unrealised.crowded);
            self.unrealised = Unrealised { seen, above, ops, outside, since, crowded };
        }
        self.decide_again(ctx);
        if self.unrealised.ops.is_empty() {
            return self.write_in_if_due(ctx);
        }
        let Unrealised { above, ops, .. } = self.unrealised.clone();
        let at_tip = self.dag.policy(&self.log, &self.dag.tip);
        let due = ops.iter().map(|op| self.due(op, &at_tip, ctx)).min();
        match due {
            Some(at) if at <= ctx.now => self.commit(&above, ctx),
            Some(at) => {
                ctx.wake_at(at);
                false
            }
            None => false,
        }
    }

    /// How many ops wait for a commit that would do something by them.
    pub(crate) fn unrealised(&self) -> usize {
        self.unrealised.ops.iter().filter(|op| !self.view.without_effect.contains_key(*op)).count()
    }

    /// Whether an op is one of too many that lead nowhere. It is not remembered: once there is room, sync brings it again.
    pub(super) fn is_crowded_by(&self, op: &SignedOp) -> bool {
        let decides = |op: &SignedOp| op.open().is_ok_and(|c| self.view.role_of(&c.persona) == Some(Role::Facilitator));
        self.unrealised.outside >= STRAY_OPS && !decides(op)
    }

    /// Joins leave their ops beside the extension, and no node that a newcomer could begin at. So a committer writes them
    /// in from time to time, when nobody has for a while.
    fn write_in_if_due(&mut self, ctx: &mut Ctx<'_, M>) -> bool {
        let me = self.me();
        let rank = || self.view.committers().iter().position(|c| *c == me);
        let Some(rank) = (self.dag.light_run() >= CROWDED).then(rank).flatten() else {
            self.unrealised.crowded = None;
            return false;
        };
        let since = *self.unrealised.crowded.get_or_insert(ctx.now);
        let due = since.plus_ms(RANK_MS.saturating_mul(rank as u64 + 1));
        if due > ctx.now {
            ctx.wake_at(due);
            return false;
        }
        self.unrealised.crowded = None;
        let heads = self.unrealised.above.clone();
        self.commit(&heads, ctx)
    }

    /// Whether a member was given a fresh leaf so short a while ago that it cannot honestly want another: each costs a commit,
    /// a Welcome and a door.
    fn was_brought_back(&self, persona: &PersonaId, now: Timestamp) -> bool {
        self.brought_back.get(persona).is_some_and(|at| now.since(*at) < BACK_MS)
    }

    /// When this member should realise an op.
    fn due(&mut self, op: &OpId, policy: &PolicyState, ctx: &Ctx<'_, M>) -> Timestamp {
        let since = *self.op_since.entry(*op).or_insert(ctx.now);
        let me = self.me();
        let content = self.log.content(op);
        let mut rank = policy.committers().iter().position(|c| *c == me);
        if let Some(OpBody::Recover { facilitators, .. }) = content.map(|c| &c.body) {
            rank = facilitators.iter().position(|named| *named == me);
        }
        // Two first nodes of a generation would leave those who follow the one that loses outside.
        let restarts = content.is_some_and(|c| matches!(c.body, OpBody::Restart { .. }));
        let own = content.is_some_and(|c| c.persona == me) && !restarts;
        let asks = content.is_some_and(|c| matches!(c.body, OpBody::RejoinRequest { .. }));
        let back = asks && content.is_some_and(|c| self.was_brought_back(&c.persona, ctx.now));
        let removal = content.is_some_and(|c| matches!(c.body, OpBody::Remove { .. } | OpBody::Leave));
        let wait = match rank {
            Some(_) if own => 0,
            Some(_) if back => BACK_MS,
            Some(rank) => RANK_MS.saturating_mul(rank as u64).max(if asks { BATCH_MS } else { 0 }),
            None if removal => MEMBER_REMOVAL_MS,
            None => MEMBER_MS,
        };
        since.plus_ms(wait)
    }

    /// Makes the commit, as a child that is on disk before anything is sent.
    fn commit(&mut self, above: &[OpId], ctx: &mut Ctx<'_, M>) -> bool {
        let tip_id = self.dag.tip;
        let commits = self.view.committers().contains(&self.me());
        if let Some(restart) = self.restart_to_begin().filter(|_| commits) {
            return self.begin_generation(&restart, ctx);
        }
        let Some(tip) = self.dag.tip_entry() else { return false };
        // Whatever it made here is void: now others try, as one more would be kept by nobody.
        if self.dag.is_crowded(&tip_id, &self.keys.device(), tip.facts.binding.generation) {
            return false;
        }
        let Some(state) = tip.state.as_ref().filter(|s| s.has_secrets()) else { return false };
        let target = self.log.state_at(above, &tip.elders);
        let me = self.keys.device();
        let demand = self.dag.demand(&self.log, &tip_id, above);
        let removes: Vec<u32> = demand.removes.iter().map(|l| l.index).collect();
        if tip.facts.leaves.iter().any(|l| l.device == me && removes.contains(&l.index)) {
            // Nobody commits their own removal: another member does.
            return false;
        }
        let found = self.new_leaves(&demand, &target, ctx);
        let adds: Vec<_> = found.iter().map(|leaf| leaf.key_package.clone()).collect();
        let first_day = tip.facts.binding.first_day;
        let at_tip = self.dag.policy(&self.log, &tip_id);
        let commits = at_tip.committers().contains(&self.me());
        let spent = || commits && is_spent(first_day, (&at_tip, &target), ctx.today());
        let (network, first_day) = match !removes.is_empty() || spent() {
            true => (None, ctx.today().0),
            false => (Some(tip.network), first_day),
        };
        let before = &tip.facts;
        let binding = Binding {
            heads: above.to_vec(),
            roster_root: target.roster_root(&tip.elders),
            network,
            first_day,
            generation: before.binding.generation,
            began: before.binding.began,
            epoch: before.epoch.saturating_add(1),
        };
        let network = tip.network;
        let added = adds.clone();
        // A swap begins no network: it takes nobody out.
        let removes = removes.into_iter().chain(found.iter().filter_map(|leaf| Some(leaf.replaces?.index))).collect();
        let plan = CommitPlan { adds, removes, binding: Some(binding) };
        let Ok(own) = state.commit(&self.keys, &plan, ctx.rng) else { return false };
        let Some(commit) = own_facts(&tip.facts, &plan, me, ctx) else { return false };
        let frame = CommitFrame { parent: tip_id, commit: own.commit };
        let Ok(judged) = self.dag.judge(&self.log, &tip_id, &commit, own.child.facts()) else { return false };
        let node = self.dag.insert(frame.clone(), (commit, judged), own.child);
        self.save_node(&node, ctx);
        self.publish_control(Control::Commit(frame), network, ctx);
        if let Some(welcome) = own.welcome {
            self.welcome_in(node, &welcome, &added, ctx);
            let back: Vec<_> = found.iter().filter(|leaf| leaf.returns).map(|leaf| leaf.op).collect();
            if !back.is_empty() {
                let personas = back.iter().filter_map(|op| self.log.content(op)).map(|c| c.persona);
                self.brought_back.extend(personas.map(|persona| (persona, ctx.now)));
                self.welcome_back(node, &welcome, &back, ctx);
            }
        }
        true
    }

    /// KeyPackages of members without a leaf on any branch, and of those who asked for a fresh one with the leaf that goes; one
    /// each. Who was added on another branch came in with that KeyPackage, cannot use it twice, and asks or comes back from
    /// outside. What does not check, or is of a device that was taken out, is skipped, so that one bad op blocks nothing.
    fn new_leaves(&self, demand: &Demand, target: &PolicyState, ctx: &Ctx<'_, M>) -> Vec<NewLeaf> {
        let Some(tip) = self.dag.tip_entry() else { return Vec::new() };
        let (mut taken, mut found) = (BTreeSet::new(), Vec::new());
        let body = |asked: &AskedAdd| self.log.content(&asked.op).map(|c| &c.body);
        let (rejoins, adds): (Vec<_>, Vec<_>) = demand
            .adds
            .iter()
            .filter(|asked| asked.device.is_none())
            .partition(|asked| matches!(body(asked), Some(OpBody::RejoinRequest { .. })));
        // Who asked more than once has the keys of what it asked last.
        for asked in adds.into_iter().chain(rejoins.into_iter().rev()) {
            let Some(body) = body(asked) else { continue };
            let (OpBody::Add { key_package, .. } | OpBody::RejoinRequest { key_package }) = body else { continue };
            let Some(key_package) = key_package.bytes() else { continue };
            let Ok(leaf) = ctx.mls.inspect_key_package(key_package, tip.facts.suite) else { continue };
            let fits = leaf.persona == asked.persona && !target.gone.contains(&(leaf.persona, leaf.device));
            let stays = |old: &&Leaf| Some(**old) != asked.replaces && !demand.removes.contains(old);
            let fresh = match body {
                OpBody::Add { .. } => {
                    self.dag.nodes.values().all(|e| e.facts.leaves.iter().all(|l| l.device != leaf.device))
                }
                _ => tip.facts.leaves.iter().filter(stays).all(|old| old.device != leaf.device),
            };
            // Nobody commits their own leaf away.
            let own = asked.replaces.is_some_and(|old| old.device == self.keys.device());
            let returns = matches!(body, OpBody::RejoinRequest { .. });
            if returns && self.was_brought_back(&leaf.persona, ctx.now) {
                continue;
            }
            if fits && fresh && !own && taken.insert(asked.persona) {
                let (op, key_package, replaces) = (asked.op, key_package.to_vec(), asked.replaces);
                found.push(NewLeaf { op, key_package, replaces, returns });
            }
        }
        found
    }
}

/// Whether a commit begins a network although it removes nobody: the present one has grown old, or an open link ended
/// with uses left since it began. Whoever has that link may have read its keys at the door, and shows in no roster.
fn is_spent(first_day: u64, (before, after): (&PolicyState, &PolicyState), today: Day) -> bool {
    let days = first_day..today.0;
    let ended = |(id, invite): (&OpId, &Invite)| {
        let revoked = after.invites.get(id).is_none_or(|i| i.status == InviteStatus::Revoked);
        // On the day after, so that the network that is begun then has nothing to do with it.
        let expired = days.contains(&invite.expires.start().day().0);
        invite.mode == JoinMode::Open && invite.status == InviteStatus::Open && (revoked || expired)
    };
    today.0.saturating_sub(first_day) >= NETWORK_DAYS || before.invites.iter().any(ended)
}

/// The facts of an own commit, which the MLS library cannot read back.
fn own_facts<M: Mls>(
    parent: &NodeFacts,
    plan: &CommitPlan,
    device: hearth_protocol::id::DeviceId,
    ctx: &Ctx<'_, M>,
) -> Option<CommitFacts> {
    let leaves = parent.leaves.iter().copied();
    let author = leaves.clone().find(|l| l.device == device)?;
    let added = |kp: &Vec<u8>| {
        let mut leaf = ctx.mls.inspect_key_package(kp, parent.suite).ok()?;
        leaf.key_package_hash = hash(&[kp]);
        Some(leaf)
    };
    Some(CommitFacts {
        author,
        external: false,
        adds: plan.adds.iter().map(added).collect::<Option<_>>()?,
        removes: leaves.filter(|l| plan.removes.contains(&l.index)).collect(),
        changes_binding: plan.binding.is_some(),
        aad: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
