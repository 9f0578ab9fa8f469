//! The commit DAG: which nodes there are, what their commits did, and which one is the tip.
//!
//! Entries keep facts for good and state for a while. A node whose state is gone is rebuilt, publicly, from the
//! base's GroupInfo by replay. Validity is judged once, against the parent, and never depends on the tip.

mod aside;
mod base;
mod nacks;
mod past;
mod restart;
mod signatures;
mod twins;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use hearth_crypto::{
    chain::Elders,
    mls::{CommitFacts, Mls, MlsError, MlsNode, NodeFacts},
    policy::{PolicyLog, PolicyState, judge},
    select::{self, Class, NodeInfo, NodePolicy, Revocation, SelectionInput},
};
use hearth_protocol::{
    frame::CommitFrame,
    id::{FrameId, NodeId, OpId, PersonaId},
    time::Timestamp,
};

/// Frames that wait for their parent or for ops; the oldest gives way, and sync brings it again.
const WAITING: usize = 512;
/// Bytes of frames that wait.
const WAITING_BYTES: usize = 64 * 1024 * 1024;
/// Refused frames that are remembered.
const REFUSED: usize = 4_096;
/// Policies that are kept once worked out: the tip's, and those of nodes around it.
const POLICIES: usize = 8;
/// Final nodes after each other whose seniority is tried for picking the tip.
const ROUNDS: usize = 8;

#[cfg(test)]
pub(super) use base::tests::Alone;
pub(crate) use base::{Left, Origin};

/// One node.
pub(crate) struct Entry<N> {
    pub(crate) parent: Option<NodeId>,
    pub(crate) depth: u64,
    pub(crate) facts: NodeFacts,
    pub(crate) elders: Elders,
    /// The extension's heads, and the Joins of ancestors that no heads name yet.
    pub(crate) heads: Vec<OpId>,
    /// Whom its policy lets decide.
    policy: Arc<NodePolicy>,
    /// The node that began its network.
    pub(crate) network: NodeId,
    /// What made it; `None` for the base.
    pub(crate) made: Option<Made>,
    pub(crate) state: Option<N>,
    /// Since when something final is not below it.
    superseded: Option<Timestamp>,
}

impl<N> Entry<N> {
    /// As the judge sees it, whoever commits on it.
    fn parent<'a>(&'a self, node: NodeId, state: &'a PolicyState) -> judge::Parent<'a> {
        judge::Parent {
            node,
            epoch: self.facts.epoch,
            binding: &self.facts.binding,
            network: self.network,
            leaves: &self.facts.leaves,
            state,
            seniority: &self.elders,
            // Nothing is compacted yet.
            light_nodes: 0,
        }
    }
}

/// What made a node.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) frame: FrameId,
    pub(crate) commit: CommitFacts,
    class: Class,
    slot: Option<u32>,
    rank: u32,
    realises: BTreeSet<OpId>,
    /// Whom a Recover names that it realises.
    recovered: Option<Arc<NodePolicy>>,
    claim: twins::Claim,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It made this node.
    Accepted(NodeId),
    /// Known already, set aside, or of a time before the base.
    Known,
    /// Its parent, or an op that it realises, is not here yet.
    Waiting,
    /// It breaks a rule. It is remembered, and never tried again.
    Refused,
}

/// The DAG of one group.
pub(crate) struct Dag<N> {
    pub(crate) base: NodeId,
    pub(crate) origin: Origin,
    /// The base to be.
    next: Option<(NodeId, Origin)>,
    pub(crate) nodes: BTreeMap<NodeId, Entry<N>>,
    /// Each with the node that it made.
    frames: BTreeMap<FrameId, (CommitFrame, NodeId)>,
    /// Frames that break a rule, the newest last: not tried again while they are remembered.
    refused: VecDeque<FrameId>,
    /// Frames that wait; some for an op that is known to be missing.
    waiting: Vec<(FrameId, CommitFrame, Option<OpId>)>,
    /// Number of ops, and of nodes that ever came, when what waits was last tried: before one of them grows, trying again is in vain.
    tried: (usize, usize),
    /// What a node's heads say never changes: worked out once, newest last.
    policies: RefCell<VecDeque<(NodeId, Arc<PolicyState>)>>,
    signatures: signatures::Signatures,
    nacks: nacks::Nacks,
    aside: aside::Aside,
    /// What had come when twins were last thinned out.
    thinned: (usize, usize),
    /// Nodes, and signatures and Nacks, that ever came: numbers that only grow, so that equal ones mean that nothing is new.
    came: (usize, usize),
    pub(crate) tip: NodeId,
    /// The last node that is final; the base while there is none.
    pub(crate) certified: NodeId,
    /// How many forks have rival certificates: somebody broke the signing rule.
    pub(crate) conflicts: usize,
    /// Who signed on both sides of one.
    pub(crate) suspects: BTreeSet<PersonaId>,
}

