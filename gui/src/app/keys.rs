//! Keys that work everywhere.

use eframe::egui::{self, Id, Key, KeyboardShortcut, Modifiers, Rect};
use hearth_protocol::id::GroupId;

use super::Window;
use crate::{
    state::{Act, Dialog, Page},
    views::composer_id,
};

const CTRL_SHIFT: Modifiers = Modifiers { command: true, shift: true, ..Modifiers::NONE };
const ALT_SHIFT: Modifiers = Modifiers { alt: true, shift: true, ..Modifiers::NONE };

impl Window {
    pub(super) fn keys(&mut self, ctx: &egui::Context, regions: &[Rect]) {
        // More specific combinations first: a shortcut also matches with Shift added.
        let pressed = |modifiers: Modifiers, key: Key| {
            ctx.input_mut(|i| i.consume_shortcut(&KeyboardShortcut::new(modifiers, key)))
        };
        if pressed(CTRL_SHIFT, Key::H) {
            self.hide(ctx);
        }
        if self.state.hidden {
            ctx.input_mut(|i| i.events.clear());
            return;
        }
        let command = Modifiers::COMMAND;
        if pressed(command, Key::Plus) || pressed(command, Key::Equals) {
            self.zoom(ctx, self.looks.zoom + 0.1);
        }
        if pressed(command, Key::Minus) {
            self.zoom(ctx, self.looks.zoom - 0.1);
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
            self.next_region(ctx, regions, false);
        } else if pressed(Modifiers::NONE, Key::F6) {
            self.next_region(ctx, regions, true);
        }
        if !self.state.composing && ctx.input(|i| i.key_pressed(Key::Escape)) {
            self.escape();
        }
    }

    /// An empty page at once; whoever brings the window back has to know the passphrase.
    fn hide(&mut self, ctx: &egui::Context) {
        self.state.hidden = !self.state.hidden;
        if self.state.hidden && !self.model.locked() {
            self.lock(ctx);
        }
        ctx.request_repaint();
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

    /// From the region that has the focus to the next one with something in it that can have it.
    fn next_region(&mut self, ctx: &egui::Context, regions: &[Rect], forward: bool) {
        let focused = ctx.memory(egui::Memory::focused).and_then(|id| ctx.read_response(id)).map(|r| r.rect.center());
        let here = focused.and_then(|at| regions.iter().position(|r| r.contains(at)));
        let count = regions.len();
        let start = here.unwrap_or(if forward { count.wrapping_sub(1) } else { 0 });
        let step = |n: usize| (start + if forward { n } else { count - n }) % count;
        self.state.focus = (1..=count).map(step).find_map(|n| first_in(ctx, *regions.get(n)?));
    }
}

/// What gets the focus of a region: where one writes, or else the first thing that can have it.
fn first_in(ctx: &egui::Context, region: Rect) -> Option<Id> {
    ctx.viewport(|viewport| {
        let widgets = viewport.prev_pass.widgets.get_layer(egui::LayerId::background());
        // Only what is in sight: a long pane goes on behind the region below it.
        let seen = |w: Rect| w.is_positive() && region.contains(w.center());
        let able = widgets.filter(|w| w.enabled && w.sense.is_focusable() && seen(w.interact_rect));
        let ids: Vec<Id> = able.map(|w| w.id).collect();
        ids.iter().find(|id| **id == composer_id()).or(ids.first()).copied()
    })
}
