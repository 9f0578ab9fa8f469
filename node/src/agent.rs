//! The agent: JSON-RPC 2.0 over a pair of byte streams, one object per line, on top of the façade.
//!
//! Requests reach the façade in the order of their lines; replies leave in the order in which they are ready.
//! A bad line costs one error reply and nothing else. When the input ends, what was asked is still answered, the
//! node is shut down, and [`Session::run`] returns within five seconds whatever the other side does.
//!
//! ```no_run
//! # async fn example(app: hearth_node::app::App, events: hearth_node::app::Events) {
//! let (input, output) = (tokio::io::stdin(), tokio::io::stdout());
//! let session = hearth_node::agent::Session { app, events, input, output };
//! session.run(std::future::pending(), async { /* shut the node down */ }).await;
//! # }
//! ```

mod lines;
mod outbox;
mod rpc;

use std::{future::Future, pin::pin, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::app::{Answer, App, Command, Event, Events, Kind, Refusal};
use hearth_protocol::limits::TEXT_MAX;
use lines::{Line, Lines};
use outbox::Outbox;
use rpc::{Call, Id};

/// Requests that may wait for their answers; beyond that no further line is read. Less than the façade's own queue,
/// so that a burst waits instead of being refused.
const IN_FLIGHT: usize = 128;
/// What happens after the end of the input, and when.
struct Patience {
    /// How long open requests may still be answered by the running node.
    answers: Duration,
    /// When the node must have stopped.
    stopped: Duration,
    /// How long the last lines may take to be read by the other side.
    flushed: Duration,
}

/// Three seconds for what is unsent, and never five in all.
const PATIENCE: Patience = Patience {
    answers: Duration::from_millis(1_200),
    stopped: Duration::from_millis(4_300),
    flushed: Duration::from_millis(400),
};
const _: () = assert!(PATIENCE.stopped.as_millis() + PATIENCE.flushed.as_millis() < 5_000);

const TOO_LARGE: Refusal = Refusal::new(Kind::TooLarge, "the text is over 64 KiB: send it in several messages");

/// One conversation with a program: from its first line to the end of its input.
pub struct Session<R, W> {
    /// The node.
    pub app: App,
    /// What happens there.
    pub events: Events,
    /// Requests.
    pub input: R,
    /// Replies and notifications; nothing else is ever written here.
    pub output: W,
}

type Reply = (Option<Id>, Result<Answer, Refusal>);

/// What a running session holds.
struct Running {
    app: App,
    events: Events,
    replies: FuturesUnordered<BoxFuture<'static, Reply>>,
    outbox: Outbox,
    events_missed: bool,
    events_ended: bool,
}

impl<R, W> Session<R, W>
where
    R: AsyncRead + Unpin + Send,
    W: AsyncWrite + Unpin + Send + 'static,
{
    /// Serves until the input ends, the output breaks or `stop` is ready; then runs `shutdown`, which offers what is
    /// unsent and closes the node.
    pub async fn run(self, stop: impl Future<Output = ()>, shutdown: impl Future<Output = ()>) {
        self.run_with(PATIENCE, stop, shutdown).await;
    }

    async fn run_with(self, patience: Patience, stop: impl Future<Output = ()>, shutdown: impl Future<Output = ()>) {
        let mut lines = Lines::new(self.input);
        let mut running = Running {
            app: self.app,
            events: self.events,
            replies: FuturesUnordered::new(),
            outbox: Outbox::spawn(self.output),
            events_missed: false,
            events_ended: false,
        };
        running.serve(&mut lines, stop).await;
        running.finish(patience, shutdown).await;
    }
}

impl Running {
    async fn serve<R: AsyncRead + Unpin + Send>(&mut self, lines: &mut Lines<R>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        // One line is read ahead even when nothing can be taken in, so that the end of the input is always noticed.
        let mut held: Option<Line> = None;
        loop {
            let room = self.outbox.has_room();
            if room
                && self.replies.len() < IN_FLIGHT
                && let Some(line) = held.take()
            {
                self.take(&line).await;
                continue;
            }
            tokio::select! {
                () = &mut stop => return,
                () = self.outbox.broken() => return,
                () = self.outbox.room(), if !room => {}
                Some(reply) = self.replies.next(), if !self.replies.is_empty() => self.answer(reply),
                event = self.events.recv(), if !self.events_ended => self.tell(event),
                line = lines.next(), if held.is_none() => match line {
                    Ok(Some(line)) => held = Some(line),
                    Ok(None) => return,
                    Err(_) => {
                        tracing::warn!("the input cannot be read any more");
                        return;
                    }
                },
            }
        }
    }

    /// Turns one line into a waiting call or an error reply.
    async fn take(&mut self, line: &Line) {
        let call = match line {
            Line::Whole(bytes) => rpc::parse(bytes),
            Line::TooLong => Err(Some(rpc::Failure::too_long())),
        };
        match call {
            Ok(Call { id, command }) => {
                if is_too_large(&command) {
                    return self.answer((id, Err(TOO_LARGE)));
                }
                let app = self.app.clone();
                let mut reply = async move { (id, app.call(command).await) }.boxed();
                // The first poll hands the command over: the next line's command comes after it.
                match futures::poll!(&mut reply) {
                    std::task::Poll::Ready(reply) => self.answer(reply),
                    std::task::Poll::Pending => self.replies.push(reply),
                }
            }
            Err(Some(failure)) => self.outbox.push(failure.to_line()),
            Err(None) => {}
        }
    }

    fn answer(&self, (id, result): Reply) {
        if let Some(id) = id {
            self.outbox.push(rpc::reply(&id, &result));
        }
    }

    fn tell(&mut self, event: Option<Event>) {
        let line = match event {
            Some(Event::Notice(notice)) => rpc::notification(&notice),
            Some(Event::Resync) => {
                self.events_missed = true;
                None
            }
            // Commands are asked one by one with a reply of their own.
            Some(Event::Reply { .. }) => None,
            None => {
                self.events_ended = true;
                None
            }
        };
        if !self.outbox.has_room() {
            self.events_missed |= line.is_some();
            return;
        }
        if std::mem::take(&mut self.events_missed) {
            self.outbox.push(rpc::events_missed());
        }
        if let Some(line) = line {
            self.outbox.push(line);
        }
    }

    /// Answers what is open, shuts the node down, and lets the last lines go.
    async fn finish(mut self, patience: Patience, shutdown: impl Future<Output = ()>) {
        let mut stopped = pin!(tokio::time::sleep(patience.stopped));
        let mut answers = pin!(tokio::time::sleep(patience.answers));
        while !self.replies.is_empty() {
            tokio::select! {
                () = &mut answers => break,
                Some(reply) = self.replies.next() => self.answer(reply),
                event = self.events.recv(), if !self.events_ended => self.tell(event),
            }
        }
        let mut shutdown = pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                () = &mut stopped => {
                    tracing::warn!("the node did not stop in time");
                    break;
                }
                Some(reply) = self.replies.next(), if !self.replies.is_empty() => self.answer(reply),
                event = self.events.recv(), if !self.events_ended => self.tell(event),
            }
        }
        while let Some(event) = self.events.try_recv() {
            self.tell(Some(event));
        }
        // The stopped node has let go of every open request, so each is ready now.
        while let Some(Some(reply)) = self.replies.next().now_or_never() {
            self.answer(reply);
        }
        self.outbox.finish(patience.flushed).await;
    }
}

fn is_too_large(command: &Command) -> bool {
    match command {
        Command::MessageSend { text, .. } | Command::MessageEdit { text, .. } => text.len() > TEXT_MAX,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
