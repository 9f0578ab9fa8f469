//! PURE: the group state machine. No clock, socket, disk or async: `handle(input, now)` returns [`Effects`].
//!
//! # Contract
//! The shell takes the effects of one call in this order: **persist** all writes in one transaction and make
//! them durable, then **send**, then **emit**. If persisting fails, nothing of that call is sent or emitted, the
//! engine is dropped, and a new one is restored from disk. It calls `handle` with [`Input::Tick`] no later than
//! `wake_at`; ticking earlier or more often changes nothing.

pub(crate) mod charters;
pub(crate) mod ctx;
pub(crate) mod dag;
pub(crate) mod desk;
pub(crate) mod group;
pub(crate) mod inbox;
pub(crate) mod join;
pub mod lane;
pub(crate) mod names;
pub(crate) mod outbox;
pub(crate) mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    mls::{Binding, Mls, MlsNode, Suite},
    persona::DeviceKeys,
    policy::{self, PolicyLog},
    schedule::Network,
};
use hearth_protocol::{
    frame::Control,
    id::{GroupId, OpId},
    limits,
    link::{InviteLink, LinkError},
    name,
    op::{JoinMode, OpBody, Template},
    time::Timestamp,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::{
    app::{
        Answer, Command, CommandId, Event, GroupState, Join, Kind, Notice, PersonaChoice, Refusal, RelayRow, Secret,
        TemplateName,
    },
    store::{Bucket, Row, Table, Write},
};
use ctx::Ctx;
use dag::Dag;
use group::{
    Group, Start,
    ask::{Draft, Page, page_size},
};
use join::{Attempt, Entered, Next, Purpose, mls_group_id};
use lane::{LaneCommand, LaneEvent};

/// How long `invite.create` waits for a relay to hold the door.
const HELD_MS: u64 = 10_000;
/// How long `group.join` waits in all, from its first step to a relay that holds the join.
const STORED_MS: u64 = 43_000;
/// Groups of one vault.
const GROUPS: usize = 256;
/// Addresses of the DHT that are remembered.
const REMEMBERED: usize = 32;

const NO_GROUP: Refusal = Refusal::new(Kind::NotFound, "there is no such group");
const SEED_KEY: &[u8] = b"commons peers";

/// What goes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A command of the user; `vault.*` never reaches the engine, which exists only while the vault is open.
    Command {
        /// Its name.
        id: CommandId,
        /// What is asked.
        command: Command,
    },
    /// Something from the network.
    Lane(LaneEvent),
    /// Time passed.
    Tick,
}

/// What comes out: see the contract above.
#[derive(Debug, Default)]
pub struct Effects {
    /// One transaction; empty when nothing changed.
    pub persist: Vec<Write>,
    /// Then these, in order.
    pub send: Vec<LaneCommand>,
    /// Then these, in order.
    pub emit: Vec<Event>,
    /// When to tick at the latest.
    pub wake_at: Option<Timestamp>,
}

/// What an engine is told once.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Relays of groups created here, at most three.
    pub relays: Vec<String>,
    /// Suite of groups created here; `None` is the default, hybrid post-quantum.
    pub suite: Option<Suite>,
}

/// A reply that waits for a relay.
enum Waiting {
    /// `invite.create`: until a relay holds the door.
    Door { group: GroupId, invite: OpId, link: String },
    /// `group.join`: until a relay or a member has stored the join.
    Stored { group: GroupId },
}

/// All groups of one vault. Generic over the MLS library, so that the simulator can run it with a model.
pub struct Engine<M: Mls> {
    mls: M,
    config: EngineConfig,
    rng: ChaCha20Rng,
    groups: BTreeMap<GroupId, Group<M>>,
    attempts: BTreeMap<GroupId, Attempt>,
    waiting: BTreeMap<CommandId, (Waiting, Timestamp)>,
    next_ticket: u64,
    commons: Vec<String>,
    remembered: BTreeSet<String>,
    bootstrapped: Vec<String>,
    /// When each group wants to be ticked.
    wakes: BTreeMap<GroupId, Timestamp>,
    /// Groups that something happened to in this call.
    touched: BTreeSet<GroupId>,
}

