//! The member's side of `/hearth/entry/1`: one relay carries to another, of another operator.

use std::{io, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use hearth_protocol::entry::{EntryAnswer, EntryGreeting, EntryRequest};
use tokio::time::timeout;

use super::{Isolation, RelayAt, Tunnel, TunnelStream};
use crate::net::{
    commons::alive::PATIENCE,
    dial::{Dialled, Path, open},
    entry::ENTRY,
    framing::Framed,
};

/// How long one entry may take: two are tried before a session gives up for now.
const ENTRY_WITHIN: Duration = Duration::from_secs(4);

/// Goes to a relay through any of the others, each tried once in an order of chance. The relay itself is never dialled.
#[derive(Debug)]
pub(in crate::net) struct EntryTunnel {
    entries: Arc<[RelayAt]>,
}

impl EntryTunnel {
    /// Through one of `entries`.
    pub(in crate::net) fn new(entries: &[RelayAt]) -> Self {
        Self { entries: entries.into() }
    }
}

impl Tunnel for EntryTunnel {
    fn dial(&self, to: RelayAt, _: Isolation) -> BoxFuture<'static, io::Result<TunnelStream>> {
        // A connection of its own under a name of its own for each dial is all the isolation that there can be here.
        let entries = Arc::clone(&self.entries);
        Box::pin(async move {
            let mut others: Vec<&RelayAt> = entries.iter().filter(|e| e.peer != to.peer).collect();
            while !others.is_empty() {
                let entry = others.swap_remove(rand::random_range(..others.len()));
                match timeout(ENTRY_WITHIN, carried(entry, &to)).await {
                    Ok(Some(stream)) => return Ok(stream),
                    Ok(None) | Err(_) => tracing::debug!("one entry relay does not carry to this relay"),
                }
            }
            Err(io::Error::new(io::ErrorKind::NotConnected, "no entry relay carries to this relay"))
        })
    }

    /// Short, so that a dead network is noticed to be back within ten seconds.
    fn within(&self) -> Duration {
        ENTRY_WITHIN * 2 + Duration::from_secs(1)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}

async fn carried(entry: &RelayAt, to: &RelayAt) -> Option<TunnelStream> {
    let Dialled { stream, driver } = open(&entry.address, Some(entry.peer), ENTRY, Path::Straight).await?;
    let mut framed = Framed::new(stream);
    let greeting: EntryGreeting = framed.recv().await.ok()?;
    let peer = to.peer.to_bytes();
    let known = greeting.relays.iter().find(|relay| relay.peer == peer)?;
    // One operator at both ends would know who asks what.
    if same_operator(&known.operator, &greeting.operator) {
        return None;
    }
    framed.send(&EntryRequest { peer }).await.ok()?;
    let answer: EntryAnswer = framed.recv().await.ok()?;
    if answer != EntryAnswer::Carried {
        return None;
    }
    Some(Box::new(Dialled { stream: framed.into_inner()?, driver }))
}

/// Names as people write them.
fn same_operator(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}
