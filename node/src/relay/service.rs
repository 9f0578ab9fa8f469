//! A mailbox at work: one thread that owns it, many sessions that ask.
//!
//! Requests that arrive while the store syncs are handled together and share the next sync. Answers leave only after
//! the sync of their round. A session that does not read is dropped, never waited for.

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hearth_protocol::{
    mailbox::{Action, Answer, Frame, Greeting, Refusal, Request},
    time::Timestamp,
};
use tokio::sync::{mpsc, oneshot};

use super::{
    mailbox::{Mailbox, MailboxStore, Outcome, Party, SessionId, StoreError},
    metrics::Metrics,
};

/// Where the shell reads the time.
pub type Clock = fn() -> Timestamp;

/// Requests waiting for the thread; a session waits for room.
const JOBS: usize = 1_024;
/// Requests that share one sync at most.
const ROUND: usize = 256;
/// Frames waiting for one session; one more drops it.
const OUT_QUEUE: usize = 640;
/// Bytes of pushes waiting in all sessions together; above it, a session with more than [`SLOW`] waiting is dropped.
const PUSH_BYTES: usize = 32 << 20;
const SLOW: usize = 16;
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// Why no session was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Too many sessions are open.
    #[error("too many sessions")]
    Busy,
    /// The mailbox has stopped, for good.
    #[error("mailbox stopped")]
    Stopped,
}

/// A handle to a mailbox's thread. The thread ends when the last handle and session are gone.
#[derive(Clone, Debug)]
pub struct MailboxService {
    jobs: mpsc::Sender<Job>,
}

/// Tells how the thread ended: `Ok` after the last handle went, else the store's error.
pub type Stopped = oneshot::Receiver<Result<(), StoreError>>;

#[derive(Debug)]
enum Job {
    Open {
        party: Party,
        out: mpsc::Sender<Arc<Parcel>>,
        reply: oneshot::Sender<Result<(SessionId, Greeting), Refusal>>,
    },
    Ask {
        session: SessionId,
        request: Request,
        at: Instant,
    },
    Close {
        session: SessionId,
    },
}

/// A frame on its way to a session, shared between those who subscribed.
#[derive(Debug)]
pub struct Parcel {
    frame: Frame,
    waiting: Option<(Arc<AtomicUsize>, usize)>,
}

