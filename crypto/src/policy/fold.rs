//! Reading a closure, causes first: ops that hold their right and are not void leave their mark here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_protocol::{
    id::{OpId, PersonaId},
    op::{OpBody, Role},
};

use super::{
    Motion,
    ballot::{Ballot, Decided, Vote},
    bits::Bits,
    log::Entry,
    person::{Event, Grant, Kind, Person, Signature},
    rights::{Elders, Right, needed},
};

/// Fields of SetPolicy; each is settled by itself.
pub(crate) const FIELDS: usize = 6;
pub(crate) const SHIELD: usize = 3;

#[derive(Clone, Debug)]
pub(crate) struct Invited<'a> {
    pub(crate) entry: &'a Entry,
    /// Revoked, or voided by a removal or demotion.
    pub(crate) closed: bool,
    pub(crate) taken: BTreeMap<u32, PersonaId>,
}

impl Invited<'_> {
    pub(crate) fn exhausted(&self) -> bool {
        let OpBody::Invite { uses, .. } = &self.entry.content.body else { return true };
        u32::try_from(self.taken.len()).unwrap_or(u32::MAX) >= *uses
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.closed && !self.exhausted()
    }
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Fold<'a> {
    /// What was read.
    pub(crate) set: Bits,
    /// What was passed over as void.
    pub(crate) void: Bits,
    /// Whether seniority had a say.
    pub(crate) asked: bool,
    pub(crate) genesis: Option<&'a Entry>,
    pub(crate) people: BTreeMap<PersonaId, Person<'a>>,
    pub(crate) invites: BTreeMap<OpId, Invited<'a>>,
    pub(crate) rejoins: Vec<&'a Entry>,
    /// Votes under Recovers and Restarts that are not decided.
    pub(crate) votes: Vec<Vote<'a>>,
    /// Recovers and Restarts that are.
    pub(crate) decided: Vec<Decided<'a>>,
    /// Joins whose use an earlier one took.
    pub(crate) late: Vec<usize>,
    /// Per field the last writes that do not know of each other.
    writes: [Vec<&'a Entry>; FIELDS],
}

impl<'a> Fold<'a> {
    pub(crate) fn passing_over(void: Bits) -> Self {
        Self { void, ..Self::default() }
    }

    pub(crate) fn role(&self, persona: &PersonaId) -> Option<(Role, Vec<Grant>)> {
        self.people.get(persona)?.role()
    }

    pub(crate) fn facilitators(&self) -> Vec<PersonaId> {
        let is = |p: &Person<'_>| p.role().is_some_and(|(role, _)| role == Role::Facilitator);
        self.people.iter().filter(|(_, p)| is(p)).map(|(id, _)| *id).collect()
    }

    /// The write in force: the senior author's, then the least id.
    pub(crate) fn write(&self, field: usize, elders: &Elders<'_>) -> Option<&'a Entry> {
        match self.writes.get(field)?.as_slice() {
            [] => None,
            [one] => Some(one),
            many => many.iter().min_by_key(|e| (elders.key(&e.author()), e.id)).copied(),
        }
    }

    pub(crate) fn shield(&self, elders: &Elders<'_>) -> bool {
        let body = self.write(SHIELD, elders).map(|e| &e.content.body);
        matches!(body, Some(OpBody::SetPolicy { shield: Some(true), .. }))
    }

    /// Reads the next op; everything it rests on has been read. `right` is `None` for an op without one.
    pub(crate) fn read(&mut self, entry: &'a Entry, right: Option<&Right>, elders: &Elders<'_>) {
        self.set.insert(entry.index);
        let Some(right) = right.filter(|_| !self.void.contains(entry.index)) else { return };
        match &entry.content.body {
            OpBody::Genesis { .. } => {
                self.genesis = Some(entry);
                self.person(entry.author()).adds.push((entry, Role::Facilitator));
            }
            OpBody::Add { subject, role, .. } => {
                let role = self.first_role(*role);
                self.person(*subject).adds.push((entry, role));
            }
            OpBody::Invite { .. } => {
                self.invites.insert(entry.id, Invited { entry, closed: false, taken: BTreeMap::new() });
            }
            OpBody::InviteRevoke { invite } => {
                if let Some(named) = self.invites.get_mut(invite) {
                    named.closed = true;
                }
            }
            OpBody::Join { invite, slot, .. } => self.read_join(entry, invite, *slot),
            OpBody::RejoinRequest { .. } => self.rejoins.push(entry),
            OpBody::Leave => self.decide(entry.author(), single(Kind::Leave, entry)),
            OpBody::Remove { subject, .. } => self.read_about(entry, *subject, Motion::Remove, (right, elders)),
            OpBody::SetRole { subject, role } => {
                self.read_about(entry, *subject, Motion::SetRole(*role), (right, elders));
            }
            OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors } => {
                let said = [
                    charter.is_some(),
                    history_days.is_some(),
                    slow_mode_s.is_some(),
                    shield.is_some(),
                    relays.is_some(),
                    successors.is_some(),
                ];
                for (writes, _) in self.writes.iter_mut().zip(said).filter(|(_, said)| *said) {
                    writes.retain(|earlier| !entry.sees(earlier));
                    writes.push(entry);
                }
            }
            OpBody::DeviceAdd { device, .. } => self.person(entry.author()).devices.push((entry, *device)),
            OpBody::DeviceRevoke { last } => {
                self.person(entry.author()).gone.insert(last.device);
            }
            OpBody::Evict { subject, device } => {
                self.person(*subject).gone.insert(*device);
            }
            body @ (OpBody::Recover { .. } | OpBody::Restart { .. }) => {
                if let Some(ballot) = Ballot::of(body) {
                    self.read_ballot(entry, ballot, (right, elders));
                }
            }
        }
    }

