//! What a closure of ops says, as plain data.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::{
    id::{DeviceId, NodeId, OpId, PersonaId, hash},
    op::{Attachment, JoinMode, OpBody, Role, Template},
    time::Second,
};

use super::{
    COMMITTERS_MAX, Motion, PolicyLog, Seniority, SeniorityKey,
    ballot::{Ballot, Decided},
    fold::{Fold, Invited},
    log::Entry,
    person::{Event, Kind, Person, majority},
    resolve::Resolver,
    rights::{Elders, Refusal, Standing, verdict},
    seniority_key,
};
use crate::select::{self, NodePolicy, Revoked};

const ROSTER_LABEL: &[u8] = b"hearth roster/1";

/// Settings in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Name of the group.
    pub name: String,
    /// Charter, as text.
    pub charter: Attachment,
    /// Template.
    pub template: Option<Template>,
    /// How people come in.
    pub join: JoinMode,
    /// History window in days.
    pub history_days: u16,
    /// MLS ciphersuite code point.
    pub suite: u16,
    /// Relays.
    pub relays: Vec<String>,
    /// Seconds between two posts of one member.
    pub slow_mode_s: u32,
    /// Newcomers read only, invites void.
    pub shield: bool,
    /// Names offered first for promotion or Recover.
    pub successors: Vec<PersonaId>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: String::new(),
            charter: String::new().into(),
            template: None,
            join: JoinMode::Open,
            history_days: 0,
            suite: 0,
            relays: Vec::new(),
            slow_mode_s: 0,
            shield: false,
            successors: Vec::new(),
        }
    }
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name it came with.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Whether a facilitator let it in by name, or gave it that role: what no link can do.
    pub vouched: bool,
    /// The op that brought it: Genesis, Add or Join.
    pub added_by: OpId,
    /// Every op that brings it, sorted: more than one after concurrent Adds.
    pub adds: Vec<OpId>,
    /// Its first device, where the op names it (an Add names it in its KeyPackage).
    pub device: Option<DeviceId>,
    /// The invite it came by.
    pub invite: Option<OpId>,
    /// Further devices, each with the DeviceAdd that brings it.
    pub devices: BTreeMap<DeviceId, OpId>,
    /// Its place among the members.
    pub seniority: SeniorityKey,
}

/// Whether an invite still admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InviteStatus {
    /// Uses are left. Expiry and Shield are asked separately.
    Open,
    /// Every use is taken.
    Exhausted,
    /// Revoked, or voided by a removal or demotion.
    Revoked,
}

/// An invite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invite {
    /// The facilitator who made it.
    pub author: PersonaId,
    /// Ed25519 key that signs Joins.
    pub join_pk: [u8; 32],
    /// X25519 key that opens the door.
    pub door_pk: [u8; 32],
    /// Slots 0 to `uses - 1`.
    pub uses: u32,
    /// Taken slots, by whom.
    pub taken: BTreeMap<u32, PersonaId>,
    /// The role it confers, before a template lowers it.
    pub role: Role,
    /// No Join in this second or after it.
    pub expires: Second,
    /// How it admits.
    pub mode: JoinMode,
    /// Whether it still admits.
    pub status: InviteStatus,
}

impl Invite {
    /// The least free slot.
    #[must_use]
    pub fn free_slot(&self) -> Option<u32> {
        (0..self.uses).find(|slot| !self.taken.contains_key(slot))
    }
}

/// What a revocation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RevocationKind {
    /// Membership.
    Remove,
    /// Membership, by the member itself.
    Leave,
    /// The facilitator's role.
    Demote,
}

/// A removal, departure or demotion in effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revocation {
    /// Whom it concerns.
    pub subject: PersonaId,
    /// What it takes.
    pub kind: RevocationKind,
    /// Every op that signed it.
    pub ops: BTreeSet<OpId>,
    /// Where its signers stood.
    pub at_nodes: BTreeSet<NodeId>,
}

impl From<&Revocation> for select::Revocation {
    fn from(revocation: &Revocation) -> Self {
        let kind = match revocation.kind {
            RevocationKind::Remove => Revoked::Membership,
            RevocationKind::Leave => Revoked::Left,
            RevocationKind::Demote => Revoked::Role,
        };
        let Revocation { subject, ops, at_nodes, .. } = revocation.clone();
        Self { ops, subject, kind, at_nodes }
    }
}

/// A Restart in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// Generation of the fresh MLS group.
    pub generation: u32,
    /// Its ciphersuite.
    pub suite: u16,
    /// The node that its first node follows.
    pub at_node: NodeId,
    /// The ops that signed it.
    pub ops: BTreeSet<OpId>,
}

/// How far a motion is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MotionStatus {
    /// Facilitators who signed.
    pub signatures: usize,
    /// Signatures needed.
    pub needed: usize,
}

