//! One item: measured and drawn by the same code, so that the two cannot disagree.

use std::sync::Arc;

use eframe::egui::{
    Color32, CornerRadius, Galley, Id, Pos2, Rect, Role, Sense, Stroke, StrokeKind, Ui, UiBuilder, WidgetInfo, pos2,
    vec2,
};
use hearth_protocol::id::MessageId;

use crate::{
    fonts,
    rows::{Body, Item, MessageItem},
    state::{Act, Dialog},
    text::{self, Pen},
    theme::{measure, radius, size, space},
    widgets,
};

/// The avatar and the space beside it.
pub(super) const GUTTER: f32 = measure::AVATAR + space::M;
const VEIL: f32 = 46.0;

/// The id of a message's row.
pub(super) fn row_id(message: MessageId) -> Id {
    Id::unique(("message", message.0))
}

/// The height of an item at a width.
pub(super) fn height(ui: &Ui, item: &Item, width: f32) -> f32 {
    match item {
        Item::Start(_) => 56.0,
        Item::Day(..) => 44.0,
        Item::New(..) => 32.0,
        Item::Message(m) => {
            let mut sketch = Sketch::new(ui, width, None);
            message(&mut sketch, m);
            sketch.y
        }
    }
}

/// Draws an item; `how` is the list it belongs to and whether the keyboard is on it.
pub(super) fn item(ui: &mut Ui, item: &Item, rect: Rect, how: (Id, bool)) -> Vec<Act> {
    let p = widgets::colors(ui);
    match item {
        Item::Start(words) => rule(ui, rect, words, p.secondary, Color32::TRANSPARENT),
        Item::Day(_, words) => rule(ui, rect, words, p.secondary, p.line),
        Item::New(_, words) => rule(ui, rect, words, p.accent, p.accent.gamma_multiply(0.5)),
        Item::Message(m) => return drawn(ui, m, rect, how),
    }
    Vec::new()
}

/// Words in the middle of a line.
fn rule(ui: &mut Ui, rect: Rect, words: &str, color: Color32, line: Color32) {
    let galley = text::line(ui, words, &Pen::new(fonts::medium(size::SMALL), color), rect.width());
    let center = pos2(rect.center().x, rect.bottom() - 16.0);
    let half = galley.size().x / 2.0 + space::M;
    ui.painter().hline(rect.left()..=center.x - half, center.y, Stroke::new(1.0, line));
    ui.painter().hline(center.x + half..=rect.right(), center.y, Stroke::new(1.0, line));
    let said = ui.interact(rect, Id::unique(("rule", words, rect.top().to_bits())), Sense::hover());
    said.widget_info(|| WidgetInfo::labeled(Role::Label, true, words));
    widgets::paint_centered(ui, Rect::from_center_size(center, galley.size()), galley);
}

fn drawn(ui: &mut Ui, m: &MessageItem, rect: Rect, how: (Id, bool)) -> Vec<Act> {
    let p = widgets::colors(ui);
    let (list, focused) = how;
    let builder = UiBuilder::new()
        .max_rect(rect)
        .scope_id(row_id(m.message))
        .accessibility_parent(list)
        .accessibility_role(Role::ListItem)
        .accessibility_label(m.spoken.as_str());
    let child = ui.new_child(builder);
    let wide = rect.expand2(vec2(space::S, 0.0));
    let seen = wide.intersect(child.clip_rect());
    child.ctx().accesskit_node_builder(row_id(m.message), |node| {
        let [x0, y0, x1, y1] = [seen.min.x, seen.min.y, seen.max.x, seen.max.y].map(f64::from);
        node.set_bounds(eframe::egui::accesskit::Rect { x0, y0, x1, y1 });
    });
    let over = child.rect_contains_pointer(wide);
    if focused || over {
        let fill = if focused { p.hover } else { p.hover.gamma_multiply(0.45) };
        child.painter().rect_filled(wide, CornerRadius::same(radius::CONTROL), fill);
    }
    if focused {
        let ring = Stroke::new(measure::RING, p.accent);
        child.painter().rect_stroke(wide, CornerRadius::same(radius::CONTROL), ring, StrokeKind::Inside);
    }
    let mut sketch = Sketch::new(&child, rect.width(), Some(rect.min));
    message(&mut sketch, m);
    let buttons = sketch.buttons;
    let mut acts = Vec::new();
    for button in buttons {
        let id = row_id(m.message).with(&button.label);
        // Clicked, but no Tab stop: the timeline is one.
        let response = child.interact(button.rect, id, Sense::CLICK);
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, &button.label));
        if response.on_hover_cursor(eframe::egui::CursorIcon::PointingHand).clicked() {
            acts.push(button.act);
        }
    }
    if over || focused {
        acts.extend(actions_button(&child, m, rect));
    }
    acts
}

