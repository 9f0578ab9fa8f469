//! Compaction: what lies below a settled node is replaced by the few ops through which its state still speaks.
//!
//! A [`Checkpoint`] holds those ops (Genesis, how each member came in, roles in force, settings in force, Invites, motions
//! and ballots that are open), which of them knew of which, and three things that no kept op says: slots taken, invites
//! closed, devices gone. A log resumed from it reads every closure that covers the checkpoint's heads exactly as the
//! whole log does.
//!
//! The condition is the caller's to keep: an op that does not know all of the heads is *late* ([`OpError::Late`]), and
//! has no effect any more. So compact only below what every commit still to be judged must know of
//! ([`super::judge::Parent::settled`]): then nobody, compacted or not, realises a late op, and everybody agrees. Who
//! finds an own op late says it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use hearth_protocol::{
    cbor,
    id::{DeviceId, GroupId, OpId, PersonaId, hash},
    limits::OP_PREV_MAX,
    op::{OP_LABEL, OpBody, SignedOp},
};
use minicbor::{Decode, Encode};

use super::{
    OpError, PolicyLog, Refusal, Seniority,
    bits::Bits,
    fold::Fold,
    log::Entry,
    person::{Event, Kind, Person},
    resolve::Resolver,
    rights::{Electors, Right},
};
use crate::persona::verify;

const CHECKPOINT_LABEL: &[u8] = b"hearth checkpoint/1";

/// The state of a closure, as the ops through which it still speaks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Checkpoint {
    /// The heads whose closure it stands for, sorted, at most [`OP_PREV_MAX`]: an op can name them all.
    #[n(0)]
    pub heads: Vec<OpId>,
    /// Ops that are kept, causes first.
    #[n(1)]
    pub ops: Vec<Kept>,
    /// Every Invite among them.
    #[n(2)]
    pub invites: Vec<KeptInvite>,
    /// Devices that were revoked or evicted, sorted.
    #[n(3)]
    pub gone: Vec<GoneDevice>,
}

/// An op that is kept.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Kept {
    /// The op as it was signed.
    #[n(0)]
    pub op: SignedOp,
    /// Places of the earlier kept ops that its author knew, ascending.
    #[n(1)]
    pub sees: Vec<u32>,
    /// Whether it has an effect. A head without one is kept for its name.
    #[n(2)]
    pub stands: bool,
    /// For what several decide together: who, and how many.
    #[n(3)]
    pub electors: Option<KeptElectors>,
}

/// Who decides together, as an op's author knew it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeptElectors {
    /// Who.
    #[n(0)]
    pub who: Vec<PersonaId>,
    /// How many of them.
    #[n(1)]
    pub needed: u32,
    /// The facilitators at that place.
    #[n(2)]
    pub facilitators: Vec<PersonaId>,
    /// For a Recover, those of whom more than half must be among the signers.
    #[n(3)]
    pub vouched: Vec<PersonaId>,
}

/// What became of an Invite.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct KeptInvite {
    /// The Invite op.
    #[n(0)]
    pub id: OpId,
    /// Revoked, or voided by a removal or demotion.
    #[n(1)]
    pub closed: bool,
    /// Slots taken, by whom, ascending.
    #[n(2)]
    pub taken: Vec<(u32, PersonaId)>,
}

/// A device that never comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub struct GoneDevice {
    /// Whose.
    #[n(0)]
    pub persona: PersonaId,
    /// Its key.
    #[n(1)]
    pub device: DeviceId,
}

/// What a resumed log rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ground {
    /// Its heads as positions; all of them are kept.
    pub(crate) heads: Bits,
    /// All kept ops.
    pub(crate) all: Bits,
    /// Counters up to here are below, or late.
    pub(crate) lamport: u64,
    pub(crate) invites: BTreeMap<OpId, (bool, BTreeMap<u32, PersonaId>)>,
    pub(crate) gone: BTreeMap<PersonaId, BTreeSet<DeviceId>>,
}

impl Checkpoint {
    /// Names it: what members compare, and a certified node may be held to.
    #[must_use]
    pub fn id(&self) -> [u8; 32] {
        hash(&[CHECKPOINT_LABEL, &cbor::to_vec(self)])
    }
}

