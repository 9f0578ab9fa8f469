//! Starting a node: home directory, mode, addresses → a running engine behind an [`App`] handle.

use std::path::PathBuf;

/// How the node reaches others. Only `Direct` exists; other modes refuse to start, never fall back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// TCP to members and relays: nothing about addresses is hidden.
    Direct,
}

/// What a node needs to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything lies; made if absent.
    pub home: PathBuf,
    /// Mode.
    pub mode: Mode,
    /// Where the commons listens: multiaddrs; lanes use the same interfaces on free ports.
    /// Empty: every interface, a free port.
    pub listen: Vec<String>,
    /// Relays of groups created here: the first three.
    pub relays: Vec<String>,
}
