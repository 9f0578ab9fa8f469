//! What one engine has under way: who waits for a reply, and what it opened in the network.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use hearth_protocol::id::GroupId;
use tokio::sync::{mpsc, oneshot};

use crate::{
    app::{Answer, Backend, CommandId, Event, Refusal},
    engine::lane::{LaneCommand, LaneKey},
};

/// Commands that may wait for their reply at once.
const WAITING: usize = 4_096;
/// The network always drains its line; if not within this time it has died.
const STALLED: Duration = Duration::from_secs(10);

/// Where a reply goes; `None` is an [`Event::Reply`].
pub(super) type Reply = Option<oneshot::Sender<Result<Answer, Refusal>>>;

#[derive(Default)]
pub(super) struct Session {
    waiting: HashMap<CommandId, Reply>,
    lanes: BTreeSet<LaneKey>,
    relays: BTreeSet<GroupId>,
}

impl Session {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING
    }

    pub(super) fn expect(&mut self, id: CommandId, reply: Reply) {
        self.waiting.insert(id, reply);
    }

    pub(super) fn answered(&mut self, id: CommandId) -> Reply {
        self.waiting.remove(&id).flatten()
    }

    /// Everyone still waiting, in the order of asking.
    pub(super) fn unanswered(&mut self) -> Vec<(CommandId, Reply)> {
        let mut waiting: Vec<_> = self.waiting.drain().collect();
        waiting.sort_by_key(|(id, _)| *id);
        waiting
    }

    /// Remembers what must be closed again.
    pub(super) fn sent(&mut self, command: &LaneCommand) {
        match command {
            LaneCommand::Open { lane, .. } => drop(self.lanes.insert(*lane)),
            LaneCommand::Close { lane } => drop(self.lanes.remove(lane)),
            LaneCommand::Relays { group, addresses } if addresses.is_empty() => drop(self.relays.remove(group)),
            LaneCommand::Relays { group, .. } => drop(self.relays.insert(*group)),
            _ => {}
        }
    }

    /// Commands that close everything that is open.
    pub(super) fn closing(&mut self) -> Vec<LaneCommand> {
        let lanes = std::mem::take(&mut self.lanes).into_iter().map(|lane| LaneCommand::Close { lane });
        let relays = std::mem::take(&mut self.relays)
            .into_iter()
            .map(|group| LaneCommand::Relays { group, addresses: Vec::new() });
        lanes.chain(relays).collect()
    }
}

/// Hands a reply over.
pub(super) fn reply(backend: &Backend, id: CommandId, to: Reply, result: Result<Answer, Refusal>) {
    match to {
        // Whoever asked may have given up: then there is no one to tell.
        Some(to) => drop(to.send(result)),
        None => backend.emit(Event::Reply { command: id, result }),
    }
}

/// Hands a command to the network, in order.
pub(super) async fn send(line: &mpsc::Sender<LaneCommand>, command: LaneCommand) {
    if line.send_timeout(command, STALLED).await.is_err() {
        tracing::error!("the network does not take commands");
    }
}
