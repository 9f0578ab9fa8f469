//! Where everything stands: regions as explicit rectangles, declared in reading order.

use eframe::egui::{self, Rect, Role, Ui, pos2};
use hearth_node::app::{Command, GroupState, RelayState, RoleName};
use hearth_protocol::id::GroupId;

use super::{Want, Window};
use crate::{
    rows::{self, GroupItem, Item, MemberItem},
    state::{Act, Dialog, Page},
    theme::measure,
    views::{self, composer::ComposerRow, details::DetailsRow, dialogs, header::HeaderRow, timeline::TimelineRow},
    widgets,
};

impl Window {
    pub(super) fn draw(&mut self, ui: &mut Ui) -> Vec<Act> {
        let rect = ui.max_rect();
        if !self.model.known() {
            return Vec::new();
        }
        if self.model.locked() || (self.state.vault.waiting.busy && self.state.group.is_none()) {
            let draft = &mut self.state.vault;
            let exists = self.model.exists();
            return widgets::region(ui, rect, Role::Main, "Start", |ui| {
                if exists { views::unlock::show(ui, draft) } else { views::onboarding::show(ui, draft) }
            });
        }
        self.open_page(ui, rect)
    }

    fn open_page(&mut self, ui: &mut Ui, rect: Rect) -> Vec<Act> {
        let mut acts = Vec::new();
        let p = widgets::colors(ui);
        let groups = rows::groups(&self.model, self.state.group.filter(|_| self.state.page == Page::Group));
        let (body, foot) = rect.split_top_bottom_at_y(rect.bottom() - measure::STATUS);
        let groups_folded = rect.width() < measure::FOLD_GROUPS;
        let left = if groups_folded { body.left() } else { body.left() + measure::GROUPS };
        if !groups_folded {
            let (pane, _) = body.split_left_right_at_x(left);
            ui.painter().rect_filled(pane, 0.0, p.side);
            ui.painter().vline(left - 0.5, pane.y_range(), egui::Stroke::new(1.0, p.line));
            acts.extend(widgets::region(ui, pane, Role::Navigation, "Groups", |ui| views::groups::show(ui, &groups)));
        }
        let in_group = matches!(self.state.page, Page::Group | Page::Members);
        let details_folded = rect.width() < measure::FOLD_DETAILS || self.state.page != Page::Group;
        let right = if details_folded { body.right() } else { body.right() - measure::DETAILS };
        let main = Rect::from_min_max(pos2(left, body.top()), pos2(right, body.bottom()));
        match self.state.group.filter(|_| in_group) {
            Some(group) => {
                let folds = (groups_folded, details_folded);
                acts.extend(self.group(ui, group, main, folds));
                if !details_folded {
                    let pane = Rect::from_min_max(pos2(right, body.top()), body.right_bottom());
                    ui.painter().rect_filled(pane, 0.0, p.side);
                    ui.painter().vline(right + 0.5, pane.y_range(), egui::Stroke::new(1.0, p.line));
                    let row = self.details_row(group);
                    acts.extend(widgets::region(ui, pane, Role::Complementary, "About this group", |ui| {
                        views::details::show(ui, &row)
                    }));
                }
            }
            None => acts.extend(self.page(ui, main, !groups.is_empty(), groups_folded)),
        }
        ui.painter().rect_filled(foot, 0.0, p.side);
        let status = rows::status(&self.model);
        let (toast, announce) = (self.state.toast.clone(), self.state.announce.clone());
        widgets::region(ui, foot, Role::ContentInfo, "Status", |ui| {
            views::status::show(ui, &status, toast.as_deref(), &announce);
        });
        acts.extend(self.dialog(ui, &groups));
        acts
    }

