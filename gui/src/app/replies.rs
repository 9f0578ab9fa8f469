//! Replies into the window's memory.

use hearth_node::app::{Answer, GroupState, Kind, Refusal};
use hearth_protocol::id::GroupId;

use super::{Want, Window};
use crate::state::{Dialog, Draft, Inspected, Page};

impl Window {
    pub(super) fn answered(&mut self, want: Want, answer: Answer) {
        match (want, answer) {
            (Want::Vault, _) => {
                self.state.vault = Default::default();
                self.state.page = Page::Start;
            }
            (Want::Lock, _) => {
                self.state.vault.waiting = Default::default();
            }
            (Want::Create, Answer::GroupCreated { group, .. }) => {
                self.state.create = Default::default();
                self.open_group(group);
            }
            (Want::Inspect, Answer::Inspected { group_name, charter, join, history_days, members_hint, .. }) => {
                let draft = &mut self.state.join;
                draft.waiting = Default::default();
                draft.inspected = Some(Inspected { group_name, charter, join, history_days, members: members_hint });
            }
            (Want::Join, Answer::Joined { group, state, .. }) => {
                self.state.join.link.wipe();
                self.state.join = Default::default();
                self.open_group(group);
                if state == GroupState::Waiting {
                    self.say("You have knocked. A facilitator lets you in");
                }
            }
            (Want::Send(group, held), _) => {
                // What was sent is no draft any more.
                self.keep_draft(group);
                drop(held);
            }
            (Want::Looks, Answer::Settings { look, zoom_percent, still }) => {
                self.looks_came(look, zoom_percent, still);
            }
            (Want::Void, _) => self.say("The link is void"),
            (Want::Draft(group), Answer::Draft { text }) => {
                if let Some(draft) = self.state.drafts.get_mut(&group)
                    && draft.text.is_empty()
                    && draft.touched.is_none()
                {
                    text.expose().clone_into(&mut draft.text);
                    text.expose().clone_into(&mut draft.saved);
                }
            }
            (Want::Invite, Answer::Invite { invite, link, held }) => {
                if let Some(Dialog::Invite(draft)) = &mut self.state.dialog {
                    draft.waiting = Default::default();
                    draft.made = Some((invite, link, held));
                }
            }
            (Want::Told, Answer::Motion { state: hearth_node::app::MotionState::Pending, signatures, needed }) => {
                self.say(format!("Waiting for other facilitators: {signatures} of {needed} have agreed"));
            }
            _ => {}
        }
    }

    pub(super) fn refused(&mut self, want: Want, refusal: &Refusal) {
        let words = sentence(refusal);
        match want {
            Want::Vault => {
                self.state.vault.pass.wipe();
                self.state.vault.again.wipe();
                self.state.vault.waiting.refused(words);
            }
            Want::Lock => self.state.vault.waiting = Default::default(),
            Want::Create => self.state.create.waiting.refused(words),
            Want::Inspect | Want::Join => self.state.join.waiting.refused(words),
            Want::Invite => {
                if let Some(Dialog::Invite(draft)) = &mut self.state.dialog {
                    draft.waiting.refused(words);
                }
            }
            Want::Send(group, held) => self.give_back(group, *held, words),
            Want::Told | Want::Void => self.say(words),
            Want::Draft(_) | Want::Looks | Want::Seen | Want::Quiet => {}
        }
    }

    /// A message that was not taken stands in the composer again, before whatever was typed since.
    fn give_back(&mut self, group: GroupId, mut held: Draft, words: String) {
        let draft = self.state.drafts.entry(group).or_default();
        if !draft.text.is_empty() {
            held.text.push('\n');
            held.text.push_str(&draft.text);
        }
        held.saved = std::mem::take(&mut draft.saved);
        held.problem = Some(words);
        *draft = held;
    }
}

/// What happened and what to do.
fn sentence(refusal: &Refusal) -> String {
    match refusal.kind {
        Kind::BadPassphrase => "That was not it. Take your time and try again.".into(),
        Kind::Exhausted => "Every use of this invite is taken. Ask for a new one.".into(),
        Kind::Expired => "This invite has ended. Ask for a new one.".into(),
        _ => {
            let mut words = refusal.message.to_owned();
            if let Some(first) = words.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            words.push_str(if words.ends_with('.') { "" } else { "." });
            words
        }
    }
}
