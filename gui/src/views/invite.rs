//! An invite: for how many, until when, the link and its picture.

use eframe::egui::{Color32, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2};
use fast_qr::{ECL, QRBuilder};

use crate::{
    state::{Act, InviteDraft},
    theme::space,
    widgets::{self, Loud},
};

const USES: [(u32, &str); 4] = [(1, "1 person"), (5, "5 people"), (25, "25 people"), (100, "100 people")];
const DAYS: [(u64, &str); 3] = [(1, "1 day"), (7, "7 days"), (30, "30 days")];

/// Draws it. `until` is the day on which the chosen expiry falls.
pub fn show(ui: &mut Ui, until: &str, draft: &mut InviteDraft) -> Vec<Act> {
    let mut acts = Vec::new();
    ui.spacing_mut().item_spacing.y = space::M;
    match draft.made.clone() {
        None => {
            widgets::caption(ui, "For how many?");
            ui.horizontal_wrapped(|ui| {
                for (uses, label) in USES {
                    if widgets::chip(ui, draft.uses == uses, label).clicked() {
                        draft.uses = uses;
                    }
                }
            });
            widgets::caption(ui, "Until when?");
            ui.horizontal_wrapped(|ui| {
                for (days, label) in DAYS {
                    if widgets::chip(ui, draft.days == days, label).clicked() {
                        draft.days = days;
                    }
                }
            });
            widgets::note(ui, &sentence(draft.uses, until));
            if let Some(problem) = &draft.waiting.problem {
                widgets::problem(ui, problem);
            }
            let label = if draft.waiting.busy { "Making the link…" } else { "Make the link" };
            let ready = !draft.waiting.busy;
            ui.horizontal(|ui| {
                if ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, label)).inner.clicked() {
                    acts.push(Act::MakeInvite);
                }
                if widgets::button(ui, Loud::Plain, "Not now").clicked() {
                    acts.push(Act::Close);
                }
            });
        }
        Some((invite, link, held)) => {
            qr(ui, link.expose());
            ui.horizontal(|ui| {
                let label = if draft.copied { "Copied" } else { "Copy the link" };
                if widgets::button(ui, Loud::Primary, label).clicked() {
                    draft.copied = true;
                    acts.push(Act::CopyLink(link.clone()));
                }
                if widgets::button(ui, Loud::Plain, "Done").clicked() {
                    acts.push(Act::Close);
                }
                if widgets::button(ui, Loud::Quiet, "Make it void").clicked() {
                    acts.push(Act::RevokeInvite(invite));
                }
            });
            if draft.copied {
                widgets::note(ui, "The clipboard is emptied in a minute.");
            }
            widgets::note(ui, &sentence(draft.uses, until));
            widgets::note(
                ui,
                if held {
                    "A relay keeps this invite: it works while you sleep."
                } else {
                    "No relay keeps this invite yet: it works only while you are online."
                },
            );
        }
    }
    acts
}

/// What somebody who holds the link can do.
#[must_use]
pub fn sentence(uses: u32, until: &str) -> String {
    let who = if uses == 1 {
        "The first person who opens this link".to_owned()
    } else {
        format!("The first {uses} people who open this link")
    };
    format!(
        "{who} before {until} can join and read, whoever it is. \
         Give it only to people you mean."
    )
}

fn qr(ui: &mut Ui, link: &str) {
    let Ok(code) = QRBuilder::new(link).ecl(ECL::L).build() else { return };
    // Smaller in a low window, where the buttons below it would be out of sight.
    let side = ui.available_width().min(300.0).min((ui.ctx().content_rect().height() * 0.45).max(160.0));
    let (rect, response) = ui.allocate_exact_size(vec2(side, side), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, "The invite link as a QR code"));
    // Always dark on white: cameras expect it.
    ui.painter().rect_filled(rect, 8.0, Color32::WHITE);
    let modules = u16::try_from(code.size).unwrap_or(1);
    let quiet = 4;
    let unit = side / f32::from(modules + 2 * quiet);
    for (y, row) in (0u16..).zip(code.data.chunks(code.size.max(1)).take(code.size)) {
        for (x, module) in (0u16..).zip(row) {
            if module.value() {
                let at = rect.min + vec2(f32::from(x + quiet) * unit, f32::from(y + quiet) * unit);
                let cell = Rect::from_min_max(at, pos2(at.x + unit + 0.05, at.y + unit + 0.05));
                ui.painter().rect_filled(cell, 0.0, Color32::BLACK);
            }
        }
    }
}