    /// A page that is about no group.
    fn page(&mut self, ui: &mut Ui, rect: Rect, any: bool, groups_folded: bool) -> Vec<Act> {
        let mut acts = Vec::new();
        let mut rect = rect;
        if groups_folded && any {
            let (top, rest) = rect.split_top_bottom_at_y(rect.top() + measure::HEADER);
            let row = HeaderRow { groups_folded, ..HeaderRow::default() };
            acts.extend(widgets::region(ui, top, Role::Banner, "This page", |ui| views::header::show(ui, &row)));
            rect = rest;
        }
        let looks = self.looks;
        let state = &mut self.state;
        acts.extend(widgets::region(ui, rect, Role::Main, "Page", |ui| match state.page {
            Page::Create => views::create::show(ui, &mut state.create),
            Page::Join => views::join::show(ui, false, &mut state.join),
            Page::Settings => views::settings::show(ui, &looks),
            Page::Start | Page::Group | Page::Members => views::start::show(ui, any, &mut state.join),
        }));
        acts
    }

    fn group(&mut self, ui: &mut Ui, group: GroupId, rect: Rect, folds: (bool, bool)) -> Vec<Act> {
        let mut acts = Vec::new();
        let header = self.header_row(group, folds);
        let (top, rest) = rect.split_top_bottom_at_y(rect.top() + measure::HEADER);
        acts.extend(widgets::region(ui, top, Role::Banner, "This group", |ui| views::header::show(ui, &header)));
        if self.state.page == Page::Members {
            let members = rows::members(&self.model, group);
            let (knocks, may) = (rows::knocks(&self.model, group, &self.clock()), self.may_invite(group));
            acts.extend(widgets::region(ui, rest, Role::Main, "Members", |ui| {
                views::members::show(ui, &members, &knocks, may)
            }));
            return acts;
        }
        self.keep_items(group);
        let row = self.composer_row(group);
        let draft = self.state.drafts.entry(group).or_default();
        let tall = views::composer::height(ui, &row, draft, rest.width()).min(rest.height() * 0.6);
        let (above, below) = rest.split_top_bottom_at_y(rest.bottom() - tall);
        let scroll = self.state.scrolls.entry(group).or_default();
        let loaded = self.model.timeline(group).is_some_and(hearth_node::app::Timeline::loaded);
        let timeline = TimelineRow {
            items: &self.kept.items,
            revision: self.kept.revision,
            newest: self.model.timeline(group).is_some_and(hearth_node::app::Timeline::at_end),
            empty: if loaded { "Nothing has been written here yet. A few words are a good beginning." } else { "" },
        };
        acts.extend(widgets::region(ui, above, Role::Main, "Messages of this group", |ui| {
            views::timeline::show(ui, timeline, scroll)
        }));
        acts.extend(widgets::region(ui, below, Role::Form, "Write", |ui| views::composer::show(ui, &row, draft)));
        self.seen(ui.ctx(), group);
        acts
    }

    /// Builds the rows again if anything they show has changed.
    fn keep_items(&mut self, group: GroupId) {
        let clock = self.clock();
        let day = clock.now.as_second().div_euclid(3_600);
        let revision = self.model.revision().wrapping_mul(1 << 20).wrapping_add(self.reading_revision);
        if self.kept.group == Some(group) && self.kept.revision == revision && self.kept.day == day {
            return;
        }
        self.mark_new(group);
        let reading = self.state.reading.entry(group).or_default();
        let items: Vec<Item> = rows::timeline(&self.model, group, reading, &clock);
        let revision = self.model.revision().wrapping_mul(1 << 20).wrapping_add(self.reading_revision);
        self.kept = super::Kept { group: Some(group), revision, day, items };
    }

    /// Where the new messages begin, once they are here.
    fn mark_new(&mut self, group: GroupId) {
        let unread = self.model.group(group).map_or(0, |g| usize::try_from(g.unread).unwrap_or(usize::MAX));
        let Some(timeline) = self.model.timeline(group).filter(|t| t.loaded() && unread > 0) else { return };
        let reading = self.state.reading.entry(group).or_default();
        if reading.new_from.is_none() {
            let you = self.model.you(group);
            let mut others = timeline.rows().rev().filter(|r| Some(r.persona) != you);
            let rows = timeline.rows().len();
            reading.new_from = others.nth(unread.min(rows) - 1).map(|r| r.message);
        }
    }

