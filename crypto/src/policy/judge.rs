//! Judging commits: a commit may only do what signed ops already said.
//!
//! MLS has checked signature, tree and form ([`CommitFacts`]); this checks authority. The verdict depends on the
//! parent and the ops alone, never on which node is the tip, nor on the clock: expiry is for those who commit.

use std::collections::BTreeSet;

use hearth_protocol::{
    cbor,
    id::{DeviceId, NodeId, OpId, PersonaId, hash},
    limits::{LIGHT_NODES_MAX, MEMBERS_MAX, OP_MAX},
    op::{OpBody, OpContent, SignedOp},
};

use super::{PolicyLog, PolicyState, Revocation, Seniority};
use crate::{
    mls::{AddedLeaf, Binding, CommitFacts, Leaf},
    select::Class,
};

/// Heads that one node may bind.
pub const HEADS_MAX: usize = 256;
/// Bytes around an op's content in a SignedOp.
const SIGNED_OP_OVERHEAD: usize = 80;

/// The node that a commit builds on.
#[derive(Clone, Copy)]
pub struct Parent<'a> {
    /// Its id.
    pub node: NodeId,
    /// Its extension.
    pub binding: &'a Binding,
    /// Its leaves.
    pub leaves: &'a [Leaf],
    /// What its effective heads say: those of the extension and of its class 3 ancestors since.
    pub state: &'a PolicyState,
    /// Seniority as read here.
    pub seniority: &'a dyn Seniority,
    /// Class 2 and 3 nodes of the commit's author above the parent, since the last certificate.
    pub light_nodes: usize,
}

/// What a commit that passed does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Its class.
    pub class: Class,
    /// The author's rank in the parent's policy.
    pub rank: u32,
    /// The use of an invite that it takes.
    pub slot: Option<u32>,
    /// The child's effective heads, sorted.
    pub heads: Vec<OpId>,
    /// What they say, by the parent's seniority; read it again with the child's before judging a commit on the child.
    pub state: PolicyState,
    /// Revocations in effect here and not at the parent.
    pub realised: Vec<Revocation>,
    /// Personas that have a leaf here and had none.
    pub joined: BTreeSet<PersonaId>,
    /// Personas that had a leaf and have none.
    pub left: BTreeSet<PersonaId>,
    /// Whether the child begins a network.
    pub begins_network: bool,
}

/// What a commit does that nobody said. No variant carries ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyViolation {
    /// The author has no leaf here, or is not a member.
    #[error("the committer is not a member here")]
    Author,
    /// A self-update or an external commit carries something of its own.
    #[error("the commit carries a proposal that its class may not carry")]
    Proposal,
    /// Authenticated data where none belongs, or none that is an op.
    #[error("the commit's authenticated data is not what its class carries")]
    AuthenticatedData,
    /// Too many self-updates and joins since the last certificate.
    #[error("too many light commits since the last certificate")]
    TooManyLightNodes,
    /// A class 0 or 1 commit that changes nothing, or changes the roster without a new extension.
    #[error("the commit realises nothing, or binds nothing")]
    Binding,
    /// The heads are unsorted, too many, or some are not known here yet: fetch them and judge again.
    #[error("the commit's policy heads are unknown or malformed")]
    UnknownHeads,
    /// The heads do not rest on everything that the parent realises.
    #[error("the commit's policy heads leave out what its parent realises")]
    HeadsGoBack,
    /// A Join is in force only where an ancestor realised it.
    #[error("the commit's policy heads rest on a join that no ancestor realised")]
    UnrealisedJoin,
    /// The roster root is not that of the heads.
    #[error("the commit's roster root does not match its policy heads")]
    RosterRoot,
    /// More members than a group may have.
    #[error("the group is full")]
    Full,
    /// Removes are not exactly those that the heads demand.
    #[error("the commit's removals are not those that signed ops demand")]
    Removes,
    /// An Add that no op demands.
    #[error("the commit adds what no signed op demands")]
    Adds,
    /// A signature key is in another leaf already.
    #[error("a signature key would be in two leaves")]
    DuplicateKey,
    /// Network, first day or generation do not follow from the parent's.
    #[error("the commit's network does not follow from its parent's")]
    Network,
    /// The op of an external commit is not in the log, is not a Join or RejoinRequest, or was realised before.
    #[error("the external commit's op is unknown, of another kind, or was used before")]
    ExternalOp,
    /// The op of an external commit rests on what the parent does not realise.
    #[error("the external commit's op rests on what its parent does not realise")]
    OpAhead,
    /// The new leaf is not that of the op's author.
    #[error("the external commit's leaf is not the op's author")]
    ForeignLeaf,
    /// The invite does not admit this joiner at this node.
    #[error("the join is not valid here")]
    JoinRefused,
}