/// What a closure of ops says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyState {
    /// The heads, none resting on another, sorted.
    pub heads: Vec<OpId>,
    /// Settings in force.
    pub settings: Settings,
    /// Who belongs to the group.
    pub members: BTreeMap<PersonaId, Member>,
    /// Every invite that stands in the log.
    pub invites: BTreeMap<OpId, Invite>,
    /// Removals, departures and demotions in effect, sorted.
    pub revocations: Vec<Revocation>,
    /// RejoinRequests of members, in log order.
    pub rejoins: Vec<OpId>,
    /// Ops without effect, and why.
    pub without_effect: BTreeMap<OpId, Refusal>,
    /// Motions that have no quorum yet.
    pub motions: BTreeMap<(PersonaId, Motion), BTreeSet<PersonaId>>,
    /// Devices that were revoked or evicted: no leaf of that persona has such a key again.
    pub gone: BTreeSet<(PersonaId, DeviceId)>,
    /// The Restart that stands of each generation, the oldest first: the last one is in force.
    pub restarts: Vec<Restart>,
    /// Whom each Recover in effect names, by the node that it is about.
    pub recovers: BTreeMap<NodeId, Vec<PersonaId>>,
    /// Recovers and Restarts that are not decided, with those who signed.
    pub ballots: BTreeMap<Ballot, BTreeSet<PersonaId>>,
}

impl PolicyLog {
    /// What the closure of `heads` says, as read at the node that `seniority` describes. Heads that are not here are
    /// left out: ask [`Self::contains`] first where that matters.
    #[must_use]
    pub fn state_at(&self, heads: &[OpId], seniority: &dyn Seniority) -> PolicyState {
        let set = self.closure_bits(heads);
        let mut resolver = Resolver::new(self, seniority);
        let fold = resolver.settle(&set);
        let mut without_effect = BTreeMap::new();
        for entry in self.ordered().filter(|e| set.contains(e.index)) {
            match resolver.verdict(entry) {
                Some(Err(refusal)) => without_effect.insert(entry.id, *refusal),
                _ if fold.void.contains(entry.index) => without_effect.insert(entry.id, Refusal::Voided),
                _ => None,
            };
        }
        let mut state = PolicyState { heads: self.reduce(heads), without_effect, ..read(&fold, &resolver.elders) };
        for (persona, member) in &mut state.members {
            member.seniority = seniority_key(seniority, persona);
        }
        state
    }

    /// What `author` would achieve by saying `body` on `heads`: to be asked before writing an op.
    ///
    /// # Errors
    /// [`Refusal`]: the op would have no effect.
    pub fn check(
        &self,
        heads: &[OpId],
        author: &PersonaId,
        body: &OpBody,
        seniority: &dyn Seniority,
    ) -> Result<Standing, Refusal> {
        let mut resolver = Resolver::new(self, seniority);
        let fold = resolver.settle(&self.closure_bits(heads));
        let right = verdict(&fold, &resolver.elders, author, body)?;
        let Some(electors) = right.electors else { return Ok(Standing::Effective) };
        let state = self.state_at(heads, seniority);
        let (mut signers, mut needed) = match body {
            OpBody::Remove { subject, .. } => state.progress(subject, Motion::Remove),
            OpBody::SetRole { subject, role } => state.progress(subject, Motion::SetRole(*role)),
            _ => {
                let signed = Ballot::of(body).and_then(|ballot| state.ballots.get(&ballot).cloned());
                let counts = signed.unwrap_or_default().into_iter().filter(|s| electors.who.contains(s));
                (counts.collect(), electors.needed)
            }
        };
        signers.insert(*author);
        let vouched = electors.vouched.iter().filter(|v| signers.contains(v)).count();
        needed = needed.max(signers.len() + majority(electors.vouched.len()).saturating_sub(vouched));
        Ok(if signers.len() >= needed {
            Standing::Effective
        } else {
            Standing::Motion { signatures: signers.len(), needed }
        })
    }
}

impl PolicyState {
    /// A member's role.
    #[must_use]
    pub fn role_of(&self, persona: &PersonaId) -> Option<Role> {
        self.members.get(persona).map(|m| m.role)
    }