impl<M: Mls> Engine<M> {
    /// An engine without groups. `seed` is 32 bytes of the operating system's entropy (or a test's own).
    pub fn new(mls: M, config: EngineConfig, seed: [u8; 32]) -> Self {
        Self {
            mls,
            config,
            rng: ChaCha20Rng::from_seed(seed),
            groups: BTreeMap::new(),
            attempts: BTreeMap::new(),
            waiting: BTreeMap::new(),
            next_ticket: 0,
            commons: Vec::new(),
            remembered: BTreeSet::new(),
            bootstrapped: Vec::new(),
            wakes: BTreeMap::new(),
            touched: BTreeSet::new(),
        }
    }

    /// Brings back what an earlier run persisted, and what it has to do first. A group whose rows do not read is
    /// reported, and left on disk as it is.
    pub fn restore(&mut self, rows: Vec<Row>, now: Timestamp) -> Effects {
        let mut by_group: BTreeMap<GroupId, Vec<Row>> = BTreeMap::new();
        for row in rows {
            match row.bucket.group {
                Some(group) => by_group.entry(group).or_default().push(row),
                None if row.table == Table::Setting && row.key == SEED_KEY => {
                    let text = String::from_utf8_lossy(&row.value);
                    self.remembered = text.lines().map(str::to_owned).collect();
                }
                None => {}
            }
        }
        let mut fx = Effects::default();
        for (id, rows) in by_group {
            match Group::restore(&self.mls, id, rows, now.day()) {
                Some(group) => {
                    self.groups.insert(id, group);
                }
                None => fx
                    .emit
                    .push(Event::Notice(Notice::Warning { text: "a group's data is damaged and was left aside" })),
            }
        }
        let ids: Vec<_> = self.groups.keys().copied().collect();
        for id in ids {
            self.with(&id, now, &mut fx, |group, ctx| {
                if group.is_joined() {
                    group.wake(ctx);
                }
            });
        }
        self.bootstrap(&mut fx);
        self.after(now, &mut fx);
        fx
    }