    fn person(&mut self, persona: PersonaId) -> &mut Person<'a> {
        self.people.entry(persona).or_default()
    }

    /// Groups made from a template receive members as newcomers.
    fn first_role(&self, role: Role) -> Role {
        let body = self.genesis.map(|g| &g.content.body);
        let template = matches!(body, Some(OpBody::Genesis { template: Some(_), .. }));
        if template && role == Role::Member { Role::Newcomer } else { role }
    }

    fn read_join(&mut self, entry: &'a Entry, invite: &OpId, slot: u32) {
        let Some(named) = self.invites.get_mut(invite) else { return };
        if named.taken.contains_key(&slot) {
            self.late.push(entry.index);
            return;
        }
        named.taken.insert(slot, entry.author());
        let OpBody::Invite { role, .. } = &named.entry.content.body else { return };
        let role = self.first_role(*role);
        self.person(entry.author()).adds.push((entry, role));
    }

    fn read_about(&mut self, entry: &'a Entry, subject: PersonaId, motion: Motion, by: (&Right, &Elders<'_>)) {
        let (right, elders) = by;
        // An author's last word about somebody replaces its earlier ones.
        self.person(subject).pending.retain(|s| s.op.author() != entry.author() || !entry.sees(s.op));
        let Some(electors) = &right.electors else {
            return self.decide(subject, single(motion.into(), entry));
        };
        let decided = self
            .person(subject)
            .events
            .iter_mut()
            .find(|e| e.motion && e.kind == Kind::from(motion) && !e.before(entry));
        if let Some(event) = decided {
            event.ops.push(entry);
            let event = event.clone();
            return self.close_invites(subject, &event);
        }
        let pending = &mut self.person(subject).pending;
        pending.push(Signature { op: entry, motion, electors: Arc::clone(electors) });
        let Some(event) = carried(pending, &subject, motion, elders) else { return };
        pending.retain(|s| !event.ops.iter().any(|op| op.index == s.op.index) && !event.touches(s.op));
        self.decide(subject, event);
    }

    pub(crate) fn decide(&mut self, subject: PersonaId, event: Event<'a>) {
        self.close_invites(subject, &event);
        self.person(subject).events.push(event);
    }

    /// A removal voids every invite in its past; removing or demoting a facilitator voids all of its own.
    pub(crate) fn close_invites(&mut self, subject: PersonaId, event: &Event<'_>) {
        let removes = event.kind == Kind::Remove;
        for invite in self.invites.values_mut() {
            let own = invite.entry.author() == subject && !event.before(invite.entry);
            if removes && (own || event.touches(invite.entry)) || event.demotes && own {
                invite.closed = true;
            }
        }
    }
}

fn single(kind: Kind, entry: &Entry) -> Event<'_> {
    let vouched = Vec::new();
    Event { kind, ops: vec![entry], needed: 1, vouched, demotes: false, motion: false, recovers: false }
}

/// The decision, once equal motions of distinct facilitators make a quorum as the last signers knew it.
fn carried<'a>(
    pending: &[Signature<'a>],
    subject: &PersonaId,
    motion: Motion,
    elders: &Elders<'_>,
) -> Option<Event<'a>> {
    let group: Vec<_> = pending.iter().filter(|s| s.motion == motion).collect();
    let last: Vec<_> = group.iter().filter(|s| !group.iter().any(|other| other.op.sees(s.op))).collect();
    let mut quorum = 0;
    for signature in &last {
        quorum = quorum.max(needed(elders, &signature.electors.facilitators, &signature.op.author(), subject)?);
    }
    let counts = |s: &Signature<'_>| last.iter().all(|l| l.electors.facilitators.contains(&s.op.author()));
    let counted: Vec<_> = group.iter().filter(|s| counts(s)).collect();
    let signers: BTreeSet<_> = counted.iter().map(|s| s.op.author()).collect();
    let demotes = motion != Motion::Remove && last.iter().any(|s| s.electors.facilitators.contains(subject));
    let ops = counted.iter().map(|s| s.op).collect();
    let (kind, vouched) = (motion.into(), Vec::new());
    let event = Event { kind, ops, needed: quorum, vouched, demotes, motion: true, recovers: false };
    (quorum > 0 && signers.len() >= quorum).then_some(event)
}
