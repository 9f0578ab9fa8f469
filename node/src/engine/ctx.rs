//! What one call of `handle` works with: the time, the randomness, and the effects it collects.

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    id::{GroupId, hash},
    time::{Day, Timestamp},
};
use rand::{CryptoRng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::{
    Effects, EngineConfig,
    cover::Cover,
    lane::{LaneCommand, Ticket},
};
use crate::{
    app::{Answer, CommandId, Event, Notice, Refusal},
    store::{Bucket, Table, Write},
};

/// Enough for a few hundred commits of a small group, and for those of a week of a large one.
const DAG_BYTES: usize = 4 * 1024 * 1024;

/// What all groups of one engine work with.
pub(crate) struct Shared<M> {
    pub(crate) mls: M,
    pub(crate) rng: ChaCha20Rng,
    next_ticket: u64,
    /// Where this process's commons can be reached.
    pub(crate) commons: Vec<String>,
    /// A group that keeps more of its DAG moves its base.
    dag_bytes: usize,
    /// In private modes.
    pub(crate) cover: Option<Cover>,
}

impl<M: Mls> Shared<M> {
    pub(crate) fn new(mls: M, seed: [u8; 32], config: &EngineConfig) -> Self {
        let dag_bytes = config.dag_bytes.unwrap_or(DAG_BYTES);
        let cover = config.covered.then(|| Cover::new(hash(&[b"cover", &seed])));
        Self { mls, rng: ChaCha20Rng::from_seed(seed), next_ticket: 0, commons: Vec::new(), dag_bytes, cover }
    }

    pub(crate) fn ctx<'a>(&'a mut self, now: Timestamp, fx: &'a mut Effects) -> Ctx<'a, M> {
        let Self { mls, rng, next_ticket, commons, dag_bytes, cover } = self;
        Ctx { mls, now, rng, fx, next_ticket, commons, dag_bytes: *dag_bytes, cover: *cover }
    }
}

/// One call's surroundings.
pub(crate) struct Ctx<'a, M: Mls> {
    pub(crate) mls: &'a M,
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn CryptoRng,
    pub(crate) fx: &'a mut Effects,
    next_ticket: &'a mut u64,
    pub(crate) commons: &'a [String],
    pub(crate) dag_bytes: usize,
    pub(crate) cover: Option<Cover>,
}

impl<M: Mls> Ctx<'_, M> {
    pub(crate) fn send(&mut self, command: LaneCommand) {
        self.fx.send.push(command);
    }

    pub(crate) fn notice(&mut self, notice: Notice) {
        self.fx.emit.push(Event::Notice(notice));
    }

    pub(crate) fn reply(&mut self, command: CommandId, result: Result<Answer, Refusal>) {
        self.fx.emit.push(Event::Reply { command, result });
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        *self.next_ticket += 1;
        Ticket(*self.next_ticket)
    }

    /// Writes a row of a group, or deletes it.
    pub(crate) fn write(&mut self, group: GroupId, table: Table, key: &[u8], value: Option<Vec<u8>>) {
        let bucket = Bucket { group: Some(group), expires: None };
        self.fx.persist.push(Write { bucket, table, key: [&group.0, key].concat(), value });
    }

    pub(crate) fn today(&self) -> Day {
        self.now.day()
    }

    /// Asks for a tick at `at` at the latest.
    pub(crate) fn wake_at(&mut self, at: Timestamp) {
        let at = at.max(self.now);
        self.fx.wake_at = Some(self.fx.wake_at.map_or(at, |w| w.min(at)));
    }

    pub(crate) fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}
