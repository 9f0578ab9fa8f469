//! What the group decides as a whole: Recover, by more than half of the roster, and Restart, by a quorum of the
//! facilitators.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_protocol::{
    id::{NodeId, PersonaId},
    op::{OpBody, Role},
};

use super::{
    SeniorityKey,
    fold::Fold,
    log::Entry,
    person::{Event, Kind, majority},
    rights::{Elders, Electors, Right},
};

/// A statement that several must make in the same words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ballot {
    /// These are the facilitators from now on.
    Recover {
        /// The facilitators' last commit, whose roster decides.
        base: NodeId,
        /// Who.
        facilitators: Vec<PersonaId>,
    },
    /// The roster moves to a fresh MLS group.
    Restart {
        /// Its generation.
        generation: u32,
        /// Its ciphersuite.
        suite: u16,
        /// The node that its first node follows.
        at_node: NodeId,
    },
}

impl Ballot {
    /// What an op votes for, if that is what it does.
    #[must_use]
    pub fn of(body: &OpBody) -> Option<Self> {
        match body {
            OpBody::Recover { base, facilitators } => {
                Some(Self::Recover { base: *base, facilitators: facilitators.clone() })
            }
            OpBody::Restart { generation, suite, at_node } => {
                Some(Self::Restart { generation: *generation, suite: *suite, at_node: *at_node })
            }
            _ => None,
        }
    }

    /// Whether both decide the same thing, so that an author's later word replaces its earlier one.
    fn rivals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Recover { base, .. }, Self::Recover { base: other, .. }) => base == other,
            (Self::Restart { generation, .. }, Self::Restart { generation: other, .. }) => generation == other,
            _ => false,
        }
    }
}

/// A signature under a ballot that is not decided.
#[derive(Clone, Debug)]
pub(crate) struct Vote<'a> {
    pub(crate) op: &'a Entry,
    pub(crate) ballot: Ballot,
    electors: Arc<Electors>,
}

/// A ballot that reached its number.
#[derive(Clone, Debug)]
pub(crate) struct Decided<'a> {
    pub(crate) ballot: Ballot,
    pub(crate) event: Event<'a>,
}

impl<'a> Fold<'a> {
    /// The generation in force; 0 before any Restart.
    pub(crate) fn generation(&self) -> u32 {
        self.restarts().map(|(generation, _)| generation).max().unwrap_or(0)
    }

    /// Whom each Recover that was decided names, by the node that it is about.
    pub(crate) fn recovers(&self) -> impl Iterator<Item = (NodeId, &[PersonaId])> {
        self.decided.iter().filter_map(|d| match &d.ballot {
            Ballot::Recover { base, facilitators } => Some((*base, facilitators.as_slice())),
            Ballot::Restart { .. } => None,
        })
    }

    /// Restarts that were decided, with their generation.
    pub(crate) fn restarts(&self) -> impl Iterator<Item = (u32, &Decided<'a>)> {
        self.decided.iter().filter_map(|d| match d.ballot {
            Ballot::Restart { generation, .. } => Some((generation, d)),
            Ballot::Recover { .. } => None,
        })
    }

    /// The Restart that stands of each generation, the oldest first: the most senior signer's, then the least id.
    pub(crate) fn standing_restarts(&self, elders: &Elders<'_>) -> Vec<&Decided<'a>> {
        let rank = |d: &&Decided<'a>| {
            let signers = d.event.ops.iter();
            (signers.clone().map(|op| elders.key(&op.author())).min(), signers.map(|op| op.id).min())
        };
        let mut rivals: BTreeMap<u32, Vec<&Decided<'a>>> = BTreeMap::new();
        self.restarts().for_each(|(generation, decided)| rivals.entry(generation).or_default().push(decided));
        let stands = |mut rivals: Vec<_>| match rivals.len() {
            0 | 1 => rivals.pop(),
            _ => rivals.into_iter().min_by_key(rank),
        };
        rivals.into_values().filter_map(stands).collect()
    }

