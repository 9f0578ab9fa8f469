//! Member links: one framed stream each, read and written by two tasks, so that neither waits for the other.

pub(super) mod streams;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::io::AsyncRead;
use hearth_protocol::limits::SYNC_FRAME_MAX;
use libp2p::{PeerId, Stream};
use tokio::{sync::mpsc, task::AbortHandle, time::timeout};

use super::framing::{FrameError, FrameReader, Framed};
use crate::engine::lane::LinkId;

/// Messages that may wait for a slow reader. When they are more, the link is closed, and sync starts again later.
const QUEUE_MESSAGES: usize = 1_024;
/// Their bytes: room for a catch-up that the engine hands over in one go.
const QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// A side that has nothing to say for so long sends an empty frame ([R-94]).
const BEAT: Duration = Duration::from_secs(4);
/// A link on which no frame begins for so long is over: its peer vanished without a word, or the network is gone.
const SILENCE: Duration = Duration::from_secs(9);

/// What a link's tasks tell the lane: a message, or that the link has ended.
#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) link: LinkId,
    pub(super) message: Option<Vec<u8>>,
}

/// A live link; dropping it ends its tasks and closes its stream.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    /// Whether the engine found the card good.
    pub(super) accepted: bool,
    queue: mpsc::Sender<Vec<u8>>,
    queued: Arc<AtomicUsize>,
    tasks: [AbortHandle; 2],
}

impl Link {
    /// Starts the tasks. `inbound` is shared by all links of a lane; a full one makes them stop reading.
    pub(super) fn start(id: LinkId, peer: PeerId, stream: Stream, inbound: mpsc::Sender<Inbound>) -> Self {
        let Framed { mut read, mut write } = Framed::new(stream);
        let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(QUEUE_MESSAGES);
        let queued = Arc::new(AtomicUsize::new(0));
        let ended = inbound.clone();
        let written = Arc::clone(&queued);
        let writer = tokio::spawn(async move {
            loop {
                let message = match timeout(BEAT, waiting.recv()).await {
                    Ok(Some(message)) => message,
                    Ok(None) => break,
                    Err(_) => Vec::new(),
                };
                if write.write(&message).await.is_err() {
                    break;
                }
                written.fetch_sub(message.len(), Ordering::Relaxed);
            }
            let _ = ended.send(Inbound { link: id, message: None }).await;
        });
        let reader = tokio::spawn(async move {
            loop {
                let message = next(&mut read).await.ok();
                let last = message.is_none();
                if inbound.send(Inbound { link: id, message }).await.is_err() || last {
                    break;
                }
            }
        });
        Self { peer, accepted: false, queue, queued, tasks: [writer.abort_handle(), reader.abort_handle()] }
    }

    /// Queues a message; false when the other side reads too slowly and the link is to be closed.
    pub(super) fn send(&self, message: Vec<u8>) -> bool {
        let bytes = message.len();
        if self.queued.load(Ordering::Relaxed) + bytes > QUEUE_BYTES {
            return false;
        }
        // Counted before it is queued, so that the writer never subtracts first.
        self.queued.fetch_add(bytes, Ordering::Relaxed);
        self.queue.try_send(message).is_ok()
    }
}

/// The next message; empty frames only say that the peer is there.
async fn next<R: AsyncRead + Unpin>(read: &mut FrameReader<R>) -> Result<Vec<u8>, FrameError> {
    loop {
        timeout(SILENCE, read.announced(SYNC_FRAME_MAX)).await.map_err(|_| FrameError::Stalled)??;
        let message = read.next(SYNC_FRAME_MAX).await?;
        if !message.is_empty() {
            return Ok(message);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
