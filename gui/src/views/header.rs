//! The line above a timeline: which group, who is in it.

use eframe::egui::{Align, Layout, Role, Sense, Ui, UiBuilder, WidgetInfo, vec2};

use crate::{
    fonts,
    state::{Act, Dialog, Page},
    text::{self, Pen},
    theme::{size, space},
    widgets::{self, Loud},
};

/// The least room, in points, that who is in the group is shown in; its name needs half.
const NOTE_MIN: f32 = 80.0;

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
    let back = ["Back to the messages", "Back"];
    let fits = |label: &&str| widgets::button_width(ui, label) + NOTE_MIN <= ui.available_width();
    let button = match (row.on_members, row.details_folded) {
        (true, _) => Some((back.into_iter().find(fits).unwrap_or("Back"), Page::Group)),
        (false, true) => Some(("Members", Page::Members)),
        (false, false) => None,
    };
    // The words give way to the button, never the other way round.
    let taken = button.map_or(0.0, |(label, _)| widgets::button_width(ui, label) + space::M);
    let room = ui.available_width() - taken - space::XL;
    let name = if room < NOTE_MIN / 2.0 { "" } else { row.name.as_str() };
    let name = text::line(ui, name, &Pen::new(fonts::bold(size::TITLE), p.text), room.max(0.0));
    let left = room - name.size().x;
    let (at, heading) = ui.allocate_exact_size(name.size(), Sense::hover());
    ui.painter().galley(at.min, name, p.text);
    ui.ctx().accesskit_node_builder(heading.id, |node| {
        node.set_role(Role::Heading);
        node.set_label(row.name.as_str());
    });
    ui.add_space(space::XS);
    // A few letters of it would say nothing; who hears it, hears all of it.
    let note = if left < NOTE_MIN { "" } else { row.note.as_str() };
    let note = text::line(ui, note, &Pen::new(fonts::regular(size::NOTE), p.secondary), left.max(NOTE_MIN));
    let (at, said) = ui.allocate_exact_size(note.size(), Sense::hover());
    said.widget_info(|| WidgetInfo::labeled(Role::Label, true, &row.note));
    ui.painter().galley(at.min, note, p.secondary);
    if let Some((label, page)) = button {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if widgets::button(ui, Loud::Plain, label).clicked() {
                acts.push(Act::Show(page));
            }
        });
    }
    acts
}
