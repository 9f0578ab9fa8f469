use std::collections::BTreeSet;

use eframe::egui::{self, Key, Modifiers};
use egui_kittest::{Harness, kittest::Queryable};
use hearth::{
    rows::{Body, Item, MessageItem},
    state::Scroll,
    theme,
    views::timeline::{self, TimelineRow},
};
use hearth_protocol::id::{MessageId, PersonaId};

use crate::desk::{CIRCLE, Desk};

fn item(n: u32) -> Item {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    let words = "Some evenings are longer than others and that is all right. ".repeat(1 + n as usize % 5);
    Item::Message(Box::new(MessageItem {
        message: MessageId(id),
        persona: PersonaId([u8::try_from(n % 7).unwrap(); 32]),
        author: format!("Person {}", n % 7),
        role: None,
        time: "14:05".into(),
        head: n.is_multiple_of(3),
        note: None,
        quote: None,
        spoken: format!("Person, 14:05, {n}"),
        body: Body::Text(words.into()),
        edited: false,
        reactions: Vec::new(),
        delivery: None,
        yours: false,
    }))
}

struct Pane {
    items: Vec<Item>,
    revision: u64,
    scroll: Scroll,
}

fn pane(items: Vec<Item>) -> Harness<'static, Pane> {
    let state = Pane { items, revision: 1, scroll: Scroll::default() };
    Harness::builder()
        .with_size(egui::vec2(800.0, 700.0))
        .allow_missing_glyphs()
        .with_context_setup(theme::install)
        .build_ui_state(
            |ui, pane: &mut Pane| {
                let row = TimelineRow { items: &pane.items, revision: pane.revision, newest: true, empty: "" };
                timeline::show(ui, row, &mut pane.scroll);
            },
            state,
        )
}

fn scroll_by(harness: &mut Harness<'static, Pane>, points: f32) {
    harness.hover_at(egui::pos2(400.0, 350.0));
    harness.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Point,
        delta: egui::vec2(0.0, points),
        modifiers: Modifiers::NONE,
        phase: egui::TouchPhase::Move,
        source: egui::MouseWheelSource::Wheel,
    });
    harness.run_steps(12);
}

fn tops(harness: &Harness<'static, Pane>) -> Vec<(String, f32)> {
    use egui_kittest::kittest::NodeT;
    let rows = harness.root().children_recursive();
    rows.filter(|n| n.accesskit_node().role() == egui::Role::ListItem)
        .map(|n| (n.accesskit_node().label().unwrap_or_default(), n.rect().top()))
        .collect()
}

#[test]
fn fifty_thousand_messages_draw_thirty_rows_at_most() {
    let mut harness = pane((0..50_000).map(item).collect());
    assert!((1..=30).contains(&harness.state().scroll.drawn), "{}", harness.state().scroll.drawn);
    assert!(harness.state().scroll.at_end);
    for _ in 0..5 {
        scroll_by(&mut harness, 900.0);
        assert!((1..=30).contains(&harness.state().scroll.drawn));
    }
    assert!(!harness.state().scroll.at_end);
    assert!(harness.state().scroll.heights.len() < 200, "only what was in sight has been measured");
}

#[test]
fn nothing_moves_when_five_hundred_messages_come_before() {
    let mut harness = pane((500..900).map(item).collect());
    scroll_by(&mut harness, 3_000.0);
    let before = tops(&harness);
    assert!(before.len() > 3);
    harness.state_mut().items = (0..900).map(item).collect();
    harness.state_mut().revision = 2;
    harness.run_steps(3);
    let after = tops(&harness);
    for (name, top) in &before {
        let (_, now) = after.iter().find(|(n, _)| n == name).expect("still in sight");
        assert!((now - top).abs() <= 1.0, "{name} moved from {top} to {now}");
    }
}

#[test]
fn new_messages_follow_at_the_end_and_move_nothing_elsewhere() {
    let mut harness = pane((0..200).map(item).collect());
    harness.state_mut().items.push(item(200));
    harness.state_mut().revision = 2;
    harness.run_steps(2);
    assert!(tops(&harness).iter().any(|(n, _)| n.ends_with(", 200")));
    scroll_by(&mut harness, 1_500.0);
    let before = tops(&harness);
    harness.state_mut().items.push(item(201));
    harness.state_mut().revision = 3;
    harness.run_steps(2);
    assert_eq!(before, tops(&harness));
}

#[test]
fn both_ends_hold() {
    let mut harness = pane((0..60).map(item).collect());
    scroll_by(&mut harness, 1.0e6);
    let first = tops(&harness)[0].clone();
    assert!(first.0.ends_with(", 0") && first.1 >= 0.0 && first.1 < 40.0, "{first:?}");
    scroll_by(&mut harness, -1.0e6);
    assert!(harness.state().scroll.at_end);
    assert!(tops(&harness).last().unwrap().0.ends_with(", 59"));
}

#[test]
fn the_model_window_and_the_pane_walk_back_together() {
    let mut desk = Desk::circle();
    let other = desk.fake.rooms[0].members[3].persona;
    for n in 0..600 {
        desk.fake.say(CIRCLE, other, &format!("old {n}"));
    }
    desk.settle();
    desk.harness.get_by_label("Messages").focus();
    desk.settle();
    let mut seen = BTreeSet::new();
    for _ in 0..80 {
        desk.key(Modifiers::NONE, Key::PageUp);
        let timeline = desk.harness.state_mut().model().timeline(CIRCLE).unwrap();
        assert!(timeline.rows().len() <= hearth_node::app::TIMELINE_WINDOW);
        seen.extend(timeline.rows().map(|r| r.text.clone()));
    }
    assert!(desk.harness.state_mut().model().timeline(CIRCLE).unwrap().at_start());
    assert!(seen.len() >= 600 && seen.contains("old 0"));
    desk.click("To the newest");
    assert!(desk.tree().contains("old 599"));
}

#[test]
fn strange_text_is_drawn_without_a_fall() {
    // A fixed linear congruence: the same strings in every run.
    let mut seed = 0x2545_f491_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(seed >> 40).unwrap()
    };
    let blocks = [
        0x20, 0x300, 0x590, 0x600, 0x900, 0xe00, 0x1100, 0x200b, 0x2066, 0x202a, 0x3040, 0xac00, 0xfb1d, 0xfe00,
        0x1f1e6, 0x1f600, 0xe0100,
    ];
    let mut items = Vec::new();
    for n in 0..400 {
        let length = next() % 60;
        let text: String = (0..length)
            .filter_map(|_| {
                let c = char::from_u32(blocks[next() as usize % blocks.len()] + next() % 120);
                if next() % 11 == 0 { Some('\n') } else { c }
            })
            .collect();
        let Item::Message(mut m) = item(n) else { panic!("a message was made") };
        m.quote = n.is_multiple_of(3).then(|| text.clone());
        m.author = text.chars().take(9).collect();
        m.body = Body::Text(text.into());
        items.push(Item::Message(m));
    }
    let mut harness = pane(items);
    for _ in 0..60 {
        scroll_by(&mut harness, 500.0);
    }
    assert!(harness.state().scroll.drawn > 0);
}
