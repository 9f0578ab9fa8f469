//! One file per screen: a function of plain rows and a draft, giving back what was asked for.

pub mod composer;
pub mod create;
pub mod details;
pub mod dialogs;
pub mod groups;
pub mod header;
pub mod invite;
pub mod join;
pub mod knocks;
pub mod members;
pub mod onboarding;
pub mod settings;
pub mod start;
pub mod status;
pub mod timeline;
pub mod unlock;

use eframe::egui::{Id, Rect, ScrollArea, Ui, pos2, vec2};

use crate::theme::space;

/// The composer's id: Esc and F6 go there.
#[must_use]
pub fn composer_id() -> Id {
    Id::unique("composer")
}

/// The timeline's id: one Tab stop.
#[must_use]
pub fn timeline_id() -> Id {
    Id::unique("timeline")
}

/// The first thing in the details pane.
#[must_use]
pub fn details_id() -> Id {
    Id::unique("details-first")
}

/// The first thing in the groups pane.
#[must_use]
pub fn groups_id() -> Id {
    Id::unique("groups-first")
}

/// A form in the middle of a pane, scrolling when the window is short. `lift` moves it above the exact middle.
pub(crate) fn centered<R>(ui: &mut Ui, name: &str, width: f32, add: impl FnOnce(&mut Ui) -> R) -> R {
    let rect = ui.max_rect();
    let id = Id::unique(("centered", name));
    let tall: f32 = ui.data(|d| d.get_temp(id)).unwrap_or(rect.height() * 0.6);
    let width = width.min(rect.width() - 2.0 * space::XL);
    let top = ((rect.height() - tall) * 0.42).max(space::XL);
    ScrollArea::vertical()
        .id_salt(name)
        .auto_shrink(false)
        .show(ui, |ui| {
            let origin = pos2(rect.center().x - width / 2.0, ui.min_rect().top() + top);
            let inner = Rect::from_min_size(origin, vec2(width, f32::INFINITY));
            let mut child = ui.new_child(eframe::egui::UiBuilder::new().max_rect(inner));
            child.spacing_mut().item_spacing.y = space::M;
            let result = add(&mut child);
            let used = child.min_rect();
            ui.allocate_rect(used.expand2(vec2(0.0, space::XL)), eframe::egui::Sense::hover());
            if (used.height() - tall).abs() > 0.5 {
                ui.data_mut(|d| d.insert_temp(id, used.height()));
                ui.ctx().request_repaint();
            }
            result
        })
        .inner
}
