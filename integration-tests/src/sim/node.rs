//! One member's computer: an engine, its disk, and how its effects are carried out.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::mls::Mls;
use hearth_node::{
    app::{Answer, Command, CommandId, Event, Notice, Refusal},
    engine::{
        Effects, Engine, EngineConfig, Input,
        lane::{LaneCommand, LaneKey, LinkId},
    },
    relay::mailbox::SessionId,
    store::{Bucket, Row, Table, Write},
};
use hearth_protocol::{
    id::{GroupId, MessageId},
    time::{Day, Timestamp},
};
use rand::Rng;
use sha2::Digest;

use super::{Crash, Happening, When, World};

/// Most commands that one input may send, and most rows that it may write.
const SENDS_MAX: usize = 10_000;
const WRITES_MAX: usize = 50_000;

pub(super) type Key = (Option<GroupId>, Option<u64>, Table, Vec<u8>);

/// One member's computer.
pub(crate) struct Node<M: Mls> {
    pub(super) engine: Option<Engine<M>>,
    pub(super) disk: BTreeMap<Key, Vec<u8>>,
    /// Counts starts: what was under way for an earlier life is dropped.
    pub(super) life: u32,
    pub(super) skew: i64,
    pub(super) lanes: BTreeMap<LaneKey, BTreeSet<[u8; 16]>>,
    pub(super) links: BTreeMap<LinkId, Link>,
    pub(super) wanted: BTreeMap<GroupId, BTreeSet<usize>>,
    pub(super) sessions: BTreeMap<(GroupId, usize), SessionId>,
    /// The tick that is planned.
    pub(super) next_tick: Option<When>,
    pub(crate) replies: BTreeMap<CommandId, Result<Answer, Refusal>>,
    /// Messages announced as new, over all lives.
    pub(crate) announced: BTreeMap<MessageId, usize>,
    pub(crate) notices: Vec<Notice>,
    /// Own messages that a relay, or only a member, was said to have, and whether it was a relay.
    pub(crate) held: BTreeMap<MessageId, bool>,
    /// The depth at which it came in.
    pub(crate) entered: Option<u64>,
    pub(super) crash: Option<Crash>,
}

#[derive(Clone, Copy)]
pub(super) struct Link {
    pub(super) lane: LaneKey,
    pub(super) other: usize,
    pub(super) other_link: LinkId,
}

impl<M: Mls> Node<M> {
    pub(super) fn new(skew: i64) -> Self {
        Self {
            engine: None,
            disk: BTreeMap::new(),
            life: 0,
            skew,
            lanes: BTreeMap::new(),
            links: BTreeMap::new(),
            wanted: BTreeMap::new(),
            sessions: BTreeMap::new(),
            next_tick: None,
            replies: BTreeMap::new(),
            announced: BTreeMap::new(),
            notices: Vec::new(),
            held: BTreeMap::new(),
            entered: None,
            crash: None,
        }
    }
}

impl<M: Mls> World<M> {
    /// The time that a node's clock shows.
    pub(super) fn clock(&self, node: usize) -> Timestamp {
        let skew = self.nodes.get(node).map_or(0, |n| n.skew);
        Timestamp(self.now.saturating_add_signed(skew))
    }

    /// Whether a node speaks to relays only.
    pub(super) fn is_relayed(&self, node: usize) -> bool {
        node < 64 && self.relayed >> node & 1 == 1
    }

    /// Starts a node, from its disk.
    pub(crate) fn start(&mut self, node: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let relays = self.relays.iter().map(|r| r.address.clone()).collect();
        let mls = (self.make)(self.rng.next_u64());
        let (suite, dag_bytes, covered) = (Some(self.suite), self.dag_bytes, self.is_relayed(node));
        let mut engine = Engine::new(mls, EngineConfig { relays, suite, dag_bytes, covered }, seed);
        let now = self.clock(node);
        let Some(at) = self.nodes.get_mut(node) else { return };
        if at.engine.is_some() {
            return;
        }
        let rows = at.disk.iter().map(|((group, expires, table, key), value)| Row {
            bucket: Bucket { group: *group, expires: expires.map(Day) },
            table: *table,
            key: key.clone(),
            value: value.clone(),
        });
        at.life += 1;
        let effects = engine.restore(rows.collect(), now);
        at.engine = Some(engine);
        self.apply(node, effects);
    }

