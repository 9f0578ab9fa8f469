//! The few controls that every screen is made of. Each draws itself from tokens and names itself for screen readers.

use std::sync::Arc;

use eframe::egui::{
    self, Align2, Color32, CornerRadius, Frame, Galley, Id, Margin, Rect, Response, Role, Sense, Stroke, StrokeKind,
    TextBuffer, TextEdit, Ui, UiBuilder, Vec2, WidgetInfo, vec2,
};

use crate::{
    fonts,
    text::{self, Pen},
    theme::{self, Palette, measure, radius, size, space},
};

/// How loud a button is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loud {
    /// The one thing to do here.
    Primary,
    /// Something else to do.
    Plain,
    /// No frame until it is needed.
    Quiet,
    /// What cannot be taken back.
    Danger,
}

/// The palette in use.
#[must_use]
pub fn colors(ui: &Ui) -> &'static Palette {
    theme::palette(ui.ctx())
}

/// Paints the ring of the keyboard's focus.
pub fn focus_ring(ui: &Ui, response: &Response, corner: u8) {
    if response.has_focus() {
        let ring = Stroke::new(measure::RING, colors(ui).accent);
        ui.painter().rect_stroke(response.rect.expand(1.0), CornerRadius::same(corner), ring, StrokeKind::Outside);
    }
}

/// What a button has left and right of its label, in points.
const PAD: f32 = 14.0;

/// A button.
pub fn button(ui: &mut Ui, loud: Loud, label: &str) -> Response {
    button_at(ui, loud, label, None)
}

/// How wide a button with this label is, in points.
pub fn button_width(ui: &Ui, label: &str) -> f32 {
    let pen = Pen::new(fonts::medium(size::BODY), colors(ui).text);
    text::line(ui, label, &pen, f32::INFINITY).size().x + 2.0 * PAD
}

/// A button with an id of its own, so that focus can be sent to it.
pub fn button_at(ui: &mut Ui, loud: Loud, label: &str, id: Option<Id>) -> Response {
    let p = colors(ui);
    let (fill, edge, words) = match loud {
        Loud::Primary => (p.accent, p.accent, p.on_accent),
        Loud::Plain => (p.raised, p.border, p.text),
        Loud::Quiet => (Color32::TRANSPARENT, Color32::TRANSPARENT, p.accent),
        Loud::Danger => (p.danger, p.danger, p.raised),
    };
    let pad = if loud == Loud::Quiet { space::S } else { PAD };
    let galley = text::line(ui, label, &Pen::new(fonts::medium(size::BODY), words), ui.available_width().max(80.0));
    let wanted = vec2(galley.size().x + 2.0 * pad, measure::TARGET.max(galley.size().y + 10.0));
    let response = match id {
        Some(id) => {
            let (rect, _) = ui.allocate_exact_size(wanted, Sense::hover());
            ui.interact(rect, id, Sense::click())
        }
        None => ui.allocate_response(wanted, Sense::click()),
    };
    response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), label));
    let rect = response.rect;
    let lift = response.hovered() || response.is_pointer_button_down_on();
    let fill = match (lift, loud) {
        (true, Loud::Plain | Loud::Quiet) => p.hover,
        (true, _) => fill.gamma_multiply(0.88),
        (false, _) => fill,
    };
    ui.painter().rect(rect, CornerRadius::same(radius::CONTROL), fill, Stroke::new(1.0, edge), StrokeKind::Inside);
    paint_centered(ui, rect, galley);
    focus_ring(ui, &response, radius::CONTROL);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// Paints a galley in the middle of a rectangle.
pub fn paint_centered(ui: &Ui, rect: Rect, galley: Arc<Galley>) {
    let at = Align2::CENTER_CENTER.align_size_within_rect(galley.size(), rect).min;
    ui.painter().galley(at, galley, colors(ui).text);
}

/// A paragraph in a font and colour; spoken as it is written.
pub fn words(ui: &mut Ui, text: &str, pen: &Pen) -> Response {
    let galley = text::layout(ui, text, pen, ui.available_width());
    let width = if text::starts_rtl(text) { ui.available_width() } else { galley.size().x };
    let (rect, response) = ui.allocate_exact_size(vec2(width, galley.size().y), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text));
    paint_text(ui, rect, galley, text::starts_rtl(text));
    response
}

