//! Streams that others open: mailbox sessions, what a relay carries to others, and the echo that shows this node is there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use hearth_protocol::mailbox::MAILBOX_PROTOCOL;
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{AlreadyRegistered, Control, IncomingStreams};
use tokio::{sync::Semaphore, task::JoinSet};

use super::alive::{self, ALIVE};
use crate::{
    net::{
        entry::{self, ENTRY, EntryConfig, Table},
        framing::FrameError,
        mailbox_server::{Room, ServeError, serve},
    },
    relay::{MailboxService, Metrics},
};

/// Mailbox sessions of one peer.
const SESSIONS_PER_PEER: usize = 16;
/// Echoes at once, of all peers.
const ECHOES: usize = 8_192;

/// Mailbox sessions by peer.
type Count = Arc<Mutex<HashMap<PeerId, usize>>>;

/// One session's place in the count.
struct Place {
    count: Count,
    peer: PeerId,
}

impl Place {
    fn take(count: &Count, peer: PeerId) -> Option<Self> {
        let mut peers = count.lock().unwrap_or_else(PoisonError::into_inner);
        let sessions = peers.entry(peer).or_default();
        if *sessions >= SESSIONS_PER_PEER {
            return None;
        }
        *sessions += 1;
        Some(Self { count: count.clone(), peer })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut peers = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = peers.get_mut(&self.peer) {
            *sessions -= 1;
            if *sessions == 0 {
                peers.remove(&self.peer);
            }
        }
    }
}

/// Accepts streams of every kind; dropping the set ends them all.
pub(super) fn accept(
    control: &mut Control,
    mailbox: MailboxService,
    entry: Option<(Table, EntryConfig)>,
    metrics: Metrics,
) -> Result<JoinSet<()>, AlreadyRegistered> {
    let mut tasks = JoinSet::new();
    if let Some(entry) = entry {
        tasks.spawn(entry::serve(control.accept(ENTRY)?, entry, metrics.clone()));
    }
    let sessions = control.accept(StreamProtocol::new(MAILBOX_PROTOCOL))?;
    tasks.spawn(mailboxes(sessions, mailbox, metrics));
    let echoes = control.accept(ALIVE)?;
    tasks.spawn(echo(echoes));
    Ok(tasks)
}

async fn mailboxes(mut incoming: IncomingStreams, mailbox: MailboxService, metrics: Metrics) {
    let room = Room::default();
    let count = Count::default();
    let mut sessions = JoinSet::new();
    while let Some((peer, stream)) = incoming.next().await {
        while sessions.try_join_next().is_some() {}
        let Some(place) = Place::take(&count, peer) else { continue };
        sessions.spawn(session(stream, mailbox.clone(), room.clone(), metrics.clone(), place));
    }
}

async fn session(stream: Stream, mailbox: MailboxService, room: Room, metrics: Metrics, place: Place) {
    let ended = serve(stream, &mailbox, &room).await;
    drop(place);
    if let Err(error) = ended
        && !matches!(error, ServeError::Frame(FrameError::Closed | FrameError::Io(_)))
    {
        metrics.sessions_dropped.inc();
        tracing::debug!(%error, "mailbox session ended");
    }
}

async fn echo(mut incoming: IncomingStreams) {
    let places = Arc::new(Semaphore::new(ECHOES));
    let mut echoes = JoinSet::new();
    while let Some((_, stream)) = incoming.next().await {
        while echoes.try_join_next().is_some() {}
        let Ok(place) = places.clone().try_acquire_owned() else { continue };
        echoes.spawn(async move {
            alive::echo(stream).await;
            drop(place);
        });
    }
}
