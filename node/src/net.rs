//! The network: the only place that names libp2p.

pub mod commons;
pub mod dht;
pub mod framing;
pub mod mailbox_server;
