//! A node that exists only in memory: it answers the façade's commands from what it was given, and remembers them all.
//! For pictures and tests; nothing of it is in the product.
#![allow(dead_code, reason = "each user needs a part")]
#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

use std::collections::BTreeMap;

use hearth_node::app::{
    Answer, Ask, Backend, Command, Delivery, Event, GroupRow, GroupState, Join, Kind, KnockRow, Look, MemberRow,
    MessageRow, MotionState, Notice, PolicyRow, Reaction, Reactions, Refusal, RelayRow, RelayState, RoleName, Secret,
    Utc,
};
use hearth_protocol::{
    id::{GroupId, MessageId, NodeId, OpId, PersonaId},
    time::Timestamp,
};

/// A link that the fake knows how to open.
pub(crate) const LINK: &str =
    "hearth://join#b3BlbiBieSBub2JvZHkgb25seSBhIHBpY3R1cmUgb2YgYSBsaW5rIGZvciBwZW9wbGUgd2hvIGxvb2s";

/// A group and all that is in it.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) row: GroupRow,
    pub(crate) charter: String,
    pub(crate) members: Vec<MemberRow>,
    pub(crate) messages: Vec<MessageRow>,
    pub(crate) history_days: u16,
    pub(crate) relays: Vec<RelayRow>,
    pub(crate) join: Join,
    pub(crate) knocks: Vec<KnockRow>,
}

/// See the module.
pub(crate) struct Fake {
    pub(crate) backend: Backend,
    pub(crate) passphrase: Option<String>,
    pub(crate) locked: bool,
    pub(crate) rooms: Vec<Room>,
    /// How the group behind the sample link admits.
    pub(crate) behind_link: Join,
    pub(crate) drafts: BTreeMap<GroupId, String>,
    pub(crate) settings: (Option<Look>, Option<u16>, Option<bool>),
    /// Every command, in order.
    pub(crate) log: Vec<Command>,
    /// When set, every command but this kind's is refused so.
    pub(crate) refuse: Option<Refusal>,
    /// What the next message is stamped with, in milliseconds.
    pub(crate) now: u64,
    next: u32,
}

impl Fake {
    pub(crate) fn new(backend: Backend) -> Self {
        Self {
            backend,
            passphrase: None,
            locked: true,
            rooms: Vec::new(),
            behind_link: Join::Open,
            drafts: BTreeMap::new(),
            settings: (None, None, None),
            log: Vec::new(),
            refuse: None,
            now: 0,
            next: 1,
        }
    }

    /// Answers everything that waits.
    pub(crate) fn pump(&mut self) -> usize {
        let mut count = 0;
        while let Ok(ask) = self.backend.asks.try_recv() {
            self.answer(ask);
            count += 1;
        }
        count
    }

    /// Answers one command.
    pub(crate) fn answer(&mut self, ask: Ask) {
        self.log.push(ask.command.clone());
        let result = match &self.refuse {
            Some(refusal) if !matches!(ask.command, Command::Status {}) => Err(refusal.clone()),
            _ => self.result(&ask.command),
        };
        match ask.reply {
            Some(reply) => drop(reply.send(result)),
            None => self.backend.emit(Event::Reply { command: ask.id, result }),
        }
    }

    /// A message by somebody else, or by oneself.
    pub(crate) fn say(&mut self, group: GroupId, persona: PersonaId, text: &str) -> MessageId {
        let row = self.row(group, persona, text);
        let message = row.message;
        if let Some(room) = self.room(group) {
            room.messages.push(row.clone());
        }
        self.backend.emit(Event::Notice(Notice::MessageNew { group, row }));
        message
    }

    fn row(&mut self, group: GroupId, persona: PersonaId, text: &str) -> MessageRow {
        self.now += 60_000;
        self.next += 1;
        let mut id = [0xAA; 32];
        id[..4].copy_from_slice(&self.next.to_be_bytes());
        let members = self.room(group).map(|r| r.members.clone()).unwrap_or_default();
        let member = members.iter().find(|m| m.persona == persona);
        let you = member.is_some_and(|m| m.you);
        MessageRow {
            message: MessageId(id),
            persona,
            name: member.map(|m| m.name.clone()).unwrap_or_default(),
            text: text.into(),
            topic: None,
            reply_to: None,
            content_note: None,
            sent_at: Utc(Timestamp(self.now)),
            edited: false,
            retracted: false,
            reactions: Reactions::default(),
            delivery: if you { Delivery::Queued } else { Delivery::Reached },
        }
    }

    fn room(&mut self, group: GroupId) -> Option<&mut Room> {
        self.rooms.iter_mut().find(|r| r.row.group == group)
    }

