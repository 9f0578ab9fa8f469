//! The signing rule: what an honest facilitator may put its name to.

use std::collections::BTreeSet;

use hearth_protocol::id::{NodeId, PersonaId};

use super::{
    SelectionInput, bare_key,
    certificate::{find, is_quorum},
    dag::Dag,
};

/// Whether `signer`, whose every earlier signature is in `input`, may sign `node`: it extends all that it signed
/// before, or each branch that it leaves is greater by (class, rank, seniority, slot, hash) at the fork, and the
/// signatures on lesser ones leave that branch no possible quorum. What a certificate made final may always be
/// followed: no later signature can make its rival final.
#[must_use]
pub fn may_sign(input: &SelectionInput, signer: &PersonaId, node: &NodeId) -> bool {
    let dag = Dag::new(input);
    let path = dag.path(node);
    if path.is_empty() {
        return false;
    }
    let certificates = find(&dag);
    let signed = input.signatures.iter().filter(|(_, who)| who == signer).map(|(id, _)| id);
    for earlier in signed {
        let before = dag.path(earlier);
        let shared = path.iter().zip(&before).take_while(|(a, b)| a == b).count();
        let (Some(to), Some(from)) = (path.get(shared), before.get(shared)) else { continue };
        let Some(fork) = shared.checked_sub(1).and_then(|at| path.get(at)) else { return false };
        let follows_certificate = certificates.certified.contains(to);
        if !follows_certificate && !may_leave(&dag, (fork, from, to), &certificates.certified) {
            return false;
        }
    }
    true
}

fn may_leave(dag: &Dag<'_>, (fork, from, to): (&NodeId, &NodeId, &NodeId), certified: &BTreeSet<NodeId>) -> bool {
    if certified.contains(from) {
        return false;
    }
    let key = |id: &NodeId| dag.input.nodes.get(id).map(|info| bare_key(id, info));
    if key(to) >= key(from) {
        return false;
    }
    let lesser: Vec<_> = dag.children(fork).map(|(id, _)| id).filter(|id| key(id) < key(from)).collect();
    let on_lesser = |who: &PersonaId| lesser.iter().any(|id| dag.signed(id, who));
    // The last certified node at or above the fork says who decides about its children.
    let above = dag.path(fork);
    let last = above.iter().rev().find(|id| certified.contains(id)).unwrap_or(&dag.input.base);
    !is_quorum(dag.policy(last), &dag.input.leavers, |who| !on_lesser(who))
}
