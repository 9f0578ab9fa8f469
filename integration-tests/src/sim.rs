//! The simulator: the real engine and the real mailbox rules under a simulated clock, network and disk.
//!
//! One thread, one seed, one [`Plan`]. Everything that happens is an entry of one queue ordered by (time, number); the
//! trace hash covers every entry and every effect, so with the model MLS the same seed gives the same hash. A plan
//! that breaks an invariant is cut down by [`shrink`] to what is needed to break it.

mod check;
mod crash;
mod mischief;
mod net;
mod plan;
mod scene;
mod script;
mod shrink;
mod spoiler;
mod villain;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use hearth_crypto::{
    mls::{Mls, Suite},
    schedule::Signer,
};
use hearth_node::{
    app::{Answer, Command, CommandId, Event, Notice, Refusal},
    engine::{
        Effects, Engine, EngineConfig, Input,
        lane::{LaneCommand, LaneEvent, LaneKey, LinkId, Ticket},
    },
    relay::mailbox::{Mailbox, MemoryStore, SessionId},
    store::{Bucket, Row, Table, Write},
};
use hearth_protocol::{
    id::{GroupId, MessageId},
    mailbox::Action,
    time::{Day, Timestamp},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use sha2::{Digest, Sha256};

pub use check::Failure;
pub(crate) use crash::Crash;
pub use crash::{Strike, run_struck};
pub use plan::{Act, Cut, Faults, Plan};
pub use scene::{Disk, Invitation, Scene, lie};
pub use script::{Report, run};
pub use shrink::shrink;
pub use spoiler::{Spoil, SpoiledMls};
pub use villain::{Known, Villain, charter_op};

/// In every name, charter and message: what must never be readable in what leaves a node.
pub(crate) const CANARY: &str = "canary-7";
/// Most commands that one input may send, and most rows that it may write.
const SENDS_MAX: usize = 10_000;
const WRITES_MAX: usize = 50_000;
/// Most things that happen in one world: beyond, its members talk to each other for ever.
const STEPS_MAX: u64 = 5_000_000;

/// The simulated clock begins here: 2026-01-01T00:00:00Z.
pub const START: u64 = 1_767_225_600_000;

type Key = (Option<GroupId>, Option<u64>, Table, Vec<u8>);

/// Something that will happen.
enum Happening {
    Lane {
        node: usize,
        life: u32,
        event: LaneEvent,
    },
    Tick {
        node: usize,
        life: u32,
    },
    /// A mailbox request arrives at a relay.
    Ask {
        node: usize,
        life: u32,
        relay: usize,
        session: SessionId,
        group: GroupId,
        ticket: Ticket,
        action: Action,
        signer: Option<Signer>,
    },
    /// A node tries to reach the relays it wants.
    Connect {
        node: usize,
        life: u32,
        group: GroupId,
        relay: usize,
    },
    /// A node comes back from a crash.
    Start {
        node: usize,
        life: u32,
    },
}

/// One member's computer.
pub(crate) struct Node<M: Mls> {
    engine: Option<Engine<M>>,
    disk: BTreeMap<Key, Vec<u8>>,
    /// Counts starts: what was under way for an earlier life is dropped.
    life: u32,
    skew: i64,
    lanes: BTreeMap<LaneKey, BTreeSet<[u8; 16]>>,
    links: BTreeMap<LinkId, Link>,
    wanted: BTreeMap<GroupId, BTreeSet<usize>>,
    sessions: BTreeMap<(GroupId, usize), SessionId>,
    next_tick: Option<u64>,
    pub(crate) replies: BTreeMap<CommandId, Result<Answer, Refusal>>,
    /// Messages announced as new, over all lives.
    pub(crate) announced: BTreeMap<MessageId, usize>,
    pub(crate) notices: Vec<Notice>,
    /// Own messages that a relay, or only a member, was said to have, and whether it was a relay.
    pub(crate) held: BTreeMap<MessageId, bool>,
    /// The depth at which it came in.
    pub(crate) entered: Option<u64>,
    crash: Option<Crash>,
}

#[derive(Clone, Copy)]
struct Link {
    lane: LaneKey,
    other: usize,
    other_link: LinkId,
}

pub(crate) struct Relay {
    mailbox: Mailbox<MemoryStore>,
    key: [u8; 32],
    pub(crate) address: String,
    /// Whose session it is.
    sessions: BTreeMap<SessionId, (usize, u32, GroupId, [u8; 32])>,
    /// Out of reach until then.
    away_until: u64,
}

/// The whole world of one seed.
pub struct World<M: Mls> {
    make: Box<dyn Fn(u64) -> M>,
    pub(crate) rng: ChaCha20Rng,
    pub(crate) faults: Faults,
    suite: Suite,
    dag_bytes: Option<usize>,
    pub(crate) knock: bool,
    pub(crate) now: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    happenings: BTreeMap<(u64, u64), Happening>,
    next: u64,
    next_id: u64,
    pub(crate) nodes: Vec<Node<M>>,
    pub(crate) relays: Vec<Relay>,
    dht: BTreeMap<[u8; 32], Vec<u8>>,
    /// (from, to) pairs that are cut; relays count on from 1,000.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    pub(crate) calm: bool,
    trace: Sha256,
    steps: u64,
    /// The day on which relays last gave up what had outlived its time.
    swept: Day,
    pub(crate) crashes: usize,
    /// Batches of writes so far, of all nodes.
    pub(crate) batches: usize,
    pub(crate) strike: Option<Strike>,
    /// Bytes of the largest body that was written to a slot.
    pub(crate) largest_slot: usize,
    broken: Option<Failure>,
}

impl<M: Mls> World<M> {
    /// The world of a plan, before anything happened.
    pub fn new(plan: &Plan, suite: Suite, make: impl Fn(u64) -> M + 'static) -> Self {
        let faults = plan.faults.clone();
        let mut rng = ChaCha20Rng::seed_from_u64(!plan.seed);
        let skew = |rng: &mut ChaCha20Rng| {
            let span = i64::try_from(faults.skew_ms).unwrap_or(0);
            if span == 0 { 0 } else { i64::try_from(rng.next_u64() % (2 * faults.skew_ms + 1)).unwrap_or(0) - span }
        };
        let relays = (0..plan.relays).map(net::relay).collect();
        let nodes = (0..plan.nodes).map(|_| Node::new(skew(&mut rng))).collect();
        Self {
            make: Box::new(make),
            rng,
            faults,
            suite,
            dag_bytes: plan.dag_bytes,
            knock: plan.knock,
            now: START + plan.hour_ms,
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            next: 0,
            next_id: 0,
            nodes,
            relays,
            dht: BTreeMap::new(),
            cut: BTreeSet::new(),
            calm: false,
            trace: Sha256::new(),
            steps: 0,
            swept: Timestamp(START + plan.hour_ms).day(),
            crashes: 0,
            batches: 0,
            strike: None,
            largest_slot: 0,
            broken: None,
        }
    }

    /// Hash of everything that happened so far.
    pub fn trace(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.trace.clone().finalize())
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.rng.next_u64() % below.max(1)
    }

    pub(crate) fn chance(&mut self, share: f64) -> bool {
        // 53 bits: exact in a double.
        ((self.rng.next_u64() >> 11) as f64) / ((1u64 << 53) as f64) < share
    }

    fn plan(&mut self, at: u64, happening: Happening) {
        let key = (at.max(self.now), self.next);
        self.next += 1;
        self.queue.push(Reverse(key));
        self.happenings.insert(key, happening);
    }

    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// The time that a node's clock shows.
    fn clock(&self, node: usize) -> Timestamp {
        let skew = self.nodes.get(node).map_or(0, |n| n.skew);
        Timestamp(self.now.saturating_add_signed(skew))
    }

    /// Starts a node, from its disk.
    pub(crate) fn start(&mut self, node: usize) {
        let mut seed = [0; 32];
        self.rng.fill_bytes(&mut seed);
        let relays = self.relays.iter().map(|r| r.address.clone()).collect();
        let mls = (self.make)(self.rng.next_u64());
        let mut engine =
            Engine::new(mls, EngineConfig { relays, suite: Some(self.suite), dag_bytes: self.dag_bytes }, seed);
        let now = self.clock(node);
        let Some(at) = self.nodes.get_mut(node) else { return };
        if at.engine.is_some() {
            return;
        }
        let rows = at.disk.iter().map(|((group, expires, table, key), value)| Row {
            bucket: Bucket { group: *group, expires: expires.map(hearth_protocol::time::Day) },
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

    /// The first invariant that broke while the world ran.
    pub(crate) fn unbroken(&mut self) -> Result<(), Failure> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn breaks(&mut self, invariant: u8, what: &str) {
        self.broken.get_or_insert_with(|| Failure::new(invariant, what));
    }

    /// (9) Nothing readable may leave a node.
    fn overheard(&mut self, bytes: &[u8]) {
        if bytes.windows(CANARY.len()).any(|w| w == CANARY.as_bytes()) {
            self.breaks(9, "a text left a node readable");
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

    fn input(&mut self, node: usize, input: Input) {
        let now = self.clock(node);
        let Some(engine) = self.nodes.get_mut(node).and_then(|n| n.engine.as_mut()) else { return };
        let effects = engine.handle(input, now);
        self.apply(node, effects);
    }

    /// Persist, then send, then emit; unless the node is about to crash.
    fn apply(&mut self, node: usize, effects: Effects) {
        if effects.send.len() > SENDS_MAX || effects.persist.len() > WRITES_MAX {
            self.breaks(8, "one input had effects without bound");
        }
        if let Some(effects) = self.hold(node, effects).and_then(|effects| self.spare(node, effects)) {
            self.carry_out(node, effects);
        }
    }

    fn carry_out(&mut self, node: usize, effects: Effects) {
        let Effects { persist, send, emit, wake_at } = effects;
        self.note(node, &persist, &send);
        let entered = self.persist(node, persist);
        self.emit(node, emit);
        let Some(at) = self.nodes.get_mut(node) else { return };
        let (life, skew) = (at.life, at.skew);
        if let Some(wake) = wake_at {
            let due = wake.0.saturating_add_signed(-skew).max(self.now + 1);
            if at.next_tick.is_none_or(|t| due < t || t <= self.now) {
                at.next_tick = Some(due);
                self.plan(due, Happening::Tick { node, life });
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
    fn persist(&mut self, node: usize, writes: Vec<Write>) -> Option<GroupId> {
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
    fn note(&mut self, node: usize, persist: &[Write], send: &[LaneCommand]) {
        self.trace.update(self.now.to_be_bytes());
        self.trace.update((node as u64).to_be_bytes());
        for write in persist {
            self.trace.update([write.table as u8]);
            self.trace.update(&write.key);
            self.trace.update(write.value.as_deref().unwrap_or_default());
        }
        self.trace.update((send.len() as u64).to_be_bytes());
    }

    /// Runs until the world's clock shows `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(Reverse(key)) = self.queue.peek().copied() {
            if key.0 > until {
                break;
            }
            self.queue.pop();
            let Some(happening) = self.happenings.remove(&key) else { continue };
            self.now = self.now.max(key.0);
            self.sweep();
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return self.breaks(8, "the world does not come to rest");
            }
            self.happen(happening);
        }
        self.now = self.now.max(until);
    }

    /// Relays give up what has outlived its time, once a day.
    fn sweep(&mut self) {
        let now = Timestamp(self.now);
        if std::mem::replace(&mut self.swept, now.day()) != now.day() {
            let swept = self.relays.iter_mut().all(|relay| relay.mailbox.sweep(now).is_ok());
            debug_assert!(swept, "memory does not fail");
        }
    }

    fn is_alive(&self, node: usize, life: u32) -> bool {
        self.nodes.get(node).is_some_and(|n| n.engine.is_some() && n.life == life)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Lane { node, life, event } if self.is_alive(node, life) => self.input(node, Input::Lane(event)),
            Happening::Tick { node, life } if self.is_alive(node, life) => {
                let Some(at) = self.nodes.get_mut(node) else { return };
                // One that an earlier one took the place of is passed over, or each would leave two behind.
                if at.next_tick.is_some_and(|next| next > self.now) && at.crash.is_none() {
                    return;
                }
                at.next_tick = None;
                self.input(node, Input::Tick);
            }
            Happening::Ask { node, life, relay, session, group, ticket, action, signer } => {
                self.asked((node, life), (relay, session), (group, ticket), (action, signer));
            }
            Happening::Connect { node, life, group, relay } if self.is_alive(node, life) => {
                self.connect(node, group, relay)
            }
            Happening::Start { node, life } if self.nodes.get(node).is_some_and(|n| n.life == life) => {
                self.start(node);
            }
            _ => {}
        }
    }
}

impl<M: Mls> Node<M> {
    fn new(skew: i64) -> Self {
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

/// What the script remembers of a message.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) message: MessageId,
    pub(crate) author: usize,
    /// Depth of the author's tip when it was said.
    pub(crate) depth: u64,
    /// Removed nodes whose removal the author had processed.
    pub(crate) without: Vec<usize>,
    /// Whom the author's tip did not have, because their join had lost a fork or was not known: they were not in where
    /// it was said.
    pub(crate) outside: Vec<usize>,
}
