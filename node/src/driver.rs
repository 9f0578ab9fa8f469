//! The shell around the engine: one task, one `select!`, and the only place where engine, disk and network meet.
//!
//! What is ready is taken together – up to [`BATCH`] commands and as many network events – and handled one by one;
//! their effects are merged: **one** durable commit, then all sends, then all replies and notices. So a burst waits for
//! the disk once, and nothing is ever sent or shown that a crash could take back.
//!
//! It runs on a thread of its own and blocks there on the disk. Only deriving the passphrase's key, which takes a
//! second of work, happens beside it.

mod session;
#[cfg(test)]
mod tests;
mod vaults;

use std::{collections::VecDeque, fs::File, path::PathBuf, sync::Arc, time::Duration};

use hearth_protocol::time::Timestamp;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use crate::{
    app::{Answer, Ask, Backend, Command, Event, Kind, Notice, Refusal},
    engine::{
        Effects, EngineConfig, Input,
        lane::{LaneCommand, LaneEvent},
    },
    store::{Expiry, Row, Store, StoreError, VaultParams, store_bytes, vault},
};
use session::Session;
use vaults::Job;

/// Commands, and events, handled before one commit.
const BATCH: usize = 64;
/// Vault commands that wait while a key is derived; beyond that the caller is told to try again.
const VAULT_QUEUE: usize = 16;
/// Other commands that wait for the vault to open; beyond that the caller is told to try again.
const HELD: usize = 256;
/// How long the outbox is still offered after the end was asked for.
const GRACE: Duration = Duration::from_secs(3);
/// How long after a failed write the disk is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often overwritten secrets are made unreadable.
const WIPE: Duration = Duration::from_secs(50);
/// How often expired buckets are erased and everything overwritten is made unreadable.
const EXPIRE: Duration = Duration::from_secs(3_600);
/// How long a clock must have been seen to run before a jump of more than a year is believed.
const TRUST: Duration = Duration::from_secs(24 * 3_600);
/// How often sled's files are written anew.
const REBUILD: Duration = Duration::from_secs(7 * 24 * 3_600);
/// How long bookkeeping that nobody waits for may share a later commit: see [`Effects::can_wait`].
const LINGER: Duration = Duration::from_millis(250);
/// Rows of such bookkeeping; more are written at once.
const LINGERING_ROWS: usize = 1_024;
/// No timer is shorter, whatever the engine says.
const TICK_MIN: Duration = Duration::from_millis(2);
/// No timer is longer, so that a clock that was set is noticed.
const TICK_MAX: Duration = Duration::from_secs(60);

const LOCKED: Refusal = Refusal::new(Kind::Locked, "the vault is locked: unlock it first");
const BUSY: Refusal = Refusal::new(Kind::Conflict, "too much is waiting: try again in a moment");
const STOPPED: Refusal = Refusal::new(Kind::Offline, "the node has stopped: start it again");
const DISK: Refusal = Refusal::new(Kind::Storage, "the disk refused: check its free space, then try again");
const DAMAGED: Refusal =
    Refusal::new(Kind::Storage, "the store is damaged: what can be read is shown, nothing more is written");

/// What the driver drives: the engine, seen from outside.
pub trait Core: Send {
    /// One input; see [`crate::engine`] for the contract.
    fn handle(&mut self, input: Input, now: Timestamp) -> Effects;

    /// Whether nothing waits to be delivered: then a clean end need not wait.
    fn settled(&self) -> bool {
        false
    }
}

/// The rows do not make an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stored state does not restore")]
pub struct RestoreError;

/// Makes an engine from all rows, with the effects of its start.
pub type Factory =
    Box<dyn Fn(EngineConfig, Vec<Row>, Timestamp) -> Result<(Box<dyn Core>, Effects), RestoreError> + Send>;

