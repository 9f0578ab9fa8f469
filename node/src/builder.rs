//! Starting a node: home directory, mode, addresses → a running engine behind an [`App`] handle.

use std::{fs::TryLockError, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hearth_crypto::{mls::Mls, openmls_port::OpenMls};
use hearth_protocol::time::Timestamp;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::{
    app::{self, App, Events, Wake},
    clock,
    driver::{Core, Driver, Factory, Lines, RestoreError, Setup},
    engine::{Effects, Engine, EngineConfig, Input},
    net::{Net, NetConfig, Reach},
    store::{self, Row, VaultError, VaultParams},
};

/// How many relays a group created here gets.
const RELAYS: usize = 3;
/// How long a key derivation under way at the end may go on.
const LAST_JOB: Duration = Duration::from_secs(1);
/// How long the network may take to close its connections.
const NET_END: Duration = Duration::from_millis(500);
/// How long a relay may take for an answer through Tor.
const TOR_ANSWER: Duration = Duration::from_secs(30);
/// Threads of the network.
const NET_THREADS: usize = 2;

/// How the node reaches others. A mode that cannot be kept leaves the node offline; none falls back to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// TCP to members and relays: nothing about addresses is hidden.
    Direct,
    /// Relays only, each through another of another operator: the address is hidden from members, and from each relay that
    /// is asked for anything. With one relay only, that relay sees it.
    Relayed,
    /// Relays only, through the Tor at this SOCKS port: the address is hidden from everybody.
    Tor(SocketAddr),
}

impl Mode {
    /// The word of the program interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Relayed => "relayed",
            Self::Tor(_) => "tor",
        }
    }
}

/// What a node needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lies; made if absent.
    pub home: PathBuf,
    /// Mode.
    pub mode: Mode,
    /// Where the commons listens, in direct mode: multiaddrs; lanes use the same interfaces on free ports.
    /// Empty: every interface, a free port.
    pub listen: Vec<String>,
    /// Relays of groups created here: the first three.
    pub relays: Vec<String>,
    /// Cost of new vaults; `None` is what [`VaultParams::from_env`] says.
    pub vault: Option<VaultParams>,
}

/// Why a node did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Another process uses this home.
    #[error("another process uses this folder: stop it first")]
    InUse,
    /// The home cannot be made or locked.
    #[error("the folder cannot be used: {0}")]
    Home(io::ErrorKind),
    /// A setting in the environment is wrong.
    #[error("{} must be a number of MiB from 64 to 1024", VaultParams::ENV)]
    Params,
    /// An address to listen on is not one.
    #[error("an address to listen on is wrong: use the form /ip4/127.0.0.1/tcp/0")]
    Listen,
    /// The system gives no thread.
    #[error("no thread could be started: {0}")]
    Thread(io::ErrorKind),
}

impl From<VaultError> for StartError {
    fn from(_: VaultError) -> Self {
        Self::Params
    }
}

/// A running node. Dropping it does not stop the node; dropping every [`App`] does.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    done: oneshot::Receiver<()>,
}

impl Running {
    /// Offers the outbox for at most three seconds, then locks and stops. Returns when the home is free again.
    pub async fn shutdown(self) {
        // Either end may be gone already: then it has stopped.
        let _ = self.stop.send(());
        let _ = self.done.await;
    }
}

/// Starts a node: OpenMLS, libp2p, sled, and the engine between them.
///
/// # Errors
/// As [`StartError`]; nothing runs then.
pub fn spawn(config: &Config, wake: Wake) -> Result<(App, Events, Running), StartError> {
    let thread = |e: io::Error| StartError::Thread(e.kind());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(NET_THREADS).enable_all().build();
    let runtime = runtime.map_err(thread)?;
    let mut net = NetConfig::new(config.listen.clone(), clock::now);
    net.reach = match config.mode {
        Mode::Direct => Reach::Direct,
        Mode::Relayed => Reach::Relayed { relays: config.relays.clone() },
        Mode::Tor(socks) => {
            // A request and its answer may wait for a circuit each.
            net.answer_within = TOR_ANSWER;
            Reach::Tor { socks }
        }
    };
    if config.mode != Mode::Direct && !config.listen.is_empty() {
        tracing::warn!("a private mode listens nowhere: the addresses to listen on are not used");
    }
    let (net, events) = runtime.block_on(async { Net::spawn(net) }).map_err(|_| StartError::Listen)?;
    let lines = Lines { commands: net.commands(), events };
    drop(net);
    prepare(config, wake, Box::new(make_engine), lines, Some(runtime))
}

impl<M: Mls + Send> Core for Engine<M>
where
    M::Node: Send,
{
    fn handle(&mut self, input: Input, now: Timestamp) -> Effects {
        Self::handle(self, input, now)
    }

    fn settled(&self) -> bool {
        self.is_settled()
    }
}

/// An engine with entropy of the operating system, and what it persisted before.
fn make_engine(config: EngineConfig, rows: Vec<Row>, now: Timestamp) -> Result<(Box<dyn Core>, Effects), RestoreError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(|_| RestoreError)?;
    let mut engine = Engine::new(OpenMls::default(), config, *seed);
    let effects = engine.restore(rows, now);
    Ok((Box::new(engine), effects))
}

/// Starts the driver with this engine and this network.
///
/// # Errors
/// As [`StartError`]; nothing runs then.
pub fn spawn_with(
    config: &Config,
    wake: Wake,
    factory: Factory,
    lines: Lines,
) -> Result<(App, Events, Running), StartError> {
    prepare(config, wake, factory, lines, None)
}

fn prepare(
    config: &Config,
    wake: Wake,
    factory: Factory,
    lines: Lines,
    net: Option<tokio::runtime::Runtime>,
) -> Result<(App, Events, Running), StartError> {
    let vault = config.vault.map_or_else(VaultParams::from_env, Ok)?;
    let lock = lock_home(config)?;
    let (app, events, backend) = app::channel(wake);
    let setup = Setup {
        home: config.home.clone(),
        lock,
        engine: EngineConfig {
            relays: config.relays.iter().take(RELAYS).cloned().collect(),
            covered: config.mode != Mode::Direct,
            ..EngineConfig::default()
        },
        vault,
        mode: config.mode.as_str(),
        clock: Arc::new(clock::now),
    };
    let running = start(Driver::new(setup, backend, factory, lines), net)?;
    Ok((app, events, running))
}

/// Runs a driver on a thread of its own; the network's runtime ends after it.
pub(crate) fn start(driver: Driver, net: Option<tokio::runtime::Runtime>) -> Result<Running, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| StartError::Thread(e.kind()))?;
    let (stop, stopped) = oneshot::channel();
    let (finished, done) = oneshot::channel();
    let work = move || {
        runtime.block_on(driver.run(stopped));
        runtime.shutdown_timeout(LAST_JOB);
        if let Some(net) = net {
            net.shutdown_timeout(NET_END);
        }
        let _ = finished.send(());
    };
    let thread = std::thread::Builder::new().name("hearth-driver".to_owned());
    thread.spawn(work).map_err(|e| StartError::Thread(e.kind()))?;
    Ok(Running { stop, done })
}

/// One process per home: the lock is advisory, held while the file is open, and gone with the process.
fn lock_home(config: &Config) -> Result<std::fs::File, StartError> {
    let home = |e: io::Error| StartError::Home(e.kind());
    store::private_dir(&config.home).map_err(home)?;
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(config.home.join("lock"))
        .map_err(home)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse),
        Err(TryLockError::Error(e)) => Err(home(e)),
    }
}