impl PolicyLog {
    /// What the closure of `heads` still says to whatever is built on it; `None` where a head is not here, or where they
    /// are more than one op can name: a later node has fewer.
    #[must_use]
    pub fn checkpoint(&self, heads: &[OpId], seniority: &dyn Seniority) -> Option<Checkpoint> {
        let heads = if heads.iter().all(|h| self.contains(h)) { self.reduce(heads) } else { Vec::new() };
        if heads.is_empty() || heads.len() > OP_PREV_MAX {
            return None;
        }
        let mut resolver = Resolver::new(self, seniority);
        let fold = resolver.settle(&self.closure_bits(&heads));
        let mut speaking = speaking(&fold);
        for head in heads.iter().filter_map(|h| self.entry(h)) {
            speaking.entry(head.order()).or_insert((head, false));
        }
        let places: BTreeMap<usize, u32> = speaking.values().map(|(e, _)| e.index).zip(0u32..).collect();
        let ops = speaking.values().map(|(entry, stands)| {
            let right = resolver.verdict(entry).and_then(|v| v.as_ref().ok()).filter(|_| *stands);
            let sees = places.iter().filter(|(index, _)| entry.past.contains(**index)).map(|(_, place)| *place);
            Kept {
                op: entry.op.clone(),
                sees: sees.collect::<BTreeSet<_>>().into_iter().collect(),
                stands: *stands,
                electors: right.and_then(|r| r.electors.as_deref()).map(keep_electors),
            }
        });
        let kept = |id: &OpId| self.entry(id).is_some_and(|e| places.contains_key(&e.index));
        let invites = fold.invites.iter().filter(|(id, _)| kept(id)).map(|(id, invited)| KeptInvite {
            id: *id,
            closed: invited.closed,
            taken: invited.taken.iter().map(|(slot, who)| (*slot, *who)).collect(),
        });
        let gone = fold.people.iter().flat_map(|(persona, person)| {
            person.gone.iter().map(|device| GoneDevice { persona: *persona, device: *device })
        });
        Some(Checkpoint { heads, ops: ops.collect(), invites: invites.collect(), gone: gone.collect() })
    }

    /// The log that goes on from `checkpoint`, with everything here that knows all of it. Returns also what is late.
    ///
    /// # Errors
    /// [`OpError`] when the checkpoint is not of this group, or does not hold together.
    pub fn compact(&self, checkpoint: &Checkpoint) -> Result<(Self, Vec<OpId>), OpError> {
        let group = self.group().ok_or(OpError::UnknownCause)?;
        let mut compacted = Self::from_checkpoint(group, checkpoint, false)?;
        let below = self.closure_bits(&checkpoint.heads);
        let mut late = Vec::new();
        for entry in self.ordered().filter(|e| !below.contains(e.index)) {
            match compacted.restore(entry.op.clone()) {
                Ok(done) if !done.waiting => {}
                _ => late.push(entry.id),
            }
        }
        compacted.forget_waiting();
        Ok((compacted, late))
    }

    /// A log from a checkpoint that somebody else made: every kept op is checked for form and signature. Compare the
    /// roster root that it gives with that of the certified node before believing the rest.
    ///
    /// # Errors
    /// [`OpError`].
    pub fn resume(group: GroupId, checkpoint: &Checkpoint) -> Result<Self, OpError> {
        Self::from_checkpoint(group, checkpoint, true)
    }

