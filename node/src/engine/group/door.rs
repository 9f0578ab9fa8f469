//! Doors: what a joiner finds while everybody sleeps, kept current at every mailbox of the group.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use hearth_crypto::{
    hpke,
    mls::{Mls, MlsNode},
    policy::InviteStatus,
    schedule::{DOOR_LABEL, Network, SlotKeys},
    seal::{open_body, seal_body},
};
use hearth_protocol::{
    cbor,
    door::{ClosedReason, DoorBody, DoorWrapper},
    frame::CommitFrame,
    id::{NodeId, OpId, PersonaId, SlotId},
    mailbox::{Action, Answer, Refusal as Refused},
    op::{JoinMode, OpBody, SignedOp},
    time::{Day, Timestamp},
};

use super::{Group, mail::BUSY_MS};
use crate::engine::{
    ctx::Ctx,
    desk::{Asked, SKEW_DAYS},
    lane::{OWN_MAILBOX, RelayFailure},
};

/// Seals door bodies.
pub(crate) const DOOR_SEAL: &[u8] = b"hearth door/1";
/// Seals what stranded members find.
pub(crate) const REJOIN_SEAL: &[u8] = b"hearth rejoin/1";
/// HPKE info of wrappers.
pub(crate) const WRAPPER_INFO: &[u8] = b"hearth wrapper/1";
/// A member who did not make the tip mends a door only when it stayed stale this long, times its rank.
const MEND_MS: u64 = 30_000;
/// Attempts to write one slot before it is left for the next mending.
const TRIES: u8 = 4;

/// What is written, or being written, at one mailbox.
#[derive(Debug, Default)]
struct AtMailbox {
    /// The tip that the stored body is of, and the invites (with their state) that have a wrapper for it.
    node: Option<NodeId>,
    wrappers: BTreeMap<OpId, (NodeId, InviteStatus)>,
    /// The tip that the rejoin slot points to.
    rejoin: Option<NodeId>,
    /// Known versions of slots.
    versions: BTreeMap<SlotId, u64>,
    /// Writes under way.
    jobs: BTreeMap<SlotId, Job>,
    /// A write was given up: none begins before.
    pause: Timestamp,
}

#[derive(Clone)]
struct Job {
    what: What,
    keys: SlotKeys,
    body: Vec<u8>,
    tries: u8,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("what", &self.what).field("tries", &self.tries).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Body(NodeId),
    Wrapper(OpId, NodeId, InviteStatus),
    Rejoin(NodeId),
}

/// Doors of a group.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    at: BTreeMap<String, AtMailbox>,
    /// When the tip last moved, and which it is.
    touched: Option<(NodeId, Timestamp)>,
    /// Invites whose door stands at this process's own mailbox.
    pub(crate) at_home: BTreeSet<OpId>,
    /// Invites whose door is known to stand at some relay.
    pub(crate) held: BTreeSet<OpId>,
}

impl Doors {
    /// The tip or the invites changed.
    pub(crate) fn touch(&mut self, tip: NodeId, now: Timestamp) {
        self.touched = Some((tip, now));
    }

    pub(crate) fn relay_up(&mut self, address: &str, now: Timestamp) {
        self.at.entry(address.to_owned()).or_default();
        if let Some((_, at)) = &mut self.touched {
            *at = now;
        }
    }

    /// What a restarted mailbox still has is not known.
    pub(crate) fn relay_down(&mut self, address: &str) {
        self.at.remove(address);
    }
}

/// Whether what stranded members find leads to the body with this key.
fn leads_to(network: &Network, sealed: &[u8], key: &[u8; 32]) -> bool {
    let opened = open_body(&network.rejoin_key(), REJOIN_SEAL, sealed).ok();
    let wrapper = opened.and_then(|b| cbor::read::<DoorWrapper>(&b).ok());
    matches!(wrapper, Some(DoorWrapper::Open { body_key, .. }) if body_key == *key)
}

