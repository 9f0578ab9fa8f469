//! The cloneable handle, and the channels behind it. Bounded both ways.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::sync::{mpsc, oneshot};

use super::{Answer, Command, CommandId, Event, Kind, Refusal};

/// Commands that may wait for the engine; beyond that the caller is told to try again.
const COMMANDS: usize = 256;
/// Events that may wait for the receiver; beyond that notices are dropped and [`Event::Resync`] follows.
const EVENTS: usize = 4_096;

const BUSY: Refusal = Refusal::new(Kind::Conflict, "too much is waiting: try again in a moment");
const CLOSED: Refusal = Refusal::new(Kind::Offline, "the node has stopped: start it again");

/// One command on its way to the engine.
pub struct Ask {
    /// Its name.
    pub id: CommandId,
    /// What is asked.
    pub command: Command,
    /// Where the reply goes; `None` sends it as an [`Event::Reply`].
    pub reply: Option<oneshot::Sender<Result<Answer, Refusal>>>,
}

/// What the window and the agent hold: cheap to clone, never blocks.
#[derive(Clone)]
pub struct App {
    asks: mpsc::Sender<Ask>,
    next: Arc<AtomicU64>,
}

impl App {
    /// Asks; the reply arrives as an [`Event::Reply`] that names the returned id.
    ///
    /// # Errors
    /// `conflict` when too much is waiting, `offline` when the node has stopped.
    pub fn send(&self, command: Command) -> Result<CommandId, Refusal> {
        let id = self.next_id();
        self.push(Ask { id, command, reply: None })?;
        Ok(id)
    }

    /// Asks and waits for the reply.
    ///
    /// # Errors
    /// The command's refusal, or as [`App::send`].
    pub async fn call(&self, command: Command) -> Result<Answer, Refusal> {
        let (reply, answer) = oneshot::channel();
        self.push(Ask { id: self.next_id(), command, reply: Some(reply) })?;
        answer.await.map_err(|_| CLOSED)?
    }

    fn next_id(&self) -> CommandId {
        CommandId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    fn push(&self, ask: Ask) -> Result<(), Refusal> {
        self.asks.try_send(ask).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => BUSY,
            mpsc::error::TrySendError::Closed(_) => CLOSED,
        })
    }
}

/// The receiving end: one per app.
pub struct Events(mpsc::Receiver<Event>);

impl Events {
    /// The next event, or `None` when the node has stopped.
    pub async fn recv(&mut self) -> Option<Event> {
        self.0.recv().await
    }

    /// An event that is there already.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()
    }
}

/// Called after every event that is queued: the window asks for a repaint here.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// The driver's end.
pub struct Backend {
    /// Commands, in order.
    pub asks: mpsc::Receiver<Ask>,
    events: mpsc::Sender<Event>,
    wake: Wake,
    lagging: AtomicBool,
}

impl Backend {
    /// Hands an event over, or remembers that the receiver must ask again.
    pub fn emit(&self, event: Event) {
        if self.lagging.load(Ordering::Relaxed) && self.events.try_send(Event::Resync).is_ok() {
            self.lagging.store(false, Ordering::Relaxed);
        }
        if self.events.try_send(event).is_err() {
            self.lagging.store(true, Ordering::Relaxed);
        }
        (self.wake)();
    }
}

/// Both ends.
#[must_use]
pub fn channel(wake: Wake) -> (App, Events, Backend) {
    let (asks_tx, asks) = mpsc::channel(COMMANDS);
    let (events, events_rx) = mpsc::channel(EVENTS);
    let app = App { asks: asks_tx, next: Arc::new(AtomicU64::new(1)) };
    (app, Events(events_rx), Backend { asks, events, wake, lagging: AtomicBool::new(false) })
}
