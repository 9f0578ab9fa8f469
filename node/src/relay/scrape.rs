//! Metrics over HTTP, for a collector on the same machine.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::registry::Registry;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{RelayError, metrics::text};

const FORMAT: HeaderValue = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
/// Connections at once; more wait.
const CONNECTIONS: usize = 16;
const HEADER_WITHIN: Duration = Duration::from_secs(5);
const SERVED_WITHIN: Duration = Duration::from_secs(60);

/// A bound listener.
pub(super) struct Scrape {
    listener: TcpListener,
    address: SocketAddr,
}

impl Scrape {
    /// Binds a loopback address; on a free port, with a warning, where the asked one is taken.
    pub(super) async fn bind(at: SocketAddr) -> Result<Self, RelayError> {
        if !at.ip().is_loopback() {
            return Err(RelayError::MetricsNotLoopback);
        }
        let bound = match TcpListener::bind(at).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(port = at.port(), "the metrics port is taken: using a free one");
                TcpListener::bind((at.ip(), 0)).await
            }
            bound => bound,
        };
        let listener = bound.map_err(RelayError::Metrics)?;
        let address = listener.local_addr().map_err(RelayError::Metrics)?;
        Ok(Self { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves for ever.
    pub(super) async fn serve(self, registry: Registry) {
        let registry = Arc::new(registry);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let registry = registry.clone();
                    tasks.spawn(async move {
                        one(stream, &registry).await;
                        drop(place);
                    });
                }
                // Out of file descriptors, most likely: others must end first.
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

async fn one(stream: TcpStream, registry: &Registry) {
    let service =
        service_fn(|request: Request<Incoming>| async move { Ok::<_, Infallible>(answer(&request, registry)) });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // How a collector ends its connection is its own affair.
    let _ = timeout(SERVED_WITHIN, served).await;
}

fn answer(request: &Request<Incoming>, registry: &Registry) -> Response<String> {
    let status = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => StatusCode::OK,
        (_, "/metrics") => StatusCode::METHOD_NOT_ALLOWED,
        _ => StatusCode::NOT_FOUND,
    };
    let body = if status == StatusCode::OK { text(registry) } else { String::new() };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, FORMAT);
    response
}
