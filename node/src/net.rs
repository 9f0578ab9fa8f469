//! The network: the only place that names libp2p.

mod actor;
mod address;
mod backoff;
pub mod commons;
pub mod dht;
mod entry;
pub mod framing;
mod gossip;
mod lane;
mod links;
pub mod mailbox_server;
mod outbox;
mod session;

pub use actor::{Full, Net, NetConfig, NetError, NetHandle};

#[cfg(test)]
mod tests;
