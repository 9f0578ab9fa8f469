//! Answers: one shape per command, serialised as the program interface's `result`.

use hearth_protocol::{
    id::{GroupId, MessageId, NodeId, OpId, PersonaId},
    time::Timestamp,
};
use serde::{Serialize, Serializer};

use super::{Join, Look, RoleName, Secret};

/// RFC 3339 in UTC, as every time of the program interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Utc(pub Timestamp);

impl std::fmt::Display for Utc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = i64::try_from(self.0.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX).fmt(f)
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.expose())
    }
}

/// How this member stands in a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupState {
    /// Knocked, not yet admitted.
    Waiting,
    /// A member.
    Joined,
    /// Not admitted.
    Declined,
    /// Left.
    Left,
    /// Removed.
    Removed,
}

/// Where a message truly is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// On this disk only.
    Queued,
    /// Relays have it, after fsync.
    Held,
    /// At least one other member has it.
    Reached,
}

/// A row of `group.list`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupRow {
    /// Group.
    pub group: GroupId,
    /// Name.
    pub name: String,
    /// Own role.
    pub role: RoleName,
    /// Messages since it was last seen here; never leaves this computer.
    pub unread: u64,
    /// Standing.
    pub state: GroupState,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MemberRow {
    /// Persona.
    pub persona: PersonaId,
    /// Name.
    pub name: String,
    /// Role.
    pub role: RoleName,
    /// Whether it is oneself.
    pub you: bool,
    /// Joined by an open link and not yet acknowledged by a facilitator or two members.
    pub unconfirmed: bool,
}

/// Settings of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyRow {
    /// How people come in.
    pub join: Join,
    /// History window for newcomers in days.
    pub history_days: u16,
    /// Slow mode in seconds, 0 is off.
    pub slow_mode_s: u32,
    /// Shield.
    pub shield: bool,
    /// Template, if one was chosen.
    pub template: Option<super::TemplateName>,
    /// MLS ciphersuite code point.
    pub suite: u16,
}

/// A relay as one group sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RelayRow {
    /// Address.
    pub address: String,
    /// `ok`, `unreachable` or `full`.
    pub state: RelayState,
    /// Blobs of this group that it acknowledged in this run.
    pub held: u64,
    /// Whether it is dialled straight: it sees this computer's address beside what is asked of it.
    pub sees_address: bool,
}

/// Whether a relay can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RelayState {
    /// Connected.
    Ok,
    /// Not connected now.
    Unreachable,
    /// It refuses new blobs.
    Full,
}

/// A message as `message.list` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MessageRow {
    /// Message.
    pub message: MessageId,
    /// Author.
    pub persona: PersonaId,
    /// The author's name.
    pub name: String,
    /// Markdown; empty when retracted.
    pub text: String,
    /// Topic, hex.
    pub topic: Option<String>,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// The author's content note.
    pub content_note: Option<String>,
    /// When it was written, to the minute.
    pub sent_at: Utc,
    /// Whether the text was changed.
    pub edited: bool,
    /// Whether it was taken back.
    pub retracted: bool,
    /// Who reacted how.
    pub reactions: Reactions,
    /// Where it is; for others' messages always `reached`.
    pub delivery: Delivery,
}

/// Somebody who waits to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KnockRow {
    /// Persona.
    pub persona: PersonaId,
    /// The name it would have.
    pub name: String,
    /// What it says of itself.
    pub introduction: String,
    /// When it was heard here.
    pub at: Utc,
}

/// Who reacted how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Reactions {
    /// "With you".
    pub with_you: Vec<PersonaId>,
    /// "Me too".
    pub me_too: Vec<PersonaId>,
    /// "Thank you".
    pub thank_you: Vec<PersonaId>,
}

/// What a command gives back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "each variant and field is documented in the program interface it mirrors")]
pub enum Answer {
    Status {
        locked: bool,
        exists: bool,
        mode: &'static str,
        version: &'static str,
        groups: usize,
        peers: usize,
        relays: Vec<RelayRow>,
        store_bytes: u64,
    },
    GroupCreated {
        group: GroupId,
        persona: PersonaId,
    },
    Groups {
        groups: Vec<GroupRow>,
    },
    Group {
        group: GroupId,
        name: String,
        charter: String,
        epoch: u64,
        node: NodeId,
        members: Vec<MemberRow>,
        policy: PolicyRow,
        relays: Vec<RelayRow>,
        state: GroupState,
    },
    Invite {
        invite: OpId,
        link: Secret,
        held: bool,
    },
    Inspected {
        group_name: String,
        charter: String,
        join: Join,
        history_days: u16,
        expires_at: Utc,
        /// `None` behind a link that admits by hand: who stands outside does not learn it.
        members_hint: Option<usize>,
    },
    Knocks {
        knocks: Vec<KnockRow>,
    },
    Joined {
        group: GroupId,
        state: GroupState,
        persona: PersonaId,
    },
    Motion {
        state: MotionState,
        signatures: usize,
        needed: usize,
    },
    Message {
        message: MessageId,
    },
    Messages {
        messages: Vec<MessageRow>,
    },
    MessageStatus {
        state: Delivery,
        relays: usize,
        members_reached: usize,
        members_total: usize,
    },
    Relays {
        relays: Vec<RelayRow>,
    },
    Tip {
        node: NodeId,
        epoch: u64,
        authenticator_hash: String,
        members_hash: String,
        policy_heads: Vec<OpId>,
    },
    Draft {
        text: Secret,
    },
    /// `null` where nothing was chosen yet.
    Settings {
        look: Option<Look>,
        zoom_percent: Option<u16>,
        still: Option<bool>,
    },
    /// `{}`. Last, because serde tries untagged variants in order only when reading, which this type never does.
    Done {},
}

/// Whether a decision that needs several facilitators is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MotionState {
    /// In force.
    Done,
    /// Waits for further signatures.
    Pending,
}
