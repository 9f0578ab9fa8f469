use eframe::egui::{self, Key, Modifiers};
use egui_kittest::kittest::Queryable;
use hearth_node::app::{Command, Kind, Notice, Refusal, RoleName, TemplateName};

use crate::{
    desk::{CIRCLE, Desk, GARDEN},
    fake,
};

#[test]
fn first_start_to_first_message_in_a_new_group() {
    let mut desk = Desk::fresh();
    desk.type_into("Choose a passphrase", "lamp quiet river stone");
    desk.type_into("The same passphrase again", "lamp quiet river stone");
    desk.click("Begin");
    assert!(
        matches!(&desk.fake.log[1], Command::VaultCreate { passphrase } if passphrase.expose() == "lamp quiet river stone")
    );
    desk.harness.get_by_label("Invite link");
    desk.harness.get_all_by_label("Create a group").next().unwrap().click_accesskit();
    desk.settle();
    desk.click("Grief");
    desk.click("7 days");
    desk.type_into("Name of the group", "Small hours");
    desk.click("Create the group");
    let made = desk.commands(|c| matches!(c, Command::GroupCreate { .. }));
    let [Command::GroupCreate { name, template, history_days, persona, .. }] = made.as_slice() else {
        panic!("{made:?}")
    };
    assert_eq!((name.as_str(), *template, *history_days), ("Small hours", Some(TemplateName::Grief), Some(7)));
    let persona = persona.clone().unwrap().name.unwrap();
    assert_eq!(persona.split(' ').count(), 2, "a generated name: {persona}");
    // Straight to writing: the composer has the focus.
    assert_eq!(desk.focused(), "Message");
    desk.harness.get_by_label("Message").type_text("Hello");
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.sent(), ["Hello"]);
    assert!(desk.tree().contains("Hello, waiting on this computer"), "{}", desk.tree());
}

#[test]
fn from_start_to_a_joined_group_in_at_most_four_actions() {
    let mut desk = Desk::fresh();
    let mut actions = 1; // Opening the app.
    desk.type_into("Choose a passphrase", "lamp quiet river stone");
    desk.type_into("The same passphrase again", "lamp quiet river stone");
    desk.click("Begin");
    actions += 1;
    desk.type_into("Invite link", fake::LINK);
    actions += 1;
    let tree = desk.tree();
    for words in
        ["Tuesday circle", "What is said here stays here", "the last 30 days before they joined", "About 8 people"]
    {
        assert!(tree.contains(words), "{words} in {tree}");
    }
    desk.click("Accept the charter and join");
    actions += 1;
    assert!(actions <= 4);
    let joined = desk.commands(|c| matches!(c, Command::GroupJoin { accept_charter: true, .. }));
    assert_eq!(joined.len(), 1);
    assert_eq!(desk.focused(), "Message");
}

#[test]
fn the_persona_can_be_drawn_again_before_joining() {
    let mut desk = Desk::new(egui::vec2(1280.0, 800.0), |f| {
        f.passphrase = Some("x".into());
        f.locked = false;
    });
    desk.type_into("Invite link", fake::LINK);
    let name = |d: &Desk| d.harness.get_by_label("Your name here").value().unwrap();
    let first = name(&desk);
    for _ in 0..3 {
        desk.click("Another name");
        if name(&desk) != first {
            return;
        }
    }
    panic!("three draws gave {first} again");
}

#[test]
fn a_damaged_link_says_what_to_do_in_place() {
    let mut desk = Desk::home();
    desk.harness.get_all_by_label("Join with a link").next().unwrap().click_accesskit();
    desk.settle();
    desk.type_into("Invite link", "hearth://join#abcdefghijklmnop");
    assert!(desk.tree().contains("The link is damaged: copy it again, whole."), "{}", desk.tree());
}

#[test]
fn passphrases_that_differ_or_are_short_do_not_begin() {
    let mut desk = Desk::fresh();
    desk.type_into("Choose a passphrase", "short");
    desk.type_into("The same passphrase again", "short");
    desk.click("Begin");
    desk.type_into("Choose a passphrase", " but now long enough");
    desk.click("Begin");
    assert!(desk.commands(|c| matches!(c, Command::VaultCreate { .. })).is_empty());
}