    /// Facilitators, the most senior first.
    #[must_use]
    pub fn facilitators(&self) -> Vec<PersonaId> {
        let mut keys: Vec<_> =
            self.members.values().filter(|m| m.role == Role::Facilitator).map(|m| m.seniority).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(.., persona)| persona).collect()
    }

    /// The first eight facilitators by seniority.
    #[must_use]
    pub fn committers(&self) -> Vec<PersonaId> {
        let mut committers = self.facilitators();
        committers.truncate(COMMITTERS_MAX);
        committers
    }

    /// Place among the facilitators by seniority; everybody else has the number of facilitators.
    #[must_use]
    pub fn rank(&self, persona: &PersonaId) -> u32 {
        let facilitators = self.facilitators();
        let place = facilitators.iter().position(|f| f == persona).unwrap_or(facilitators.len());
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    /// Every op of the revocations in effect: what `select` takes as `NodeInfo::realises`.
    #[must_use]
    pub fn realises(&self) -> BTreeSet<OpId> {
        self.revocations.iter().flat_map(|r| r.ops.iter().copied()).collect()
    }

    /// Who decides at a node with this state, as `select` takes it.
    #[must_use]
    pub fn node_policy(&self) -> NodePolicy {
        let members = self.members.keys().copied().collect();
        let vouched = self.members.iter().filter(|(_, m)| m.vouched && m.role != Role::Facilitator);
        let vouched = vouched.map(|(persona, _)| *persona).collect();
        NodePolicy { facilitators: self.facilitators().into_iter().collect(), members, vouched }
    }

    /// Whom a Recover names that was not in effect before: they decide about what realises it.
    #[must_use]
    pub fn recovered_since(&self, before: &BTreeMap<NodeId, Vec<PersonaId>>) -> Option<NodePolicy> {
        let (_, named) = self.recovers.iter().find(|(base, named)| before.get(base) != Some(named))?;
        let members = self.members.keys().copied().collect();
        Some(NodePolicy { facilitators: named.iter().copied().collect(), members, vouched: BTreeSet::new() })
    }

    /// ⌊f/2⌋+1.
    #[must_use]
    pub fn quorum(&self) -> usize {
        self.members.values().filter(|m| m.role == Role::Facilitator).count() / 2 + 1
    }

    /// How far a motion about `subject` is.
    #[must_use]
    pub fn motion_status(&self, subject: &PersonaId, motion: Motion) -> MotionStatus {
        let facilitators = self.facilitators();
        let pair = facilitators.len() == 2 && facilitators.contains(subject);
        let needed = if pair { 1 } else { facilitators.len() / 2 + 1 };
        MotionStatus { signatures: self.signers(subject, motion).len(), needed }
    }

    fn progress(&self, subject: &PersonaId, motion: Motion) -> (BTreeSet<PersonaId>, usize) {
        (self.signers(subject, motion), self.motion_status(subject, motion).needed)
    }

    fn signers(&self, subject: &PersonaId, motion: Motion) -> BTreeSet<PersonaId> {
        let signers = self.motions.get(&(*subject, motion)).into_iter().flatten();
        signers.filter(|s| self.role_of(s) == Some(Role::Facilitator) && *s != subject).copied().collect()
    }

    /// Invites that admit at `now`: none under the Shield.
    pub fn open_invites(&self, now: Second) -> impl Iterator<Item = (&OpId, &Invite)> {
        let open = move |i: &Invite| i.status == InviteStatus::Open && now < i.expires && !self.settings.shield;
        self.invites.iter().filter(move |(_, i)| open(i))
    }

    /// Whether a Join may be realised on a node with this state: everything but the wall clock.
    #[must_use]
    pub fn admits(&self, joiner: &PersonaId, invite: &OpId, slot: u32) -> bool {
        let open = |i: &Invite| {
            i.status == InviteStatus::Open && i.mode == JoinMode::Open && slot < i.uses && !i.taken.contains_key(&slot)
        };
        !self.settings.shield && self.role_of(joiner).is_none() && self.invites.get(invite).is_some_and(open)
    }

    /// As [`Self::admits`], and not expired: what a committer, or a joiner before it tries, asks.
    #[must_use]
    pub fn join_allowed(&self, joiner: &PersonaId, seat: (&OpId, u32), now: Second) -> bool {
        let (invite, slot) = seat;
        self.admits(joiner, invite, slot) && self.invites.get(invite).is_some_and(|i| now < i.expires)
    }

    /// Hash of the roster and of the seniority that it was read by: who begins at a later node than the first
    /// is told who came first, and can check it.
    #[must_use]
    pub fn roster_root(&self, seniority: &dyn Seniority) -> [u8; 32] {
        let known = seniority.all();
        let mut bytes = Vec::with_capacity(4 + self.members.len() * 33 + known.len() * 44);
        bytes.extend(u32::try_from(self.members.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (persona, member) in &self.members {
            bytes.extend_from_slice(&persona.0);
            bytes.push(member.role as u8);
        }
        for (persona, (depth, leaf)) in known {
            bytes.extend_from_slice(&persona.0);
            bytes.extend(depth.to_be_bytes());
            bytes.extend(leaf.to_be_bytes());
        }
        hash(&[ROSTER_LABEL, &bytes])
    }
}

fn read(fold: &Fold<'_>, elders: &Elders<'_>) -> PolicyState {
    let mut state = PolicyState { settings: settings(fold, elders), ..PolicyState::default() };
    for (persona, person) in &fold.people {
        if let Some(member) = member(persona, person) {
            state.members.insert(*persona, member);
        }
        state.revocations.extend(person.events.iter().filter_map(|e| revocation(persona, e)));
        for signature in &person.pending {
            let signers = state.motions.entry((*persona, signature.motion)).or_default();
            signers.insert(signature.op.author());
        }
        state.gone.extend(person.gone.iter().map(|device| (*persona, *device)));
    }
    for vote in &fold.votes {
        state.ballots.entry(vote.ballot.clone()).or_default().insert(vote.op.author());
    }
    state.recovers = fold.recovers().map(|(base, named)| (base, named.to_vec())).collect();
    state.restarts = fold.standing_restarts(elders).into_iter().filter_map(restart).collect();
    state.revocations.sort();
    state.invites = fold.invites.iter().filter_map(|(id, i)| Some((*id, invite(i)?))).collect();
    let members = &state.members;
    state.rejoins = fold.rejoins.iter().filter(|e| members.contains_key(&e.author())).map(|e| e.id).collect();
    state
}

fn member(persona: &PersonaId, person: &Person<'_>) -> Option<Member> {
    let (role, _) = person.role()?;
    let live = person.live();
    let (add, _) = live.iter().min_by_key(|(add, _)| add.order())?;
    let mut adds: Vec<_> = live.iter().map(|(add, _)| add.id).collect();
    adds.sort_unstable();
    let (name, device, invite) = match &add.content.body {
        OpBody::Genesis { founder, .. } => (founder, Some(add.content.device), None),
        OpBody::Add { name, .. } => (name, None, None),
        OpBody::Join { name, invite, .. } => (name, Some(add.content.device), Some(*invite)),
        _ => return None,
    };
    let seniority = (true, u64::MAX, u32::MAX, *persona);
    let devices = person.further_devices().map(|(by, device)| (device, by.id)).collect();
    let (name, vouched) = (name.clone(), person.is_vouched_for());
    Some(Member { name, role, vouched, added_by: add.id, adds, device, invite, devices, seniority })
}

fn restart(decided: &Decided<'_>) -> Option<Restart> {
    let Ballot::Restart { generation, suite, at_node } = decided.ballot else { return None };
    Some(Restart { generation, suite, at_node, ops: decided.event.ops.iter().map(|op| op.id).collect() })
}

fn revocation(subject: &PersonaId, event: &Event<'_>) -> Option<Revocation> {
    let kind = match event.kind {
        Kind::Remove => RevocationKind::Remove,
        Kind::Leave => RevocationKind::Leave,
        Kind::Role(_) if event.demotes => RevocationKind::Demote,
        Kind::Role(_) => return None,
    };
    let ops = event.ops.iter().map(|e| e.id).collect();
    let at_nodes = event.ops.iter().map(|e| e.content.at_node).collect();
    Some(Revocation { subject: *subject, kind, ops, at_nodes })
}

fn invite(invited: &Invited<'_>) -> Option<Invite> {
    let OpBody::Invite { join_pk, door_pk, uses, role, expires, mode } = &invited.entry.content.body else {
        return None;
    };
    let status = if invited.exhausted() {
        InviteStatus::Exhausted
    } else if invited.closed {
        InviteStatus::Revoked
    } else {
        InviteStatus::Open
    };
    Some(Invite {
        author: invited.entry.author(),
        join_pk: *join_pk,
        door_pk: *door_pk,
        uses: *uses,
        taken: invited.taken.clone(),
        role: *role,
        expires: *expires,
        mode: *mode,
        status,
    })
}

fn settings(fold: &Fold<'_>, elders: &Elders<'_>) -> Settings {
    let mut settings = Settings::default();
    if let Some(OpBody::Genesis { name, charter, template, join, history_days, suite, relays, .. }) =
        fold.genesis.map(|g: &Entry| &g.content.body)
    {
        settings.name.clone_from(name);
        settings.charter.clone_from(charter);
        settings.template = *template;
        settings.join = *join;
        settings.history_days = *history_days;
        settings.suite = *suite;
        settings.relays.clone_from(relays);
    }
    for field in 0..super::fold::FIELDS {
        let Some(OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors }) =
            fold.write(field, elders).map(|e| &e.content.body)
        else {
            continue;
        };
        match field {
            0 => charter.iter().for_each(|v| settings.charter.clone_from(v)),
            1 => history_days.iter().for_each(|v| settings.history_days = *v),
            2 => slow_mode_s.iter().for_each(|v| settings.slow_mode_s = *v),
            super::fold::SHIELD => shield.iter().for_each(|v| settings.shield = *v),
            4 => relays.iter().for_each(|v| settings.relays.clone_from(v)),
            _ => successors.iter().for_each(|v| settings.successors.clone_from(v)),
        }
    }
    settings
}
