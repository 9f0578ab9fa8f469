//! Certificates: quorums of signatures that make a node final.

use std::collections::BTreeSet;

use hearth_protocol::id::{NodeId, PersonaId};

use super::{NodePolicy, dag::Dag};

/// Certificates of nodes that exclude each other. They are ignored from the common ancestor on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The common ancestor.
    pub ancestor: NodeId,
    /// Its certified children.
    pub certified: BTreeSet<NodeId>,
    /// Who signed below more than one of them: proven equivocators.
    pub signers: BTreeSet<PersonaId>,
}

pub(crate) struct Certificates {
    pub(crate) last: NodeId,
    pub(crate) certified: BTreeSet<NodeId>,
    pub(crate) conflicts: Vec<Conflict>,
}

/// Whether these signers make a quorum for a node whose last certified ancestor has this policy: ⌊f/2⌋+1 of
/// its facilitators who did not leave; of two, one with more than half of the other members also suffices.
pub(crate) fn is_quorum(
    policy: &NodePolicy,
    leavers: &BTreeSet<PersonaId>,
    signed: impl Fn(&PersonaId) -> bool,
) -> bool {
    let facilitators: Vec<_> = policy.facilitators.iter().filter(|f| !leavers.contains(f)).collect();
    let by_facilitators = facilitators.iter().filter(|f| signed(f)).count();
    if !facilitators.is_empty() && by_facilitators > facilitators.len() / 2 {
        return true;
    }
    if facilitators.len() != 2 || by_facilitators == 0 {
        return false;
    }
    let others = policy.members.iter().filter(|m| !policy.facilitators.contains(m) && !leavers.contains(m));
    let (total, by_others) = others.fold((0, 0), |(all, yes), m| (all + 1, yes + usize::from(signed(m))));
    by_others * 2 > total
}

/// Walks down while exactly one child is certified. A signature stands for all ancestors, so no certified node can
/// hang below one that is not.
pub(crate) fn find(dag: &Dag<'_>) -> Certificates {
    let mut found = Certificates { last: dag.input.base, certified: BTreeSet::new(), conflicts: Vec::new() };
    loop {
        let policy = dag.policy(&found.last);
        let certified: BTreeSet<_> = dag
            .children(&found.last)
            .map(|(id, _)| *id)
            .filter(|id| is_quorum(policy, &dag.input.leavers, |who| dag.signed(id, who)))
            .collect();
        match (certified.len(), certified.first()) {
            (1, Some(only)) => {
                found.last = *only;
                found.certified.insert(*only);
            }
            (0, _) => return found,
            _ => {
                let sides = |who: &PersonaId| certified.iter().filter(|id| dag.signed(id, who)).count();
                let both = dag.signers(&found.last).filter(|who| sides(who) > 1 && policy.members.contains(who));
                let signers = both.copied().collect();
                found.conflicts.push(Conflict { ancestor: found.last, certified, signers });
                return found;
            }
        }
    }
}