    fn result(&mut self, command: &Command) -> Result<Answer, Refusal> {
        let not_found = Refusal::new(Kind::NotFound, "there is no such group");
        if self.locked
            && !matches!(command, Command::Status {} | Command::VaultCreate { .. } | Command::VaultUnlock { .. })
        {
            return Err(Refusal::new(Kind::Locked, "unlock first"));
        }
        Ok(match command {
            Command::VaultCreate { passphrase } => {
                self.passphrase = Some(passphrase.expose().to_owned());
                self.locked = false;
                Answer::Done {}
            }
            Command::VaultUnlock { passphrase } => {
                if self.passphrase.as_deref() != Some(passphrase.expose()) {
                    return Err(Refusal::new(Kind::BadPassphrase, "wrong passphrase"));
                }
                self.locked = false;
                Answer::Done {}
            }
            Command::VaultLock {} => {
                self.locked = true;
                Answer::Done {}
            }
            Command::Status {} => Answer::Status {
                locked: self.locked,
                exists: self.passphrase.is_some(),
                mode: "direct",
                version: "0.1.0",
                groups: self.rooms.len(),
                peers: self.rooms.len() * 2,
                relays: self.rooms.first().map(|r| r.relays.clone()).unwrap_or_default(),
                store_bytes: 0,
            },
            Command::GroupList {} => Answer::Groups { groups: self.rooms.iter().map(|r| r.row.clone()).collect() },
            Command::GroupCreate { name, history_days, persona, .. } => {
                let seed = u8::try_from(self.rooms.len()).unwrap_or(0) + 0x40;
                let name_of = persona.clone().and_then(|p| p.name).unwrap_or_default();
                let room = room(seed, name, &[(&name_of, RoleName::Facilitator)], history_days.unwrap_or(0));
                let (group, persona) = (room.row.group, room.members[0].persona);
                self.rooms.push(room);
                Answer::GroupCreated { group, persona }
            }
            Command::GroupShow { group } => {
                let room = self.room(*group).ok_or(not_found)?;
                Answer::Group {
                    group: *group,
                    name: room.row.name.clone(),
                    charter: room.charter.clone(),
                    epoch: 3,
                    node: NodeId([0; 32]),
                    members: room.members.clone(),
                    policy: PolicyRow {
                        join: room.join,
                        history_days: room.history_days,
                        slow_mode_s: 0,
                        shield: false,
                        template: None,
                        suite: 1,
                    },
                    relays: room.relays.clone(),
                    state: room.row.state,
                }
            }
            Command::KnockList { group } => {
                Answer::Knocks { knocks: self.room(*group).ok_or(not_found)?.knocks.clone() }
            }
            Command::KnockAdmit { group, persona } | Command::KnockDecline { group, persona } => {
                let room = self.rooms.iter_mut().find(|r| r.row.group == *group).ok_or(not_found)?;
                room.knocks.retain(|k| k.persona != *persona);
                self.backend.emit(Event::Notice(Notice::GroupChanged { group: *group }));
                Answer::Done {}
            }
            Command::InviteInspect { link } => {
                if link.expose().trim() != LINK {
                    return Err(Refusal::new(Kind::Invalid, "the link is damaged: copy it again, whole"));
                }
                Answer::Inspected {
                    group_name: "Tuesday circle".into(),
                    charter: CHARTER.into(),
                    join: self.behind_link,
                    history_days: 30,
                    expires_at: Utc(Timestamp(self.now + 86_400_000)),
                    members_hint: (self.behind_link == Join::Open).then_some(8),
                }
            }
            Command::GroupJoin { persona, .. } => {
                let name = persona.clone().and_then(|p| p.name).unwrap_or_default();
                let room = room(
                    0x77,
                    "Tuesday circle",
                    &[(&name, RoleName::Newcomer), ("Steady Otter", RoleName::Facilitator)],
                    30,
                );
                let (group, persona) = (room.row.group, room.members[0].persona);
                self.rooms.push(room);
                Answer::Joined { group, state: GroupState::Joined, persona }
            }
            Command::InviteCreate { .. } => {
                Answer::Invite { invite: OpId([1; 32]), link: Secret::new(long_link()), held: true }
            }
            Command::MessageSend { group, text, reply_to, content_note, .. } => {
                let you = self.room(*group).ok_or(not_found)?.members.iter().find(|m| m.you).map(|m| m.persona);
                let mut row = self.row(*group, you.unwrap_or(PersonaId([0; 32])), text);
                row.reply_to = *reply_to;
                row.content_note.clone_from(content_note);
                let message = row.message;
                if let Some(room) = self.room(*group) {
                    room.messages.push(row.clone());
                }
                self.backend.emit(Event::Notice(Notice::MessageNew { group: *group, row }));
                Answer::Message { message }
            }
            Command::MessageReact { group, message, reaction, on } => {
                let room = self.room(*group).ok_or(not_found)?;
                let you = room.members.iter().find(|m| m.you).map(|m| m.persona).unwrap_or(PersonaId([0; 32]));
                if let Some(row) = room.messages.iter_mut().find(|r| r.message == *message) {
                    let list = match reaction {
                        Reaction::WithYou => &mut row.reactions.with_you,
                        Reaction::MeToo => &mut row.reactions.me_too,
                        Reaction::ThankYou => &mut row.reactions.thank_you,
                    };
                    list.retain(|p| *p != you);
                    if *on {
                        list.push(you);
                    }
                    let row = row.clone();
                    self.backend.emit(Event::Notice(Notice::MessageChanged { group: *group, row }));
                }
                Answer::Done {}
            }
            Command::MessageRetract { group, message } => {
                let room = self.room(*group).ok_or(not_found)?;
                if let Some(row) = room.messages.iter_mut().find(|r| r.message == *message) {
                    row.retracted = true;
                    row.text.clear();
                    let row = row.clone();
                    self.backend.emit(Event::Notice(Notice::MessageChanged { group: *group, row }));
                }
                Answer::Message { message: *message }
            }
            Command::MessageList { group, before, after, limit, .. } => {
                let all = &self.room(*group).ok_or(not_found)?.messages;
                let limit = limit.unwrap_or(50) as usize;
                let at = |id: &MessageId| all.iter().position(|r| r.message == *id).unwrap_or(0);
                let page = match (before, after) {
                    (Some(id), _) => &all[at(id).saturating_sub(limit)..at(id)],
                    (_, Some(id)) => &all[at(id) + 1..(at(id) + 1 + limit).min(all.len())],
                    _ => &all[all.len().saturating_sub(limit)..],
                };
                Answer::Messages { messages: page.to_vec() }
            }
            Command::MessageStatus { .. } => {
                Answer::MessageStatus { state: Delivery::Held, relays: 2, members_reached: 0, members_total: 8 }
            }
            Command::GroupSeen { group } => {
                if let Some(room) = self.room(*group) {
                    room.row.unread = 0;
                }
                Answer::Done {}
            }
            Command::DraftSet { group, text } => {
                self.drafts.insert(*group, text.expose().to_owned());
                Answer::Done {}
            }
            Command::DraftGet { group } => {
                Answer::Draft { text: Secret::new(self.drafts.get(group).cloned().unwrap_or_default()) }
            }
            Command::SettingsSet { look, zoom_percent, still } => {
                let (l, z, s) = self.settings;
                self.settings = (look.or(l), zoom_percent.or(z), still.or(s));
                Answer::Done {}
            }
            Command::SettingsGet {} => {
                let (look, zoom_percent, still) = self.settings;
                Answer::Settings { look, zoom_percent, still }
            }
            Command::MemberSetRole { .. } | Command::MemberRemove { .. } => {
                Answer::Motion { state: MotionState::Done, signatures: 1, needed: 1 }
            }
            _ => Answer::Done {},
        })
    }
}

