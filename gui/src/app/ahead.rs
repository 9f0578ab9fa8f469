//! What is typed faster than frames are drawn.
//!
//! A frame takes all its events at once, and a key that moves the focus moves it for the whole frame: letters typed
//! before or after it would reach the wrong field, or none. So such a key gets a frame of its own, and what is typed
//! before any field is there waits for one.

use std::collections::VecDeque;

use eframe::egui::{Event, Key};

/// Events that wait at most; with more, all are given at once.
const WAITING_MAX: usize = 4_096;
/// Seconds after the first frame for which letters wait for a field.
const FIELD_WAIT: f64 = 2.0;

/// See the module.
#[derive(Default)]
pub(super) struct Ahead {
    waiting: VecDeque<Event>,
    /// How many events were given that no frame has taken yet: they come again, before what is new.
    given: usize,
    field_seen: bool,
    first_frame: Option<f64>,
}

impl Ahead {
    /// Leaves the events of this frame, and says whether more are waiting for another.
    pub(super) fn take(&mut self, focused: bool, now: f64, events: &mut Vec<Event>) -> bool {
        let since = now - *self.first_frame.get_or_insert(now);
        self.field_seen |= focused || since > FIELD_WAIT;
        let new = events.split_off(self.given.min(events.len()));
        for event in events.drain(..).rev() {
            self.waiting.push_front(event);
        }
        self.waiting.extend(new);
        if self.waiting.len() > WAITING_MAX {
            events.extend(self.waiting.drain(..));
        } else if self.field_seen {
            while let Some(event) = self.waiting.pop_front() {
                let alone = moves_focus(&event);
                if alone && events.iter().any(is_typed) {
                    self.waiting.push_front(event);
                    break;
                }
                events.push(event);
                if alone {
                    break;
                }
            }
        } else {
            let (typed, rest): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(needs_field);
            events.extend(rest);
            self.waiting.extend(typed);
        }
        self.given = events.len();
        !self.waiting.is_empty()
    }

    /// A frame took the events: none of them comes again.
    pub(super) fn taken(&mut self) {
        self.given = 0;
    }
}

fn moves_focus(event: &Event) -> bool {
    match event {
        Event::Key { key, pressed, .. } => *pressed && matches!(key, Key::Tab | Key::Enter | Key::Escape | Key::F6),
        Event::PointerButton { .. } => true,
        _ => false,
    }
}

fn is_typed(event: &Event) -> bool {
    matches!(event, Event::Text(_) | Event::Key { .. } | Event::Paste(_) | Event::Ime(_))
}

/// A shortcut needs no field: hiding the window least of all.
fn needs_field(event: &Event) -> bool {
    is_typed(event) && !matches!(event, Event::Key { modifiers, .. } if modifiers.command)
}

#[cfg(test)]
mod tests {
    use eframe::egui::Modifiers;

    use super::*;

    fn text(letters: &str) -> Event {
        Event::Text(letters.into())
    }

    fn key(key: Key) -> Event {
        Event::Key { key, physical_key: None, pressed: true, repeat: false, modifiers: Modifiers::NONE }
    }

    fn frames(ahead: &mut Ahead, mut events: Vec<Event>) -> Vec<Vec<Event>> {
        let mut frames = Vec::new();
        loop {
            let more = ahead.take(true, 0.0, &mut events);
            frames.push(std::mem::take(&mut events));
            ahead.taken();
            if !more {
                return frames;
            }
        }
    }

    #[test]
    fn a_key_that_moves_the_focus_has_a_frame_of_its_own() {
        let typed = vec![text("a"), text("b"), key(Key::Tab), text("c"), key(Key::Enter), key(Key::Enter)];
        let split = frames(&mut Ahead::default(), typed);
        let expected = [
            vec![text("a"), text("b")],
            vec![key(Key::Tab)],
            vec![text("c")],
            vec![key(Key::Enter)],
            vec![key(Key::Enter)],
        ];
        assert_eq!(split, expected);
    }

    #[test]
    fn what_no_frame_took_comes_again_in_its_place() {
        let mut ahead = Ahead::default();
        let mut events = vec![text("a"), key(Key::Tab), text("b")];
        assert!(ahead.take(true, 0.0, &mut events));
        assert_eq!(events, [text("a")]);
        events.push(text("c"));
        assert!(ahead.take(true, 0.0, &mut events));
        assert_eq!(events, [text("a")]);
        ahead.taken();
        events.clear();
        assert_eq!(frames(&mut ahead, events), [vec![key(Key::Tab)], vec![text("b"), text("c")]]);
    }

    #[test]
    fn letters_wait_for_a_field_and_everything_else_does_not() {
        let mut ahead = Ahead::default();
        let mut hide = key(Key::H);
        if let Event::Key { modifiers, .. } = &mut hide {
            *modifiers = Modifiers::COMMAND | Modifiers::SHIFT;
        }
        let mut events = vec![text("a"), Event::PointerGone, hide.clone()];
        assert!(ahead.take(false, 5.0, &mut events));
        assert_eq!(events, [Event::PointerGone, hide]);
        ahead.taken();
        let mut events = vec![text("b")];
        assert!(!ahead.take(true, 5.1, &mut events));
        assert_eq!(events, [text("a"), text("b")]);
    }

    #[test]
    fn nothing_waits_for_ever_and_no_more_than_the_bound() {
        let mut ahead = Ahead::default();
        let mut events = vec![text("a")];
        assert!(ahead.take(false, 0.0, &mut events) && events.is_empty());
        assert!(!ahead.take(false, FIELD_WAIT + 0.1, &mut events));
        assert_eq!(events, [text("a")]);
        let mut flood = vec![text("x"); WAITING_MAX + 1];
        assert!(!Ahead::default().take(false, 0.0, &mut flood));
        assert_eq!(flood.len(), WAITING_MAX + 1);
    }
}
