//! A new group: what for, its name, done.

use eframe::egui::Ui;
use hearth_node::app::TemplateName;

use super::centered;
use crate::{
    names, rows,
    state::{Act, CreateDraft},
    theme::{measure, size, space},
    widgets::{self, Field, Loud},
};

const TEMPLATES: [TemplateName; 5] =
    [TemplateName::Recovery, TemplateName::Illness, TemplateName::Caregivers, TemplateName::Grief, TemplateName::Open];
const WINDOWS: [(u16, &str); 4] = [(0, "Nothing"), (7, "7 days"), (30, "30 days"), (90, "90 days")];

/// Draws it.
pub fn show(ui: &mut Ui, draft: &mut CreateDraft) -> Vec<Act> {
    let mut acts = Vec::new();
    centered(ui, "create", measure::FORM + 40.0, |ui| {
        widgets::heading(ui, "Create a group", size::SCREEN);
        widgets::caption(ui, "What is it for?");
        ui.scope(|ui| {
            ui.spacing_mut().item_spacing.y = space::XS + 2.0;
            for template in TEMPLATES {
                let (title, below) = rows::template_words(template);
                if widgets::choice(ui, draft.template == template, title, below).clicked() {
                    draft.template = template;
                }
            }
        });
        let name = Field::new("group-name", "Name of the group").hint("Tuesday circle").show(ui, &mut draft.name);
        if !draft.name.is_empty() {
            super::join::about_name(ui, &draft.name);
        }
        widgets::caption(ui, "What may newcomers read from before they joined?");
        ui.horizontal(|ui| {
            for (days, label) in WINDOWS {
                if widgets::chip(ui, draft.history_days == days, label).clicked() {
                    draft.history_days = days;
                }
            }
        });
        widgets::note(ui, &rows::history_words(draft.history_days));
        super::join::persona(ui, &mut draft.persona);
        if let Some(problem) = &draft.waiting.problem {
            widgets::problem(ui, problem);
        }
        let named = names::shown(&draft.name).is_ok() && names::shown(&draft.persona).is_ok();
        let ready = named && !draft.waiting.busy;
        let label = if draft.waiting.busy { "Making the group…" } else { "Create the group" };
        let done = ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, label)).inner;
        if ready && (done.clicked() || widgets::entered(ui, &name)) {
            acts.push(Act::CreateGroup);
        }
    });
    acts
}