impl<N: MlsNode> Dag<N> {
    /// A DAG whose root is `root`: the first node of the group, or a later one of class 0.
    pub(crate) fn new(root: N, origin: Origin, log: &PolicyLog) -> Self {
        let facts = root.facts().clone();
        let depth = facts.depth();
        let elders = origin.elders.with(&facts.leaves, depth);
        let state = log.state_at(&facts.binding.heads, &elders);
        let (node, policy) = (facts.node, deciders(&state));
        let elders = elders.committed(node, Arc::clone(&policy), &state);
        let entry = Entry {
            parent: None,
            depth,
            elders,
            heads: facts.binding.heads.clone(),
            policy,
            network: facts.binding.network.unwrap_or(node),
            made: None,
            state: Some(root),
            superseded: None,
            facts,
        };
        let nodes = BTreeMap::from([(node, entry)]);
        Self {
            base: node,
            origin,
            next: None,
            nodes,
            frames: BTreeMap::new(),
            refused: VecDeque::new(),
            waiting: Vec::new(),
            tried: (0, 0),
            policies: RefCell::default(),
            signatures: signatures::Signatures::default(),
            nacks: nacks::Nacks::default(),
            aside: aside::Aside::default(),
            thinned: (0, 0),
            came: (1, 0),
            tip: node,
            certified: node,
            conflicts: 0,
            suspects: BTreeSet::new(),
        }
    }

    pub(crate) fn entry(&self, node: &NodeId) -> Option<&Entry<N>> {
        self.nodes.get(node)
    }

    /// The tip's entry. The tip is always a key of `nodes`; `None` cannot happen, and callers stop on it.
    pub(crate) fn tip_entry(&self) -> Option<&Entry<N>> {
        self.nodes.get(&self.tip)
    }

    /// A node's state, if its messages can be opened.
    pub(crate) fn reading_state(&mut self, node: &NodeId) -> Option<&mut N> {
        self.nodes.get_mut(node)?.state.as_mut().filter(|s| s.can_read())
    }

    /// A node's state, if it is held with secrets.
    pub(crate) fn secret_state(&mut self, node: &NodeId) -> Option<&mut N> {
        self.nodes.get_mut(node)?.state.as_mut().filter(|s| s.has_secrets())
    }

    /// Frames that made nodes, parents first.
    pub(crate) fn frames_in_order(&self) -> Vec<(FrameId, &CommitFrame)> {
        let mut made: Vec<_> = self.nodes.values().filter_map(|e| Some((e.depth, e.made.as_ref()?.frame))).collect();
        made.sort_unstable();
        made.iter().filter_map(|(_, f)| self.frames.get(f).map(|(frame, _)| (*f, frame))).collect()
    }

    pub(crate) fn frame(&self, id: &FrameId) -> Option<&CommitFrame> {
        self.frames.get(id).map(|(frame, _)| frame)
    }

    /// The node that a frame made.
    pub(crate) fn node_of(&self, id: &FrameId) -> Option<NodeId> {
        self.frames.get(id).map(|(_, node)| *node)
    }

    /// Whether `ancestor` is `node` or above it.
    pub(crate) fn descends(&self, node: &NodeId, ancestor: &NodeId) -> bool {
        let Some(top) = self.nodes.get(ancestor).map(|e| e.depth) else { return node == ancestor };
        let mut at = Some(*node);
        while let Some(n) = at {
            if n == *ancestor {
                return true;
            }
            at = self.nodes.get(&n).filter(|e| e.depth > top).and_then(|e| e.parent);
        }
        false
    }

    /// Policy at a node: what its effective heads say.
    pub(crate) fn policy(&self, log: &PolicyLog, node: &NodeId) -> Arc<PolicyState> {
        let mut known = self.policies.borrow_mut();
        if let Some((_, state)) = known.iter().find(|(n, _)| n == node) {
            return Arc::clone(state);
        }
        let Some(entry) = self.nodes.get(node) else { return Arc::default() };
        let state = Arc::new(log.state_at(&entry.heads, &entry.elders));
        if known.len() >= POLICIES {
            known.pop_front();
        }
        known.push_back((*node, Arc::clone(&state)));
        state
    }