    /// The one way in: see the module's contract.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Effects {
        let mut fx = Effects::default();
        match input {
            Input::Command { id, command } => self.command(id, command, now, &mut fx),
            Input::Lane(event) => self.lane(event, now, &mut fx),
            Input::Tick => {}
        }
        self.after(now, &mut fx);
        fx
    }

    /// Whether nothing waits to be delivered: then a clean stop need not wait either.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.groups.values().all(Group::is_settled)
    }

    /// Ticks what was touched or is due, and answers what no longer has to wait.
    fn after(&mut self, now: Timestamp, fx: &mut Effects) {
        let due = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id);
        let ids: BTreeSet<_> = due.chain(std::mem::take(&mut self.touched)).collect();
        for id in ids {
            self.wakes.remove(&id);
            self.with(&id, now, fx, |group, ctx| {
                group.tick(ctx);
                group.settle(ctx);
            });
        }
        self.touched.clear();
        for id in self.attempts.keys().copied().collect::<Vec<_>>() {
            self.attempt(&id, now, fx, |attempt, ctx| attempt.tick(ctx));
        }
        self.answer_waiting(now, fx);
        fx.wake_at = self.wakes.values().copied().chain(fx.wake_at).min();
    }

    /// Runs `f` on a group, and notes when the group wants to be ticked.
    fn with<R>(
        &mut self,
        id: &GroupId,
        now: Timestamp,
        fx: &mut Effects,
        f: impl FnOnce(&mut Group<M>, &mut Ctx<'_, M>) -> R,
    ) -> Option<R> {
        let group = self.groups.get_mut(id)?;
        let others = fx.wake_at.take();
        let mut ctx = Ctx {
            mls: &self.mls,
            now,
            rng: &mut self.rng,
            fx,
            next_ticket: &mut self.next_ticket,
            commons: &self.commons,
        };
        let result = f(group, &mut ctx);
        self.touched.insert(*id);
        if let Some(at) = std::mem::replace(&mut fx.wake_at, others) {
            let wake = self.wakes.entry(*id).or_insert(at);
            *wake = at.min(*wake);
        }
        Some(result)
    }

    fn lane(&mut self, event: LaneEvent, now: Timestamp, fx: &mut Effects) {
        match event {
            LaneEvent::CommonsListening { addresses } => self.commons = addresses,
            LaneEvent::CommonsPeers { addresses } => self.remember(addresses, fx),
            LaneEvent::DhtFound { key, value } => {
                for id in self.groups.keys().copied().collect::<Vec<_>>() {
                    let event = LaneEvent::DhtFound { key, value: value.clone() };
                    self.with(&id, now, fx, |group, ctx| group.on_lane(event, ctx));
                }
            }
            event => {
                let Some(group) = group_of(&event) else { return };
                if self.attempts.contains_key(&group) {
                    self.attempt(&group, now, fx, |attempt, ctx| attempt.on_lane(event, ctx));
                } else {
                    self.with(&group, now, fx, |group, ctx| group.on_lane(event, ctx));
                }
            }
        }
    }

    /// Keeps addresses of the DHT for the next start.
    fn remember(&mut self, addresses: Vec<String>, fx: &mut Effects) {
        let before = self.remembered.len();
        self.remembered.extend(addresses.into_iter().filter(|a| a.len() <= limits::ADDRESS_MAX));
        while self.remembered.len() > REMEMBERED {
            self.remembered.pop_first();
        }
        if self.remembered.len() != before {
            let text: Vec<_> = self.remembered.iter().map(String::as_str).collect();
            let bucket = Bucket { group: None, expires: None };
            let value = Some(text.join("\n").into_bytes());
            fx.persist.push(Write { bucket, table: Table::Setting, key: SEED_KEY.to_vec(), value });
        }
    }

    /// Tells the DHT where to begin: relays of all groups, links being tried, and remembered members.
    fn bootstrap(&mut self, fx: &mut Effects) {
        let joined = self.groups.values().filter(|g| g.is_joined());
        let mut addresses: BTreeSet<String> = joined.flat_map(|g| g.relays().iter().cloned()).collect();
        addresses.extend(self.attempts.values().flat_map(|a| a.link.relays.iter().chain(&a.link.bootstrap).cloned()));
        addresses.extend(self.remembered.iter().cloned());
        let addresses: Vec<_> = addresses.into_iter().collect();
        if addresses != self.bootstrapped {
            self.bootstrapped.clone_from(&addresses);
            fx.send.push(LaneCommand::DhtBootstrap { addresses });
        }
    }

    fn attempt(
        &mut self,
        id: &GroupId,
        now: Timestamp,
        fx: &mut Effects,
        f: impl FnOnce(&mut Attempt, &mut Ctx<'_, M>) -> Next<M>,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let mut ctx = Ctx {
            mls: &self.mls,
            now,
            rng: &mut self.rng,
            fx,
            next_ticket: &mut self.next_ticket,
            commons: &self.commons,
        };
        match f(attempt, &mut ctx) {
            Next::Wait => {}
            Next::Reply(result) => {
                ctx.reply(attempt.command, result);
                self.attempts.remove(id);
                match self.groups.contains_key(id) {
                    // Only looked at a group that one is in: its own sessions go on.
                    true => {
                        self.with(id, now, fx, |group, ctx| group.use_relays(ctx));
                    }
                    false => fx.send.push(LaneCommand::Relays { group: *id, addresses: Vec::new() }),
                }
            }
            Next::In(entered) => {
                let Some(attempt) = self.attempts.remove(id) else { return };
                self.enter(attempt, *entered, now, fx);
            }
        }
    }

    /// A door was passed: the group is on disk before its commit leaves.
    fn enter(&mut self, attempt: Attempt, entered: Entered<M>, now: Timestamp, fx: &mut Effects) {
        let Entered { mut group, frame, network } = entered;
        let id = group.id;
        group.guest_of(&attempt);
        self.groups.insert(id, group);
        self.with(&id, now, fx, |group, ctx| {
            group.save_all(ctx);
            group.refresh(ctx);
            for (address, key) in attempt.mailboxes {
                if let Some(key) = key {
                    group.on_lane(LaneEvent::RelayUp { group: id, address, relay_key: key }, ctx);
                }
            }
            group.publish_control(Control::Commit(frame), network, ctx);
        });
        self.bootstrap(fx);
        self.waiting.insert(attempt.command, (Waiting::Stored { group: id }, attempt.since.plus_ms(STORED_MS)));
    }

    fn answer_waiting(&mut self, now: Timestamp, fx: &mut Effects) {
        let mut done = Vec::new();
        for (command, (waiting, deadline)) in &self.waiting {
            let late = *deadline <= now;
            let result = match waiting {
                Waiting::Door { group, invite, link } => {
                    let held = self.groups.get(group).is_some_and(|g| g.doors.held.contains(invite));
                    // Without relays the link works as soon as the door stands at home.
                    let home = self
                        .groups
                        .get(group)
                        .is_some_and(|g| g.relays().is_empty() && g.doors.at_home.contains(invite));
                    (held || home || late)
                        .then(|| Ok(Answer::Invite { invite: *invite, link: Secret::new(link.clone()), held }))
                }
                Waiting::Stored { group } => {
                    let stored = self.groups.get(group).filter(|g| g.join_is_stored());
                    match stored {
                        Some(g) => Some(Ok(Answer::Joined { group: *group, state: g.standing, persona: g.me() })),
                        None if late => Some(Err(Refusal::new(
                            Kind::Offline,
                            "no relay or member could store the join: try again later",
                        ))),
                        None => None,
                    }
                }
            };
            match result {
                Some(result) => done.push((*command, result)),
                None => fx.wake_at = Some(fx.wake_at.map_or(*deadline, |w| w.min(*deadline))),
            }
        }
        for (command, result) in done {
            let waiting = self.waiting.remove(&command);
            match (&result, waiting) {
                (Ok(Answer::Joined { group, persona, .. }), _) => {
                    fx.emit.push(Event::Notice(Notice::GroupJoined { group: *group, persona: *persona }));
                }
                (Err(_), Some((Waiting::Stored { group }, _))) => self.forget(&group, now, fx),
                _ => {}
            }
            fx.emit.push(Event::Reply { command, result });
        }
    }

    /// Takes back a join that nobody stored: nothing of it stays.
    fn forget(&mut self, id: &GroupId, now: Timestamp, fx: &mut Effects) {
        self.with(id, now, fx, |group, ctx| {
            group.close_lanes(ctx);
            group.delete_rows(ctx);
        });
        self.groups.remove(id);
    }

    fn group(&self, id: &GroupId) -> Result<&Group<M>, Refusal> {
        self.groups.get(id).ok_or(NO_GROUP)
    }

    fn command(&mut self, id: CommandId, command: Command, now: Timestamp, fx: &mut Effects) {
        if let Some(result) = self.run(id, command, now, fx) {
            fx.emit.push(Event::Reply { command: id, result });
        }
    }

    /// Runs a command; `None` when its reply comes later.
    fn run(
        &mut self,
        id: CommandId,
        command: Command,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Option<Result<Answer, Refusal>> {
        macro_rules! on {
            ($group:expr, |$g:ident, $ctx:ident| $body:expr) => {
                Some(self.with(&$group, now, fx, |$g, $ctx| $body).unwrap_or(Err(NO_GROUP)))
            };
        }
        match command {
            Command::VaultCreate { .. }
            | Command::VaultUnlock { .. }
            | Command::VaultLock {}
            | Command::VaultChangePassphrase { .. } => {
                Some(Err(Refusal::new(Kind::Conflict, "the vault is open already")))
            }
            Command::Status {} => Some(Ok(self.status())),
            Command::GroupCreate { name, template, join, history_days, persona } => {
                Some(self.create((name, template, join), history_days, persona, now, fx))
            }
            Command::GroupList {} => {
                Some(Ok(Answer::Groups { groups: self.groups.values().map(Group::row).collect() }))
            }
            Command::GroupPage { limit, before, after } => Some(self.group_page(limit, before, after)),
            Command::GroupShow { group } => Some(self.group(&group).and_then(Group::show)),
            Command::GroupSet { group, charter, history_days, slow_mode_s, shield, relays } => {
                let body = OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors: None };
                on!(group, |g, ctx| check_policy(&body).and_then(|()| g.set_policy(body, ctx)))
            }
            Command::GroupLeave { group } => on!(group, |g, ctx| g.leave(ctx)),
            Command::InviteCreate { group, uses, expires_in_s, role } => {
                let made = self.with(&group, now, fx, |g, ctx| g.invite(uses, expires_in_s, role, ctx));
                match made.unwrap_or(Err(NO_GROUP)) {
                    Err(refusal) => Some(Err(refusal)),
                    Ok((invite, link)) => {
                        self.waiting.insert(id, (Waiting::Door { group, invite, link }, now.plus_ms(HELD_MS)));
                        None
                    }
                }
            }
            Command::InviteInspect { link } => self.begin(&link, Purpose::Inspect, id, now, fx),
            Command::InviteRevoke { group, invite } => on!(group, |g, ctx| g.revoke(invite, ctx)),
            Command::GroupJoin { link, persona, introduction: _, accept_charter } => {
                if !accept_charter {
                    return Some(Err(Refusal::new(Kind::Invalid, "read the charter and accept it first")));
                }
                let name = match self.persona_name(persona) {
                    Ok(name) => name,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let keys = DeviceKeys::generate(&mut self.rng);
                self.begin(&link, Purpose::Join { keys, name }, id, now, fx)
            }
            Command::MemberSetRole { group, persona, role } => on!(group, |g, ctx| g.set_role(persona, role, ctx)),
            Command::MemberRemove { group, persona, reason } => on!(group, |g, ctx| g.remove(persona, reason, ctx)),
            Command::MessageSend { group, text, topic, reply_to, content_note, expires_in_s, library_consent } => {
                let draft = Draft { text, topic, reply_to, content_note, expires_in_s, library_consent };
                on!(group, |g, ctx| g.send_message(draft, ctx))
            }
            Command::MessageEdit { group, message, text } => on!(group, |g, ctx| g.edit(message, &text, ctx)),
            Command::MessageRetract { group, message } => on!(group, |g, ctx| g.retract(message, ctx)),
            Command::MessageReact { group, message, reaction, on } => {
                on!(group, |g, ctx| g.react(message, reaction, on, ctx))
            }
            Command::MessageList { group, topic, before, after, limit, newest } => {
                let page = Page { topic, before, after, limit, newest: newest.unwrap_or(false) };
                Some(self.group(&group).and_then(|g| g.list(&page)))
            }
            Command::MessageStatus { group, message } => Some(self.group(&group).and_then(|g| g.status(&message))),
            Command::RelayAdd { group, address } => on!(group, |g, ctx| g.add_relay(address, ctx)),
            Command::RelayRemove { group, address } => on!(group, |g, ctx| g.remove_relay(&address, ctx)),
            Command::RelayList { group } => Some(self.group(&group).map(|g| Answer::Relays { relays: g.relay_rows() })),
            Command::NetworkSync { group } => {
                let ids: Vec<_> = self.groups.keys().filter(|g| group.is_none_or(|w| w == **g)).copied().collect();
                if ids.is_empty() && group.is_some() {
                    return Some(Err(NO_GROUP));
                }
                for id in ids {
                    self.with(&id, now, fx, |g, ctx| g.sync_now(ctx));
                }
                Some(Ok(Answer::Done {}))
            }
            Command::DebugTip { group } => Some(self.group(&group).and_then(Group::debug_tip)),
            Command::GroupSeen { group } => on!(group, |g, ctx| Ok(g.mark_seen(ctx))),
            Command::DraftSet { group, text } => on!(group, |g, ctx| g.set_draft(&text, ctx)),
            Command::DraftGet { group } => {
                Some(self.group(&group).map(|g| Answer::Draft { text: Secret::new(g.draft.clone()) }))
            }
        }
    }

    /// Groups by id; `before` and `after` are exclusive.
    fn group_page(
        &self,
        limit: Option<u32>,
        before: Option<GroupId>,
        after: Option<GroupId>,
    ) -> Result<Answer, Refusal> {
        for named in before.iter().chain(&after) {
            self.group(named)?;
        }
        let limit = page_size(limit);
        let inside = |id: &GroupId| before.is_none_or(|b| *id < b) && after.is_none_or(|a| *id > a);
        let rows = self.groups.iter().filter(|(id, _)| inside(id)).map(|(_, group)| group.row());
        // A page before a group is counted from its end.
        let mut groups: Vec<_> = match (before, after) {
            (Some(_), None) => rows.rev().take(limit).collect(),
            _ => rows.take(limit).collect(),
        };
        groups.sort_by_key(|row| row.group);
        Ok(Answer::Groups { groups })
    }

    fn status(&self) -> Answer {
        let joined = || self.groups.values().filter(|g| g.is_joined());
        let mut relays: BTreeMap<String, RelayRow> = BTreeMap::new();
        for row in joined().flat_map(Group::relay_rows) {
            let known = relays.entry(row.address.clone()).or_insert_with(|| RelayRow { held: 0, ..row.clone() });
            known.held += row.held;
        }
        Answer::Status {
            locked: false,
            exists: true,
            mode: "direct",
            version: env!("CARGO_PKG_VERSION"),
            groups: joined().count(),
            peers: joined().map(|g| g.links.members()).sum(),
            relays: relays.into_values().collect(),
            store_bytes: 0,
        }
    }

    fn persona_name(&mut self, choice: Option<PersonaChoice>) -> Result<String, Refusal> {
        match choice.and_then(|c| c.name) {
            None => Ok(names::generate(&mut self.rng)),
            Some(given) => {
                name::clean(&given).ok_or(Refusal::new(Kind::Invalid, "a name has 1 to 64 visible characters"))
            }
        }
    }

    fn create(
        &mut self,
        (name, template, join): (String, Option<TemplateName>, Join),
        history_days: Option<u16>,
        persona: Option<PersonaChoice>,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<Answer, Refusal> {
        if self.groups.len() >= GROUPS {
            return Err(Refusal::new(Kind::TooLarge, "this vault holds as many groups as it can: leave one first"));
        }
        let name =
            name::clean(&name).ok_or(Refusal::new(Kind::Invalid, "a group's name has 1 to 64 visible characters"))?;
        let history_days = history_days.unwrap_or(0);
        check_history(history_days)?;
        let founder = self.persona_name(persona)?;
        let keys = DeviceKeys::generate(&mut self.rng);
        let mut salt = [0; 16];
        rand::Rng::fill_bytes(&mut self.rng, &mut salt);
        let suite = self.config.suite.unwrap_or(Suite::Hybrid);
        let body = OpBody::Genesis {
            name,
            charter: charters::charter(template).to_owned(),
            template: template.map(template_of),
            join: if join == Join::Open { JoinMode::Open } else { JoinMode::Knock },
            history_days,
            suite: suite.code(),
            relays: self.config.relays.iter().take(limits::RELAYS_MAX).cloned().collect(),
            founder,
            salt,
        };
        let failed = Refusal::new(Kind::Invalid, "the group could not be made: shorten its name");
        let genesis = policy::genesis(&keys, body);
        let id = GroupId(genesis.id().0);
        let mut log = PolicyLog::for_group(id);
        log.insert(genesis.clone()).map_err(|_| failed.clone())?;
        let heads = log.heads();
        let state = log.state_at(&heads, &());
        let binding =
            Binding { heads, roster_root: state.roster_root(), network: None, first_day: now.day().0, generation: 0 };
        let root = self.mls.create(&keys, &mls_group_id(&genesis, 0), suite, &binding).map_err(|_| failed.clone())?;
        let base_info = root.group_info(&keys).map_err(|_| failed.clone())?;
        let networks = vec![Network::begin(&root).map_err(|_| failed)?];
        let dag = Dag::new(root, base_info, &log);
        let persona = keys.persona();
        self.groups.insert(id, Group::new(Start { id, keys, log, dag, networks }, now.day()));
        self.with(&id, now, fx, |group, ctx| {
            group.save_all(ctx);
            group.wake(ctx);
        });
        self.bootstrap(fx);
        Ok(Answer::GroupCreated { group: id, persona })
    }

    /// Begins to look behind a link.
    fn begin(
        &mut self,
        link: &Secret,
        purpose: Purpose,
        command: CommandId,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Option<Result<Answer, Refusal>> {
        let link = match InviteLink::parse(link.expose()) {
            Ok(link) => link,
            Err(LinkError::Checksum) => {
                return Some(Err(Refusal::new(Kind::Invalid, "the link is damaged: copy it again, whole")));
            }
            Err(_) => return Some(Err(Refusal::new(Kind::Invalid, "this is not a Hearth invite link"))),
        };
        if link.expires <= now.minute() {
            return Some(Err(Refusal::new(Kind::Expired, "this link has expired: ask for a new one")));
        }
        let id = link.group;
        let joined =
            self.groups.get(&id).is_some_and(|g| matches!(g.standing, GroupState::Joined | GroupState::Waiting));
        if self.attempts.contains_key(&id) {
            return Some(Err(Refusal::new(Kind::Conflict, "this link is being tried already: wait for the answer")));
        }
        if joined {
            return Some(match purpose {
                Purpose::Join { .. } => Err(Refusal::new(Kind::Conflict, "you are in this group already")),
                Purpose::Inspect => self.group(&id).and_then(|g| g.inspect(link.expires, now)),
            });
        }
        if let Purpose::Join { .. } = purpose
            && self.groups.contains_key(&id)
        {
            // Left or removed before: this link makes a new persona, and the old one's rows go.
            self.forget(&id, now, fx);
        }
        let attempt = Attempt::new(link, purpose, command, now);
        self.attempts.insert(id, attempt);
        self.bootstrap(fx);
        self.attempt(&id, now, fx, |attempt, ctx| {
            attempt.begin(ctx);
            Next::Wait
        });
        None
    }
}

/// The group that an event concerns.
fn group_of(event: &LaneEvent) -> Option<GroupId> {
    match event {
        LaneEvent::Listening { lane, .. }
        | LaneEvent::LinkUp { lane, .. }
        | LaneEvent::LinkDown { lane, .. }
        | LaneEvent::Message { lane, .. }
        | LaneEvent::Gossip { lane, .. } => Some(lane.group),
        LaneEvent::RelayUp { group, .. }
        | LaneEvent::RelayDown { group, .. }
        | LaneEvent::RelayAnswer { group, .. }
        | LaneEvent::RelayPush { group, .. } => Some(*group),
        LaneEvent::CommonsListening { .. } | LaneEvent::CommonsPeers { .. } | LaneEvent::DhtFound { .. } => None,
    }
}

fn check_history(days: u16) -> Result<(), Refusal> {
    let known = matches!(days, 0 | 7 | 30 | 90);
    known.then_some(()).ok_or(Refusal::new(Kind::Invalid, "the history window is 0, 7, 30 or 90 days"))
}

fn check_policy(body: &OpBody) -> Result<(), Refusal> {
    let OpBody::SetPolicy { charter, history_days, relays, .. } = body else { return Ok(()) };
    if charter.as_ref().is_some_and(|c| c.len() > limits::CHARTER_MAX) {
        return Err(Refusal::new(Kind::TooLarge, "a charter holds at most 16 KiB"));
    }
    if let Some(relays) = relays {
        check_relays(relays)?;
    }
    history_days.map_or(Ok(()), check_history)
}

/// Relays are named by an address that ends in their identity.
pub(crate) fn check_relays(relays: &[String]) -> Result<(), Refusal> {
    if relays.len() > limits::RELAYS_MAX {
        return Err(Refusal::new(Kind::TooLarge, "a group has at most three relays"));
    }
    if (1..relays.len()).any(|at| relays[..at].contains(&relays[at])) {
        return Err(Refusal::new(Kind::Invalid, "a relay is named twice"));
    }
    if relays.iter().all(|a| a.len() <= limits::ADDRESS_MAX && is_relay_address(a)) {
        Ok(())
    } else {
        Err(Refusal::new(
            Kind::Invalid,
            "a relay's address is /ip4/ADDRESS/tcp/PORT/p2p/IDENTITY, as the relay prints it",
        ))
    }
}

/// Host, port, identity: whether somebody answers there is seen when it is tried.
fn is_relay_address(address: &str) -> bool {
    let port = |text: &str| text.parse::<u16>().is_ok_and(|port| port != 0);
    let parts: Vec<&str> = address.split('/').collect();
    match parts.as_slice() {
        ["", "ip4" | "ip6" | "dns" | "dns4" | "dns6", host, "tcp", number, "p2p", identity]
        | ["", "ip4" | "ip6" | "dns" | "dns4" | "dns6", host, "udp", number, "quic-v1", "p2p", identity] => {
            !host.is_empty() && port(number) && !identity.is_empty()
        }
        _ => false,
    }
}

fn template_of(name: TemplateName) -> Template {
    match name {
        TemplateName::Recovery => Template::Recovery,
        TemplateName::Illness => Template::Illness,
        TemplateName::Caregivers => Template::Caregivers,
        TemplateName::Grief => Template::Grief,
        TemplateName::Open => Template::Open,
    }
}