/// Whether two doors of a node lead there by the same way, whoever wrote them.
fn leads_alike(one: &DoorBody, other: &DoorBody) -> bool {
    let ops = |b: &DoorBody| b.ops.iter().map(SignedOp::id).collect::<BTreeSet<_>>();
    let frames = |b: &DoorBody| b.frames.iter().map(CommitFrame::id).collect::<BTreeSet<_>>();
    let fixed =
        one.base == other.base && one.elders == other.elders && one.chain == other.chain && one.keys == other.keys;
    fixed && ops(one) == ops(other) && frames(one) == frames(other)
}

impl<M: Mls> Group<M> {
    /// Writes doors that are not current. The tip's author does it at once, others later by rank, joiners of an open
    /// invite in their own attempt.
    pub(super) fn mend_doors(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some((tip, since)) = self.doors.touched else { return };
        if !self.is_joined() || self.stranded || self.view.invites.is_empty() {
            return;
        }
        let stale = self.doors.at.keys().filter(|address| self.is_stale(address, ctx.now));
        let stale: Vec<_> = stale.cloned().collect();
        if stale.is_empty() {
            return;
        }
        let me = self.me();
        let made_tip =
            self.dag.entry(&tip).is_some_and(|e| e.made.as_ref().is_none_or(|m| m.commit.author.persona == me));
        let rank = self.view.committers().iter().position(|c| *c == me).map_or(16, |r| r as u64);
        let due = if made_tip { since } else { since.plus_ms(MEND_MS * (rank + 1)) };
        if due > ctx.now {
            ctx.wake_at(due);
        }
        for address in stale {
            let pause = self.doors.at.get(&address).map_or(ctx.now, |at| at.pause);
            if pause > ctx.now {
                ctx.wake_at(pause);
                continue;
            }
            // Whoever has not read what others committed would write an old door over a current one.
            let mine = due <= ctx.now || address == OWN_MAILBOX;
            if mine && self.desk.is_control_read(&address) {
                self.write_door(&address, ctx);
            }
        }
    }

    /// Whether some relay has the tip's door, as far as there are relays.
    pub(crate) fn door_is_current(&self) -> bool {
        let current = |(address, at): (&String, &AtMailbox)| self.is_relay(address) && at.node == Some(self.dag.tip);
        self.relays().is_empty() || self.doors.at.iter().any(current)
    }

    /// Whether something at a mailbox is not as it should be yet.
    fn is_stale(&self, address: &str, now: Timestamp) -> bool {
        let Some(at) = self.doors.at.get(address) else { return false };
        let leads_here = at.node == Some(self.dag.tip) && at.rejoin == Some(self.dag.tip);
        let is_open = || self.view.open_invites(now.second()).next().is_some();
        (!leads_here && is_open()) || !self.stale_wrappers(address, now).is_empty()
    }

