//! Plain rows: what each screen shows, in words, before anything is drawn. No row holds a text that must not be seen.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use hearth_node::app::{
    Delivery, GroupRow, GroupState, MessageRow, Model, Reaction, RelayState, RoleName, TemplateName,
};
use hearth_protocol::id::{GroupId, MessageId, PersonaId};
use jiff::{Timestamp, Zoned, tz::TimeZone};

use crate::text;

/// The hour and the zone of the reader.
#[derive(Clone, Debug)]
pub struct Clock {
    /// Now.
    pub now: Timestamp,
    /// The zone that times are shown in.
    pub zone: TimeZone,
}

impl Clock {
    fn at(&self, ms: u64) -> Zoned {
        let ms = i64::try_from(ms).unwrap_or(i64::MAX);
        Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX).to_zoned(self.zone.clone())
    }

    fn time(&self, ms: u64) -> String {
        self.at(ms).strftime("%H:%M").to_string()
    }

    fn day(&self, ms: u64) -> String {
        let (at, today) = (self.at(ms), self.now.to_zoned(self.zone.clone()));
        if at.date() == today.date() {
            return "Today".into();
        }
        if today.date().yesterday().is_ok_and(|d| d == at.date()) {
            return "Yesterday".into();
        }
        let form = if at.year() == today.year() { "%A %-d %B" } else { "%A %-d %B %Y" };
        at.strftime(form).to_string()
    }

    /// A day far off: "30 November".
    #[must_use]
    pub fn date(&self, ms: u64) -> String {
        self.at(ms).strftime("%-d %B %Y").to_string()
    }
}

/// A line of the groups pane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupItem {
    /// Group.
    pub group: GroupId,
    /// Its name.
    pub name: String,
    /// The line below.
    pub note: String,
    /// Messages not seen.
    pub unread: u64,
    /// Whether it is open.
    pub open: bool,
}

impl GroupItem {
    /// What a screen reader says.
    #[must_use]
    pub fn spoken(&self) -> String {
        match self.unread {
            0 => format!("{}, {}", self.name, self.note),
            1 => format!("{}, 1 new message", self.name),
            n => format!("{}, {n} new messages", self.name),
        }
    }
}

/// The groups, as the engine orders them.
#[must_use]
pub fn groups(model: &Model, open: Option<GroupId>) -> Vec<GroupItem> {
    model.groups().iter().map(|g| group(g, open == Some(g.group))).collect()
}

fn group(row: &GroupRow, open: bool) -> GroupItem {
    let note = match row.state {
        GroupState::Waiting => "waiting to be let in",
        GroupState::Declined => "not let in",
        GroupState::Left => "you left",
        GroupState::Removed => "you were removed",
        GroupState::Joined => role_long(row.role),
    };
    GroupItem { group: row.group, name: row.name.clone(), note: note.into(), unread: row.unread, open }
}

/// One line or message of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Where the history begins, and why there.
    Start(String),
    /// A new day.
    Day(MessageId, String),
    /// The first message that was not seen before.
    New(MessageId, String),
    /// A message.
    Message(Box<MessageItem>),
}

/// Names an item, whatever is before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// The beginning.
    Start,
    /// The day line before a message.
    Day(MessageId),
    /// The new line before a message.
    New(MessageId),
    /// A message.
    Message(MessageId),
}

impl Item {
    /// Its name.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Start(_) => Key::Start,
            Self::Day(id, _) => Key::Day(*id),
            Self::New(id, _) => Key::New(*id),
            Self::Message(m) => Key::Message(m.message),
        }
    }

    /// The message, if it is one.
    #[must_use]
    pub fn message(&self) -> Option<&MessageItem> {
        match self {
            Self::Message(m) => Some(m),
            _ => None,
        }
    }
}

/// What of a message may be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// All of it.
    Text(Arc<str>),
    /// Its beginning; it is long.
    Folded(Arc<str>),
    /// Nothing: its author's note stands before it.
    Veiled,
    /// Nothing: it was taken back.
    Retracted,
}

