//! Commands: what a user can ask. Their serde form is `{"method": …, "params": …}`, the program interface's own.

use hearth_protocol::{
    id::{GroupId, MessageId, OpId, PersonaId},
    op::Role,
};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text. Wiped when dropped; never shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self::new)
    }
}

/// How people come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// By link alone.
    Open,
    /// A facilitator admits.
    Knock,
}

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateName {
    /// Recovery.
    Recovery,
    /// Chronic or rare illness.
    Illness,
    /// Caregivers.
    Caregivers,
    /// Grief.
    Grief,
    /// Open circle.
    Open,
}

/// A role by its word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleName {
    /// Facilitator.
    Facilitator,
    /// Cofacilitator.
    Cofacilitator,
    /// Member.
    Member,
    /// Newcomer.
    Newcomer,
    /// Reader.
    Reader,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Facilitator => Self::Facilitator,
            RoleName::Cofacilitator => Self::Cofacilitator,
            RoleName::Member => Self::Member,
            RoleName::Newcomer => Self::Newcomer,
            RoleName::Reader => Self::Reader,
        }
    }
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Facilitator => Self::Facilitator,
            Role::Cofacilitator => Self::Cofacilitator,
            Role::Member => Self::Member,
            Role::Newcomer => Self::Newcomer,
            Role::Reader => Self::Reader,
        }
    }
}

/// One of the three reactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reaction {
    /// "With you".
    WithYou,
    /// "Me too".
    MeToo,
    /// "Thank you".
    ThankYou,
}

/// Which of the two palettes a window wears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Look {
    /// As the system.
    System,
    /// By day.
    Light,
    /// By night.
    Dark,
}

/// How a new persona is called; without a name one is generated.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct PersonaChoice {
    /// The name.
    #[serde(default)]
    pub name: Option<String>,
}

