//! What will happen in one world, drawn from its seed before anything does: so it can be shown, and cut down.

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

/// How rough the world is.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// Share of gossip messages lost.
    pub drop: f64,
    /// Share of gossip messages that arrive twice.
    pub duplicate: f64,
    /// Share of gossip messages that overtake others, or are overtaken.
    pub reorder: f64,
    /// Longest delay in milliseconds.
    pub delay_ms: u64,
    /// Clock skew of each node, up to this many milliseconds either way.
    pub skew_ms: u64,
}

/// Where a crash falls into the carrying out of a batch of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In the middle of the transaction: the store rolls it back.
    Persisting,
    /// All is on disk, nothing was sent.
    Persisted,
    /// So many were sent, and no more.
    Sending(usize),
    /// All was sent, and nobody here was told.
    Sent,
}

/// One thing that is done. Numbers of nodes and messages that are not there mean nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Says something.
    Say(usize),
    /// Changes a message.
    Edit(usize, u64),
    /// Reacts to a message, or takes that back.
    React(usize, u64, bool),
    /// Comes in by the link.
    Join(usize),
    /// Ends cleanly.
    Sleep(usize),
    /// One of those who sleep comes back.
    Wake(u64),
    /// Dies while the effects of so many inputs are carried out together, and comes back later.
    Crash {
        /// Who.
        node: usize,
        /// Inputs of the batch.
        inputs: usize,
        /// Where.
        cut: Cut,
        /// For how long.
        away_ms: u64,
    },
    /// Cuts one side off the other. One bit for each node, then for each relay.
    Partition {
        /// Who is on this side.
        side: u64,
        /// Whether the other side still reaches this one.
        one_way: bool,
    },
    /// Mends all cuts.
    Mend,
    /// A relay loses its sessions, keeps what it stored, and comes back later.
    RestartRelay {
        /// Which.
        relay: usize,
        /// For how long it is away.
        away_ms: u64,
    },
    /// The founder takes a member out.
    Remove(usize),
    /// The founder gives a role: cofacilitator, or facilitator.
    Promote(usize, bool),
    /// Changes the charter.
    Charter(usize),
    /// One takes another out, however many were before. Never drawn: for plans made by hand.
    Expel(usize, usize),
    /// One signs as well that another becomes a facilitator. Never drawn: for plans made by hand.
    Second(usize, usize),
    /// Signs that the group begins a fresh MLS group, under this suite or the same. Never drawn: for plans made by hand.
    Restart(usize, Option<u16>),
    /// All must agree now, although nobody asked them to look. Never drawn: for plans made by hand.
    Agree,
    /// Everybody who is up must have everything now. Never drawn: for plans made by hand.
    Complete,
}

/// One world.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// All other randomness of the world comes from it too.
    pub seed: u64,
    /// Members.
    pub nodes: usize,
    /// Relays.
    pub relays: usize,
    /// How rough.
    pub faults: Faults,
    /// When in the day it begins, in milliseconds.
    pub hour_ms: u64,
    /// Whether the founder sleeps while the others come in.
    pub alone: bool,
    /// A member who does not come back when everything heals.
    pub gone: Option<usize>,
    /// How many of the last members come in by an act, not at the beginning.
    pub late: usize,
    /// Whether the group admits by hand.
    pub knock: bool,
    /// Uses of the link that all come in by; `None` is more than enough.
    pub uses: Option<u32>,
    /// From which weight a DAG's base moves; `None` is the engine's own measure, which short lives never reach.
    pub dag_bytes: Option<usize>,
    /// Whether requests to relays bear real signatures; symbolic ones say the same for less.
    pub signs: bool,
    /// Who is in relayed mode, one bit for each: without lanes and DHT, behind waits of chance.
    pub relayed: u64,
    /// What is done, each after a pause in milliseconds.
    pub acts: Vec<(u64, Act)>,
}

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const ACTS: usize = 40;

/// Draws from one seed.
struct Dice(ChaCha20Rng);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n.max(1)
    }

    fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    fn of<T: Clone>(&mut self, all: &[T], default: T) -> T {
        let at = self.index(all.len());
        all.get(at).cloned().unwrap_or(default)
    }
}