    /// Takes a frame in; the node it makes has secrets where this member can have them.
    pub(crate) fn offer<M: Mls<Node = N>>(&mut self, mls: &M, log: &mut PolicyLog, frame: CommitFrame) -> Offered {
        let id = frame.id();
        if self.frames.contains_key(&id) || self.refused.contains(&id) || self.is_aside(&id) {
            return Offered::Known;
        }
        if !self.nodes.contains_key(&frame.parent) {
            return if self.is_past(mls.place_of(&frame.commit)) { Offered::Known } else { self.wait(frame) };
        }
        if mls.place_of(&frame.commit).is_none() {
            return self.offer_first(mls, log, frame);
        }
        let Some(parent) = self.materialise(mls, &frame.parent) else { return self.wait(frame) };
        let mut unopened = false;
        let processed = match parent.state.as_ref() {
            Some(state) if state.has_secrets() => match state.apply(&frame.commit) {
                Err(error @ (MlsError::CannotOpen | MlsError::NoSecrets)) => {
                    unopened = error == MlsError::CannotOpen;
                    state.check(&frame.commit)
                }
                other => other,
            },
            Some(state) => state.check(&frame.commit),
            None => return self.wait(frame),
        };
        let Ok((commit, child)) = processed else { return self.refuse(id) };
        if let Some(op) = judge::external_op(&commit) {
            // A Join travels inside its commit: it enters the log with it.
            match log.insert(op) {
                Ok(inserted) if inserted.waiting => return self.wait(frame),
                Ok(_) => {}
                Err(_) => return self.refuse(id),
            }
        }
        if let Some(missing) = child.facts().binding.heads.iter().find(|h| !log.contains(h)) {
            return self.wait_for(frame, Some(*missing));
        }
        match self.judge(log, &frame.parent, &commit, child.facts()) {
            Ok(judgement) => {
                if unopened {
                    self.nacks.unopened.insert(id);
                }
                Offered::Accepted(self.insert(frame, (commit, judgement), child))
            }
            // What it rests on may still come.
            Err(judge::PolicyViolation::UnknownHeads) => self.wait(frame),
            Err(_) => self.refuse(id),
        }
    }

    fn refuse(&mut self, id: FrameId) -> Offered {
        if self.refused.len() >= REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(id);
        Offered::Refused
    }

    /// Puts a child that was made or verified, and judged, into its place.
    pub(crate) fn insert(
        &mut self,
        frame: CommitFrame,
        (commit, judged): (CommitFacts, judge::Judgement),
        child: N,
    ) -> NodeId {
        let facts = child.facts().clone();
        let (node, parent, id) = (facts.node, frame.parent, frame.id());
        if self.nodes.contains_key(&node) {
            self.put_right(node, (id, frame), child);
            return node;
        }
        self.frames.insert(id, (frame, node));
        let (depth, elders, network) = match self.nodes.get(&parent) {
            Some(p) => (p.depth + 1, p.elders.with(&facts.leaves, p.depth + 1), p.network),
            None => (0, Elders::default(), node),
        };
        let realises = judged.realised.iter().flat_map(|r| r.ops.iter().copied()).collect();
        let policy = deciders(&judged.state);
        let elders = match judged.class {
            Class::Committer => elders.committed(node, Arc::clone(&policy), &judged.state),
            _ => elders,
        };
        let network = if judged.begins_network { node } else { network };
        let judge::Judgement { class, slot, rank, .. } = judged;
        let recovered = judged.recovered.map(Arc::new);
        let claim = twins::Claim::of(&commit, class, &facts);
        let made = Made { frame: id, commit, class, slot, rank, realises, recovered, claim };
        let (made, state) = (Some(made), Some(child));
        let (parent, heads, superseded) = (Some(parent), judged.heads, None);
        let entry = Entry { parent, depth, facts, elders, heads, policy, network, made, state, superseded };
        self.nodes.insert(node, entry);
        self.came.0 += 1;
        node
    }

