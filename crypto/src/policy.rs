//! The policy log: who belongs to the group and by whose word. A CRDT of signed ops, kept apart from key agreement.
//!
//! ```text
//! SignedOp ──insert──▶ PolicyLog ──state_at(heads)──▶ PolicyState ──judge──▶ is this commit what the ops demand?
//! ```
//!
//! Everything is a pure function of the *set* of ops: order and repetition of arrival change nothing. Rights are
//! read where an op was written (the closure of its `prev`), conflicts are settled where it is read (the closure of
//! the heads asked about).
//!
//! | module | what it holds |
//! |---|---|
//! | [`log`] | the ops, their causes, those that still wait for a cause |
//! | [`author`] | writing ops; the keys of an invite |
//! | [`state`] | what a closure says: roster, settings, invites, revocations |
//! | [`judge`] | whether a commit does exactly what the log demands |

pub mod author;
mod ballot;
mod bits;
mod fold;
pub mod judge;
pub mod log;
mod person;
mod resolve;
mod rights;
pub mod state;

use std::sync::Arc;

use hearth_protocol::{
    cbor::DecodeError,
    id::{NodeId, PersonaId},
    op::Role,
};

pub use author::{At, InviteKeys, Seat, genesis};
pub use ballot::Ballot;
pub use log::{Inserted, PolicyLog};
pub use rights::{Refusal, Standing};
pub use state::{
    Invite, InviteStatus, Member, MotionStatus, PolicyState, Restart, Revocation, RevocationKind, Settings,
};

use crate::select::NodePolicy;

/// Ops that wait for a cause; the oldest gives way.
pub const PENDING_MAX: usize = 1_024;
/// Facilitators who commit first, by seniority.
pub const COMMITTERS_MAX: usize = 8;

/// Why an op is not part of the log. No variant carries ids or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// It does not decode, or breaks a limit.
    #[error("not an op: {0}")]
    Shape(#[from] DecodeError),
    /// The author's signature does not check.
    #[error("the op's signature does not check")]
    Signature,
    /// Another group's, or a second Genesis.
    #[error("the op belongs to another group")]
    OtherGroup,
    /// Its counter is not one more than the greatest of its causes.
    #[error("the op's counter does not follow from its causes")]
    Lamport,
    /// A Join that names no invite among its causes, a slot beyond its uses, or lacks the invite key's signature.
    #[error("the join does not fit its invite")]
    Join,
    /// Asked to write an op of which something that travels beside it is not here.
    #[error("what the op names is not here")]
    Attachment,
    /// Asked to write an op on causes that are not here.
    #[error("the op's causes are not known")]
    UnknownCause,
}

/// Who came first, as read at one node of the commit DAG. Smaller is more senior.
pub trait Seniority {
    /// Depth of the first node, among the ancestors of the node judged at, with a leaf of the persona; then that
    /// leaf's index. `None` comes last; ties go by id.
    fn of(&self, persona: &PersonaId) -> Option<(u64, u32)>;

    /// Everybody of whom [`Self::of`] knows something, those who left too, by PersonaId.
    fn all(&self) -> Vec<(PersonaId, (u64, u32))>;

    /// [R-17] Who decides about a Recover on `base`: those of that node, where it is the last one of class 0 at or above
    /// the node judged at, or was when a Recover on it was realised. `None`: nobody, so that a Recover on anything else
    /// has no effect.
    fn roll(&self, base: &NodeId) -> Option<Arc<NodePolicy>> {
        let _ = base;
        None
    }
}

/// Where no tree is known: everybody equal, ids decide.
impl Seniority for () {
    fn of(&self, _: &PersonaId) -> Option<(u64, u32)> {
        None
    }

    fn all(&self) -> Vec<(PersonaId, (u64, u32))> {
        Vec::new()
    }
}

impl Seniority for std::collections::BTreeMap<PersonaId, (u64, u32)> {
    fn of(&self, persona: &PersonaId) -> Option<(u64, u32)> {
        self.get(persona).copied()
    }

    fn all(&self) -> Vec<(PersonaId, (u64, u32))> {
        self.iter().map(|(persona, place)| (*persona, *place)).collect()
    }
}

/// A total order of personas by seniority: least is most senior.
pub type SeniorityKey = (bool, u64, u32, PersonaId);

/// The persona's place in the order.
#[must_use]
pub fn seniority_key(seniority: &dyn Seniority, persona: &PersonaId) -> SeniorityKey {
    let (depth, leaf) = seniority.of(persona).unwrap_or((u64::MAX, u32::MAX));
    (seniority.of(persona).is_none(), depth, leaf, *persona)
}

/// What several facilitators may have to say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Motion {
    /// Take the subject out. Reasons are not compared.
    Remove,
    /// Give the subject this role.
    SetRole(Role),
}

#[cfg(test)]
pub(crate) mod tests;