    fn from_checkpoint(group: GroupId, checkpoint: &Checkpoint, verify_signatures: bool) -> Result<Self, OpError> {
        let mut log = Self::for_group(group);
        let mut ground = Ground::default();
        for (kept, index) in checkpoint.ops.iter().zip(0usize..) {
            let content = kept.op.open()?;
            let id = kept.op.id();
            let first = matches!(content.body, OpBody::Genesis { .. });
            let ours = if first { id.0 == group.0 } else { content.group == group };
            if !ours || log.contains(&id) || first != (index == 0) {
                return Err(OpError::OtherGroup);
            }
            let message = [OP_LABEL, &kept.op.content].concat();
            if verify_signatures && !verify(&content.persona.0, &message, &kept.op.sig) {
                return Err(OpError::Signature);
            }
            let mut past = Bits::default();
            for place in &kept.sees {
                let place = usize::try_from(*place).ok().filter(|place| *place < index);
                past.insert(place.ok_or(OpError::UnknownCause)?);
            }
            let electors = kept.electors.as_ref().map(|e| Arc::new(restore_electors(e)));
            let right = Right { rests_on: Vec::new(), electors };
            let verdict = OnceLock::from(if kept.stands { Ok(right) } else { Err(Refusal::Voided) });
            ground.lamport = ground.lamport.max(content.lamport);
            ground.all.insert(index);
            let entry = Entry { index, id, op: kept.op.clone(), content, past, children: 0, verdict };
            log.adopt(entry);
        }
        for head in &checkpoint.heads {
            ground.heads.insert(log.entry(head).ok_or(OpError::UnknownCause)?.index);
        }
        for invite in &checkpoint.invites {
            ground.invites.insert(invite.id, (invite.closed, invite.taken.iter().copied().collect()));
        }
        for gone in &checkpoint.gone {
            ground.gone.entry(gone.persona).or_default().insert(gone.device);
        }
        log.stand_on(ground, &checkpoint.heads);
        Ok(log)
    }
}

fn keep_electors(electors: &Electors) -> KeptElectors {
    let needed = u32::try_from(electors.needed).unwrap_or(u32::MAX);
    let Electors { who, facilitators, vouched, .. } = electors.clone();
    KeptElectors { who, needed, facilitators, vouched }
}

fn restore_electors(kept: &KeptElectors) -> Electors {
    let needed = usize::try_from(kept.needed).unwrap_or(usize::MAX);
    let KeptElectors { who, facilitators, vouched, .. } = kept.clone();
    Electors { who, needed, vouched, facilitators }
}

type Speaking<'a> = BTreeMap<(u64, OpId), (&'a Entry, bool)>;

/// The ops through which a closure still speaks, causes first.
fn speaking<'a>(fold: &Fold<'a>) -> Speaking<'a> {
    let mut found = Speaking::new();
    let mut keep = |entry: &'a Entry| {
        found.insert(entry.order(), (entry, true));
    };
    fold.genesis.into_iter().for_each(&mut keep);
    for person in fold.people.values() {
        of_person(person).into_iter().for_each(&mut keep);
    }
    fold.writes().for_each(&mut keep);
    fold.votes.iter().for_each(|v| keep(v.op));
    fold.decided.iter().flat_map(|d| &d.event.ops).for_each(|op| keep(op));
    // A Join is read through its Invite, open or not.
    let joined_by: Vec<_> = found
        .values()
        .filter_map(|(e, _)| match &e.content.body {
            OpBody::Join { invite, .. } => fold.invites.get(invite).map(|i| i.entry),
            _ => None,
        })
        .collect();
    let open = fold.invites.values().filter(|i| i.is_open()).map(|i| i.entry);
    for entry in joined_by.into_iter().chain(open) {
        found.insert(entry.order(), (entry, true));
    }
    found
}

/// How a persona came in and which roles are in force; of one that left, that it did; of one that was removed, nothing.
fn of_person<'a>(person: &Person<'a>) -> Vec<&'a Entry> {
    let mut kept: Vec<&'a Entry> = person.pending.iter().map(|s| s.op).collect();
    let live = person.live();
    if live.is_empty() {
        if !person.removed_for_good() {
            let left = |e: &&Event<'a>| e.kind == Kind::Leave;
            kept.extend(person.adds.iter().map(|(add, _)| *add));
            kept.extend(person.events.iter().filter(left).flat_map(|e| e.ops.iter().copied()));
        }
        return kept;
    }
    kept.extend(live.iter().map(|(add, _)| *add));
    kept.extend(person.roles_in_force().into_iter().flat_map(|(_, e)| e.ops.iter().copied()));
    kept.extend(person.further_devices().map(|(by, _)| by));
    kept
}
