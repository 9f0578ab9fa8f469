//! The way of events to the engine: bounded, in order, and without loss.
//!
//! Every task of the network has one [`Outbox`]. When the channel to the engine is full, events wait here, and
//! the task stops reading from its peers ([`Outbox::has_room`]) until the engine has caught up, so that the
//! pressure reaches the peers through TCP. Only what answers the engine's own commands is still added then,
//! and that is bounded by the links and requests that exist.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::engine::lane::LaneEvent;

/// Events that may wait in one task before it stops reading from its peers.
const ROOM: usize = 64;
/// Events that may wait before the task stops taking commands too; only an engine that never reads gets there.
const BRIM: usize = 16_384;

/// Events on their way to the engine.
#[derive(Debug)]
pub(super) struct Outbox {
    events: mpsc::Sender<LaneEvent>,
    waiting: VecDeque<LaneEvent>,
}

impl Outbox {
    pub(super) fn new(events: mpsc::Sender<LaneEvent>) -> Self {
        Self { events, waiting: VecDeque::new() }
    }

    /// Hands an event over, or keeps it until [`Outbox::flush`] finds room.
    pub(super) fn push(&mut self, event: LaneEvent) {
        if !self.waiting.is_empty() {
            self.waiting.push_back(event);
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.waiting.push_back(event);
        }
    }

    /// Whether more may be read from peers.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.len() < ROOM
    }

    /// Whether commands may be taken.
    pub(super) fn takes_commands(&self) -> bool {
        self.waiting.len() < BRIM
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Hands over one waiting event; dropping the future loses nothing.
    pub(super) async fn flush(&mut self) {
        match self.events.reserve().await {
            Ok(permit) => {
                if let Some(event) = self.waiting.pop_front() {
                    permit.send(event);
                }
            }
            // The engine is gone: nobody will read these.
            Err(_) => self.waiting.clear(),
        }
    }

    /// Hands over all that waits: a task's last act.
    pub(super) async fn drain(mut self) {
        while !self.is_empty() {
            self.flush().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(n: u8) -> LaneEvent {
        LaneEvent::DhtFound { key: [n; 32], value: Vec::new() }
    }

    #[tokio::test]
    async fn events_keep_their_order_through_a_full_channel() {
        let (sender, mut receiver) = mpsc::channel(2);
        let mut outbox = Outbox::new(sender);
        for n in 0..100 {
            outbox.push(found(n));
        }
        assert!(!outbox.has_room(), "98 events wait");
        assert!(outbox.takes_commands());
        let drained = tokio::spawn(outbox.drain());
        for n in 0..100 {
            let Some(LaneEvent::DhtFound { key, .. }) = receiver.recv().await else { panic!("an event is lost") };
            assert_eq!(key, [n; 32]);
        }
        drained.await.unwrap();
    }
}
