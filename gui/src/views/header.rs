//! The line above a timeline: which group, who is in it.

use eframe::egui::{Align, Layout, Ui, UiBuilder, vec2};

use crate::{
    fonts,
    state::{Act, Dialog, Page},
    text::{self, Pen},
    theme::{size, space},
    widgets::{self, Loud},
};

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderRow {
    /// The group's name.
    pub name: String,
    /// "8 members · end-to-end encrypted".
    pub note: String,
    /// Whether the groups pane is folded away.
    pub groups_folded: bool,
    /// Whether the details pane is folded away.
    pub details_folded: bool,
    /// Whether the members page is shown.
    pub on_members: bool,
}

/// Draws it.
pub fn show(ui: &mut Ui, row: &HeaderRow) -> Vec<Act> {
    let mut acts = Vec::new();
    let p = widgets::colors(ui);
    let rect = ui.max_rect();
    ui.painter().hline(rect.x_range(), rect.bottom() - 0.5, eframe::egui::Stroke::new(1.0, p.line));
    let inner = rect.shrink2(vec2(space::L, 0.0));
    let mut ui = ui.new_child(UiBuilder::new().max_rect(inner).layout(Layout::left_to_right(Align::Center)));
    let ui = &mut ui;
    if row.groups_folded && widgets::button(ui, Loud::Plain, "Groups").clicked() {
        acts.push(Act::Ask(Dialog::Groups));
    }
    let room = ui.available_width() - 120.0;
    let name = text::line(ui, &row.name, &Pen::new(fonts::bold(size::TITLE), p.text), room * 0.6);
    let left = room - name.size().x;
    let (at, heading) = ui.allocate_exact_size(name.size(), eframe::egui::Sense::hover());
    ui.painter().galley(at.min, name, p.text);
    ui.ctx().accesskit_node_builder(heading.id, |node| {
        node.set_role(eframe::egui::Role::Heading);
        node.set_label(row.name.as_str());
    });
    ui.add_space(space::XS);
    let note = text::line(ui, &row.note, &Pen::new(fonts::regular(size::NOTE), p.secondary), left.max(20.0));
    let (at, _) = ui.allocate_exact_size(note.size(), eframe::egui::Sense::hover());
    ui.painter().galley(at.min, note, p.secondary);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        if row.on_members {
            if widgets::button(ui, Loud::Plain, "Back to the messages").clicked() {
                acts.push(Act::Show(Page::Group));
            }
        } else if row.details_folded && widgets::button(ui, Loud::Plain, "Members").clicked() {
            acts.push(Act::Show(Page::Members));
        }
    });
    acts
}
