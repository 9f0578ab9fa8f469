//! The read model: what a window shows, kept up to date from replies and notices alone. Pure: no clock, no channel.
//!
//! The caller sends every command through [`Model::asked`], every event through [`Model::apply`], and then sends what
//! [`Model::take_wants`] asks for. Everything here is bounded; what is dropped can be asked for again.

#[cfg(test)]
mod tests;
mod timeline;

use std::collections::{BTreeMap, btree_map::Entry};

use hearth_protocol::id::{GroupId, MessageId, PersonaId};

pub use self::timeline::{Reach, TIMELINE_PAGE, TIMELINE_WINDOW, Timeline};
use super::{
    Answer, Command, CommandId, Delivery, Event, GroupRow, GroupState, Join, Kind, KnockRow, MemberRow, Notice,
    PolicyRow, Refusal, RelayRow, RelayState, RoleName,
};

/// Commands whose replies the model waits for; the oldest is forgotten beyond that.
const ASKED_MAX: usize = 1_024;
/// Groups whose timelines are kept at a time; the one opened longest ago is dropped.
const TIMELINES_MAX: usize = 16;
/// Follow-up questions that may wait.
const WANTS_MAX: usize = 256;

/// What a group is, beside its row in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDetails {
    /// Charter.
    pub charter: String,
    /// Everyone in it.
    pub members: Vec<MemberRow>,
    /// Settings.
    pub policy: PolicyRow,
    /// Its relays.
    pub relays: Vec<RelayRow>,
}

impl GroupDetails {
    /// One's own row.
    #[must_use]
    pub fn you(&self) -> Option<&MemberRow> {
        self.members.iter().find(|m| m.you)
    }
}

/// What is known of the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkState {
    /// Members and relays connected now.
    pub peers: usize,
    /// Relays by address.
    pub relays: BTreeMap<String, RelayState>,
    /// How many relays see this computer's address now.
    pub seen_by: usize,
}

/// What a reply will be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Unlock,
    Lock,
    Status,
    Groups,
    Group(GroupId),
    Knocks(GroupId),
    Page(GroupId, timeline::Page),
    Delivery(GroupId, MessageId),
    Seen(GroupId),
    Left,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Model {
    known: bool,
    exists: bool,
    locked: bool,
    mode: &'static str,
    groups: Vec<GroupRow>,
    details: BTreeMap<GroupId, GroupDetails>,
    timelines: BTreeMap<GroupId, Timeline>,
    knocks: BTreeMap<GroupId, Vec<KnockRow>>,
    opened: Vec<GroupId>,
    network: NetworkState,
    warning: Option<&'static str>,
    asked: BTreeMap<CommandId, About>,
    wants: Vec<Command>,
    revision: u64,
}

impl Model {
    /// Nothing known yet; asks for the status.
    #[must_use]
    pub fn new() -> Self {
        Self { locked: true, wants: vec![Command::Status {}], ..Self::default() }
    }

    /// Whether the first status has arrived.
    #[must_use]
    pub fn known(&self) -> bool {
        self.known
    }

    /// Whether a vault exists.
    #[must_use]
    pub fn exists(&self) -> bool {
        self.exists
    }

    /// Whether the vault is locked.
    #[must_use]
    pub fn locked(&self) -> bool {
        self.locked
    }