/// Tells the time: [`crate::clock::now`] outside tests.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What the driver is told once.
pub struct Setup {
    /// Home directory; it exists.
    pub home: PathBuf,
    /// The home's lock, held until the end.
    pub lock: File,
    /// For the engine.
    pub engine: EngineConfig,
    /// Cost of new vaults.
    pub vault: VaultParams,
    /// Word for `status`.
    pub mode: &'static str,
    /// Time.
    pub clock: Clock,
}

/// The network's ends.
pub struct Lines {
    /// To the network.
    pub commands: mpsc::Sender<LaneCommand>,
    /// From the network.
    pub events: mpsc::Receiver<LaneEvent>,
}

/// What woke the driver.
enum Wake {
    /// Whether it was asked for; otherwise the one who could ask is gone, which is no wish to stop.
    Stop(bool),
    Ask(Option<Ask>),
    Vault(Ask, Box<vaults::Outcome>),
    Lane(Option<LaneEvent>),
    Time,
}

pub(crate) struct Driver {
    setup: Setup,
    backend: Backend,
    factory: Factory,
    lines: Lines,
    session: Session,
    store: Option<Store>,
    core: Option<Box<dyn Core>>,
    job: Option<(Ask, Job)>,
    vault_queue: VecDeque<Ask>,
    /// Commands that were asked while the vault is being opened: they follow it.
    held: VecDeque<Ask>,
    wake_at: Option<Timestamp>,
    /// Bookkeeping that waits for the next commit, and until when at the latest.
    lingering: Effects,
    linger_until: Option<Instant>,
    asks_open: bool,
    lanes_open: bool,
    started: Instant,
    next_wipe: Instant,
    next_expiry: Instant,
    next_rebuild: Instant,
    retry_at: Option<Instant>,
    /// Where the commons can be reached: told before any engine is there, so kept for the next one.
    commons: Option<Vec<String>>,
    /// Whether the engine was told that the process ends.
    closing: bool,
}

impl Driver {
    pub(crate) fn new(setup: Setup, backend: Backend, factory: Factory, lines: Lines) -> Self {
        let now = Instant::now();
        Self {
            setup,
            backend,
            factory,
            lines,
            session: Session::default(),
            store: None,
            core: None,
            job: None,
            vault_queue: VecDeque::new(),
            held: VecDeque::new(),
            wake_at: None,
            lingering: Effects::default(),
            linger_until: None,
            asks_open: true,
            lanes_open: true,
            started: now,
            next_wipe: now + WIPE,
            next_expiry: now + EXPIRE,
            next_rebuild: now + REBUILD,
            retry_at: None,
            commons: None,
            closing: false,
        }
    }

