//! The chain from Genesis to a later base: final nodes, each made final by those who decided at the one before.
//!
//! Who holds a group from a later node on, as every newcomer of a group with a long past does, has no commits from
//! before it. It has every op, which say what each node's policy was; each link's binding says which of them the node
//! realised, and by which seniority they were read; and a quorum's signatures say that the node is this group's. To
//! forge a chain takes a quorum of those who decided at some link, as it takes to forge a certificate.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::{
    cbor,
    door::{Link, LinkSignature},
    frame::signature_message,
    id::{GroupId, NodeId, OpId, PersonaId, hash},
    limits::CHAIN_MAX,
    op::SignedOp,
};

use crate::{
    mls::{Mls, NodeContext},
    persona::verify,
    policy::{PolicyLog, PolicyState, RevocationKind},
    select::{NodePolicy, quorum},
};

/// Who has had a leaf since when: depth of the first node, leaf index.
pub type Elders = BTreeMap<PersonaId, (u64, u32)>;

/// The MLS group id of a generation: SHA-256 of Genesis and the generation.
#[must_use]
pub fn mls_group_id(genesis: &SignedOp, generation: u32) -> [u8; 32] {
    hash(&[&cbor::to_vec(genesis), &generation.to_be_bytes()])
}

/// What a chain is checked against, and continued on.
pub struct Ground<'a, M> {
    /// Reads the links.
    pub mls: &'a M,
    /// The group.
    pub group: &'a GroupId,
    /// Its ops, from Genesis on.
    pub log: &'a PolicyLog,
    /// Who had come before the last link, or one that is to follow it.
    pub elders: &'a Elders,
}

/// A node as a link tells it, with what its heads say.
struct Told {
    context: NodeContext,
    state: PolicyState,
}

/// A chain that was verified.
pub struct Verified {
    /// The node that it leads to; `None` of an empty chain, which leads nowhere yet.
    pub node: Option<NodeId>,
    /// Who decides about what follows Genesis, then about what follows each link.
    policies: Vec<NodePolicy>,
    /// Depth and heads of the last link.
    last: (u64, Vec<OpId>),
}

impl Verified {
    fn advance(&mut self, told: Told) {
        self.node = Some(told.context.node);
        self.policies.push(told.state.node_policy());
        self.last = (told.context.depth(), told.context.binding.heads);
    }
}

impl<M: Mls> Ground<'_, M> {
    /// Verifies a chain, link by link from Genesis. `None`: it is not this group's, or proves nothing.
    #[must_use]
    pub fn verify(&self, chain: &[Link]) -> Option<Verified> {
        let genesis = OpId(self.group.0);
        let founding = self.log.state_at(&[genesis], &());
        let mut known = Verified { node: None, policies: vec![founding.node_policy()], last: (0, vec![genesis]) };
        for link in chain {
            let told = self.follow(&known, link)?;
            let signers = self.signers(&told.context.node, &link.signatures)?;
            if !is_quorum(known.policies.last()?, &told.state, &signers) {
                return None;
            }
            known.advance(told);
        }
        Some(known)
    }

    /// The chain that leads to the node of `link`: the links that are needed, then this one. `None` while those who
    /// signed it are no quorum of those who decided at any link.
    #[must_use]
    pub fn extend(&self, chain: &[Link], link: Link) -> Option<Vec<Link>> {
        let known = self.verify(chain)?;
        let told = self.follow(&known, &link)?;
        let signers = link.signatures.iter().map(|s| s.persona).collect();
        let needed = known.policies.iter().position(|policy| is_quorum(policy, &told.state, &signers))?;
        let mut chain: Vec<_> = chain.iter().take(needed).cloned().collect();
        chain.push(link);
        (chain.len() <= CHAIN_MAX).then_some(chain)
    }

    /// Whether a chain leads on from a node whose policy, depth and heads are known: of its links that are later
    /// there is at least one, and each is signed by a quorum of those who decided at that node or at an earlier such link.
    #[must_use]
    pub fn leads_on(&self, from: (&NodePolicy, u64, &[OpId]), chain: &[Link]) -> bool {
        let (policy, depth, heads) = from;
        let mut known = Verified { node: None, policies: vec![policy.clone()], last: (depth, heads.to_vec()) };
        let later = |link: &&Link| self.mls.read_context(&link.context).is_ok_and(|c| c.depth() > depth);
        for link in chain.iter().filter(later) {
            let Some(told) = self.follow(&known, link) else { return false };
            let Some(signers) = self.signers(&told.context.node, &link.signatures) else { return false };
            if !known.policies.iter().any(|policy| is_quorum(policy, &told.state, &signers)) {
                return false;
            }
            known.advance(told);
        }
        known.node.is_some()
    }

    /// Reads a link as one that comes after what is known.
    fn follow(&self, known: &Verified, link: &Link) -> Option<Told> {
        let context = self.mls.read_context(&link.context).ok()?;
        let (last, heads) = &known.last;
        let (binding, depth) = (&context.binding, context.depth());
        let genesis = self.log.get(&OpId(self.group.0))?;
        let here = context.mls_group_id == mls_group_id(genesis, binding.generation);
        // A self-update or a join keeps an earlier extension, which does not say all of what its node realises.
        let written_here = binding.epoch == context.epoch;
        let later = depth > *last && binding.heads.iter().all(|h| self.log.contains(h));
        if !here || !written_here || !later || !self.log.covers(&binding.heads, heads) {
            return None;
        }
        let elders: Elders =
            self.elders.iter().filter(|(_, (came, _))| *came < depth).map(|(p, at)| (*p, *at)).collect();
        let state = self.log.state_at(&binding.heads, &elders);
        (state.roster_root(&elders) == binding.roster_root).then_some(Told { context, state })
    }

    fn signers(&self, node: &NodeId, signatures: &[LinkSignature]) -> Option<BTreeSet<PersonaId>> {
        let message = signature_message(self.group, node);
        let genuine = |s: &LinkSignature| verify(&s.persona.0, &message, &s.sig);
        signatures.iter().all(genuine).then(|| signatures.iter().map(|s| s.persona).collect())
    }
}

/// Those who left by their own word, which the link realises, no longer decide.
fn is_quorum(policy: &NodePolicy, at_link: &PolicyState, signers: &BTreeSet<PersonaId>) -> bool {
    let left = |who: &PersonaId| {
        at_link.revocations.iter().any(|r| r.kind == RevocationKind::Leave && r.subject == *who)
            && at_link.role_of(who).is_none()
    };
    quorum(policy, |who| !left(who), |who| signers.contains(who))
}

#[cfg(test)]
mod tests;
