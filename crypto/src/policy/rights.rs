//! Who may say what. A right is read in the closure of the op's own `prev`.

use std::{cell::Cell, sync::Arc};

use hearth_protocol::{
    id::{DeviceId, NodeId, PersonaId},
    limits::{DEVICES_GONE_MAX, DEVICES_MAX},
    op::{JoinMode, OpBody, Role},
};

use super::{
    Motion, Seniority, SeniorityKey,
    fold::Fold,
    person::{Grant, Person, majority},
    seniority_key,
};
use crate::select::NodePolicy;

/// Why an op has no effect. It stays in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The author is not a member.
    #[error("only members may do this")]
    NotMember,
    /// The author is not a facilitator.
    #[error("only facilitators may do this")]
    NotFacilitator,
    /// Of two facilitators only the senior may remove or demote the other.
    #[error("of two facilitators only the senior may do this")]
    OnlySenior,
    /// Nobody signs under a motion about themselves.
    #[error("facilitators do not decide about themselves")]
    AboutOneself,
    /// The subject is not a member.
    #[error("the subject is not a member")]
    NoSuchMember,
    /// The subject is a member already.
    #[error("the subject is a member already")]
    AlreadyMember,
    /// The subject has that role already, or the op changes nothing.
    #[error("this changes nothing")]
    NothingChanges,
    /// No such invite.
    #[error("there is no such invite")]
    NoSuchInvite,
    /// The invite is used up, revoked, void, or needs a facilitator's word.
    #[error("the invite admits nobody")]
    InviteClosed,
    /// Another joiner took that use.
    #[error("this use of the invite is taken")]
    SlotTaken,
    /// The device was revoked or evicted, or is announced already; or the persona has as many as it may have.
    #[error("this device cannot be taken in")]
    Device,
    /// Facilitators are not evicted: they are demoted first.
    #[error("facilitators are demoted before a device of theirs is evicted")]
    StillFacilitator,
    /// The Recover does not build on the facilitators' last commit.
    #[error("only the roster of the facilitators' last commit names new ones")]
    OtherRoll,
    /// Only who is on that roster names facilitators, or is named.
    #[error("not on the roster of the facilitators' last commit")]
    NotElector,
    /// No facilitator let anybody in by name, or gave anybody a role: nobody but links would decide.
    #[error("no facilitator vouched for anybody here")]
    NobodyVouched,
    /// Its generation does not follow the one in force.
    #[error("another restart came first")]
    Generation,
    /// The op was voided by a removal or demotion that did not know of it, or rests on one that was.
    #[error("voided by a removal or demotion")]
    Voided,
}

/// What an op would do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes effect by itself.
    Effective,
    /// It adds a signature: so many with it, and so many are needed.
    Motion {
        /// Signatures, this one included.
        signatures: usize,
        /// The quorum.
        needed: usize,
    },
}

/// A right, with what it exists through.
#[derive(Clone, Debug)]
pub(crate) struct Right {
    /// Each must hold by at least one of its grants.
    pub(crate) rests_on: Vec<Vec<Grant>>,
    /// For what several decide together: who, and how many of them.
    pub(crate) electors: Option<Arc<Electors>>,
}

/// Who decides something together, as an op's author knew it.
#[derive(Clone, Debug)]
pub(crate) struct Electors {
    pub(crate) who: Vec<PersonaId>,
    pub(crate) needed: usize,
    /// For a Recover, those of them that a link cannot make: more than half of these as well.
    pub(crate) vouched: Vec<PersonaId>,
    /// The facilitators at that place.
    pub(crate) facilitators: Vec<PersonaId>,
}

pub(crate) type Verdict = Result<Right, Refusal>;

/// Seniority, and whether anybody asked for it: verdicts that did not need it hold at every node.
pub(crate) struct Elders<'s> {
    seniority: &'s dyn Seniority,
    asked: Cell<bool>,
}

impl<'s> Elders<'s> {
    pub(crate) fn new(seniority: &'s dyn Seniority) -> Self {
        Self { seniority, asked: Cell::new(false) }
    }

    pub(crate) fn key(&self, persona: &PersonaId) -> SeniorityKey {
        self.asked.set(true);
        seniority_key(self.seniority, persona)
    }

    /// Who decides about a Recover on `base`.
    pub(crate) fn roll(&self, base: &NodeId) -> Option<Arc<NodePolicy>> {
        self.asked.set(true);
        self.seniority.roll(base)
    }

    pub(crate) fn asked(&self) -> &Cell<bool> {
        &self.asked
    }
}

