//! The timeline: only what is in sight is laid out. One item keeps its place whatever is added before or after it.

mod draw;

use eframe::egui::{
    Align2, CornerRadius, Event, EventFilter, Key as Press, Modifiers, Rect, Role, Sense, Ui, WidgetInfo, pos2, vec2,
};
use hearth_node::app::Reach;

use super::timeline_id;
use crate::{
    rows::{Item, Key},
    state::{Act, Dialog, Scroll},
    theme::{measure, space},
    widgets::{self, Loud},
};

/// Items from an end at which more is asked for.
const NEAR: usize = 40;
const PAD: f32 = space::M;

/// What the timeline shows.
#[derive(Clone, Copy, Debug)]
pub struct TimelineRow<'a> {
    /// Its items, oldest first.
    pub items: &'a [Item],
    /// Grows when the items change.
    pub revision: u64,
    /// Whether the newest message is among them.
    pub newest: bool,
    /// What to say when there is none.
    pub empty: &'a str,
}

/// Draws it.
pub fn show(ui: &mut Ui, row: TimelineRow<'_>, scroll: &mut Scroll) -> Vec<Act> {
    let rect = ui.max_rect();
    let mut acts = Vec::new();
    let list = ui.interact(rect, timeline_id(), Sense::focusable_noninteractive() | Sense::CLICK);
    list.widget_info(|| WidgetInfo::labeled(Role::List, true, "Messages"));
    if list.clicked() {
        list.request_focus();
    }
    if row.items.is_empty() {
        scroll.drawn = 0;
        empty(ui, rect, row.empty);
        return acts;
    }
    if list.has_focus() {
        keys(ui, row.items, scroll, rect, &mut acts);
    }
    let mut column = Column::new(ui, row, scroll, rect);
    let placed = column.place(ui);
    scroll.drawn = placed.len();
    for (index, top, height) in &placed {
        if let Some(item) = row.items.get(*index) {
            let at = Rect::from_min_size(pos2(rect.left() + space::L, *top), vec2(column_width(rect), *height));
            let focused = list.has_focus() && item.message().is_some_and(|m| scroll.focus == Some(m.message));
            acts.extend(draw::item(ui, item, at, (list.id, focused)));
            if focused && let Some(m) = item.message() {
                let row_id = draw::row_id(m.message).accesskit_id();
                ui.ctx().accesskit_node_builder(list.id, |node| node.set_active_descendant(row_id));
            }
        }
    }
    indicator(ui, rect, &placed, row.items.len());
    if let Some(act) = reading(row, &placed, rect) {
        acts.push(act);
    }
    if !(scroll.at_end && row.newest) {
        let size = vec2(170.0, measure::TARGET);
        let at = Align2::CENTER_BOTTOM.align_size_within_rect(size, rect.shrink(space::M));
        let mut child = ui.new_child(eframe::egui::UiBuilder::new().max_rect(at));
        if widgets::button(&mut child, Loud::Plain, "To the newest").clicked() {
            acts.push(Act::Newest);
        }
    }
    widgets::focus_ring(ui, &list.with_new_rect(rect.shrink(3.0)), 4);
    acts
}

fn column_width(rect: Rect) -> f32 {
    (rect.width() - space::L - space::XL).clamp(120.0, measure::TEXT + draw::GUTTER)
}

fn empty(ui: &mut Ui, rect: Rect, words: &str) {
    let width = (rect.width() - 2.0 * space::XXL).min(measure::FORM);
    let at = Rect::from_center_size(rect.center(), vec2(width, 120.0));
    let mut child = ui.new_child(eframe::egui::UiBuilder::new().max_rect(at));
    widgets::body(&mut child, words);
}

