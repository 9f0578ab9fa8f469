//! Where one writes. Enter sends, Shift+Enter breaks the line, and neither while an input method composes.

use eframe::egui::{
    CornerRadius, Event, EventFilter, Frame, ImeEvent, Key, KeyboardShortcut, Margin, Modifiers, RichText, ScrollArea,
    Stroke, TextEdit, Ui, UiBuilder, vec2,
};
use hearth_protocol::limits::{CONTENT_NOTE_CHARS_MAX, TEXT_MAX};

use super::composer_id;
use crate::{
    fonts,
    state::{Act, Draft},
    text::{self, Pen},
    theme::{measure, radius, size, space},
    widgets::{self, Field, Loud},
};

/// What the composer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ComposerRow {
    /// "Write to Tuesday circle…", or why one cannot.
    pub hint: String,
    /// Whether one may write.
    pub open: bool,
    /// The line that is answered.
    pub reply: Option<String>,
    /// Whether an input method composes.
    pub composing: bool,
}

const PASTE_TOO_LONG: &str = "That is too long for one message, so it was not pasted: nothing is lost, it is still where you copied it. Paste it in parts.";
const FULL: &str = "This is as long as one message can be. Send it, and go on in the next.";

const KEYS: &str = "Enter sends, Shift+Enter begins a new line";

/// The most lines before it scrolls.
const LINES_MAX: f32 = 8.0;

/// How high it will be.
#[must_use]
pub fn height(ui: &Ui, row: &ComposerRow, draft: &Draft, width: f32) -> f32 {
    let line = (size::BODY * size::LINE).round();
    let pen = Pen::new(fonts::regular(size::BODY), widgets::colors(ui).text);
    let wrap = (width - 170.0).max(80.0);
    let text = text::folded(&draft.text).unwrap_or(&draft.text);
    let lines = text::layout(ui, text, &pen, wrap).size().y.clamp(line, line * LINES_MAX);
    let extra = |on: bool, tall: f32| if on { tall } else { 0.0 };
    lines
        + 64.0
        + extra(row.reply.is_some() || draft.editing.is_some(), 32.0)
        + extra(draft.note_open, 44.0)
        + extra(draft.problem.is_some(), 24.0)
        + extra(text::has_rtl(text), 26.0)
        + 28.0
}

/// Draws it.
pub fn show(ui: &mut Ui, row: &ComposerRow, draft: &mut Draft) -> Vec<Act> {
    let mut acts = Vec::new();
    let p = widgets::colors(ui);
    let mut rect = ui.max_rect().shrink2(vec2(space::L, 0.0));
    rect.set_width(rect.width().min(measure::TEXT + 46.0));
    rect.max.y -= space::S;
    let mut ui = ui.new_child(UiBuilder::new().max_rect(rect));
    let ui = &mut ui;
    ui.spacing_mut().item_spacing.y = space::XS;
    if !row.open {
        widgets::note(ui, &row.hint);
        return acts;
    }
    above(ui, row, draft);
    let frame = Frame::new()
        .fill(p.raised)
        .stroke(Stroke::new(1.0, p.border))
        .corner_radius(CornerRadius::same(radius::CARD))
        .inner_margin(Margin::symmetric(8, 8));
    let sent = take_enter(ui, row.composing);
    let boxed = frame.show(ui, |ui| {
        ui.set_width(ui.available_width());
        ui.horizontal(|ui| {
            let label = if draft.editing.is_some() { "Save" } else { "Send" };
            let wide = ui.available_width() - widgets::button_width(ui, label) - ui.spacing().item_spacing.x;
            let line = (size::BODY * size::LINE).round();
            let edit = ui.allocate_ui(vec2(wide, measure::TARGET), |ui| {
                ScrollArea::vertical()
                    .max_height(line * LINES_MAX + 8.0)
                    .min_scrolled_height(measure::TARGET)
                    .id_salt("writing")
                    .show(ui, |ui| field(ui, row, draft, wide))
                    .inner
            });
            let ready = !draft.text.trim().is_empty();
            if sent && !ready {
                draft.problem = Some("There is nothing to send yet. Write a few words first.".into());
            }
            let send = ui.add_enabled_ui(ready, |ui| widgets::button(ui, Loud::Primary, label)).inner;
            if ready && (send.clicked() || sent) {
                acts.push(Act::Send);
            }
            edit.inner
        })
        .inner
    });
    let has_focus = ui.memory(|m| m.has_focus(composer_id()));
    if has_focus {
        let ring = Stroke::new(measure::RING, p.accent);
        let corner = CornerRadius::same(radius::CARD);
        ui.painter().rect_stroke(boxed.response.rect, corner, ring, eframe::egui::StrokeKind::Inside);
    }
    ui.horizontal(|ui| {
        if !draft.note_open && widgets::button(ui, Loud::Quiet, "Add a content note").clicked() {
            draft.note_open = true;
        }
        // Broken into lines it would cover what is below; all keys are listed under Ctrl+/.
        let pen = Pen::new(fonts::regular(size::NOTE), widgets::colors(ui).secondary);
        if text::line(ui, KEYS, &pen, f32::INFINITY).size().x <= ui.available_width() {
            widgets::note(ui, KEYS);
        }
    });
    acts
}

