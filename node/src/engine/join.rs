//! Coming in by a link: find the door at a mailbox, verify the chain to Genesis, make an external commit.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_crypto::{
    chain::{Elders, Ground, mls_group_id},
    hpke,
    mls::{Mls, MlsNode},
    persona::DeviceKeys,
    policy::{At, Invite, InviteKeys, InviteStatus, PolicyLog, PolicyState, Seat},
    schedule::{Network, wrapper_slot_id},
    seal::open_body,
};
use hearth_protocol::{
    cbor,
    door::{ClosedReason, DoorBody, DoorWrapper},
    frame::CommitFrame,
    id::{GroupId, NodeId, OpId, PersonaId, SlotId},
    link::InviteLink,
    mailbox::{Action, Answer as Stored, Refusal as Refused},
    op::{JoinMode, SignedOp},
    time::Timestamp,
};

use super::{
    ctx::Ctx,
    dag::{Dag, Offered, Origin},
    group::{
        Group, Start,
        door::{DOOR_SEAL, WRAPPER_INFO},
    },
    knock::{Knock, Knocking},
    lane::{LaneCommand, LaneEvent, RelayFailure, Ticket},
    names,
};
use crate::app::{Answer, CommandId, Join, Kind, Refusal, Utc};
use minicbor::bytes::ByteVec;

/// An attempt is given up after this long; what is left of 45 s is for the join to be stored.
pub(crate) const DEADLINE_MS: u64 = 35_000;
/// When no mailbox at all is reachable, this is soon enough to say so; in a private mode the path may have to be built first.
const UNREACHABLE_MS: u64 = 20_000;

const NO_DOOR: Refusal = Refusal::new(Kind::NotFound, "nothing lies behind this link: ask for a new one");
const OFFLINE: Refusal = Refusal::new(Kind::Offline, "no relay or member of the group answers: try again later");
const FORGED: Refusal =
    Refusal::new(Kind::Invalid, "what lies behind this link is not the group it names: ask for a new one");
const BY_HAND: Refusal = Refusal::new(
    Kind::Conflict,
    "you are in this group already, and its links lead only to who admits: ask a facilitator for an open link",
);
const OUT: Refusal = Refusal::new(Kind::Removed, "you are no longer a member of this group: leave it, then join again");
/// What is wanted of the door.
#[allow(clippy::large_enum_variant, reason = "one at a time, and short-lived")]
pub(crate) enum Purpose {
    /// Look only.
    Inspect,
    /// Come in as this persona, under this name.
    Join { keys: DeviceKeys, name: String, introduction: String },
    /// Come back as who one is: this member's own way there is lost.
    Return { keys: DeviceKeys },
}

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) link: InviteLink,
    invite: InviteKeys,
    purpose: Purpose,
    pub(crate) command: CommandId,
    pub(crate) since: Timestamp,
    /// Mailboxes and, while up, their keys.
    pub(crate) mailboxes: BTreeMap<String, Option<[u8; 32]>>,
    asked: BTreeMap<Ticket, (String, Ask)>,
    body_key: Option<[u8; 32]>,
    empty: BTreeSet<String>,
    closed: Option<ClosedReason>,
}

enum Ask {
    Wrapper,
    Body,
}

/// How an attempt goes on.
pub(crate) enum Next<M: Mls> {
    /// Nothing yet.
    Wait,
    /// Over, without a group.
    Reply(Result<Answer, Refusal>),
    /// In: the group, with the commit still to be handed out.
    In(Box<Entered<M>>),
    /// The way back: the door as it lies there, verified as a newcomer would.
    Back(Box<DoorBody>),
    /// The group admits by hand: somebody has to be asked.
    Knocked(Box<Knocking>),
}

/// A group that was entered.
pub(crate) struct Entered<M: Mls> {
    pub(crate) group: Group<M>,
    pub(crate) frame: CommitFrame,
    pub(crate) network: NodeId,
}

/// A door whose chain was verified to Genesis.
pub(crate) struct Opened<M: Mls> {
    pub(crate) log: PolicyLog,
    pub(crate) dag: Dag<M::Node>,
    pub(crate) network: Network,
    pub(crate) node: NodeId,
    pub(crate) group_info: Vec<u8>,
}

