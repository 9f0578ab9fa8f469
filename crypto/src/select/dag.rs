//! The nodes below the base, indexed: who builds on whom, who signed what.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::id::{FrameId, NodeId, PersonaId};

use super::{NodeInfo, NodePolicy, Revocation, Revoked, SelectionInput};

pub(crate) struct Dag<'a> {
    pub(crate) input: &'a SelectionInput,
    /// Valid nodes that descend from the base, by parent.
    children: BTreeMap<NodeId, BTreeMap<&'a NodeId, &'a NodeInfo>>,
    reachable: BTreeSet<NodeId>,
    /// Who signed a node or one below it.
    signers: BTreeMap<NodeId, BTreeSet<PersonaId>>,
    /// Who wrote a node below it.
    builders: BTreeMap<NodeId, BTreeSet<PersonaId>>,
    /// Nacks, by frame.
    nacks: BTreeMap<FrameId, BTreeSet<PersonaId>>,
    /// Who said of which node that it signs no child of it.
    abstained: BTreeSet<(NodeId, PersonaId)>,
}

impl<'a> Dag<'a> {
    pub(crate) fn new(input: &'a SelectionInput) -> Self {
        let mut all: BTreeMap<NodeId, BTreeMap<&NodeId, &NodeInfo>> = BTreeMap::new();
        // Each node has one parent, so without the base as a child nothing that the base leads to is a cycle.
        for (id, info) in input.nodes.iter().filter(|(id, info)| info.valid && **id != input.base) {
            all.entry(info.parent).or_default().insert(id, info);
        }
        let mut children = BTreeMap::new();
        let mut reachable = BTreeSet::new();
        let mut open = vec![input.base];
        while let Some(id) = open.pop() {
            if let Some(below) = all.remove(&id) {
                open.extend(below.keys().map(|child| **child));
                children.insert(id, below);
            }
            reachable.insert(id);
        }
        let mut nacks: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (frame, signer) in &input.nacks {
            nacks.entry(*frame).or_default().insert(*signer);
        }
        let (signers, builders, abstained) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let mut dag = Self { input, children, reachable, signers, builders, nacks, abstained };
        dag.abstained = dag.find_abstained();
        let mut signers = BTreeMap::new();
        for (node, signer) in input.signatures.iter().copied().chain(last_words(input)) {
            dag.mark_upwards(&mut signers, node, signer);
        }
        let mut builders = BTreeMap::new();
        for (_, info) in dag.nodes() {
            dag.mark_upwards(&mut builders, info.parent, info.author);
        }
        (dag.signers, dag.builders) = (signers, builders);
        dag
    }

    /// Whom a commit takes out cannot open it, and has no say about it: by a Nack it abstains.
    fn find_abstained(&self) -> BTreeSet<(NodeId, PersonaId)> {
        let mut abstained = BTreeSet::new();
        for (_, info) in self.nodes().filter(|_| !self.nacks.is_empty()) {
            let were_in = &self.policy(&info.parent).members;
            let taken_out = |who: &PersonaId| were_in.contains(who) && !info.policy.members.contains(who);
            let by = info.frames.iter().flat_map(|frame| self.nacks(frame)).filter(taken_out);
            abstained.extend(by.map(|who| (info.parent, who)));
        }
        abstained
    }

    fn mark_upwards(&self, marks: &mut BTreeMap<NodeId, BTreeSet<PersonaId>>, from: NodeId, who: PersonaId) {
        let mut at = from;
        // Where the mark is already, it is on everything above as well.
        while self.reachable.contains(&at) && marks.entry(at).or_default().insert(who) && at != self.input.base {
            let Some(info) = self.input.nodes.get(&at) else { return };
            at = info.parent;
        }
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (&'a NodeId, &'a NodeInfo)> + '_ {
        self.children.values().flatten().map(|(id, info)| (*id, *info))
    }

    pub(crate) fn children(&self, of: &NodeId) -> impl Iterator<Item = (&'a NodeId, &'a NodeInfo)> + '_ {
        self.children.get(of).into_iter().flatten().map(|(id, info)| (*id, *info))
    }

    pub(crate) fn contains(&self, id: &NodeId) -> bool {
        self.reachable.contains(id)
    }

    pub(crate) fn policy(&self, id: &NodeId) -> &NodePolicy {
        let base = &self.input.base_policy;
        if *id == self.input.base { base } else { self.input.nodes.get(id).map_or(base, |info| &info.policy) }
    }

    pub(crate) fn signers(&self, id: &NodeId) -> impl Iterator<Item = &PersonaId> {
        self.signers.get(id).into_iter().flatten()
    }

    pub(crate) fn signed(&self, id: &NodeId, who: &PersonaId) -> bool {
        self.signers.get(id).is_some_and(|s| s.contains(who))
    }

    /// What somebody signed, its Leave included.
    pub(crate) fn signed_by(&self, who: &PersonaId) -> impl Iterator<Item = NodeId> {
        let all = self.input.signatures.iter().copied().chain(last_words(self.input));
        all.filter(move |(_, signer)| signer == who).map(|(node, _)| node)
    }

    pub(crate) fn nacks<'s>(&'s self, frame: &FrameId) -> impl Iterator<Item = PersonaId> + use<'s, 'a> {
        self.nacks.get(frame).into_iter().flatten().copied()
    }

    /// Who abstains at a node.
    pub(crate) fn abstainers(&self, of: &NodeId) -> impl Iterator<Item = PersonaId> {
        self.abstained.iter().filter(move |(at, _)| at == of).map(|(_, who)| *who)
    }

    pub(crate) fn abstained(&self, of: &NodeId, who: &PersonaId) -> bool {
        self.abstained.contains(&(*of, *who))
    }

    pub(crate) fn anybody_left(&self) -> bool {
        self.input.revocations.iter().any(|r| r.kind == Revoked::Left)
    }

    /// Leaves that no node of this path from the base realises.
    pub(crate) fn open_leaves(&self, path: &[NodeId]) -> impl Iterator<Item = &'a Revocation> {
        let realised: BTreeSet<_> =
            path.iter().filter_map(|id| self.input.nodes.get(id)).flat_map(|info| &info.realises).collect();
        let left = self.input.revocations.iter().filter(|r| r.kind == Revoked::Left);
        left.filter(move |r| !r.ops.iter().any(|op| realised.contains(op)))
    }

    pub(crate) fn built_on(&self, id: &NodeId, who: &PersonaId) -> bool {
        self.builders.get(id).is_some_and(|b| b.contains(who))
    }

    /// From the base to the node, both included; empty for a node that does not descend from it.
    pub(crate) fn path(&self, id: &NodeId) -> Vec<NodeId> {
        let mut path = Vec::new();
        let mut at = *id;
        while self.contains(&at) {
            path.push(at);
            if at == self.input.base {
                path.reverse();
                return path;
            }
            let Some(info) = self.input.nodes.get(&at) else { break };
            at = info.parent;
        }
        Vec::new()
    }

    pub(crate) fn is_at_or_below(&self, id: &NodeId, top: &NodeId) -> bool {
        let mut at = *id;
        while self.contains(&at) {
            if at == *top {
                return true;
            }
            match self.input.nodes.get(&at).filter(|_| at != self.input.base) {
                Some(info) => at = info.parent,
                None => return false,
            }
        }
        false
    }
}

/// A Leave counts as its author's last signature.
fn last_words(input: &SelectionInput) -> impl Iterator<Item = (NodeId, PersonaId)> {
    let left = input.revocations.iter().filter(|r| r.kind == Revoked::Left);
    left.flat_map(|r| r.at_nodes.iter().map(|at| (*at, r.subject)))
}
