//! `hearth-node relay`: a volunteer's node.

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, RelayArgs, RelaySettings, say};
use crate::relay::{self, Ready, RelayConfig};

/// Serves until the process is asked to stop.
pub(super) fn run(args: &RelayArgs) -> Result<(), Failure> {
    let settings = RelaySettings::read(args)?;
    if args.print_identity {
        let identity = relay::peer_id(&settings.home).map_err(|e| Failure::failed(e.to_string()))?;
        return say(&identity);
    }
    if args.check_config {
        return say("the settings are good");
    }
    let config = RelayConfig {
        home: settings.home,
        listen: settings.listen,
        peers: settings.peers,
        operator: settings.operator,
        metrics: Some(settings.metrics),
        limits: settings.limits,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|_| Failure::failed("no runtime could be started"))?;
    runtime.block_on(async {
        let unheard = |_| Failure::failed("signals cannot be heard");
        let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
        let asked = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        relay::run(config, announce, asked).await.map_err(|e| Failure::failed(e.to_string()))
    })
}

/// The one line on standard output. Without a reader the relay serves all the same.
fn announce(ready: Ready) {
    let line = serde_json::json!({
        "event": "ready",
        "peer_id": ready.peer_id,
        "addresses": ready.addresses,
        "metrics": ready.metrics,
    });
    let _nobody_reads = say(&line.to_string());
}
