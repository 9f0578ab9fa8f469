//! Refusals: typed, in a sentence that says what to do, without ids or text of people.

use serde::Serialize;

/// What kind of refusal: the `data.kind` of the program interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The vault is locked.
    Locked,
    /// Wrong passphrase.
    BadPassphrase,
    /// No such thing.
    NotFound,
    /// The role does not allow it.
    NotPermitted,
    /// The input makes no sense.
    Invalid,
    /// Too late.
    Expired,
    /// Every use is taken.
    Exhausted,
    /// It exists already, or something else is in the way.
    Conflict,
    /// Over a limit.
    TooLarge,
    /// Nobody can be reached.
    Offline,
    /// The disk refused or is damaged.
    Storage,
    /// This persona is no longer in the group.
    Removed,
}

impl Kind {
    /// The word of the program interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Locked => "locked",
            Self::BadPassphrase => "bad_passphrase",
            Self::NotFound => "not_found",
            Self::NotPermitted => "not_permitted",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::Exhausted => "exhausted",
            Self::Conflict => "conflict",
            Self::TooLarge => "too_large",
            Self::Offline => "offline",
            Self::Storage => "storage",
            Self::Removed => "removed",
        }
    }
}

/// A refusal: nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind.
    pub kind: Kind,
    /// One sentence: what is wrong, and what to do.
    pub message: &'static str,
}

impl Refusal {
    /// A refusal of this kind.
    #[must_use]
    pub const fn new(kind: Kind, message: &'static str) -> Self {
        Self { kind, message }
    }
}
