//! The entry relay's side of `/hearth/entry/1`: its table of relays, and the bytes that it carries to them.
//!
//! It carries to relays in its table and nowhere else, so it is no way into anybody's network. A relay enters the table
//! by answering, under its PeerId and in this protocol, at an address where it was dialled; that it claims one proves nothing.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{Either, select},
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
};
use hearth_protocol::{
    entry::{ENTRY_PROTOCOL, EntryAnswer, EntryGreeting, EntryRequest, KnownRelay},
    limits::{ENTRY_RELAYS_MAX, OPERATOR_MAX},
};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::{
    net::TcpStream,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

use super::framing::{FrameError, Framed};
use crate::relay::Metrics;

/// libp2p's name of the protocol.
pub(super) const ENTRY: StreamProtocol = StreamProtocol::new(ENTRY_PROTOCOL);

/// How long the other side may take for its one frame.
const ASK_WITHIN: Duration = Duration::from_secs(10);
/// How long the other relay may take to accept.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// A direction without a byte for so long is given up: a session's two ends hear of each other every few seconds.
const SILENT: Duration = Duration::from_secs(60);
/// Who does not read for so long is given up: what was sent to it fills the memory of this relay meanwhile.
const STALLED: Duration = Duration::from_secs(10);
/// Bytes a second of one stream in the long run, and at once: a session that catches up, and no more.
const STREAM_RATE: u64 = 1 << 20;
const STREAM_BURST: u64 = 4 << 20;
/// Bytes of one direction in memory.
const CHUNK: usize = 16 * 1024;
/// Streams of one peer: who comes in has a name of its own for each.
const PER_PEER: usize = 2;

/// What a relay needs to be an entry.
#[derive(Clone, Debug)]
pub struct EntryConfig {
    /// Who runs it, in its own words; `None`: it is its own operator.
    pub operator: Option<String>,
    /// Streams carried at once.
    pub streams: usize,
    /// Bytes carried in a second, both ways, of all streams together.
    pub rate: u64,
}

/// A relay that is carried to.
#[derive(Clone, Debug)]
struct Known {
    address: SocketAddr,
    operator: String,
    /// Named by this relay's own settings: such ones are never crowded out.
    kept: bool,
}

/// Relays that are carried to, and who runs this one. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Table {
    operator: Arc<str>,
    known: Arc<Mutex<BTreeMap<PeerId, Known>>>,
}

