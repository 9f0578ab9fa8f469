//! `hearth-node agent`: a member without a window, on standard input and output.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, NodeArgs, NodeSettings};
use crate::{agent::Session, builder};

/// Serves until the input ends or the process is asked to stop.
pub(super) fn run(args: &NodeArgs) -> Result<(), Failure> {
    let settings = NodeSettings::read(args)?;
    let config = builder::Config {
        home: settings.home,
        mode: settings.mode,
        listen: settings.listen,
        relays: settings.relays,
        vault: None,
    };
    let (app, events, running) =
        builder::spawn(&config, Arc::new(|| {})).map_err(|e| Failure::failed(e.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|_| Failure::failed("no runtime could be started"))?;
    runtime.block_on(async {
        let mut asked = signal(SignalKind::terminate()).map_err(|_| Failure::failed("signals cannot be heard"))?;
        let stop = async move {
            asked.recv().await;
        };
        let session = Session { app, events, input: tokio::io::stdin(), output: tokio::io::stdout() };
        session.run(stop, running.shutdown()).await;
        Ok(())
    })?;
    // A read of standard input cannot be taken back: the runtime must not wait for it.
    runtime.shutdown_background();
    Ok(())
}
