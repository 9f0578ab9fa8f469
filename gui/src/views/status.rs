//! The line below everything: literal.

use eframe::egui::{Role, Sense, Ui, WidgetInfo, pos2};

use crate::{
    fonts,
    text::{self, Pen},
    theme::{size, space},
    widgets,
};

/// Draws it. `toast` stands in its place for a while; `announce` is spoken and never seen.
pub fn show(ui: &mut Ui, status: &str, toast: Option<&str>, announce: &str) {
    let p = widgets::colors(ui);
    let rect = ui.max_rect();
    ui.painter().hline(rect.x_range(), rect.top() + 0.5, eframe::egui::Stroke::new(1.0, p.line));
    let shown = toast.unwrap_or(status);
    let color = if toast.is_some() { p.text } else { p.secondary };
    let pen = Pen::new(fonts::regular(size::SMALL), color);
    let galley = text::line(ui, shown, &pen, rect.width() - 2.0 * space::M);
    let at = pos2(rect.left() + space::M, rect.center().y - galley.size().y / 2.0);
    ui.painter().galley(at, galley, color);
    let said = ui.interact(rect, ui.scope_id().with("status"), Sense::hover());
    said.widget_info(|| WidgetInfo::labeled(Role::Label, true, shown));
    let spoken = ui.interact(rect.with_max_x(rect.left() + 1.0), ui.scope_id().with("live"), Sense::hover());
    ui.ctx().accesskit_node_builder(spoken.id, |node| {
        node.set_role(Role::Status);
        node.set_live(eframe::egui::accesskit::Live::Polite);
        node.set_label(toast.unwrap_or(announce));
    });
}