    fn write_door(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        let tip = self.dag.tip;
        let open = self.view.open_invites(ctx.now.second()).next().is_some();
        let stale = self.stale_wrappers(address, ctx.now);
        let Some(key) = self.desk.sessions.get(address).and_then(|s| s.key) else { return };
        let Some(network) = self.network().cloned() else { return };
        let Some(body_key) = self.dag.secret_state(&tip).and_then(|s| s.export(DOOR_LABEL, b"").ok()) else { return };
        let body_keys = network.door_slot(&key);
        let Some(at) = self.doors.at.get(address) else { return };
        if at.node != Some(tip) && open && !at.jobs.contains_key(&body_keys.id) {
            let Some(body) = self
                .door_body(&tip, ctx)
                .and_then(|b| seal_body(&body_key, DOOR_SEAL, &cbor::to_vec(&b), ctx.rng).ok())
            else {
                return;
            };
            self.start_job(address, Job { what: What::Body(tip), keys: body_keys.clone(), body, tries: 0 }, ctx);
        }
        let Some(at) = self.doors.at.get(address) else { return };
        let keys = network.rejoin_slot(&key);
        if at.rejoin != Some(tip) && open && !at.jobs.contains_key(&keys.id) {
            let (invite, body_slot) = (OpId([0; 32]), body_keys.id);
            let wrapper = cbor::to_vec(&DoorWrapper::Open { invite, body_key, body_slot });
            let Ok(body) = seal_body(&network.rejoin_key(), REJOIN_SEAL, &wrapper, ctx.rng) else { return };
            self.start_job(address, Job { what: What::Rejoin(tip), keys, body, tries: 0 }, ctx);
        }
        for (invite, node, status) in stale {
            let Some((join_pk, door_pk)) = self.view.invites.get(&invite).map(|i| (i.join_pk, i.door_pk)) else {
                continue;
            };
            let what = What::Wrapper(invite, node, status);
            let wrapper = match self.closed_reason(&invite, ctx.now) {
                Some(reason) => DoorWrapper::Closed { reason },
                None if self.admits_by_hand(&invite) => match self.knock_wrapper(&invite, &key) {
                    Some(wrapper) => wrapper,
                    None => continue,
                },
                None => DoorWrapper::Open { invite, body_key, body_slot: body_keys.id },
            };
            let Ok(body) = hpke::seal_to(&door_pk, WRAPPER_INFO, &self.id.0, &cbor::to_vec(&wrapper)) else { continue };
            let keys = network.wrapper_slot(&invite, &join_pk, &key);
            self.start_job(address, Job { what, keys, body, tries: 0 }, ctx);
        }
    }

    /// Wrappers at a mailbox that do not say what they should, with the node and status that they should have.
    fn stale_wrappers(&self, address: &str, now: Timestamp) -> Vec<(OpId, NodeId, InviteStatus)> {
        let Some(at) = self.doors.at.get(address) else { return Vec::new() };
        let tip = self.dag.tip;
        let wanted = self.view.invites.iter().map(|(id, invite)| {
            let status = self.invite_status(invite, now);
            (*id, if status == InviteStatus::Open { tip } else { NodeId([0; 32]) }, status)
        });
        let mut stale: Vec<_> = wanted
            .filter(|(id, node, status)| at.wrappers.get(id) != Some(&(*node, *status)))
            .filter(|(id, node, status)| !at.jobs.values().any(|j| j.what == What::Wrapper(*id, *node, *status)))
            .collect();
        if !stale.is_empty() {
            // What the tip does not realise its door does not know yet: the invite's author is about to commit.
            let realised = self.dag.policy(&self.log, &tip);
            stale.retain(|(id, ..)| realised.invites.contains_key(id));
        }
        stale
    }

    fn admits_by_hand(&self, invite: &OpId) -> bool {
        self.view.invites.get(invite).is_some_and(|i| i.mode == JoinMode::Knock)
    }

    fn invite_status(&self, invite: &hearth_crypto::policy::Invite, now: Timestamp) -> InviteStatus {
        let ended = invite.expires <= now.second() || self.view.settings.shield;
        if ended && invite.status == InviteStatus::Open { InviteStatus::Revoked } else { invite.status }
    }

    /// Why an invite admits nobody now; `None` while it does.
    pub(crate) fn closed_reason(&self, invite: &OpId, now: Timestamp) -> Option<ClosedReason> {
        let Some(invite) = self.view.invites.get(invite) else { return Some(ClosedReason::Revoked) };
        match invite.status {
            InviteStatus::Exhausted => Some(ClosedReason::Exhausted),
            InviteStatus::Revoked => Some(ClosedReason::Revoked),
            InviteStatus::Open if self.view.settings.shield => Some(ClosedReason::Revoked),
            InviteStatus::Open if invite.expires <= now.second() => Some(ClosedReason::Expired),
            InviteStatus::Open => None,
        }
    }

