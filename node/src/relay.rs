//! The volunteer's node: mailbox, DHT, limits and metrics. [`run`] is the whole of it.
//!
//! A relay keeps opaque bytes under opaque names. It is restarted by its supervisor when [`run`] ends with an error:
//! after a failed sync nothing in memory can be trusted to be on disk.

mod config;
mod home;
pub mod mailbox;
mod metrics;
mod scrape;
mod service;
mod store;

use std::{future::Future, io, time::Duration};

use tokio::{sync::mpsc, time::timeout};

pub use config::{LimitError, RelayConfig, RelayLimits};
pub use home::{HomeError, peer_id};
pub use mailbox::Party;
pub use metrics::Metrics;
pub use service::{Answers, Asker, Clock, MailboxService, MailboxSession, Parcel, SessionError, Stopped};
pub use store::SledStore;

use crate::{
    clock,
    net::commons::{Commons, CommonsConfig, CommonsError, CommonsEvent},
};
use home::Home;
use mailbox::{Mailbox, Policy, StoreError};

/// How long the first address to listen on may take.
const LISTEN_WITHIN: Duration = Duration::from_secs(5);
/// How long the store may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What a relay tells once it can be dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Its PeerId as text; the same at every start on one home.
    pub peer_id: String,
    /// Multiaddrs with `/p2p/…`, those of other machines' reach first.
    pub addresses: Vec<String>,
    /// Where metrics are served, if they are.
    pub metrics: Option<String>,
}

/// Why a relay did not start, or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// A limit cannot be followed.
    #[error(transparent)]
    Limits(#[from] LimitError),
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The mailbox's storage failed: nothing more was acknowledged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The network did not start.
    #[error(transparent)]
    Network(#[from] CommonsError),
    /// No address to listen on came up.
    #[error("no address to listen on came up")]
    NotListening,
    /// Metrics would be seen from elsewhere.
    #[error("metrics are served on loopback only")]
    MetricsNotLoopback,
    /// Metrics cannot be served.
    #[error("metrics cannot be served: {0}")]
    Metrics(#[source] io::Error),
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(#[source] io::Error),
    /// A part ended that should not.
    #[error("the network or the mailbox ended")]
    Ended,
}

/// Runs a relay until `shutdown` is ready. `ready` is called once, when it can be dialled.
///
/// # Errors
/// [`RelayError`].
pub async fn run(
    config: RelayConfig,
    ready: impl FnOnce(Ready),
    shutdown: impl Future<Output = ()>,
) -> Result<(), RelayError> {
    config.limits.check()?;
    let home = Home::open(&config.home)?;
    let identity = home.identity()?;
    let metrics = Metrics::default();
    let scrape = match config.metrics {
        Some(at) => Some(scrape::Scrape::bind(at).await?),
        None => None,
    };

    let (path, key, quotas) = (home.mailbox(), identity.relay_key(), config.limits.quotas());
    let opened = tokio::task::spawn_blocking(move || Mailbox::new(SledStore::open(&path)?, key, Policy::Open, quotas));
    let opened = opened.await.map_err(|_| RelayError::Ended)??;
    let (mailbox, mut stopped) =
        MailboxService::spawn(opened, clock::now, metrics.clone()).map_err(RelayError::Thread)?;
    let (commons, mut events) = Commons::spawn(CommonsConfig {
        identity: identity.clone(),
        listen: config.listen,
        mailbox,
        entry: Some(config.limits.entry(config.operator)),
        limits: config.limits.commons(),
        clock: clock::now,
        metrics: metrics.clone(),
    })?;
    if !config.peers.is_empty() {
        commons.bootstrap(config.peers)?;
    }

    let listening = timeout(LISTEN_WITHIN, first_addresses(&mut events)).await;
    let addresses = listening.ok().flatten().ok_or(RelayError::NotListening)?;
    let peer_id = identity.peer_id();
    let addresses = addresses.iter().map(|address| format!("{address}/p2p/{peer_id}")).collect();
    let served = scrape.as_ref().map(|scrape| scrape.address().to_string());
    ready(Ready { peer_id, addresses, metrics: served });
    tracing::info!("relay is up");

    let scraping = async {
        match scrape {
            Some(scrape) => scrape.serve(metrics.registry()).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        () = shutdown => Ok(()),
        () = heard(&mut events) => Err(RelayError::Ended),
        () = scraping => Err(RelayError::Ended),
        stop = &mut stopped => return Err(stop.map_or(RelayError::Ended, |stop| stop.err().map_or(RelayError::Ended, RelayError::Store))),
    };
    drop((commons, events));
    if let Ok(Ok(stop)) = timeout(CLOSE_WITHIN, stopped).await {
        stop?;
    }
    tracing::info!("relay has stopped");
    ended
}

/// The first addresses, once there are some.
async fn first_addresses(events: &mut mpsc::Receiver<CommonsEvent>) -> Option<Vec<String>> {
    loop {
        match events.recv().await? {
            CommonsEvent::Listening { addresses } if !addresses.is_empty() => return Some(addresses),
            CommonsEvent::PortTaken { port } => warn_of(port),
            _ => {}
        }
    }
}

/// Drains events until the commons ends.
async fn heard(events: &mut mpsc::Receiver<CommonsEvent>) {
    while let Some(event) = events.recv().await {
        if let CommonsEvent::PortTaken { port } = event {
            warn_of(port);
        }
    }
}

fn warn_of(port: u16) {
    tracing::warn!(port, "the port is taken: listening on a free one");
}

#[cfg(test)]
mod tests;
