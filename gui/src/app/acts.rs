//! Acts into commands.

use eframe::egui;
use hearth_node::app::{Command, GroupState, PersonaChoice, Secret};
use hearth_protocol::id::{GroupId, MessageId};

use super::{CLIPBOARD_KEEPS, Want, Window};
use crate::{
    secret::SecretBuffer,
    state::{Act, CreateDraft, Dialog, Draft, JoinDraft, Page},
    views::composer_id,
    widgets::Field,
};

impl Window {
    pub(super) fn act(&mut self, ctx: &egui::Context, act: Act) {
        match act {
            Act::CreateVault | Act::Unlock => self.vault(ctx, matches!(act, Act::CreateVault)),
            Act::Lock => self.lock(ctx),
            Act::Show(page) => self.show(page),
            Act::Open(group) => self.open_group(group),
            Act::Ask(dialog) => {
                if let (Dialog::Actions(message), Some(group)) = (&dialog, self.state.group) {
                    self.ask(Command::MessageStatus { group, message: *message }, Want::Quiet);
                }
                self.state.dialog = Some(dialog);
            }
            Act::Close => self.close_dialog(),
            Act::CreateGroup => self.create_group(),
            Act::Inspect => {
                let link = self.state.join.link.secret();
                self.state.join.waiting.begin();
                self.ask(Command::InviteInspect { link }, Want::Inspect);
            }
            Act::Join => self.join(),
            Act::Send => self.send(ctx),
            Act::Reply(message) => self.with_draft(|d| {
                d.reply_to = Some(message);
                d.editing = None;
            }),
            Act::Edit(message) => self.edit(message),
            Act::Copy(text) => {
                ctx.copy_text(text);
                self.clipboard_until = None;
                self.say("Copied");
            }
            Act::CopyLink(link) => {
                ctx.copy_text(link.expose().to_owned());
                self.clipboard_until = Some(ctx.input(|i| i.time) + CLIPBOARD_KEEPS);
            }
            Act::Admit(persona) => self.answer_knock(|group| Command::KnockAdmit { group, persona }),
            Act::Decline(persona) => self.answer_knock(|group| Command::KnockDecline { group, persona }),
            Act::MakeInvite => self.make_invite(),
            Act::RevokeInvite(invite) => {
                if let Some(group) = self.state.group {
                    self.ask(Command::InviteRevoke { group, invite }, Want::Void);
                    self.close_dialog();
                }
            }
            Act::Theme(theme) => self.choose_theme(ctx, theme),
            Act::Zoom(zoom) => self.zoom(ctx, zoom),
            Act::Still(still) => self.be_still(ctx, still),
            Act::Command(command) => self.ask(command, Want::Told),
            Act::React(message, reaction, on) => {
                if let Some(group) = self.state.group {
                    self.ask(Command::MessageReact { group, message, reaction, on }, Want::Told);
                }
            }
            Act::Veil(..) | Act::Unfold(_) | Act::Reading(..) | Act::Newest => self.read(&act),
        }
    }

    fn read(&mut self, act: &Act) {
        let Some(group) = self.state.group else { return };
        let reading = self.state.reading.entry(group).or_default();
        match act {
            Act::Veil(message, show) => {
                if *show {
                    reading.shown.insert(*message);
                } else {
                    reading.shown.remove(message);
                }
                self.reading_revision += 1;
            }
            Act::Unfold(message) => {
                reading.unfolded.insert(*message);
                self.reading_revision += 1;
            }
            Act::Reading(message, edge) => self.model.reading(group, *message, *edge),
            Act::Newest => {
                self.model.jump_to_newest(group);
                self.state.scrolls.entry(group).or_default().at_end = true;
            }
            _ => {}
        }
    }

    fn vault(&mut self, ctx: &egui::Context, create: bool) {
        let passphrase = self.state.vault.pass.secret();
        self.state.vault.waiting.begin();
        let command = if create { Command::VaultCreate { passphrase } } else { Command::VaultUnlock { passphrase } };
        self.ask(command, Want::Vault);
        for field in ["new-pass", "new-pass-again", "passphrase"] {
            SecretBuffer::forget_undo(ctx, Field::new(field, "").id);
        }
    }

    pub(super) fn lock(&mut self, ctx: &egui::Context) {
        let groups: Vec<GroupId> = self.state.drafts.keys().copied().collect();
        for group in groups {
            self.keep_draft(group);
        }
        SecretBuffer::forget_undo(ctx, composer_id());
        self.ask(Command::VaultLock {}, Want::Lock);
        // Nothing of it stays on screen while the reply is on its way.
        self.state.forget();
        self.kept = super::Kept::default();
        self.state.vault.waiting.begin();
    }

    pub(super) fn show(&mut self, page: Page) {
        match page {
            Page::Join => self.state.join = JoinDraft::default(),
            Page::Create => self.state.create = CreateDraft::default(),
            _ => {}
        }
        self.state.page = page;
        self.state.dialog = None;
    }