/// Paints a laid-out text into its rectangle, on the side where it begins.
pub fn paint_text(ui: &Ui, rect: Rect, galley: Arc<Galley>, rtl: bool) {
    let at = if rtl { rect.right_top() } else { rect.left_top() };
    ui.painter().galley(at, galley, colors(ui).text);
}

/// Body text.
pub fn body(ui: &mut Ui, text: &str) -> Response {
    let pen = Pen::new(fonts::regular(size::BODY), colors(ui).text);
    words(ui, text, &pen)
}

/// A second line.
pub fn note(ui: &mut Ui, text: &str) -> Response {
    let pen = Pen::new(fonts::regular(size::NOTE), colors(ui).secondary);
    words(ui, text, &pen)
}

/// Something went wrong: what, and what to do.
pub fn problem(ui: &mut Ui, text: &str) -> Response {
    // Amber, not red: a slip is no danger.
    let pen = Pen::new(fonts::medium(size::NOTE), colors(ui).on_support);
    let response = words(ui, text, &pen);
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_role(Role::Alert);
        node.set_label(text);
    });
    response
}

/// A heading; `points` is one of `theme::size`.
pub fn heading(ui: &mut Ui, text: &str, points: f32) -> Response {
    let pen = Pen::new(fonts::bold(points), colors(ui).text);
    let response = words(ui, text, &pen);
    ui.ctx().accesskit_node_builder(response.id, |node| {
        node.set_role(Role::Heading);
        node.set_label(text);
    });
    response
}

/// The name above a field, small and medium.
pub fn caption(ui: &mut Ui, text: &str) {
    let pen = Pen::new(fonts::medium(size::NOTE), colors(ui).secondary);
    let galley = text::line(ui, text, &pen, ui.available_width());
    let (rect, _) = ui.allocate_exact_size(galley.size(), Sense::hover());
    ui.painter().galley(rect.min, galley, pen.color);
}

/// What a field is.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its id: focus and undo history go by it.
    pub id: Id,
    /// Its name, shown above and spoken.
    pub name: &'a str,
    /// What it says while empty.
    pub hint: &'a str,
    /// Whether its text is hidden.
    pub hidden: bool,
}

/// The longest text that a one-line field takes, in bytes.
const FIELD_MAX: usize = 4_096;
/// What a field says that was given more.
pub const TOO_LONG: &str =
    "That was too long for this field, so nothing was put in. Copy only the part that belongs here.";

impl<'a> Field<'a> {
    /// An open field.
    #[must_use]
    pub fn new(id: impl std::hash::Hash, name: &'a str) -> Self {
        Self { id: Id::unique(("field", egui::util::hash(id))), name, hint: "", hidden: false }
    }

    /// With a hint.
    #[must_use]
    pub fn hint(self, hint: &'a str) -> Self {
        Self { hint, ..self }
    }

    /// Hidden.
    #[must_use]
    pub fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// Draws caption and field over the whole width.
    pub fn show(self, ui: &mut Ui, value: &mut dyn TextBuffer) -> Response {
        caption(ui, self.name);
        ui.add_space(-space::XS);
        let response = self.bare(ui, value);
        if self.refused(ui) {
            problem(ui, TOO_LONG);
        }
        response
    }

    /// Whether the last thing that was pasted was too long, and so left out whole: a cut text would be taken for all of it.
    pub fn refused(self, ui: &Ui) -> bool {
        ui.data(|d| d.get_temp(self.id.with("refused")).unwrap_or(false))
    }

    fn keep_out(self, ui: &Ui, room: usize) -> bool {
        let mut refused = false;
        ui.input_mut(|i| {
            i.events.retain(|e| {
                let long = matches!(e, egui::Event::Paste(text) | egui::Event::Text(text) if text.len() > room);
                refused |= long;
                !long
            });
        });
        refused
    }

