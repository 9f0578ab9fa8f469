//! One mailbox session on one stream: the greeting first, then requests, replies and pushes.
//!
//! Memory is bounded before it is used: a long request waits for room before its bytes are read, and a request
//! with a long answer waits for room before it is asked. Garbage, silence inside a frame, or not reading ends the session.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::io::{AsyncRead, AsyncWrite};
use hearth_protocol::{
    limits::{FRAME_LARGE, GET_MAX, REQUEST_MAX},
    mailbox::{Action, Frame, Request},
};
use tokio::{
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::framing::{FrameError, FrameReader, FrameWriter, Framed};
use crate::relay::{Answers, Asker, MailboxService, MailboxSession, Party, SessionError};

/// Longer requests count as long: everything but a slot's body is shorter.
const REQUEST_LONG: usize = FRAME_LARGE + 1_024;
/// Long requests in memory at once, of all sessions.
const LONG_REQUESTS: usize = 16;
/// Requests of one session under way.
const IN_FLIGHT: usize = 64;
/// Answers are counted in units of 64 KiB: of one session, and of all together.
const SESSION_UNITS: usize = 64;
const TOTAL_UNITS: usize = 1_024;
/// Blobs of one unit.
const UNIT_BLOBS: usize = 4;
/// A session that asks nothing for so long is closed, so that vanished peers do not pile up.
pub const SESSION_IDLE: Duration = Duration::from_secs(900);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The stream ended or carried garbage.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// No session could be had, or it was dropped for not reading.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A request id came again before its answer.
    #[error("request id used twice")]
    Twice,
    /// Nothing was asked for a long time.
    #[error("silent")]
    Silent,
    /// The server is closing.
    #[error("closing")]
    Closing(#[from] AcquireError),
}

/// Room for long requests and answers, shared by all sessions of a server.
#[derive(Clone, Debug)]
pub struct Room {
    requests: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Default for Room {
    fn default() -> Self {
        Self { requests: Arc::new(Semaphore::new(LONG_REQUESTS)), answers: Arc::new(Semaphore::new(TOTAL_UNITS)) }
    }
}

/// What a request under way holds until its reply is written.
type Held = Vec<OwnedSemaphorePermit>;
type Flights = Mutex<HashMap<u64, Held>>;

/// Serves one stream until either side ends it.
///
/// # Errors
/// [`ServeError`]; a regular end is [`FrameError::Closed`].
pub async fn serve<S>(stream: S, service: &MailboxService, room: &Room) -> Result<(), ServeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let MailboxSession { greeting, asker, answers } = service.open(Party::Remote).await?;
    let Framed { read, mut write } = Framed::new(stream);
    write.send(&greeting).await?;
    let flights = Flights::default();
    tokio::select! {
        ended = listen(read, &asker, room, &flights) => ended,
        ended = speak(write, answers, &flights) => ended,
    }
}

async fn listen<R>(mut read: FrameReader<R>, asker: &Asker, room: &Room, flights: &Flights) -> Result<(), ServeError>
where
    R: AsyncRead + Unpin,
{
    let places = Arc::new(Semaphore::new(IN_FLIGHT));
    let units = Arc::new(Semaphore::new(SESSION_UNITS));
    loop {
        let len = timeout(SESSION_IDLE, read.announced(REQUEST_MAX)).await.map_err(|_| ServeError::Silent)??;
        let mut held = vec![places.clone().acquire_owned().await?];
        if len > REQUEST_LONG {
            held.push(room.requests.clone().acquire_owned().await?);
        }
        let request: Request = read.recv().await?;
        let cost = cost(&request.action);
        if cost > 0 {
            held.push(units.clone().acquire_many_owned(cost).await?);
            held.push(room.answers.clone().acquire_many_owned(cost).await?);
        }
        let before = flights.lock().unwrap_or_else(PoisonError::into_inner).insert(request.id, held);
        if before.is_some() {
            return Err(ServeError::Twice);
        }
        asker.ask(request).await?;
    }
}

async fn speak<W>(mut write: FrameWriter<W>, mut answers: Answers, flights: &Flights) -> Result<(), ServeError>
where
    W: AsyncWrite + Unpin,
{
    while let Some(parcel) = answers.next().await {
        write.send(parcel.frame()).await?;
        if let Frame::Reply { id, .. } = parcel.frame() {
            flights.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
        }
    }
    Err(SessionError::Stopped.into())
}

/// Units that the answer may need.
fn cost(action: &Action) -> u32 {
    let blobs = match action {
        Action::Get { max, .. } => usize::from(*max).clamp(1, GET_MAX),
        Action::Subscribe { .. } => GET_MAX,
        Action::SlotGet { .. } => SESSION_UNITS * UNIT_BLOBS,
        Action::Create { .. } | Action::Put { .. } | Action::SlotPut { .. } | Action::SlotRotate { .. } => 0,
    };
    u32::try_from(blobs.div_ceil(UNIT_BLOBS)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