/// Everything that can be asked. Fields are those of the program interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "method", content = "params")]
#[allow(missing_docs, reason = "each variant and field is documented in the program interface it mirrors")]
pub enum Command {
    #[serde(rename = "vault.create")]
    VaultCreate { passphrase: Secret },
    #[serde(rename = "vault.unlock")]
    VaultUnlock { passphrase: Secret },
    #[serde(rename = "vault.lock")]
    VaultLock {},
    #[serde(rename = "vault.change_passphrase")]
    VaultChangePassphrase { old: Secret, new: Secret },
    #[serde(rename = "status")]
    Status {},
    #[serde(rename = "group.create")]
    GroupCreate {
        name: String,
        #[serde(default)]
        template: Option<TemplateName>,
        join: Join,
        #[serde(default)]
        history_days: Option<u16>,
        #[serde(default)]
        persona: Option<PersonaChoice>,
    },
    #[serde(rename = "group.list")]
    GroupPage {
        #[serde(default)]
        limit: Option<u32>,
        #[serde(default)]
        before: Option<GroupId>,
        #[serde(default)]
        after: Option<GroupId>,
    },
    /// Every group at once: the window's read model. Programs page.
    #[serde(skip)]
    GroupList {},
    #[serde(rename = "group.show")]
    GroupShow { group: GroupId },
    #[serde(rename = "group.set")]
    GroupSet {
        group: GroupId,
        #[serde(default)]
        charter: Option<String>,
        #[serde(default)]
        history_days: Option<u16>,
        #[serde(default)]
        slow_mode_s: Option<u32>,
        #[serde(default)]
        shield: Option<bool>,
        #[serde(default)]
        relays: Option<Vec<String>>,
    },
    /// Signs that the group begins a fresh MLS group, of the same people and with all that was said.
    #[serde(rename = "group.restart")]
    GroupRestart {
        group: GroupId,
        #[serde(default)]
        suite: Option<u16>,
    },
    /// Signs that these are the facilitators from now on, where there has been none for a season.
    #[serde(rename = "group.recover")]
    GroupRecover { group: GroupId, facilitators: Vec<PersonaId> },
    #[serde(rename = "group.leave")]
    GroupLeave { group: GroupId },
    #[serde(rename = "invite.create")]
    InviteCreate {
        group: GroupId,
        #[serde(default)]
        uses: Option<u32>,
        #[serde(default)]
        expires_in_s: Option<u64>,
        #[serde(default)]
        role: Option<RoleName>,
    },
    #[serde(rename = "invite.inspect")]
    InviteInspect { link: Secret },
    #[serde(rename = "invite.revoke")]
    InviteRevoke { group: GroupId, invite: OpId },
    #[serde(rename = "group.join")]
    GroupJoin {
        link: Secret,
        #[serde(default)]
        persona: Option<PersonaChoice>,
        #[serde(default)]
        introduction: Option<String>,
        accept_charter: bool,
    },
    #[serde(rename = "knock.list")]
    KnockList { group: GroupId },
    #[serde(rename = "knock.admit")]
    KnockAdmit { group: GroupId, persona: PersonaId },
    #[serde(rename = "knock.decline")]
    KnockDecline { group: GroupId, persona: PersonaId },
    #[serde(rename = "member.set_role")]
    MemberSetRole { group: GroupId, persona: PersonaId, role: RoleName },
    #[serde(rename = "member.remove")]
    MemberRemove {
        group: GroupId,
        persona: PersonaId,
        #[serde(default)]
        reason: Option<String>,
    },
    #[serde(rename = "message.send")]
    MessageSend {
        group: GroupId,
        text: String,
        #[serde(default)]
        topic: Option<String>,
        #[serde(default)]
        reply_to: Option<MessageId>,
        #[serde(default)]
        content_note: Option<String>,
        #[serde(default)]
        expires_in_s: Option<u32>,
        #[serde(default)]
        library_consent: Option<bool>,
    },
    #[serde(rename = "message.edit")]
    MessageEdit { group: GroupId, message: MessageId, text: String },
    #[serde(rename = "message.retract")]
    MessageRetract { group: GroupId, message: MessageId },
    #[serde(rename = "message.react")]
    MessageReact { group: GroupId, message: MessageId, reaction: Reaction, on: bool },
    #[serde(rename = "message.list")]
    MessageList {
        group: GroupId,
        #[serde(default)]
        topic: Option<String>,
        #[serde(default)]
        before: Option<MessageId>,
        #[serde(default)]
        after: Option<MessageId>,
        #[serde(default)]
        limit: Option<u32>,
        #[serde(default)]
        newest: Option<bool>,
    },
    #[serde(rename = "message.status")]
    MessageStatus { group: GroupId, message: MessageId },
    #[serde(rename = "relay.add")]
    RelayAdd { group: GroupId, address: String },
    #[serde(rename = "relay.remove")]
    RelayRemove { group: GroupId, address: String },
    #[serde(rename = "relay.list")]
    RelayList { group: GroupId },
    #[serde(rename = "network.sync")]
    NetworkSync {
        #[serde(default)]
        group: Option<GroupId>,
    },
    #[serde(rename = "debug.tip")]
    DebugTip { group: GroupId },
    /// The window has shown the group's newest message: nothing leaves this computer because of it.
    #[serde(rename = "group.seen")]
    GroupSeen { group: GroupId },
    /// Keeps an unfinished text, sealed; an empty one deletes it.
    #[serde(rename = "draft.set")]
    DraftSet { group: GroupId, text: Secret },
    /// The unfinished text of a group.
    #[serde(rename = "draft.get")]
    DraftGet { group: GroupId },
    /// Keeps how a window looks, sealed; what is left out stays as it is.
    #[serde(rename = "settings.set")]
    SettingsSet {
        #[serde(default)]
        look: Option<Look>,
        #[serde(default)]
        zoom_percent: Option<u16>,
        #[serde(default)]
        still: Option<bool>,
    },
    /// How a window looks.
    #[serde(rename = "settings.get")]
    SettingsGet {},
}

impl Command {
    /// Every method name, so that an unknown method and wrong params can be told apart.
    pub const METHODS: &[&str] = &[
        "vault.create",
        "vault.unlock",
        "vault.lock",
        "vault.change_passphrase",
        "status",
        "group.create",
        "group.list",
        "group.show",
        "group.set",
        "group.restart",
        "group.recover",
        "group.leave",
        "invite.create",
        "invite.inspect",
        "invite.revoke",
        "group.join",
        "knock.list",
        "knock.admit",
        "knock.decline",
        "member.set_role",
        "member.remove",
        "message.send",
        "message.edit",
        "message.retract",
        "message.react",
        "message.list",
        "message.status",
        "relay.add",
        "relay.remove",
        "relay.list",
        "network.sync",
        "debug.tip",
        "group.seen",
        "draft.set",
        "draft.get",
        "settings.set",
        "settings.get",
    ];
}