impl Plan {
    /// The plan of a seed: 3 to 8 members.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice(ChaCha20Rng::seed_from_u64(seed));
        let nodes = 3 + dice.index(6);
        Self::draw(seed, nodes, &mut dice)
    }

    /// The same with 20 to 50 members.
    #[must_use]
    pub fn large(seed: u64) -> Self {
        let mut dice = Dice(ChaCha20Rng::seed_from_u64(seed));
        let nodes = 20 + dice.index(31);
        Self::draw(seed, nodes, &mut dice)
    }

    fn draw(seed: u64, nodes: usize, dice: &mut Dice) -> Self {
        let relays = 1 + dice.index(2);
        let faults = Faults {
            drop: dice.below(31) as f64 / 100.0,
            duplicate: dice.below(21) as f64 / 100.0,
            reorder: 0.5,
            delay_ms: dice.of(&[50, 500, 5_000, 30_000], 50),
            skew_ms: dice.of(&[0, 0, HOUR, 20 * HOUR, 48 * HOUR], 0),
        };
        let mut acts = Vec::new();
        for _ in 0..dice.below(9) {
            let cut = match dice.below(4) {
                0 => Cut::Persisting,
                1 => Cut::Persisted,
                2 => Cut::Sending(dice.index(6)),
                _ => Cut::Sent,
            };
            let (node, inputs, away_ms) = (dice.index(nodes), 1 + dice.index(5), dice.below(30_000));
            acts.push(Act::Crash { node, inputs, cut, away_ms });
        }
        for _ in 0..dice.below(7) {
            acts.push(Act::Partition { side: dice.0.next_u64(), one_way: dice.below(10) < 3 });
            acts.push(Act::Mend);
        }
        for _ in 0..dice.below(4) {
            acts.push(Act::RestartRelay { relay: dice.index(relays), away_ms: dice.below(2 * MINUTE) });
        }
        while acts.len() < ACTS {
            acts.push(Self::act(nodes, dice));
        }
        for at in (1..acts.len()).rev() {
            acts.swap(at, dice.index(at + 1));
        }
        let mut pause = || dice.of(&[10, 200, 3_000, MINUTE, 10 * MINUTE], 10);
        let acts = acts.into_iter().map(|act| (pause(), act)).collect();
        let (hour_ms, alone) = (dice.below(24) * HOUR, dice.below(2) == 0);
        let gone = (nodes > 3 && dice.below(5) == 0).then(|| 1 + dice.index(nodes - 1));
        Self {
            seed,
            nodes,
            relays,
            faults,
            hour_ms,
            alone,
            gone,
            late: 0,
            knock: false,
            uses: None,
            dag_bytes: None,
            signs: false,
            relayed: 0,
            acts,
        }
    }

    fn act(nodes: usize, dice: &mut Dice) -> Act {
        let node = dice.index(nodes);
        let other = 1 + dice.index(nodes - 1);
        match dice.below(18) {
            0..=8 => Act::Say(node),
            9 => Act::Edit(node, dice.0.next_u64()),
            10 => Act::React(node, dice.0.next_u64(), dice.below(5) > 0),
            11 => Act::Sleep(node),
            12 | 13 => Act::Wake(dice.0.next_u64()),
            14 => Act::Charter(node),
            15 if dice.below(2) == 0 => Act::Remove(other),
            15 | 16 => Act::Promote(other, dice.below(2) == 0),
            _ => Act::Join(other),
        }
    }

    /// Plans with a little less in them, those with the least first.
    #[must_use]
    pub(super) fn smaller(&self) -> Vec<Self> {
        let mut plans = Vec::new();
        let mut size = self.acts.len().div_ceil(2);
        while size > 0 {
            for start in (0..self.acts.len()).step_by(size) {
                let kept = self.acts.iter().enumerate().filter(|(i, _)| *i < start || *i >= start + size);
                plans.push(Self { acts: kept.map(|(_, act)| act.clone()).collect(), ..self.clone() });
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        let calm = |change: fn(&mut Self)| {
            let mut plan = self.clone();
            change(&mut plan);
            plan
        };
        plans.extend([
            calm(|p| p.faults.drop = 0.0),
            calm(|p| p.faults.duplicate = 0.0),
            calm(|p| p.faults.reorder = 0.0),
            calm(|p| p.faults.delay_ms = 0),
            calm(|p| p.faults.skew_ms = 0),
            calm(|p| p.relays = 1),
            calm(|p| p.nodes = (p.nodes - 1).max(2)),
            calm(|p| p.alone = false),
            calm(|p| p.gone = None),
            calm(|p| p.relayed = 0),
            calm(|p| p.relayed &= p.relayed.saturating_sub(1)),
        ]);
        plans.retain(|p| p != self);
        plans
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, nodes, relays, faults, hour_ms, alone, gone, late, knock, uses, .. } = self;
        let Self { dag_bytes, signs, relayed, acts, .. } = self;
        writeln!(f, "seed {seed}: {nodes} members, {relays} relays, begins at {} h, {faults:?}", hour_ms / HOUR)?;
        writeln!(
            f,
            "founder sleeps at first: {alone}; gone for good: {gone:?}; late: {late}; by hand: {knock}; uses: {uses:?}; {dag_bytes:?} bytes of DAG; real signatures: {signs}; relayed: {relayed:b}"
        )?;
        for (pause, act) in acts {
            writeln!(f, "{pause:>8} ms, then {act:?}")?;
        }
        Ok(())
    }
}
