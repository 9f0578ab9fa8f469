//! PURE: the group state machine. No clock, socket, disk or async: `handle(input, now)` returns [`Effects`].
//!
//! # Contract
//! The shell takes the effects of one call in this order: **persist** all writes in one transaction and make
//! them durable, then **send**, then **emit**. If persisting fails, nothing of that call is sent or emitted, the
//! engine is dropped, and a new one is restored from disk. The effects of several calls may be merged in their order
//! and taken together; those for which [`Effects::can_wait`] holds may wait a moment for others. It calls `handle` with [`Input::Tick`] no later than
//! `wake_at`; ticking earlier or more often changes nothing.

pub(crate) mod charters;
pub(crate) mod commands;
pub(crate) mod cover;
pub(crate) mod ctx;
pub(crate) mod dag;
pub(crate) mod desk;
mod events;
pub(crate) mod group;
pub(crate) mod inbox;
pub(crate) mod join;
pub(crate) mod knock;
pub mod lane;
pub(crate) mod names;
pub(crate) mod outbox;
mod settings;
pub(crate) mod timeline;
mod waiting;

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::mls::{Mls, Suite};
use hearth_protocol::{
    id::{GroupId, NodeId, PersonaId},
    time::Timestamp,
};

use crate::{
    app::{Command, CommandId, Event, Kind, Notice, Refusal},
    store::{Row, Table, Write},
};
use ctx::{Ctx, Shared};
use group::Group;
use join::Attempt;
use knock::{Knocking, Outcome};
use lane::{LaneCommand, LaneEvent};
use settings::Settings;
use waiting::Waiting;

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
    /// The process is about to end: what waits only for cover goes out now.
    Closing,
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

impl Effects {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.persist.is_empty() && self.send.is_empty() && self.emit.is_empty()
    }

    /// Whether this is bookkeeping that nobody waits for: how far a queue was read, where own messages are, what
    /// gossip may forward. It may share a later commit; if a crash comes first, it is found out again.
    /// A setting is not: the DHT's peers may be the only way back to the others.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        let waits = |event: &Event| matches!(event, Event::Notice(Notice::MessageDelivery { .. }));
        self.send.iter().all(|command| matches!(command, LaneCommand::Verdict { .. }))
            && self.emit.iter().all(waits)
            && self.persist.iter().all(|write| write.table != Table::Setting)
    }
}

/// What an engine is told once.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Whether what is sent is covered by waits of chance: in private modes.
    pub covered: bool,
    /// Relays of groups created here, at most three.
    pub relays: Vec<String>,
    /// Suite of groups created here; `None` is the default, hybrid post-quantum.
    pub suite: Option<Suite>,
    /// About how many bytes of commits and rosters each group keeps in memory; more, and what is final is left behind.
    /// `None` is the default, 4 MiB.
    pub dag_bytes: Option<usize>,
}

/// All groups of one vault. Generic over the MLS library, so that the simulator can run it with a model.
pub struct Engine<M: Mls> {
    config: EngineConfig,
    shared: Shared<M>,
    groups: BTreeMap<GroupId, Group<M>>,
    attempts: BTreeMap<GroupId, Attempt>,
    knocking: BTreeMap<GroupId, Knocking>,
    waiting: BTreeMap<CommandId, (Waiting, Timestamp)>,
    remembered: BTreeSet<String>,
    settings: Settings,
    bootstrapped: Vec<String>,
    /// Relays that see this computer's address, by the group whose session it is.
    seen_by: BTreeSet<(GroupId, String)>,
    /// When each group wants to be ticked.
    wakes: BTreeMap<GroupId, Timestamp>,
    /// Groups that something happened to in this call.
    touched: BTreeSet<GroupId>,
}

