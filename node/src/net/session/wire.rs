//! The two tasks at a session's stream, and what they tell the session.

use hearth_protocol::mailbox::{Frame, Request};
use libp2p::Stream;
use tokio::{sync::mpsc, task::AbortHandle};

use super::{connect::is_garbage, pending::UNDER_WAY_MAX};
use crate::{
    engine::lane::RelayFailure,
    net::{dial::Driver, framing::Framed},
    relay::{Answers, Asker},
};

/// Frames read that wait for the session; the reader stops when they are more.
const INBOUND: usize = 8;

/// What happened on the stream.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame of the relay.
    Frame(Frame),
    /// The request of this id has left: from now on the relay owes an answer.
    Written(u64),
    /// The stream is of no more use.
    Ended(RelayFailure),
}

/// The stream; dropping it ends the tasks and closes it.
#[derive(Debug)]
pub(super) struct Wire {
    out: mpsc::Sender<Request>,
    heard: mpsc::Receiver<Heard>,
    tasks: [AbortHandle; 2],
    _driver: Option<Driver>,
}

impl Wire {
    /// Over a stream, kept open by `driver`.
    pub(super) fn start(framed: Framed<Stream>, driver: Driver) -> Self {
        let Framed { mut read, mut write } = framed;
        // Never full: there are no more requests under way than this.
        let (out, mut waiting) = mpsc::channel::<Request>(UNDER_WAY_MAX);
        let (tell, heard) = mpsc::channel(INBOUND);
        let written = tell.clone();
        let writer = tokio::spawn(async move {
            while let Some(request) = waiting.recv().await {
                let told = match write.send(&request).await {
                    Ok(()) => Heard::Written(request.id),
                    // A relay that does not read is slow, or its line is: neither is misbehaviour.
                    Err(_) => Heard::Ended(RelayFailure::Unreachable),
                };
                let last = matches!(told, Heard::Ended(_));
                if written.send(told).await.is_err() || last {
                    break;
                }
            }
        });
        let reader = tokio::spawn(async move {
            loop {
                let told = match read.recv::<Frame>().await {
                    // Sizes, counts and the order of numbers are checked with the frame.
                    Ok(frame) => Heard::Frame(frame),
                    Err(error) if is_garbage(&error) => Heard::Ended(RelayFailure::Misbehaved),
                    Err(_) => Heard::Ended(RelayFailure::Unreachable),
                };
                let last = matches!(told, Heard::Ended(_));
                if tell.send(told).await.is_err() || last {
                    break;
                }
            }
        });
        Self { out, heard, tasks: [writer.abort_handle(), reader.abort_handle()], _driver: Some(driver) }
    }

    /// To the mailbox of this process.
    pub(super) fn own(asker: Asker, mut answers: Answers) -> Self {
        let (out, mut waiting) = mpsc::channel::<Request>(UNDER_WAY_MAX);
        let (tell, heard) = mpsc::channel(INBOUND);
        let written = tell.clone();
        let writer = tokio::spawn(async move {
            while let Some(request) = waiting.recv().await {
                let id = request.id;
                if asker.ask(request).await.is_err() || written.send(Heard::Written(id)).await.is_err() {
                    break;
                }
            }
        });
        let reader = tokio::spawn(async move {
            while let Some(parcel) = answers.next().await {
                let frame = parcel.frame().clone();
                if tell.send(Heard::Frame(frame)).await.is_err() {
                    return;
                }
            }
            let _ = tell.send(Heard::Ended(RelayFailure::Unreachable)).await;
        });
        Self { out, heard, tasks: [writer.abort_handle(), reader.abort_handle()], _driver: None }
    }

    /// Queues a request. A writer that has ended tells so through [`Wire::hear`].
    pub(super) fn send(&self, request: Request) {
        let _ = self.out.try_send(request);
    }

    /// What happened next; dropping the future loses nothing.
    pub(super) async fn hear(&mut self) -> Heard {
        self.heard.recv().await.unwrap_or(Heard::Ended(RelayFailure::Unreachable))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
