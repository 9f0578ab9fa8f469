//! What goes wrong: each time a sentence in place that says what to do, and nothing is lost.

use eframe::egui::{Event, Key, Modifiers};
use egui_kittest::kittest::Queryable;
use hearth_node::app::Command;

use crate::desk::Desk;

fn paste(desk: &mut Desk, field: &str, text: &str) {
    desk.harness.get_by_label(field).focus();
    desk.settle();
    desk.harness.event(Event::Paste(text.into()));
    desk.settle();
}

fn value(desk: &Desk, field: &str) -> String {
    desk.harness.get_by_label(field).value().unwrap_or_default()
}

#[test]
fn an_empty_message_is_not_sent_and_says_so_until_something_is_typed() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "   ");
    desk.key(Modifiers::NONE, Key::Enter);
    assert!(desk.sent().is_empty());
    assert!(desk.tree().contains("There is nothing to send yet. Write a few words first."), "{}", desk.tree());
    desk.harness.get_by_label("Message").type_text("a");
    desk.settle();
    assert!(!desk.tree().contains("There is nothing to send yet"));
}

#[test]
fn a_megabyte_that_is_pasted_leaves_what_was_written_as_it_was() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "before");
    paste(&mut desk, "Message", &"x".repeat(1 << 20));
    assert_eq!(value(&desk, "Message"), "before");
    assert!(desk.tree().contains("it is still where you copied it. Paste it in parts."), "{}", desk.tree());
    // What just fits goes in, and the next letter does not.
    let limit = hearth_protocol::limits::TEXT_MAX;
    paste(&mut desk, "Message", &"y".repeat(limit - "before".len()));
    assert_eq!(value(&desk, "Message").len(), limit);
    desk.harness.event(Event::Text("z".into()));
    desk.settle();
    assert_eq!(value(&desk, "Message").len(), limit);
    assert!(desk.tree().contains("This is as long as one message can be."));
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.sent().first().map(String::len), Some(limit));
}

#[test]
fn a_megabyte_in_a_field_is_left_out_whole() {
    let mut desk = Desk::home();
    desk.harness.get_all_by_label("Create a group").next().unwrap().click_accesskit();
    desk.settle();
    for field in ["Name of the group", "Your name here"] {
        let before = value(&desk, field);
        paste(&mut desk, field, &"m".repeat(1 << 20));
        assert_eq!(value(&desk, field), before, "{field}");
        assert!(desk.tree().contains(hearth::widgets::TOO_LONG), "{field}");
        desk.harness.get_by_label(field).type_text("n");
        desk.settle();
        assert!(!desk.tree().contains(hearth::widgets::TOO_LONG), "{field}");
    }
}

#[test]
fn what_is_no_link_says_so_and_a_mangled_one_too() {
    let mut desk = Desk::home();
    desk.harness.get_all_by_label("Join with a link").next().unwrap().click_accesskit();
    desk.settle();
    desk.type_into("Invite link", "https://example.org/join");
    assert!(desk.tree().contains("This is no invite link: those begin with hearth://join#."), "{}", desk.tree());
    assert_eq!(value(&desk, "Invite link"), "https://example.org/join", "what was pasted stays to be mended");
    assert!(desk.commands(|c| matches!(c, Command::InviteInspect { .. })).is_empty());
    desk.key(Modifiers { ctrl: true, command: true, ..Modifiers::NONE }, Key::A);
    desk.harness.event(Event::Paste("hearth://join#abcdefghijklmnop".into()));
    desk.settle();
    assert!(desk.tree().contains("The link is damaged: copy it again, whole."), "{}", desk.tree());
}

#[test]
fn names_that_hide_or_pile_up_are_shown_as_others_will_see_them() {
    let mut desk = Desk::home();
    desk.harness.get_all_by_label("Create a group").next().unwrap().click_accesskit();
    desk.settle();
    paste(&mut desk, "Name of the group", "Tue\u{202e}sday\u{200b}");
    assert!(desk.tree().contains("Others will see: Tuesday"), "{}", desk.tree());
    let select_all = Modifiers { ctrl: true, command: true, ..Modifiers::NONE };
    for (given, says) in [
        ("\u{200b}\u{2066}", "Nobody could read this name"),
        (&"m".repeat(65), "Nobody could read this name"),
        (&format!("a{}", "\u{301}".repeat(10_000)), hearth::widgets::TOO_LONG),
    ] {
        desk.harness.get_by_label("Name of the group").focus();
        desk.settle();
        desk.key(select_all, Key::A);
        desk.harness.event(Event::Paste(given.to_owned()));
        desk.settle();
        assert!(desk.tree().contains(says), "{says} in {}", desk.tree());
    }
    assert!(desk.commands(|c| matches!(c, Command::GroupCreate { .. })).is_empty());
}

#[test]
fn the_look_is_kept_in_the_vault_and_comes_back_with_it() {
    use eframe::egui::Theme;
    use hearth_node::app::Look;
    let mut desk = Desk::home();
    desk.harness.get_by_label("Settings").click_accesskit();
    desk.settle();
    desk.click("Light");
    desk.click("Larger");
    desk.click("None");
    assert_eq!(desk.fake.settings, (Some(Look::Light), Some(110), Some(true)));
    let settings = desk.fake.settings;
    let mut desk = Desk::new(eframe::egui::vec2(1280.0, 800.0), |f| {
        f.passphrase = Some("right one".into());
        f.settings = settings;
    });
    assert_eq!(
        desk.harness.ctx.theme(),
        Theme::Dark,
        "the system's, in tests: a locked window knows nothing of the choice"
    );
    desk.type_into("Passphrase", "right one");
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.harness.ctx.theme(), Theme::Light);
    assert!((desk.harness.ctx.zoom_factor() - 1.1).abs() < 0.01);
    assert!(desk.harness.ctx.global_style().animation_time.abs() < f32::EPSILON);
}
