//! PURE: the group state machine. No clock, socket, disk or async: `handle(input, now)` returns [`Effects`].
//!
//! # Contract
//! The shell takes the effects of one call in this order: **persist** all writes in one transaction and make
//! them durable, then **send**, then **emit**. If persisting fails, nothing of that call is sent or emitted, the
//! engine is dropped, and a new one is restored from disk. It calls `handle` with [`Input::Tick`] no later than
//! `wake_at`; ticking earlier or more often changes nothing.

pub mod lane;

use hearth_protocol::time::Timestamp;

use crate::{
    app::{Command, CommandId, Event},
    store::Write,
};
use lane::{LaneCommand, LaneEvent};

/// What goes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// A command of the user; `vault.*` never reaches the engine, which exists only while the vault is open.
    Command {
        /// Its name.
        id: CommandId,
        /// What is asked.
        command: Command,
    },
    /// Something from the network.
    Lane(LaneEvent),
    /// Time passed.
    Tick,
}

/// What comes out: see the contract above.
#[derive(Debug, Default)]
pub struct Effects {
    /// One transaction; empty when nothing changed.
    pub persist: Vec<Write>,
    /// Then these, in order.
    pub send: Vec<LaneCommand>,
    /// Then these, in order.
    pub emit: Vec<Event>,
    /// When to tick at the latest.
    pub wake_at: Option<Timestamp>,
}

/// What an engine is told once.
#[derive(Clone, Debug, Default)]
pub struct EngineConfig {
    /// Relays of groups created here, at most three.
    pub relays: Vec<String>,
}
