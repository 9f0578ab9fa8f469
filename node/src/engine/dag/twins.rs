//! Twins: children of one node with which its author says one thing more than once. A device may make one child of a
//! node, so twins show software that keeps to no rule, and as many are kept as it takes for everybody to pick the same tip.
//!
//! Who stays follows from frames, signatures, Nacks and ops alone, in whatever order they came: the least few as they
//! compare by themselves, and the least few of those that each other member has spoken of. What `select` picks is among
//! them: what nobody has spoken of differs in nothing else. Whether a twin opens does not matter, or whoever
//! lacks a Nack would keep others: an author may crowd out its own commits, and nobody else's.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    mls::{CommitFacts, MlsNode, NodeFacts},
    policy::{PolicyLog, judge},
    select::{self, Class},
};
use hearth_protocol::{
    id::{DeviceId, NodeId, OpId, PersonaId},
    limits::TWINS_MAX,
    op::OpBody,
};

use super::{Dag, Entry, Left};

/// What an author may say once on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// A commit of this class by a device, in a generation: a Restart's first node rules out what else hangs there.
    Leaf(DeviceId, u32, Class),
    /// A seat of a link. Whoever has the link can make any number of devices.
    Seat(OpId, u32),
    /// A member's return from outside, under whatever key.
    Return(PersonaId),
}

impl Claim {
    pub(super) fn of(commit: &CommitFacts, class: Class, child: &NodeFacts) -> Self {
        if !commit.external {
            return Self::Leaf(commit.author.device, child.binding.generation, class);
        }
        match judge::external_op(commit).and_then(|op| op.open().ok()).map(|op| op.body) {
            Some(OpBody::Join { invite, slot, .. }) => Self::Seat(invite, slot),
            _ => Self::Return(commit.author.persona),
        }
    }
}

/// How a member speaks of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Voice {
    /// It signed it, or one below it.
    Signed,
    /// It wrote one below it.
    BuiltOn,
    /// It could not open it.
    Refused,
    /// It stood there, or below it, when it removed somebody, left or restarted the group.
    Stood,
}

/// Who has spoken of a node, and how.
type Heard = BTreeMap<NodeId, BTreeSet<(Voice, PersonaId)>>;

impl<N: MlsNode> Dag<N> {
    /// Sets aside the twins that nobody needs, and what hangs on them; with whose rows are to go. The tip may be among them,
    /// and is to be picked anew.
    pub(crate) fn thin_out(&mut self, log: &PolicyLog) -> Option<Left> {
        if std::mem::replace(&mut self.thinned, self.came) == self.came {
            return None;
        }
        let crowds = self.crowds();
        let mut go = if crowds.is_empty() { BTreeSet::new() } else { self.who_goes(log, &crowds) };
        if go.is_empty() {
            return None;
        }
        let mut downwards: Vec<_> = self.nodes.iter().map(|(node, e)| (e.depth, *node, e.parent)).collect();
        downwards.sort_unstable();
        for (_, node, parent) in downwards {
            if parent.is_some_and(|parent| go.contains(&parent)) {
                go.insert(node);
            }
        }
        let left = self.set_aside(&go);
        self.came.1 += 1;
        self.thinned = self.came;
        Some(left)
    }

    /// Whether a device has as many children of a node as are kept.
    pub(crate) fn is_crowded(&self, node: &NodeId, device: &DeviceId, generation: u32) -> bool {
        let own = |claim: &Claim| matches!(claim, Claim::Leaf(d, g, _) if d == device && *g == generation);
        let children = self.nodes.values().filter(|e| e.parent == Some(*node));
        children.filter(|e| e.made.as_ref().is_some_and(|made| own(&made.claim))).count() >= TWINS_MAX
    }

