//! Mailbox sessions of one group: which queues are read at which relay, how far, and what was asked.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::schedule::{Key, Network, QueueKeys};
use hearth_protocol::{
    id::{NodeId, OpId, PersonaId, QueueId, SlotId},
    time::{Day, Timestamp},
};

use super::{lane::Ticket, outbox::Open};

/// PUTs under way at one relay; more wait in the outbox.
pub(crate) const PUTS_UNDER_WAY: usize = 128;
/// Clocks may be wrong by two days either way, so somebody's today may be four days from ours.
pub(crate) const SKEW_DAYS: u64 = 4;
/// Days of queues that are read at most: beyond, relays keep nothing.
const DAYS: u64 = 33;

/// A relay as one group uses it.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// Its key, while the session is up.
    pub(crate) key: Option<[u8; 32]>,
    /// It refused a blob for lack of room.
    pub(crate) full: bool,
    /// Blobs acknowledged in this run.
    pub(crate) held: u64,
    /// It asked for a pause until then.
    pub(crate) pause: Timestamp,
    pub(crate) queues: BTreeMap<QueueId, Queue>,
}

/// A queue being read.
#[derive(Clone)]
pub(crate) struct Queue {
    pub(crate) keys: QueueKeys,
    pub(crate) network: NodeId,
    /// `None` for the control queue, and for one that knocks come in.
    pub(crate) day: Option<Day>,
    /// The invite at which knocks come in here.
    pub(crate) knock: Option<OpId>,
    pub(crate) step: Step,
    /// Made in this session: a relay that denies it all the same is not asked in circles.
    pub(crate) made: bool,
    /// It has no room for more.
    pub(crate) full: bool,
    /// Last sequence number taken in.
    pub(crate) cursor: u64,
}

impl Queue {
    fn new(network: NodeId, day: Option<Day>, cursor: u64, keys: QueueKeys) -> Self {
        Self { keys, network, day, knock: None, step: Step::Idle, made: false, full: false, cursor }
    }

    /// Whether something may still be put in, by whatever clock. A relay pushes only so many queues to one session.
    pub(crate) fn is_current(&self, today: Day) -> bool {
        self.day.is_none_or(|day| day.0.saturating_add(SKEW_DAYS) >= today.0)
    }

    /// Whether what decides the roster comes in here.
    fn is_control(&self) -> bool {
        self.day.is_none() && self.knock.is_none()
    }
}

impl Session {
    /// Whether a queue here is to be asked for.
    pub(crate) fn is_asking(&self) -> bool {
        self.queues.values().any(|q| q.step == Step::Idle)
    }

    /// Whether the queue of a network's day, or its control queue, is here. Keys are derived only of those that are not:
    /// to derive them costs two Ed25519 key pairs and a hash per day since the network began.
    fn reads(&self, network: &NodeId, day: Option<Day>) -> bool {
        self.queues.values().any(|q| q.network == *network && q.day == day && q.knock.is_none())
    }

    /// Whether the queue that knocks at an invite come in is here.
    pub(crate) fn hears(&self, network: &NodeId, invite: &OpId) -> bool {
        self.queues.values().any(|q| q.network == *network && q.knock == Some(*invite))
    }

    fn add(&mut self, queue: Queue) {
        self.queues.entry(queue.keys.id).or_insert(queue);
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("step", &self.step).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}

/// How far the reading of a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Not asked yet.
    Idle,
    /// An answer is awaited.
    Asked,
    /// Everything was read, and new blobs are pushed.
    Live,
    /// The relay has no such queue, and it is not ours to make (too old).
    Absent,
}

/// What a ticket stands for.
#[derive(Clone)]
pub(crate) enum Asked {
    Subscribe(QueueId),
    Get(QueueId),
    Create(QueueId),
    Put {
        number: u64,
        part: usize,
        queue: QueueId,
    },
    /// See `carry`: the packet's hash, and the queue.
    Carried([u8; 32], QueueId),
    /// See `door`.
    Slot(SlotId),
    /// What stranded members find of this tip.
    Watch(NodeId),
    /// See `rejoin`.
    RejoinWrapper,
    RejoinBody(Key),
    /// A part of the answer to this persona's knock, or its queue.
    Answer(PersonaId),
}

/// All sessions of a group.
#[derive(Default)]
pub(crate) struct Desk {
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) asked: BTreeMap<Ticket, (String, Asked)>,
    /// How far each queue was read, by relay key and queue: survives stops.
    pub(crate) cursors: BTreeMap<([u8; 32], QueueId), u64>,
}

