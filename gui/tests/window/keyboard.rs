use eframe::egui::{Event, ImeEvent, Key, Modifiers};
use egui_kittest::kittest::Queryable;
use hearth_node::app::Command;

use crate::desk::{CIRCLE, Desk};

const CTRL_SHIFT: Modifiers = Modifiers { ctrl: true, command: true, shift: true, ..Modifiers::NONE };
const CTRL: Modifiers = Modifiers { ctrl: true, command: true, ..Modifiers::NONE };

const NEWEST: &str = "Quiet Heron, 19:36, I am around until nine if somebody wants to talk., held by 2 relays";

#[test]
fn f6_goes_through_the_regions_in_reading_order_and_back() {
    let mut desk = Desk::circle();
    let mut seen = vec![desk.focused()];
    for _ in 0..4 {
        desk.key(Modifiers::NONE, Key::F6);
        seen.push(desk.focused());
    }
    // In the timeline the screen reader is on the newest message.
    assert_eq!(seen, ["Message", "Invite somebody", "Tuesday circle, facilitator", NEWEST, "Message"]);
    desk.key(Modifiers::SHIFT, Key::F6);
    assert_eq!(desk.focused(), NEWEST);
}

#[test]
fn the_timeline_is_one_tab_stop_between_groups_and_composer() {
    let mut desk = Desk::circle();
    desk.harness.get_by_label("Settings").focus();
    desk.harness.run_steps(2);
    let mut seen = Vec::new();
    for _ in 0..4 {
        desk.key(Modifiers::NONE, Key::Tab);
        seen.push(desk.focused());
    }
    assert_eq!(seen, [NEWEST, "Message", "Add a content note", "Invite somebody"]);
}

#[test]
fn enter_sends_shift_enter_breaks_and_composing_does_neither() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "one");
    desk.key(Modifiers::SHIFT, Key::Enter);
    desk.harness.get_by_label("Message").type_text("two");
    desk.settle();
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some("one\ntwo"));
    assert!(desk.sent().is_empty());
    // An input method holds Enter while it composes, and in the frame in which it commits.
    desk.harness.event(Event::Ime(ImeEvent::Preedit { text: "に".into(), active_range_chars: None }));
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    assert!(desk.sent().is_empty(), "sent while composing");
    desk.harness.event(Event::Ime(ImeEvent::Commit("日".into())));
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.sent().len(), 1);
    assert!(desk.sent()[0].starts_with("one\ntwo"));
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some(""));
}

#[test]
fn escape_returns_to_the_composer_and_keeps_the_draft() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "a thought");
    desk.key(Modifiers::NONE, Key::F6);
    desk.key(Modifiers::NONE, Key::Escape);
    assert_eq!(desk.focused(), "Message");
    desk.key(Modifiers::NONE, Key::Escape);
    assert_eq!(desk.focused(), "Message");
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some("a thought"));
}

#[test]
fn arrows_choose_a_message_r_answers_and_enter_acts() {
    let mut desk = Desk::circle();
    desk.harness.get_by_label("Messages").focus();
    desk.settle();
    desk.key(Modifiers::NONE, Key::ArrowUp);
    desk.key(Modifiers::NONE, Key::R);
    assert_eq!(desk.focused(), "Message");
    assert!(desk.tree().contains("Answering Steady Otter: Good that you are here."), "{}", desk.tree());
    desk.harness.get_by_label("Message").type_text("so am I");
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    let sent = desk.commands(|c| matches!(c, Command::MessageSend { reply_to: Some(_), .. }));
    assert_eq!(sent.len(), 1);
    desk.harness.get_by_label("Messages").focus();
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    desk.click("With you");
    assert_eq!(desk.commands(|c| matches!(c, Command::MessageReact { on: true, .. })).len(), 1);
}

#[test]
fn control_l_locks_and_control_shift_h_hides() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "not yet sent");
    desk.key(CTRL_SHIFT, Key::H);
    assert!(!desk.tree().contains("Tuesday circle"));
    desk.harness.event(Event::Text("typed into the empty page".into()));
    desk.settle();
    assert_eq!(desk.commands(|c| matches!(c, Command::VaultLock {})).len(), 1, "an empty page is a locked one");
    desk.key(CTRL_SHIFT, Key::H);
    assert!(!desk.tree().contains("Tuesday circle") && !desk.tree().contains("typed into"));
    desk.type_into("Passphrase", "lamp quiet river");
    desk.key(Modifiers::NONE, Key::Enter);
    desk.harness.state_mut().open(CIRCLE);
    desk.settle();
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some("not yet sent"));
    desk.key(CTRL, Key::L);
    assert_eq!(desk.commands(|c| matches!(c, Command::VaultLock {})).len(), 2);
    assert_eq!(desk.fake.drafts.get(&CIRCLE).map(String::as_str), Some("not yet sent"), "kept before locking");
    desk.harness.get_by_label("Passphrase");
}

