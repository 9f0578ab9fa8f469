//! Judging commits: a commit may only do what signed ops already said.
//!
//! MLS has checked signature, tree and form ([`CommitFacts`]); this checks authority. The verdict depends on the
//! parent and the ops alone, never on which node is the tip, nor on the clock: expiry is for those who commit.

mod demand;

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::{
    cbor,
    id::{DeviceId, NodeId, OpId, PersonaId},
    limits::{DEVICES_MAX, LIGHT_NODES_MAX, MEMBERS_MAX, OP_MAX},
    op::{OpBody, OpContent, SignedOp},
};

pub use demand::{AskedAdd, Demand, demand};

use super::{PolicyLog, PolicyState, Revocation, Seniority};
use crate::{
    chain::mls_group_id,
    mls::{Binding, CommitFacts, Leaf, NodeFacts},
    select::{Class, NodePolicy},
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
    /// Its MLS epoch.
    pub epoch: u64,
    /// Its extension.
    pub binding: &'a Binding,
    /// The network that it belongs to: of the nearest node at or above it that began one. The extension does not say so where
    /// that node wrote it, and classes 2 and 3 have kept it since.
    pub network: NodeId,
    /// Its leaves.
    pub leaves: &'a [Leaf],
    /// What its effective heads say: those of the extension and of its class 3 ancestors since.
    pub state: &'a PolicyState,
    /// Seniority as read here.
    pub seniority: &'a dyn Seniority,
    /// Nodes of classes 1 to 3 by the commit's author at and above the parent, since the last one of class 0.
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
    /// Whom a Recover names that the child realises.
    pub recovered: Option<NodePolicy>,
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
    /// Too many commits by one member since a committer's last one.
    #[error("too many commits by one member since a committer's last one")]
    TooManyLightNodes,
    /// A class 0 or 1 commit that changes nothing, changes the roster without a new extension, or whose heads are none,
    /// too many or not in order.
    #[error("the commit realises nothing, or binds nothing in order")]
    Binding,
    /// Some of the heads are not known here yet: fetch them and judge again.
    #[error("the commit's policy heads are unknown")]
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
    /// A device that was revoked or evicted would come back.
    #[error("the device was taken out for good")]
    DeviceGone,
    /// More leaves of one persona than it may have.
    #[error("the persona has too many devices")]
    TooManyDevices,
    /// The first node of a generation is not what the Restart in force says, or not by a committer alone.
    #[error("the fresh group is not the one that signed ops demand")]
    Restart,
    /// Network, first day, generation or epoch do not follow from the parent's.
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

/// Judges the first node of a fresh MLS group, as a child of the node that the Restart in force names: by one of
/// the committers, alone in its tree. Everybody else enters by external rejoin.
///
/// # Errors
/// [`PolicyViolation`]; after [`PolicyViolation::UnknownHeads`] it may pass once the ops are here.
pub fn restart(log: &PolicyLog, parent: &Parent<'_>, first: &NodeFacts) -> Result<Judgement, PolicyViolation> {
    let [author] = first.leaves.as_slice() else { return Err(PolicyViolation::Restart) };
    let child = &first.binding;
    let (adds, removes, aad) = (Vec::new(), Vec::new(), Vec::new());
    let facts = CommitFacts { author: *author, external: false, adds, removes, changes_binding: true, aad };
    let case = Case { log, parent, facts: &facts, child };
    let state = case.bound_state()?;
    let demanded = state.restarts.last().is_some_and(|r| {
        let next = r.at_node == parent.node && r.generation > parent.binding.generation;
        next && r.generation == child.generation && r.suite == first.suite.code()
    });
    let genesis = log.group().and_then(|group| log.get(&OpId(group.0)));
    let ours = genesis.is_some_and(|g| first.mls_group_id == mls_group_id(g, child.generation));
    let depth = parent.binding.began.saturating_add(parent.epoch).saturating_add(1);
    if !demanded
        || !ours
        || (first.epoch, child.epoch, child.began) != (0, 0, depth)
        || !state.committers().contains(&author.persona)
    {
        return Err(PolicyViolation::Restart);
    }
    if state.gone.contains(&(author.persona, author.device)) {
        return Err(PolicyViolation::DeviceGone);
    }
    if child.network.is_some() {
        return Err(PolicyViolation::Network);
    }
    let mut judgement = case.judgement(Class::Committer, state);
    judgement.left = parent.leaves.iter().map(|leaf| leaf.persona).filter(|p| *p != author.persona).collect();
    judgement.begins_network = true;
    Ok(judgement)
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
        self.not_too_many()
    }

    ///
    fn not_too_many(&self) -> Result<(), PolicyViolation> {
        if self.parent.light_nodes < LIGHT_NODES_MAX { Ok(()) } else { Err(PolicyViolation::TooManyLightNodes) }
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
        // A rejoin may keep its key: the leaf that has it goes in the same commit.
        let stays = |leaf: &&Leaf| !self.facts.removes.contains(leaf);
        if self.parent.leaves.iter().filter(stays).any(|leaf| leaf.device == author.device) {
            return Err(PolicyViolation::DuplicateKey);
        }
        if state.gone.contains(&(author.persona, author.device)) {
            return Err(PolicyViolation::DeviceGone);
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
                // Of several devices the author says by its Remove which one it replaces.
                let replaces = matches!(self.facts.removes.as_slice(), [one] if own.contains(one));
                if replaces == own.is_empty() || own.is_empty() != self.facts.removes.is_empty() {
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
        let bound = Binding { epoch: self.parent.binding.epoch, ..self.child.clone() };
        if !self.facts.changes_binding || bound == *self.parent.binding {
            let adds_only = !self.facts.adds.is_empty() && self.facts.removes.is_empty() && self.facts.changes_binding;
            if !adds_only {
                return Err(PolicyViolation::Binding);
            }
        }
        let state = self.bound_state()?;
        let demand = self.demand(&state);
        let swapped = self.check_adds(&state, &demand)?;
        self.check_removes(&demand, &swapped)?;
        let begins_network = self.check_network(!demand.removes.is_empty())?;
        let committer = self.parent.state.committers().contains(&self.facts.author.persona);
        let class = if committer { Class::Committer } else { Class::Member };
        if class == Class::Member {
            self.not_too_many()?;
            self.realises_something(&state)?;
            if begins_network && demand.removes.is_empty() {
                return Err(PolicyViolation::Network);
            }
        }
        let added: BTreeSet<_> = self.facts.adds.iter().map(|add| add.persona).collect();
        let mut judgement = self.judgement(class, state);
        judgement.joined = added.iter().filter(|p| !self.has_leaf(p)).copied().collect();
        let stays = |leaf: &&Leaf| !self.facts.removes.contains(leaf);
        let staying: BTreeSet<_> = self.parent.leaves.iter().filter(stays).map(|leaf| leaf.persona).collect();
        let gone = self.facts.removes.iter().map(|leaf| leaf.persona);
        judgement.left = gone.filter(|p| !staying.contains(p) && !added.contains(p)).collect();
        judgement.begins_network = begins_network;
        Ok(judgement)
    }

    /// What the child's heads say, once they are found to be in order.
    fn bound_state(&self) -> Result<PolicyState, PolicyViolation> {
        let heads = &self.child.heads;
        let sorted = heads.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        // What can never be in order is no reason to wait.
        if heads.is_empty() || heads.len() > HEADS_MAX || !sorted {
            return Err(PolicyViolation::Binding);
        }
        if !heads.iter().all(|h| self.log.contains(h)) {
            return Err(PolicyViolation::UnknownHeads);
        }
        if !self.log.covers(heads, &self.parent.state.heads) {
            return Err(PolicyViolation::HeadsGoBack);
        }
        if self.new_ops().any(|(_, op)| matches!(op.body, OpBody::Join { .. })) {
            return Err(PolicyViolation::UnrealisedJoin);
        }
        let state = self.log.state_at(heads, self.parent.seniority);
        if state.roster_root(self.parent.seniority) != self.child.roster_root {
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

    /// Every Add is one that the ops demand, and brings a key that no leaf has or had to give up.
    /// Returns the leaves that go for new ones.
    fn check_adds(&self, state: &PolicyState, demand: &Demand) -> Result<BTreeSet<Leaf>, PolicyViolation> {
        let (mut devices, mut taken, mut swapped) = (BTreeSet::<DeviceId>::new(), BTreeSet::new(), BTreeSet::new());
        for add in &self.facts.adds {
            // A swap may keep the key: the leaf that has it goes in the same commit.
            let stays = |leaf: &&Leaf| !self.facts.removes.contains(leaf);
            let held = self.parent.leaves.iter().filter(stays).any(|leaf| leaf.device == add.device);
            if held || !devices.insert(add.device) {
                return Err(PolicyViolation::DuplicateKey);
            }
            if state.gone.contains(&(add.persona, add.device)) {
                return Err(PolicyViolation::DeviceGone);
            }
            let fits = |asked: &&AskedAdd| {
                let device = asked.device.is_none_or(|device| device == add.device);
                asked.persona == add.persona && device && asked.key_package_hash == add.key_package_hash
            };
            let asked = demand.adds.iter().find(fits).ok_or(PolicyViolation::Adds)?;
            // A persona comes in once, a device once, and one leaf is swapped once.
            if !taken.insert((asked.persona, asked.device, asked.replaces)) {
                return Err(PolicyViolation::Adds);
            }
            swapped.extend(asked.replaces);
        }
        let stay = self.parent.leaves.iter().filter(|leaf| !self.facts.removes.contains(leaf)).map(|l| l.persona);
        let mut counts: BTreeMap<PersonaId, usize> = BTreeMap::new();
        for persona in stay.chain(self.facts.adds.iter().map(|add| add.persona)) {
            let count = counts.entry(persona).or_default();
            *count += 1;
            if *count > DEVICES_MAX {
                return Err(PolicyViolation::TooManyDevices);
            }
        }
        Ok(swapped)
    }

    /// Removes are exactly the leaves that ops demand, and those that new ones replace.
    fn check_removes(&self, demand: &Demand, swapped: &BTreeSet<Leaf>) -> Result<(), PolicyViolation> {
        let demanded: BTreeSet<_> = demand.removes.iter().chain(swapped).copied().collect();
        let removed: BTreeSet<_> = self.facts.removes.iter().copied().collect();
        if removed.len() == self.facts.removes.len() && removed == demanded {
            Ok(())
        } else {
            Err(PolicyViolation::Removes)
        }
    }

    fn demand(&self, state: &PolicyState) -> Demand {
        let fresh: BTreeSet<_> = self.new_ops().map(|(id, _)| id).collect();
        demand::read(self.log, self.parent, state, &fresh)
    }

    /// Members realise what somebody had a right to say, and nothing else: or anybody could move the tip at will.
    fn realises_something(&self, state: &PolicyState) -> Result<(), PolicyViolation> {
        let counts = |(id, _): (OpId, &OpContent)| !state.without_effect.contains_key(&id);
        let swaps = !self.facts.adds.is_empty() || !self.facts.removes.is_empty();
        if swaps || self.new_ops().any(counts) { Ok(()) } else { Err(PolicyViolation::Binding) }
    }

    fn has_leaf(&self, persona: &PersonaId) -> bool {
        self.parent.leaves.iter().any(|leaf| leaf.persona == *persona)
    }

    /// A removal begins a network; other commits may, as when it has grown old or a link ended with uses left.
    fn check_network(&self, removes: bool) -> Result<bool, PolicyViolation> {
        let (parent, child) = (self.parent.binding, self.child);
        let begins = child.network.is_none();
        // A day far ahead would stay for good if days could not go back.
        let same_network = child.network == Some(self.parent.network) && child.first_day == parent.first_day;
        let follows = begins || (!removes && same_network);
        let same = (child.generation, child.began) == (parent.generation, parent.began);
        let written_here = Some(child.epoch) == self.parent.epoch.checked_add(1);
        if follows && same && written_here { Ok(begins) } else { Err(PolicyViolation::Network) }
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
            recovered: state.recovered_since(&self.parent.state.recovers),
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