/// A reaction and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReactionItem {
    /// Which.
    pub reaction: Reaction,
    /// "With you · Noor, Sam".
    pub words: String,
    /// Whether it is also one's own.
    pub yours: bool,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageItem {
    /// Message.
    pub message: MessageId,
    /// Author.
    pub persona: PersonaId,
    /// The author's name.
    pub author: String,
    /// The author's role when it is not plain membership.
    pub role: Option<&'static str>,
    /// "14:05".
    pub time: String,
    /// Whether it begins a run of one author.
    pub head: bool,
    /// The author's content note.
    pub note: Option<String>,
    /// What it answers, in a line.
    pub quote: Option<String>,
    /// Its text.
    pub body: Body,
    /// Whether its text was changed.
    pub edited: bool,
    /// Reactions that somebody gave.
    pub reactions: Vec<ReactionItem>,
    /// Where it is, when it is one's own and has reached nobody yet.
    pub delivery: Option<String>,
    /// Whether it is one's own.
    pub yours: bool,
    /// What a screen reader says: "name, time, text".
    pub spoken: String,
}

/// What the reader has chosen to see.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Veils that are lifted.
    pub shown: BTreeSet<MessageId>,
    /// Long bodies that are unfolded.
    pub unfolded: BTreeSet<MessageId>,
    /// The first message that is new.
    pub new_from: Option<MessageId>,
}

/// The timeline of a group.
#[must_use]
pub fn timeline(model: &Model, group: GroupId, reading: &Reading, clock: &Clock) -> Vec<Item> {
    let Some(timeline) = model.timeline(group) else { return Vec::new() };
    let mut items = Vec::new();
    if timeline.at_start() && timeline.loaded() {
        items.push(Item::Start(history_start(model, group)));
    }
    let mut before: Option<&MessageRow> = None;
    for row in timeline.rows() {
        let ms = row.sent_at.0.0;
        let new_day = before.is_none_or(|b| clock.at(b.sent_at.0.0).date() != clock.at(ms).date());
        if new_day {
            items.push(Item::Day(row.message, clock.day(ms)));
        }
        let new = reading.new_from == Some(row.message);
        if new {
            items.push(Item::New(row.message, format!("New since {}", clock.time(ms))));
        }
        let close = before.is_some_and(|b| b.persona == row.persona && ms.saturating_sub(b.sent_at.0.0) < 20 * 60_000);
        let head = new_day || new || !close || row.reply_to.is_some();
        items.push(Item::Message(Box::new(message(model, group, row, (reading, clock, head)))));
        before = Some(row);
    }
    items
}

fn history_start(model: &Model, group: GroupId) -> String {
    match model.details(group).map(|d| d.policy.history_days) {
        Some(0) => "You see what was written since you joined.".into(),
        Some(days) => format!("You see what was written since you joined, and up to {days} days before."),
        None => "The beginning.".into(),
    }
}

fn message(model: &Model, group: GroupId, row: &MessageRow, how: (&Reading, &Clock, bool)) -> MessageItem {
    let (reading, clock, head) = how;
    let time = clock.time(row.sent_at.0.0);
    let yours = model.you(group) == Some(row.persona);
    let member = model.details(group).and_then(|d| d.members.iter().find(|m| m.persona == row.persona));
    let body = body(row, reading);
    let delivery = (yours && row.delivery != Delivery::Reached && !row.retracted)
        .then(|| delivery_words(row.delivery, model.timeline(group).and_then(|t| t.delivery(row.message))));
    let mut spoken = format!("{}, {time}, ", row.name);
    match (&body, &row.content_note) {
        (Body::Text(text) | Body::Folded(text), _) => spoken.push_str(text),
        (Body::Veiled, note) => {
            spoken.push_str(&format!("hidden behind a content note: {}", note.as_deref().unwrap_or("")))
        }
        (Body::Retracted, _) => spoken.push_str("taken back"),
    }
    if row.edited {
        spoken.push_str(", edited");
    }
    if let Some(words) = &delivery {
        spoken.push_str(&format!(", {words}"));
    }
    MessageItem {
        message: row.message,
        persona: row.persona,
        author: row.name.clone(),
        role: member.and_then(|m| role_chip(m.role)),
        time,
        head,
        note: row.content_note.clone(),
        quote: row.reply_to.map(|id| quote(model, group, id)),
        body,
        edited: row.edited && !row.retracted,
        reactions: reactions(model, group, row),
        delivery,
        yours,
        spoken,
    }
}

fn body(row: &MessageRow, reading: &Reading) -> Body {
    if row.retracted {
        return Body::Retracted;
    }
    if row.content_note.is_some() && !reading.shown.contains(&row.message) {
        return Body::Veiled;
    }
    match text::folded(&row.text) {
        Some(part) if !reading.unfolded.contains(&row.message) => Body::Folded(part.into()),
        _ => Body::Text(row.text.as_str().into()),
    }
}

