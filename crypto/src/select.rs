//! Which node is the tip: a pure function of a set of nodes, revocations, signatures and Nacks.
//!
//! The same set gives the same tip on every machine. Only the first divergent commit is compared: neither depth nor
//! time ever decides, so nobody gains by building a long private branch. Validity never depends on this module.

mod certificate;
mod dag;
mod signing;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_protocol::id::{FrameId, NodeId, OpId, PersonaId};

pub use certificate::Conflict;
pub(crate) use certificate::quorum;
pub use signing::{may_abstain, may_sign, to_sign};

use dag::Dag;

/// What kind of commit made a node; smaller comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// 0: by a facilitator on the committer list.
    Committer,
    /// 1: by any member, realising ops already signed.
    Member,
    /// 2: a self-update.
    Update,
    /// 3: an external join or rejoin.
    External,
}

/// Whom a node's policy lets decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePolicy {
    /// Its facilitators.
    pub facilitators: BTreeSet<PersonaId>,
    /// Its members, facilitators included.
    pub members: BTreeSet<PersonaId>,
    /// Of these, without the facilitators, whom a facilitator let in by name or gave a role.
    pub vouched: BTreeSet<PersonaId>,
}

/// One node of the commit DAG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeInfo {
    /// The node it builds on.
    pub parent: NodeId,
    /// Its author.
    pub author: PersonaId,
    /// Its class.
    pub class: Class,
    /// The author's rank in the parent's policy.
    pub rank: u32,
    /// The author's seniority at the parent: depth of the first node with its leaf, leaf index.
    pub seniority: (u64, u32),
    /// The use of an invite that it takes.
    pub slot: Option<u32>,
    /// Its frames: equal NodeIds may come with different confirmation tags.
    pub frames: BTreeSet<FrameId>,
    /// Whether it is publicly valid and policy-valid.
    pub valid: bool,
    /// Every op of the revocations that are in effect here; those of its ancestors may be left out.
    pub realises: BTreeSet<OpId>,
    /// Its own policy.
    pub policy: Arc<NodePolicy>,
    /// Whom a Recover names that it realises: their quorum makes it final, and they judge whether it opens.
    pub recovered: Option<Arc<NodePolicy>>,
}

/// What a revocation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revoked {
    /// Membership, by others.
    Membership,
    /// Membership, by the member's own Leave: a removal to realise, nothing against its author's commits. It counts as
    /// its author's last signature, of its `at_node`.
    Left,
    /// The facilitator's role.
    Role,
}

/// A valid removal, departure or demotion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revocation {
    /// The ops that signed it: a node that names one of them in [`NodeInfo::realises`] realises it.
    pub ops: BTreeSet<OpId>,
    /// Whom it concerns.
    pub subject: PersonaId,
    /// What it takes.
    pub kind: Revoked,
    /// Where those who signed it stood: one node, or as many as a quorum needs.
    pub at_nodes: BTreeSet<NodeId>,
}

/// Everything that decides. Sets, so neither order nor repetition of arrival can matter.
#[derive(Clone, Debug)]
pub struct SelectionInput {
    /// The last certified node, as far as it was known when older ones were dropped; else the first of the group.
    pub base: NodeId,
    /// The policy of `base`.
    pub base_policy: Arc<NodePolicy>,
    /// Ancestors of `base`, as far as revocations still name them.
    pub settled: BTreeSet<NodeId>,
    /// Nodes since `base`; those that do not descend from it are passed over.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Revocations that are valid and that `base` does not realise.
    pub revocations: BTreeSet<Revocation>,
    /// Verified signatures; each stands for the node's ancestors too.
    pub signatures: BTreeSet<(NodeId, PersonaId)>,
    /// Verified Nacks.
    pub nacks: BTreeSet<(FrameId, PersonaId)>,
}

impl SelectionInput {
    /// Nothing but a base.
    #[must_use]
    pub fn new(base: NodeId, base_policy: Arc<NodePolicy>) -> Self {
        Self {
            base,
            base_policy,
            settled: BTreeSet::new(),
            nodes: BTreeMap::new(),
            revocations: BTreeSet::new(),
            signatures: BTreeSet::new(),
            nacks: BTreeSet::new(),
        }
    }

    /// Adds a node; further frames of a known one are added to it.
    pub fn add(&mut self, id: NodeId, info: NodeInfo) {
        match self.nodes.get_mut(&id) {
            Some(known) => known.frames.extend(info.frames),
            None => {
                self.nodes.insert(id, info);
            }
        }
    }
}

/// What [`select`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// The node to write in.
    pub tip: NodeId,
    /// From the base to the tip, both included.
    pub path: Vec<NodeId>,
    /// The last certified node: final.
    pub last_certified: NodeId,
    /// Certified nodes below the base, the last one included.
    pub certified: BTreeSet<NodeId>,
    /// Nodes that nobody can open.
    pub void: BTreeSet<NodeId>,
    /// Certificates that exclude each other, with those who signed on both sides.
    pub conflicts: Vec<Conflict>,
    /// Nacks whose signer signed or built on the same frame.
    pub refuted: BTreeSet<(FrameId, PersonaId)>,
}

/// The tip.
#[must_use]
pub fn select(input: &SelectionInput) -> Selection {
    let dag = Dag::new(input);
    let certificates = certificate::find(&dag);
    let (void, refuted) = void_nodes(&dag, &certificates.certified);
    let mut path = vec![input.base];
    let mut fork = Fork::at_base(&dag);
    loop {
        let children = dag.children(&fork.parent).filter(|(id, _)| !void.contains(id));
        let least = children.min_by_key(|(id, child)| (!certificates.certified.contains(id), fork.key(id, child)));
        let Some((next, _)) = least else { break };
        path.push(*next);
        fork.descend(*next);
    }
    Selection {
        tip: fork.parent,
        path,
        last_certified: certificates.last,
        certified: certificates.certified,
        void,
        conflicts: certificates.conflicts,
        refuted,
    }
}