    /// Another frame of a node that is here: only its membership tag differs, which nobody can check who does not hold the
    /// parent. One that opens takes the place of one that did not; no more are kept, as anybody can make any number.
    fn put_right(&mut self, node: NodeId, (id, frame): (FrameId, CommitFrame), child: N) {
        let Some(known) = self.nodes.get_mut(&node) else { return };
        if !child.has_secrets() || known.state.as_ref().is_some_and(MlsNode::can_read) {
            return;
        }
        known.state = Some(child);
        if let Some(made) = &mut known.made {
            let old = std::mem::replace(&mut made.frame, id);
            self.frames.remove(&old);
            self.nacks.unopened.remove(&old);
            self.frames.insert(id, (frame, node));
        }
    }

    /// Judges a commit on its parent's policy.
    pub(crate) fn judge(
        &self,
        log: &PolicyLog,
        parent: &NodeId,
        commit: &CommitFacts,
        child: &NodeFacts,
    ) -> Result<judge::Judgement, judge::PolicyViolation> {
        let at = self.nodes.get(parent).ok_or(judge::PolicyViolation::UnknownHeads)?;
        let state = self.policy(log, parent);
        let light_nodes = self.light_nodes(parent, &commit.author.persona);
        judge::commit(log, &judge::Parent { light_nodes, ..at.parent(*parent, &state) }, commit, &child.binding)
    }

    /// What a commit on `parent` that binds `heads` must and may do.
    pub(crate) fn demand(&self, log: &PolicyLog, parent: &NodeId, heads: &[OpId]) -> judge::Demand {
        let Some(at) = self.nodes.get(parent) else { return judge::Demand::default() };
        let state = self.policy(log, parent);
        judge::demand(log, &at.parent(*parent, &state), heads)
    }

    /// Commits of a persona at or above a node, since the last class 0 commit.
    fn light_nodes(&self, node: &NodeId, persona: &PersonaId) -> usize {
        let mut count = 0;
        let mut at = self.nodes.get(node);
        while let Some((entry, made)) = at.and_then(|e| Some((e, e.made.as_ref()?))) {
            if made.class == Class::Committer {
                break;
            }
            count += usize::from(made.commit.author.persona == *persona);
            at = entry.parent.and_then(|p| self.nodes.get(&p));
        }
        count
    }

    /// How many joins end the way to the tip, that no heads name yet.
    pub(crate) fn light_run(&self) -> usize {
        let mut at = self.tip_entry();
        let mut run = 0;
        while let Some(entry) = at.filter(|e| e.made.as_ref().is_some_and(|m| m.class == Class::External)) {
            run += 1;
            at = entry.parent.and_then(|p| self.nodes.get(&p));
        }
        run
    }

    /// Tries again what waited. Returns the nodes made.
    pub(crate) fn retry<M: Mls<Node = N>>(&mut self, mls: &M, log: &mut PolicyLog) -> Vec<NodeId> {
        let mut made = Vec::new();
        if self.tried == (log.len(), self.came.0) {
            return made;
        }
        loop {
            let before = made.len();
            for (id, frame, missing) in std::mem::take(&mut self.waiting) {
                // To look costs as much as to follow a commit.
                if missing.is_some_and(|op| !log.contains(&op)) {
                    self.waiting.push((id, frame, missing));
                } else if let Offered::Accepted(node) = self.offer(mls, log, frame) {
                    made.push(node);
                }
            }
            if made.len() == before {
                self.tried = (log.len(), self.came.0);
                return made;
            }
        }
    }

