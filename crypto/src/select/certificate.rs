//! Certificates: quorums of signatures that make a node final.

use std::collections::BTreeSet;

use hearth_protocol::id::{NodeId, PersonaId};

use super::{BareKey, NodePolicy, bare_key, dag::Dag};

/// Certificates of nodes that exclude each other. They are ignored from the common ancestor on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The common ancestor.
    pub ancestor: NodeId,
    /// Its certified children.
    pub certified: BTreeSet<NodeId>,
    /// Who signed below more than one child of the ancestor, certified or not, or below its own Leave, or a child of
    /// which it abstained. At least one of these broke the signing rule; others may have left a branch rightly, misled
    /// by that. So of several nobody is convicted by this alone.
    pub signers: BTreeSet<PersonaId>,
}

pub(crate) struct Certificates {
    pub(crate) last: NodeId,
    pub(crate) certified: BTreeSet<NodeId>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Who decides about the children of a final node: those of its policy, less some who left or abstain.
pub(crate) struct Electorate<'a> {
    dag: &'a Dag<'a>,
    fork: NodeId,
    policy: &'a NodePolicy,
    /// Who left at or above the fork, or on a branch that it rules out: it signs nothing below, and has signed nothing there.
    left: BTreeSet<PersonaId>,
    /// Who abstains at the fork, and has signed nothing below.
    silent: BTreeSet<PersonaId>,
    /// Who left on a branch that is lost: it signs nothing on a lesser one.
    stranded: Vec<(NodeId, PersonaId)>,
}

impl<'a> Electorate<'a> {
    /// Nobody is taken out who has signed, or may yet sign, the branch that is decided about. So whatever part of
    /// the Leaves and abstentions a member knows, it counts the same signatures, and of no fewer people than are needed.
    pub(crate) fn at(dag: &'a Dag<'a>, fork: NodeId) -> Self {
        let (left, silent) = (BTreeSet::new(), BTreeSet::new());
        let mut at = Self { dag, fork, policy: dag.policy(&fork), left, silent, stranded: Vec::new() };
        at.silent = dag.abstainers(&fork).filter(|who| at.last_signed(who).is_none()).collect();
        if !dag.anybody_left() {
            return at;
        }
        let elsewhere = |at: &NodeId| dag.contains(at) && !dag.is_at_or_below(at, &fork);
        let not_below = |at: &NodeId| *at == fork || elsewhere(at) || dag.input.settled.contains(at);
        let path = dag.path(&fork);
        let (left, below): (Vec<_>, Vec<_>) = dag.open_leaves(&path).partition(|r| r.at_nodes.iter().all(not_below));
        at.left = left.iter().map(|r| r.subject).collect();
        // From the greatest branch on: who is stranded there decides no more about the lesser ones.
        let mut branches: Vec<_> = dag.children(&fork).map(|(id, info)| (bare_key(id, info), *id)).collect();
        branches.sort_unstable();
        for (_, branch) in branches.iter().rev() {
            let here = below.iter().map(|r| r.subject).filter(|who| at.last_signed(who) == Some(*branch));
            let here: Vec<_> = here.map(|who| (*branch, who)).collect();
            if !here.is_empty() && at.is_lost(branch) {
                at.stranded.extend(here);
            }
        }
        at
    }

    fn last_signed(&self, who: &PersonaId) -> Option<NodeId> {
        let signed = self.dag.children(&self.fork).filter(|(id, _)| self.dag.signed(id, who));
        signed.map(|(id, info)| bare_key(id, info)).min().map(|key| key.4)
    }

    fn key(&self, child: &NodeId) -> Option<BareKey> {
        self.dag.input.nodes.get(child).map(|info| bare_key(child, info))
    }

    /// Whether a child can never be certified: those who signed lesser ones will not come back.
    pub(crate) fn is_lost(&self, child: &NodeId) -> bool {
        let children = self.dag.children(&self.fork).map(|(id, _)| id);
        let lesser: Vec<_> = children.filter(|id| self.key(id) < self.key(child)).collect();
        !self.is_quorum(child, |who| !lesser.iter().any(|id| self.dag.signed(id, who)))
    }

    /// Whether these signers make a quorum for a child: ⌊f/2⌋+1 of the facilitators; of two, one with more than
    /// half of the other members also suffices.
    pub(crate) fn is_quorum(&self, child: &NodeId, signed: impl Fn(&PersonaId) -> bool) -> bool {
        let stranded =
            |who: &PersonaId| self.stranded.iter().any(|(at, left)| left == who && self.key(at) > self.key(child));
        let decides = |who: &PersonaId| !self.left.contains(who) && !self.silent.contains(who) && !stranded(who);
        quorum(self.policy, decides, signed)
    }
}

/// Whether those of a policy who decide and who signed are enough of those who decide.
pub(crate) fn quorum(
    policy: &NodePolicy,
    decides: impl Fn(&PersonaId) -> bool,
    signed: impl Fn(&PersonaId) -> bool,
) -> bool {
    let facilitators: Vec<_> = policy.facilitators.iter().filter(|f| decides(f)).collect();
    let by_facilitators = facilitators.iter().filter(|f| signed(f)).count();
    if !facilitators.is_empty() && by_facilitators > facilitators.len() / 2 {
        return true;
    }
    if facilitators.len() != 2 || by_facilitators == 0 {
        return false;
    }
    let others = policy.members.iter().filter(|m| !policy.facilitators.contains(m) && decides(m));
    let (total, by_others) = others.fold((0, 0), |(all, yes), m| (all + 1, yes + usize::from(signed(m))));
    by_others * 2 > total
}

/// What those make final whom a Recover names: the nodes that realise one, and all above them.
fn recovered(dag: &Dag<'_>) -> BTreeSet<NodeId> {
    let realise = dag.nodes().filter_map(|(id, info)| Some((id, info.recovered.as_ref()?)));
    let carried = realise.filter(|(id, named)| quorum(named, |_| true, |who| dag.signed(id, who)));
    carried.flat_map(|(id, _)| dag.path(id)).collect()
}

/// Walks down while exactly one child is certified. A signature stands for all ancestors, so no certified node can
/// hang below one that is not.
pub(crate) fn find(dag: &Dag<'_>) -> Certificates {
    let recovered = recovered(dag);
    let mut found = Certificates { last: dag.input.base, certified: BTreeSet::new(), conflicts: Vec::new() };
    loop {
        let electorate = Electorate::at(dag, found.last);
        let certified: BTreeSet<_> = dag
            .children(&found.last)
            .map(|(id, _)| *id)
            .filter(|id| recovered.contains(id) || electorate.is_quorum(id, |who| dag.signed(id, who)))
            .collect();
        match (certified.len(), certified.first()) {
            (1, Some(only)) => {
                found.last = *only;
                found.certified.insert(*only);
            }
            (0, _) => return found,
            _ => {
                let sides = |who: &PersonaId| dag.children(&found.last).filter(|(id, _)| dag.signed(id, who)).count();
                let members = &electorate.policy.members;
                let silent = |who: &PersonaId| electorate.left.contains(who) || dag.abstained(&found.last, who);
                let broke = |who: &PersonaId| sides(who) > 1 || (sides(who) > 0 && silent(who));
                let signers = dag.signers(&found.last).filter(|who| broke(who) && members.contains(who));
                let signers = signers.copied().collect();
                found.conflicts.push(Conflict { ancestor: found.last, certified, signers });
                return found;
            }
        }
    }
}
