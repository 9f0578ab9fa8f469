//! Frames on a stream: a 4-byte big-endian length, then that many bytes.
//!
//! A length is checked before anything is allocated for it, and the buffer grows with the bytes that arrive. A
//! peer may be silent between frames for as long as it likes, but a frame once begun must go on: [`IDLE`]
//! without a byte, or slower than [`FLOOR`] overall, ends the stream.

use std::{io, time::Duration};

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use hearth_protocol::cbor::{self, DecodeError, Wire};
use minicbor::Encode;
use tokio::time::{Instant, timeout_at};

/// How long a frame that has begun may stand still.
pub const IDLE: Duration = Duration::from_secs(10);
/// Bytes per second below which a frame counts as stalled; a frame has [`IDLE`] on top.
pub const FLOOR: u64 = 16 * 1024;
/// The most that one read or write moves, and so the most that is allocated ahead of the bytes.
const STEP: usize = 64 * 1024;
const HEADER: usize = 4;

/// Why a stream of frames ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The other side closed between two frames: the regular end.
    #[error("closed")]
    Closed,
    /// The other side closed in the middle of a frame.
    #[error("closed inside a frame")]
    Truncated,
    /// The announced length is above the bound of this kind of frame; nothing was allocated for it.
    #[error("frame longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// A begun frame stood still, or moved too slowly.
    #[error("frame stalled")]
    Stalled,
    /// The bytes are not a value of the expected type.
    #[error("frame not understood")]
    Decode(#[from] DecodeError),
    /// The stream broke.
    #[error("stream broken")]
    Io(#[from] io::Error),
}

/// The last instant at which a frame of `len` bytes, begun at `begun`, may end.
fn deadline(begun: Instant, idle: Duration, len: usize) -> Instant {
    begun + idle + Duration::from_millis(len as u64 * 1_000 / FLOOR)
}

/// Reads frames. Dropping a pending [`FrameReader::next`] loses nothing: the part that has arrived stays here.
#[derive(Debug)]
pub struct FrameReader<R> {
    inner: R,
    idle: Duration,
    header: [u8; HEADER],
    header_len: usize,
    body: Vec<u8>,
    begun: Option<Instant>,
    body_begun: Option<Instant>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, idle: IDLE, header: [0; HEADER], header_len: 0, body: Vec::new(), begun: None, body_begun: None }
    }

    /// Waits for the next frame to begin and tells its length, without taking the frame: a caller that is short
    /// of room may let it wait there.
    ///
    /// # Errors
    /// [`FrameError`]; after any, the stream is of no more use.
    pub async fn announced(&mut self, limit: usize) -> Result<usize, FrameError> {
        while self.header_len < HEADER {
            let Some(rest) = self.header.get_mut(self.header_len..) else { break };
            let read = match self.begun {
                None => self.inner.read(rest).await?,
                Some(begun) => within(deadline(begun, self.idle, 0), self.inner.read(rest)).await?,
            };
            match (read, self.begun) {
                (0, None) => return Err(FrameError::Closed),
                (0, Some(_)) => return Err(FrameError::Truncated),
                (_, None) => self.begun = Some(Instant::now()),
                (_, Some(_)) => {}
            }
            self.header_len += read;
        }
        let len = usize::try_from(u32::from_be_bytes(self.header)).unwrap_or(usize::MAX);
        if len > limit { Err(FrameError::TooLong { limit }) } else { Ok(len) }
    }

    /// The next frame's bytes, at most `limit`.
    ///
    /// # Errors
    /// [`FrameError`]; after any, the stream is of no more use.
    pub async fn next(&mut self, limit: usize) -> Result<Vec<u8>, FrameError> {
        let len = self.announced(limit).await?;
        let begun = *self.body_begun.get_or_insert_with(Instant::now);
        let until = deadline(begun, self.idle, len);
        while self.body.len() < len {
            let want = (len - self.body.len()).min(STEP);
            let had = self.body.len();
            // The buffer is only lengthened for bytes that are about to be read, a step at a time.
            let mut step = vec![0; want];
            let read = within(until.min(Instant::now() + self.idle), self.inner.read(&mut step)).await?;
            if read == 0 {
                return Err(FrameError::Truncated);
            }
            step.truncate(read);
            if had == 0 {
                self.body = step;
            } else {
                self.body.append(&mut step);
            }
        }
        self.header_len = 0;
        self.begun = None;
        self.body_begun = None;
        Ok(std::mem::take(&mut self.body))
    }

    /// The next frame as a value within its limits ([R-04]).
    ///
    /// # Errors
    /// [`FrameError`]; after any, the stream is of no more use.
    pub async fn recv<T: Wire>(&mut self) -> Result<T, FrameError> {
        let bytes = self.next(T::MAX).await?;
        Ok(cbor::read(&bytes)?)
    }
}