const CHARTER: &str = "What is said here stays here. We speak from our own experience and leave advice to those who \
                       ask for it. Reading along is taking part. Nobody has to explain a lapse.";

/// A link as long as real ones.
pub(crate) fn long_link() -> String {
    let body: String = "aGVhcnRoLWludml0ZS1saW5rLWZvci1waWN0dXJlcw".repeat(7);
    format!("hearth://join#{body}")
}

/// A group; the first member is oneself.
pub(crate) fn room(seed: u8, name: &str, members: &[(&str, RoleName)], history_days: u16) -> Room {
    let person = |n: usize| {
        let mut id = [seed; 32];
        id[0] = u8::try_from(n).unwrap_or(0);
        PersonaId(id)
    };
    let member = |(n, (name, role)): (usize, &(&str, RoleName))| MemberRow {
        persona: person(n),
        name: (*name).to_owned(),
        role: *role,
        you: n == 0,
        unconfirmed: false,
    };
    let relay = |n: u8| RelayRow {
        address: format!("/ip4/198.51.100.{n}/tcp/4001"),
        state: RelayState::Ok,
        held: 12,
        sees_address: true,
    };
    Room {
        row: GroupRow {
            group: GroupId([seed; 32]),
            name: name.to_owned(),
            role: members.first().map_or(RoleName::Member, |m| m.1),
            unread: 0,
            state: GroupState::Joined,
        },
        charter: CHARTER.into(),
        members: members.iter().enumerate().map(member).collect(),
        messages: Vec::new(),
        history_days,
        relays: vec![relay(7), relay(9)],
        join: Join::Open,
        knocks: Vec::new(),
    }
}

/// Somebody at the door of a room.
pub(crate) fn knock(n: u8, name: &str, introduction: &str, at: u64) -> KnockRow {
    let (name, introduction) = (name.to_owned(), introduction.to_owned());
    KnockRow { persona: PersonaId([n; 32]), name, introduction, at: Utc(Timestamp(at)) }
}

/// The persona of member `n` of a room.
pub(crate) fn persona(room: &Room, n: usize) -> PersonaId {
    room.members[n].persona
}
