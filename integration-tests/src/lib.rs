//! The whole system under test: real `hearth-node` processes on loopback, driven the way any program drives them,
//! and beside them, in [`sim`], the engine alone under a simulated clock, network and disk.
//!
//! A [`Lab`] is a temporary directory with a home for every process. [`Member`] is an agent with a JSON-RPC client,
//! [`Relay`] a volunteer's relay. Every wait is for a reply, an event or a condition, has a limit, and fails with
//! what was waited for and the end of the process's log. Whatever a lab started ends with it.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use hearth_integration_tests::Lab;
//! let lab = Lab::new()?;
//! let relay = lab.relay("relay")?;
//! let mut ada = lab.member("ada", &[relay.address()])?;
//! let group = ada.found("Kitchen table", "Ada")?;
//! let link = ada.invite(&group)?;
//! # Ok(()) }
//! ```

mod bus;
mod client;
mod desktop;
mod lab;
mod member;
pub mod netns;
mod ports;
mod process;
mod relay;
pub mod scan;
mod screen;
pub mod sim;
pub mod tap;
mod window;

pub use client::{Client, Refused, Ticket};
pub use desktop::Desktop;
pub use lab::Lab;
pub use member::{Member, PASSPHRASE, Said};
pub use ports::listening;
pub use process::{binary, window_binary};
pub use relay::Relay;
pub use window::Window;

use std::{
    io::{self, Write as _},
    time::Duration,
};

/// How long anything may take that needs the network: long, because it is a limit and not a measurement.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// One line for the person who watches.
///
/// # Errors
/// When standard output is closed.
pub fn say(line: impl AsRef<str>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", line.as_ref())?;
    out.flush()
}