/// The op that an external commit carries; insert it into the log before judging.
#[must_use]
pub fn external_op(facts: &CommitFacts) -> Option<SignedOp> {
    let signed: SignedOp = cbor::from_slice(&facts.aad, OP_MAX + SIGNED_OP_OVERHEAD).ok()?;
    facts.external.then_some(signed)
}

/// Judges a commit on `parent` whose child binds `child`.
///
/// # Errors
/// [`PolicyViolation`]; after [`PolicyViolation::UnknownHeads`] or [`PolicyViolation::ExternalOp`] the same commit may
/// pass once the ops are here.
pub fn commit(
    log: &PolicyLog,
    parent: &Parent<'_>,
    facts: &CommitFacts,
    child: &Binding,
) -> Result<Judgement, PolicyViolation> {
    let case = Case { log, parent, facts, child };
    if facts.external {
        return case.external();
    }
    if !parent.leaves.contains(&facts.author) || parent.state.role_of(&facts.author.persona).is_none() {
        return Err(PolicyViolation::Author);
    }
    if !facts.aad.is_empty() {
        return Err(PolicyViolation::AuthenticatedData);
    }
    if facts.adds.is_empty() && facts.removes.is_empty() && !facts.changes_binding {
        return case.update();
    }
    case.realising()
}

struct Case<'a> {
    log: &'a PolicyLog,
    parent: &'a Parent<'a>,
    facts: &'a CommitFacts,
    child: &'a Binding,
}

