//! A window and its node, side by side.

use std::sync::Arc;

use eframe::egui::{self, Key, Modifiers, Vec2};
use egui_kittest::{
    Harness,
    kittest::{NodeT, Queryable},
};
use hearth::{Options, Window};
use hearth_node::app::{self, Command};
use hearth_protocol::id::GroupId;

use crate::{fake::Fake, sample};

/// The group with the sample talk.
pub(crate) const CIRCLE: GroupId = GroupId([0x21; 32]);
/// Another group.
pub(crate) const GARDEN: GroupId = GroupId([0x34; 32]);

pub(crate) struct Desk {
    pub(crate) harness: Harness<'static, Window>,
    pub(crate) fake: Fake,
}

impl Desk {
    pub(crate) fn new(size: Vec2, prepare: impl FnOnce(&mut Fake)) -> Self {
        let (app, events, backend) = app::channel(Arc::new(|| {}));
        let mut fake = Fake::new(backend);
        fake.now = sample::NOW;
        prepare(&mut fake);
        let now = jiff::Timestamp::from_millisecond(i64::try_from(sample::NOW).unwrap()).unwrap();
        let harness = Harness::builder().with_size(size).allow_missing_glyphs().build_eframe(move |cc| {
            let options = Options { now: Box::new(move || now), zone: jiff::tz::TimeZone::UTC, still: true };
            Window::new(&cc.egui_ctx, app, events, options)
        });
        let mut desk = Self { harness, fake };
        desk.settle();
        desk
    }

    /// A first start.
    pub(crate) fn fresh() -> Self {
        Self::new(egui::vec2(1280.0, 800.0), |_| {})
    }

    /// Unlocked, with the sample groups.
    pub(crate) fn home() -> Self {
        Self::home_of(egui::vec2(1280.0, 800.0))
    }

    pub(crate) fn home_of(size: Vec2) -> Self {
        Self::new(size, |fake| {
            fake.passphrase = Some("lamp quiet river".into());
            fake.locked = false;
            fake.rooms = sample::rooms();
        })
    }

    /// Unlocked, in the circle.
    pub(crate) fn circle() -> Self {
        let mut desk = Self::home();
        desk.harness.state_mut().open(CIRCLE);
        desk.settle();
        desk
    }

    /// Lets both sides speak until nobody has anything left to say.
    pub(crate) fn settle(&mut self) {
        loop {
            self.harness.run_steps(3);
            if self.fake.pump() == 0 {
                break;
            }
        }
        self.harness.run_steps(2);
        self.harness.check_accessibility();
    }

    pub(crate) fn click(&mut self, label: &str) {
        self.harness.get_by_label(label).click_accesskit();
        self.settle();
    }

    pub(crate) fn type_into(&mut self, label: &str, text: &str) {
        self.harness.get_by_label(label).focus();
        self.harness.run_steps(2);
        self.harness.get_by_label(label).type_text(text);
        self.settle();
    }

    pub(crate) fn key(&mut self, modifiers: Modifiers, key: Key) {
        self.harness.key_press_modifiers(modifiers, key);
        self.settle();
    }

    /// The label of what has the focus.
    pub(crate) fn focused(&self) -> String {
        let node = self.harness.root().children_recursive().find(|n| n.is_focused());
        node.and_then(|n| n.accesskit_node().label()).unwrap_or_default()
    }

    /// Everything that a screen reader can find.
    pub(crate) fn tree(&self) -> String {
        let mut words = String::new();
        for node in self.harness.root().children_recursive() {
            let node = node.accesskit_node();
            for text in [node.label(), node.value()].into_iter().flatten() {
                words.push_str(&text);
                words.push('\n');
            }
        }
        words
    }

    pub(crate) fn commands(&self, wanted: impl Fn(&Command) -> bool) -> Vec<Command> {
        self.fake.log.iter().filter(|c| wanted(c)).cloned().collect()
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        let texts = self.fake.log.iter().filter_map(|c| match c {
            Command::MessageSend { text, .. } => Some(text.clone()),
            _ => None,
        });
        texts.collect()
    }
}