/// What the holder of a link can find and open.
pub(crate) struct Lookout<'a> {
    link: &'a InviteLink,
    keys: InviteKeys,
}

impl<'a> Lookout<'a> {
    pub(crate) fn of(link: &'a InviteLink) -> Self {
        Self { link, keys: InviteKeys::from_secret(&link.secret) }
    }

    /// The slot of the wrapper at a mailbox.
    pub(crate) fn wrapper_slot(&self, relay_key: &[u8; 32]) -> SlotId {
        wrapper_slot_id(&self.keys.join_pk(), relay_key)
    }

    /// The newest wrapper of a slot.
    pub(crate) fn open(&self, bodies: &[ByteVec]) -> Option<DoorWrapper> {
        let open = |b: &[u8]| hpke::open_with(self.keys.door_seed(), WRAPPER_INFO, &self.link.group.0, b).ok();
        bodies.iter().find_map(|b| cbor::read(&open(b)?).ok())
    }
}

impl Attempt {
    pub(crate) fn new(link: InviteLink, purpose: Purpose, command: CommandId, now: Timestamp) -> Self {
        let mailboxes = link.relays.iter().chain(&link.bootstrap).map(|a| (a.clone(), None)).collect();
        let invite = InviteKeys::from_secret(&link.secret);
        Self {
            link,
            invite,
            purpose,
            command,
            since: now,
            mailboxes,
            asked: BTreeMap::new(),
            body_key: None,
            empty: BTreeSet::new(),
            closed: None,
        }
    }

    /// The group that the link names.
    pub(crate) fn group(&self) -> GroupId {
        self.link.group
    }

    /// Begins: asks the shell for sessions.
    pub(crate) fn begin<M: Mls>(&self, ctx: &mut Ctx<'_, M>) {
        let addresses = self.mailboxes.keys().cloned().collect();
        ctx.send(LaneCommand::Relays { group: self.group(), addresses });
        ctx.wake_at(self.since.plus_ms(unreachable_ms(ctx)));
    }

    pub(crate) fn tick<M: Mls>(&self, ctx: &mut Ctx<'_, M>) -> Next<M> {
        let waited = ctx.now.since(self.since);
        let none_up = self.mailboxes.values().all(Option::is_none);
        if waited >= DEADLINE_MS || (none_up && waited >= unreachable_ms(ctx)) {
            let nothing = !self.empty.is_empty();
            return Next::Reply(Err(self.closed.map(closed).unwrap_or(if nothing { NO_DOOR } else { OFFLINE })));
        }
        ctx.wake_at(self.since.plus_ms(if none_up { unreachable_ms(ctx) } else { DEADLINE_MS }));
        Next::Wait
    }

    pub(crate) fn on_lane<M: Mls>(&mut self, event: LaneEvent, ctx: &mut Ctx<'_, M>) -> Next<M> {
        match event {
            LaneEvent::RelayUp { address, relay_key, .. } if self.mailboxes.contains_key(&address) => {
                self.mailboxes.insert(address.clone(), Some(relay_key));
                let slot = Lookout::of(&self.link).wrapper_slot(&relay_key);
                self.ask(address, Action::SlotGet { slot }, Ask::Wrapper, ctx);
                Next::Wait
            }
            LaneEvent::RelayDown { address, .. } => {
                if let Some(key) = self.mailboxes.get_mut(&address) {
                    *key = None;
                }
                Next::Wait
            }
            LaneEvent::RelayAnswer { ticket, answer, .. } => match self.asked.remove(&ticket) {
                Some((address, Ask::Wrapper)) => self.wrapper(address, answer, ctx),
                Some((address, Ask::Body)) => self.body(address, answer, ctx),
                None => Next::Wait,
            },
            _ => Next::Wait,
        }
    }

    fn ask<M: Mls>(&mut self, address: String, action: Action, ask: Ask, ctx: &mut Ctx<'_, M>) {
        let ticket = ctx.ticket();
        self.asked.insert(ticket, (address.clone(), ask));
        ctx.send(LaneCommand::Relay { group: self.group(), address, ticket, action, signer: None });
    }

