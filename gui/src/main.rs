//! The desktop app: starts a node in a home directory and opens the window onto it.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use anyhow::{Context, anyhow, bail};
use clap::{Parser, ValueEnum};
use eframe::egui;
use hearth::{Options, Window};
use hearth_node::{
    app::Wake,
    builder::{self, Config},
    cli::tor_port,
};

/// How the node reaches others.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Members and relays can see this computer's network address.
    Direct,
    /// Relays only, each through another: members cannot see this computer's network address.
    Relayed,
    /// Relays only, through a running Tor: nobody can see this computer's network address.
    Tor,
}

/// Hearth: a quiet place for people who lean on each other.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Where everything lies, sealed.
    #[arg(long, env = "HEARTH_HOME", value_name = "DIR")]
    home: Option<PathBuf>,
    /// How to reach others.
    #[arg(long, env = "HEARTH_MODE", value_enum, default_value = "direct")]
    mode: Mode,
    /// The SOCKS port of a running Tor on this computer, for mode tor; 127.0.0.1:9050 unless given.
    #[arg(long, env = "HEARTH_TOR_SOCKS", value_name = "ADDR:PORT")]
    tor_socks: Option<String>,
    /// Where to listen; may be given more than once.
    #[arg(long, env = "HEARTH_LISTEN", value_delimiter = ',', value_name = "MULTIADDR")]
    listen: Vec<String>,
    /// A relay of the groups made here; may be given up to three times.
    #[arg(long, env = "HEARTH_RELAY", value_delimiter = ',', value_name = "MULTIADDR")]
    relay: Vec<String>,
}

const USAGE: u8 = 2;

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // A log that cannot be written is lost, and that is all: saying so on the same full disk would panic.
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    logs.log_internal_errors(false).init();
    let mode = match args.mode {
        Mode::Direct => builder::Mode::Direct,
        Mode::Relayed => builder::Mode::Relayed,
        Mode::Tor => match tor_port(args.tor_socks.as_deref()) {
            Ok(socks) => builder::Mode::Tor(socks),
            Err(wrong) => {
                complain(&wrong);
                return USAGE.into();
            }
        },
    };
    match run(args, mode) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("{error:#}"));
            std::process::ExitCode::FAILURE
        }
    }
}

fn complain(words: &str) {
    use std::io::Write;
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "hearth: {words}");
}

fn run(args: Args, mode: builder::Mode) -> anyhow::Result<()> {
    if !has_display() {
        bail!("there is no display to open a window on. `make demo` shows Hearth without one");
    }
    let home = args.home.or_else(default_home).context("no home directory is known: give one with --home")?;
    let config = Config { home, mode, listen: args.listen, relays: args.relay, vault: None };
    // The node wakes the window by its context, which exists only once the window does.
    let shared: Arc<OnceLock<egui::Context>> = Arc::default();
    let waker = Arc::clone(&shared);
    let wake: Wake = Arc::new(move || {
        if let Some(ctx) = waker.get() {
            ctx.request_repaint();
        }
    });
    let (app, events, running) = builder::spawn(&config, wake)?;
    let viewport = egui::ViewportBuilder::default()
        .with_title("Hearth")
        .with_app_id("hearth")
        .with_inner_size([1_180.0, 780.0])
        .with_min_inner_size([420.0, 480.0])
        .with_icon(egui::IconData::default());
    let native = eframe::NativeOptions { viewport, persist_window: false, ..eframe::NativeOptions::default() };
    let opened = eframe::run_native(
        "hearth",
        native,
        Box::new(move |cc| {
            // Set once: the window is made once.
            let _ = shared.set(cc.egui_ctx.clone());
            let options =
                Options { now: Box::new(jiff::Timestamp::now), zone: jiff::tz::TimeZone::system(), still: false };
            Ok(Box::new(Window::new(&cc.egui_ctx, app, events, options)))
        }),
    );
    futures::executor::block_on(running.shutdown());
    opened.map_err(|e| anyhow!("the window could not be opened: {e}. `make demo` shows Hearth without one"))
}

/// Whether a window can be opened at all.
fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    !cfg!(target_os = "linux") || set("DISPLAY") || set("WAYLAND_DISPLAY")
}

fn default_home() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let data = of("XDG_DATA_HOME").or_else(|| Some(of("HOME")?.join(".local").join("share")))?;
    Some(data.join("hearth"))
}