/// Which message is read, and whether more is needed beyond an end.
fn reading(row: TimelineRow<'_>, placed: &[(usize, f32, f32)], rect: Rect) -> Option<Act> {
    let (first, last) = (placed.first()?.0, placed.last()?.0);
    let middle = placed.iter().filter(|(i, ..)| row.items.get(*i).is_some_and(|x| x.message().is_some()));
    let (index, ..) = middle.min_by(|a, b| (a.1 - rect.center().y).abs().total_cmp(&(b.1 - rect.center().y).abs()))?;
    let message = row.items.get(*index)?.message()?.message;
    let edge = match () {
        () if first < NEAR => Some(Reach::Oldest),
        () if last + NEAR >= row.items.len() && !row.newest => Some(Reach::Newest),
        () => None,
    };
    Some(Act::Reading(message, edge))
}

/// Lays items out round the anchor.
struct Column<'a> {
    items: &'a [Item],
    scroll: &'a mut Scroll,
    rect: Rect,
}

impl<'a> Column<'a> {
    fn new(ui: &Ui, row: TimelineRow<'a>, scroll: &'a mut Scroll, rect: Rect) -> Self {
        let measured = (column_width(rect) * ui.pixels_per_point(), row.revision);
        if scroll.measured != measured {
            scroll.heights.clear();
            scroll.measured = measured;
        }
        let modal = ui.memory(|m| m.top_modal_layer().is_some());
        let wheel =
            if ui.rect_contains_pointer(rect) && !modal { ui.input(|i| i.smooth_scroll_delta().y) } else { 0.0 };
        if wheel != 0.0 {
            scroll.at_end &= wheel < 0.0;
            if let Some((_, offset)) = &mut scroll.anchor {
                *offset += wheel;
            }
        }
        Self { items: row.items, scroll, rect }
    }

    fn height(&mut self, ui: &Ui, index: usize) -> f32 {
        let Some(item) = self.items.get(index) else { return 0.0 };
        let key = item.key();
        if let Some(height) = self.scroll.heights.get(&key) {
            return *height;
        }
        let height = draw::height(ui, item, column_width(self.rect));
        self.scroll.heights.insert(key, height);
        height
    }

    /// What is in sight: index, top and height; and remembers the new anchor.
    fn place(&mut self, ui: &Ui) -> Vec<(usize, f32, f32)> {
        let (top, bottom) = (self.rect.top() + PAD, self.rect.bottom() - PAD);
        let last = self.items.len().saturating_sub(1);
        let find = |key: Key| self.items.iter().position(|i| i.key() == key);
        let anchored =
            if self.scroll.at_end { None } else { self.scroll.anchor.and_then(|(k, o)| Some((find(k)?, o))) };
        let (mut index, mut y) = match anchored {
            Some((index, offset)) => (index, self.rect.top() + offset),
            None => (last, bottom - self.height(ui, last)),
        };
        if self.scroll.reveal {
            (index, y) = self.reveal(ui, index, y);
        }
        let mut placed = self.span(ui, index, y);
        if placed.is_empty() {
            // Beyond an end by more than a pane.
            let lowest = bottom - self.height(ui, last);
            placed = if y > top { self.span(ui, 0, top) } else { self.span(ui, last, lowest) };
        }
        // Nothing above the first item, and nothing below the last.
        if let Some((0, first, _)) = placed.first().copied()
            && first > top
        {
            placed = self.span(ui, 0, top);
        }
        self.scroll.at_end = false;
        if let Some((n, at, height)) = placed.last().copied()
            && n == last
            && at + height <= bottom + 1.0
        {
            if (at + height - bottom).abs() > 0.01 {
                placed = self.span(ui, last, bottom - height);
            }
            self.scroll.at_end = true;
        }
        let kept = placed.iter().find(|(_, at, height)| at + height > self.rect.top());
        self.scroll.anchor = kept.and_then(|(i, at, _)| Some((self.items.get(*i)?.key(), at - self.rect.top())));
        placed
    }