impl Case<'_> {
    /// Class 2.
    fn update(&self) -> Result<Judgement, PolicyViolation> {
        self.light()?;
        Ok(self.judgement(Class::Update, self.parent.state.clone()))
    }

    /// What classes 2 and 3 share: the extension stays, and nobody makes too many.
    fn light(&self) -> Result<(), PolicyViolation> {
        if self.child != self.parent.binding || self.facts.changes_binding || !self.facts.adds.is_empty() {
            return Err(PolicyViolation::Proposal);
        }
        if self.parent.light_nodes >= LIGHT_NODES_MAX {
            return Err(PolicyViolation::TooManyLightNodes);
        }
        Ok(())
    }

    /// Class 3.
    fn external(&self) -> Result<Judgement, PolicyViolation> {
        self.light()?;
        let author = &self.facts.author;
        let id = external_op(self.facts).ok_or(PolicyViolation::AuthenticatedData)?.id();
        let op = self.log.content(&id).ok_or(PolicyViolation::ExternalOp)?;
        let state = self.parent.state;
        if self.log.covers(&state.heads, &[id]) {
            return Err(PolicyViolation::ExternalOp);
        }
        if !self.log.covers(&state.heads, &op.prev) {
            return Err(PolicyViolation::OpAhead);
        }
        if op.persona != author.persona || op.device != author.device {
            return Err(PolicyViolation::ForeignLeaf);
        }
        if self.parent.leaves.iter().any(|leaf| leaf.device == author.device) {
            return Err(PolicyViolation::DuplicateKey);
        }
        let own: Vec<_> = self.parent.leaves.iter().filter(|leaf| leaf.persona == author.persona).copied().collect();
        let slot = match &op.body {
            OpBody::Join { invite, slot, .. } => {
                if !self.facts.removes.is_empty() || !own.is_empty() {
                    return Err(PolicyViolation::Proposal);
                }
                if !state.admits(&author.persona, invite, *slot) {
                    return Err(PolicyViolation::JoinRefused);
                }
                Some(*slot)
            }
            OpBody::RejoinRequest { .. } => {
                if self.facts.removes.len() > 1 || self.facts.removes != own {
                    return Err(PolicyViolation::Removes);
                }
                None
            }
            _ => return Err(PolicyViolation::ExternalOp),
        };
        let heads: Vec<_> = state.heads.iter().copied().chain([id]).collect();
        let after = self.log.state_at(&heads, self.parent.seniority);
        if after.role_of(&author.persona).is_none() || after.without_effect.contains_key(&id) {
            return Err(PolicyViolation::JoinRefused);
        }
        if after.members.len() > MEMBERS_MAX {
            return Err(PolicyViolation::Full);
        }
        let mut judgement = self.judgement(Class::External, after);
        judgement.slot = slot;
        judgement.joined.extend(own.is_empty().then_some(author.persona));
        Ok(judgement)
    }

    /// Classes 0 and 1.
    fn realising(&self) -> Result<Judgement, PolicyViolation> {
        if !self.facts.changes_binding || self.child == self.parent.binding {
            let adds_only = !self.facts.adds.is_empty() && self.facts.removes.is_empty() && self.facts.changes_binding;
            if !adds_only {
                return Err(PolicyViolation::Binding);
            }
        }
        let state = self.bound_state()?;
        let swapped = self.check_adds(&state)?;
        let gone = self.check_removes(&state, &swapped)?;
        let begins_network = self.check_network(!gone.is_empty())?;
        let committer = self.parent.state.committers().contains(&self.facts.author.persona);
        let class = if committer { Class::Committer } else { Class::Member };
        let added: BTreeSet<_> = self.facts.adds.iter().map(|add| add.persona).collect();
        let mut judgement = self.judgement(class, state);
        judgement.joined = added.iter().filter(|p| !self.has_leaf(p)).copied().collect();
        judgement.left = gone.difference(&added).copied().collect();
        judgement.begins_network = begins_network;
        Ok(judgement)
    }

    /// What the child's heads say, once they are found to be in order.
    fn bound_state(&self) -> Result<PolicyState, PolicyViolation> {
        let heads = &self.child.heads;
        let sorted = heads.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        if heads.is_empty() || heads.len() > HEADS_MAX || !sorted || !heads.iter().all(|h| self.log.contains(h)) {
            return Err(PolicyViolation::UnknownHeads);
        }
        if !self.log.covers(heads, &self.parent.state.heads) {
            return Err(PolicyViolation::HeadsGoBack);
        }
        if self.new_ops().any(|(_, op)| matches!(op.body, OpBody::Join { .. })) {
            return Err(PolicyViolation::UnrealisedJoin);
        }
        let state = self.log.state_at(heads, self.parent.seniority);
        if state.roster_root() != self.child.roster_root {
            return Err(PolicyViolation::RosterRoot);
        }
        if state.members.len() > MEMBERS_MAX {
            return Err(PolicyViolation::Full);
        }
        Ok(state)
    }

    /// Ops that the child realises and the parent does not.
    fn new_ops(&self) -> impl Iterator<Item = (OpId, &OpContent)> {
        let known: BTreeSet<_> = self.log.closure(&self.parent.state.heads).into_iter().collect();
        let all = self.log.closure(&self.child.heads).into_iter().filter(move |id| !known.contains(id));
        all.filter_map(|id| self.log.content(&id).map(|op| (id, op)))
    }

    /// Every Add is the KeyPackage of an op in force: of who is a member and has no leaf, or of a new RejoinRequest.
    /// Returns those whose old leaf goes for a new one.
    fn check_adds(&self, state: &PolicyState) -> Result<BTreeSet<PersonaId>, PolicyViolation> {
        let (mut devices, mut personas, mut swapped) = (BTreeSet::<DeviceId>::new(), BTreeSet::new(), BTreeSet::new());
        for add in &self.facts.adds {
            if self.parent.leaves.iter().any(|leaf| leaf.device == add.device) || !devices.insert(add.device) {
                return Err(PolicyViolation::DuplicateKey);
            }
            if !personas.insert(add.persona) {
                return Err(PolicyViolation::Adds);
            }
            let stays = self.has_leaf(&add.persona) && self.continues(state, &add.persona);
            if !stays && self.is_demanded(state, add) {
                continue;
            }
            if !self.is_rejoin(state, add) {
                return Err(PolicyViolation::Adds);
            }
            swapped.insert(add.persona);
        }
        Ok(swapped)
    }

    fn is_demanded(&self, state: &PolicyState, add: &AddedLeaf) -> bool {
        let adds = state.members.get(&add.persona).map(|m| m.adds.as_slice()).unwrap_or_default();
        adds.iter().filter_map(|id| self.log.content(id)).any(
            |op| matches!(&op.body, OpBody::Add { key_package, .. } if hash(&[key_package]) == add.key_package_hash),
        )
    }

    fn is_rejoin(&self, state: &PolicyState, add: &AddedLeaf) -> bool {
        let asked: BTreeSet<_> = state.rejoins.iter().collect();
        self.new_ops().any(|(id, op)| {
            matches!(&op.body, OpBody::RejoinRequest { key_package } if hash(&[key_package]) == add.key_package_hash)
                && op.persona == add.persona
                && asked.contains(&id)
        })
    }

    /// Removes are exactly the leaves of those whose membership ended, and of those who get a new one.
    /// Returns the personas whose membership ended.
    fn check_removes(
        &self,
        state: &PolicyState,
        swapped: &BTreeSet<PersonaId>,
    ) -> Result<BTreeSet<PersonaId>, PolicyViolation> {
        let ended = |leaf: &&Leaf| !self.continues(state, &leaf.persona);
        let gone: BTreeSet<_> = self.parent.leaves.iter().filter(ended).map(|leaf| leaf.persona).collect();
        let goes = |leaf: &&Leaf| gone.contains(&leaf.persona) || swapped.contains(&leaf.persona);
        let demanded: BTreeSet<_> = self.parent.leaves.iter().filter(goes).copied().collect();
        let removed: BTreeSet<_> = self.facts.removes.iter().copied().collect();
        if removed.len() == self.facts.removes.len() && removed == demanded {
            Ok(gone)
        } else {
            Err(PolicyViolation::Removes)
        }
    }

    /// Whether the membership that the parent knew is still in force: who was removed and admitted anew gets a new
    /// leaf.
    fn continues(&self, state: &PolicyState, persona: &PersonaId) -> bool {
        let (Some(before), Some(after)) = (self.parent.state.members.get(persona), state.members.get(persona)) else {
            return false;
        };
        before.adds.iter().any(|add| after.adds.contains(add))
    }

    fn has_leaf(&self, persona: &PersonaId) -> bool {
        self.parent.leaves.iter().any(|leaf| leaf.persona == *persona)
    }

    /// A removal begins a network; other commits may, as when it has grown old or a link ended with uses left.
    fn check_network(&self, removes: bool) -> Result<bool, PolicyViolation> {
        let (parent, child) = (self.parent.binding, self.child);
        let begins = child.network.is_none();
        let follows = if begins {
            child.first_day >= parent.first_day
        } else {
            let network = parent.network.unwrap_or(self.parent.node);
            !removes && child.network == Some(network) && child.first_day == parent.first_day
        };
        if follows && child.generation == parent.generation { Ok(begins) } else { Err(PolicyViolation::Network) }
    }

    fn judgement(&self, class: Class, state: PolicyState) -> Judgement {
        // A signature too many on a quorum's decision is not a new decision.
        let before = self.parent.state.realises();
        let realised = state.revocations.iter().filter(|r| r.ops.is_disjoint(&before)).cloned().collect();
        Judgement {
            class,
            rank: self.parent.state.rank(&self.facts.author.persona),
            slot: None,
            heads: state.heads.clone(),
            state,
            realised,
            joined: BTreeSet::new(),
            left: BTreeSet::new(),
            begins_network: false,
        }
    }
}

#[cfg(test)]
mod tests;