    fn wrapper<M: Mls>(
        &mut self,
        address: String,
        answer: Result<Stored, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) -> Next<M> {
        let bodies = match answer {
            Ok(Stored::Slot { bodies, .. }) => bodies,
            Ok(Stored::Refused(Refused::NotFound)) => return self.nothing_at(address),
            Ok(_) | Err(_) => return Next::Wait,
        };
        match Lookout::of(&self.link).open(&bodies) {
            Some(DoorWrapper::Open { body_key, body_slot, .. }) => {
                self.body_key = Some(body_key);
                self.ask(address, Action::SlotGet { slot: body_slot }, Ask::Body, ctx);
                Next::Wait
            }
            Some(wrapper @ DoorWrapper::Knock { .. }) => self.outside(wrapper, ctx),
            Some(DoorWrapper::Closed { reason }) => {
                // One relay may be behind: only when all that answered say so is it over.
                self.closed = Some(reason);
                self.nothing_at(address)
            }
            None => self.nothing_at(address),
        }
    }

    /// The group admits by hand.
    fn outside<M: Mls>(&mut self, wrapper: DoorWrapper, ctx: &mut Ctx<'_, M>) -> Next<M> {
        let DoorWrapper::Knock { name: group_name, charter, history_days, .. } = &wrapper else { return Next::Wait };
        match &self.purpose {
            Purpose::Inspect => Next::Reply(Ok(Answer::Inspected {
                group_name: names::shown(group_name),
                charter: charter.clone(),
                join: Join::Knock,
                history_days: *history_days,
                expires_at: Utc(self.link.expires.start()),
                members_hint: None,
            })),
            // Nobody is let in twice.
            Purpose::Return { .. } => Next::Reply(Err(BY_HAND)),
            Purpose::Join { keys, name, introduction } => {
                let (keys, name, introduction) = (keys.clone(), name.clone(), introduction.clone());
                let knock = Knock { keys, name, introduction, wrapper };
                match Knocking::new(self, knock, ctx) {
                    Some(knocking) => Next::Knocked(Box::new(knocking)),
                    None => Next::Reply(Err(FORGED)),
                }
            }
        }
    }

    /// Nothing to be had here. Over when no mailbox is left to hope for.
    fn nothing_at<M: Mls>(&mut self, address: String) -> Next<M> {
        self.empty.insert(address);
        if !self.mailboxes.keys().all(|a| self.empty.contains(a)) {
            return Next::Wait;
        }
        Next::Reply(Err(self.closed.map_or(NO_DOOR, closed)))
    }

    fn body<M: Mls>(&mut self, address: String, answer: Result<Stored, RelayFailure>, ctx: &mut Ctx<'_, M>) -> Next<M> {
        let bodies = match answer {
            Ok(Stored::Slot { bodies, .. }) => bodies,
            Ok(Stored::Refused(Refused::NotFound)) => return self.nothing_at(address),
            Ok(_) | Err(_) => return Next::Wait,
        };
        let Some(key) = self.body_key else { return Next::Wait };
        let body = bodies.iter().find_map(|b| cbor::read::<DoorBody>(&open_body(&key, DOOR_SEAL, b).ok()?).ok());
        let Some(body) = body else { return self.nothing_at(address) };
        let door = body.clone();
        let Some(opened) = open_door(ctx.mls, &self.link.group, body) else { return Next::Reply(Err(FORGED)) };
        let state = opened.dag.policy(&opened.log, &opened.node);
        let invite = match state.invites.get(&self.link.invite) {
            Some(invite) if invite.join_pk == self.invite.join_pk() => invite.clone(),
            _ => return Next::Reply(Err(FORGED)),
        };
        if let Some(reason) = ended(&state, &invite, ctx.now) {
            return Next::Reply(Err(closed(reason)));
        }
        let (keys, name) = match &self.purpose {
            Purpose::Join { keys, name, .. } => (keys, name),
            Purpose::Inspect => return Next::Reply(Ok(inspected(&state, &invite))),
            Purpose::Return { keys } if may_return(&state, &keys.persona()) => return Next::Back(Box::new(door)),
            Purpose::Return { .. } => return Next::Reply(Err(OUT)),
        };
        if invite.mode != JoinMode::Open {
            return Next::Reply(Err(FORGED));
        }
        match enter(opened, (keys, name), (&self.invite, self.link.invite), ctx) {
            Some(entered) => Next::In(Box::new(entered)),
            None => Next::Reply(Err(FORGED)),
        }
    }
}