impl Desk {
    /// Adds the queues that should be read at a relay; those of removed networks stay until the run ends.
    pub(crate) fn want<'n>(
        &mut self,
        address: &str,
        networks: impl Iterator<Item = (&'n Network, (Day, Option<Day>))>,
        today: Day,
    ) {
        let Some(session) = self.sessions.get_mut(address) else { return };
        let Some(key) = session.key else { return };
        for (network, (from, ended)) in networks {
            let mut add = |day: Option<Day>| {
                if !session.reads(&network.id(), day) {
                    let keys = day.map_or_else(|| network.control_queue(&key), |day| network.daily_queue(day, &key));
                    let cursor = self.cursors.get(&(key, keys.id)).copied().unwrap_or(0);
                    session.add(Queue::new(network.id(), day, cursor, keys));
                }
            };
            add(None);
            let first = network.first_day().0;
            let from = from.0.max(first).max(today.0.saturating_sub(DAYS));
            // One that begins far ahead, whoever said so, is written in all the same: in its first day.
            // Nobody whose clock is right by a few days writes into one that others have left before that.
            let last = ended.map_or(today, |day| day.min(today));
            for day in from..=first.max(last.0 + SKEW_DAYS) {
                add(Some(Day(day)));
            }
        }
    }

    /// Reads nothing but what decides the roster.
    pub(crate) fn only_control(&mut self) {
        self.sessions.values_mut().for_each(|s| s.queues.retain(|_, q| q.is_control()));
    }

    /// Adds a queue that knocks come in.
    pub(crate) fn want_knocks(&mut self, address: &str, (network, invite, keys): (NodeId, OpId, QueueKeys)) {
        let Some(session) = self.sessions.get_mut(address) else { return };
        let cursor = session.key.and_then(|key| self.cursors.get(&(key, keys.id)).copied()).unwrap_or(0);
        session.add(Queue { knock: Some(invite), ..Queue::new(network, None, cursor, keys) });
    }

    /// Queues to ask for now: control queues first; others once every control queue here is read.
    pub(crate) fn idle(&self, address: &str) -> Vec<Queue> {
        let Some(session) = self.sessions.get(address) else { return Vec::new() };
        let read = self.is_control_read(address);
        let control = session.queues.values().filter(|q| q.is_control());
        let others = session.queues.values().filter(|q| !q.is_control() && read);
        control.chain(others).filter(|q| q.step == Step::Idle).cloned().collect()
    }

    /// Whether every control queue here has been read.
    pub(crate) fn is_control_read(&self, address: &str) -> bool {
        self.sessions.get(address).is_some_and(|s| {
            let mut control = s.queues.values().filter(|q| q.is_control());
            s.key.is_some() && control.all(|q| matches!(q.step, Step::Live | Step::Absent))
        })
    }

    /// Whether everything at this relay has been read.
    pub(crate) fn is_read(&self, address: &str) -> bool {
        self.sessions
            .get(address)
            .is_some_and(|s| s.key.is_some() && s.queues.values().all(|q| matches!(q.step, Step::Live | Step::Absent)))
    }

    /// Queues that were not there are asked for again: somebody with another clock may have made them since. Those that
    /// were full are tried again.
    pub(crate) fn look_again(&mut self) {
        for queue in self.sessions.values_mut().flat_map(|s| s.queues.values_mut()) {
            queue.full = false;
            if queue.step == Step::Absent {
                queue.step = Step::Idle;
            }
        }
    }

    /// Queues at a relay that take blobs now.
    pub(crate) fn open(&self, address: &str) -> Open {
        let queues = self.sessions.get(address).into_iter().flat_map(|s| s.queues.values());
        queues.filter(|q| q.step == Step::Live && !q.full && q.knock.is_none()).map(|q| (q.network, q.day)).collect()
    }

    /// Every queue is read again from its cursor, whatever a push may have missed.
    pub(crate) fn read_again(&mut self) {
        let queues = self.sessions.values_mut().flat_map(|s| s.queues.values_mut());
        queues.filter(|q| matches!(q.step, Step::Absent | Step::Live)).for_each(|q| q.step = Step::Idle);
    }

    pub(crate) fn queue(&mut self, address: &str, queue: &QueueId) -> Option<&mut Queue> {
        self.sessions.get_mut(address)?.queues.get_mut(queue)
    }

    /// The queue at a relay that an item of this network and day goes into.
    pub(crate) fn queue_for(&self, address: &str, network: &NodeId, day: Option<Day>) -> Option<&Queue> {
        let queues = self.sessions.get(address)?.queues.values();
        queues.into_iter().find(|q| q.network == *network && q.day == day && q.knock.is_none())
    }

    /// A session ended: everything is asked again when it is back.
    pub(crate) fn lost(&mut self, address: &str) -> Vec<Asked> {
        if let Some(session) = self.sessions.get_mut(address) {
            session.key = None;
            session.queues.clear();
        }
        let gone: BTreeSet<_> = self.asked.iter().filter(|(_, (a, _))| a == address).map(|(t, _)| *t).collect();
        gone.iter().filter_map(|t| self.asked.remove(t)).map(|(_, asked)| asked).collect()
    }
}
