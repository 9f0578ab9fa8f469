//! A fresh MLS group for the same people: under another suite, or because two versions of the old one are both final. The
//! log, the timeline and the roster go on; every member gets a leaf in the new tree by asking for one.

use hearth_crypto::{
    chain::mls_group_id,
    mls::{Binding, Mls, MlsNode, Suite},
    policy::{Ballot, Restart},
    schedule::Network,
};
use hearth_protocol::{
    frame::{CommitFrame, Control},
    id::{NodeId, OpId},
    op::{OpBody, Role},
};

use super::{Group, ask::COMES_BACK};
use crate::{
    app::{Answer, Kind, Refusal},
    engine::ctx::Ctx,
};

/// Commits that a Restart may leave behind: those made while facilitators were still signing it.
const LEFT_MAX: usize = 8;

impl<M: Mls> Group<M> {
    /// Signs that the group restarts: in the words in which somebody has said it already, if anybody has.
    pub(crate) fn restart(&mut self, suite: Option<Suite>, ctx: &mut Ctx<'_, M>) -> Result<Answer, Refusal> {
        self.must_be_joined()?;
        let tip =
            self.dag.tip_entry().ok_or(Refusal::new(Kind::Storage, "the group's state is damaged: join again"))?;
        let standing = self.view.restarts.last().map_or(0, |r| r.generation);
        let generation = standing.max(tip.facts.binding.generation).saturating_add(1);
        let fits = |ballot: &&Ballot| {
            let Ballot::Restart { generation: of, suite: to, at_node } = ballot else { return false };
            let same = *of == generation && suite.is_none_or(|s| s.code() == *to);
            same && self.can_go_on_from(at_node)
        };
        let (suite, at_node) = match self.view.ballots.keys().find(fits) {
            Some(Ballot::Restart { suite, at_node, .. }) => (*suite, *at_node),
            // Whoever made the first node that this member waits outside of may be gone.
            _ if self.stranded => {
                let last = self.sending_node().filter(|_| self.has_restarted()).ok_or(COMES_BACK)?;
                (suite.unwrap_or(tip.facts.suite).code(), last)
            }
            // Of two versions that are both final it goes on from the last node that they share.
            _ if self.dag.conflicts > 0 => (suite.unwrap_or(tip.facts.suite).code(), self.dag.certified),
            _ => (suite.unwrap_or(tip.facts.suite).code(), self.dag.tip),
        };
        let needed = self.view.members.values().filter(|m| m.role == Role::Facilitator).count() / 2 + 1;
        // What only one of the versions knows is no ground that all can stand on.
        let heads = self.heads_on(&at_node);
        let (_, standing) = self.decide_on(&heads, OpBody::Restart { generation, suite, at_node }, ctx)?;
        Ok(super::ask::motion(standing, needed))
    }

    /// Whether a Restart in these words leaves behind nothing but commits that are easily said again: nobody has come in by a
    /// link since, and they are few. Or it is where two versions part.
    fn can_go_on_from(&self, node: &NodeId) -> bool {
        if self.dag.conflicts > 0 && *node == self.dag.certified {
            return true;
        }
        let mut at = self.dag.tip;
        for _ in 0..=LEFT_MAX {
            let Some(entry) = self.dag.entry(&at).filter(|_| at != *node) else { return at == *node };
            match (&entry.made, entry.parent) {
                (Some(made), Some(parent)) if !made.commit.external => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// Heads that a first node below this one would write.
    fn heads_on(&self, node: &NodeId) -> Vec<OpId> {
        self.dag.entry(node).map(|e| self.log.heads_above(&e.heads, &e.elders)).unwrap_or_default()
    }

    /// A Restart that is decided and not begun.
    pub(super) fn restart_to_begin(&self) -> Option<Restart> {
        let tip = self.dag.tip_entry()?;
        let restart = self.view.restarts.last()?;
        (restart.generation > tip.facts.binding.generation).then(|| restart.clone())
    }

    /// Whether an op is a vote for what is not decided: no reason to commit, which would only move the tip away from the
    /// node that it names.
    pub(super) fn is_vote(&self, op: &OpId) -> bool {
        let ballot = self.log.content(op).and_then(|c| Ballot::of(&c.body));
        ballot.is_some_and(|ballot| self.view.ballots.contains_key(&ballot))
    }

    /// Makes the first node of the new generation, alone in it. Its frame goes where the others can read.
    pub(super) fn begin_generation(&mut self, restart: &Restart, ctx: &mut Ctx<'_, M>) -> bool {
        let parent = restart.at_node;
        let heads = self.heads_on(&parent);
        let Some(at) = self.dag.entry(&parent) else { return false };
        //
        if self.dag.is_crowded(&parent, &self.keys.device(), restart.generation) {
            return false;
        }
        let target = self.log.state_at(&heads, &at.elders);
        let (Some(suite), Some(genesis)) = (Suite::from_code(restart.suite), self.log.get(&OpId(self.id.0))) else {
            return false;
        };
        let binding = Binding {
            heads,
            roster_root: target.roster_root(&at.elders),
            network: None,
            first_day: ctx.today().0,
            generation: restart.generation,
            began: at.depth.saturating_add(1),
            epoch: 0,
        };
        let network = at.network;
        let id = mls_group_id(genesis, restart.generation);
        let Ok(first) = ctx.mls.create(&self.keys, &id, suite, &binding) else { return false };
        let Ok(info) = first.group_info(&self.keys) else { return false };
        let Ok(made) = self.dag.judge_first(&self.log, &parent, first.facts()) else { return false };
        let frame = CommitFrame { parent, commit: info };
        let node = self.dag.insert(frame.clone(), made, first);
        self.save_node(&node, ctx);
        // Everybody else reads in the old network, and asks there for a leaf.
        let old = self.network_of(&network).or(self.network()).map(Network::id);
        self.publish_control(Control::Commit(frame), old.unwrap_or(network), ctx);
        true
    }

    /// Whether the tip is of a generation in which this member never was: it asks for a leaf without waiting for anything.
    pub(super) fn has_restarted(&self) -> bool {
        let generation = |node: &NodeId| self.dag.entry(node).map(|e| e.facts.binding.generation);
        self.sending_node().is_some_and(|last| generation(&last) < generation(&self.dag.tip))
    }
}
