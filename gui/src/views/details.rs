//! The pane beside a timeline: the way to invite, who is here, what the group agreed on.

use eframe::egui::{ScrollArea, Ui, UiBuilder, vec2};

use super::details_id;
use crate::{
    rows::MemberItem,
    state::{Act, Dialog, InviteDraft, Page},
    theme::{size, space},
    widgets::{self, Loud},
};

/// What the pane says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DetailsRow {
    /// Everyone.
    pub members: Vec<MemberItem>,
    /// The charter.
    pub charter: String,
    /// The history sentence.
    pub history: String,
    /// The relays, in a sentence.
    pub relays: String,
    /// Whether one may invite.
    pub may_invite: bool,
    /// How many wait to be let in, in words.
    pub knocks: Option<String>,
}

/// Draws it.
pub fn show(ui: &mut Ui, row: &DetailsRow) -> Vec<Act> {
    let mut acts = Vec::new();
    let rect = ui.max_rect().shrink2(vec2(space::M, space::M));
    let mut ui = ui.new_child(UiBuilder::new().max_rect(rect));
    let ui = &mut ui;
    ScrollArea::vertical().auto_shrink(false).id_salt("details").show(ui, |ui| {
        ui.set_width(rect.width());
        if row.may_invite {
            if widgets::button_at(ui, Loud::Primary, "Invite somebody", Some(details_id())).clicked() {
                acts.push(Act::Ask(Dialog::Invite(InviteDraft::default())));
            }
            ui.add_space(space::S);
        }
        if let Some(waiting) = &row.knocks {
            if widgets::button(ui, Loud::Plain, waiting).clicked() {
                acts.push(Act::Show(Page::Members));
            }
            ui.add_space(space::S);
        }
        widgets::heading(ui, "Members", size::SECTION);
        ui.scope(|ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            for (n, member) in row.members.iter().take(12).enumerate() {
                let id = (n == 0 && !row.may_invite).then(details_id);
                if super::members::line(ui, member, id) {
                    acts.push(Act::Ask(Dialog::Member(member.persona)));
                }
            }
        });
        if widgets::button(ui, Loud::Quiet, "All members and roles").clicked() {
            acts.push(Act::Show(Page::Members));
        }
        ui.add_space(space::M);
        widgets::heading(ui, "Charter", size::SECTION);
        let charter = if row.charter.is_empty() { "This group has not written one yet." } else { &row.charter };
        widgets::note(ui, charter);
        ui.add_space(space::M);
        widgets::heading(ui, "History and relays", size::SECTION);
        widgets::note(ui, &row.history);
        widgets::note(ui, &row.relays);
        if row.may_invite && widgets::button(ui, Loud::Quiet, "Add a relay").clicked() {
            acts.push(Act::Ask(Dialog::Relay(String::new())));
        }
        ui.add_space(space::M);
        if widgets::button(ui, Loud::Quiet, "Leave the group").clicked() {
            acts.push(Act::Ask(Dialog::Leave));
        }
    });
    acts
}
