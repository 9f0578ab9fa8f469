//! The only writer of the output: a task behind a queue that is bounded in lines and in bytes.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

/// Bytes that may wait for a slow reader. Beyond that notices are dropped and no request is read.
const BYTES: usize = 32 * 1024 * 1024;
/// Lines that may wait.
const LINES: usize = 1 << 17;
/// Kept free for the replies to requests that were taken in before the queue was full.
const RESERVE: usize = 1 << 10;

/// Lines on their way to the other side.
pub(super) struct Outbox {
    lines: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Waiting>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Waiting {
    bytes: AtomicUsize,
    less: Notify,
}

impl Outbox {
    /// Starts writing to `output`.
    pub(super) fn spawn<W: AsyncWrite + Unpin + Send + 'static>(output: W) -> Self {
        let (lines, queue) = mpsc::channel(LINES);
        let waiting = Arc::new(Waiting::default());
        let task = tokio::spawn(write(output, queue, Arc::clone(&waiting)));
        Self { lines, waiting, task }
    }

    /// Whether a further request may be taken in.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.bytes.load(Ordering::Acquire) < BYTES && self.lines.capacity() > RESERVE
    }

    /// Ready when something was written since the last call.
    pub(super) fn room(&self) -> impl Future<Output = ()> + '_ {
        self.waiting.less.notified()
    }

    /// Ready when the other side has gone.
    pub(super) fn broken(&self) -> impl Future<Output = ()> + '_ {
        self.lines.closed()
    }

    /// Queues a line; `None` is a line that could not be made.
    pub(super) fn push(&self, line: impl Into<Option<Vec<u8>>>) {
        let Some(mut line) = line.into() else { return };
        line.push(b'\n');
        self.waiting.bytes.fetch_add(line.len(), Ordering::AcqRel);
        // Fails only when the other side has gone: the reserve covers every reply that can be owed.
        let _gone = self.lines.try_send(line);
    }

    /// Lets what is queued go, for at most `patience`.
    pub(super) async fn finish(self, patience: Duration) {
        let Self { lines, task, .. } = self;
        drop(lines);
        let abort = task.abort_handle();
        if tokio::time::timeout(patience, task).await.is_err() {
            abort.abort();
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(mut output: W, mut queue: mpsc::Receiver<Vec<u8>>, waiting: Arc<Waiting>) {
    while let Some(line) = queue.recv().await {
        let written = output.write_all(&line).await;
        waiting.bytes.fetch_sub(line.len(), Ordering::AcqRel);
        waiting.less.notify_one();
        // Flush when nothing further is queued: a burst costs one flush.
        let flushed = if queue.is_empty() { output.flush().await } else { Ok(()) };
        if written.and(flushed).is_err() {
            return;
        }
    }
    let _gone = output.shutdown().await;
}
