//! The network: the only place that names libp2p.

mod actor;
mod address;
mod backoff;
pub mod commons;
pub mod dht;
mod dial;
mod entry;
pub mod framing;
mod gossip;
mod lane;
mod links;
pub mod mailbox_server;
mod outbox;
mod reach;
mod session;
mod tunnel;

pub use actor::{Full, Net, NetConfig, NetError, NetHandle};
pub use reach::Reach;

#[cfg(test)]
mod tests;