#[test]
fn a_wrong_passphrase_is_answered_calmly() {
    let mut desk = Desk::new(egui::vec2(1280.0, 800.0), |f| f.passphrase = Some("right one".into()));
    desk.type_into("Passphrase", "wrong one");
    desk.click("Open");
    assert!(desk.tree().contains("That was not it. Take your time and try again."));
    desk.type_into("Passphrase", "right one");
    desk.key(Modifiers::NONE, Key::Enter);
    assert!(!desk.harness.state_mut().model().locked());
}

#[test]
fn a_draft_survives_switching_and_is_kept() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "half a thought");
    desk.harness.state_mut().open(GARDEN);
    desk.settle();
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some(""));
    assert_eq!(desk.fake.drafts.get(&CIRCLE).map(String::as_str), Some("half a thought"));
    desk.harness.state_mut().open(CIRCLE);
    desk.settle();
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some("half a thought"));
}

#[test]
fn a_draft_is_kept_a_second_after_the_last_key_and_comes_back() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "kept");
    desk.harness.run_steps(6);
    desk.settle();
    assert_eq!(desk.fake.drafts.get(&CIRCLE).map(String::as_str), Some("kept"));
    // Sent, it is no draft any more.
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.fake.drafts.get(&CIRCLE).map(String::as_str), Some(""));
    let drafts = desk.fake.drafts.clone();
    let mut desk = Desk::new(egui::vec2(1280.0, 800.0), |f| {
        (f.passphrase, f.locked, f.rooms) = (Some("x".into()), false, crate::sample::rooms());
        f.drafts = drafts;
        f.drafts.insert(CIRCLE, "from yesterday".into());
    });
    desk.harness.state_mut().open(CIRCLE);
    desk.settle();
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some("from yesterday"));
}

#[test]
fn a_message_that_is_not_taken_stands_in_the_composer_again() {
    let mut desk = Desk::circle();
    desk.type_into("Message", "too early");
    desk.fake.refuse = Some(Refusal::new(Kind::Storage, "the disk refused: free some space and try again"));
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.harness.get_by_label("Message").value().as_deref(), Some("too early"));
    assert!(desk.tree().contains("The disk refused: free some space and try again."));
}

#[test]
fn answers_and_content_notes_travel_with_the_message() {
    let mut desk = Desk::circle();
    desk.click("Add a content note");
    desk.type_into("Content note", "sleep");
    desk.type_into("Message", "A long night.");
    desk.click("Send");
    let sent = desk.commands(|c| matches!(c, Command::MessageSend { content_note: Some(n), .. } if n == "sleep"));
    assert_eq!(sent.len(), 1);
}

#[test]
fn removing_somebody_asks_first() {
    let mut desk = Desk::circle();
    desk.click("Gentle Badger, member");
    desk.click("Remove from the group…");
    let removed = |d: &Desk| d.commands(|c| matches!(c, Command::MemberRemove { .. })).len();
    assert_eq!(removed(&desk), 0);
    desk.click("Not now");
    assert_eq!(removed(&desk), 0);
    desk.click("Gentle Badger, member");
    desk.click("Remove from the group…");
    desk.type_into("Why? Everyone in the group can read it", "agreed with them");
    desk.click("Remove from the group");
    let commands = desk.commands(|c| matches!(c, Command::MemberRemove { .. }));
    assert!(matches!(commands.as_slice(), [Command::MemberRemove { reason: Some(r), .. }] if r == "agreed with them"));
}

#[test]
fn a_relay_is_added_by_its_address() {
    let mut desk = Desk::circle();
    desk.click("Add a relay");
    desk.type_into("Address of the relay", " /ip4/192.0.2.1/tcp/4001 ");
    desk.click("Add it");
    let added =
        desk.commands(|c| matches!(c, Command::RelayAdd { address, .. } if address == "/ip4/192.0.2.1/tcp/4001"));
    assert_eq!(added.len(), 1);
}

