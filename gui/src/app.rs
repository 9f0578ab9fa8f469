//! The window: takes events in, draws, and sends what the views asked for.

mod acts;
mod ahead;
mod keys;
mod looks;
mod replies;
mod shell;

use std::collections::BTreeMap;

use eframe::egui::{self, Event as Input, ImeEvent};
use hearth_node::app::{App, Command, CommandId, Event, Events, Model, Notice};
use hearth_protocol::id::GroupId;
use jiff::{Timestamp, tz::TimeZone};
pub use looks::Looks;

use crate::{
    rows::{Clock, Item},
    state::{Draft, State},
    theme, widgets,
};

/// Events taken in per frame; the rest follows in the next.
const EVENTS_PER_FRAME: usize = 2_048;
/// Seconds without a key after which a draft is kept.
const DRAFT_REST: f64 = 1.0;
/// Seconds after which a copied link leaves the clipboard.
const CLIPBOARD_KEEPS: f64 = 60.0;

/// What the window is given from outside.
pub struct Options {
    /// The hour.
    pub now: Box<dyn Fn() -> Timestamp>,
    /// The reader's zone.
    pub zone: TimeZone,
    /// Whether nothing moves until the reader chooses otherwise: no blinking, no fading.
    pub still: bool,
}

/// What a reply is waited for.
#[derive(Debug)]
enum Want {
    Vault,
    Lock,
    Create,
    Inspect,
    Join,
    Send(GroupId, Box<Draft>),
    Draft(GroupId),
    Invite,
    Void,
    Seen,
    Looks,
    Quiet,
    Told,
}

/// The timeline's rows, kept until something changes.
#[derive(Default)]
struct Kept {
    group: Option<GroupId>,
    revision: u64,
    day: i64,
    items: Vec<Item>,
}

/// See the module.
pub struct Window {
    app: App,
    events: Events,
    model: Model,
    state: State,
    options: Options,
    pending: BTreeMap<CommandId, Want>,
    kept: Kept,
    /// Grows when the reader lifts a veil, so that rows are built again.
    reading_revision: u64,
    looks: Looks,
    /// Whether the looks have come out of the vault and are not on screen yet.
    looks_due: bool,
    clipboard_until: Option<f64>,
    ahead: ahead::Ahead,
    last_input: f64,
    toast_until: f64,
    title: &'static str,
}

impl Window {
    /// A window onto a node.
    #[must_use]
    pub fn new(ctx: &egui::Context, app: App, events: Events, options: Options) -> Self {
        theme::install(ctx);
        let mut window = Self {
            app,
            events,
            looks: Looks::new(options.still),
            looks_due: false,
            model: Model::new(),
            state: State::default(),
            options,
            pending: BTreeMap::new(),
            kept: Kept::default(),
            reading_revision: 0,
            clipboard_until: None,
            ahead: ahead::Ahead::default(),
            last_input: 0.0,
            toast_until: 0.0,
            title: "",
        };
        window.look_so(ctx);
        window.ask_wants();
        window
    }

    /// The window's memory: for tests and pictures.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// What is known: for tests and pictures.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Opens a group: for pictures.
    pub fn open(&mut self, group: GroupId) {
        self.open_group(group);
    }

    fn clock(&self) -> Clock {
        Clock { now: (self.options.now)(), zone: self.options.zone.clone() }
    }

    fn ask(&mut self, command: Command, want: Want) {
        match self.app.send(command.clone()) {
            Ok(id) => {
                self.model.asked(id, &command);
                self.pending.insert(id, want);
            }
            Err(refusal) => self.refused(want, &refusal),
        }
    }

    fn ask_wants(&mut self) {
        for command in self.model.take_wants() {
            self.ask(command, Want::Quiet);
        }
    }

    fn say(&mut self, words: impl Into<String>) {
        self.state.toast = Some(words.into());
        self.toast_until = f64::INFINITY;
    }

    /// Takes in what the node said.
    fn listen(&mut self) {
        let mut news = 0;
        for _ in 0..EVENTS_PER_FRAME {
            let Some(event) = self.events.try_recv() else { break };
            let locked = self.model.locked();
            self.model.apply(&event);
            match event {
                Event::Reply { command, result } => {
                    let want = self.pending.remove(&command).unwrap_or(Want::Quiet);
                    match result {
                        Ok(answer) => self.answered(want, answer),
                        Err(refusal) => self.refused(want, &refusal),
                    }
                }
                Event::Notice(Notice::MessageNew { group, row }) => {
                    let other = self.model.you(group) != Some(row.persona);
                    news += usize::from(other && self.state.group == Some(group));
                }
                Event::Notice(_) | Event::Resync => {}
            }
            match (locked, self.model.locked()) {
                (false, true) => {
                    self.state.forget();
                    self.kept = Kept::default();
                }
                (true, false) => self.opened(),
                _ => {}
            }
        }
        match news {
            0 => {}
            1 => self.state.announce = "1 new message".into(),
            n => self.state.announce = format!("{n} new messages"),
        }
        if let Some(warning) = self.model.take_warning() {
            self.say(warning);
        }
        self.ask_wants();
    }

