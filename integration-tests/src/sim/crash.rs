//! Crashes: the driver takes inputs that are ready together, carries their effects out as one batch, and dies in it.

use hearth_crypto::mls::Mls;
use hearth_node::engine::Effects;

use super::{Cut, Happening, World};

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