/// Writes frames. A dropped [`FrameWriter::write`] leaves half a frame behind: give the stream up then.
#[derive(Debug)]
pub struct FrameWriter<W> {
    inner: W,
    idle: Duration,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    /// Writes to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, idle: IDLE }
    }

    /// Writes one frame and flushes it.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] above `u32::MAX` bytes, [`FrameError::Stalled`] when the other side does not read.
    pub async fn write(&mut self, body: &[u8]) -> Result<(), FrameError> {
        let limit = u32::MAX as usize;
        let len = u32::try_from(body.len()).map_err(|_| FrameError::TooLong { limit })?;
        let until = deadline(Instant::now(), self.idle, body.len());
        // Small frames leave in one piece, so that they fit one packet of the multiplexer.
        let first = body.len().min(STEP);
        let (head, tail) = body.split_at(first);
        let mut piece = Vec::with_capacity(HEADER + first);
        piece.extend_from_slice(&len.to_be_bytes());
        piece.extend_from_slice(head);
        for chunk in std::iter::once(piece.as_slice()).chain(tail.chunks(STEP)) {
            within(until.min(Instant::now() + self.idle), self.inner.write_all(chunk)).await?;
        }
        within(until.min(Instant::now() + self.idle), self.inner.flush()).await
    }

    /// Writes one value as a frame.
    ///
    /// # Errors
    /// As [`FrameWriter::write`].
    pub async fn send<T: Encode<()>>(&mut self, value: &T) -> Result<(), FrameError> {
        self.write(&cbor::to_vec(value)).await
    }

    /// Says that nothing more will be written.
    ///
    /// # Errors
    /// [`FrameError::Io`] or [`FrameError::Stalled`].
    pub async fn close(&mut self) -> Result<(), FrameError> {
        within(Instant::now() + self.idle, self.inner.close()).await
    }
}

async fn within<T>(until: Instant, work: impl Future<Output = io::Result<T>>) -> Result<T, FrameError> {
    match timeout_at(until, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(FrameError::Stalled),
    }
}

/// Both directions of one stream; take the halves apart to use them at the same time.
#[derive(Debug)]
pub struct Framed<S> {
    /// What arrives.
    pub read: FrameReader<ReadHalf<S>>,
    /// What leaves.
    pub write: FrameWriter<WriteHalf<S>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// Frames on `stream`.
    pub fn new(stream: S) -> Self {
        let (read, write) = stream.split();
        Self { read: FrameReader::new(read), write: FrameWriter::new(write) }
    }

    /// The stream itself, between two frames; `None` when the next one has begun to arrive, or the halves are not of one stream.
    pub fn into_inner(self) -> Option<S> {
        if self.read.header_len > 0 {
            return None;
        }
        self.read.inner.reunite(self.write.inner).ok()
    }

    /// As [`FrameWriter::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send<T: Encode<()>>(&mut self, value: &T) -> Result<(), FrameError> {
        self.write.send(value).await
    }

    /// As [`FrameReader::recv`].
    ///
    /// # Errors
    /// As there.
    pub async fn recv<T: Wire>(&mut self) -> Result<T, FrameError> {
        self.read.recv().await
    }
}

#[cfg(test)]
mod tests;
