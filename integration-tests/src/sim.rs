//! The simulator: the real engine and the real mailbox rules under a simulated clock, network and disk.
//!
//! One thread, one seed, one [`Plan`]. Everything that happens is an entry of one queue ordered by (time, number); the
//! trace hash covers every entry and every effect, so with the model MLS the same seed gives the same hash. A plan
//! that breaks an invariant is cut down by [`shrink`] to what is needed to break it.

mod check;
mod crash;
mod mischief;
mod net;
mod node;
mod plan;
mod scene;
mod script;
mod shrink;
mod spoiler;
mod villain;

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    mls::{Mls, Suite},
    schedule::Signer,
};
use hearth_node::{
    engine::{
        Input,
        lane::{LaneEvent, Ticket},
    },
    relay::mailbox::{Mailbox, MemoryStore, SessionId},
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
pub(crate) use node::Node;
use node::{Key, Link};
pub use plan::{Act, Cut, Faults, Plan};
pub use scene::{Disk, Invitation, Scene, lie};
pub use script::{Report, run};
pub use shrink::shrink;
pub use spoiler::{Spoil, SpoiledMls};
pub use villain::{Known, Villain, charter_op};

/// In every name, charter and message: what must never be readable in what leaves a node.
pub(crate) const CANARY: &str = "canary-7";
/// Most things that happen in one world: beyond, its members talk to each other for ever.
const STEPS_MAX: u64 = 5_000_000;

/// The simulated clock begins here: 2026-01-01T00:00:00Z.
pub const START: u64 = 1_767_225_600_000;

/// A time, and a number that no other happening has.
type When = (u64, u64);

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
    /// Who is in relayed mode, one bit for each.
    relayed: u64,
    pub(crate) knock: bool,
    pub(crate) now: u64,
    happenings: BTreeMap<When, Box<Happening>>,
    next: u64,
    next_id: u64,
    pub(crate) nodes: Vec<Node<M>>,
    pub(crate) relays: Vec<Relay>,
    signing: net::Signing,
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
        // All members are on this thread.
        hearth_crypto::memo::begin();
        let faults = plan.faults.clone();
        let mut rng = ChaCha20Rng::seed_from_u64(!plan.seed);
        let skew = |rng: &mut ChaCha20Rng| {
            let span = i64::try_from(faults.skew_ms).unwrap_or(0);
            if span == 0 { 0 } else { i64::try_from(rng.next_u64() % (2 * faults.skew_ms + 1)).unwrap_or(0) - span }
        };
        let signing = net::Signing { is_real: plan.signs };
        let relays = (0..plan.relays).map(|index| net::relay(index, signing)).collect();
        let nodes = (0..plan.nodes).map(|_| Node::new(skew(&mut rng))).collect();
        Self {
            make: Box::new(make),
            rng,
            faults,
            suite,
            dag_bytes: plan.dag_bytes,
            relayed: plan.relayed,
            knock: plan.knock,
            now: START + plan.hour_ms,
            happenings: BTreeMap::new(),
            next: 0,
            next_id: 0,
            nodes,
            relays,
            signing,
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
        self.put_down(at, happening);
    }

    fn put_down(&mut self, at: u64, happening: Happening) -> When {
        let when = (at.max(self.now), self.next);
        self.next += 1;
        self.happenings.insert(when, Box::new(happening));
        when
    }

    fn fresh(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
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
        let (canary, length) = (CANARY.as_bytes(), CANARY.len());
        // Wherever it lies, one of its bytes is at a multiple of its length.
        let mut places = (0..bytes.len()).step_by(length).filter(|at| canary.contains(&bytes[*at]));
        let around = |at: usize| &bytes[at.saturating_sub(length)..bytes.len().min(at + length)];
        if places.any(|at| around(at).windows(length).any(|w| w == canary)) {
            self.breaks(9, "a text left a node readable");
        }
    }

    /// Runs until the world's clock shows `until`.
    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(next) = self.happenings.first_entry().filter(|next| next.key().0 <= until) {
            let ((at, _), happening) = next.remove_entry();
            self.now = self.now.max(at);
            self.sweep();
            self.steps += 1;
            if self.steps > STEPS_MAX {
                return self.breaks(8, "the world does not come to rest");
            }
            self.happen(*happening);
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

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Lane { node, life, event } if self.is_alive(node, life) => self.input(node, Input::Lane(event)),
            Happening::Tick { node, life } if self.is_alive(node, life) => {
                if let Some(at) = self.nodes.get_mut(node) {
                    at.next_tick = at.next_tick.filter(|(due, _)| *due > self.now);
                }
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
