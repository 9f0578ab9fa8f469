//! What a closure says about one persona: how it came in, what was decided about it, what is still being decided.

use std::sync::Arc;

use hearth_protocol::{id::PersonaId, op::Role};

use super::{Motion, log::Entry};

/// Something decided about a persona, by one op or by a quorum of equal ones.
#[derive(Clone, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) kind: Kind,
    /// The deciding ops; more than `needed` when facilitators signed without knowing of each other.
    pub(crate) ops: Vec<&'a Entry>,
    /// How many of them decide.
    pub(crate) needed: usize,
    /// Whether it takes a facilitator's role away without taking the persona out.
    pub(crate) demotes: bool,
    /// Whether it was put to a quorum.
    pub(crate) motion: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Remove,
    Leave,
    Role(Role),
}

impl From<Motion> for Kind {
    fn from(motion: Motion) -> Self {
        match motion {
            Motion::Remove => Self::Remove,
            Motion::SetRole(role) => Self::Role(role),
        }
    }
}

impl Event<'_> {
    /// Whether `entry` was written knowing that this was decided.
    pub(crate) fn before(&self, entry: &Entry) -> bool {
        self.ops.iter().filter(|op| entry.sees(op)).count() >= self.needed
    }

    /// Whether `entry` lies in this decision's past: every quorum among its signers has one who knew of it. So
    /// neither one signer too many nor one who claims to have known nothing changes what the others knew.
    pub(crate) fn knew(&self, entry: &Entry) -> bool {
        let knew = self.ops.iter().filter(|op| op.sees(entry) || op.index == entry.index).count();
        knew + self.needed > self.ops.len()
    }

    /// Whether any signer knew of `entry`.
    pub(crate) fn touches(&self, entry: &Entry) -> bool {
        self.ops.iter().any(|op| op.sees(entry))
    }

    pub(crate) fn ends_membership(&self) -> bool {
        matches!(self.kind, Kind::Remove | Kind::Leave)
    }

    fn indexes(&self) -> Grant {
        Grant { ops: self.ops.iter().map(|op| op.index).collect(), needed: self.needed }
    }
}

/// A signature under a motion that has no quorum yet.
#[derive(Clone, Debug)]
pub(crate) struct Signature<'a> {
    pub(crate) op: &'a Entry,
    pub(crate) motion: Motion,
    /// The facilitators that its author knew.
    pub(crate) facilitators: Arc<[PersonaId]>,
}

/// Ops through which something exists: it is gone when fewer than `needed` of them stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) ops: Vec<usize>,
    pub(crate) needed: usize,
}

impl Grant {
    pub(crate) fn one(entry: &Entry) -> Self {
        Self { ops: vec![entry.index], needed: 1 }
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Person<'a> {
    /// Genesis, Adds and Joins, with the role each gives.
    pub(crate) adds: Vec<(&'a Entry, Role)>,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) pending: Vec<Signature<'a>>,
}

impl<'a> Person<'a> {
    /// Additions that no removal or departure follows or contradicts: concurrently, a removal wins.
    pub(crate) fn live(&self) -> Vec<(&'a Entry, Role)> {
        let ended = |add: &Entry| self.events.iter().any(|e| e.ends_membership() && !e.before(add));
        self.adds.iter().filter(|(add, _)| !ended(add)).copied().collect()
    }

    /// The role in force and what it rests on; `None` for who is not a member. Of concurrent roles the lower.
    pub(crate) fn role(&self) -> Option<(Role, Vec<Grant>)> {
        let live = self.live();
        let roles: Vec<_> = self.events.iter().filter_map(|e| self.role_since(e, &live)).collect();
        let mut standing: Vec<(Role, Grant)> = Vec::new();
        for (add, role) in &live {
            if !roles.iter().any(|(_, e)| e.touches(add)) {
                standing.push((*role, Grant::one(add)));
            }
        }
        for (role, event) in &roles {
            let follows = |other: &Event<'_>| event.ops.iter().all(|op| other.touches(op));
            if !roles.iter().any(|(_, other)| follows(other)) {
                standing.push((*role, event.indexes()));
            }
        }
        let lowest = standing.iter().map(|(role, _)| *role).max()?;
        let grants = standing.into_iter().filter(|(role, _)| *role == lowest).map(|(_, grant)| grant).collect();
        Some((lowest, grants))
    }

    /// A role given to the membership in force, not to an earlier one.
    fn role_since<'e>(&self, event: &'e Event<'a>, live: &[(&'a Entry, Role)]) -> Option<(Role, &'e Event<'a>)> {
        let Kind::Role(role) = event.kind else { return None };
        live.iter().any(|(add, _)| event.touches(add)).then_some((role, event))
    }

    pub(crate) fn removed_for_good(&self) -> bool {
        self.live().is_empty() && self.events.iter().any(|e| e.kind == Kind::Remove)
    }
}