    /// Whether frames wait for something that is not here.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Frames that wait.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (FrameId, &CommitFrame)> {
        self.waiting.iter().map(|(id, frame, _)| (*id, frame))
    }

    fn wait(&mut self, frame: CommitFrame) -> Offered {
        self.wait_for(frame, None)
    }

    fn wait_for(&mut self, frame: CommitFrame, missing: Option<OpId>) -> Offered {
        let id = frame.id();
        if !self.waiting.iter().any(|(waiting, ..)| *waiting == id) {
            self.waiting.push((id, frame, missing));
            let bytes = |dag: &Self| dag.waiting.iter().map(|(_, f, _)| f.commit.len()).sum::<usize>();
            while self.waiting.len() > WAITING || bytes(self) > WAITING_BYTES {
                self.waiting.remove(0);
            }
        }
        Offered::Waiting
    }

    /// Gives a node a state, by replay from the nearest ancestor that has one.
    fn materialise<M: Mls<Node = N>>(&mut self, mls: &M, node: &NodeId) -> Option<&Entry<N>> {
        let mut path = Vec::new();
        let mut at = *node;
        while self.nodes.get(&at)?.state.is_none() {
            if let Some(info) = self.info_of(mls, &at) {
                let root = mls.open_group_info(info).ok().filter(|r| r.facts().node == at)?;
                self.nodes.get_mut(&at)?.state = Some(root);
                break;
            }
            let entry = self.nodes.get(&at)?;
            path.push((at, entry.made.as_ref()?.frame));
            at = entry.parent?;
        }
        for (node, frame) in path.into_iter().rev() {
            let frame = &self.frames.get(&frame)?.0;
            let (_, child) = self.nodes.get(&frame.parent)?.state.as_ref()?.check(&frame.commit).ok()?;
            self.nodes.get_mut(&node)?.state = Some(child);
        }
        self.nodes.get(node)
    }

    /// Picks the tip. True when it moved.
    pub(crate) fn reselect(&mut self, log: &PolicyLog) -> bool {
        let old = self.tip;
        // Who came first is read at the last final node. What follows may make a later one final: then it is read there,
        // and picked again.
        let mut selection = select::select(&self.selection(log));
        for _ in 0..ROUNDS {
            if selection.last_certified == self.certified {
                break;
            }
            self.certified = selection.last_certified;
            selection = select::select(&self.selection(log));
        }
        self.tip = selection.tip;
        self.certified = selection.last_certified;
        self.conflicts = selection.conflicts.len();
        self.suspects = selection.conflicts.into_iter().flat_map(|conflict| conflict.signers).collect();
        self.tip != old
    }

    fn selection(&self, log: &PolicyLog) -> SelectionInput {
        let base_policy = self.nodes.get(&self.base).map(|b| Arc::clone(&b.policy)).unwrap_or_default();
        let mut input = SelectionInput::new(self.base, base_policy);
        let elders = self.nodes.get(&self.certified).map(|c| c.elders.clone()).unwrap_or_default();
        let said = log.state_at(&log.heads(), &elders);
        let left = self.left_behind(&said.restarts);
        let mut frames: BTreeMap<NodeId, BTreeSet<FrameId>> = BTreeMap::new();
        for (frame, (_, node)) in &self.frames {
            frames.entry(*node).or_default().insert(*frame);
        }
        for (node, entry) in &self.nodes {
            let (Some(parent), Some(made)) = (entry.parent, entry.made.as_ref()) else { continue };
            let author = made.commit.author.persona;
            let above = self.nodes.get(&parent).and_then(|p| p.elders.places.get(&author).copied());
            let info = NodeInfo {
                parent,
                author,
                class: made.class,
                rank: made.rank,
                seniority: above.unwrap_or((u64::MAX, u32::MAX)),
                slot: made.slot,
                frames: frames.remove(node).unwrap_or_default(),
                valid: !left.contains(node),
                realises: made.realises.clone(),
                policy: Arc::clone(&entry.policy),
                recovered: made.recovered.clone(),
            };
            input.add(*node, info);
        }
        input.signatures = self.signers();
        input.nacks = self.nacks.known.keys().copied().collect();
        let at_base = if self.base_depth() > 0 { self.policy(log, &self.base).realises() } else { BTreeSet::new() };
        let open = said.revocations.iter().filter(|r| r.ops.is_disjoint(&at_base));
        input.revocations = open.map(Revocation::from).collect();
        // Where somebody stood before a base is no node there any more, and a made-up node is none anywhere: with any base
        // whatever is not below what is final counts as known to all. Nor does anybody sign what a Restart left behind.
        let named = input.revocations.iter().flat_map(|r| &r.at_nodes);
        let settled = |n: &&NodeId| left.contains(n) || !self.descends(n, &self.certified);
        input.settled = named.filter(settled).copied().collect();
        input
    }

    /// Heads of every node here.
    pub(crate) fn every_head(&self) -> impl Iterator<Item = OpId> {
        let all: BTreeSet<OpId> = self.nodes.values().flat_map(|e| e.heads.iter().copied()).collect();
        all.into_iter()
    }

    /// Every op that the path to `node` realises.
    pub(crate) fn realised(&self, log: &PolicyLog, node: &NodeId) -> BTreeSet<OpId> {
        self.nodes.get(node).map(|e| log.closure(&e.heads).into_iter().collect()).unwrap_or_default()
    }
}

fn deciders(state: &PolicyState) -> Arc<NodePolicy> {
    Arc::new(state.node_policy())
}

#[cfg(test)]
mod tests;