    /// Draws the field alone.
    pub fn bare(self, ui: &mut Ui, value: &mut dyn TextBuffer) -> Response {
        let p = colors(ui);
        let room = FIELD_MAX.saturating_sub(value.as_str().len());
        let refused = ui.memory(|m| m.has_focus(self.id)) && self.keep_out(ui, room);
        let frame = Frame::new()
            .fill(p.raised)
            .stroke(Stroke::new(1.0, p.border))
            .corner_radius(CornerRadius::same(radius::CONTROL))
            .inner_margin(Margin::symmetric(12, 8));
        let edit = TextEdit::singleline(value)
            .id(self.id)
            .password(self.hidden)
            .hint_text(egui::RichText::new(self.hint).color(p.secondary))
            .frame(frame)
            .font(fonts::regular(size::BODY))
            .desired_width(f32::INFINITY);
        let response = ui.add(edit).accessible_name(self.name);
        if refused || response.changed() {
            ui.data_mut(|d| d.insert_temp(self.id.with("refused"), refused));
        }
        if self.hidden {
            crate::secret::SecretBuffer::forget_undo(ui.ctx(), self.id);
        }
        focus_ring(ui, &response, radius::CONTROL);
        response
    }
}

/// Whether Enter was pressed in a one-line field in this frame.
#[must_use]
pub fn entered(ui: &Ui, field: &Response) -> bool {
    field.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter))
}

/// One of several: a row with a title and a line below it.
pub fn choice(ui: &mut Ui, chosen: bool, title: &str, below: &str) -> Response {
    let p = colors(ui);
    let width = ui.available_width();
    let words = if chosen { p.on_selected } else { p.text };
    let second = if chosen { p.on_selected } else { p.secondary };
    let inner = width - 2.0 * space::M - 28.0;
    let title_galley = text::layout(ui, title, &Pen::new(fonts::semibold(size::BODY), words), inner);
    let below_galley = text::layout(ui, below, &Pen::new(fonts::regular(size::NOTE), second), inner);
    let gap = if below.is_empty() { 0.0 } else { below_galley.size().y };
    let height = (title_galley.size().y + gap + 16.0).max(measure::TARGET);
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, ui.is_enabled(), chosen, title));
    let fill = match (chosen, response.hovered()) {
        (true, _) => p.selected,
        (false, true) => p.hover,
        (false, false) => p.raised,
    };
    let edge = if chosen { p.accent } else { p.border };
    ui.painter().rect(rect, CornerRadius::same(radius::CONTROL), fill, Stroke::new(1.0, edge), StrokeKind::Inside);
    let dot = egui::pos2(rect.left() + space::M + 8.0, rect.top() + 8.0 + title_galley.size().y / 2.0);
    ui.painter().circle_stroke(dot, 7.0, Stroke::new(1.5, edge));
    if chosen {
        ui.painter().circle_filled(dot, 4.0, p.accent);
    }
    let at = rect.min + vec2(space::M + 28.0, 8.0);
    let below_at = at + vec2(0.0, title_galley.size().y);
    ui.painter().galley(at, title_galley, words);
    if !below.is_empty() {
        ui.painter().galley(below_at, below_galley, second);
    }
    focus_ring(ui, &response, radius::CONTROL);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// One of a few short words in a row.
pub fn chip(ui: &mut Ui, chosen: bool, label: &str) -> Response {
    let p = colors(ui);
    let (fill, edge, color) = if chosen { (p.selected, p.accent, p.on_selected) } else { (p.raised, p.border, p.text) };
    let galley = text::line(ui, label, &Pen::new(fonts::medium(size::NOTE), color), 320.0);
    let response = ui.allocate_response(vec2(galley.size().x + 2.0 * space::M, measure::TARGET), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, ui.is_enabled(), chosen, label));
    let fill = if response.hovered() && !chosen { p.hover } else { fill };
    ui.painter().rect(response.rect, CornerRadius::same(16), fill, Stroke::new(1.0, edge), StrokeKind::Inside);
    paint_centered(ui, response.rect, galley);
    focus_ring(ui, &response, 16);
    response.on_hover_cursor(egui::CursorIcon::PointingHand)
}

