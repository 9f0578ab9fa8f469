//! What the window itself remembers: which screen, what is half typed, what is being waited for. Nothing of it is kept on disk.

use std::collections::BTreeMap;

use hearth_node::app::{Command, Join, Reaction, RoleName, Secret, TemplateName};
use hearth_protocol::id::{GroupId, MessageId, OpId, PersonaId};

use crate::{
    names,
    rows::{Key, Reading},
    secret::SecretBuffer,
};

/// What fills the main pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Page {
    /// No group is open: the next step.
    #[default]
    Start,
    /// The open group's timeline.
    Group,
    /// A new group.
    Create,
    /// A link.
    Join,
    /// The open group's members.
    Members,
    /// Settings.
    Settings,
}

/// What lies over everything.
#[derive(Debug)]
pub enum Dialog {
    /// Keys.
    Help,
    /// Where to go.
    Jump(String),
    /// A message's actions.
    Actions(MessageId),
    /// A new invite.
    Invite(InviteDraft),
    /// A member's role.
    Member(PersonaId),
    /// Sure to change the role?
    Role(PersonaId, RoleName),
    /// Sure to remove?
    Remove(PersonaId, String),
    /// Sure to take back?
    Retract(MessageId),
    /// Sure to leave?
    Leave,
    /// A relay's address.
    Relay(String),
    /// The groups of a narrow window.
    Groups,
}

/// What a view asks for. The window turns it into commands.
#[derive(Debug)]
pub enum Act {
    /// Makes the vault from what is typed.
    CreateVault,
    /// Opens the vault.
    Unlock,
    /// Lets somebody in who knocked.
    Admit(PersonaId),
    /// Declines somebody who knocked.
    Decline(PersonaId),
    /// Locks.
    Lock,
    /// Shows a page.
    Show(Page),
    /// Opens a group.
    Open(GroupId),
    /// Puts a dialog up.
    Ask(Dialog),
    /// Takes the dialog away.
    Close,
    /// Makes the group.
    CreateGroup,
    /// Reads the link.
    Inspect,
    /// Joins by it.
    Join,
    /// Sends or saves what the composer holds.
    Send,
    /// Answers a message.
    Reply(MessageId),
    /// Changes one's own message.
    Edit(MessageId),
    /// Reacts, or takes the reaction back.
    React(MessageId, Reaction, bool),
    /// Lifts or lowers a veil.
    Veil(MessageId, bool),
    /// Unfolds a long body.
    Unfold(MessageId),
    /// Copies a text.
    Copy(String),
    /// Copies a link, for a minute.
    CopyLink(Secret),
    /// Makes the invite.
    MakeInvite,
    /// Voids it.
    RevokeInvite(OpId),
    /// The reader is here, near an end or not.
    Reading(MessageId, Option<hearth_node::app::Reach>),
    /// Back to the newest.
    Newest,
    /// The look.
    Theme(eframe::egui::ThemePreference),
    /// The size of everything.
    Zoom(f32),
    /// Whether nothing blinks or fades.
    Still(bool),
    /// A command as it is.
    Command(Command),
}

/// A form that waits for a reply, or was refused.
#[derive(Debug, Default)]
pub struct Waiting {
    /// Whether a reply is outstanding.
    pub busy: bool,
    /// What was wrong, in a sentence.
    pub problem: Option<String>,
}

impl Waiting {
    /// Begins to wait.
    pub fn begin(&mut self) {
        *self = Self { busy: true, problem: None };
    }

    /// Was refused.
    pub fn refused(&mut self, problem: String) {
        *self = Self { busy: false, problem: Some(problem) };
    }
}

/// Passphrases being typed.
#[derive(Debug, Default)]
pub struct VaultDraft {
    /// The passphrase.
    pub pass: SecretBuffer,
    /// The same again.
    pub again: SecretBuffer,
    /// The reply.
    pub waiting: Waiting,
}

/// A group being made.
#[derive(Debug)]
pub struct CreateDraft {
    /// What it is for.
    pub template: TemplateName,
    /// Its name.
    pub name: String,
    /// One's own name there.
    pub persona: String,
    /// What newcomers may read, in days.
    pub history_days: u16,
    /// How people come in.
    pub join: Join,
    /// The reply.
    pub waiting: Waiting,
}

impl Default for CreateDraft {
    fn default() -> Self {
        Self {
            template: TemplateName::Open,
            name: String::new(),
            persona: names::roll(),
            history_days: 30,
            join: Join::Open,
            waiting: Waiting::default(),
        }
    }
}

