//! Settings: the look, the size, the lock.

use eframe::egui::{ThemePreference, Ui};

use super::centered;
use crate::{
    state::{Act, Dialog},
    theme::{measure, size, space},
    widgets::{self, Loud},
};

/// Draws it.
pub fn show(ui: &mut Ui, look: ThemePreference, zoom: f32) -> Vec<Act> {
    let mut acts = Vec::new();
    centered(ui, "settings", measure::FORM, |ui| {
        widgets::heading(ui, "Settings", size::SCREEN);
        widgets::heading(ui, "Look", size::SECTION);
        ui.horizontal(|ui| {
            for (label, theme) in [
                ("As the system", ThemePreference::System),
                ("Light", ThemePreference::Light),
                ("Dark", ThemePreference::Dark),
            ] {
                if widgets::chip(ui, look == theme, label).clicked() {
                    acts.push(Act::Theme(theme));
                }
            }
        });
        widgets::heading(ui, "Size of text and everything", size::SECTION);
        ui.horizontal(|ui| {
            if widgets::button(ui, Loud::Plain, "Smaller").clicked() {
                acts.push(Act::Zoom(zoom - 0.1));
            }
            widgets::body(ui, &format!("{:.0} %", zoom * 100.0));
            if widgets::button(ui, Loud::Plain, "Larger").clicked() {
                acts.push(Act::Zoom(zoom + 0.1));
            }
        });
        widgets::heading(ui, "Safety", size::SECTION);
        widgets::note(
            ui,
            "Ctrl+L locks. Ctrl+Shift+H turns this window into an empty page at once, and brings it back. \
             Neither helps against somebody who watches the screen or has control of this computer.",
        );
        if widgets::button(ui, Loud::Plain, "Lock now").clicked() {
            acts.push(Act::Lock);
        }
        ui.add_space(space::S);
        if widgets::button(ui, Loud::Quiet, "All keys").clicked() {
            acts.push(Act::Ask(Dialog::Help));
        }
    });
    acts
}
