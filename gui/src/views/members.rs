//! Members and roles.

use eframe::egui::{CornerRadius, Id, Role, ScrollArea, Sense, Ui, UiBuilder, WidgetInfo, pos2, vec2};

use crate::{
    fonts, rows,
    rows::{KnockItem, MemberItem},
    state::{Act, Dialog, InviteDraft},
    text::{self, Pen},
    theme::{measure, radius, size, space},
    widgets::{self, Loud},
};

/// Draws the page.
pub fn show(ui: &mut Ui, items: &[MemberItem], knocks: &[KnockItem], may_invite: bool) -> Vec<Act> {
    let mut acts = Vec::new();
    let rect = ui.max_rect().shrink2(vec2(space::L, space::L));
    let rect = rect.with_max_x(rect.right().min(rect.left() + measure::TEXT));
    // The bar has its place beside the cards.
    let mut ui = ui.new_child(UiBuilder::new().max_rect(rect.with_max_x(rect.right() + space::M)));
    ScrollArea::vertical().auto_shrink(false).id_salt("members").show(&mut ui, |ui| {
        ui.set_width(rect.width());
        acts.extend(super::knocks::show(ui, knocks));
        widgets::heading(ui, "Members and roles", size::TITLE);
        widgets::note(
            ui,
            "Roles say who looks after the group. Every change is written in a log that all members see.",
        );
        ui.add_space(space::S);
        if may_invite && widgets::button(ui, Loud::Primary, "Invite somebody").clicked() {
            acts.push(Act::Ask(Dialog::Invite(InviteDraft::default())));
        }
        ui.add_space(space::S);
        ui.spacing_mut().item_spacing.y = space::XS;
        for item in items {
            if wide(ui, item) {
                acts.push(Act::Ask(Dialog::Member(item.persona)));
            }
        }
    });
    acts
}

fn wide(ui: &mut Ui, item: &MemberItem) -> bool {
    let p = widgets::colors(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 60.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{}, {}", item.name, item.note)));
    let fill = if response.hovered() { p.hover } else { p.raised };
    let edge = eframe::egui::Stroke::new(1.0, p.line);
    ui.painter().rect(rect, CornerRadius::same(radius::CARD), fill, edge, eframe::egui::StrokeKind::Inside);
    widgets::avatar(ui, pos2(rect.left() + 32.0, rect.center().y), measure::AVATAR, &item.name, &item.persona.0);
    let left = rect.left() + 64.0;
    let room = rect.right() - left - space::M;
    let name = text::line(ui, &item.name, &Pen::new(fonts::semibold(size::BODY), p.text), room);
    let below = format!("{} · {}", item.note, rows::role_means(item.role));
    let note = text::line(ui, &below, &Pen::new(fonts::regular(size::NOTE), p.secondary), room);
    let top = rect.center().y - (name.size().y + note.size().y) / 2.0;
    let second = pos2(left, top + name.size().y);
    ui.painter().galley(pos2(left, top), name, p.text);
    ui.painter().galley(second, note, p.secondary);
    widgets::focus_ring(ui, &response, radius::CARD);
    response.on_hover_cursor(eframe::egui::CursorIcon::PointingHand).clicked()
}

/// One line in the details pane. Says whether it was chosen.
pub fn line(ui: &mut Ui, item: &MemberItem, id: Option<Id>) -> bool {
    let p = widgets::colors(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 36.0), Sense::hover());
    let response = ui.interact(rect, id.unwrap_or(response.id.with("line")), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{}, {}", item.name, item.note)));
    if response.hovered() {
        ui.painter().rect_filled(rect, CornerRadius::same(radius::CONTROL), p.hover);
    }
    let size_small = measure::AVATAR_SMALL;
    widgets::avatar(
        ui,
        pos2(rect.left() + 4.0 + size_small / 2.0, rect.center().y),
        size_small,
        &item.name,
        &item.persona.0,
    );
    let left = rect.left() + size_small + space::M;
    let short = match (item.you, item.role) {
        (true, _) => "you",
        (false, hearth_node::app::RoleName::Member) => "",
        (false, role) => rows::role_long(role),
    };
    let note = text::line(ui, short, &Pen::new(fonts::regular(size::SMALL), p.secondary), 110.0);
    let room = rect.right() - left - note.size().x - space::S;
    let name = text::line(ui, &item.name, &Pen::new(fonts::regular(size::BODY), p.text), room);
    let note_at = pos2(left + name.size().x + space::S, rect.center().y - note.size().y / 2.0 + 1.0);
    let name_at = pos2(left, rect.center().y - name.size().y / 2.0);
    ui.painter().galley(name_at, name, p.text);
    ui.painter().galley(note_at, note, p.secondary);
    widgets::focus_ring(ui, &response, radius::CONTROL);
    response.on_hover_cursor(eframe::egui::CursorIcon::PointingHand).clicked()
}
