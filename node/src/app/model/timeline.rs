//! A bounded window onto one group's messages.

use std::collections::{BTreeMap, VecDeque};

use hearth_protocol::id::{GroupId, MessageId, PersonaId};

use crate::app::{Command, Delivery, MessageRow};

/// Messages asked for at a time.
pub const TIMELINE_PAGE: u32 = 100;
/// Messages kept: the rest is dropped at the end far from the reader, and asked for again when they come near.
pub const TIMELINE_WINDOW: usize = 400;
/// Delivery questions asked after a page.
const UNCOUNTED_MAX: usize = 16;

/// An end of the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// The oldest message here.
    Oldest,
    /// The newest message here.
    Newest,
}

/// Which page a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Newest,
    Before(MessageId),
    After(MessageId),
}

impl Page {
    pub(super) fn of(before: Option<MessageId>, after: Option<MessageId>) -> Self {
        match (before, after) {
            (Some(id), _) => Self::Before(id),
            (None, Some(id)) => Self::After(id),
            (None, None) => Self::Newest,
        }
    }
}

/// Messages in the group's own order, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    rows: VecDeque<MessageRow>,
    counts: BTreeMap<MessageId, [usize; 3]>,
    anchor: Option<MessageId>,
    loaded: bool,
    at_start: bool,
    at_end: bool,
    fetching: bool,
}

impl Timeline {
    /// The messages here, oldest first.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &MessageRow> + DoubleEndedIterator {
        self.rows.iter()
    }

    /// Whether the first page has arrived.
    #[must_use]
    pub fn loaded(&self) -> bool {
        self.loaded
    }

    /// Whether the group's first message is here.
    #[must_use]
    pub fn at_start(&self) -> bool {
        self.at_start
    }

    /// Whether the group's newest message is here.
    #[must_use]
    pub fn at_end(&self) -> bool {
        self.at_end
    }

    /// A message that is here.
    #[must_use]
    pub fn get(&self, message: MessageId) -> Option<&MessageRow> {
        self.rows.iter().find(|r| r.message == message)
    }

    /// Relays that hold it, members reached, members in all; `None` while nobody has said.
    #[must_use]
    pub fn delivery(&self, message: MessageId) -> Option<[usize; 3]> {
        self.counts.get(&message).copied()
    }

    pub(super) fn newest_command(group: GroupId) -> Command {
        Self::list(group, None, None)
    }

    fn list(group: GroupId, before: Option<MessageId>, after: Option<MessageId>) -> Command {
        let newest = (before.is_none() && after.is_none()).then_some(true);
        Command::MessageList { group, topic: None, before, after, limit: Some(TIMELINE_PAGE), newest }
    }

    pub(super) fn set_anchor(&mut self, at: MessageId) {
        self.anchor = Some(at);
    }

    pub(super) fn fetch(&mut self, group: GroupId, edge: Reach) -> Option<Command> {
        if self.fetching || !self.loaded {
            return None;
        }
        let command = match edge {
            Reach::Oldest if !self.at_start => Self::list(group, Some(self.rows.front()?.message), None),
            Reach::Newest if !self.at_end => Self::list(group, None, Some(self.rows.back()?.message)),
            _ => return None,
        };
        self.fetching = true;
        Some(command)
    }

    pub(super) fn fetch_failed(&mut self) {
        self.fetching = false;
    }

    pub(super) fn merge(&mut self, page: Page, rows: &[MessageRow]) {
        let whole = rows.len() < TIMELINE_PAGE as usize;
        self.fetching = false;
        self.loaded = true;
        match page {
            Page::Newest => {
                let overlap = rows.first().and_then(|first| self.rows.iter().position(|r| r.message == first.message));
                match overlap {
                    Some(at) => self.rows.truncate(at),
                    None => {
                        self.rows.clear();
                        self.at_start = whole;
                    }
                }
                self.rows.extend(rows.iter().cloned());
                self.at_end = true;
            }
            Page::Before(id) if self.rows.front().is_some_and(|r| r.message == id) => {
                for row in rows.iter().rev() {
                    self.rows.push_front(row.clone());
                }
                self.at_start = whole;
            }
            Page::After(id) if self.rows.back().is_some_and(|r| r.message == id) => {
                self.rows.extend(rows.iter().cloned());
                self.at_end = whole;
            }
            // The window has moved on since this page was asked for.
            Page::Before(_) | Page::After(_) => {}
        }
        self.trim();
    }

    /// Takes a new message in. Says whether its place is in doubt, so that the newest page has to be read again.
    pub(super) fn push(&mut self, row: &MessageRow) -> bool {
        if self.replace(row) || !self.loaded {
            return false;
        }
        if !self.at_end {
            return false;
        }
        let newer = self.rows.back().is_none_or(|last| last.sent_at < row.sent_at);
        let at = self.rows.partition_point(|r| r.sent_at <= row.sent_at);
        self.rows.insert(at, row.clone());
        self.trim();
        !newer
    }

    /// Takes a changed message in. Says whether it was here.
    pub(super) fn replace(&mut self, row: &MessageRow) -> bool {
        match self.rows.iter_mut().find(|r| r.message == row.message) {
            Some(old) => {
                old.clone_from(row);
                true
            }
            None => false,
        }
    }

    pub(super) fn set_delivery(&mut self, message: MessageId, state: Delivery, counts: [usize; 3]) {
        if let Some(row) = self.rows.iter_mut().find(|r| r.message == message) {
            row.delivery = state;
            self.counts.insert(message, counts);
        }
    }

    pub(super) fn uncounted(&self, you: PersonaId) -> Vec<MessageId> {
        let held = self.rows.iter().rev().filter(|r| r.persona == you && r.delivery == Delivery::Held);
        held.map(|r| r.message).filter(|id| !self.counts.contains_key(id)).take(UNCOUNTED_MAX).collect()
    }

    fn trim(&mut self) {
        let excess = self.rows.len().saturating_sub(TIMELINE_WINDOW);
        if excess == 0 {
            return;
        }
        let half = self.rows.len() / 2;
        let reading = self.anchor.and_then(|id| self.rows.iter().position(|r| r.message == id));
        if reading.is_some_and(|at| at < half) {
            self.rows.truncate(TIMELINE_WINDOW);
            self.at_end = false;
        } else {
            self.rows.drain(..excess);
            self.at_start = false;
        }
        let Self { rows, counts, .. } = self;
        counts.retain(|id, _| rows.iter().any(|r| r.message == *id));
    }
}