/// The way to a message's actions for a pointer.
fn actions_button(ui: &Ui, m: &MessageItem, rect: Rect) -> Option<Act> {
    let p = widgets::colors(ui);
    let at = Rect::from_min_size(pos2(rect.right() - 74.0, rect.top() + 2.0), vec2(76.0, measure::CHIP));
    let response = ui.interact(at, row_id(m.message).with("actions"), Sense::CLICK);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Actions"));
    ui.painter().rect(
        at,
        CornerRadius::same(radius::CONTROL),
        p.raised,
        Stroke::new(1.0, p.border),
        StrokeKind::Inside,
    );
    let galley = text::line(ui, "Actions", &Pen::new(fonts::medium(size::SMALL), p.text), 70.0);
    widgets::paint_centered(ui, at, galley);
    response.clicked().then_some(Act::Ask(Dialog::Actions(m.message)))
}

struct Press {
    rect: Rect,
    label: String,
    act: Act,
}

/// Goes down a message, measuring; paints as it goes when it has a place.
struct Sketch<'a> {
    ui: &'a Ui,
    width: f32,
    origin: Option<Pos2>,
    y: f32,
    buttons: Vec<Press>,
}

impl<'a> Sketch<'a> {
    fn new(ui: &'a Ui, width: f32, origin: Option<Pos2>) -> Self {
        Self { ui, width, origin, y: 0.0, buttons: Vec::new() }
    }

    fn text_width(&self) -> f32 {
        self.width - GUTTER
    }

    fn at(&self, x: f32) -> Option<Pos2> {
        self.origin.map(|o| pos2(o.x + x, o.y + self.y))
    }

    fn galley(&self, x: f32, dy: f32, galley: Arc<Galley>) {
        if let Some(at) = self.at(x) {
            self.ui.painter().galley(at + vec2(0.0, dy), galley, Color32::PLACEHOLDER);
        }
    }

    fn paragraph(&mut self, words: &str, pen: &Pen) {
        let galley = text::layout(self.ui, words, pen, self.text_width());
        let tall = galley.size().y;
        let x = if text::starts_rtl(words) { self.width } else { GUTTER };
        self.galley(x, 0.0, galley);
        self.y += tall;
    }
}

fn message(s: &mut Sketch<'_>, m: &MessageItem) {
    let p = widgets::colors(s.ui);
    s.y += if m.head { space::M } else { space::XS };
    if m.head {
        head(s, m);
    }
    if let Some(quote) = &m.quote {
        let galley =
            text::line(s.ui, quote, &Pen::new(fonts::regular(size::NOTE), p.secondary), s.text_width() - space::M);
        if let Some(at) = s.at(GUTTER) {
            let bar = Rect::from_min_size(at + vec2(0.0, 2.0), vec2(3.0, galley.size().y - 2.0));
            s.ui.painter().rect_filled(bar, CornerRadius::same(2), p.border);
        }
        let tall = galley.size().y;
        s.galley(GUTTER + space::M, 0.0, galley);
        s.y += tall + 2.0;
    }
    if let Some(note) = &m.note
        && m.body != Body::Retracted
    {
        veil(s, m, note);
    }
    let body = Pen::new(fonts::regular(size::BODY), p.text);
    let aside = Pen { italics: true, ..Pen::new(fonts::regular(size::BODY), p.secondary) };
    match &m.body {
        Body::Text(words) => s.paragraph(words, &body),
        Body::Folded(words) => {
            s.paragraph(words, &body);
            chip(s, "Show all of it", (p.hover, p.text), Act::Unfold(m.message));
        }
        Body::Veiled => {}
        Body::Retracted => s.paragraph("Taken back by its author.", &aside),
    }
    if m.edited {
        s.paragraph("edited", &Pen::new(fonts::regular(size::SMALL), p.secondary));
    }
    reactions(s, m);
    if let Some(words) = &m.delivery {
        s.paragraph(words, &Pen::new(fonts::medium(size::SMALL), p.accent));
    }
    s.y += space::XS;
}

