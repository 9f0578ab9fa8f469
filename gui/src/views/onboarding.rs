//! The first start: the promise in three lines, and a passphrase.

use eframe::egui::{CornerRadius, Rect, Role, Sense, Ui, WidgetInfo, vec2};

use super::centered;
use crate::{
    state::{Act, VaultDraft},
    strength::{self, Strength},
    theme::{measure, size, space},
    widgets::{self, Field, Loud},
};

/// What Hearth promises.
pub const PROMISE: [&str; 3] = [
    "A quiet place for people who lean on each other.",
    "What you write can be read by your group, and by nobody else.",
    "No account, no phone number, no company in between.",
];

/// Draws it.
pub fn show(ui: &mut Ui, draft: &mut VaultDraft) -> Vec<Act> {
    let mut acts = Vec::new();
    centered(ui, "onboarding", measure::FORM, |ui| {
        super::start::lamp(ui);
        widgets::heading(ui, "Hearth", size::SCREEN);
        ui.scope(|ui| {
            ui.spacing_mut().item_spacing.y = space::XS;
            for line in PROMISE {
                widgets::body(ui, line);
            }
        });
        ui.add_space(space::M);
        let pass = Field::new("new-pass", "Choose a passphrase").hidden().show(ui, &mut draft.pass);
        let strength = strength::judge(draft.pass.text());
        meter(ui, draft.pass.text().is_empty(), strength);
        let again = Field::new("new-pass-again", "The same passphrase again").hidden().show(ui, &mut draft.again);
        let differs = !draft.again.text().is_empty() && draft.again.text() != draft.pass.text();
        if differs && !again.has_focus() {
            widgets::problem(ui, "The two are not the same yet.");
        }
        widgets::note(
            ui,
            "It locks everything on this computer. Nobody can reset it for you: keep a copy on paper, somewhere safe.",
        );
        if let Some(problem) = &draft.waiting.problem {
            widgets::problem(ui, problem);
        }
        let ready = strength > Strength::TooShort && draft.again.text() == draft.pass.text() && !draft.waiting.busy;
        let label = if draft.waiting.busy { "Making your vault…" } else { "Begin" };
        let begin = ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, label)).inner;
        if ready && (begin.clicked() || widgets::entered(ui, &again)) {
            acts.push(Act::CreateVault);
        }
        if !draft.waiting.busy && ui.memory(|m| m.focused().is_none()) && draft.pass.text().is_empty() {
            pass.request_focus();
        }
    });
    acts
}

fn meter(ui: &mut Ui, empty: bool, strength: Strength) {
    let p = widgets::colors(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 6.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Meter, true, "Strength of the passphrase"));
    ui.painter().rect_filled(rect, CornerRadius::same(3), p.line);
    if !empty {
        let fill = match strength {
            Strength::TooShort | Strength::Weak => p.on_support,
            Strength::Fair | Strength::Strong => p.accent,
        };
        let full = Rect::from_min_size(rect.min, vec2(rect.width() * strength.share(), rect.height()));
        ui.painter().rect_filled(full, CornerRadius::same(3), fill);
    }
    let words = if empty { Strength::TooShort.words() } else { strength.words() };
    widgets::note(ui, words);
}