/// A raised box.
pub fn card<R>(ui: &mut Ui, add: impl FnOnce(&mut Ui) -> R) -> R {
    tinted(ui, colors(ui).raised, colors(ui).line, add)
}

/// A box in a colour.
pub fn tinted<R>(ui: &mut Ui, fill: Color32, edge: Color32, add: impl FnOnce(&mut Ui) -> R) -> R {
    Frame::new()
        .fill(fill)
        .stroke(Stroke::new(1.0, edge))
        .corner_radius(CornerRadius::same(radius::CARD))
        .inner_margin(Margin::same(16))
        .show(ui, |ui| {
            // The frame's line stands outside its margin.
            ui.set_width(ui.available_width() - 1.0);
            add(ui)
        })
        .inner
}

/// A person's or group's picture: the first letter on a colour that is theirs.
pub fn avatar(ui: &Ui, center: egui::Pos2, diameter: f32, name: &str, key: &[u8; 32]) {
    let p = colors(ui);
    let fill = p.avatars.get(usize::from(key[0]) % p.avatars.len()).copied().unwrap_or(p.accent);
    ui.painter().circle_filled(center, diameter / 2.0, fill);
    let letter: String = name.chars().find(|c| c.is_alphanumeric()).into_iter().flat_map(char::to_uppercase).collect();
    let galley = text::line(ui, &letter, &Pen::new(fonts::semibold(diameter * 0.42), p.on_avatar), diameter);
    paint_centered(ui, Rect::from_center_size(center, Vec2::splat(diameter)), galley);
}

/// A region of the window: a fixed rectangle with a name and a role, drawn in reading order.
pub fn region<R>(ui: &mut Ui, rect: Rect, role: Role, label: &str, add: impl FnOnce(&mut Ui) -> R) -> R {
    let builder = UiBuilder::new()
        .max_rect(rect)
        .id_salt(label)
        .accessibility_role(role)
        .accessibility_label(label)
        .layout(egui::Layout::top_down(egui::Align::Min));
    let mut child = ui.new_child(builder);
    child.set_clip_rect(rect.intersect(ui.clip_rect()));
    ui.data_mut(|d| d.get_temp_mut_or_default::<Vec<Rect>>(regions_id()).push(rect));
    add(&mut child)
}

fn regions_id() -> Id {
    Id::unique("regions")
}

/// The regions drawn since this was last asked, in reading order.
pub fn take_regions(ctx: &egui::Context) -> Vec<Rect> {
    ctx.data_mut(|d| std::mem::take(d.get_temp_mut_or_default(regions_id())))
}

/// A question in the middle of the window. Gives `None` once it has been dismissed.
pub fn dialog<R>(ui: &Ui, title: &str, width: f32, add: impl FnOnce(&mut Ui) -> R) -> Option<R> {
    let p = colors(ui);
    let tall = ui.ctx().content_rect().height() - 96.0;
    let frame = Frame::new()
        .fill(p.raised)
        .stroke(Stroke::new(1.0, p.line))
        .corner_radius(CornerRadius::same(radius::WINDOW))
        .inner_margin(Margin::same(24));
    let id = Id::unique("dialog");
    let modal = egui::Modal::new(id)
        .area(egui::Modal::default_area(id).default_height(tall + 60.0))
        .frame(frame)
        .backdrop_color(Color32::from_black_alpha(90))
        .show(ui.ctx(), |ui| {
            let width = width.min(ui.ctx().content_rect().width() - 80.0);
            ui.set_width(width);
            ui.ctx().accesskit_node_builder(ui.unique_id(), |node| {
                node.set_role(Role::Dialog);
                node.set_label(title);
            });
            heading(ui, title, size::TITLE);
            ui.add_space(space::XS);
            egui::ScrollArea::vertical()
                .max_height(tall)
                .show(ui, |ui| {
                    ui.set_width(width);
                    add(ui)
                })
                .inner
        });
    let closed = modal.should_close();
    (!closed).then_some(modal.inner)
}