#[test]
fn a_role_changes_after_a_question() {
    let mut desk = Desk::circle();
    desk.click("Early Sparrow, newcomer");
    desk.click("member");
    desk.click("Change the role");
    let commands = desk.commands(|c| matches!(c, Command::MemberSetRole { role: RoleName::Member, .. }));
    assert_eq!(commands.len(), 1);
}

#[test]
fn an_invite_is_a_link_that_leaves_the_clipboard_after_a_minute() {
    let mut desk = Desk::circle();
    desk.click("Invite somebody");
    desk.click("5 people");
    desk.click("1 day");
    assert!(desk.tree().contains("The first 5 people who open this link before 25 November 2026 can join and read"));
    desk.click("Make the link");
    let made = desk.commands(|c| matches!(c, Command::InviteCreate { uses: Some(5), expires_in_s: Some(86_400), .. }));
    assert_eq!(made.len(), 1);
    assert!(desk.tree().contains("A relay keeps this invite: it works while you sleep."));
    desk.harness.get_by_label("The invite link as a QR code");
    desk.harness.get_by_label("Copy the link").click_accesskit();
    let mut copied = Vec::new();
    for _ in 0..300 {
        desk.harness.run_steps(1);
        for command in &desk.harness.output().platform_output.commands {
            if let egui::OutputCommand::CopyText(text) = command {
                copied.push(text.clone());
            }
        }
    }
    assert_eq!(copied, [fake::long_link(), String::new()]);
}

#[test]
fn an_invite_can_be_made_void_at_once() {
    let mut desk = Desk::circle();
    desk.click("Invite somebody");
    desk.click("Make the link");
    desk.click("Make it void");
    assert_eq!(desk.commands(|c| matches!(c, Command::InviteRevoke { .. })).len(), 1);
    assert!(desk.tree().contains("The link is void"));
}

#[test]
fn the_actions_of_an_own_message_say_where_it_is() {
    let mut desk = Desk::circle();
    desk.harness.get_by_label("Messages").focus();
    desk.settle();
    desk.key(Modifiers::NONE, Key::Enter);
    assert_eq!(desk.commands(|c| matches!(c, Command::MessageStatus { .. })).len(), 2, "at opening, and now");
    assert!(desk.tree().lines().any(|l| l == "held by 2 relays"), "{}", desk.tree());
}

#[test]
fn new_messages_are_announced_once_and_politely() {
    let mut desk = Desk::circle();
    let other = desk.fake.rooms[0].members[3].persona;
    desk.fake.say(CIRCLE, other, "a new thing");
    desk.fake.say(CIRCLE, other, "and another");
    desk.settle();
    let live = desk.harness.get_by_label("2 new messages");
    let node = egui_kittest::kittest::NodeT::accesskit_node(&live);
    assert_eq!(node.live(), egui::accesskit::Live::Polite);
}

#[test]
fn warnings_of_the_node_are_said_below() {
    let mut desk = Desk::home();
    let text = "an address was taken: another one is used";
    desk.fake.backend.emit(hearth_node::app::Event::Notice(Notice::Warning { text }));
    desk.settle();
    assert!(desk.tree().contains(text));
}

#[test]
fn a_narrow_window_folds_its_panes_and_keeps_the_ways() {
    let mut desk = Desk::home_of(egui::vec2(640.0, 700.0));
    desk.harness.state_mut().open(CIRCLE);
    desk.settle();
    assert!(!desk.tree().contains("Grief & gardens"));
    desk.click("Groups");
    desk.harness.get_by_label_contains("Grief & gardens").click_accesskit();
    desk.settle();
    assert!(desk.tree().contains("Write to Grief & gardens") || desk.focused() == "Message");
    desk.click("Members");
    desk.harness.get_by_label("Members and roles");
}

#[test]
fn nothing_is_drawn_again_while_nothing_happens() {
    let mut desk = Desk::circle();
    desk.harness.run_steps(60);
    desk.harness.run();
    let delay = desk.harness.output().viewport_output[&egui::ViewportId::ROOT].repaint_delay;
    assert!(delay > std::time::Duration::from_secs(3_600), "{delay:?}");
}
