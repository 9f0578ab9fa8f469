//! Fresh MLS groups: the frame of a generation's first node is a GroupInfo, where others are commits.

use std::collections::BTreeSet;

use hearth_crypto::{
    mls::{CommitFacts, Mls, MlsNode, NodeFacts},
    policy::{
        PolicyLog, Restart,
        judge::{self, Judgement, PolicyViolation},
    },
};
use hearth_protocol::{frame::CommitFrame, id::NodeId};

use super::{Dag, Offered};

impl<N: MlsNode> Dag<N> {
    /// Takes in the first node of a generation. Anybody can read all of it but its secrets; who is to be in it
    /// enters from below.
    pub(super) fn offer_first<M: Mls<Node = N>>(&mut self, mls: &M, log: &PolicyLog, frame: CommitFrame) -> Offered {
        let id = frame.id();
        let Ok(first) = mls.open_group_info(&frame.commit) else { return self.refuse(id) };
        if let Some(missing) = first.facts().binding.heads.iter().find(|h| !log.contains(h)) {
            return self.wait_for(frame, Some(*missing));
        }
        match self.judge_first(log, &frame.parent, first.facts()) {
            Ok(made) => Offered::Accepted(self.insert(frame, made, first)),
            Err(PolicyViolation::UnknownHeads) => self.wait(frame),
            Err(_) => self.refuse(id),
        }
    }

    /// Judges the first node of a generation as a child of `parent`.
    pub(crate) fn judge_first(
        &self,
        log: &PolicyLog,
        parent: &NodeId,
        first: &NodeFacts,
    ) -> Result<(CommitFacts, Judgement), PolicyViolation> {
        let at = self.nodes.get(parent).ok_or(PolicyViolation::UnknownHeads)?;
        let state = self.policy(log, parent);
        let judged = judge::restart(log, &at.parent(*parent, &state), first)?;
        let author = *first.leaves.first().ok_or(PolicyViolation::Restart)?;
        let (adds, removes, aad) = (Vec::new(), Vec::new(), Vec::new());
        Ok((CommitFacts { author, external: false, adds, removes, changes_binding: true, aad }, judged))
    }

    /// The GroupInfo that a node can be rebuilt from without any other: the base's, or a first node's frame.
    pub(super) fn info_of<M: Mls<Node = N>>(&self, mls: &M, node: &NodeId) -> Option<&[u8]> {
        let Some(made) = &self.nodes.get(node)?.made else { return Some(&self.origin.info) };
        let (frame, _) = self.frames.get(&made.frame)?;
        mls.place_of(&frame.commit).is_none().then_some(frame.commit.as_slice())
    }

    /// What Restarts leave behind: where one stands and its generation has begun, all other ways to go on from the
    /// node that it names.
    pub(super) fn left_behind(&self, restarts: &[Restart]) -> BTreeSet<NodeId> {
        let mut left = BTreeSet::new();
        // Of several that name one node the last, once it has begun.
        let mut decided = BTreeSet::new();
        for restart in restarts.iter().rev() {
            let children = self.nodes.iter().filter(|(_, e)| e.parent == Some(restart.at_node));
            let (begun, others): (Vec<_>, Vec<_>) =
                children.partition(|(_, e)| e.facts.binding.generation == restart.generation);
            if !begun.is_empty() && decided.insert(restart.at_node) {
                left.extend(others.into_iter().map(|(node, _)| *node));
            }
        }
        if !left.is_empty() {
            let below: Vec<_> = self.nodes.keys().filter(|n| left.iter().any(|top| self.descends(n, top))).collect();
            left.extend(below);
        }
        left
    }
}