/// Children of a node in the order in which one of them would be picked if nobody had said anything about any of them,
/// and they were of one author: by what they leave undone, then by their bare keys. Nothing that comes later changes it, so the least
/// of some are the least of all that ever came.
#[must_use]
pub fn by_themselves(input: &SelectionInput, parent: &NodeId, children: &[NodeId]) -> Vec<NodeId> {
    let dag = Dag::new(input);
    let mut fork = Fork::at_base(&dag);
    dag.path(parent).into_iter().skip(1).for_each(|node| fork.descend(node));
    let known = children.iter().filter_map(|id| Some((id, input.nodes.get(id)?)));
    let mut keyed: Vec<_> = known.map(|(id, child)| (fork.unrealised(child), bare_key(id, child))).collect();
    keyed.sort_unstable();
    keyed.into_iter().map(|(_, (.., id))| id).collect()
}

/// What decides by itself, without revocations and signatures.
pub(crate) type BareKey = (Class, u32, (u64, u32), Option<u32>, NodeId);

pub(crate) fn bare_key(id: &NodeId, child: &NodeInfo) -> BareKey {
    (child.class, child.rank, child.seniority, child.slot, *id)
}

struct Fork<'a> {
    dag: &'a Dag<'a>,
    parent: NodeId,
    /// The parent and its ancestors.
    known: BTreeSet<NodeId>,
    /// What these realise.
    realised: BTreeSet<OpId>,
}

impl<'a> Fork<'a> {
    fn at_base(dag: &'a Dag<'a>) -> Self {
        let base = dag.input.base;
        let mut fork = Self { dag, parent: base, known: dag.input.settled.clone(), realised: BTreeSet::new() };
        fork.descend(base);
        fork
    }

    fn descend(&mut self, to: NodeId) {
        self.parent = to;
        self.known.insert(to);
        if let Some(info) = self.dag.input.nodes.get(&to) {
            self.realised.extend(info.realises.iter().copied());
        }
    }

    fn key(&self, id: &NodeId, child: &NodeInfo) -> (bool, usize, Reverse<usize>, BareKey) {
        let facilitators = &self.dag.policy(&self.parent).facilitators;
        let signers: BTreeSet<_> = self.dag.signers(id).filter(|s| facilitators.contains(s)).collect();
        let others = signers.iter().any(|s| **s != child.author);
        let author = usize::from(facilitators.contains(&child.author) && !signers.contains(&child.author));
        let revoked = !others && self.revokes_author(id, child);
        (revoked, self.unrealised(child), Reverse(signers.len() + author), bare_key(id, child))
    }

    /// Whether some revocation takes the author's right, signed by people none of whom knew this child. One that the
    /// parent realises is past: its subject was admitted, or promoted, anew.
    fn revokes_author(&self, id: &NodeId, child: &NodeInfo) -> bool {
        self.dag.input.revocations.iter().any(|r| {
            let takes = match r.kind {
                Revoked::Membership => true,
                Revoked::Role => child.class == Class::Committer,
                Revoked::Left => false,
            };
            takes
                && r.subject == child.author
                && r.ops.is_disjoint(&self.realised)
                && !r.at_nodes.iter().any(|at| self.dag.is_at_or_below(at, id))
        })
    }

    /// Removals that everybody who builds on the parent could know, and that the child leaves undone.
    fn unrealised(&self, child: &NodeInfo) -> usize {
        let undone = |r: &&Revocation| {
            r.kind != Revoked::Role
                && r.ops.is_disjoint(&self.realised)
                && r.ops.is_disjoint(&child.realises)
                && r.at_nodes.iter().all(|at| self.known.contains(at))
        };
        self.dag.input.revocations.iter().filter(undone).count()
    }
}

/// Nodes all of whose frames were refused by more than half of the facilitators other than the author (of the
/// members, if there is none), unless certified; and Nacks that their own signer contradicts.
fn void_nodes(dag: &Dag<'_>, certified: &BTreeSet<NodeId>) -> (BTreeSet<NodeId>, BTreeSet<(FrameId, PersonaId)>) {
    let (mut void, mut refuted) = (BTreeSet::new(), BTreeSet::new());
    if dag.input.nacks.is_empty() {
        return (void, refuted);
    }
    for (id, info) in dag.nodes() {
        // A signature names a node: it contradicts a Nack only where the signer opened no other frame of it.
        let refused_all = |who: &PersonaId| info.frames.iter().all(|f| dag.nacks(f).any(|n| n == *who));
        let contradicts = |who: &PersonaId| refused_all(who) && (dag.signed(id, who) || dag.built_on(id, who));
        let policy = info.recovered.as_deref().unwrap_or(dag.policy(&info.parent));
        // Whom it takes out has no say about it.
        let judge = |who: &&PersonaId| **who != info.author && info.policy.members.contains(*who);
        let mut judges: BTreeSet<_> = policy.facilitators.iter().filter(judge).collect();
        if judges.is_empty() {
            judges = policy.members.iter().filter(judge).collect();
        }
        let mut open = info.frames.is_empty();
        for frame in &info.frames {
            let (against, standing): (Vec<PersonaId>, Vec<PersonaId>) =
                dag.nacks(frame).partition(|who| contradicts(who));
            refuted.extend(against.into_iter().map(|who| (*frame, who)));
            let votes = standing.iter().filter(|who| judges.contains(*who)).count();
            open |= votes * 2 <= judges.len();
        }
        if !open && !certified.contains(id) {
            void.insert(*id);
        }
    }
    (void, refuted)
}

#[cfg(test)]
mod tests;
