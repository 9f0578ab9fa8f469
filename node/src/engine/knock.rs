//! Standing outside: a knock at a group that admits by hand, until somebody answers.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    knock,
    mls::{Mls, MlsNode, Rows, Suite},
    persona::DeviceKeys,
    schedule::{Signer, answer_queue, knock_write},
    seal::open_frame,
};
use hearth_protocol::{
    cbor,
    door::{DoorBody, DoorWrapper},
    id::{GroupId, NodeId, QueueId},
    knock::{KnockAnswer, KnockContent},
    limits::GET_MAX,
    link::InviteLink,
    mailbox::{Action, Answer as Stored, Blob, Refusal as Refused},
    packet::Packet,
    time::Timestamp,
};
use minicbor::{Decode, Encode, bytes::ByteVec};
use zeroize::{Zeroize, Zeroizing};

use super::{
    ctx::Ctx,
    group::{Group, Start},
    inbox::{Inbox, key_of},
    join::{Attempt, Lookout, begin_at},
    lane::{LaneCommand, LaneEvent, RelayFailure, Ticket},
};
use crate::{
    app::{
        Answer, GroupRow, GroupState, Join, Kind, MemberRow, PolicyRow, Refusal, RelayRow, RelayState, RoleName, Utc,
    },
    store::Table,
};

/// The key of the row that remembers a knock, beside that of the group itself.
pub(crate) const ROW: &[u8] = b"knock";
/// Mailboxes are looked at again this often: the group may have moved to new keys, and a push may have been missed.
const LOOK_MS: u64 = 10 * 60_000;
/// Until an answer's queue is there: at a member's own mailbox only that member can make it.
const SOON_MS: u64 = 10_000;
/// Who was declined listens on this long.
const LISTEN_MS: u64 = 14 * 24 * 3_600_000;

/// What a knock is, on disk.
#[derive(Clone, Encode, Decode)]
struct KnockRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    seed: [u8; 64],
    #[n(1)]
    link: String,
    #[n(2)]
    content: KnockContent,
    /// Rows of the KeyPackage's private part.
    #[n(3)]
    private: Vec<(ByteVec, ByteVec)>,
    #[n(4)]
    group_name: String,
    #[n(5)]
    charter: String,
    #[n(6)]
    history_days: u16,
    #[n(7)]
    suite: u16,
    /// When it was declined. Any member can say that, facilitator or not: so an answer that admits still counts.
    #[n(8)]
    declined: Option<Timestamp>,
    /// Mailboxes that have the knock, each with the knock key that it is sealed to.
    #[n(9)]
    stored: Vec<(String, ByteVec)>,
}