    /// Every item that touches the pane when item `index` has its top at `y`.
    fn span(&mut self, ui: &Ui, index: usize, y: f32) -> Vec<(usize, f32, f32)> {
        let mut above = Vec::new();
        let (mut n, mut top) = (index, y);
        while n > 0 && top > self.rect.top() {
            n -= 1;
            let height = self.height(ui, n);
            top -= height;
            if top < self.rect.bottom() {
                above.push((n, top, height));
            }
        }
        above.reverse();
        let (mut n, mut top) = (index, y);
        while n < self.items.len() && top < self.rect.bottom() {
            let height = self.height(ui, n);
            if top + height > self.rect.top() {
                above.push((n, top, height));
            }
            top += height;
            n += 1;
        }
        above
    }

    /// Moves the least that brings the message under the keyboard into sight.
    fn reveal(&mut self, ui: &Ui, index: usize, y: f32) -> (usize, f32) {
        self.scroll.reveal = false;
        let focus = self.scroll.focus;
        let Some(wanted) = self.items.iter().position(|i| i.message().map(|m| m.message) == focus) else {
            return (index, y);
        };
        let height = self.height(ui, wanted);
        let seen = self.span(ui, index, y).into_iter().find(|(i, ..)| *i == wanted);
        let (low, high) = (self.rect.top() + PAD, self.rect.bottom() - PAD - height);
        let at = match seen {
            Some((_, at, _)) if at >= low && at <= high.max(low) => return (index, y),
            Some((_, at, _)) if at < low => low,
            Some(_) => high.max(low),
            None if wanted < index => low,
            None => high.max(low),
        };
        self.scroll.at_end = false;
        (wanted, at)
    }
}

/// Keys of the one Tab stop.
fn keys(ui: &Ui, items: &[Item], scroll: &mut Scroll, rect: Rect, acts: &mut Vec<Act>) {
    let filter = EventFilter { vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|m| m.set_focus_lock_filter(timeline_id(), filter));
    let messages = || items.iter().filter_map(Item::message);
    if scroll.focus.is_none_or(|id| !messages().any(|m| m.message == id)) {
        scroll.focus = messages().next_back().map(|m| m.message);
    }
    let Some(focus) = scroll.focus else { return };
    let pressed: Vec<Press> = ui.input(|i| {
        let keys = i.events.iter().filter_map(|e| match e {
            Event::Key { key, pressed: true, modifiers, .. } if *modifiers == Modifiers::NONE => Some(*key),
            _ => None,
        });
        keys.collect()
    });
    for key in pressed {
        let to = match key {
            Press::ArrowUp => messages().take_while(|m| m.message != focus).last(),
            Press::ArrowDown => messages().skip_while(|m| m.message != focus).nth(1),
            Press::Home => messages().next(),
            Press::End => messages().next_back(),
            Press::PageUp | Press::PageDown => {
                let page = (rect.height() * 0.85).copysign(if key == Press::PageUp { 1.0 } else { -1.0 });
                scroll.at_end = false;
                if let Some((_, offset)) = &mut scroll.anchor {
                    *offset += page;
                }
                None
            }
            Press::Enter | Press::E => {
                acts.push(Act::Ask(Dialog::Actions(focus)));
                None
            }
            Press::R => {
                acts.push(Act::Reply(focus));
                None
            }
            _ => None,
        };
        if let Some(to) = to {
            scroll.focus = Some(to.message);
            scroll.reveal = true;
        }
    }
}

/// How far along one is: a thin mark, not a control.
fn indicator(ui: &Ui, rect: Rect, placed: &[(usize, f32, f32)], all: usize) {
    if placed.len() >= all {
        return;
    }
    let part = |n: usize| f32::from(u16::try_from(n.min(60_000)).unwrap_or(u16::MAX));
    let (first, count, all) = (part(placed.first().map_or(0, |p| p.0)), part(placed.len()), part(all).max(1.0));
    let tall = rect.height() - 2.0 * space::XS;
    let height = (tall * count / all).max(28.0);
    let top = rect.top() + space::XS + (tall - height) * (first / (all - count).max(1.0)).clamp(0.0, 1.0);
    let bar = Rect::from_min_size(pos2(rect.right() - 7.0, top), vec2(4.0, height));
    ui.painter().rect_filled(bar, CornerRadius::same(2), widgets::colors(ui).line);
}
