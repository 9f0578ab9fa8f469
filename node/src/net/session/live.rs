//! A session that is up: requests out, answers and pushes in.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hearth_crypto::persona::sign_with;
use hearth_protocol::{
    id::QueueId,
    mailbox::{self, Action, Frame, Greeting, pow_ok, request_message},
};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    Request, Voice,
    connect::Connected,
    pending::{Pending, Turn},
    wire::{Heard, Wire},
};
use crate::engine::lane::{LaneEvent, RelayFailure};

/// Why a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// The engine no longer wants it.
    Closed,
    /// The relay is gone, or was sent away.
    Lost(RelayFailure),
}

/// A search for a proof of work on a thread of its own; dropping it ends the search.
struct Search {
    found: JoinHandle<Option<Request>>,
    stop: Arc<AtomicBool>,
}

impl Search {
    fn start(greeting: &Greeting, queue: QueueId, mut request: Request) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, greeting) = (Arc::clone(&stop), greeting.clone());
        let found = tokio::task::spawn_blocking(move || {
            let Greeting { relay_key, nonce, pow_bits } = greeting;
            let good = (0u64..)
                .take_while(|n| n % 1_024 != 0 || !stopped.load(Ordering::Relaxed))
                .find(|n| pow_ok(&relay_key, &nonce, &queue, *n, pow_bits))?;
            if let Action::Create { pow, .. } = &mut request.action {
                *pow = good;
            }
            Some(request)
        });
        Self { found, stop }
    }

    async fn found(search: &mut Option<Self>) -> Option<Request> {
        match search {
            Some(search) => (&mut search.found).await.ok().flatten(),
            None => std::future::pending().await,
        }
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The state of one session.
pub(super) struct Live {
    wire: Wire,
    greeting: Greeting,
    pending: Pending,
    search: Option<Search>,
    answer_within: Duration,
}

impl Live {
    pub(super) fn new(connected: Connected, answer_within: Duration) -> Self {
        Self {
            wire: connected.wire,
            greeting: connected.greeting,
            pending: Pending::default(),
            search: None,
            answer_within,
        }
    }

    /// Serves until the session ends; announces it before and after, and leaves no ticket unanswered.
    pub(super) async fn serve(mut self, voice: &mut Voice, requests: &mut mpsc::Receiver<Request>) -> End {
        voice.outbox.push(LaneEvent::RelayUp {
            group: voice.group,
            address: voice.address.clone(),
            relay_key: self.greeting.relay_key,
        });
        let end = self.exchange(voice, requests).await;
        let failure = match end {
            End::Lost(failure) => failure,
            End::Closed => RelayFailure::Unreachable,
        };
        let (under_way, waiting) = self.pending.finish();
        for ticket in under_way {
            voice.answer(ticket, Err(failure));
        }
        for ticket in waiting {
            voice.answer(ticket, Err(RelayFailure::Unreachable));
        }
        voice.outbox.push(LaneEvent::RelayDown { group: voice.group, address: voice.address.clone() });
        end
    }

    async fn exchange(&mut self, voice: &mut Voice, requests: &mut mpsc::Receiver<Request>) -> End {
        loop {
            self.send_what_may_go();
            let overdue = self.pending.answer_by();
            let room = voice.outbox.has_room();
            tokio::select! {
                // Answers first: one that has arrived is not overdue, however long we were busy.
                biased;
                () = voice.outbox.flush(), if !voice.outbox.is_empty() => {}
                heard = self.wire.hear(), if room => match heard {
                    Heard::Frame(frame) => if !self.on_frame(frame, voice) {
                        return End::Lost(RelayFailure::Misbehaved);
                    },
                    Heard::Written(id) => self.pending.written(id, Instant::now() + self.answer_within),
                    Heard::Ended(failure) => return End::Lost(failure),
                },
                request = requests.recv(), if voice.outbox.takes_commands() => match request {
                    Some(request) => if let Err(ticket) = self.pending.push(request) {
                        voice.answer(ticket, Err(RelayFailure::Unreachable));
                    },
                    None => return End::Closed,
                },
                found = Search::found(&mut self.search) => {
                    self.search = None;
                    match found {
                        Some(request) => {
                            let turn = self.pending.solved(request);
                            self.take(turn);
                        }
                        None => return End::Lost(RelayFailure::Unreachable),
                    }
                }
                () = sleep_until(overdue.unwrap_or_else(Instant::now)), if room && overdue.is_some() => {
                    return End::Lost(RelayFailure::Misbehaved);
                }
            }
        }
    }

    /// Whether the frame made sense.
    fn on_frame(&mut self, frame: Frame, voice: &mut Voice) -> bool {
        match frame {
            Frame::Reply { id, answer } => match self.pending.answered(id, &answer) {
                Some(ticket) => voice.answer(ticket, Ok(answer)),
                None => return false,
            },
            Frame::Push { queue, blob } => {
                let (group, address) = (voice.group, voice.address.clone());
                voice.outbox.push(LaneEvent::RelayPush { group, address, queue, blob });
            }
        }
        true
    }

    fn send_what_may_go(&mut self) {
        while let Some(turn) = self.pending.turn() {
            self.take(turn);
        }
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Solve(queue, request) => self.search = Some(Search::start(&self.greeting, queue, request)),
            Turn::Send(id, Request { action, signer, .. }) => {
                let Greeting { relay_key, nonce, .. } = &self.greeting;
                let message = request_message(relay_key, nonce, &action);
                let sig = signer.map_or([0; 64], |key| sign_with(&key, &message));
                self.wire.send(mailbox::Request { id, action, sig });
            }
        }
    }
}