impl<M: Mls> Engine<M> {
    /// An engine without groups. `seed` is 32 bytes of the operating system's entropy (or a test's own).
    pub fn new(mls: M, config: EngineConfig, seed: [u8; 32]) -> Self {
        Self {
            shared: Shared::new(mls, seed, &config),
            config,
            groups: BTreeMap::new(),
            attempts: BTreeMap::new(),
            knocking: BTreeMap::new(),
            waiting: BTreeMap::new(),
            remembered: BTreeSet::new(),
            settings: Settings::default(),
            bootstrapped: Vec::new(),
            seen_by: BTreeSet::new(),
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
                None if row.table == Table::Setting && row.key == settings::KEY => {
                    self.settings = Settings::read(&row.value);
                }
                None => {}
            }
        }
        let mut fx = Effects::default();
        for (id, mut rows) in by_group {
            if let Some(at) = rows.iter().position(|r| r.table == Table::Group && r.key.ends_with(knock::ROW)) {
                let knocking = Knocking::restore(&rows.swap_remove(at).value);
                self.knocking.extend(knocking.map(|k| (id, k)));
                if rows.is_empty() {
                    continue;
                }
            }
            match Group::restore(&self.shared.mls, id, rows, now.day()) {
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
                if group.is_awake() {
                    group.wake(ctx);
                }
            });
        }
        for id in self.knocking.keys().copied().collect::<Vec<_>>() {
            self.outside(&id, now, &mut fx, |knocking, ctx| {
                knocking.wake(ctx);
                Outcome::Wait
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
            Input::Closing => {
                self.shared.cover = None;
                self.groups.values_mut().for_each(Group::hurry);
                self.touched.extend(self.groups.keys());
            }
        }
        self.after(now, &mut fx);
        fx
    }

    /// The last node of a group that enough facilitators signed: it and what is above it are final. With the first node
    /// alone it is that one.
    #[must_use]
    pub fn certified(&self, group: &GroupId) -> Option<NodeId> {
        self.groups.get(group).map(|g| g.dag.certified)
    }

    /// MLS epoch of the node that a group's DAG begins at; 0 is the first node.
    #[must_use]
    pub fn base_epoch(&self, group: &GroupId) -> Option<u64> {
        self.groups.get(group).map(|g| g.dag.base_depth())
    }

    /// How many ops of a group have an effect that no commit of this member's tip realises.
    #[must_use]
    pub fn unrealised(&self, group: &GroupId) -> usize {
        self.groups.get(group).map_or(0, Group::unrealised)
    }

    /// How many ops of a group are here without their attachments.
    #[must_use]
    pub fn bare_ops(&self, group: &GroupId) -> usize {
        let log = self.groups.get(group).map(|g| &g.log);
        log.map_or(0, |log| log.ops_in_order().filter(|(id, _)| log.is_bare(id)).count())
    }

    /// How many nodes lie above the tip of a group, over all its MLS groups.
    #[must_use]
    pub fn depth(&self, group: &GroupId) -> Option<u64> {
        self.groups.get(group)?.dag.tip_entry().map(|e| e.depth)
    }

    /// Whether a node is the tip of a group, or lies above it.
    #[must_use]
    pub fn is_on_the_way(&self, group: &GroupId, node: &NodeId) -> bool {
        self.groups.get(group).is_some_and(|g| g.dag.descends(&g.dag.tip, node))
    }

    /// How often a group's MLS group was begun anew.
    #[must_use]
    pub fn generation(&self, group: &GroupId) -> Option<u32> {
        self.groups.get(group)?.dag.tip_entry().map(|e| e.facts.binding.generation)
    }

    /// The node that began the network that a group writes in.
    #[must_use]
    pub fn network(&self, group: &GroupId) -> Option<NodeId> {
        self.groups.get(group)?.dag.tip_entry().map(|e| e.network)
    }

    /// Forks with rival certificates, over all groups: each proves that somebody broke the signing rule.
    #[must_use]
    pub fn rival_certificates(&self) -> usize {
        self.groups.values().map(|g| g.dag.conflicts).sum()
    }

    /// Who is shown by rival certificates to have broken the signing rule, or was misled by who did: evidence for people,
    /// which convicts nobody by itself.
    #[must_use]
    pub fn suspects(&self, group: &GroupId) -> Vec<PersonaId> {
        self.groups.get(group).map(|g| g.dag.suspects.iter().copied().collect()).unwrap_or_default()
    }

    /// Whether nothing waits to be delivered: then a clean stop need not wait either.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.groups.values().all(Group::is_settled)
    }

    /// Ticks what was touched or is due, and answers what no longer has to wait.
    fn after(&mut self, now: Timestamp, fx: &mut Effects) {
        let due = self.wakes.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id);
        let mut ids = std::mem::take(&mut self.touched);
        ids.extend(due);
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
        let knocking = self.knocking.keys().filter(|id| !self.attempts.contains_key(id));
        for id in knocking.copied().collect::<Vec<_>>() {
            self.outside(&id, now, fx, |knocking, ctx| {
                knocking.tick(ctx);
                Outcome::Wait
            });
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
        let result = f(group, &mut self.shared.ctx(now, fx));
        self.touched.insert(*id);
        if let Some(at) = std::mem::replace(&mut fx.wake_at, others) {
            let wake = self.wakes.entry(*id).or_insert(at);
            *wake = at.min(*wake);
        }
        Some(result)
    }

    fn group(&self, id: &GroupId) -> Result<&Group<M>, Refusal> {
        self.groups.get(id).ok_or_else(|| self.no_group(id))
    }

    /// Why a group cannot be asked: there is none, or one stands outside of it.
    fn no_group(&self, id: &GroupId) -> Refusal {
        self.knocking.get(id).map_or(NO_GROUP, Knocking::refusal)
    }
}