    /// The body of a node's door: everything a newcomer needs to verify the chain to Genesis.
    pub(super) fn door_body(&mut self, node: &NodeId, ctx: &Ctx<'_, M>) -> Option<DoorBody> {
        let node = *node;
        let network = self.dag.entry(&node)?.network;
        // A few days back, for members whose clocks are behind: these keys open outer seals only, never a message.
        let known = self.network_of(&network).cloned();
        let begun = || Network::begin(self.dag.secret_state(&network)?).ok();
        let keys = known.or_else(begun)?.keys_from(Day(ctx.today().0.saturating_sub(SKEW_DAYS)));
        let device = self.keys.clone();
        let group_info = self.dag.secret_state(&node)?.group_info(&device).ok()?;
        // The later it begins, the less there is to carry and to check.
        let later = self.dag.later_base((ctx.mls, &self.id, &self.log), &device);
        let later = later.filter(|(base, _)| self.dag.descends(&node, base));
        let (base, origin) = later.unwrap_or_else(|| (self.dag.base, self.dag.origin.clone()));
        let (frames, signatures) = self.dag.below(&base);
        // What no node here rests on and nobody can write is no newcomer's business: it would fill the door.
        let heads: Vec<_> = self.dag.every_head().chain(self.view.heads.iter().copied()).collect();
        let ops = self.slim_ops(&node, &base, &heads);
        Some(DoorBody {
            group: self.id,
            node,
            group_info,
            base,
            elders: origin.told_elders(),
            chain: origin.chain,
            base_info: if base == node { Vec::new() } else { origin.info },
            ops,
            nacks: self.dag.nacks().filter(|n| frames.iter().any(|f| f.id() == n.frame)).collect(),
            frames,
            signatures,
            keys,
        })
    }

    /// The closure of `heads`, causes first. What lies beside ops of the past stays behind, for it would fill the
    /// door: KeyPackages that the base realises, of those who have their leaf or are gone, and charters out of force.
    /// Members who have these hand them on by and by.
    fn slim_ops(&self, node: &NodeId, base: &NodeId, heads: &[OpId]) -> Vec<SignedOp> {
        let realised = self.dag.realised(&self.log, base);
        let seated: BTreeSet<_> =
            self.dag.entry(base).into_iter().flat_map(|e| &e.facts.leaves).map(|leaf| leaf.persona).collect();
        let waits = |persona: &PersonaId| self.view.role_of(persona).is_some() && !seated.contains(persona);
        let charters = [&self.view.settings, &self.dag.policy(&self.log, node).settings].map(|s| s.charter.hash());
        let is_past = |op: &OpId| match self.log.content(op).map(|c| &c.body) {
            Some(OpBody::Genesis { charter: said, .. } | OpBody::SetPolicy { charter: Some(said), .. }) => {
                !charters.contains(&said.hash())
            }
            Some(OpBody::Add { subject, .. }) => !waits(subject),
            Some(OpBody::RejoinRequest { .. }) => true,
            _ => false,
        };
        let slim = |op: &OpId| {
            let whole = self.log.get(op)?;
            Some(if realised.contains(op) && is_past(op) { whole.bare() } else { whole.clone() })
        };
        self.log.closure(heads).iter().filter_map(slim).collect()
    }

    /// Begins a write, one at a time for each slot: an answer to an earlier one would be taken for this one's.
    fn start_job(&mut self, address: &str, job: Job, ctx: &mut Ctx<'_, M>) {
        let slot = job.keys.id;
        let Some(at) = self.doors.at.get_mut(address) else { return };
        if let Entry::Vacant(free) = at.jobs.entry(slot) {
            free.insert(job);
            self.push_job(address, slot, ctx);
        }
    }

    /// Next step of a write: read the version if it is not known, else write.
    fn push_job(&mut self, address: &str, slot: SlotId, ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.doors.at.get_mut(address) else { return };
        let Some(job) = at.jobs.get(&slot) else { return };
        let (action, signer) = match at.versions.get(&slot) {
            Some(version) => {
                let (write, version) = (job.keys.write(), version.saturating_add(1));
                let write_pk = write.verifying_key().to_bytes();
                (Action::SlotPut { slot, write_pk, version, body: job.body.clone() }, Some(write))
            }
            None => (Action::SlotGet { slot }, None),
        };
        self.ask(address, action, signer, Asked::Slot(slot), ctx);
    }