    /// How the node reaches others: `direct`.
    #[must_use]
    pub fn mode(&self) -> &'static str {
        self.mode
    }

    /// The groups, in the engine's order.
    #[must_use]
    pub fn groups(&self) -> &[GroupRow] {
        &self.groups
    }

    /// A group's row.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<&GroupRow> {
        self.groups.iter().find(|g| g.group == group)
    }

    /// A group's details, once asked for.
    #[must_use]
    pub fn details(&self, group: GroupId) -> Option<&GroupDetails> {
        self.details.get(&group)
    }

    /// A group's messages, once opened.
    #[must_use]
    pub fn timeline(&self, group: GroupId) -> Option<&Timeline> {
        self.timelines.get(&group)
    }

    /// One's persona in a group.
    #[must_use]
    pub fn you(&self, group: GroupId) -> Option<PersonaId> {
        Some(self.details.get(&group)?.you()?.persona)
    }

    /// The network.
    #[must_use]
    pub fn network(&self) -> &NetworkState {
        &self.network
    }

    /// The newest warning, until taken.
    pub fn take_warning(&mut self) -> Option<&'static str> {
        self.warning.take()
    }

    /// Who waits to be let into a group, the oldest first.
    #[must_use]
    pub fn knocks(&self, group: GroupId) -> &[KnockRow] {
        self.knocks.get(&group).map_or(&[], Vec::as_slice)
    }

    /// Grows with every change: rows built at an equal revision are equal.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Loads a group's details and newest messages if they are not here.
    pub fn open(&mut self, group: GroupId) {
        self.opened.retain(|g| *g != group);
        self.opened.push(group);
        if self.opened.len() > TIMELINES_MAX {
            let oldest = self.opened.remove(0);
            self.timelines.remove(&oldest);
            self.details.remove(&oldest);
        }
        if !self.details.contains_key(&group) {
            self.want(Command::GroupShow { group });
        }
        if let Entry::Vacant(empty) = self.timelines.entry(group) {
            empty.insert(Timeline::default());
            self.want(Timeline::newest_command(group));
        }
        self.revision += 1;
    }

    /// The reader is at this message: the window is trimmed at its far end. `edge` says which end is near.
    pub fn reading(&mut self, group: GroupId, at: MessageId, edge: Option<Reach>) {
        let Some(timeline) = self.timelines.get_mut(&group) else { return };
        timeline.set_anchor(at);
        if let Some(command) = edge.and_then(|edge| timeline.fetch(group, edge)) {
            self.want(command);
        }
    }

    /// Shows the newest messages again, whatever was shown.
    pub fn jump_to_newest(&mut self, group: GroupId) {
        if let Some(timeline) = self.timelines.get_mut(&group)
            && !timeline.at_end()
        {
            self.want(Timeline::newest_command(group));
        }
    }

    /// Remembers what a command was about, so that its reply can be understood.
    pub fn asked(&mut self, id: CommandId, command: &Command) {
        let about = match command {
            Command::VaultCreate { .. } | Command::VaultUnlock { .. } => About::Unlock,
            Command::VaultLock {} => About::Lock,
            Command::Status {} => About::Status,
            Command::GroupList {} => About::Groups,
            Command::GroupShow { group } => About::Group(*group),
            Command::KnockList { group } => About::Knocks(*group),
            Command::MessageList { group, before, after, .. } => {
                About::Page(*group, timeline::Page::of(*before, *after))
            }
            Command::MessageStatus { group, message } => About::Delivery(*group, *message),
            Command::GroupSeen { group } => About::Seen(*group),
            Command::GroupLeave { .. } => About::Left,
            _ => return,
        };
        if self.asked.len() >= ASKED_MAX {
            self.asked.pop_first();
        }
        self.asked.insert(id, about);
    }

    /// Takes an event in.
    pub fn apply(&mut self, event: &Event) {
        self.revision += 1;
        match event {
            Event::Reply { command, result } => {
                let about = self.asked.remove(command);
                match result {
                    Ok(answer) => self.answered(about, answer),
                    Err(refusal) => self.refused(about, refusal),
                }
            }
            Event::Notice(notice) => self.noticed(notice),
            Event::Resync => {
                self.want(Command::Status {});
                self.want(Command::GroupList {});
                for group in self.opened.clone() {
                    self.want(Command::GroupShow { group });
                    self.want(Timeline::newest_command(group));
                }
            }
        }
    }

    /// What has to be asked now, in order.
    pub fn take_wants(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.wants)
    }

    fn want(&mut self, command: Command) {
        if self.wants.len() < WANTS_MAX && !self.wants.contains(&command) {
            self.wants.push(command);
        }
    }

    fn refused(&mut self, about: Option<About>, refusal: &Refusal) {
        if let Some(About::Page(group, _)) = about
            && let Some(timeline) = self.timelines.get_mut(&group)
        {
            timeline.fetch_failed();
        }
        if refusal.kind == Kind::Locked {
            self.forget();
        }
    }

    /// Forgets everything that a locked window must not know.
    fn forget(&mut self) {
        let (exists, mode, revision) = (self.exists, self.mode, self.revision);
        *self = Self { known: true, exists, locked: true, mode, revision, ..Self::default() };
    }

    fn answered(&mut self, about: Option<About>, answer: &Answer) {
        match (about, answer) {
            (Some(About::Unlock), _) => {
                (self.known, self.exists, self.locked) = (true, true, false);
                self.want(Command::Status {});
                self.want(Command::GroupList {});
            }
            (Some(About::Lock), _) => self.forget(),
            (_, Answer::Status { locked, exists, mode, peers, relays, .. }) => {
                let opening = !self.known && !*locked;
                (self.known, self.exists, self.mode) = (true, *exists, mode);
                if *locked && !self.locked {
                    self.forget();
                }
                self.locked = *locked;
                self.network.peers = *peers;
                self.network.relays = relays.iter().map(|r| (r.address.clone(), r.state)).collect();
                self.network.seen_by = relays.iter().filter(|r| r.sees_address).count();
                if opening {
                    self.want(Command::GroupList {});
                }
            }
            (_, Answer::Groups { groups }) => self.groups.clone_from(groups),
            (Some(About::Group(_)), Answer::Group { group, name, charter, members, policy, relays, state, .. }) => {
                if let Some(row) = self.groups.iter_mut().find(|g| g.group == *group) {
                    row.name.clone_from(name);
                    row.state = *state;
                    if let Some(you) = members.iter().find(|m| m.you) {
                        row.role = you.role;
                    }
                }
                let details = GroupDetails {
                    charter: charter.clone(),
                    members: members.clone(),
                    policy: policy.clone(),
                    relays: relays.clone(),
                };
                let hears = details.policy.join == Join::Knock
                    && *state == GroupState::Joined
                    && details.you().is_some_and(|you| you.role == RoleName::Facilitator);
                self.details.insert(*group, details);
                if hears {
                    self.want(Command::KnockList { group: *group });
                } else {
                    self.knocks.remove(group);
                }
                self.ask_delivery(*group);
            }
            (Some(About::Knocks(group)), Answer::Knocks { knocks }) => {
                self.knocks.insert(group, knocks.clone());
            }
            (Some(About::Page(group, page)), Answer::Messages { messages }) => {
                if let Some(timeline) = self.timelines.get_mut(&group) {
                    timeline.merge(page, messages);
                }
                self.ask_delivery(group);
            }
            (
                Some(About::Delivery(group, message)),
                Answer::MessageStatus { state, relays, members_reached, members_total },
            ) => {
                let counts = [*relays, *members_reached, *members_total];
                self.set_delivery(group, message, *state, counts);
            }
            (Some(About::Seen(group)), _) => self.set_unread(group, |_| 0),
            (_, Answer::GroupCreated { .. } | Answer::Joined { .. }) | (Some(About::Left), _) => {
                self.want(Command::GroupList {});
                self.want(Command::Status {});
            }
            _ => {}
        }
    }

    fn noticed(&mut self, notice: &Notice) {
        match notice {
            Notice::MessageNew { group, row } => {
                if self.you(*group) != Some(row.persona) {
                    self.set_unread(*group, |n| n.saturating_add(1));
                }
                if let Some(timeline) = self.timelines.get_mut(group)
                    && timeline.push(row)
                {
                    self.want(Timeline::newest_command(*group));
                }
            }
            Notice::MessageChanged { group, row } => {
                if let Some(timeline) = self.timelines.get_mut(group) {
                    timeline.replace(row);
                }
            }
            Notice::MessageDelivery { group, message, state, relays, members_reached, members_total } => {
                self.set_delivery(*group, *message, *state, [*relays, *members_reached, *members_total]);
            }
            Notice::GroupJoined { group, .. } | Notice::GroupChanged { group } | Notice::ForkResolved { group } => {
                self.want(Command::GroupList {});
                self.show_again(*group);
            }
            Notice::KnockNew { group, .. } => self.want(Command::KnockList { group: *group }),
            Notice::MemberChanged { group, .. } => self.show_again(*group),
            Notice::GroupWaiting { group } => self.set_state(*group, GroupState::Waiting),
            Notice::GroupRemoved { group, state } => self.set_state(*group, *state),
            Notice::NetworkChanged { group, peers, relays } => {
                if group.is_none() {
                    self.network.peers = *peers;
                } else {
                    self.want(Command::Status {});
                }
                for (address, state) in relays {
                    self.network.relays.insert(address.clone(), *state);
                }
                if let Some(details) = group.and_then(|g| self.details.get_mut(&g)) {
                    for row in &mut details.relays {
                        if let Some((_, state)) = relays.iter().find(|(address, _)| *address == row.address) {
                            row.state = *state;
                        }
                    }
                }
            }
            Notice::GapFound { group, .. } => {
                if self.timelines.contains_key(group) {
                    self.want(Timeline::newest_command(*group));
                }
            }
            Notice::Warning { text } => self.warning = Some(text),
        }
    }

    fn show_again(&mut self, group: GroupId) {
        if self.details.contains_key(&group) || self.opened.contains(&group) {
            self.want(Command::GroupShow { group });
        }
    }

    fn set_unread(&mut self, group: GroupId, change: impl Fn(u64) -> u64) {
        if let Some(row) = self.groups.iter_mut().find(|g| g.group == group) {
            row.unread = change(row.unread);
        }
    }

    fn set_state(&mut self, group: GroupId, state: GroupState) {
        match self.groups.iter_mut().find(|g| g.group == group) {
            Some(row) => row.state = state,
            None => self.want(Command::GroupList {}),
        }
    }

    fn set_delivery(&mut self, group: GroupId, message: MessageId, state: Delivery, counts: [usize; 3]) {
        if let Some(timeline) = self.timelines.get_mut(&group) {
            timeline.set_delivery(message, state, counts);
        }
    }

    /// Own messages that relays hold say how many relays: the list does not carry that number.
    fn ask_delivery(&mut self, group: GroupId) {
        let Some(you) = self.you(group) else { return };
        let unknown = self.timelines.get(&group).map(|t| t.uncounted(you)).unwrap_or_default();
        for message in unknown {
            self.want(Command::MessageStatus { group, message });
        }
    }
}