/// Signatures that a motion needs, of facilitators other than the subject; `None` when this author's cannot count.
pub(crate) fn needed(
    elders: &Elders<'_>,
    facilitators: &[PersonaId],
    author: &PersonaId,
    subject: &PersonaId,
) -> Option<usize> {
    if author == subject || !facilitators.contains(author) {
        return None;
    }
    if facilitators.len() == 2 && facilitators.contains(subject) {
        return (elders.key(author) < elders.key(subject)).then_some(1);
    }
    Some(facilitators.len() / 2 + 1)
}

/// Whether `author` may say `body` at the place that `fold` describes.
pub(crate) fn verdict(fold: &Fold<'_>, elders: &Elders<'_>, author: &PersonaId, body: &OpBody) -> Verdict {
    let check = Check { fold, elders, author };
    match body {
        OpBody::Genesis { .. } => Ok(plain(Vec::new())),
        OpBody::Add { subject, .. } => {
            let rests_on = check.facilitator()?;
            if fold.role(subject).is_some() { Err(Refusal::AlreadyMember) } else { Ok(plain(rests_on)) }
        }
        OpBody::Invite { .. } => Ok(plain(check.facilitator()?)),
        OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors } => {
            let rests_on = check.facilitator()?;
            let scalars = history_days.is_some() || slow_mode_s.is_some() || shield.is_some();
            let says = scalars || charter.is_some() || relays.is_some() || successors.is_some();
            if says { Ok(plain(rests_on)) } else { Err(Refusal::NothingChanges) }
        }
        OpBody::InviteRevoke { invite } => {
            let mut rests_on = check.facilitator()?;
            let named = fold.invites.get(invite).ok_or(Refusal::NoSuchInvite)?;
            rests_on.push(vec![Grant::one(named.entry)]);
            Ok(plain(rests_on))
        }
        OpBody::Join { invite, slot, .. } => check.join(invite, *slot),
        OpBody::RejoinRequest { .. } | OpBody::Leave => Ok(plain(check.member()?)),
        OpBody::Remove { subject, .. } => check.about(subject, Motion::Remove),
        OpBody::SetRole { subject, role } => check.about(subject, Motion::SetRole(*role)),
        OpBody::DeviceAdd { device, .. } => check.device_add(device),
        OpBody::DeviceRevoke { last } => {
            let rests_on = check.member()?;
            check.takes_out(author, &last.device)?;
            Ok(plain(rests_on))
        }
        OpBody::Evict { subject, device } => check.evict(subject, device),
        OpBody::Recover { base, facilitators } => check.recover(base, facilitators),
        OpBody::Restart { generation, .. } => check.restart(*generation),
    }
}

fn plain(rests_on: Vec<Vec<Grant>>) -> Right {
    Right { rests_on, electors: None }
}

fn together(rests_on: Vec<Vec<Grant>>, electors: Electors) -> Right {
    Right { rests_on, electors: Some(Arc::new(electors)) }
}

struct Check<'c, 'a> {
    fold: &'c Fold<'a>,
    elders: &'c Elders<'c>,
    author: &'c PersonaId,
}

impl Check<'_, '_> {
    fn member(&self) -> Result<Vec<Vec<Grant>>, Refusal> {
        self.fold.role(self.author).ok_or(Refusal::NotMember)?;
        Ok(vec![self.membership(self.author)])
    }

    fn facilitator(&self) -> Result<Vec<Vec<Grant>>, Refusal> {
        let (role, grants) = self.fold.role(self.author).ok_or(Refusal::NotMember)?;
        if role != Role::Facilitator {
            return Err(Refusal::NotFacilitator);
        }
        Ok(vec![self.membership(self.author), grants])
    }

    fn membership(&self, persona: &PersonaId) -> Vec<Grant> {
        let person = self.fold.people.get(persona);
        person.map_or_else(Vec::new, |p| p.live().iter().map(|(add, _)| Grant::one(add)).collect())
    }

    fn join(&self, invite: &hearth_protocol::id::OpId, slot: u32) -> Verdict {
        if self.fold.role(self.author).is_some() {
            return Err(Refusal::AlreadyMember);
        }
        let named = self.fold.invites.get(invite).ok_or(Refusal::NoSuchInvite)?;
        let OpBody::Invite { mode, uses, .. } = &named.entry.content.body else { return Err(Refusal::NoSuchInvite) };
        if *mode != JoinMode::Open || !named.is_open() || self.fold.shield(self.elders) || slot >= *uses {
            return Err(Refusal::InviteClosed);
        }
        if named.taken.contains_key(&slot) {
            return Err(Refusal::SlotTaken);
        }
        Ok(plain(vec![vec![Grant::one(named.entry)]]))
    }

