//! What a closure says about one persona: how it came in, what was decided about it, what is still being decided.

use std::{collections::BTreeSet, sync::Arc};

use hearth_protocol::{
    id::{DeviceId, PersonaId},
    op::{OpBody, Role},
};

use super::{Motion, log::Entry, rights::Electors};

/// Something decided about a persona, by one op or by a quorum of equal ones.
#[derive(Clone, Debug)]
pub(crate) struct Event<'a> {
    pub(crate) kind: Kind,
    /// The deciding ops; more than `needed` when facilitators signed without knowing of each other.
    pub(crate) ops: Vec<&'a Entry>,
    /// How many of them decide.
    pub(crate) needed: usize,
    /// More than half of these must be among the authors, if there are any: see [`Electors::vouched`].
    pub(crate) vouched: Vec<PersonaId>,
    /// Whether it takes a facilitator's role away without taking the persona out.
    pub(crate) demotes: bool,
    /// Whether it was put to a quorum of facilitators.
    pub(crate) motion: bool,
    /// Whether it is part of a Recover.
    pub(crate) recovers: bool,
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
        self.grant().holds(|op| entry.past.contains(op))
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

    pub(crate) fn grant(&self) -> Grant {
        let vouched = self.ops.iter().filter(|op| self.vouched.contains(&op.author()));
        Grant {
            ops: self.ops.iter().map(|op| op.index).collect(),
            needed: self.needed,
            vouched: vouched.map(|op| op.index).collect(),
            vouched_needed: majority(self.vouched.len()),
        }
    }
}

/// A signature under a motion that has no quorum yet.
#[derive(Clone, Debug)]
pub(crate) struct Signature<'a> {
    pub(crate) op: &'a Entry,
    pub(crate) motion: Motion,
    /// The facilitators that its author knew.
    pub(crate) electors: Arc<Electors>,
}

/// Ops through which something exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) ops: Vec<usize>,
    needed: usize,
    vouched: Vec<usize>,
    vouched_needed: usize,
}

impl Grant {
    pub(crate) fn one(entry: &Entry) -> Self {
        Self { ops: vec![entry.index], needed: 1, vouched: Vec::new(), vouched_needed: 0 }
    }

    /// Whether it exists through those of its ops that stand.
    pub(crate) fn holds(&self, stands: impl Fn(usize) -> bool) -> bool {
        let enough = |ops: &[usize], needed| ops.iter().filter(|op| stands(**op)).count() >= needed;
        enough(&self.ops, self.needed) && enough(&self.vouched, self.vouched_needed)
    }
}

/// More than half; none of nobody.
pub(crate) fn majority(of: usize) -> usize {
    if of == 0 { 0 } else { of / 2 + 1 }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Person<'a> {
    /// Genesis, Adds and Joins, with the role each gives.
    pub(crate) adds: Vec<(&'a Entry, Role)>,
    pub(crate) events: Vec<Event<'a>>,
    pub(crate) pending: Vec<Signature<'a>>,
    /// DeviceAdds.
    pub(crate) devices: Vec<(&'a Entry, DeviceId)>,
    /// Devices that were revoked or evicted: they never come back, whoever is a member.
    pub(crate) gone: BTreeSet<DeviceId>,
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
        for (role, event) in self.roles_in_force() {
            standing.push((role, event.grant()));
        }
        let lowest = standing.iter().map(|(role, _)| *role).max()?;
        let grants = standing.into_iter().filter(|(role, _)| *role == lowest).map(|(_, grant)| grant).collect();
        Some((lowest, grants))
    }

    /// Roles given to the membership in force that no later one follows.
    pub(crate) fn roles_in_force(&self) -> Vec<(Role, &Event<'a>)> {
        let live = self.live();
        let roles: Vec<_> = self.events.iter().filter_map(|e| self.role_since(e, &live)).collect();
        let followed = |event: &Event<'_>| roles.iter().any(|(_, other)| event.ops.iter().all(|op| other.touches(op)));
        roles.iter().filter(|(_, event)| !followed(event)).copied().collect()
    }

    /// A role given to the membership in force, not to an earlier one.
    fn role_since<'e>(&self, event: &'e Event<'a>, live: &[(&'a Entry, Role)]) -> Option<(Role, &'e Event<'a>)> {
        let Kind::Role(role) = event.kind else { return None };
        live.iter().any(|(add, _)| event.touches(add)).then_some((role, event))
    }

    /// Further devices of the membership in force, with the ops that bring them.
    pub(crate) fn further_devices(&self) -> impl Iterator<Item = (&'a Entry, DeviceId)> {
        let live = self.live();
        let since = move |by: &Entry| live.iter().any(|(add, _)| by.sees(add));
        self.devices.iter().copied().filter(move |(by, device)| since(by) && !self.gone.contains(device))
    }

    /// Whether a facilitator let it in by name, or gave it the role that it has: what no link can do.
    pub(crate) fn is_vouched_for(&self) -> bool {
        let by_name = self.live().iter().any(|(add, _)| matches!(add.content.body, OpBody::Add { .. }));
        let given = self.roles_in_force().iter().any(|(role, event)| *role <= Role::Member && !event.demotes);
        by_name || given
    }

    /// Whether its membership, if it had any, was ended by others.
    pub(crate) fn removed_for_good(&self) -> bool {
        let removed = |add: &Entry| self.events.iter().any(|e| e.kind == Kind::Remove && !e.before(add));
        self.adds.iter().all(|(add, _)| removed(add))
    }
}
