//! A link: what it opens, under which name one would enter, and the charter to accept.

use eframe::egui::{Align, Layout, Ui, vec2};
use hearth_node::app::Join;
use hearth_protocol::{limits::REASON_MAX, link::LINK_PREFIX};

use super::centered;
use crate::{
    names, rows,
    state::{Act, Inspected, JoinDraft, Page},
    theme::{measure, size, space},
    widgets::{self, Field, Loud},
};

/// Draws it. `first`: no group exists yet, so this is also the welcome.
pub fn show(ui: &mut Ui, first: bool, draft: &mut JoinDraft) -> Vec<Act> {
    let mut acts = Vec::new();
    centered(ui, "join", measure::FORM + 40.0, |ui| {
        if first {
            super::start::lamp(ui);
            widgets::heading(ui, "You are in. Now find your group.", size::SCREEN);
            widgets::body(ui, "Paste the invite link that somebody gave you.");
        } else {
            widgets::heading(ui, "Join a group", size::SCREEN);
        }
        let hint = "hearth://join#…";
        let field = Field::new("link", "Invite link").hint(hint).show(ui, &mut draft.link);
        if field.changed() {
            draft.inspected = None;
            draft.waiting.problem = None;
            if looks_whole(draft.link.text()) && !draft.waiting.busy {
                acts.push(Act::Inspect);
            }
        }
        if draft.link.text().is_empty() && !draft.waiting.busy && ui.memory(|m| m.focused().is_none()) {
            // Ready to be pasted into.
            field.request_focus();
        }
        if widgets::entered(ui, &field) && draft.inspected.is_none() && !draft.waiting.busy {
            acts.push(Act::Inspect);
        }
        let problem = draft.waiting.problem.as_deref().or_else(|| no_link(draft.link.text()));
        if let Some(problem) = problem {
            widgets::problem(ui, problem);
        }
        match draft.inspected.clone() {
            Some(found) => opened(ui, &found, draft, &mut acts),
            None if draft.waiting.busy => {
                widgets::note(ui, "Looking behind the link…");
            }
            None if first => {
                ui.add_space(space::S);
                widgets::body(ui, "No link yet? Start a group and invite others.");
                if widgets::button(ui, Loud::Plain, "Create a group").clicked() {
                    acts.push(Act::Show(Page::Create));
                }
            }
            None => {}
        }
    });
    acts
}

/// Whether a text may be a whole link: then nobody has to press anything.
fn looks_whole(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(LINK_PREFIX) && text.len() > LINK_PREFIX.len() + 8
}

/// What to do about a text that cannot become a link by going on typing.
fn no_link(text: &str) -> Option<&'static str> {
    let text = text.trim();
    let begun = text.starts_with(LINK_PREFIX) || LINK_PREFIX.starts_with(text);
    (!begun).then_some(
        "This is no invite link: those begin with hearth://join#. Copy the whole link once more, and paste it here.",
    )
}

fn opened(ui: &mut Ui, found: &Inspected, draft: &mut JoinDraft, acts: &mut Vec<Act>) {
    widgets::card(ui, |ui| {
        ui.spacing_mut().item_spacing.y = space::S;
        widgets::heading(ui, &found.group_name, size::TITLE);
        let people = match found.members {
            None => "Who is there you see once you are let in.".to_owned(),
            Some(0) => "Nobody has been counted yet.".to_owned(),
            Some(1) => "One person is there.".to_owned(),
            Some(n) => format!("About {n} people are there."),
        };
        widgets::note(ui, &people);
        if !found.charter.is_empty() {
            ui.add_space(space::XS);
            widgets::caption(ui, "The charter");
            eframe::egui::ScrollArea::vertical().max_height(180.0).id_salt("charter").show(ui, |ui| {
                ui.set_width(ui.available_width());
                widgets::body(ui, &found.charter);
            });
        }
        ui.add_space(space::XS);
        widgets::note(ui, &rows::history_words(found.history_days));
    });
    persona(ui, &mut draft.persona);
    if found.join == Join::Knock {
        widgets::note(
            ui,
            "A facilitator lets you in, perhaps only when they wake. Until then you can read nothing here.",
        );
        Field::new("introduction", "A few words about you, for the facilitators (may be left empty)")
            .show(ui, &mut draft.introduction);
        if draft.introduction.len() > REASON_MAX {
            widgets::problem(ui, "That is too long: a few sentences are enough.");
        }
    }
    let label = match (draft.waiting.busy, found.join) {
        (true, _) => "Joining…",
        (false, Join::Open) => "Accept the charter and join",
        (false, Join::Knock) => "Accept the charter and knock",
    };
    ui.add_space(space::XS);
    let fits = draft.introduction.len() <= REASON_MAX;
    let ready = !draft.waiting.busy && fits && names::shown(&draft.persona).is_ok();
    if ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, label)).inner.clicked() {
        acts.push(Act::Join);
    }
}

/// What is wrong with a name, or how others will see it where that is not as it was typed.
pub fn about_name(ui: &mut Ui, name: &str) {
    match names::shown(name) {
        Err(words) => drop(widgets::problem(ui, words)),
        Ok(shown) if shown != name.trim() => drop(widgets::note(ui, &format!("Others will see: {shown}"))),
        Ok(_) => {}
    }
}

/// The name that one will have, and another draw.
pub fn persona(ui: &mut Ui, name: &mut String) {
    widgets::tinted(ui, widgets::colors(ui).selected, widgets::colors(ui).selected, |ui| {
        ui.spacing_mut().item_spacing.y = space::S;
        let field = Field::new("persona", "Your name here");
        let row = vec2(ui.available_width(), measure::AVATAR + space::XS);
        ui.allocate_ui_with_layout(row, Layout::left_to_right(Align::Center), |ui| {
            let (rect, _) = ui.allocate_exact_size(vec2(measure::AVATAR, row.y), eframe::egui::Sense::hover());
            let mut key = [0; 32];
            key[0] = name.bytes().fold(0, u8::wrapping_add);
            widgets::avatar(ui, rect.center(), measure::AVATAR, name, &key);
            let width = ui.available_width() - 130.0;
            ui.allocate_ui(vec2(width, row.y), |ui| {
                field.bare(ui, name);
            });
            if widgets::button(ui, Loud::Plain, "Another name").clicked() {
                *name = names::roll();
            }
        });
        if field.refused(ui) {
            widgets::problem(ui, widgets::TOO_LONG);
        } else {
            about_name(ui, name);
        }
        let pen = crate::text::Pen::new(crate::fonts::regular(size::NOTE), widgets::colors(ui).on_selected);
        widgets::words(ui, "You have a new name and new keys in every group. Nothing links them.", &pen);
    });
}
