//! The groups pane.

use eframe::egui::{CornerRadius, Id, Rect, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};

use super::groups_id;
use crate::{
    fonts,
    rows::GroupItem,
    state::{Act, Page},
    text::{self, Pen},
    theme::{measure, radius, size, space},
    widgets::{self, Loud},
};

const ROW: f32 = 58.0;

/// Draws it.
pub fn show(ui: &mut Ui, items: &[GroupItem]) -> Vec<Act> {
    let mut acts = Vec::new();
    let rect = ui.max_rect();
    let inner = rect.shrink2(vec2(space::M, space::M));
    let mut ui = ui.new_child(eframe::egui::UiBuilder::new().max_rect(inner));
    let ui = &mut ui;
    ui.spacing_mut().item_spacing.y = space::XS;
    widgets::heading(ui, "Hearth", size::TITLE);
    ui.add_space(space::S);
    let foot = 3.0 * (measure::TARGET + space::XS) + space::M;
    let tall = (inner.bottom() - ui.cursor().top() - foot).max(ROW);
    ScrollArea::vertical().max_height(tall).auto_shrink(false).id_salt("groups").show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = space::XS;
        if items.is_empty() {
            widgets::note(ui, "Your groups will be here.");
        }
        for (n, item) in items.iter().enumerate() {
            if row(ui, n, item) {
                acts.push(Act::Open(item.group));
            }
        }
    });
    ui.add_space(space::S);
    for (label, page) in
        [("Join with a link", Page::Join), ("Create a group", Page::Create), ("Settings", Page::Settings)]
    {
        if widgets::button(ui, Loud::Quiet, label).clicked() {
            acts.push(Act::Show(page));
        }
    }
    acts
}

fn row(ui: &mut Ui, n: usize, item: &GroupItem) -> bool {
    let p = widgets::colors(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    let id = if n == 0 { groups_id() } else { Id::unique(("group", item.group.0)) };
    let response = ui.interact(rect, id, Sense::click()).on_hover_cursor(eframe::egui::CursorIcon::PointingHand);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, item.open, item.spoken()));
    if item.open || response.hovered() {
        let fill = if item.open { p.selected } else { p.hover };
        ui.painter().rect_filled(rect, CornerRadius::same(radius::CARD), fill);
    }
    let color = if item.open { p.on_selected } else { p.text };
    let second = if item.open { p.on_selected } else { p.secondary };
    widgets::avatar(ui, pos2(rect.left() + 28.0, rect.center().y), 36.0, &item.name, &item.group.0);
    let left = rect.left() + 56.0;
    let badge = (item.unread > 0).then(|| {
        let words = if item.unread > 99 { "99+".to_owned() } else { item.unread.to_string() };
        text::line(ui, &words, &Pen::new(fonts::semibold(size::SMALL), p.on_accent), 60.0)
    });
    let badge_width = badge.as_ref().map_or(0.0, |g| g.size().x + 14.0);
    let room = rect.right() - left - badge_width - 2.0 * space::S;
    let font = if item.unread > 0 || item.open { fonts::semibold(size::BODY) } else { fonts::medium(size::BODY) };
    let name = text::line(ui, &item.name, &Pen::new(font, color), room);
    let note = text::line(ui, &item.note, &Pen::new(fonts::regular(size::NOTE), second), room);
    let top = rect.center().y - (name.size().y + note.size().y) / 2.0;
    let below = pos2(left, top + name.size().y);
    ui.painter().galley(pos2(left, top), name, color);
    ui.painter().galley(below, note, second);
    if let Some(galley) = badge {
        let at = Rect::from_center_size(
            pos2(rect.right() - space::S - badge_width / 2.0, rect.center().y),
            vec2(badge_width, 20.0),
        );
        ui.painter().rect_filled(at, CornerRadius::same(10), p.accent);
        widgets::paint_centered(ui, at, galley);
    }
    widgets::focus_ring(ui, &response, radius::CARD);
    response.clicked()
}