impl Parcel {
    fn reply(id: u64, answer: Answer) -> Self {
        Self { frame: Frame::Reply { id, answer }, waiting: None }
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> &Frame {
        &self.frame
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if let Some((total, bytes)) = &self.waiting {
            total.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

/// One session: its greeting, and both directions, which may be taken apart.
#[derive(Debug)]
pub struct MailboxSession {
    /// What the mailbox greets with.
    pub greeting: Greeting,
    /// Asks.
    pub asker: Asker,
    /// Hears.
    pub answers: Answers,
}

/// The asking half of a session.
#[derive(Debug)]
pub struct Asker {
    session: SessionId,
    jobs: mpsc::Sender<Job>,
}

/// The hearing half of a session; dropping it ends the session.
#[derive(Debug)]
pub struct Answers {
    session: SessionId,
    jobs: mpsc::Sender<Job>,
    out: mpsc::Receiver<Arc<Parcel>>,
}

impl Asker {
    /// Asks; the answer comes as the reply of the request's id. Waits while the mailbox is busy.
    ///
    /// # Errors
    /// [`SessionError::Stopped`].
    pub async fn ask(&self, request: Request) -> Result<(), SessionError> {
        let job = Job::Ask { session: self.session, request, at: Instant::now() };
        self.jobs.send(job).await.map_err(|_| SessionError::Stopped)
    }
}

impl Answers {
    /// The next reply or push; `None` when the session was dropped or the mailbox stopped.
    pub async fn next(&mut self) -> Option<Arc<Parcel>> {
        self.out.recv().await
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // If there is no room, the session is found closed at its next push or at the next sweep.
        let _ = self.jobs.try_send(Job::Close { session: self.session });
    }
}

impl MailboxService {
    /// Puts a mailbox to work on its own thread.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn<S>(mailbox: Mailbox<S>, clock: Clock, metrics: Metrics) -> io::Result<(Self, Stopped)>
    where
        S: MailboxStore + Send + 'static,
    {
        let (jobs, inbox) = mpsc::channel(JOBS);
        let (stopped, stop) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let outs = HashMap::new();
        let worker = Worker { mailbox, clock, metrics, outs, next: 1, waiting: Arc::default() };
        std::thread::Builder::new().name("mailbox".into()).spawn(move || {
            let ended = runtime.block_on(worker.run(inbox));
            let _ = stopped.send(ended);
        })?;
        Ok((Self { jobs }, stop))
    }

    /// Opens a session.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn open(&self, party: Party) -> Result<MailboxSession, SessionError> {
        let (out, inbox) = mpsc::channel(OUT_QUEUE);
        let (reply, opened) = oneshot::channel();
        let job = Job::Open { party, out, reply };
        self.jobs.send(job).await.map_err(|_| SessionError::Stopped)?;
        let opened = opened.await.map_err(|_| SessionError::Stopped)?;
        let (session, greeting) = opened.map_err(|_| SessionError::Busy)?;
        let asker = Asker { session, jobs: self.jobs.clone() };
        let answers = Answers { session, jobs: self.jobs.clone(), out: inbox };
        Ok(MailboxSession { greeting, asker, answers })
    }
}

struct Worker<S> {
    mailbox: Mailbox<S>,
    clock: Clock,
    metrics: Metrics,
    outs: HashMap<SessionId, mpsc::Sender<Arc<Parcel>>>,
    next: u64,
    waiting: Arc<AtomicUsize>,
}

/// What a round has answered, waiting for its sync.
#[derive(Default)]
struct Round {
    answered: Vec<(SessionId, u64, Outcome)>,
    puts: Vec<Instant>,
    wrote: bool,
}

impl<S: MailboxStore> Worker<S> {
    async fn run(mut self, mut inbox: mpsc::Receiver<Job>) -> Result<(), StoreError> {
        let mut sweep = tokio::time::interval(SWEEP_EVERY);
        sweep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut jobs = Vec::with_capacity(ROUND);
        loop {
            tokio::select! {
                taken = inbox.recv_many(&mut jobs, ROUND) => {
                    if taken == 0 {
                        return self.mailbox.sync();
                    }
                    self.round(&mut jobs)?;
                }
                _ = sweep.tick() => self.sweep()?,
            }
            let bits = self.mailbox.pow_bits((self.clock)());
            self.metrics.usage(self.mailbox.usage(), self.mailbox.sessions(), bits);
        }
    }

    fn sweep(&mut self) -> Result<(), StoreError> {
        let gone: Vec<_> = self.outs.iter().filter(|(_, out)| out.is_closed()).map(|(id, _)| *id).collect();
        for session in gone {
            self.close(session);
        }
        let expired = self.mailbox.sweep((self.clock)())?;
        self.metrics.expired.inc_by(expired);
        self.mailbox.sync()
    }

    fn round(&mut self, jobs: &mut Vec<Job>) -> Result<(), StoreError> {
        let mut round = Round::default();
        for job in jobs.drain(..) {
            match job {
                Job::Open { party, out, reply } => self.open(party, out, reply),
                Job::Close { session } => self.close(session),
                Job::Ask { session, request, at } => {
                    let outcome = self.mailbox.handle(session, &request, (self.clock)())?;
                    if matches!(request.action, Action::Put { .. }) && outcome.wrote {
                        round.puts.push(at);
                    }
                    round.wrote |= outcome.wrote;
                    round.answered.push((session, request.id, outcome));
                }
            }
        }
        if round.wrote {
            self.mailbox.sync()?;
            self.metrics.syncs.inc();
        }
        for at in round.puts {
            self.metrics.puts.inc();
            self.metrics.put_seconds.observe(at.elapsed().as_secs_f64());
        }
        for (session, id, outcome) in round.answered {
            self.metrics.requests.inc();
            if matches!(outcome.answer, Answer::Refused(_)) {
                self.metrics.refused.inc();
            }
            self.deliver(session, Arc::new(Parcel::reply(id, outcome.answer)));
            let Some(push) = outcome.push else { continue };
            let bytes = push.blob.bytes.len();
            self.waiting.fetch_add(bytes, Ordering::Relaxed);
            let frame = Frame::Push { queue: push.queue, blob: push.blob };
            let parcel = Arc::new(Parcel { frame, waiting: Some((self.waiting.clone(), bytes)) });
            for session in push.sessions {
                self.push(session, &parcel);
            }
        }
        Ok(())
    }

    fn open(
        &mut self,
        party: Party,
        out: mpsc::Sender<Arc<Parcel>>,
        reply: oneshot::Sender<Result<(SessionId, Greeting), Refusal>>,
    ) {
        let mut nonce = [0; 32];
        if getrandom::fill(&mut nonce).is_err() {
            // Without a nonce no signature could be trusted: no session.
            return;
        }
        let session = SessionId(self.next);
        self.next += 1;
        let opened = self.mailbox.open(session, nonce, party, (self.clock)());
        if opened.is_ok() {
            self.outs.insert(session, out);
        }
        if reply.send(opened.map(|greeting| (session, greeting))).is_err() {
            self.close(session);
        }
    }

    fn close(&mut self, session: SessionId) {
        self.outs.remove(&session);
        self.mailbox.close(session);
    }

    fn push(&mut self, session: SessionId, parcel: &Arc<Parcel>) {
        let crowded = self.waiting.load(Ordering::Relaxed) > PUSH_BYTES;
        let slow = self.outs.get(&session).is_some_and(|out| out.max_capacity() - out.capacity() > SLOW);
        if crowded && slow {
            self.metrics.sessions_dropped.inc();
            self.close(session);
        } else {
            self.deliver(session, parcel.clone());
        }
    }

    fn deliver(&mut self, session: SessionId, parcel: Arc<Parcel>) {
        let Some(out) = self.outs.get(&session) else { return };
        if let Err(error) = out.try_send(parcel) {
            if matches!(error, mpsc::error::TrySendError::Full(_)) {
                self.metrics.sessions_dropped.inc();
            }
            self.close(session);
        }
    }
}

#[cfg(test)]
mod tests;