#[test]
fn control_k_jumps_and_alt_arrows_walk() {
    let mut desk = Desk::home();
    desk.key(CTRL, Key::K);
    desk.harness.get_by_label("Group or command").type_text("nights");
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    assert!(desk.tree().contains("Write to New parents, nights") || desk.focused() == "Message");
    let open = desk.harness.state_mut().state_mut().group;
    desk.key(Modifiers::ALT, Key::ArrowUp);
    let above = desk.harness.state_mut().state_mut().group;
    assert!(above.is_some() && above != open);
    desk.key(Modifiers::ALT, Key::ArrowDown);
    assert_eq!(desk.harness.state_mut().state_mut().group, open);
}

#[test]
fn e_reacts_to_a_message_and_alt_shift_arrows_go_to_what_is_new() {
    let mut desk = Desk::circle();
    desk.harness.get_by_label("Messages").focus();
    desk.settle();
    desk.key(Modifiers::NONE, Key::E);
    desk.key(Modifiers::NONE, Key::Tab);
    assert_eq!(desk.focused(), "With you");
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.commands(|c| matches!(c, Command::MessageReact { on: true, .. })).len(), 1);
    let alt_shift = Modifiers { alt: true, shift: true, ..Modifiers::NONE };
    desk.key(alt_shift, Key::ArrowDown);
    // The next one has nothing new: it is passed over.
    let open = desk.harness.state_mut().state_mut().group;
    let name = desk.harness.state_mut().model().group(open.unwrap()).unwrap().name.clone();
    assert_eq!(name, "New parents, nights");
}

#[test]
fn f6_reaches_every_page_and_a_narrow_window() {
    use hearth::state::Page;
    let mut desk = Desk::home();
    for (page, first) in [(Page::Create, "Recovery"), (Page::Join, "Invite link"), (Page::Settings, "As the system")] {
        desk.harness.state_mut().state_mut().page = page;
        desk.settle();
        desk.harness.get_all_by_label("Settings").next().unwrap().focus();
        desk.settle();
        desk.key(Modifiers::NONE, Key::F6);
        assert_eq!(desk.focused(), first, "{page:?}");
    }
    let mut desk = Desk::home_of(eframe::egui::vec2(640.0, 700.0));
    desk.harness.state_mut().open(CIRCLE);
    desk.settle();
    let mut seen = Vec::new();
    for _ in 0..3 {
        desk.key(Modifiers::NONE, Key::F6);
        seen.push(desk.focused());
    }
    assert_eq!(seen, ["Groups", NEWEST, "Message"]);
}

#[test]
fn everything_until_the_first_message_goes_by_keyboard_alone() {
    let mut desk = Desk::fresh();
    let typed = |desk: &mut Desk, text: &str| {
        desk.harness.event(Event::Text(text.into()));
        desk.settle();
    };
    // Each field has the focus when its screen comes up.
    typed(&mut desk, "lamp quiet river stone");
    desk.key(Modifiers::NONE, Key::Tab);
    typed(&mut desk, "lamp quiet river stone");
    desk.key(Modifiers::NONE, Key::Enter);
    desk.harness.event(Event::Paste(crate::fake::LINK.into()));
    desk.settle();
    for _ in 0..20 {
        if desk.focused() == "Accept the charter and join" {
            break;
        }
        desk.key(Modifiers::NONE, Key::Tab);
    }
    assert_eq!(desk.focused(), "Accept the charter and join");
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.focused(), "Message");
    typed(&mut desk, "Hello");
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.sent(), ["Hello"]);
}

#[test]
fn control_slash_shows_the_keys_and_escape_closes_them() {
    let mut desk = Desk::circle();
    desk.key(CTRL, Key::Slash);
    desk.harness.get_by_label("next and previous region");
    desk.key(Modifiers::NONE, Key::Escape);
    assert!(desk.harness.query_by_label("next and previous region").is_none());
    assert_eq!(desk.focused(), "Message");
}

#[test]
fn zoom_stays_between_80_and_200_percent() {
    let mut desk = Desk::home();
    for _ in 0..20 {
        desk.key(CTRL, Key::Minus);
    }
    assert!((desk.harness.ctx.zoom_factor() - 0.8).abs() < 0.01);
    for _ in 0..20 {
        desk.key(CTRL, Key::Plus);
    }
    assert!((desk.harness.ctx.zoom_factor() - 2.0).abs() < 0.01);
    desk.key(CTRL, Key::Num0);
    assert!((desk.harness.ctx.zoom_factor() - 1.0).abs() < 0.01);
}

#[test]
fn every_page_names_its_controls() {
    use hearth::state::Page;
    let mut desk = Desk::circle();
    for page in [Page::Start, Page::Create, Page::Join, Page::Members, Page::Settings, Page::Group] {
        desk.harness.state_mut().state_mut().page = page;
        desk.settle();
        assert_eq!(desk.harness.unnamed_widgets(), Vec::<String>::new(), "{page:?}");
    }
}