    pub(crate) fn read_ballot(&mut self, entry: &'a Entry, ballot: Ballot, (right, elders): (&Right, &Elders<'_>)) {
        let Some(electors) = &right.electors else { return };
        self.votes.retain(|v| v.op.author() != entry.author() || !entry.sees(v.op) || !v.ballot.rivals(&ballot));
        if let Some(place) = self.decided.iter().position(|d| d.ballot == ballot && !d.event.before(entry)) {
            return self.join_decision(place, entry);
        }
        self.votes.push(Vote { op: entry, ballot: ballot.clone(), electors: Arc::clone(electors) });
        let Some((event, former)) = self.counted(&ballot) else { return };
        self.votes.retain(|v| v.ballot != ballot);
        if let Ballot::Recover { facilitators, .. } = &ballot
            && !self.recover(&event, facilitators, (&former, elders))
        {
            return;
        }
        self.decided.push(Decided { ballot, event });
    }

    /// A signature too many, by somebody who did not know of the decision.
    fn join_decision(&mut self, place: usize, entry: &'a Entry) {
        let Some(decided) = self.decided.get_mut(place) else { return };
        let first = decided.event.ops.first().map(|op| op.index);
        decided.event.ops.push(entry);
        let event = decided.event.clone();
        let mut subjects = Vec::new();
        for (persona, person) in &mut self.people {
            for of_it in person.events.iter_mut().filter(|e| e.recovers && e.ops.first().map(|op| op.index) == first) {
                of_it.ops.push(entry);
                if of_it.demotes {
                    subjects.push(*persona);
                }
            }
        }
        for subject in subjects {
            self.close_invites(subject, &Event { demotes: true, ..event.clone() });
        }
    }

    /// The decision once enough have signed, counted by what the last signers knew; and the facilitators they knew.
    fn counted(&self, ballot: &Ballot) -> Option<(Event<'a>, BTreeSet<PersonaId>)> {
        let group: Vec<_> = self.votes.iter().filter(|v| v.ballot == *ballot).collect();
        let last: Vec<_> = group.iter().filter(|v| !group.iter().any(|other| other.op.sees(v.op))).collect();
        let needed = last.iter().map(|v| v.electors.needed).max()?;
        let counts = |v: &Vote<'_>| last.iter().all(|l| l.electors.who.contains(&v.op.author()));
        let counted: Vec<_> = group.iter().filter(|v| counts(v)).collect();
        let signers: BTreeSet<_> = counted.iter().map(|v| v.op.author()).collect();
        let former = counted.iter().flat_map(|v| v.electors.facilitators.iter().copied()).collect();
        let ops = counted.iter().map(|v| v.op).collect();
        let kind = Kind::Role(Role::Facilitator);
        let vouched = last.first().map(|v| v.electors.vouched.clone()).unwrap_or_default();
        let by_vouched = vouched.iter().filter(|v| signers.contains(v)).count();
        let carried = signers.len() >= needed && by_vouched >= majority(vouched.len());
        let event = Event { kind, ops, needed, vouched, demotes: false, motion: false, recovers: true };
        carried.then_some((event, former))
    }

    /// Who is named becomes facilitator, who was and is not named becomes member. False where another Recover that
    /// this one does not know of names somebody more senior.
    fn recover(
        &mut self,
        event: &Event<'a>,
        named: &[PersonaId],
        (former, elders): (&BTreeSet<PersonaId>, &Elders<'_>),
    ) -> bool {
        let knows = |other: &Event<'_>| event.ops.iter().any(|op| other.before(op));
        let rival = self.decided.iter().position(|d| matches!(d.ballot, Ballot::Recover { .. }) && !knows(&d.event));
        if let Some(Decided { ballot: Ballot::Recover { facilitators, .. }, event: other }) =
            rival.and_then(|at| self.decided.get(at))
        {
            if preference(facilitators, elders) < preference(named, elders) {
                return false;
            }
            let first = other.ops.first().map(|op| op.index);
            for person in self.people.values_mut() {
                person.events.retain(|e| !e.recovers || e.ops.first().map(|op| op.index) != first);
            }
            rival.map(|at| self.decided.remove(at));
        }
        for subject in former.iter().filter(|f| !named.contains(f)) {
            self.decide(*subject, Event { kind: Kind::Role(Role::Member), demotes: true, ..event.clone() });
        }
        for subject in named {
            self.decide(*subject, event.clone());
        }
        true
    }
}

/// Of Recovers that do not know of each other the one that names the most senior, then the lesser list.
fn preference(named: &[PersonaId], elders: &Elders<'_>) -> (Option<SeniorityKey>, Vec<PersonaId>) {
    (named.iter().map(|p| elders.key(p)).min(), named.to_vec())
}
