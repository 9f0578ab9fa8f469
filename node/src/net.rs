//! The network: the only place that names libp2p.

pub mod commons;
pub mod dht;
pub mod framing;
pub mod mailbox_server;
mod actor;
mod address;
mod backoff;
pub mod framing;
mod gossip;
mod lane;
mod links;
mod outbox;
mod session;

pub use actor::{Full, Net, NetConfig, NetError, NetHandle};