    /// Remove and SetRole: by one facilitator, or by a quorum when a facilitator is made or unmade.
    fn about(&self, subject: &PersonaId, motion: Motion) -> Verdict {
        let mut rests_on = self.facilitator()?;
        let person = self.fold.people.get(subject).ok_or(Refusal::NoSuchMember)?;
        let role = person.role().map(|(role, _)| role);
        match (motion, role) {
            // Who left may still be removed: that closes what it said where nobody could see it.
            (Motion::Remove, None) if person.removed_for_good() => return Err(Refusal::NoSuchMember),
            (Motion::SetRole(_), None) => return Err(Refusal::NoSuchMember),
            (Motion::SetRole(new), Some(old)) if new == old => return Err(Refusal::NothingChanges),
            _ => {}
        }
        rests_on.push(subject_exists(person));
        let unmakes = role == Some(Role::Facilitator);
        if !unmakes && motion != Motion::SetRole(Role::Facilitator) {
            if subject == self.author {
                return Err(Refusal::AboutOneself);
            }
            return Ok(plain(rests_on));
        }
        if subject == self.author {
            return Err(Refusal::AboutOneself);
        }
        let facilitators = self.fold.facilitators();
        let needed = needed(self.elders, &facilitators, self.author, subject).ok_or(Refusal::OnlySenior)?;
        Ok(together(rests_on, quorum(facilitators, needed)))
    }

    fn device_add(&self, device: &DeviceId) -> Verdict {
        let rests_on = self.member()?;
        let person = self.fold.people.get(self.author).ok_or(Refusal::NotMember)?;
        let further: Vec<_> = person.further_devices().map(|(_, d)| d).collect();
        if person.gone.contains(device) || further.contains(device) || further.len() >= DEVICES_MAX {
            return Err(Refusal::Device);
        }
        Ok(plain(rests_on))
    }

    fn takes_out(&self, subject: &PersonaId, device: &DeviceId) -> Result<(), Refusal> {
        let person = self.fold.people.get(subject).ok_or(Refusal::NoSuchMember)?;
        if person.gone.contains(device) || person.gone.len() >= DEVICES_GONE_MAX {
            return Err(Refusal::NothingChanges);
        }
        Ok(())
    }

    fn evict(&self, subject: &PersonaId, device: &DeviceId) -> Verdict {
        let mut rests_on = self.facilitator()?;
        match self.fold.role(subject).ok_or(Refusal::NoSuchMember)? {
            (Role::Facilitator, _) => return Err(Refusal::StillFacilitator),
            _ => self.takes_out(subject, device)?,
        }
        rests_on.push(self.membership(subject));
        Ok(plain(rests_on))
    }

    /// Only the roster of the facilitators' last commit decides, and only about itself; and most of those whom a
    /// facilitator vouched for, of whom a link makes none, must be among them.
    fn recover(&self, base: &NodeId, named: &[PersonaId]) -> Verdict {
        let mut rests_on = self.member()?;
        let roll = self.elders.roll(base).ok_or(Refusal::OtherRoll)?;
        if !roll.members.contains(self.author) || !named.iter().all(|n| roll.members.contains(n)) {
            return Err(Refusal::NotElector);
        }
        if roll.vouched.is_empty() {
            return Err(Refusal::NobodyVouched);
        }
        for name in named {
            self.fold.role(name).ok_or(Refusal::NoSuchMember)?;
            rests_on.push(self.membership(name));
        }
        let facilitators = self.fold.facilitators();
        if facilitators == named {
            return Err(Refusal::NothingChanges);
        }
        let (who, vouched) = (roll.members.iter().copied().collect(), roll.vouched.iter().copied().collect());
        Ok(together(rests_on, Electors { who, needed: majority(roll.members.len()), vouched, facilitators }))
    }

    /// One generation after the other, by the facilitators' quorum.
    fn restart(&self, generation: u32) -> Verdict {
        let mut rests_on = self.facilitator()?;
        let now = self.fold.generation();
        if Some(generation) != now.checked_add(1) {
            return Err(Refusal::Generation);
        }
        if now > 0 {
            rests_on.push(self.fold.restarts().filter(|(g, _)| *g == now).map(|(_, d)| d.event.grant()).collect());
        }
        let facilitators = self.fold.facilitators();
        let needed = facilitators.len() / 2 + 1;
        Ok(together(rests_on, quorum(facilitators, needed)))
    }
}

fn quorum(facilitators: Vec<PersonaId>, needed: usize) -> Electors {
    Electors { who: facilitators.clone(), needed, vouched: Vec::new(), facilitators }
}

fn subject_exists(person: &Person<'_>) -> Vec<Grant> {
    person.adds.iter().map(|(add, _)| Grant::one(add)).collect()
}
