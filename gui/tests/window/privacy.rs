use eframe::egui::{self, Key, Modifiers, Shape, epaint::ClippedShape};
use egui_kittest::kittest::Queryable;

use crate::desk::Desk;

const VEILED: &str = "I did drink on Saturday";

/// Every text that was painted in the last frame.
fn painted(desk: &Desk) -> String {
    fn walk(shape: &Shape, words: &mut String) {
        match shape {
            Shape::Text(text) => {
                words.push_str(&text.galley.job.text);
                words.push('\n');
            }
            Shape::Vec(shapes) => shapes.iter().for_each(|s| walk(s, words)),
            _ => {}
        }
    }
    let mut words = String::new();
    for ClippedShape { shape, .. } in &desk.harness.output().shapes {
        walk(shape, &mut words);
    }
    words
}

#[test]
fn what_is_behind_a_content_note_is_neither_painted_nor_in_the_tree() {
    let mut desk = Desk::circle();
    assert!(desk.tree().contains("hidden behind a content note: a lapse"), "{}", desk.tree());
    assert!(!desk.tree().contains(VEILED) && !painted(&desk).contains(VEILED));
    desk.click("Show");
    assert!(desk.tree().contains(VEILED) && painted(&desk).contains(VEILED));
    desk.click("Hide again");
    assert!(!desk.tree().contains(VEILED) && !painted(&desk).contains(VEILED));
}

#[test]
fn a_locked_window_shows_no_name_of_anything() {
    let mut desk = Desk::circle();
    let locked_words = ["Tuesday", "Grief", "Heron", "Otter", "soup", "charter"];
    assert!(locked_words.iter().any(|w| painted(&desk).contains(w)));
    desk.key(Modifiers { ctrl: true, command: true, ..Modifiers::NONE }, Key::L);
    for word in locked_words {
        assert!(!desk.tree().contains(word) && !painted(&desk).contains(word), "{word}");
    }
}

#[test]
fn the_quickly_hidden_window_is_empty_and_its_title_neutral() {
    let mut desk = Desk::circle();
    let key = Modifiers { ctrl: true, command: true, shift: true, ..Modifiers::NONE };
    desk.harness.key_press_modifiers(key, Key::H);
    let mut titles = Vec::new();
    for _ in 0..4 {
        desk.harness.run_steps(1);
        let output = &desk.harness.output().viewport_output[&egui::ViewportId::ROOT];
        titles.extend(output.commands.iter().filter_map(|c| match c {
            egui::ViewportCommand::Title(t) => Some(t.clone()),
            _ => None,
        }));
    }
    assert!(titles.iter().all(|t| t == "Untitled"), "{titles:?}");
    assert_eq!(painted(&desk), "");
    assert!(!desk.tree().contains("Hearth"), "{}", desk.tree());
}

#[test]
fn a_passphrase_is_never_painted_nor_spoken() {
    let mut desk = Desk::fresh();
    desk.type_into("Choose a passphrase", "lamp quiet river");
    assert!(!painted(&desk).contains("lamp") && !desk.tree().contains("lamp"));
    let id = hearth::widgets::Field::new("new-pass", "").id;
    let state = egui::TextEdit::load_state(&desk.harness.ctx, id).unwrap();
    let now = (egui::text::CCursorRange::default(), String::new());
    assert!(!state.undoer().has_undo(&now) || state.undoer().undo(&now).is_none_or(|(_, t)| !t.contains("lamp")));
    let _ = desk.harness.get_by_label("Choose a passphrase");
}
