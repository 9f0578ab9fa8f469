//! How the window looks, and that it looks so again after a restart: kept in the vault, like everything else.

use eframe::egui::{self, ThemePreference};
use hearth_node::app::{Command, Look};

use super::{Want, Window};
use crate::theme::{self, measure};

/// What the reader chose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Looks {
    /// The palette.
    pub theme: ThemePreference,
    /// The size of everything; 1 is the usual one.
    pub zoom: f32,
    /// Whether nothing blinks or fades.
    pub still: bool,
    /// Whether something was chosen that the vault does not have yet.
    unkept: bool,
}

impl Looks {
    pub(super) fn new(still: bool) -> Self {
        Self { theme: ThemePreference::System, zoom: 1.0, still, unkept: false }
    }

    /// The zoom as whole per cents.
    #[must_use]
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 80 and 200")]
    pub fn percent(&self) -> u16 {
        (self.zoom * 100.0).round() as u16
    }
}

impl Window {
    pub(super) fn choose_theme(&mut self, ctx: &egui::Context, theme: ThemePreference) {
        self.looks.theme = theme;
        self.look_so(ctx);
        self.looks_changed();
    }

    pub(super) fn zoom(&mut self, ctx: &egui::Context, zoom: f32) {
        self.looks.zoom = ((zoom * 10.0).round() / 10.0).clamp(*measure::ZOOM.start(), *measure::ZOOM.end());
        self.look_so(ctx);
        self.looks_changed();
    }

    pub(super) fn be_still(&mut self, ctx: &egui::Context, still: bool) {
        self.looks.still = still;
        self.look_so(ctx);
        self.looks_changed();
    }

    /// Everything that was chosen, into egui.
    pub(super) fn look_so(&self, ctx: &egui::Context) {
        ctx.set_theme(self.looks.theme);
        ctx.set_zoom_factor(self.looks.zoom);
        let fade = if self.looks.still { 0.0 } else { theme::FADE };
        ctx.all_styles_mut(|s| s.animation_time = fade);
    }

    fn looks_changed(&mut self) {
        self.looks.unkept = true;
        if !self.model.locked() {
            self.keep_looks();
        }
    }

    fn keep_looks(&mut self) {
        let look = match self.looks.theme {
            ThemePreference::System => Look::System,
            ThemePreference::Light => Look::Light,
            ThemePreference::Dark => Look::Dark,
        };
        let (zoom_percent, still) = (Some(self.looks.percent()), Some(self.looks.still));
        self.looks.unkept = false;
        self.ask(Command::SettingsSet { look: Some(look), zoom_percent, still }, Want::Quiet);
    }

    /// The vault is open: what was chosen before it was goes in, otherwise what it holds comes out.
    pub(super) fn opened(&mut self) {
        if self.looks.unkept {
            self.keep_looks();
        } else {
            self.ask(Command::SettingsGet {}, Want::Looks);
        }
    }

    pub(super) fn looks_came(&mut self, look: Option<Look>, zoom_percent: Option<u16>, still: Option<bool>) {
        if self.looks.unkept {
            return;
        }
        if let Some(look) = look {
            self.looks.theme = match look {
                Look::System => ThemePreference::System,
                Look::Light => ThemePreference::Light,
                Look::Dark => ThemePreference::Dark,
            };
        }
        if let Some(percent) = zoom_percent {
            self.looks.zoom = (f32::from(percent) / 100.0).clamp(*measure::ZOOM.start(), *measure::ZOOM.end());
        }
        self.looks.still = still.unwrap_or(self.looks.still);
        self.looks_due = true;
    }
}