/// A message in one line, for the answer to it. A veil stays down here.
#[must_use]
pub fn quote(model: &Model, group: GroupId, id: MessageId) -> String {
    let Some(row) = model.timeline(group).and_then(|t| t.get(id)) else { return "An earlier message".into() };
    let said = match (&row.content_note, row.retracted) {
        (_, true) => "taken back".into(),
        (Some(note), _) => format!("content note: {note}"),
        (None, _) => row.text.chars().take(120).map(|c| if c.is_control() { ' ' } else { c }).collect::<String>(),
    };
    format!("{}: {said}", row.name)
}

fn reactions(model: &Model, group: GroupId, row: &MessageRow) -> Vec<ReactionItem> {
    let you = model.you(group);
    let r = &row.reactions;
    [(Reaction::WithYou, &r.with_you), (Reaction::MeToo, &r.me_too), (Reaction::ThankYou, &r.thank_you)]
        .into_iter()
        .filter(|(_, who)| !who.is_empty())
        .map(|(reaction, who)| {
            let yours = you.is_some_and(|you| who.contains(&you));
            let words = format!("{} · {}", reaction_words(reaction), names(model, group, who));
            ReactionItem { reaction, words, yours }
        })
        .collect()
}

/// Two names at most; nobody is counted.
fn names(model: &Model, group: GroupId, who: &[PersonaId]) -> String {
    let members = model.details(group).map(|d| d.members.as_slice()).unwrap_or_default();
    let name = |id: &PersonaId| match members.iter().find(|m| m.persona == *id) {
        Some(m) if m.you => "you".to_owned(),
        Some(m) => m.name.clone(),
        None => "somebody".to_owned(),
    };
    match who {
        [] => String::new(),
        [a] => name(a),
        [a, b] => format!("{} and {}", name(a), name(b)),
        [a, b, ..] => format!("{}, {} and others", name(a), name(b)),
    }
}

/// The reaction as people read it.
#[must_use]
pub fn reaction_words(reaction: Reaction) -> &'static str {
    match reaction {
        Reaction::WithYou => "With you",
        Reaction::MeToo => "Me too",
        Reaction::ThankYou => "Thank you",
    }
}

/// Where a message truly is. `counts`: relays, members reached, members in all.
#[must_use]
pub fn delivery_words(state: Delivery, counts: Option<[usize; 3]>) -> String {
    match (state, counts) {
        (Delivery::Queued, _) => "waiting on this computer".into(),
        (Delivery::Held, None) => "held by a relay".into(),
        (Delivery::Held, Some([1, ..])) => "held by 1 relay".into(),
        (Delivery::Held, Some([n, ..])) => format!("held by {n} relays"),
        (Delivery::Reached, Some([_, reached, all])) => format!("reached {reached} of {all} members"),
        (Delivery::Reached, None) => "reached at least one member".into(),
    }
}

fn role_chip(role: RoleName) -> Option<&'static str> {
    (role != RoleName::Member).then(|| role_long(role))
}

/// The role in words.
#[must_use]
pub fn role_long(role: RoleName) -> &'static str {
    match role {
        RoleName::Facilitator => "facilitator",
        RoleName::Cofacilitator => "co-facilitator",
        RoleName::Member => "member",
        RoleName::Newcomer => "newcomer",
        RoleName::Reader => "reader",
    }
}

/// What a role may do, in a sentence.
#[must_use]
pub fn role_means(role: RoleName) -> &'static str {
    match role {
        RoleName::Facilitator => "Invites, welcomes and moderates.",
        RoleName::Cofacilitator => "Helps to welcome and moderate.",
        RoleName::Member => "Reads, writes and reacts.",
        RoleName::Newcomer => "Reads, reacts and writes, at a gentler pace for the first days.",
        RoleName::Reader => "Reads only.",
    }
}

/// A template: its title and whom it is for.
#[must_use]
pub fn template_words(template: TemplateName) -> (&'static str, &'static str) {
    match template {
        TemplateName::Recovery => ("Recovery", "For people who stop, and those who start again."),
        TemplateName::Illness => ("Illness", "For a chronic or rare illness, whatever its name."),
        TemplateName::Caregivers => ("Caregivers", "For those beside somebody who needs them."),
        TemplateName::Grief => ("Grief", "For those who have lost somebody."),
        TemplateName::Open => ("Open circle", "For anything else that is easier together."),
    }
}

