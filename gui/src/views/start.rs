//! No group is open: the next step in one sentence.

use eframe::egui::{Sense, Ui, vec2};

use super::centered;
use crate::{
    state::{Act, JoinDraft, Page},
    theme::{measure, size, space},
    widgets::{self, Loud},
};

/// A small flame in a circle.
pub fn lamp(ui: &mut Ui) {
    let p = widgets::colors(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(44.0, 44.0), Sense::hover());
    ui.painter().circle_filled(rect.center(), 22.0, p.support);
    ui.painter().circle_filled(rect.center() + vec2(0.0, 3.0), 8.5, p.on_support);
    let tip = rect.center() + vec2(0.0, -13.0);
    let left = rect.center() + vec2(-7.6, -1.0);
    let right = rect.center() + vec2(7.6, -1.0);
    let flame = eframe::egui::Shape::convex_polygon(vec![tip, right, left], p.on_support, eframe::egui::Stroke::NONE);
    ui.painter().add(flame);
    ui.painter().circle_filled(rect.center() + vec2(0.0, 5.0), 3.6, p.support);
}

/// Draws it. With no group at all, the link's field is here already.
pub fn show(ui: &mut Ui, any_group: bool, join: &mut JoinDraft) -> Vec<Act> {
    if !any_group {
        return super::join::show(ui, true, join);
    }
    let mut acts = Vec::new();
    centered(ui, "start", measure::FORM, |ui| {
        lamp(ui);
        widgets::heading(ui, "Good to see you", size::SCREEN);
        widgets::body(ui, "Choose a group on the left, or begin something new.");
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = space::S;
            if widgets::button(ui, Loud::Plain, "Join with a link").clicked() {
                acts.push(Act::Show(Page::Join));
            }
            if widgets::button(ui, Loud::Plain, "Create a group").clicked() {
                acts.push(Act::Show(Page::Create));
            }
        });
    });
    acts
}