/// Whether somebody who takes itself for a member may come in as who it is: it is one, or its join was lost with a fork.
fn may_return(state: &PolicyState, persona: &PersonaId) -> bool {
    state.role_of(persona).is_some() || !state.revocations.iter().any(|r| r.subject == *persona)
}

fn ended(state: &PolicyState, invite: &hearth_crypto::policy::Invite, now: Timestamp) -> Option<ClosedReason> {
    match invite.status {
        InviteStatus::Exhausted => Some(ClosedReason::Exhausted),
        InviteStatus::Revoked => Some(ClosedReason::Revoked),
        InviteStatus::Open if state.settings.shield => Some(ClosedReason::Revoked),
        InviteStatus::Open if invite.expires <= now.second() => Some(ClosedReason::Expired),
        InviteStatus::Open => None,
    }
}

/// A closed invite in the façade's words.
pub(crate) fn closed(reason: ClosedReason) -> Refusal {
    match reason {
        ClosedReason::Exhausted => Refusal::new(Kind::Exhausted, "every use of this link is taken: ask for a new one"),
        ClosedReason::Expired => Refusal::new(Kind::Expired, "this link has expired: ask for a new one"),
        ClosedReason::Revoked => Refusal::new(Kind::Expired, "this link was withdrawn: ask for a new one"),
    }
}

fn inspected(state: &PolicyState, invite: &hearth_crypto::policy::Invite) -> Answer {
    Answer::Inspected {
        group_name: names::shown(&state.settings.name),
        charter: state.settings.charter.text().unwrap_or_default().to_owned(),
        join: if invite.mode == JoinMode::Open { Join::Open } else { Join::Knock },
        history_days: state.settings.history_days,
        expires_at: Utc(invite.expires.start()),
        members_hint: Some(state.members.len()),
    }
}

fn unreachable_ms<M: Mls>(ctx: &Ctx<'_, M>) -> u64 {
    if ctx.cover.is_some() { DEADLINE_MS } else { UNREACHABLE_MS }
}

/// Verifies a door: every op signed and within its author's right, the root made by the founder alone or final by
/// a chain of quorums from Genesis, every commit between root and node judged, the GroupInfo of exactly that node.
pub(crate) fn open_door<M: Mls>(mls: &M, group: &GroupId, body: DoorBody) -> Option<Opened<M>> {
    let info = body.group_info.clone();
    begin_at(mls, group, body, |mls: &M| mls.open_group_info(&info).ok())
}

/// The same, where `node` gives the node itself: from its GroupInfo, or from a Welcome.
pub(crate) fn begin_at<M: Mls>(
    mls: &M,
    group: &GroupId,
    body: DoorBody,
    node: impl FnOnce(&M) -> Option<M::Node>,
) -> Option<Opened<M>> {
    let mut log = PolicyLog::for_group(*group);
    for op in &body.ops {
        log.insert(op.clone()).ok()?;
    }
    let mut dag = begin_dag(mls, group, &log, &body)?;
    for frame in body.frames {
        dag.offer(mls, &mut log, frame);
    }
    dag.retry(mls, &mut log);
    for signature in &body.signatures {
        dag.offer_signature(group, signature);
    }
    for nack in &body.nacks {
        dag.offer_nack(group, nack);
    }
    let node = node(mls)?;
    let entry = dag.nodes.get_mut(&body.node)?;
    if node.facts() != &entry.facts || body.keys.network != entry.network {
        return None;
    }
    if node.has_secrets() {
        entry.state = Some(node);
    }
    dag.reselect(&log);
    // The charter that a joiner is asked to accept has to be there.
    dag.policy(&log, &body.node).settings.charter.text()?;
    Some(Opened { log, dag, network: Network::from_keys(body.keys), node: body.node, group_info: body.group_info })
}