    /// Stops a node at once: what it had not persisted is lost, and so is what it was sending.
    pub(crate) fn stop(&mut self, node: usize) {
        for link in self.nodes.get(node).map(|n| n.links.keys().copied().collect::<Vec<_>>()).unwrap_or_default() {
            self.break_link(node, link);
        }
        self.drop_sessions(node, None);
        if let Some(at) = self.nodes.get_mut(node) {
            at.engine = None;
            at.life += 1;
            at.lanes.clear();
            at.wanted.clear();
            at.next_tick = None;
            at.crash = None;
        }
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|n| n.engine.is_some())
    }

    /// Gives a node a command; its reply lands in `replies`.
    pub(crate) fn ask(&mut self, node: usize, command: Command) -> CommandId {
        let id = CommandId(self.fresh());
        self.input(node, Input::Command { id, command });
        id
    }

    /// Asks something that is answered at once.
    pub(crate) fn query(&mut self, node: usize, command: Command) -> Option<Answer> {
        let id = self.ask(node, command);
        self.nodes.get_mut(node)?.replies.remove(&id)?.ok()
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let now = self.clock(node);
        let Some(engine) = self.nodes.get_mut(node).and_then(|n| n.engine.as_mut()) else { return };
        let effects = engine.handle(input, now);
        self.apply(node, effects);
    }

    /// Persist, then send, then emit; unless the node is about to crash.
    pub(super) fn apply(&mut self, node: usize, effects: Effects) {
        if effects.send.len() > SENDS_MAX || effects.persist.len() > WRITES_MAX {
            self.breaks(8, "one input had effects without bound");
        }
        if let Some(effects) = self.hold(node, effects).and_then(|effects| self.spare(node, effects)) {
            self.carry_out(node, effects);
        }
    }

    pub(super) fn carry_out(&mut self, node: usize, effects: Effects) {
        let Effects { persist, send, emit, wake_at } = effects;
        self.note(node, &persist, &send);
        let entered = self.persist(node, persist);
        self.emit(node, emit);
        let Some(at) = self.nodes.get_mut(node) else { return };
        let (life, skew) = (at.life, at.skew);
        if let Some(wake) = wake_at {
            let due = wake.0.saturating_add_signed(-skew).max(self.now + 1);
            let planned = at.next_tick;
            if planned.is_none_or(|(at, _)| due < at) {
                planned.and_then(|when| self.happenings.remove(&when));
                let tick = self.put_down(due, Happening::Tick { node, life });
                if let Some(at) = self.nodes.get_mut(node) {
                    at.next_tick = Some(tick);
                }
            }
        }
        for command in send {
            self.carry(node, command);
        }
        if let Some(group) = entered
            && let Some(at) = self.nodes.get_mut(node)
        {
            at.entered = at.engine.as_ref().and_then(|e| e.depth(&group));
        }
    }

    /// One transaction. Tells of a group whose own row was not there before.
    pub(super) fn persist(&mut self, node: usize, writes: Vec<Write>) -> Option<GroupId> {
        let at = self.nodes.get_mut(node)?;
        let mut entered = None;
        for Write { bucket, table, key, value } in writes {
            let key = (bucket.group, bucket.expires.map(|d| d.0), table, key);
            let Some(value) = value else {
                at.disk.remove(&key);
                continue;
            };
            let fresh = at.disk.insert(key, value).is_none();
            if fresh && table == Table::Group {
                entered = bucket.group;
            }
        }
        entered
    }

    fn emit(&mut self, node: usize, events: Vec<Event>) {
        let Some(at) = self.nodes.get_mut(node) else { return };
        for event in events {
            match event {
                Event::Reply { command, result } => {
                    at.replies.insert(command, result);
                }
                Event::Notice(Notice::MessageNew { row, .. }) => *at.announced.entry(row.message).or_default() += 1,
                Event::Notice(Notice::MessageDelivery { message, relays, members_reached, .. })
                    if relays + members_reached > 0 =>
                {
                    *at.held.entry(message).or_default() |= relays > 0;
                }
                Event::Notice(notice) => at.notices.push(notice),
                Event::Resync => {}
            }
        }
    }

    /// The trace covers what was written and sent, by size and content.
    pub(super) fn note(&mut self, node: usize, persist: &[Write], send: &[LaneCommand]) {
        self.trace.update(self.now.to_be_bytes());
        self.trace.update((node as u64).to_be_bytes());
        for write in persist {
            self.trace.update([write.table as u8]);
            self.trace.update(&write.key);
            self.trace.update(write.value.as_deref().unwrap_or_default());
        }
        self.trace.update((send.len() as u64).to_be_bytes());
    }

    pub(super) fn is_alive(&self, node: usize, life: u32) -> bool {
        self.nodes.get(node).is_some_and(|n| n.engine.is_some() && n.life == life)
    }
}
