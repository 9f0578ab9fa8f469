//! The command line of `hearth-node`: settings, exit codes, and one function per verb.
//!
//! A setting is taken from its flag, else from its `HEARTH_*` variable, else from the TOML file, else from its
//! default. Exit codes: 0 ok, 1 failure, 2 usage, a wrong setting or a mode that does not exist yet.

mod agent;
mod failure;
mod relay;
mod settings;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};

pub use failure::Failure;
pub use settings::{NodeFile, NodeSettings, RelayFile, RelaySettings, tcp_target, tor_port};

/// Logs by default: our own remarks, and of libraries only what is broken. No address, id or key is among them.
const LOGS: &str = "error,hearth_node=info";

/// Hearth without a window.
#[derive(Debug, Parser)]
#[command(name = "hearth-node", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A full member without a window: JSON-RPC on standard input and output
    Agent(NodeArgs),
    /// A volunteer's node: mailbox and DHT
    Relay(RelayArgs),
    /// Checks settings, store and reachability; prints what is wrong and what to do
    Doctor(NodeArgs),
    /// Prints the version
    Version,
}

/// Settings of a member's node.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// Where everything lies; made if absent
    #[arg(long, env = "HEARTH_HOME", value_name = "DIR")]
    pub home: PathBuf,
    /// A TOML file [default: hearth.toml in the home, if it is there]
    #[arg(long, env = "HEARTH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// How others are reached: direct; relayed, which hides the address from members; tor, which hides it from everybody
    /// [default: direct]
    #[arg(long, env = "HEARTH_MODE")]
    pub mode: Option<String>,
    /// The SOCKS port of a running Tor on this computer, for mode tor [default: 127.0.0.1:9050]
    #[arg(long, env = "HEARTH_TOR_SOCKS", value_name = "ADDR:PORT")]
    pub tor_socks: Option<String>,
    /// Where to listen [default: every interface, a free port]
    #[arg(long, env = "HEARTH_LISTEN", value_name = "MULTIADDR", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Relays of groups created here: the first three
    #[arg(long, env = "HEARTH_RELAY", value_name = "MULTIADDR", value_delimiter = ',')]
    pub relay: Vec<String>,
}

/// Settings of a relay.
#[derive(Clone, Debug, Args)]
pub struct RelayArgs {
    /// Where identity and sealed messages lie; made if absent
    #[arg(long, env = "HEARTH_HOME", value_name = "DIR")]
    pub home: PathBuf,
    /// A TOML file
    #[arg(long, env = "HEARTH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen [default: every interface, port 4101]
    #[arg(long, env = "HEARTH_LISTEN", value_name = "MULTIADDR", value_delimiter = ',')]
    pub listen: Vec<String>,
    /// Where metrics are served, on loopback only [default: 127.0.0.1:9464]
    #[arg(long, env = "HEARTH_METRICS", value_name = "ADDR:PORT")]
    pub metrics: Option<String>,
    /// Another relay; each enters the other's table
    #[arg(long, env = "HEARTH_PEER", value_name = "MULTIADDR", value_delimiter = ',')]
    pub peer: Vec<String>,
    /// Check the settings and end
    #[arg(long)]
    pub check_config: bool,
    /// Print the relay's identity and end
    #[arg(long)]
    pub print_identity: bool,
}

/// The whole program.
#[must_use]
pub fn main() -> ExitCode {
    let verb = Cli::parse().verb;
    start_logs();
    let done = match verb {
        Verb::Agent(args) => agent::run(&args),
        Verb::Relay(args) => relay::run(&args),
        Verb::Doctor(args) => crate::doctor::run(&args),
        Verb::Version => say(&format!("hearth-node {}", env!("CARGO_PKG_VERSION"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _nowhere_to_say_it = writeln!(io::stderr(), "hearth-node: {failure}");
            failure.exit_code()
        }
    }
}

/// One line on standard output.
pub(crate) fn say(line: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|_| Failure::failed("standard output is closed"))
}

/// Logs go to standard error and nowhere else; `HEARTH_LOG` takes the filter's syntax.
fn start_logs() {
    let filter = std::env::var("HEARTH_LOG").ok().and_then(|text| text.parse().ok());
    let filter = filter.unwrap_or_else(|| tracing_subscriber::EnvFilter::new(LOGS));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    // A log that cannot be written is lost, and that is all: saying so on the same full disk would panic.
    let logs = logs.log_internal_errors(false);
    // Fails only when logs are already on.
    let _already = logs.try_init();
}