/// The DAG that a door begins, with nothing but its base.
pub(crate) fn begin_dag<M: Mls>(mls: &M, group: &GroupId, log: &PolicyLog, body: &DoorBody) -> Option<Dag<M::Node>> {
    let genesis = OpId(group.0);
    let founder = log.content(&genesis).map(|c| c.persona)?;
    let info = if body.base_info.is_empty() { body.group_info.clone() } else { body.base_info.clone() };
    let root = mls.open_group_info(&info).ok()?;
    let facts = root.facts();
    let places = Arc::new(Origin::read_elders(&body.elders));
    let binding = &facts.binding;
    let mut elders = Elders::default();
    let leads_here = if body.chain.is_empty() {
        let alone = facts.leaves.len() == 1 && facts.leaves.iter().all(|l| l.persona == founder);
        let root = log.state_at(&[genesis], &()).roster_root(&());
        let first = (facts.epoch, binding.epoch, binding.began, binding.generation) == (0, 0, 0, 0);
        let ours = facts.mls_group_id == mls_group_id(log.get(&genesis)?, 0);
        first && ours && alone && binding.heads == [genesis] && binding.roster_root == root && places.is_empty()
    } else {
        let verified = Ground { mls, group, log, places: &places }.verify(&body.chain)?;
        let earlier = places.values().all(|(depth, _)| *depth < facts.depth());
        let leads_here = verified.node == Some(facts.node);
        elders = verified.elders(places);
        earlier && leads_here
    };
    let origin = Origin { info, elders, chain: body.chain.clone() };
    (leads_here && facts.node == body.base).then(|| Dag::new(root, origin, log))
}

/// A free seat of an invite, at random: others may be choosing at the same time.
fn free_slot<M: Mls>(invite: &Invite, ctx: &mut Ctx<'_, M>) -> Option<u32> {
    let free: Vec<u32> = (0..invite.uses).filter(|s| !invite.taken.contains_key(s)).take(1_000).collect();
    let pick = u64::from_be_bytes(ctx.random()) % (free.len().max(1) as u64);
    free.get(usize::try_from(pick).ok()?).copied()
}

/// A Join for a free seat of an invite, to be offered at a node. It rests on nothing that this does not realise.
pub(crate) fn make_join<M: Mls>(
    (log, dag): (&PolicyLog, &Dag<M::Node>),
    node: NodeId,
    (keys, secret): (&DeviceKeys, &InviteKeys),
    (invite, name): (OpId, String),
    ctx: &mut Ctx<'_, M>,
) -> Option<SignedOp> {
    let slot = free_slot(dag.policy(log, &node).invites.get(&invite)?, ctx)?;
    let at = At { heads: &dag.entry(&node)?.heads, node };
    log.make_join(keys, secret, at, Seat { invite, slot, name }).ok()
}

/// Makes the external commit and the group object around it.
fn enter<M: Mls>(
    mut opened: Opened<M>,
    (keys, name): (&DeviceKeys, &str),
    (secret, invite): (&InviteKeys, OpId),
    ctx: &mut Ctx<'_, M>,
) -> Option<Entered<M>> {
    let at = (&opened.log, &opened.dag);
    let op = make_join(at, opened.node, (keys, secret), (invite, name.to_owned()), ctx)?;
    let (frame, node) = take_seat(&mut opened, keys, &op, ctx)?;
    let network = opened.network.id();
    let start = Start {
        id: opened.log.group()?,
        keys: keys.clone(),
        log: opened.log,
        dag: opened.dag,
        networks: vec![opened.network],
    };
    let mut group = Group::new(start, ctx.today());
    group.own_join = Some(op);
    group.dag.tip = node;
    Some(Entered { group, frame, network })
}

/// Commits from outside on the door's node, carrying the Join.
pub(crate) fn take_seat<M: Mls>(
    opened: &mut Opened<M>,
    keys: &DeviceKeys,
    op: &SignedOp,
    ctx: &mut Ctx<'_, M>,
) -> Option<(CommitFrame, NodeId)> {
    let (commit, child) = ctx.mls.join_external(keys, &opened.group_info, &cbor::to_vec(op)).ok()?;
    let frame = CommitFrame { parent: opened.node, commit };
    let Offered::Accepted(node) = opened.dag.offer(ctx.mls, &mut opened.log, frame.clone()) else { return None };
    opened.dag.nodes.get_mut(&node)?.state = Some(child);
    Some((frame, node))
}
