//! The volunteer's node: mailbox, DHT, limits and metrics. [`run`] is the whole of it.

pub mod mailbox;
mod store;

pub use store::SledStore;
