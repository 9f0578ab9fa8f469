//! The locked window: a passphrase, and no name of anything.

use eframe::egui::Ui;

use super::centered;
use crate::{
    state::{Act, VaultDraft},
    theme::{measure, size},
    widgets::{self, Field, Loud},
};

/// Draws it.
pub fn show(ui: &mut Ui, draft: &mut VaultDraft) -> Vec<Act> {
    let mut acts = Vec::new();
    centered(ui, "unlock", measure::FORM - 80.0, |ui| {
        super::start::lamp(ui);
        widgets::heading(ui, "Welcome back", size::SCREEN);
        let field = Field::new("passphrase", "Passphrase").hidden().show(ui, &mut draft.pass);
        if let Some(problem) = &draft.waiting.problem {
            widgets::problem(ui, problem);
        }
        let ready = !draft.pass.text().is_empty() && !draft.waiting.busy;
        let label = if draft.waiting.busy { "Opening…" } else { "Open" };
        let open = ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, label)).inner;
        if ready && (open.clicked() || widgets::entered(ui, &field)) {
            acts.push(Act::Unlock);
        } else if !draft.waiting.busy && ui.memory(|m| m.focused().is_none()) {
            field.request_focus();
        }
    });
    acts
}