impl Drop for KnockRow {
    fn drop(&mut self) {
        self.seed.zeroize();
        self.link.zeroize();
        self.private.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// What a ticket stands for.
enum Asked {
    Wrapper,
    /// The knock, sealed to this key.
    Put([u8; 32]),
    Subscribe,
    Create,
}

/// What comes of an event.
pub(crate) enum Outcome<M: Mls> {
    /// Nothing yet.
    Wait,
    /// Declined: it stays on the list until the user takes it away.
    Declined,
    /// Admitted.
    In(Box<Group<M>>),
}

/// A knock.
pub(crate) struct Knocking {
    link: InviteLink,
    keys: DeviceKeys,
    row: KnockRow,
    /// Keys of the mailboxes that are up.
    mailboxes: BTreeMap<String, Option<[u8; 32]>>,
    asked: BTreeMap<Ticket, (String, Asked)>,
    /// Mailboxes that were asked to make the answer's queue in this session.
    made: BTreeSet<String>,
    /// Mailboxes that push answers.
    live: BTreeSet<String>,
    inbox: Inbox,
    look_at: Timestamp,
}

/// What the wrapper told, and who knocks how.
pub(crate) struct Knock {
    pub(crate) keys: DeviceKeys,
    pub(crate) name: String,
    pub(crate) introduction: String,
    pub(crate) wrapper: DoorWrapper,
}

impl Knocking {
    /// A knock that is about to be put. `None` when it cannot be made for that group's suite.
    pub(crate) fn new<M: Mls>(attempt: &Attempt, knock: Knock, ctx: &mut Ctx<'_, M>) -> Option<Self> {
        let Knock { keys, name, introduction, wrapper } = knock;
        let DoorWrapper::Knock { name: group_name, charter, history_days, suite, .. } = &wrapper else { return None };
        let (key_package, private) = ctx.mls.key_package(&keys, Suite::from_code(*suite)?).ok()?;
        let link = attempt.link.clone();
        let (group, invite, persona) = (link.group, link.invite, keys.persona());
        let content = KnockContent { group, invite, persona, name, introduction, key_package, answer: ctx.random() };
        let row = KnockRow {
            seed: *keys.seed(),
            link: link.to_text(),
            content,
            private: private.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            group_name: super::names::shown(group_name),
            charter: charter.clone(),
            history_days: *history_days,
            suite: *suite,
            declined: None,
            stored: Vec::new(),
        };
        let mailboxes = attempt.mailboxes.clone();
        Some(Self::with(link, keys, row, mailboxes))
    }

    fn with(link: InviteLink, keys: DeviceKeys, row: KnockRow, mailboxes: BTreeMap<String, Option<[u8; 32]>>) -> Self {
        let (asked, made, live, inbox) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new(), Inbox::default());
        Self { link, keys, row, mailboxes, asked, made, live, inbox, look_at: Timestamp(0) }
    }

    /// A knock of an earlier run.
    pub(crate) fn restore(row: &[u8]) -> Option<Self> {
        let row: KnockRow = minicbor::decode(row).ok()?;
        let link = InviteLink::parse(&row.link).ok()?;
        let keys = DeviceKeys::from_seed(&Zeroizing::new(row.seed));
        let mailboxes = link.relays.iter().chain(&link.bootstrap).map(|a| (a.clone(), None)).collect();
        Some(Self::with(link, keys, row, mailboxes))
    }

    pub(crate) fn group(&self) -> GroupId {
        self.link.group
    }

    pub(crate) fn persona(&self) -> hearth_protocol::id::PersonaId {
        self.keys.persona()
    }

    pub(crate) fn standing(&self) -> GroupState {
        if self.row.declined.is_some() { GroupState::Declined } else { GroupState::Waiting }
    }

    pub(crate) fn waits(&self) -> bool {
        self.row.declined.is_none()
    }

    /// Whether an answer may still come: who was declined listens on for a while.
    pub(crate) fn listens(&self, now: Timestamp) -> bool {
        self.row.declined.is_none_or(|at| now.since(at) < LISTEN_MS)
    }

    /// What its link shows.
    pub(crate) fn inspected(&self) -> Answer {
        Answer::Inspected {
            group_name: self.row.group_name.clone(),
            charter: self.row.charter.clone(),
            join: Join::Knock,
            history_days: self.row.history_days,
            expires_at: Utc(self.link.expires.start()),
            members_hint: None,
        }
    }

    /// Mailboxes that let this member in, for a group without relays.
    pub(crate) fn bootstrap(&self) -> &[String] {
        &self.link.bootstrap
    }

    pub(crate) fn mailboxes(&self) -> impl Iterator<Item = (&String, &[u8; 32])> {
        self.mailboxes.iter().filter_map(|(address, key)| Some((address, key.as_ref()?)))
    }

    /// Whether some mailbox has the knock.
    pub(crate) fn is_stored(&self) -> bool {
        !self.row.stored.is_empty()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = &String> {
        self.mailboxes.keys()
    }

    pub(crate) fn list_row(&self) -> GroupRow {
        let (group, name, state) = (self.group(), self.row.group_name.clone(), self.standing());
        GroupRow { group, name, role: RoleName::Newcomer, unread: 0, state }
    }

    /// What is known of a group that one stands outside of.
    pub(crate) fn show(&self) -> Answer {
        let you = MemberRow {
            persona: self.persona(),
            name: self.row.content.name.clone(),
            role: RoleName::Newcomer,
            you: true,
            unconfirmed: true,
        };
        let state = |address: &String| match self.mailboxes.get(address) {
            Some(Some(_)) => RelayState::Ok,
            _ => RelayState::Unreachable,
        };
        let relay = |address: &String| {
            let (address, state) = (address.clone(), state(address));
            RelayRow { address, state, held: 0, sees_address: false }
        };
        Answer::Group {
            group: self.group(),
            name: self.row.group_name.clone(),
            charter: self.row.charter.clone(),
            epoch: 0,
            node: NodeId([0; 32]),
            members: vec![you],
            policy: PolicyRow {
                join: Join::Knock,
                history_days: self.row.history_days,
                slow_mode_s: 0,
                shield: false,
                template: None,
                suite: self.row.suite,
            },
            relays: self.link.relays.iter().map(relay).collect(),
            state: self.standing(),
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        match self.row.declined.is_some() {
            true => Refusal::new(Kind::NotPermitted, "you were not admitted to this group"),
            false => Refusal::new(Kind::NotPermitted, "a facilitator has not admitted you yet"),
        }
    }

    /// Writes its row.
    pub(crate) fn save<M: Mls>(&self, ctx: &mut Ctx<'_, M>) {
        ctx.write(self.group(), Table::Group, ROW, Some(cbor::to_vec(&self.row)));
    }

    /// Deletes its row.
    pub(crate) fn forget<M: Mls>(&self, ctx: &mut Ctx<'_, M>) {
        ctx.write(self.group(), Table::Group, ROW, None);
    }

    /// Takes up sessions; goes on with those that are up already.
    pub(crate) fn wake<M: Mls>(&mut self, ctx: &mut Ctx<'_, M>) {
        if !self.listens(ctx.now) {
            return;
        }
        let addresses = self.mailboxes.keys().cloned().collect();
        ctx.send(LaneCommand::Relays { group: self.group(), addresses });
        let up: Vec<_> = self.mailboxes.iter().filter_map(|(a, key)| Some((a.clone(), (*key)?))).collect();
        let all_live = up.iter().all(|(address, _)| self.live.contains(address));
        up.into_iter().for_each(|(address, key)| self.look(&address, &key, ctx));
        self.look_at = ctx.now.plus_ms(if all_live { LOOK_MS } else { SOON_MS });
        ctx.wake_at(self.look_at);
    }

    /// Gives its sessions up.
    pub(crate) fn rest<M: Mls>(&mut self, ctx: &mut Ctx<'_, M>) {
        self.mailboxes.values_mut().for_each(|key| *key = None);
        (self.asked, self.made, self.live) = Default::default();
        // Taken up again when it is next looked at.
        self.look_at = ctx.now;
        ctx.send(LaneCommand::Relays { group: self.group(), addresses: Vec::new() });
    }

    pub(crate) fn tick<M: Mls>(&mut self, ctx: &mut Ctx<'_, M>) {
        if !self.listens(ctx.now) {
            if std::mem::take(&mut self.look_at) > Timestamp(0) {
                self.rest(ctx);
                self.look_at = Timestamp(0);
            }
            return;
        }
        if self.look_at <= ctx.now {
            self.wake(ctx);
        }
        ctx.wake_at(self.look_at);
    }

    /// Looks for the knock key, which changes with the group's network, and for an answer.
    fn look<M: Mls>(&mut self, address: &str, key: &[u8; 32], ctx: &mut Ctx<'_, M>) {
        if self.waits() {
            let slot = self.link_slot(key);
            self.ask(address, Action::SlotGet { slot }, None, Asked::Wrapper, ctx);
        }
        self.subscribe(address, key, ctx);
    }

    fn link_slot(&self, key: &[u8; 32]) -> hearth_protocol::id::SlotId {
        Lookout::of(&self.link).wrapper_slot(key)
    }

    fn subscribe<M: Mls>(&mut self, address: &str, key: &[u8; 32], ctx: &mut Ctx<'_, M>) {
        let queue = answer_queue(&self.row.content.answer, key);
        let action = Action::Subscribe { queue: queue.id, after: 0 };
        self.ask(address, action, Some(queue.read), Asked::Subscribe, ctx);
    }

    fn ask<M: Mls>(
        &mut self,
        address: &str,
        action: Action,
        signer: Option<Signer>,
        asked: Asked,
        ctx: &mut Ctx<'_, M>,
    ) {
        let ticket = ctx.ticket();
        self.asked.insert(ticket, (address.to_owned(), asked));
        ctx.send(LaneCommand::Relay { group: self.group(), address: address.to_owned(), ticket, action, signer });
    }

    pub(crate) fn on_lane<M: Mls>(&mut self, event: LaneEvent, ctx: &mut Ctx<'_, M>) -> Outcome<M> {
        match event {
            LaneEvent::RelayUp { address, relay_key, .. } if self.mailboxes.contains_key(&address) => {
                self.mailboxes.insert(address.clone(), Some(relay_key));
                self.look(&address, &relay_key, ctx);
                self.look_at = self.look_at.min(ctx.now.plus_ms(SOON_MS));
                Outcome::Wait
            }
            LaneEvent::RelayDown { address, .. } => {
                if let Some(key) = self.mailboxes.get_mut(&address) {
                    *key = None;
                }
                self.made.remove(&address);
                self.live.remove(&address);
                self.asked.retain(|_, (at, _)| *at != address);
                Outcome::Wait
            }
            LaneEvent::RelayAnswer { ticket, answer, .. } => match self.asked.remove(&ticket) {
                Some((address, asked)) => self.answered(&address, asked, answer, ctx),
                None => Outcome::Wait,
            },
            LaneEvent::RelayPush { address, queue, blob, .. } => self.read(&address, Some(queue), vec![blob], ctx),
            _ => Outcome::Wait,
        }
    }

    fn answered<M: Mls>(
        &mut self,
        address: &str,
        asked: Asked,
        answer: Result<Stored, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) -> Outcome<M> {
        let Some(key) = self.mailboxes.get(address).copied().flatten() else { return Outcome::Wait };
        match (asked, answer) {
            (Asked::Wrapper, Ok(Stored::Slot { bodies, .. })) => {
                let wrapper = Lookout::of(&self.link).open(&bodies);
                if let Some(DoorWrapper::Knock { knock_pk, queue, suite, .. }) = wrapper {
                    self.suit(suite, ctx);
                    self.put(address, &key, (knock_pk, queue), ctx);
                }
                Outcome::Wait
            }
            (Asked::Put(knock_pk), Ok(Stored::Stored { .. })) => {
                self.row.stored.retain(|(at, _)| at != address);
                self.row.stored.push((address.to_owned(), knock_pk.to_vec().into()));
                self.save(ctx);
                Outcome::Wait
            }
            (Asked::Subscribe, Ok(Stored::Blobs { blobs, more })) => {
                self.live.insert(address.to_owned());
                let after = blobs.last().map(|b| b.seq);
                let outcome = self.read(address, None, blobs, ctx);
                if let (true, Outcome::Wait, Some(after)) = (more, &outcome, after) {
                    let queue = answer_queue(&self.row.content.answer, &key);
                    let max = u16::try_from(GET_MAX).unwrap_or(u16::MAX);
                    let action = Action::Get { queue: queue.id, after, max };
                    self.ask(address, action, Some(queue.read), Asked::Subscribe, ctx);
                }
                outcome
            }
            (Asked::Subscribe, Ok(Stored::Refused(Refused::NotFound))) if self.made.insert(address.to_owned()) => {
                let create = answer_queue(&self.row.content.answer, &key).create();
                self.ask(address, create, None, Asked::Create, ctx);
                Outcome::Wait
            }
            (Asked::Create, Ok(Stored::Created)) => {
                self.subscribe(address, &key, ctx);
                Outcome::Wait
            }
            // Looked at again by and by.
            _ => Outcome::Wait,
        }
    }

    /// Brings a KeyPackage of another suite if the group has restarted under one.
    fn suit<M: Mls>(&mut self, suite: u16, ctx: &mut Ctx<'_, M>) {
        let fresh = Suite::from_code(suite).filter(|_| suite != self.row.suite);
        let Some((key_package, private)) = fresh.and_then(|suite| ctx.mls.key_package(&self.keys, suite).ok()) else {
            return;
        };
        self.row.private.iter_mut().for_each(|(_, value)| value.zeroize());
        self.row.private = private.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        (self.row.content.key_package, self.row.suite) = (key_package, suite);
        self.save(ctx);
    }

    /// Puts the knock into the queue that the wrapper names, unless it lies there.
    fn put<M: Mls>(
        &mut self,
        address: &str,
        key: &[u8; 32],
        (knock_pk, queue): ([u8; 32], QueueId),
        ctx: &mut Ctx<'_, M>,
    ) {
        let lies = |(at, pk): &(String, ByteVec)| at == address && pk.as_slice() == knock_pk;
        if self.row.stored.iter().any(lies) {
            return;
        }
        let signed = knock::sign(&self.keys, &self.row.content);
        let Some(blob) = knock::seal(&knock_pk, &self.group(), &signed) else { return };
        let write = knock_write(&knock_pk, key);
        self.ask(address, Action::Put { queue, blob }, Some(write), Asked::Put(knock_pk), ctx);
    }

    /// Blobs of the answer's queue.
    fn read<M: Mls>(
        &mut self,
        address: &str,
        queue: Option<QueueId>,
        blobs: Vec<Blob>,
        ctx: &mut Ctx<'_, M>,
    ) -> Outcome<M> {
        let Some(key) = self.mailboxes.get(address).copied().flatten() else { return Outcome::Wait };
        let keys = answer_queue(&self.row.content.answer, &key);
        if queue.is_some_and(|q| q != keys.id) {
            return Outcome::Wait;
        }
        let mut declined = false;
        for blob in blobs {
            let packet = open_frame(&keys.seal, &blob.bytes).ok().and_then(|bytes| cbor::read(&bytes).ok());
            match packet.and_then(|packet| self.whole(packet)) {
                Some(KnockAnswer::Declined) if self.waits() => {
                    self.row.declined = Some(ctx.now);
                    self.save(ctx);
                    declined = true;
                }
                Some(KnockAnswer::Admitted { welcome, door }) => {
                    if let Some(group) = self.enter(&welcome, door, ctx) {
                        return Outcome::In(Box::new(group));
                    }
                }
                Some(KnockAnswer::Declined) | None => {}
            }
        }
        if declined { Outcome::Declined } else { Outcome::Wait }
    }

    fn whole(&mut self, packet: Packet) -> Option<KnockAnswer> {
        let packet = match packet {
            Packet::Part { object, index, count, ref bytes } => {
                self.inbox.part(object, index, count, bytes.clone(), key_of(&packet)).whole?
            }
            whole => whole,
        };
        if let Packet::Answer(answer) = packet { Some(answer) } else { None }
    }

    /// Opens the Welcome and verifies what came with it, as behind an open link. What does not check changes nothing.
    fn enter<M: Mls>(&self, welcome: &[u8], door: DoorBody, ctx: &mut Ctx<'_, M>) -> Option<Group<M>> {
        let private: Rows = self.row.private.iter().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
        let node = ctx.mls.join_welcome(&self.keys, &private, welcome).ok()?;
        let (network, at) = (door.keys.network, door.node);
        let mut opened = begin_at(ctx.mls, &self.group(), door, |_| Some(node))?;
        let entry = opened.dag.nodes.get_mut(&at)?;
        let mine = entry.facts.leaves.iter().any(|l| l.device == self.keys.device());
        if !mine || entry.network != network || !entry.state.as_ref().is_some_and(MlsNode::has_secrets) {
            return None;
        }
        let start = Start {
            id: self.group(),
            keys: self.keys.clone(),
            log: opened.log,
            dag: opened.dag,
            networks: vec![opened.network],
        };
        Some(Group::new(start, ctx.today()))
    }
}
