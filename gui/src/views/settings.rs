//! Settings: the look, the size, the lock.

use eframe::egui::{ThemePreference, Ui};

use super::centered;
use crate::{
    Looks,
    state::{Act, Dialog},
    theme::{measure, size, space},
    widgets::{self, Loud},
};

/// Draws it.
pub fn show(ui: &mut Ui, looks: &Looks) -> Vec<Act> {
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
                if widgets::chip(ui, looks.theme == theme, label).clicked() {
                    acts.push(Act::Theme(theme));
                }
            }
        });
        widgets::heading(ui, "Size of text and everything", size::SECTION);
        ui.horizontal(|ui| {
            if widgets::button(ui, Loud::Plain, "Smaller").clicked() {
                acts.push(Act::Zoom(looks.zoom - 0.1));
            }
            widgets::body(ui, &format!("{} %", looks.percent()));
            if widgets::button(ui, Loud::Plain, "Larger").clicked() {
                acts.push(Act::Zoom(looks.zoom + 0.1));
            }
        });
        widgets::heading(ui, "Motion", size::SECTION);
        ui.horizontal(|ui| {
            for (label, still) in [("A little", false), ("None", true)] {
                if widgets::chip(ui, looks.still == still, label).clicked() {
                    acts.push(Act::Still(still));
                }
            }
        });
        widgets::note(ui, "These three are kept, sealed, and hold again once the vault is open.");
        widgets::heading(ui, "Safety", size::SECTION);
        widgets::note(
            ui,
            "Ctrl+L locks. Ctrl+Shift+H turns this window into an empty page at once and locks it: \
             the same keys and your passphrase bring it back, and what you were writing is kept. \
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
