//! Who has knocked: what they say of themselves, and the two answers.

use eframe::egui::{Ui, vec2};

use crate::{
    rows::KnockItem,
    state::Act,
    theme::{measure, size, space},
    widgets::{self, Loud},
};

/// Draws everybody who waits, the oldest first.
pub fn show(ui: &mut Ui, items: &[KnockItem]) -> Vec<Act> {
    let mut acts = Vec::new();
    if items.is_empty() {
        return acts;
    }
    widgets::heading(ui, "Waiting to be let in", size::SECTION);
    widgets::note(ui, "Until you let them in they see the group's name and charter, and nothing of what is said.");
    for item in items {
        ui.add_space(space::XS);
        widgets::card(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.spacing_mut().item_spacing.y = space::S;
            ui.horizontal(|ui| {
                let (rect, _) =
                    ui.allocate_exact_size(vec2(measure::AVATAR, measure::AVATAR), eframe::egui::Sense::hover());
                widgets::avatar(ui, rect.center(), measure::AVATAR, &item.name, &item.persona.0);
                ui.vertical(|ui| {
                    widgets::heading(ui, &item.name, size::BODY);
                    widgets::note(ui, &item.since);
                });
            });
            if item.introduction.is_empty() {
                widgets::note(ui, "They wrote nothing about themselves.");
            } else {
                widgets::body(ui, &item.introduction);
            }
            ui.horizontal(|ui| {
                if widgets::button(ui, Loud::Primary, &format!("Let {} in", item.name)).clicked() {
                    acts.push(Act::Admit(item.persona));
                }
                if widgets::button(ui, Loud::Plain, &format!("Decline {}", item.name)).clicked() {
                    acts.push(Act::Decline(item.persona));
                }
            });
        });
    }
    ui.add_space(space::M);
    acts
}