fn head(s: &mut Sketch<'_>, m: &MessageItem) {
    let p = widgets::colors(s.ui);
    if let Some(at) = s.at(measure::AVATAR / 2.0) {
        widgets::avatar(s.ui, at + vec2(0.0, measure::AVATAR / 2.0), measure::AVATAR, &m.author, &m.persona.0);
    }
    let time = text::line(s.ui, &m.time, &Pen::new(fonts::regular(size::SMALL), p.secondary), 80.0);
    let room = s.text_width() - time.size().x - space::S;
    let name = text::line(s.ui, &m.author, &Pen::new(fonts::semibold(size::BODY), p.text), room);
    let beside = room - name.size().x - space::S;
    let (mut x, tall) = (GUTTER + name.size().x + space::S, name.size().y);
    s.galley(GUTTER, 0.0, name);
    if let Some(role) = m.role {
        let galley = text::line(s.ui, role, &Pen::new(fonts::medium(size::SMALL), p.on_selected), 120.0);
        let wide = galley.size().x + 14.0;
        // Who it is comes before what they are here.
        if let Some(at) = s.at(x).filter(|_| wide <= beside) {
            let chip = Rect::from_min_size(at + vec2(0.0, 1.0), vec2(wide, 19.0));
            s.ui.painter().rect_filled(chip, CornerRadius::same(9), p.selected);
            widgets::paint_centered(s.ui, chip, galley);
            x += wide + space::S;
        }
    }
    s.galley(x, (tall - time.size().y) / 2.0 + 1.0, time);
    s.y += tall + 2.0;
}

fn veil(s: &mut Sketch<'_>, m: &MessageItem, note: &str) {
    let p = widgets::colors(s.ui);
    let hidden = m.body == Body::Veiled;
    let label = if hidden { "Show" } else { "Hide again" };
    let pen = Pen::new(fonts::medium(size::NOTE), p.on_veil);
    let button = text::line(s.ui, label, &pen, 120.0);
    let button_wide = button.size().x + 2.0 * space::M;
    let words = text::line(s.ui, &format!("Content note: {note}"), &pen, s.text_width() - button_wide - 3.0 * space::M);
    s.y += space::XS;
    if let Some(at) = s.at(GUTTER) {
        let wide = words.size().x + button_wide + 3.0 * space::M;
        let bar = Rect::from_min_size(at, vec2(wide, VEIL));
        s.ui.painter().rect_filled(bar, CornerRadius::same(radius::CARD), p.veil);
        let press = Rect::from_min_size(
            pos2(bar.right() - button_wide - space::S, bar.center().y - measure::TARGET / 2.0),
            vec2(button_wide, measure::TARGET),
        );
        let edge = Stroke::new(1.0, p.on_veil);
        s.ui.painter().rect(press, CornerRadius::same(radius::CONTROL), p.raised, edge, StrokeKind::Inside);
        widgets::paint_centered(s.ui, press, button);
        let at = pos2(bar.left() + space::M, bar.center().y - words.size().y / 2.0);
        s.ui.painter().galley(at, words, p.on_veil);
        s.buttons.push(Press { rect: press, label: label.to_owned(), act: Act::Veil(m.message, hidden) });
    }
    s.y += VEIL + space::XS;
}

fn reactions(s: &mut Sketch<'_>, m: &MessageItem) {
    let p = widgets::colors(s.ui);
    if m.reactions.is_empty() {
        return;
    }
    s.y += space::XS;
    let mut x = GUTTER;
    for reaction in &m.reactions {
        let (fill, color) = if reaction.yours { (p.selected, p.on_selected) } else { (p.hover, p.text) };
        let room = s.text_width() - 2.0 * space::M;
        let galley = text::line(s.ui, &reaction.words, &Pen::new(fonts::regular(size::SMALL), color), room);
        let wide = galley.size().x + 2.0 * space::M;
        if x + wide > s.width && x > GUTTER {
            x = GUTTER;
            s.y += measure::CHIP + space::XS;
        }
        if let Some(at) = s.at(x) {
            let chip = Rect::from_min_size(at, vec2(wide, measure::CHIP));
            s.ui.painter().rect_filled(chip, CornerRadius::same(13), fill);
            widgets::paint_centered(s.ui, chip, galley);
            let act = Act::React(m.message, reaction.reaction, !reaction.yours);
            s.buttons.push(Press { rect: chip, label: reaction.words.clone(), act });
        }
        x += wide + space::S;
    }
    s.y += measure::CHIP;
}

fn chip(s: &mut Sketch<'_>, label: &str, colors: (Color32, Color32), act: Act) {
    let galley = text::line(s.ui, label, &Pen::new(fonts::medium(size::NOTE), colors.1), 240.0);
    s.y += space::XS;
    if let Some(at) = s.at(GUTTER) {
        let rect = Rect::from_min_size(at, vec2(galley.size().x + 2.0 * space::M, measure::CHIP));
        s.ui.painter().rect_filled(rect, CornerRadius::same(13), colors.0);
        widgets::paint_centered(s.ui, rect, galley);
        s.buttons.push(Press { rect, label: label.to_owned(), act });
    }
    s.y += measure::CHIP;
}