impl Table {
    /// An empty one, of the relay `own`.
    pub(super) fn new(operator: Option<String>, own: PeerId) -> Self {
        let named = operator.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let named = named.filter(|name| name.len() <= OPERATOR_MAX);
        Self { operator: named.unwrap_or_else(|| own.to_string()).into(), known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<PeerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a relay; `kept` when this relay's settings name it. Of those that came by themselves each host has one. With a
    /// full table such a one is not entered, and a named one takes the place of such a one.
    pub(super) fn enter(&self, peer: PeerId, address: SocketAddr, operator: String, kept: bool) {
        let mut known = self.known();
        let crowds =
            |(other, relay): (&PeerId, &Known)| *other != peer && !relay.kept && relay.address.ip() == address.ip();
        if !kept && known.iter().any(crowds) {
            return;
        }
        if !known.contains_key(&peer) && known.len() >= ENTRY_RELAYS_MAX {
            let strange = known.iter().find(|(_, relay)| !relay.kept).map(|(peer, _)| *peer);
            match strange.filter(|_| kept) {
                Some(strange) => known.remove(&strange),
                None => return,
            };
        }
        known.insert(peer, Known { address, operator, kept });
    }

    /// Whether a relay is in it.
    pub(super) fn knows(&self, peer: &PeerId) -> bool {
        self.known().contains_key(peer)
    }

    /// A connection ended for good: who came by itself is forgotten.
    pub(super) fn left(&self, peer: &PeerId) {
        let mut known = self.known();
        if known.get(peer).is_some_and(|relay| !relay.kept) {
            known.remove(peer);
        }
    }

    fn address(&self, peer: &[u8]) -> Option<SocketAddr> {
        let peer = PeerId::from_bytes(peer).ok()?;
        Some(self.known().get(&peer)?.address)
    }

    fn greeting(&self) -> EntryGreeting {
        let known = self.known();
        let relays =
            known.iter().map(|(peer, relay)| KnownRelay { peer: peer.to_bytes(), operator: relay.operator.clone() });
        EntryGreeting { operator: self.operator.to_string(), relays: relays.collect() }
    }
}

/// Asks another relay who runs it.
pub(super) async fn meet(mut control: Control, peer: PeerId) -> (PeerId, Option<String>) {
    let greeting = timeout(ASK_WITHIN, async {
        let stream = control.open_stream(peer, ENTRY).await.ok()?;
        Framed::new(stream).recv::<EntryGreeting>().await.ok()
    });
    (peer, greeting.await.ok().flatten().map(|greeting| greeting.operator))
}

/// So many bytes a second, and so many at once.
struct Pace {
    rate: u64,
    burst: Duration,
    next: Mutex<Instant>,
}

impl Pace {
    fn new(rate: u64, burst: u64) -> Self {
        let (rate, now) = (rate.max(1), Instant::now());
        let burst = Duration::from_millis(burst.saturating_mul(1_000) / rate);
        Self { rate, burst, next: Mutex::new(now.checked_sub(burst).unwrap_or(now)) }
    }

    /// Waits until so many may pass.
    async fn pass(&self, bytes: usize) {
        tokio::time::sleep_until(self.when(Instant::now(), bytes)).await;
    }

    /// When so many may pass; they count as passed.
    fn when(&self, now: Instant, bytes: usize) -> Instant {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let at = (*next).max(now.checked_sub(self.burst).unwrap_or(now));
        *next = at + Duration::from_micros(bytes.saturating_mul(1_000_000) / self.rate);
        at
    }
}

/// What all streams share.
struct Carrier {
    table: Table,
    places: Semaphore,
    pace: Pace,
    metrics: Metrics,
}

/// Serves members that come in, until the set is dropped.
pub(super) async fn serve(mut incoming: IncomingStreams, (table, config): (Table, EntryConfig), metrics: Metrics) {
    let (places, pace) = (Semaphore::new(config.streams), Pace::new(config.rate, config.rate));
    let carrier = Arc::new(Carrier { table, places, pace, metrics });
    let mut carried: JoinSet<PeerId> = JoinSet::new();
    let mut of_peer: BTreeMap<PeerId, usize> = BTreeMap::new();
    loop {
        tokio::select! {
            next = incoming.next() => {
                let Some((peer, stream)) = next else { return };
                let open = of_peer.entry(peer).or_default();
                if *open >= PER_PEER {
                    continue;
                }
                *open += 1;
                let carrier = Arc::clone(&carrier);
                carried.spawn(async move {
                    let ended = guest(stream, &carrier).await;
                    if let Err(error) = ended {
                        tracing::debug!(%error, "a carried stream ended");
                    }
                    peer
                });
            }
            Some(ended) = carried.join_next() => if let Ok(peer) = ended
                && let Some(open) = of_peer.get_mut(&peer)
            {
                *open = open.saturating_sub(1);
                if *open == 0 {
                    of_peer.remove(&peer);
                }
            },
        }
    }
}

/// Counts what is carried while it lives.
struct Counted(Gauge);

impl Counted {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn guest(stream: Stream, carrier: &Carrier) -> Result<(), FrameError> {
    let Carrier { table, places, pace, metrics } = carrier;
    let mut framed = Framed::new(stream);
    framed.send(&table.greeting()).await?;
    // Other relays only want to know who this one is.
    let request: EntryRequest = match timeout(ASK_WITHIN, framed.recv()).await {
        Ok(request) => request?,
        Err(_) => return Err(FrameError::Stalled),
    };
    let place = places.try_acquire();
    let connected = match (table.address(&request.peer), &place) {
        (None, _) => Err(EntryAnswer::Unknown),
        (Some(_), Err(_)) => Err(EntryAnswer::Busy),
        (Some(at), Ok(_)) => match timeout(CONNECT_WITHIN, TcpStream::connect(at)).await {
            Ok(Ok(relay)) => Ok(relay),
            Ok(Err(_)) | Err(_) => Err(EntryAnswer::Unreachable),
        },
    };
    let relay = match connected {
        Ok(relay) => relay,
        Err(refusal) => {
            metrics.entries_refused.inc();
            framed.send(&refusal).await?;
            return framed.write.close().await;
        }
    };
    relay.set_nodelay(true)?;
    framed.send(&EntryAnswer::Carried).await?;
    let _counted = Counted::new(&metrics.entries);
    let Some(stream) = framed.into_inner() else { return Err(FrameError::Truncated) };
    let (from, to) = stream.split();
    let (back, forth) = relay.compat().split();
    let own = Pace::new(STREAM_RATE, STREAM_BURST);
    let out = carry(from, forth, ([&own, pace], &metrics.entry_bytes));
    let home = carry(back, to, ([&own, pace], &metrics.entry_bytes));
    // Whichever direction ends, the connection within is over.
    match select(Box::pin(out), Box::pin(home)).await {
        Either::Left((ended, _)) | Either::Right((ended, _)) => ended,
    }
}

/// Moves bytes until the end of `from`, or until one side stands still.
async fn carry<R, W>(mut from: R, mut to: W, (paces, bytes): ([&Pace; 2], &Counter)) -> Result<(), FrameError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = timeout(SILENT, from.read(&mut chunk)).await.map_err(|_| FrameError::Stalled)??;
        let Some(moved) = chunk.get(..read).filter(|moved| !moved.is_empty()) else { return Ok(to.close().await?) };
        for pace in paces {
            pace.pass(read).await;
        }
        let write = async {
            to.write_all(moved).await?;
            to.flush().await
        };
        timeout(STALLED, write).await.map_err(|_| FrameError::Stalled)??;
        bytes.inc_by(u64::try_from(read).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests;
