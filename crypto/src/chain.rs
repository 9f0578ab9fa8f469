//! The chain from Genesis to a later base: final nodes, each made final by those who decided at the one before.
//!
//! Who holds a group from a later node on, as every newcomer of a group with a long past does, has no commits from
//! before it. It has every op, which say what each node's policy was; each link's binding says which of them the node
//! realised, and by which seniority they were read; and a quorum's signatures say that the node is this group's. To
//! forge a chain takes a quorum of those who decided at some link, as it takes to forge a certificate.

mod elders;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_protocol::{
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

pub use elders::{Elders, Places};

/// The MLS group id of a generation: SHA-256 of Genesis' id and the generation.
#[must_use]
pub fn mls_group_id(genesis: &SignedOp, generation: u32) -> [u8; 32] {
    hash(&[&genesis.id().0, &generation.to_be_bytes()])
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
    pub places: &'a Places,
}

/// A node as a link tells it, with what its heads say.
struct Told {
    context: NodeContext,
    state: PolicyState,
    /// Those who decided about the Recovers that it realises.
    settled: BTreeMap<NodeId, Arc<NodePolicy>>,
    /// Whom a Recover names that the one before it did not realise.
    recovered: Option<NodePolicy>,
}

/// A final node that others follow.
pub struct Anchor<'a> {
    /// Who decides there.
    pub policy: &'a Arc<NodePolicy>,
    /// Its depth.
    pub depth: u64,
    /// What it says.
    pub state: &'a PolicyState,
    /// Who may name other facilitators there.
    pub elders: &'a Elders,
}

/// A chain that was verified.
pub struct Verified {
    /// The node that it leads to; `None` of an empty chain, which leads nowhere yet.
    pub node: Option<NodeId>,
    /// Who decides about what follows Genesis, then about what follows each link.
    policies: Vec<Arc<NodePolicy>>,
    /// Depth and heads of the last link.
    last: (u64, Vec<OpId>),
    /// The Recovers that it realises.
    recovers: BTreeMap<NodeId, Vec<PersonaId>>,
    /// Those who may name other facilitators after it, and those who did.
    elders: Elders,
    /// How many links, from the first on, show that.
    shown_by: usize,
}

impl Verified {
    fn from(policy: Arc<NodePolicy>, last: (u64, Vec<OpId>)) -> Self {
        let (recovers, elders) = (BTreeMap::new(), Elders::default());
        Self { node: None, policies: vec![policy], last, recovers, elders, shown_by: 0 }
    }

    fn advance(&mut self, told: Told) {
        let policy = Arc::new(told.state.node_policy());
        if told.recovered.is_some() {
            self.shown_by = self.policies.len();
        }
        self.node = Some(told.context.node);
        self.policies.push(Arc::clone(&policy));
        self.last = (told.context.depth(), told.context.binding.heads);
        self.recovers = told.state.recovers;
        let (settled, last) = (told.settled, Some((told.context.node, policy)));
        self.elders = Elders { settled, last, ..Elders::default() };
    }

    /// What the node that follows from it rests on, where these had come before.
    #[must_use]
    pub fn elders(self, places: Arc<Places>) -> Elders {
        Elders { places, last: None, settled: self.elders.settled }
    }
}

impl<M: Mls> Ground<'_, M> {
    /// Verifies a chain, link by link from Genesis. `None`: it is not this group's, or proves nothing.
    #[must_use]
    pub fn verify(&self, chain: &[Link]) -> Option<Verified> {
        let genesis = OpId(self.group.0);
        let founding = self.log.state_at(&[genesis], &());
        let mut known = Verified::from(Arc::new(founding.node_policy()), (0, vec![genesis]));
        for link in chain {
            let told = self.follow(&known, link)?;
            let signers = self.signers(&told.context.node, &link.signatures)?;
            if !is_quorum(known.policies.last()?, &told, &signers) {
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
        // What shows a Recover stays, and so does what it follows.
        let from = if told.recovered.is_some() { chain.len() } else { known.shown_by };
        let mut policies = known.policies.iter().enumerate().skip(from);
        let (needed, _) = policies.find(|(_, policy)| is_quorum(policy, &told, &signers))?;
        let mut chain: Vec<_> = chain.iter().take(needed).cloned().collect();
        chain.push(link);
        (chain.len() <= CHAIN_MAX).then_some(chain)
    }

    /// Whether a chain leads on from a node whose policy, depth and heads are known: of its links that are later
    /// there is at least one, and each is signed by a quorum of those who decided at that node or at an earlier such link.
    #[must_use]
    pub fn leads_on(&self, from: &Anchor<'_>, chain: &[Link]) -> bool {
        let mut known = Verified {
            recovers: from.state.recovers.clone(),
            elders: from.elders.clone(),
            ..Verified::from(Arc::clone(from.policy), (from.depth, from.state.heads.clone()))
        };
        let later = |link: &&Link| self.mls.read_context(&link.context).is_ok_and(|c| c.depth() > from.depth);
        for link in chain.iter().filter(later) {
            let Some(told) = self.follow(&known, link) else { return false };
            let Some(signers) = self.signers(&told.context.node, &link.signatures) else { return false };
            if !known.policies.iter().any(|policy| is_quorum(policy, &told, &signers)) {
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
        let places: Places =
            self.places.iter().filter(|(_, (came, _))| *came < depth).map(|(p, at)| (*p, *at)).collect();
        let places = Arc::new(places);
        // If it realises a Recover, then on the class 0 node that the last link tells of. The roster root says so.
        let told = [None, known.elders.last.clone()].into_iter().find_map(|last| {
            let mut elders = Elders { places: Arc::clone(&places), last: None, settled: known.elders.settled.clone() };
            elders.settled.extend(last);
            let state = self.log.state_at(&binding.heads, &elders);
            (state.roster_root(&elders) == binding.roster_root).then_some((state, elders.settled))
        });
        let (state, settled) = told?;
        let recovered = state.recovered_since(&known.recovers);
        Some(Told { context, state, settled, recovered })
    }

    fn signers(&self, node: &NodeId, signatures: &[LinkSignature]) -> Option<BTreeSet<PersonaId>> {
        let message = signature_message(self.group, node);
        let genuine = |s: &LinkSignature| verify(&s.persona.0, &message, &s.sig);
        signatures.iter().all(genuine).then(|| signatures.iter().map(|s| s.persona).collect())
    }
}

/// Those who left by their own word, which the link realises, no longer decide; whom a Recover names do.
fn is_quorum(policy: &NodePolicy, link: &Told, signers: &BTreeSet<PersonaId>) -> bool {
    let left = |who: &PersonaId| {
        link.state.revocations.iter().any(|r| r.kind == RevocationKind::Leave && r.subject == *who)
            && link.state.role_of(who).is_none()
    };
    let by = |policy: &NodePolicy| quorum(policy, |who| !left(who), |who| signers.contains(who));
    by(policy) || link.recovered.as_ref().is_some_and(by)
}

#[cfg(test)]
mod tests;