    /// More twins than are kept by themselves, by parent and claim.
    fn crowds(&self) -> BTreeMap<(NodeId, Claim), Vec<NodeId>> {
        let mut all: BTreeMap<_, Vec<NodeId>> = BTreeMap::new();
        for (node, entry) in &self.nodes {
            if let Some((parent, made)) = entry.parent.zip(entry.made.as_ref()) {
                all.entry((parent, made.claim)).or_default().push(*node);
            }
        }
        all.retain(|_, twins| twins.len() > TWINS_MAX);
        all
    }

    fn who_goes(&self, log: &PolicyLog, crowds: &BTreeMap<(NodeId, Claim), Vec<NodeId>>) -> BTreeSet<NodeId> {
        let input = self.selection(log);
        let heard = self.heard(log, &crowds.values().flatten().copied().collect());
        let above = |node: &NodeId| self.nodes.get(node)?.parent;
        let settled: BTreeSet<_> = std::iter::successors(Some(self.certified), above).collect();
        let mut go = BTreeSet::new();
        for ((parent, _), twins) in crowds {
            let mut said: BTreeMap<_, usize> = BTreeMap::new();
            for (place, node) in select::by_themselves(&input, parent, twins).into_iter().enumerate() {
                let mut stays = place < TWINS_MAX || settled.contains(&node);
                for (voice, who) in heard.get(&node).into_iter().flatten() {
                    let earlier = said.entry((voice, who)).or_default();
                    // Whoever may remove may write any number of ops, which are all kept.
                    stays |= *earlier < TWINS_MAX || *voice == Voice::Stood;
                    *earlier += 1;
                }
                if !stays {
                    go.insert(node);
                }
            }
        }
        go
    }

    /// What was said of these twins.
    fn heard(&self, log: &PolicyLog, twins: &BTreeSet<NodeId>) -> Heard {
        let signed = self.signatures.known.keys().map(|(node, who)| (*node, Voice::Signed, *who));
        let made = self.nodes.values().filter_map(|e| Some((e.parent?, e.made.as_ref()?.commit.author.persona)));
        let built = made.map(|(parent, who)| (parent, Voice::BuiltOn, who));
        let refused = self.nacks.known.keys().filter_map(|(frame, who)| Some((self.node_of(frame)?, *who)));
        let refused = refused.map(|(node, who)| (node, Voice::Refused, who));
        let stood = self.stood(log).into_iter().map(|(node, who)| (node, Voice::Stood, who));
        let mut heard = Heard::new();
        for (node, voice, who) in signed.chain(built).chain(refused).chain(stood) {
            let mut at = Some(node);
            while let Some((node, entry)) = at.and_then(|node| Some((node, self.nodes.get(&node)?))) {
                if twins.contains(&node) && self.counts(entry, voice, &who) {
                    heard.entry(node).or_default().insert((voice, who));
                }
                at = entry.parent.filter(|_| voice != Voice::Refused);
            }
        }
        heard
    }

    /// Only who was in above: anybody who holds a node can bring others in below. And an author can say any number of things of
    /// what it made, so that counts for nothing; but its signature may make a node final.
    fn counts(&self, entry: &Entry<N>, voice: Voice, who: &PersonaId) -> bool {
        let own = entry.made.as_ref().is_some_and(|made| made.commit.author.persona == *who);
        let was_in = entry.parent.and_then(|p| self.nodes.get(&p)).is_some_and(|p| p.elders.places.contains_key(who));
        was_in && (!own || voice == Voice::Signed)
    }

    /// Where those stood whose ops say that it matters.
    pub(super) fn stood(&self, log: &PolicyLog) -> Vec<(NodeId, PersonaId)> {
        let elders = self.nodes.get(&self.certified).map(|c| c.elders.clone()).unwrap_or_default();
        let said = log.state_at(&log.heads(), &elders);
        let ops = said.revocations.iter().flat_map(|r| &r.ops).chain(said.restarts.iter().flat_map(|r| &r.ops));
        ops.filter_map(|op| log.content(op)).map(|op| (op.at_node, op.persona)).collect()
    }
}

#[cfg(test)]
mod tests;