/// The history sentence that stands before joining.
#[must_use]
pub fn history_words(days: u16) -> String {
    match days {
        0 => "New members see nothing that was written before they joined.".into(),
        1 => "New members can read the last day before they joined.".into(),
        n => format!("New members can read the last {n} days before they joined."),
    }
}

/// A member's line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberItem {
    /// Persona.
    pub persona: PersonaId,
    /// Name.
    pub name: String,
    /// Role.
    pub role: RoleName,
    /// "facilitator · you".
    pub note: String,
    /// Whether it is oneself.
    pub you: bool,
}

/// Everyone in a group: facilitators first, then by name.
#[must_use]
pub fn members(model: &Model, group: GroupId) -> Vec<MemberItem> {
    let Some(details) = model.details(group) else { return Vec::new() };
    let rank = |role: RoleName| match role {
        RoleName::Facilitator => 0,
        RoleName::Cofacilitator => 1,
        _ => 2,
    };
    let mut items: Vec<MemberItem> = details
        .members
        .iter()
        .map(|m| {
            let mut note = role_long(m.role).to_owned();
            note.push_str(if m.you { " · you" } else { "" });
            note.push_str(if m.unconfirmed { " · joined just now" } else { "" });
            MemberItem { persona: m.persona, name: m.name.clone(), role: m.role, note, you: m.you }
        })
        .collect();
    items.sort_by(|a, b| (rank(a.role), &a.name).cmp(&(rank(b.role), &b.name)));
    items
}

/// Somebody who waits to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnockItem {
    /// Persona.
    pub persona: PersonaId,
    /// The name it would have.
    pub name: String,
    /// What it says of itself.
    pub introduction: String,
    /// "Knocked: Today, 03:10".
    pub since: String,
}

/// Who waits to be let into a group, the oldest first.
#[must_use]
pub fn knocks(model: &Model, group: GroupId, clock: &Clock) -> Vec<KnockItem> {
    let item = |k: &hearth_node::app::KnockRow| KnockItem {
        persona: k.persona,
        name: k.name.clone(),
        introduction: k.introduction.clone(),
        since: format!("Knocked: {}, {}", clock.day(k.at.0.0), clock.time(k.at.0.0)),
    };
    model.knocks(group).iter().map(item).collect()
}

/// "2 people wait to be let in".
#[must_use]
pub fn knock_words(waiting: usize) -> Option<String> {
    match waiting {
        0 => None,
        1 => Some("One person waits to be let in".to_owned()),
        n => Some(format!("{n} people wait to be let in")),
    }
}

/// Whether one may change roles and remove members.
#[must_use]
pub fn may_moderate(model: &Model, group: GroupId) -> bool {
    model.details(group).and_then(|d| d.you()).is_some_and(|you| you.role == RoleName::Facilitator)
}

/// The line below everything: literal.
#[must_use]
pub fn status(model: &Model) -> String {
    let network = model.network();
    let ok = network.relays.values().filter(|s| **s == RelayState::Ok).count();
    let peers = match network.peers {
        // In a private mode members never connect to each other: that is no fault.
        _ if model.mode() != "direct" => None,
        0 if ok == 0 => Some("No member or relay connected".to_owned()),
        0 => Some("No member connected".to_owned()),
        1 => Some("1 connection".to_owned()),
        n => Some(format!("{n} connections")),
    };
    let relays = match (network.relays.len(), ok) {
        (0, _) => "no relay".to_owned(),
        (1, 1) => "1 relay".to_owned(),
        (1, _) => "1 relay, out of reach".to_owned(),
        (n, ok) if n == ok => format!("{n} relays"),
        (n, ok) => format!("{ok} of {n} relays"),
    };
    let mode = match model.mode() {
        "direct" => "Direct mode: members and relays can see your network address",
        "relayed" if network.relays.is_empty() => {
            "Relayed mode: members cannot see your network address; no group has a relay yet"
        }
        "relayed" => match network.seen_by {
            0 => {
                "Relayed mode: members cannot see your network address, and no relay sees it beside what you send there"
            }
            1 => {
                "Relayed mode: members cannot see your network address; one relay can, for there is no other to go through"
            }
            _ => {
                "Relayed mode: members cannot see your network address; some relays can, for there is no other to go through"
            }
        },
        "tor" if ok == 0 => {
            "Tor mode: nobody can see your network address; nothing is sent until a relay is reached through Tor"
        }
        "tor" => "Tor mode: neither members nor relays can see your network address",
        other => other,
    };
    // What is not hidden comes first: a narrow window shows the beginning.
    [Some(mode.to_owned()), peers, Some(relays)].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}
