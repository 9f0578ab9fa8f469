//! The signing rule: what an honest signer may put its name to, and what it should sign next.
//!
//! Both are pure, and both are what the model checker in `tests/signing.rs` explores.

use std::collections::BTreeSet;

use hearth_protocol::id::{NodeId, PersonaId};

use super::{
    BareKey, Fork, SelectionInput, bare_key,
    certificate::{Certificates, Electorate, find},
    dag::Dag,
    void_nodes,
};

/// Whether `signer`, whose every earlier signature is in `input`, may sign `node`: it extends all that it signed
/// before, or each branch that it leaves hangs on a final fork, is greater by (class, rank, seniority, slot, hash), and
/// the signatures on lesser ones leave it no possible quorum. What a certificate made final may always be followed: no
/// later signature can make its rival final. After its own Leave it signs nothing, and where it abstained no child before one
/// is final.
#[must_use]
pub fn may_sign(input: &SelectionInput, signer: &PersonaId, node: &NodeId) -> bool {
    let dag = Dag::new(input);
    View { certificates: find(&dag), dag: &dag, signer }.allows(node)
}

/// What `signer` should sign now, of the nodes that it holds: the deepest node that it comes to by the order of
/// `select`, kept to the branch that it signed. A branch that can no longer be certified is left although it may still
/// be the tip: if everybody stayed on the tip, nothing might ever be final again.
#[must_use]
pub fn to_sign(input: &SelectionInput, signer: &PersonaId, holds: impl Fn(&NodeId) -> bool) -> Option<NodeId> {
    let dag = Dag::new(input);
    let view = View { certificates: find(&dag), dag: &dag, signer };
    let (void, _) = void_nodes(&dag, &view.certificates.certified);
    let mut fork = Fork::at_base(&dag);
    loop {
        let open = view.open_branches(&fork.parent);
        let children = dag.children(&fork.parent).filter(|(id, _)| open.contains(id) && !void.contains(id));
        match children.min_by_key(|(id, child)| fork.key(id, child)) {
            Some((next, _)) if holds(next) => fork.descend(*next),
            _ => break,
        }
    }
    let node = fork.parent;
    (node != input.base && !dag.signed(&node, signer) && view.allows(&node)).then_some(node)
}

/// Whether `signer` may say that it signs no child of `node`: it has signed none. (Who does not know of a signature
/// would count its author out where it counts.)
#[must_use]
pub fn may_abstain(input: &SelectionInput, signer: &PersonaId, node: &NodeId) -> bool {
    let dag = Dag::new(input);
    dag.contains(node) && !dag.children(node).any(|(child, _)| dag.signed(child, signer))
}

/// What a signer knows.
struct View<'a> {
    dag: &'a Dag<'a>,
    certificates: Certificates,
    signer: &'a PersonaId,
}

impl View<'_> {
    fn allows(&self, node: &NodeId) -> bool {
        let path = self.dag.path(node);
        if path.is_empty() || self.dag.open_leaves(&path).any(|r| r.subject == *self.signer) {
            return false;
        }
        let abstains = |(at, child)| self.dag.abstained(at, self.signer) && !self.is_final(child);
        if path.iter().zip(path.iter().skip(1)).any(abstains) {
            return false;
        }
        self.dag.signed_by(self.signer).all(|earlier| {
            let before = self.dag.path(&earlier);
            let shared = path.iter().zip(&before).take_while(|(a, b)| a == b).count();
            let (Some(to), Some(from)) = (path.get(shared), before.get(shared)) else { return true };
            let Some(fork) = shared.checked_sub(1).and_then(|at| path.get(at)) else { return false };
            self.is_final(to) || (self.key(to) < self.key(from) && self.is_lost(fork, from))
        })
    }

    fn key(&self, id: &NodeId) -> Option<BareKey> {
        self.dag.input.nodes.get(id).map(|info| bare_key(id, info))
    }

    fn is_final(&self, node: &NodeId) -> bool {
        *node == self.dag.input.base || self.certificates.certified.contains(node)
    }

    /// Whether a branch can never be certified. Who decides about it is known only once the fork itself is final.
    fn is_lost(&self, fork: &NodeId, child: &NodeId) -> bool {
        self.is_final(fork) && !self.is_final(child) && Electorate::at(self.dag, *fork).is_lost(child)
    }

    /// Where the signer may go from a node: the certified child; else, unless it abstained, the branch that it signed
    /// last, or, when that is lost, lesser ones that are not and that it can open; else anywhere.
    fn open_branches(&self, node: &NodeId) -> BTreeSet<NodeId> {
        let children = || self.dag.children(node).map(|(id, _)| *id);
        if let Some(certified) = children().find(|id| self.is_final(id)) {
            return [certified].into();
        }
        if self.dag.abstained(node, self.signer) {
            return BTreeSet::new();
        }
        let Some(own) = children().filter(|id| self.dag.signed(id, self.signer)).min_by_key(|id| self.key(id)) else {
            return children().collect();
        };
        if !self.is_lost(node, &own) {
            return [own].into();
        }
        let lesser = children().filter(|id| self.key(id) < self.key(&own) && !self.is_lost(node, id));
        lesser.filter(|id| self.dag.policy(id).members.contains(self.signer)).collect()
    }
}
