use hearth_node::app::{Command, Join};

use crate::{
    desk::{CIRCLE, Desk},
    fake, sample,
};
use eframe::egui::{self, Key, Modifiers};

fn at_the_door(size: egui::Vec2) -> Desk {
    let mut desk = Desk::new(size, |f| {
        f.now = sample::NOW;
        f.passphrase = Some("x".into());
        f.locked = false;
        f.rooms = sample::rooms();
        sample::knocked(&mut f.rooms);
    });
    desk.harness.state_mut().open(CIRCLE);
    desk.settle();
    desk
}

#[test]
fn who_waits_is_seen_and_let_in() {
    let mut desk = at_the_door(egui::vec2(1280.0, 800.0));
    desk.click("2 people wait to be let in");
    let tree = desk.tree();
    for words in ["Patient Otter", "It is my third week", "Amber Wren", "They wrote nothing about themselves"] {
        assert!(tree.contains(words), "{words} in {tree}");
    }
    desk.click("Let Patient Otter in");
    let said = desk.commands(|c| matches!(c, Command::KnockAdmit { .. }));
    assert_eq!(said.len(), 1);
    let tree = desk.tree();
    assert!(!tree.contains("Patient Otter") && tree.contains("Amber Wren"), "{tree}");
    desk.click("Decline Amber Wren");
    assert_eq!(desk.commands(|c| matches!(c, Command::KnockDecline { .. })).len(), 1);
    assert!(!desk.tree().contains("Waiting to be let in"));
}

#[test]
fn a_knock_is_answered_by_keyboard_alone() {
    let mut desk = at_the_door(egui::vec2(1280.0, 800.0));
    desk.click("2 people wait to be let in");
    for _ in 0..40 {
        if desk.focused() == "Let Patient Otter in" {
            break;
        }
        desk.key(Modifiers::NONE, Key::Tab);
    }
    assert_eq!(desk.focused(), "Let Patient Otter in");
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.commands(|c| matches!(c, Command::KnockAdmit { .. })).len(), 1);
}

#[test]
fn in_a_narrow_window_knocks_are_on_the_members_page() {
    let mut desk = at_the_door(egui::vec2(700.0, 800.0));
    desk.click("Members");
    assert!(desk.tree().contains("Let Amber Wren in"), "{}", desk.tree());
}

#[test]
fn knocking_says_what_will_happen_and_carries_the_introduction() {
    let mut desk = Desk::new(egui::vec2(1280.0, 800.0), |f| {
        f.passphrase = Some("x".into());
        f.locked = false;
        f.behind_link = Join::Knock;
    });
    desk.type_into("Invite link", fake::LINK);
    let tree = desk.tree();
    for words in ["Who is there you see once you are let in", "A facilitator lets you in"] {
        assert!(tree.contains(words), "{words} in {tree}");
    }
    desk.type_into("A few words about you, for the facilitators (may be left empty)", "It is my first week.");
    desk.click("Accept the charter and knock");
    let knocked = desk.commands(|c| matches!(c, Command::GroupJoin { .. }));
    let [Command::GroupJoin { introduction, accept_charter: true, .. }] = knocked.as_slice() else {
        panic!("{knocked:?}")
    };
    assert_eq!(introduction.as_deref(), Some("It is my first week."));
}
