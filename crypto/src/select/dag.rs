//! The nodes below the base, indexed: who builds on whom, who signed what.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::id::{NodeId, PersonaId};

use super::{NodeInfo, NodePolicy, SelectionInput};

pub(crate) struct Dag<'a> {
    pub(crate) input: &'a SelectionInput,
    /// Valid nodes that descend from the base, by parent.
    children: BTreeMap<NodeId, BTreeMap<&'a NodeId, &'a NodeInfo>>,
    reachable: BTreeSet<NodeId>,
    /// Who signed a node or one below it.
    signers: BTreeMap<NodeId, BTreeSet<PersonaId>>,
    /// Who wrote a node below it.
    builders: BTreeMap<NodeId, BTreeSet<PersonaId>>,
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
        let mut dag = Self { input, children, reachable, signers: BTreeMap::new(), builders: BTreeMap::new() };
        let mut signers = BTreeMap::new();
        for (node, signer) in &input.signatures {
            dag.mark_upwards(&mut signers, *node, *signer);
        }
        let mut builders = BTreeMap::new();
        for (_, info) in dag.nodes() {
            dag.mark_upwards(&mut builders, info.parent, info.author);
        }
        (dag.signers, dag.builders) = (signers, builders);
        dag
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