    /// Runs until `stop` fires or every [`crate::app::App`] is gone, and the outbox was offered.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        let mut stoppable = true;
        let mut end: Option<Instant> = None;
        loop {
            if !self.asks_open && end.is_none() {
                end = Some(Instant::now() + GRACE);
            }
            if end.is_some() && !self.closing {
                self.closing = true;
                self.input(Input::Closing).await;
            }
            let settled = self.core.as_ref().is_none_or(|core| core.settled());
            let idle = settled && self.job.is_none() && self.held.is_empty();
            if end.is_some_and(|end| idle || Instant::now() >= end) {
                break;
            }
            match self.wait(&mut stop, stoppable, end).await {
                Wake::Stop(asked) => {
                    stoppable = false;
                    if asked {
                        end.get_or_insert_with(|| Instant::now() + GRACE);
                    }
                }
                Wake::Ask(ask) => self.turn(ask, None).await,
                Wake::Lane(event) => self.turn(None, event).await,
                Wake::Vault(ask, outcome) => {
                    self.job = None;
                    self.vault_done(ask, *outcome).await;
                    while !self.held.is_empty() && !self.is_opening() {
                        self.turn(None, None).await;
                    }
                    self.next_vault().await;
                }
                Wake::Time => {
                    self.housekeeping().await;
                    self.turn(None, None).await;
                }
            }
        }
        self.close(STOPPED).await;
    }

    /// One input of the driver's own.
    pub(super) async fn input(&mut self, input: Input) {
        let now = (self.setup.clock)();
        let writes = !self.store.as_ref().is_some_and(Store::is_damaged);
        let Some(core) = self.core.as_mut().filter(|_| writes) else { return };
        merge(&mut self.lingering, core.handle(input, now));
        self.wake_at = earlier(self.wake_at, self.lingering.wake_at.take());
        self.finish().await;
    }

    async fn wait(&mut self, stop: &mut oneshot::Receiver<()>, stoppable: bool, end: Option<Instant>) -> Wake {
        let until = self.next_instant(end);
        let Self { backend, lines, job, asks_open, lanes_open, .. } = self;
        let wake = tokio::select! {
            biased;
            stopped = &mut *stop, if stoppable => Wake::Stop(stopped.is_ok()),
            ask = backend.asks.recv(), if *asks_open => Wake::Ask(ask),
            done = vaults::finished(job) => Wake::Vault(done.0, Box::new(done.1)),
            event = lines.events.recv(), if *lanes_open => Wake::Lane(event),
            () = tokio::time::sleep_until(until) => Wake::Time,
        };
        match &wake {
            Wake::Ask(None) => self.asks_open = false,
            Wake::Lane(None) => self.lanes_open = false,
            _ => {}
        }
        wake
    }
    fn next_instant(&self, end: Option<Instant>) -> Instant {
        let now = Instant::now();
        let tick = self.wake_at.map(|at| {
            let left = Duration::from_millis(at.since((self.setup.clock)()));
            now + left.clamp(TICK_MIN, TICK_MAX)
        });
        let chores = self.core.is_some().then(|| self.next_wipe.min(self.next_expiry).min(self.next_rebuild));
        [end, tick, chores, self.retry_at, self.linger_until].into_iter().flatten().fold(now + TICK_MAX, Instant::min)
    }

    /// Takes what is ready, handles it, carries its effects out.
    async fn turn(&mut self, first: Option<Ask>, event: Option<LaneEvent>) {
        let now = (self.setup.clock)();
        let mut inputs = Vec::new();
        let mut vault = None;
        let mut next = first.or_else(|| self.next_ask());
        while let Some(ask) = next.take() {
            if vaults::is_vault(&ask.command) {
                vault = Some(ask);
                break;
            }
            inputs.extend(self.admit(ask));
            if inputs.len() < BATCH {
                next = self.next_ask();
            }
        }
        let events = event.into_iter().chain(std::iter::from_fn(|| self.lines.events.try_recv().ok()));
        let events: Vec<_> = events.take(BATCH).collect();
        for event in &events {
            if let LaneEvent::CommonsListening { addresses } = event {
                self.commons = Some(addresses.clone());
            }
        }
        // Without an engine, and with one that must not write, the network is not listened to.
        if self.core.is_some() && !self.store.as_ref().is_some_and(Store::is_damaged) {
            inputs.extend(events.into_iter().map(Input::Lane));
            if self.wake_at.is_some_and(|at| at <= now) {
                inputs.push(Input::Tick);
            }
        }
        if let Some(core) = self.core.as_mut() {
            for input in inputs {
                if matches!(input, Input::Tick) {
                    self.wake_at = None;
                }
                merge(&mut self.lingering, core.handle(input, now));
            }
            self.wake_at = earlier(self.wake_at, self.lingering.wake_at.take());
            self.finish_or_linger().await;
        }
        if let Some(ask) = vault {
            self.vault_queue_push(ask).await;
        }
    }

    fn next_ask(&mut self) -> Option<Ask> {
        let held = if self.is_opening() { None } else { self.held.pop_front() };
        held.or_else(|| self.backend.asks.try_recv().ok())
    }

    fn is_opening(&self) -> bool {
        self.store.is_none() && self.job.is_some()
    }

    /// A command on its way to the engine, held until the vault is open, or refused here.
    fn admit(&mut self, ask: Ask) -> Option<Input> {
        let refusal = match (&self.store, &self.core) {
            (_, None) if matches!(ask.command, Command::Status {}) => {
                let answer = self.status();
                session::reply(&self.backend, ask.id, ask.reply, Ok(answer));
                return None;
            }
            (None, _) if self.is_opening() && self.held.len() < HELD => {
                self.held.push_back(ask);
                return None;
            }
            (None, _) if self.is_opening() => BUSY,
            (None, _) => LOCKED,
            (Some(_), None) => DISK,
            (Some(store), Some(_)) if store.is_damaged() && !is_read(&ask.command) => DAMAGED,
            _ if self.session.is_full() => BUSY,
            _ => {
                self.session.expect(ask.id, ask.reply);
                return Some(Input::Command { id: ask.id, command: ask.command });
            }
        };
        session::reply(&self.backend, ask.id, ask.reply, Err(refusal));
        None
    }

    fn status(&self) -> Answer {
        Answer::Status {
            locked: self.store.is_none(),
            exists: vault::exists(&self.setup.home),
            mode: self.setup.mode,
            version: env!("CARGO_PKG_VERSION"),
            groups: 0,
            peers: 0,
            relays: Vec::new(),
            store_bytes: store_bytes(&self.setup.home),
        }
    }

    /// Carries out what the engine wants, unless all of it may wait for a later commit, which then takes it along.
    async fn finish_or_linger(&mut self) {
        let idle = self.lingering.is_empty();
        let until = *self.linger_until.get_or_insert_with(|| Instant::now() + LINGER);
        let full = self.lingering.persist.len() > LINGERING_ROWS;
        if idle {
            self.linger_until = None;
        } else if full || until <= Instant::now() || !self.lingering.can_wait() {
            self.finish().await;
        }
    }

    /// Carries out everything now.
    async fn finish(&mut self) {
        self.linger_until = None;
        let all = std::mem::take(&mut self.lingering);
        if let Err(e) = self.carry_out(all).await {
            self.failed(e).await;
        }
    }

    /// Persist, then send, then emit. On an error nothing was sent or emitted.
    async fn carry_out(&mut self, effects: Effects) -> Result<(), StoreError> {
        let Effects { persist, send, emit, wake_at } = effects;
        let store = self.store.as_mut().ok_or(StoreError::Closed)?;
        if !persist.is_empty() {
            store.commit(&persist)?;
        }
        let mute = store.is_damaged();
        self.wake_at = earlier(self.wake_at, wake_at);
        for command in send.into_iter().filter(|_| !mute) {
            self.session.sent(&command);
            session::send(&self.lines.commands, command).await;
        }
        for event in emit {
            match event {
                Event::Reply { command, result } => {
                    let result = result.map(|answer| self.complete(answer));
                    let reply = self.session.answered(command);
                    session::reply(&self.backend, command, reply, result);
                }
                other => self.backend.emit(other),
            }
        }
        Ok(())
    }

    /// The engine knows groups and peers; the rest of a status is known here.
    fn complete(&self, answer: Answer) -> Answer {
        let Answer::Status { groups, peers, relays, .. } = answer else { return answer };
        match self.status() {
            Answer::Status { locked, exists, mode, version, store_bytes, .. } => {
                Answer::Status { locked, exists, mode, version, groups, peers, relays, store_bytes }
            }
            other => other,
        }
    }

    /// The disk refused: the engine may be ahead of it, so a new one is made from what is on it.
    async fn failed(&mut self, e: StoreError) {
        tracing::error!(error = %e, "a batch was not written");
        self.drop_core(Refusal::from(e)).await;
        self.warn("the disk refused a write: what was just done did not happen");
        self.restart().await;
    }

    /// Opens the store again and makes an engine from it; if that fails, it is tried again later.
    async fn restart(&mut self) {
        let Some(store) = self.store.as_mut() else { return };
        let started = match store.reopen() {
            Ok(()) => self.start_core().await,
            Err(e) => Err(Refusal::from(e)),
        };
        self.retry_at = None;
        if let Err(refusal) = started {
            self.drop_core(refusal).await;
            self.retry_at = Some(Instant::now() + RETRY);
        }
    }

    /// Makes an engine from the open store.
    async fn start_core(&mut self) -> Result<(), Refusal> {
        let store = self.store.as_mut().ok_or(LOCKED)?;
        let damaged = store.is_damaged();
        let rows = store.load_all()?;
        let made = (self.factory)(self.setup.engine.clone(), rows, (self.setup.clock)());
        let (mut core, mut effects) = made.map_err(|_| DAMAGED)?;
        if let Some(addresses) = self.commons.clone() {
            let told = Input::Lane(LaneEvent::CommonsListening { addresses });
            merge(&mut effects, core.handle(told, (self.setup.clock)()));
        }
        self.core = Some(core);
        // Whatever the last one was told.
        self.closing = false;
        self.wake_at = None;
        if damaged {
            effects.persist.clear();
            self.warn("the store is damaged: what can be read is shown, nothing more is written");
        }
        let now = Instant::now();
        self.next_wipe = now + WIPE;
        self.next_expiry = now + EXPIRE;
        Ok(self.carry_out(effects).await?)
    }

    /// Lets the engine go: lanes close, whoever waits is refused.
    async fn drop_core(&mut self, refusal: Refusal) {
        for command in self.session.closing() {
            session::send(&self.lines.commands, command).await;
        }
        for (id, reply) in self.session.unanswered() {
            session::reply(&self.backend, id, reply, Err(refusal.clone()));
        }
        self.core = None;
        self.wake_at = None;
        self.lingering = Effects::default();
        self.linger_until = None;
    }

    /// Locks: engine, keys and lanes are gone afterwards.
    async fn close(&mut self, refusal: Refusal) {
        if self.core.is_some() && !self.lingering.is_empty() {
            self.finish().await;
        }
        self.drop_core(refusal).await;
        self.retry_at = None;
        if let Some(store) = self.store.take() {
            store.close();
        }
    }

    async fn housekeeping(&mut self) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| at <= now) {
            return self.restart().await;
        }
        let Some(store) = self.store.as_mut().filter(|store| !store.is_damaged() && self.core.is_some()) else {
            return;
        };
        let mut done = Ok(());
        let mut jumped = false;
        if self.next_expiry <= now {
            self.next_expiry = now + EXPIRE;
            let trusted = now.duration_since(self.started) >= TRUST;
            let today = (self.setup.clock)().day();
            done = store.expire(today, trusted).and_then(|expiry| {
                jumped = expiry == Expiry::ClockJumped;
                store.wipe(true).map(drop)
            });
        } else if self.next_wipe <= now {
            done = store.wipe(false).map(drop);
        } else if self.next_rebuild <= now {
            self.next_rebuild = now + REBUILD;
            done = store.rebuild();
        }
        if self.next_wipe <= now {
            self.next_wipe = now + WIPE;
        }
        if jumped {
            self.warn(vaults::JUMPED);
        }
        if let Err(e) = done {
            self.failed(e).await;
        }
    }

    fn warn(&self, text: &'static str) {
        self.backend.emit(Event::Notice(Notice::Warning { text }));
    }
}

/// Adds the effects of a later call.
fn merge(all: &mut Effects, later: Effects) {
    all.persist.extend(later.persist);
    all.send.extend(later.send);
    all.emit.extend(later.emit);
    all.wake_at = earlier(all.wake_at, later.wake_at);
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// Commands that a damaged store still answers.
fn is_read(command: &Command) -> bool {
    matches!(
        command,
        Command::Status {}
            | Command::GroupList {}
            | Command::GroupPage { .. }
            | Command::GroupShow { .. }
            | Command::MessageList { .. }
            | Command::MessageStatus { .. }
            | Command::RelayList { .. }
            | Command::DebugTip { .. }
            | Command::DraftGet { .. }
            | Command::SettingsGet {}
    )
}