    pub(super) fn slot_answer(
        &mut self,
        address: &str,
        slot: SlotId,
        answer: Result<Answer, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) {
        let Some(at) = self.doors.at.get_mut(address) else { return };
        let Some(job) = at.jobs.get_mut(&slot) else { return };
        let is_past = matches!(job.what, What::Body(node) | What::Rejoin(node) if node != self.dag.tip);
        if is_past && !matches!(answer, Ok(Answer::SlotStored)) {
            // The tip has moved on: a door of the new one is written instead.
            at.jobs.remove(&slot);
            at.versions.remove(&slot);
            return;
        }
        match answer {
            Ok(Answer::Slot { version, write_pk, bodies }) => {
                let ours = *job.keys.write().verifying_key().as_bytes() == write_pk;
                let (what, wanted) = (job.what, job.body.clone());
                at.versions.insert(slot, version);
                if !ours {
                    return self.rotate(address, slot, write_pk, ctx);
                }
                if bodies.first().is_some_and(|newest| self.says(what, newest, &wanted, ctx)) {
                    return self.stands(address, slot, what);
                }
                self.push_job(address, slot, ctx);
            }
            // The answer to a read. To a write, it is one more that failed.
            Ok(Answer::Refused(Refused::NotFound)) if !at.versions.contains_key(&slot) => {
                at.versions.insert(slot, 0);
                self.push_job(address, slot, ctx);
            }
            Ok(Answer::SlotStored) => {
                let what = job.what;
                // A rotation is answered alike; the write that follows it moves the version.
                if job.tries & 0x80 != 0 {
                    job.tries &= 0x7f;
                    return self.push_job(address, slot, ctx);
                }
                *at.versions.entry(slot).or_insert(0) += 1;
                self.stands(address, slot, what);
            }
            Ok(Answer::Refused(Refused::Version | Refused::Signature | Refused::NotFound)) => {
                at.versions.remove(&slot);
                job.tries += 1;
                if job.tries & 0x7f >= TRIES {
                    return self.give_up(address, slot, MEND_MS, ctx);
                }
                self.push_job(address, slot, ctx);
            }
            Ok(Answer::Refused(Refused::Busy)) => self.give_up(address, slot, BUSY_MS, ctx),
            Ok(_) | Err(_) => self.give_up(address, slot, MEND_MS, ctx),
        }
    }

    /// Whether a body that lies there says it already: another member was first.
    fn says(&mut self, what: What, newest: &[u8], wanted: &[u8], ctx: &Ctx<'_, M>) -> bool {
        let (What::Body(node) | What::Rejoin(node)) = what else { return false };
        let Some(body_key) = self.dag.secret_state(&node).and_then(|s| s.export(DOOR_LABEL, b"").ok()) else {
            return false;
        };
        if let What::Rejoin(_) = what {
            return self.network().is_some_and(|n| leads_to(n, newest, &body_key));
        }
        let read = |sealed| open_body(&body_key, DOOR_SEAL, sealed).ok().and_then(|b| cbor::read::<DoorBody>(&b).ok());
        let (Some(lies), Some(wanted)) = (read(newest), read(wanted)) else { return false };
        // What lies beside the right node may be garbage.
        let opens = |info: &[u8], node: &NodeId| ctx.mls.open_group_info(info).is_ok_and(|n| n.facts().node == *node);
        let base = lies.base == node && lies.base_info.is_empty() || opens(&lies.base_info, &lies.base);
        leads_alike(&lies, &wanted) && base && opens(&lies.group_info, &node)
    }