    pub(super) fn open_group(&mut self, group: GroupId) {
        if let Some(before) = self.state.group.filter(|g| *g != group) {
            self.keep_draft(before);
        }
        self.state.dialog = None;
        self.state.page = Page::Group;
        self.state.group = Some(group);
        self.state.announce.clear();
        self.model.open(group);
        let reading = self.state.reading.entry(group).or_default();
        reading.new_from = None;
        self.reading_revision += 1;
        if let std::collections::btree_map::Entry::Vacant(empty) = self.state.drafts.entry(group) {
            empty.insert(Draft::default());
            self.ask(Command::DraftGet { group }, Want::Draft(group));
        }
        self.state.scrolls.entry(group).or_default().at_end = true;
        let joined = self.model.group(group).is_none_or(|g| g.state == GroupState::Joined);
        self.state.focus = joined.then(composer_id);
        self.ask_wants();
    }

    pub(super) fn close_dialog(&mut self) {
        let was = self.state.dialog.take();
        if self.state.page == Page::Group && self.state.group.is_some() {
            self.state.focus = match was {
                Some(Dialog::Actions(_) | Dialog::Retract(_)) => Some(crate::views::timeline_id()),
                _ => Some(composer_id()),
            };
        }
    }

    fn create_group(&mut self) {
        let draft = &mut self.state.create;
        draft.waiting.begin();
        let command = Command::GroupCreate {
            name: draft.name.trim().to_owned(),
            template: Some(draft.template),
            join: draft.join,
            history_days: Some(draft.history_days),
            persona: Some(PersonaChoice { name: Some(draft.persona.trim().to_owned()) }),
        };
        self.ask(command, Want::Create);
    }

    fn join(&mut self) {
        let draft = &mut self.state.join;
        draft.waiting.begin();
        let command = Command::GroupJoin {
            link: draft.link.secret(),
            persona: Some(PersonaChoice { name: Some(draft.persona.trim().to_owned()) }),
            introduction: Some(draft.introduction.trim().to_owned()).filter(|words| !words.is_empty()),
            accept_charter: true,
        };
        self.ask(command, Want::Join);
    }

    fn answer_knock(&mut self, command: impl FnOnce(GroupId) -> Command) {
        if let Some(group) = self.state.group {
            self.ask(command(group), Want::Told);
        }
    }

    fn with_draft(&mut self, change: impl FnOnce(&mut Draft)) {
        if let Some(draft) = self.state.draft() {
            change(draft);
            self.state.focus = Some(composer_id());
        }
    }

    fn edit(&mut self, message: MessageId) {
        let row = self.state.group.and_then(|g| self.model.timeline(g)).and_then(|t| t.get(message));
        let Some(text) = row.map(|r| r.text.clone()) else { return };
        let busy = self.state.draft().is_some_and(|d| !d.text.trim().is_empty());
        if busy {
            // A half-written message is never thrown away for another.
            self.say("Send or clear what you are writing first");
            return;
        }
        self.with_draft(|d| {
            d.editing = Some(message);
            d.reply_to = None;
            d.text = text;
        });
    }

    fn send(&mut self, ctx: &egui::Context) {
        let Some(group) = self.state.group else { return };
        let Some(draft) = self.state.draft() else { return };
        let text = draft.text.trim_end().to_owned();
        if text.trim().is_empty() {
            return;
        }
        let saved = draft.saved.clone();
        let held = std::mem::take(draft);
        draft.saved = saved;
        let command = match held.editing {
            Some(message) => Command::MessageEdit { group, message, text },
            None => Command::MessageSend {
                group,
                text,
                topic: None,
                reply_to: held.reply_to,
                content_note: (!held.note.trim().is_empty()).then(|| held.note.trim().to_owned()),
                expires_in_s: None,
                library_consent: None,
            },
        };
        self.ask(command, Want::Send(group, Box::new(held)));
        SecretBuffer::forget_undo(ctx, composer_id());
        let scroll = self.state.scrolls.entry(group).or_default();
        scroll.at_end = true;
        self.model.jump_to_newest(group);
        if let Some(reading) = self.state.reading.get_mut(&group) {
            reading.new_from = None;
            self.reading_revision += 1;
        }
        self.state.focus = Some(composer_id());
    }

    /// Keeps an unfinished text, sealed, if it changed.
    pub(super) fn keep_draft(&mut self, group: GroupId) {
        let Some(draft) = self.state.drafts.get_mut(&group) else { return };
        draft.touched = None;
        // A text that is being changed is in the timeline already.
        if draft.editing.is_some() || draft.text == draft.saved {
            return;
        }
        draft.saved.clone_from(&draft.text);
        let text = Secret::new(draft.text.clone());
        self.ask(Command::DraftSet { group, text }, Want::Quiet);
    }

    fn make_invite(&mut self) {
        let Some(group) = self.state.group else { return };
        let Some(Dialog::Invite(draft)) = &mut self.state.dialog else { return };
        draft.waiting.begin();
        let command = Command::InviteCreate {
            group,
            uses: Some(draft.uses),
            expires_in_s: Some(draft.days.saturating_mul(86_400)),
            role: None,
        };
        self.ask(command, Want::Invite);
    }
}
