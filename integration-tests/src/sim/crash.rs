//! Crashes: the driver takes inputs that are ready together, carries their effects out as one batch, and dies in it.

use hearth_crypto::mls::{Mls, Suite};
use hearth_node::engine::Effects;

use super::{Cut, Failure, Happening, Plan, Report, World};

/// How long a node that was struck stays away.
const STRUCK_AWAY_MS: u64 = 1_000;

/// A crash at one batch of writes, counted over all nodes from the beginning of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Which batch.
    pub batch: usize,
    /// Before it is on disk, or when it is.
    pub cut: Cut,
}

/// As [`super::run`], with one crash. Also tells how many batches had been written when the acts of the plan began,
/// and how many in all.
///
/// # Errors
/// The first broken invariant.
pub fn run_struck<M: Mls + 'static>(
    plan: &Plan,
    suite: Suite,
    make: impl Fn(u64) -> M + 'static,
    strike: Option<Strike>,
) -> Result<(Report, usize, usize), Failure> {
    let mut world = World::new(plan, suite, make);
    world.strike = strike;
    let (report, founded) = world.live(plan)?;
    Ok((report, founded, world.batches))
}

/// A node that is about to crash.
pub(crate) struct Crash {
    /// Inputs that still go into the batch.
    inputs: usize,
    cut: Cut,
    away_ms: u64,
    batch: Effects,
}

impl<M: Mls> World<M> {
    /// From now on, this many inputs make one batch; then the node dies.
    pub(crate) fn arm(&mut self, node: usize, inputs: usize, cut: Cut, away_ms: u64) {
        if let Some(at) = self.nodes.get_mut(node) {
            at.crash = Some(Crash { inputs: inputs.max(1), cut, away_ms, batch: Effects::default() });
        }
    }

    /// No crash any more. One whose batch has begun comes now: what the engine has given away must not be lost without one.
    pub(super) fn disarm(&mut self, node: usize) {
        let armed = self.nodes.get_mut(node).and_then(|at| at.crash.take());
        if let Some(crash) = armed.filter(|c| !c.batch.persist.is_empty() || !c.batch.send.is_empty()) {
            self.crash(node, crash);
        }
    }

    /// Gives the effects back when no crash is near; else keeps them, and crashes when the batch is full.
    pub(super) fn hold(&mut self, node: usize, effects: Effects) -> Option<Effects> {
        let Some(at) = self.nodes.get_mut(node) else { return Some(effects) };
        let Some(mut crash) = at.crash.take() else { return Some(effects) };
        let life = at.life;
        crash.batch.persist.extend(effects.persist);
        crash.batch.send.extend(effects.send);
        crash.inputs -= 1;
        if crash.inputs > 0 {
            at.crash = Some(crash);
            // The inputs of a batch are ready together: the next one is not long in coming.
            self.plan(self.now + 1, Happening::Tick { node, life });
            return None;
        }
        self.crash(node, crash);
        None
    }

    /// Gives the effects back, unless this is the batch at which the node is struck.
    pub(super) fn spare(&mut self, node: usize, effects: Effects) -> Option<Effects> {
        if effects.persist.is_empty() {
            return Some(effects);
        }
        let at = self.batches;
        self.batches += 1;
        let Some(Strike { cut, .. }) = self.strike.filter(|s| s.batch == at) else { return Some(effects) };
        self.crash(node, Crash { inputs: 0, cut, away_ms: STRUCK_AWAY_MS, batch: effects });
        None
    }

    fn crash(&mut self, node: usize, crash: Crash) {
        let Crash { cut, away_ms, batch, .. } = crash;
        self.crashes += 1;
        self.note(node, &batch.persist, &batch.send);
        if cut != Cut::Persisting {
            self.persist(node, batch.persist);
        }
        let sent = match cut {
            Cut::Persisting | Cut::Persisted => 0,
            Cut::Sending(count) => count,
            Cut::Sent => usize::MAX,
        };
        for command in batch.send.into_iter().take(sent) {
            self.carry(node, command);
        }
        self.stop(node);
        let life = self.nodes.get(node).map_or(0, |n| n.life);
        self.plan(self.now + 1 + away_ms, Happening::Start { node, life });
    }
}