fn above(ui: &mut Ui, row: &ComposerRow, draft: &mut Draft) {
    let p = widgets::colors(ui);
    if let Some(problem) = &draft.problem {
        widgets::problem(ui, problem);
    }
    let state = match (&row.reply, draft.editing) {
        (_, Some(_)) => Some("Changing your message".to_owned()),
        (Some(quote), None) => Some(format!("Answering {quote}")),
        (None, None) => None,
    };
    if let Some(words) = state {
        ui.horizontal(|ui| {
            let pen = Pen::new(fonts::regular(size::NOTE), p.secondary);
            let galley = text::line(ui, &words, &pen, ui.available_width() - 120.0);
            let (rect, said) = ui.allocate_exact_size(galley.size(), eframe::egui::Sense::hover());
            ui.painter().galley(rect.min, galley, p.secondary);
            said.widget_info(|| eframe::egui::WidgetInfo::labeled(eframe::egui::Role::Label, true, &words));
            if widgets::button(ui, Loud::Quiet, "Not an answer").on_hover_text("Keeps what you wrote").clicked() {
                draft.reply_to = None;
                draft.editing = None;
            }
        });
    }
    if draft.note_open {
        ui.horizontal(|ui| {
            let wide = (ui.available_width() - 130.0).min(420.0);
            ui.allocate_ui(vec2(wide, measure::TARGET), |ui| {
                Field::new("content-note", "Content note")
                    .hint("What others should know before they read")
                    .bare(ui, &mut draft.note);
            });
            let cut = draft.note.char_indices().nth(CONTENT_NOTE_CHARS_MAX).map(|(at, _)| at);
            if let Some(at) = cut {
                draft.note.truncate(at);
                draft.problem = Some("A content note holds 64 characters: the rest was left out.".into());
            }
            if widgets::button(ui, Loud::Quiet, "Without note").clicked() {
                draft.note_open = false;
                draft.note.clear();
            }
        });
    }
    if text::has_rtl(&draft.text) {
        let last = draft.text.lines().last().unwrap_or_default();
        widgets::note(ui, last);
    }
}

fn field(ui: &mut Ui, row: &ComposerRow, draft: &mut Draft, wide: f32) {
    let p = widgets::colors(ui);
    keep_out(ui, draft);
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    let edit = TextEdit::multiline(&mut draft.text)
        .id(composer_id())
        .hint_text(RichText::new(row.hint.as_str()).color(p.secondary))
        .frame(Frame::new().inner_margin(Margin::symmetric(8, 5)))
        .font(fonts::regular(size::BODY))
        .event_filter(filter)
        .return_key(KeyboardShortcut::new(Modifiers::SHIFT, Key::Enter))
        .desired_rows(1)
        .desired_width(wide);
    let response = ui.add(edit).accessible_name("Message");
    if response.changed() {
        draft.problem = None;
        draft.touched = Some(ui.input(|i| i.time));
    }
}

/// What would make the message longer than one can be is left out whole, and said: a text that was cut looks like all of it.
fn keep_out(ui: &Ui, draft: &mut Draft) {
    if !ui.memory(|m| m.has_focus(composer_id())) {
        return;
    }
    let room = TEXT_MAX.saturating_sub(draft.text.len());
    let mut problem = None;
    ui.input_mut(|i| {
        i.events.retain(|e| {
            let (text, pasted) = match e {
                Event::Paste(text) => (text, true),
                Event::Text(text) | Event::Ime(ImeEvent::Commit(text)) => (text, false),
                _ => return true,
            };
            if text.len() > room {
                problem = Some(if pasted { PASTE_TOO_LONG } else { FULL });
            }
            text.len() <= room
        });
    });
    if let Some(words) = problem {
        draft.problem = Some(words.into());
    }
}

/// Whether Enter alone was pressed to send. It is taken away, so that nothing else acts on it.
fn take_enter(ui: &Ui, composing: bool) -> bool {
    if composing || !ui.memory(|m| m.has_focus(composer_id())) {
        return false;
    }
    ui.input_mut(|i| {
        // In the frame of a commit, Enter belongs to the input method.
        if i.events.iter().any(|e| matches!(e, Event::Ime(_))) {
            return false;
        }
        let plain = |e: &Event| {
            matches!(e, Event::Key { key: Key::Enter, pressed: true, modifiers, .. } if *modifiers == Modifiers::NONE)
        };
        let found = i.events.iter().any(plain);
        i.events.retain(|e| !plain(e));
        found
    })
}