    /// What is done by the clock: drafts, the clipboard, the caret. Each asks for the one frame it needs.
    fn by_the_clock(&mut self, ctx: &egui::Context) {
        let now = ctx.input(|i| i.time);
        let wake = |seconds: f64| ctx.request_repaint_after(std::time::Duration::from_secs_f64(seconds.max(0.05)));
        let due: Vec<GroupId> =
            self.state.drafts.iter().filter(|(_, d)| d.touched.is_some()).map(|(g, _)| *g).collect();
        for group in due {
            let since = self.state.drafts.get(&group).and_then(|d| d.touched).map_or(0.0, |t| now - t);
            if since >= DRAFT_REST {
                self.keep_draft(group);
            } else {
                wake(DRAFT_REST - since);
            }
        }
        if let Some(until) = self.clipboard_until {
            if now >= until {
                ctx.copy_text(String::new());
                self.clipboard_until = None;
            } else {
                wake(until - now);
            }
        }
        if self.state.toast.is_some() {
            if self.toast_until.is_infinite() {
                self.toast_until = now + 8.0;
            }
            if now >= self.toast_until {
                self.state.toast = None;
            } else {
                wake(self.toast_until - now);
            }
        }
        if ctx.input(|i| !i.events.is_empty()) {
            self.last_input = now;
        }
        let blink = !self.looks.still && now - self.last_input < theme::CARET_BLINKS_FOR;
        if ctx.global_style().visuals.text_cursor.blink != blink {
            ctx.all_styles_mut(|s| s.visuals.text_cursor.blink = blink);
        }
    }

    /// A dialog holds the focus for one frame after it is gone: until then nothing else can get it.
    fn move_focus(&mut self, ctx: &egui::Context) {
        if self.state.dialog.is_some() {
            self.state.focus = None;
        }
        if self.state.focus.is_none() {
            return;
        }
        if ctx.memory(|m| m.top_modal_layer().is_none())
            && let Some(id) = self.state.focus.take()
        {
            ctx.memory_mut(|m| m.request_focus(id));
        }
        ctx.request_repaint();
    }

    fn title(&mut self, ctx: &egui::Context) {
        // Neither title ever names a group or says that something is new.
        let title = if self.state.hidden { "Untitled" } else { "Hearth" };
        if self.title != title {
            self.title = title;
            ctx.send_viewport_cmd(egui::ViewportCommand::Title(title.into()));
        }
    }
}

impl eframe::App for Window {
    fn logic(&mut self, ctx: &egui::Context, _: &mut eframe::Frame) {
        self.listen();
        if std::mem::take(&mut self.looks_due) {
            self.look_so(ctx);
        }
    }

    fn ui(&mut self, ui: &mut egui::Ui, _: &mut eframe::Frame) {
        let ctx = ui.ctx().clone();
        self.ahead.taken();
        ctx.input(|i| {
            for event in &i.events {
                match event {
                    Input::Ime(ImeEvent::Preedit { text, .. }) => self.state.composing = !text.is_empty(),
                    Input::Ime(ImeEvent::Commit(_)) => self.state.composing = false,
                    _ => {}
                }
            }
        });
        let regions = widgets::take_regions(&ctx);
        self.keys(&ctx, &regions);
        self.by_the_clock(&ctx);
        self.title(&ctx);
        let rect = ui.max_rect();
        ui.painter().rect_filled(rect, 0.0, widgets::colors(ui).surface);
        if self.state.hidden {
            return;
        }
        let acts = self.draw(ui);
        for act in acts {
            self.act(&ctx, act);
        }
        self.ask_wants();
        self.move_focus(&ctx);
    }

    fn raw_input_hook(&mut self, ctx: &egui::Context, raw_input: &mut egui::RawInput) {
        let focused = ctx.memory(|m| m.focused().is_some());
        let now = raw_input.time.unwrap_or_else(|| ctx.input(|i| i.time));
        if self.ahead.take(focused, now, &mut raw_input.events) {
            ctx.request_repaint();
        }
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    fn persist_egui_memory(&self) -> bool {
        false
    }

    fn on_exit(&mut self, _: Option<&eframe::glow::Context>) {
        let groups: Vec<GroupId> = self.state.drafts.keys().copied().collect();
        for group in groups {
            self.keep_draft(group);
        }
    }
}
