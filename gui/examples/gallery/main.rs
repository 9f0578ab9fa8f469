//! Each screen with sample words, for looking at and for pictures:
//! `cargo run --release -p hearth --example gallery -- SCREEN light|dark [ZOOM% [WIDTH]]`
#![allow(
    clippy::print_stderr,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "an example for the people who build this"
)]
#![allow(missing_docs)]

mod fake;
mod sample;

use std::sync::{Arc, OnceLock};

use eframe::egui;
use fake::Fake;
use hearth::{
    Options, Window,
    state::{Dialog, InviteDraft, Page},
};
use hearth_node::app::{self, Look, Secret, Wake};
use hearth_protocol::id::GroupId;

const SCREENS: [&str; 14] = [
    "onboarding",
    "unlock",
    "start",
    "create",
    "join",
    "knock",
    "knocks",
    "timeline",
    "members",
    "invite",
    "settings",
    "help",
    "actions",
    "empty",
];

fn main() {
    let started = std::time::Instant::now();
    let mut args = std::env::args().skip(1);
    let screen = args.next().unwrap_or_else(|| "timeline".into());
    let dark = args.next().is_some_and(|a| a == "dark");
    if !SCREENS.contains(&screen.as_str()) {
        eprintln!("screens: {}", SCREENS.join(" "));
        std::process::exit(2);
    }
    let shared: Arc<OnceLock<egui::Context>> = Arc::default();
    let waker = Arc::clone(&shared);
    let wake: Wake = Arc::new(move || {
        if let Some(ctx) = waker.get() {
            ctx.request_repaint();
        }
    });
    let (app, events, backend) = app::channel(wake);
    let mut fake = Fake::new(backend);
    fake.now = sample::NOW;
    fake.settings.0 = Some(if dark { Look::Dark } else { Look::Light });
    let mut number = || args.next().and_then(|a| a.parse::<u16>().ok());
    fake.settings.1 = number();
    let width = number().unwrap_or(1_280);
    match screen.as_str() {
        "onboarding" => {}
        "unlock" => fake.passphrase = Some("x".into()),
        _ => {
            fake.passphrase = Some("x".into());
            fake.locked = false;
            if !matches!(screen.as_str(), "join" | "knock" | "empty") {
                fake.rooms = sample::rooms();
            }
            if screen == "knocks" {
                sample::knocked(&mut fake.rooms);
            }
        }
    }
    std::thread::spawn(move || {
        while let Some(ask) = fake.backend.asks.blocking_recv() {
            fake.answer(ask);
        }
    });
    let size = [f32::from(width), 800.0];
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default().with_inner_size(size).with_title("Hearth"),
        ..eframe::NativeOptions::default()
    };
    let done = eframe::run_native(
        "hearth",
        options,
        Box::new(move |cc| {
            shared.set(cc.egui_ctx.clone()).ok();
            cc.egui_ctx.set_theme(if dark { egui::Theme::Dark } else { egui::Theme::Light });
            let now = jiff::Timestamp::from_millisecond(i64::try_from(sample::NOW).unwrap()).unwrap();
            let options = Options { now: Box::new(move || now), zone: jiff::tz::TimeZone::UTC, still: false };
            let window = Window::new(&cc.egui_ctx, app, events, options);
            Ok(Box::new(Gallery { window, screen, frames: 0, started }))
        }),
    );
    if let Err(error) = done {
        eprintln!("{error}");
    }
}

struct Gallery {
    window: Window,
    screen: String,
    frames: u32,
    started: std::time::Instant,
}

impl eframe::App for Gallery {
    fn logic(&mut self, ctx: &egui::Context, frame: &mut eframe::Frame) {
        self.window.logic(ctx, frame);
    }

    fn ui(&mut self, ui: &mut egui::Ui, frame: &mut eframe::Frame) {
        self.frames += 1;
        if self.frames == 1 {
            eprintln!("first frame after {} ms", self.started.elapsed().as_millis());
        }
        if self.frames <= 8 {
            self.arrange();
            ui.ctx().request_repaint();
        }
        self.window.ui(ui, frame);
    }
}

impl Gallery {
    /// Brings the wanted screen up, a step per frame as answers arrive.
    fn arrange(&mut self) {
        let group = GroupId([0x21; 32]);
        let ready = self.window.model().known();
        match (self.screen.as_str(), self.frames) {
            ("timeline" | "members" | "knocks" | "invite" | "help" | "actions", 3) if ready => self.window.open(group),
            ("create", 3) => self.window.state_mut().page = Page::Create,
            ("settings", 3) => self.window.state_mut().page = Page::Settings,
            ("join" | "knock", 3) => {
                use egui::TextBuffer;
                let join = &mut self.window.state_mut().join;
                join.link.replace_with(fake::LINK);
                join.persona = "Quiet Heron".into();
                let by_hand = self.screen == "knock";
                join.inspected = Some(hearth::state::Inspected {
                    group_name: "Tuesday circle".into(),
                    charter: fake::room(1, "", &[], 0).charter,
                    join: if by_hand { app::Join::Knock } else { app::Join::Open },
                    history_days: 30,
                    members: (!by_hand).then_some(8),
                });
            }
            ("members" | "knocks", 5) => self.window.state_mut().page = Page::Members,
            ("help", 5) => self.window.state_mut().dialog = Some(Dialog::Help),
            ("invite", 5) => {
                let made = Some((hearth_protocol::id::OpId([1; 32]), Secret::new(fake::long_link()), true));
                let draft = InviteDraft { uses: 5, made, ..InviteDraft::default() };
                self.window.state_mut().dialog = Some(Dialog::Invite(draft));
            }
            ("actions", 5) => {
                let message = self.window.model().timeline(group).and_then(|t| t.rows().last().map(|r| r.message));
                self.window.state_mut().dialog = message.map(Dialog::Actions);
            }
            _ => {}
        }
    }
}
