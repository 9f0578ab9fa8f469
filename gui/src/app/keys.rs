//! Keys that work everywhere.

use eframe::egui::{self, Id, Key, KeyboardShortcut, Modifiers, Rect};
use hearth_protocol::id::GroupId;

use super::Window;
use crate::{
    state::{Act, Dialog, Page},
    views::{composer_id, details_id, groups_id, timeline_id},
};

const CTRL_SHIFT: Modifiers = Modifiers { command: true, shift: true, ..Modifiers::NONE };
const ALT_SHIFT: Modifiers = Modifiers { alt: true, shift: true, ..Modifiers::NONE };

impl Window {
    pub(super) fn keys(&mut self, ctx: &egui::Context) {
        // More specific combinations first: a shortcut also matches with Shift added.
        let pressed = |modifiers: Modifiers, key: Key| {
            ctx.input_mut(|i| i.consume_shortcut(&KeyboardShortcut::new(modifiers, key)))
        };
        if pressed(CTRL_SHIFT, Key::H) {
            self.state.hidden = !self.state.hidden;
            ctx.request_repaint();
        }
        if self.state.hidden {
            ctx.input_mut(|i| i.events.clear());
            return;
        }
        let command = Modifiers::COMMAND;
        if pressed(command, Key::Plus) || pressed(command, Key::Equals) {
            self.zoom(ctx, self.zoom + 0.1);
        }
        if pressed(command, Key::Minus) {
            self.zoom(ctx, self.zoom - 0.1);
        }
        if pressed(command, Key::Num0) {
            self.zoom(ctx, 1.0);
        }
        if self.model.locked() {
            return;
        }
        if pressed(command, Key::L) {
            self.lock(ctx);
            return;
        }
        if pressed(command, Key::Slash) {
            self.state.dialog = Some(Dialog::Help);
        }
        if pressed(command, Key::K) {
            self.state.dialog = Some(Dialog::Jump(String::new()));
        }
        if self.state.dialog.is_some() {
            return;
        }
        for (modifiers, unread) in [(ALT_SHIFT, true), (Modifiers::ALT, false)] {
            for (key, down) in [(Key::ArrowUp, false), (Key::ArrowDown, true)] {
                if pressed(modifiers, key)
                    && let Some(group) = self.neighbour(down, unread)
                {
                    self.act(ctx, Act::Open(group));
                }
            }
        }
        if pressed(Modifiers::SHIFT, Key::F6) {
            self.next_region(ctx, false);
        } else if pressed(Modifiers::NONE, Key::F6) {
            self.next_region(ctx, true);
        }
        if !self.state.composing && ctx.input(|i| i.key_pressed(Key::Escape)) {
            self.escape();
        }
    }

    fn escape(&mut self) {
        match self.state.page {
            Page::Group => {
                if let Some(draft) = self.state.draft() {
                    draft.reply_to = None;
                }
                self.state.focus = Some(composer_id());
            }
            Page::Create | Page::Join | Page::Members | Page::Settings if self.state.group.is_some() => {
                self.state.page = Page::Group;
                self.state.focus = Some(composer_id());
            }
            _ => {}
        }
    }

    fn neighbour(&self, down: bool, unread: bool) -> Option<GroupId> {
        let groups = self.model.groups();
        let at = groups.iter().position(|g| Some(g.group) == self.state.group);
        let order: Vec<usize> = match (at, down) {
            (Some(at), true) => (at + 1..groups.len()).collect(),
            (Some(at), false) => (0..at).rev().collect(),
            (None, _) => (0..groups.len()).collect(),
        };
        order.into_iter().filter_map(|n| groups.get(n)).find(|g| !unread || g.unread > 0).map(|g| g.group)
    }

    /// The regions in reading order, each by what gets its focus.
    fn regions(&self, ctx: &egui::Context) -> Vec<Id> {
        let order = [groups_id(), timeline_id(), composer_id(), details_id()];
        order.into_iter().filter(|id| ctx.read_response(*id).is_some()).collect()
    }

    fn next_region(&mut self, ctx: &egui::Context, forward: bool) {
        let regions = self.regions(ctx);
        let rect = |id: Id| ctx.read_response(id).map(|r| r.rect);
        let here = ctx.memory(egui::Memory::focused).and_then(|id| {
            let exact = regions.iter().position(|r| *r == id);
            exact.or_else(|| regions.iter().position(|r| same_column(rect(*r), rect(id))))
        });
        let count = regions.len();
        let next = match (here, forward) {
            _ if count == 0 => return,
            (None, true) => 0,
            (None, false) => count - 1,
            (Some(n), true) => (n + 1) % count,
            (Some(n), false) => (n + count - 1) % count,
        };
        self.state.focus = regions.get(next).copied();
    }
}

/// Whether two things stand in one pane: panes are side by side, so their columns do not meet.
fn same_column(region: Option<Rect>, focused: Option<Rect>) -> bool {
    match (region, focused) {
        (Some(a), Some(b)) => a.x_range().contains(b.center().x),
        _ => false,
    }
}