    /// Tells the store that the newest message has been in sight of somebody.
    fn seen(&mut self, ctx: &egui::Context, group: GroupId) {
        let unread = self.model.group(group).is_some_and(|g| g.unread > 0);
        let newest = self.model.timeline(group).is_some_and(|t| t.loaded() && t.at_end());
        let in_sight = self.state.scrolls.get(&group).is_some_and(|s| s.at_end) && ctx.input(|i| i.focused);
        let asked = self.pending.values().any(|w| matches!(w, Want::Seen));
        if unread && newest && in_sight && !asked {
            self.ask(Command::GroupSeen { group }, Want::Seen);
        }
    }

    fn header_row(&self, group: GroupId, folds: (bool, bool)) -> HeaderRow {
        let count = self.model.details(group).map_or(0, |d| d.members.len());
        let people = match count {
            0 => "end-to-end encrypted".to_owned(),
            1 => "only you so far · end-to-end encrypted".to_owned(),
            n => format!("{n} members · end-to-end encrypted"),
        };
        HeaderRow {
            name: self.model.group(group).map(|g| g.name.clone()).unwrap_or_default(),
            note: people,
            groups_folded: folds.0,
            details_folded: folds.1,
            on_members: self.state.page == Page::Members,
        }
    }

    fn composer_row(&self, group: GroupId) -> ComposerRow {
        let row = self.model.group(group);
        let (name, state) = row.map_or(("", GroupState::Joined), |g| (g.name.as_str(), g.state));
        let reader = self.model.details(group).and_then(|d| d.you()).is_some_and(|m| m.role == RoleName::Reader);
        let closed = match state {
            GroupState::Waiting => Some("You have knocked. You can write once a facilitator has let you in."),
            GroupState::Declined => Some("You were not let in this time."),
            GroupState::Left => Some("You left this group."),
            GroupState::Removed => Some("You were removed from this group. What you wrote and read stays here."),
            GroupState::Joined if reader => Some("You read along here. Reading is taking part."),
            GroupState::Joined => None,
        };
        let reply = self.state.drafts.get(&group).and_then(|d| d.reply_to);
        ComposerRow {
            hint: closed.map_or_else(|| format!("Write to {name}…"), str::to_owned),
            open: closed.is_none(),
            reply: reply.map(|id| rows::quote(&self.model, group, id)),
            composing: self.state.composing,
        }
    }

    fn may_invite(&self, group: GroupId) -> bool {
        let you = self.model.details(group).and_then(|d| d.you());
        you.is_some_and(|you| matches!(you.role, RoleName::Facilitator | RoleName::Cofacilitator))
    }

    fn details_row(&self, group: GroupId) -> DetailsRow {
        let details = self.model.details(group);
        let relays = details.map(|d| d.relays.as_slice()).unwrap_or_default();
        let ok = relays.iter().filter(|r| r.state == RelayState::Ok).count();
        let relays = match (relays.len(), ok) {
            (0, _) => "No relay keeps messages for those who sleep: two of you have to be online at once.".to_owned(),
            (_, 0) => "The relays of this group are out of reach just now.".to_owned(),
            (1, _) => "A relay keeps sealed messages for those who sleep. It cannot read them.".to_owned(),
            (n, ok) => format!("{ok} of {n} relays keep sealed messages for those who sleep. They cannot read them."),
        };
        DetailsRow {
            members: rows::members(&self.model, group),
            charter: details.map(|d| d.charter.clone()).unwrap_or_default(),
            history: details.map(|d| rows::history_words(d.policy.history_days)).unwrap_or_default(),
            relays,
            may_invite: self.may_invite(group),
            knocks: rows::knock_words(self.model.knocks(group).len()),
        }
    }

