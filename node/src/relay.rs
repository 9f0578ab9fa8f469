//! The volunteer's node: mailbox, DHT, limits and metrics. [`run`] is the whole of it.

pub mod mailbox;
mod metrics;
mod service;
mod store;

pub use mailbox::Party;
pub use metrics::Metrics;
pub use service::{Answers, Asker, Clock, MailboxService, MailboxSession, Parcel, SessionError, Stopped};
pub use store::SledStore;