/// What a link opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    /// The group's name.
    pub group_name: String,
    /// Its charter.
    pub charter: String,
    /// How people come in.
    pub join: Join,
    /// What newcomers may read, in days.
    pub history_days: u16,
    /// How many are in it, about, where that is told.
    pub members: Option<usize>,
}

/// A link being followed.
#[derive(Debug)]
pub struct JoinDraft {
    /// The link.
    pub link: SecretBuffer,
    /// One's own name there.
    pub persona: String,
    /// What one says of oneself, where somebody admits.
    pub introduction: String,
    /// What it opens, once read.
    pub inspected: Option<Inspected>,
    /// The reply.
    pub waiting: Waiting,
}

impl Default for JoinDraft {
    fn default() -> Self {
        let (link, persona, introduction) = (SecretBuffer::default(), names::roll(), String::new());
        Self { link, persona, introduction, inspected: None, waiting: Waiting::default() }
    }
}

/// An invite being made.
#[derive(Debug)]
pub struct InviteDraft {
    /// People who can use it.
    pub uses: u32,
    /// Days until it ends.
    pub days: u64,
    /// The invite, its link, and whether a relay holds it, once made.
    pub made: Option<(OpId, Secret, bool)>,
    /// Whether it was copied just now.
    pub copied: bool,
    /// The reply.
    pub waiting: Waiting,
}

impl Default for InviteDraft {
    fn default() -> Self {
        Self { uses: 1, days: 7, made: None, copied: false, waiting: Waiting::default() }
    }
}

/// An unfinished message.
#[derive(Debug, Default)]
pub struct Draft {
    /// The text.
    pub text: String,
    /// The content note.
    pub note: String,
    /// Whether the note's field is open.
    pub note_open: bool,
    /// What it answers.
    pub reply_to: Option<MessageId>,
    /// Which own message it changes.
    pub editing: Option<MessageId>,
    /// What the store has.
    pub saved: String,
    /// When the text was last changed, in the window's seconds.
    pub touched: Option<f64>,
    /// Why it was not taken.
    pub problem: Option<String>,
}

/// Where the reader is in a timeline.
#[derive(Debug)]
pub struct Scroll {
    /// The item that keeps its place, and its top below the pane's top, in points.
    pub anchor: Option<(Key, f32)>,
    /// Whether the newest message stays in sight.
    pub at_end: bool,
    /// The message that the keyboard is on.
    pub focus: Option<MessageId>,
    /// Whether to bring that message into sight in the next frame.
    pub reveal: bool,
    /// Heights by item at this width, in points.
    pub heights: BTreeMap<Key, f32>,
    /// What the heights were measured at: width, and the rows' revision.
    pub measured: (f32, u64),
    /// Items drawn in the last frame.
    pub drawn: usize,
}

impl Default for Scroll {
    fn default() -> Self {
        Self {
            anchor: None,
            at_end: true,
            focus: None,
            reveal: false,
            heights: BTreeMap::new(),
            measured: (0.0, 0),
            drawn: 0,
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct State {
    /// The main pane.
    pub page: Page,
    /// The open group.
    pub group: Option<GroupId>,
    /// What lies over everything.
    pub dialog: Option<Dialog>,
    /// Whether the neutral window is shown.
    pub hidden: bool,
    /// Passphrases.
    pub vault: VaultDraft,
    /// A group being made.
    pub create: CreateDraft,
    /// A link being followed.
    pub join: JoinDraft,
    /// Unfinished messages.
    pub drafts: BTreeMap<GroupId, Draft>,
    /// Where the reader is.
    pub scrolls: BTreeMap<GroupId, Scroll>,
    /// What the reader has opened.
    pub reading: BTreeMap<GroupId, Reading>,
    /// Said at the bottom, until something else is.
    pub toast: Option<String>,
    /// What the screen reader says next, politely.
    pub announce: String,
    /// Where focus goes in this frame.
    pub focus: Option<eframe::egui::Id>,
    /// Whether an input method is composing.
    pub composing: bool,
}

impl State {
    /// Forgets everything that a locked window must not know.
    pub fn forget(&mut self) {
        *self = Self { hidden: self.hidden, ..Self::default() };
    }

    /// The open group's unfinished message.
    pub fn draft(&mut self) -> Option<&mut Draft> {
        Some(self.drafts.entry(self.group?).or_default())
    }
}