    fn dialog(&mut self, ui: &Ui, groups: &[GroupItem]) -> Vec<Act> {
        let Some(mut dialog) = self.state.dialog.take() else { return Vec::new() };
        let title = title(&dialog);
        let group = self.state.group;
        let members: Vec<MemberItem> = group.map(|g| rows::members(&self.model, g)).unwrap_or_default();
        let result =
            widgets::dialog(ui, title, measure::DIALOG, |ui| self.inside(ui, &mut dialog, groups, (group, &members)));
        match result {
            Some(acts) => {
                self.state.dialog = Some(dialog);
                acts
            }
            None => {
                self.state.dialog = Some(dialog);
                vec![Act::Close]
            }
        }
    }

    fn inside(
        &self,
        ui: &mut Ui,
        dialog: &mut Dialog,
        groups: &[GroupItem],
        here: (Option<GroupId>, &[MemberItem]),
    ) -> Vec<Act> {
        let gone = || vec![Act::Close];
        let (group, members) = here;
        match (dialog, group) {
            (Dialog::Help, _) => dialogs::help(ui),
            (Dialog::Jump(query), _) => dialogs::jump(ui, groups, query),
            (Dialog::Groups, _) => {
                let tall = 480.0_f32.min(ui.ctx().content_rect().height() - 200.0);
                let (rect, _) = ui.allocate_exact_size(egui::vec2(ui.available_width(), tall), egui::Sense::hover());
                let mut child = ui.new_child(egui::UiBuilder::new().max_rect(rect));
                let mut acts = views::groups::show(&mut child, groups);
                if !acts.is_empty() {
                    acts.insert(0, Act::Close);
                }
                acts
            }
            (Dialog::Actions(id), Some(g)) => {
                let item = self.kept.items.iter().filter_map(Item::message).find(|m| m.message == *id);
                let seen = item.is_some_and(|m| matches!(m.body, rows::Body::Text(_) | rows::Body::Folded(_)));
                let timeline = self.model.timeline(g);
                let row = timeline.and_then(|t| t.get(*id));
                let counts = timeline.and_then(|t| t.delivery(*id));
                let delivery = row.map(|r| rows::delivery_words(r.delivery, counts)).unwrap_or_default();
                let text = row.map(|r| r.text.as_str()).filter(|_| seen);
                item.map_or_else(gone, |m| dialogs::actions(ui, m, text, &delivery))
            }
            (Dialog::Invite(draft), Some(_)) => {
                let seconds = i64::try_from(draft.days.saturating_mul(86_400)).unwrap_or(0);
                let clock = self.clock();
                let until = u64::try_from(clock.now.as_millisecond().saturating_add(seconds * 1_000)).unwrap_or(0);
                views::invite::show(ui, &clock.date(until), draft)
            }
            (Dialog::Member(who), Some(g)) => {
                let may = rows::may_moderate(&self.model, g);
                dialogs::find(members, *who).map_or_else(gone, |m| dialogs::member(ui, m, may))
            }
            (Dialog::Role(who, role), Some(g)) => {
                dialogs::find(members, *who).map_or_else(gone, |m| dialogs::role(ui, m, g, *role))
            }
            (Dialog::Remove(who, reason), Some(g)) => {
                dialogs::find(members, *who).map_or_else(gone, |m| dialogs::remove(ui, m, g, reason))
            }
            (Dialog::Retract(id), Some(g)) => dialogs::retract(ui, g, *id),
            (Dialog::Leave, Some(g)) => dialogs::leave(ui, g),
            (Dialog::Relay(address), Some(g)) => dialogs::relay(ui, g, address),
            (_, None) => gone(),
        }
    }
}

fn title(dialog: &Dialog) -> &'static str {
    match dialog {
        Dialog::Help => "Keys",
        Dialog::Jump(_) => "Jump to",
        Dialog::Actions(_) => "This message",
        Dialog::Invite(draft) if draft.made.is_some() => "The invite is ready",
        Dialog::Invite(_) => "Invite somebody",
        Dialog::Member(_) => "Member",
        Dialog::Role(..) => "Change the role?",
        Dialog::Remove(..) => "Remove from the group?",
        Dialog::Retract(_) => "Take this message back?",
        Dialog::Leave => "Leave the group?",
        Dialog::Relay(_) => "Add a relay",
        Dialog::Groups => "Groups",
    }
}
