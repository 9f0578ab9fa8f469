//! The façade: everything the window and the agent can ask for and be told. Nothing here touches disk or network.

mod answer;
mod command;
mod error;
mod handle;
mod model;
mod notice;

pub use answer::*;
pub use command::*;
pub use error::*;
pub use handle::*;
pub use model::*;
pub use notice::*;

/// Names a command until its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// What comes back. A reply names its command; a notice tells what happened by itself.
#[derive(Clone, Debug)]
pub enum Event {
    /// The outcome of a command.
    Reply {
        /// Which.
        command: CommandId,
        /// What came of it.
        result: Result<Answer, Refusal>,
    },
    /// Something happened, durably.
    Notice(Notice),
    /// The receiver was too slow and some notices were dropped: ask again for what is shown.
    Resync,
}
