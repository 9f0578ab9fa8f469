//! A relay session: one group at one relay. Each connection has its own swarm under a PeerId made for it, so
//! that nothing but the queues themselves joins two sessions.
//!
//! The task lives as long as the group names the relay. While there is no session, every request is answered
//! `Unreachable` at once; the engine asks again when it hears [`LaneEvent::RelayUp`].

mod connect;
mod live;
mod pending;
mod wire;

use std::{pin::pin, time::Duration};

use hearth_crypto::schedule::Signer;
use hearth_protocol::{id::GroupId, mailbox::Action};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};

pub(super) use self::connect::Target;
use self::{
    connect::connect,
    live::{End, Live},
};
use super::{backoff::Backoff, outbox::Outbox};
use crate::engine::lane::{LaneEvent, RelayFailure, Ticket};

/// A session that lasted this long was a good one: its loss is followed by a retry at once.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// One request of the engine.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    pub(super) action: Action,
    pub(super) signer: Option<Signer>,
}

/// What a session is opened with.
#[derive(Debug)]
pub(super) struct SessionSetup {
    pub(super) group: GroupId,
    /// As the engine wrote it; names the session in events.
    pub(super) address: String,
    /// What the address stands for.
    pub(super) target: Target,
    /// How long the relay may take for its greeting and for each answer.
    pub(super) answer_within: Duration,
    /// How long to wait before the first connection, and up to which time by chance before each that follows a loss:
    /// sessions that begin together could be told to belong together.
    pub(super) waits: (Duration, Duration),
    /// An earlier session with the same name that is still closing: its last event must come first.
    pub(super) after: Option<JoinHandle<()>>,
}

/// Where a session's events go.
struct Voice {
    group: GroupId,
    address: String,
    outbox: Outbox,
}

impl Voice {
    fn answer(&mut self, ticket: Ticket, answer: Result<hearth_protocol::mailbox::Answer, RelayFailure>) {
        self.outbox.push(LaneEvent::RelayAnswer { group: self.group, ticket, answer });
    }

    /// Waits for `work`, answering every request meanwhile; `None` when the session is to end.
    async fn meanwhile<T>(
        &mut self,
        requests: &mut mpsc::Receiver<Request>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                request = requests.recv(), if self.outbox.takes_commands() => {
                    self.answer(request?.ticket, Err(RelayFailure::Unreachable));
                }
                () = self.outbox.flush(), if !self.outbox.is_empty() => {}
                done = &mut work => return Some(done),
            }
        }
    }
}

/// Runs a session, reconnecting, until `requests` closes.
pub(super) async fn run(mut setup: SessionSetup, mut requests: mpsc::Receiver<Request>, outbox: Outbox) {
    let after = setup.after.take();
    let mut voice = Voice { group: setup.group, address: setup.address, outbox };
    let _ = attempts(&mut voice, &mut requests, (&setup.target, setup.waits, setup.answer_within), after).await;
    requests.close();
    while let Some(request) = requests.recv().await {
        voice.answer(request.ticket, Err(RelayFailure::Unreachable));
    }
    voice.outbox.drain().await;
}

/// Connects again and again; `None` when the session is to end.
async fn attempts(
    voice: &mut Voice,
    requests: &mut mpsc::Receiver<Request>,
    (target, (first, jitter), answer_within): (&Target, (Duration, Duration), Duration),
    after: Option<JoinHandle<()>>,
) -> Option<()> {
    if let Some(after) = after {
        let _ = voice.meanwhile(requests, after).await?;
    }
    voice.meanwhile(requests, tokio::time::sleep(first)).await?;
    let mut backoff = Backoff::default();
    loop {
        let begun = Instant::now();
        let connected = voice.meanwhile(requests, connect(target, answer_within)).await?;
        let end = match connected {
            Ok(connected) => Live::new(connected, answer_within).serve(voice, requests).await,
            Err(failure) => End::Lost(failure),
        };
        match end {
            End::Closed => return None,
            End::Lost(RelayFailure::Misbehaved) => backoff.skip_first(),
            End::Lost(RelayFailure::Unreachable) if begun.elapsed() >= GOOD_AFTER + target.connect_within() => {
                backoff.reset()
            }
            End::Lost(RelayFailure::Unreachable) => {}
        }
        // The wait counts from the attempt's begin, so that a network without answers costs no more than one that refuses.
        let by_chance = || f64::from(rand::random::<u16>()) / f64::from(u16::MAX);
        let wait = backoff.next(by_chance()) + jitter.mul_f64(by_chance());
        voice.meanwhile(requests, tokio::time::sleep_until((begun + wait).max(Instant::now()))).await?;
    }
}