    /// A slot has what it should.
    fn stands(&mut self, address: &str, slot: SlotId, what: What) {
        let relay = self.is_relay(address);
        let Some(at) = self.doors.at.get_mut(address) else { return };
        at.jobs.remove(&slot);
        match what {
            What::Body(node) => at.node = Some(node),
            What::Rejoin(node) => at.rejoin = Some(node),
            What::Wrapper(invite, node, status) => {
                at.wrappers.insert(invite, (node, status));
            }
        }
        let stands = at.wrappers.iter().filter(|(_, (n, s))| Some(*n) == at.node && *s == InviteStatus::Open);
        let stands: Vec<_> = stands.map(|(i, _)| *i).collect();
        if relay {
            self.doors.held.extend(stands);
        } else if address == OWN_MAILBOX {
            self.doors.at_home.extend(stands);
        }
    }

    /// Looks whether doors that should be current are: a member who had not seen the tip may have written over them.
    /// What stranded members find tells, and is small.
    pub(super) fn watch_doors(&mut self, ctx: &mut Ctx<'_, M>) {
        let (tip, Some(network)) = (self.dag.tip, self.network().cloned()) else { return };
        let current = self.doors.at.iter().filter(|(_, at)| at.rejoin == Some(tip) && at.jobs.is_empty());
        for address in current.map(|(address, _)| address.clone()).collect::<Vec<_>>() {
            if let Some(key) = self.desk.sessions.get(&address).and_then(|s| s.key) {
                let slot = network.rejoin_slot(&key).id;
                self.ask(&address, Action::SlotGet { slot }, None, Asked::Watch(tip), ctx);
            }
        }
    }

    pub(super) fn watched(
        &mut self,
        address: &str,
        tip: NodeId,
        answer: Result<Answer, RelayFailure>,
        ctx: &Ctx<'_, M>,
    ) {
        let newest = match answer {
            Ok(Answer::Slot { bodies, .. }) => bodies.first().map(|b| b.to_vec()).unwrap_or_default(),
            Ok(Answer::Refused(Refused::NotFound)) => Vec::new(),
            Ok(_) | Err(_) => return,
        };
        let written = self.doors.at.get(address).is_some_and(|at| at.rejoin == Some(tip) && at.jobs.is_empty());
        if written && tip == self.dag.tip && !self.stranded && !self.says(What::Rejoin(tip), &newest, &[], ctx) {
            self.doors.at.insert(address.to_owned(), AtMailbox::default());
            self.doors.touch(tip, ctx.now);
        }
    }

    /// Leaves a slot for the next mending, and the mailbox in peace until then: it would be asked as fast as it refuses.
    fn give_up(&mut self, address: &str, slot: SlotId, wait_ms: u64, ctx: &mut Ctx<'_, M>) {
        let Some(at) = self.doors.at.get_mut(address) else { return };
        at.jobs.remove(&slot);
        at.pause = ctx.now.plus_ms(wait_ms);
        ctx.wake_at(at.pause);
    }

    /// Hands a slot from an earlier network's key to this one's, if that key is known.
    fn rotate(&mut self, address: &str, slot: SlotId, old_pk: [u8; 32], ctx: &mut Ctx<'_, M>) {
        let Some(key) = self.desk.sessions.get(address).and_then(|s| s.key) else { return };
        let invites: Vec<_> = self.view.invites.iter().map(|(id, i)| (*id, i.join_pk)).collect();
        let old = self.networks.iter().flat_map(|n| invites.iter().map(|(id, pk)| n.wrapper_slot(id, pk, &key)));
        let mut old = old.filter(|k| k.id == slot).map(|k| k.write());
        let old = old.find(|write| *write.verifying_key().as_bytes() == old_pk);
        let Some(job) = self.doors.at.get_mut(address).and_then(|at| at.jobs.get_mut(&slot)) else { return };
        let Some(old) = old else {
            // Somebody else's slot, or a network this member never knew.
            return self.give_up(address, slot, MEND_MS, ctx);
        };
        job.tries |= 0x80;
        let action = Action::SlotRotate { slot, write_pk: job.keys.write().verifying_key().to_bytes() };
        self.ask(address, action, Some(old), Asked::Slot(slot), ctx);
    }
}

#[cfg(test)]
mod tests;
