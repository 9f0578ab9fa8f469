//! Every colour, size and space of the window: "a lamp in a quiet room". Views name a token, never a number.

use eframe::egui::{self, Color32, CornerRadius, Margin, Stroke, Theme, Vec2};

use crate::fonts;

/// The colours of one theme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Side panes and the window behind everything.
    pub side: Color32,
    /// The main pane.
    pub surface: Color32,
    /// Cards, fields and dialogs.
    pub raised: Color32,
    /// Words.
    pub text: Color32,
    /// Words that may wait.
    pub secondary: Color32,
    /// Links, focus, the one main button.
    pub accent: Color32,
    /// Words on the accent.
    pub on_accent: Color32,
    /// What is chosen.
    pub selected: Color32,
    /// Words on it.
    pub on_selected: Color32,
    /// Somebody asks for support; also other things to be careful with.
    pub support: Color32,
    /// Words on it.
    pub on_support: Color32,
    /// A content note.
    pub veil: Color32,
    /// Words on it.
    pub on_veil: Color32,
    /// Danger, and nothing else.
    pub danger: Color32,
    /// The edge of something that can be used.
    pub border: Color32,
    /// A line between regions: decoration, never the only sign of anything.
    pub line: Color32,
    /// Under the pointer.
    pub hover: Color32,
    /// Backgrounds of avatars; white or dark initials.
    pub avatars: [Color32; 6],
    /// Initials on avatars.
    pub on_avatar: Color32,
}

/// `0xRRGGBB`.
const fn rgb(hex: u32) -> Color32 {
    let [_, r, g, b] = hex.to_be_bytes();
    Color32::from_rgb(r, g, b)
}

/// By day.
pub const LIGHT: Palette = Palette {
    side: rgb(0xF1EBE3),
    surface: rgb(0xFBF8F4),
    raised: rgb(0xFFFFFF),
    text: rgb(0x2B2622),
    secondary: rgb(0x5F574F),
    accent: rgb(0x2F6B5E),
    on_accent: rgb(0xFFFFFF),
    selected: rgb(0xDCEBE5),
    on_selected: rgb(0x1F4A41),
    support: rgb(0xFCE9D4),
    on_support: rgb(0x6B3A0A),
    veil: rgb(0xECE5F2),
    on_veil: rgb(0x4A3B63),
    danger: rgb(0xA8322A),
    border: rgb(0x857A6F),
    line: rgb(0xDDD5CA),
    hover: rgb(0xE8E1D7),
    avatars: [rgb(0x2F6B5E), rgb(0x8A4A2A), rgb(0x5A4A8A), rgb(0x35608A), rgb(0x7A4062), rgb(0x5A6224)],
    on_avatar: rgb(0xFFFFFF),
};

/// By night.
pub const DARK: Palette = Palette {
    side: rgb(0x1B1816),
    surface: rgb(0x231F1C),
    raised: rgb(0x2D2824),
    text: rgb(0xF1EAE2),
    secondary: rgb(0xB9AEA2),
    accent: rgb(0x8CCBB8),
    on_accent: rgb(0x10231E),
    selected: rgb(0x27403A),
    on_selected: rgb(0xBFE6DA),
    support: rgb(0x4A3218),
    on_support: rgb(0xF7D9B3),
    veil: rgb(0x3A3247),
    on_veil: rgb(0xDCCFF0),
    danger: rgb(0xF2998F),
    border: rgb(0x8A8076),
    line: rgb(0x3A342F),
    hover: rgb(0x38322D),
    avatars: [rgb(0x2C5A50), rgb(0x6E3F26), rgb(0x4C4174), rgb(0x2F5072), rgb(0x663A54), rgb(0x4C5322)],
    on_avatar: rgb(0xF4EFE9),
};

/// The palette in use.
#[must_use]
pub fn palette(ctx: &egui::Context) -> &'static Palette {
    of(ctx.theme())
}

/// The palette of a theme.
#[must_use]
pub fn of(theme: Theme) -> &'static Palette {
    match theme {
        Theme::Light => &LIGHT,
        Theme::Dark => &DARK,
    }
}

/// Sizes of type, in points.
pub mod size {
    /// Times, chips.
    pub const SMALL: f32 = 12.5;
    /// Second lines.
    pub const NOTE: f32 = 13.0;
    /// Everything that is read.
    pub const BODY: f32 = 15.0;
    /// A section.
    pub const SECTION: f32 = 17.0;
    /// A pane.
    pub const TITLE: f32 = 20.0;
    /// A whole screen.
    pub const SCREEN: f32 = 26.0;
    /// Height of a line as a multiple of its size.
    pub const LINE: f32 = 1.4;
    /// What Arabic and Hebrew letters are enlarged by.
    pub const RTL: f32 = 1.1;
}

/// Distances, in points: the grid 4-8-12-16-24-32.
pub mod space {
    /// 4.
    pub const XS: f32 = 4.0;
    /// 8.
    pub const S: f32 = 8.0;
    /// 12.
    pub const M: f32 = 12.0;
    /// 16.
    pub const L: f32 = 16.0;
    /// 24.
    pub const XL: f32 = 24.0;
    /// 32.
    pub const XXL: f32 = 32.0;
}

/// Sizes of things, in points.
pub mod measure {
    /// The smallest thing that is clicked.
    pub const TARGET: f32 = 32.0;
    /// A chip.
    pub const CHIP: f32 = 26.0;
    /// The longest line of text.
    pub const TEXT: f32 = 720.0;
    /// A form.
    pub const FORM: f32 = 460.0;
    /// A dialog.
    pub const DIALOG: f32 = 440.0;
    /// The groups pane.
    pub const GROUPS: f32 = 264.0;
    /// The details pane.
    pub const DETAILS: f32 = 248.0;
    /// Below this width the details pane folds.
    pub const FOLD_DETAILS: f32 = 1_100.0;
    /// Below this width the groups pane folds.
    pub const FOLD_GROUPS: f32 = 760.0;
    /// The header of a pane.
    pub const HEADER: f32 = 64.0;
    /// The status line.
    pub const STATUS: f32 = 28.0;
    /// An author's picture.
    pub const AVATAR: f32 = 34.0;
    /// A member's picture in a list.
    pub const AVATAR_SMALL: f32 = 26.0;
    /// The focus ring.
    pub const RING: f32 = 2.0;
    /// Zoom, from and to.
    pub const ZOOM: std::ops::RangeInclusive<f32> = 0.8..=2.0;
}

/// Corners, in points.
pub mod radius {
    /// Buttons, fields.
    pub const CONTROL: u8 = 8;
    /// Cards.
    pub const CARD: u8 = 12;
    /// Dialogs.
    pub const WINDOW: u8 = 14;
}

/// Seconds that anything takes to fade.
pub const FADE: f32 = 0.1;

/// Seconds after the last key at which the caret stops blinking, so that an idle window draws nothing.
pub const CARET_BLINKS_FOR: f64 = 10.0;

/// Fonts, colours and spaces into egui.
pub fn install(ctx: &egui::Context) {
    ctx.set_fonts(fonts::definitions());
    for theme in [Theme::Light, Theme::Dark] {
        ctx.style_mut_of(theme, |style| style_of(theme, style));
    }
    ctx.options_mut(|o| {
        o.zoom_with_keyboard = false;
        o.fallback_theme = Theme::Light;
    });
}

fn style_of(theme: Theme, style: &mut egui::Style) {
    let p = of(theme);
    style.text_styles = fonts::text_styles();
    style.animation_time = FADE;
    style.scroll_animation = egui::style::ScrollAnimation::none();
    style.interaction.selectable_labels = false;
    style.interaction.tooltip_delay = 0.4;

    let spacing = &mut style.spacing;
    spacing.item_spacing = Vec2::new(space::S, space::S);
    spacing.button_padding = Vec2::new(space::M, space::S);
    spacing.interact_size = Vec2::splat(measure::TARGET);
    spacing.window_margin = Margin::same(24);
    spacing.scroll = egui::style::ScrollStyle {
        dormant_background_opacity: 0.0,
        active_background_opacity: 0.0,
        interact_background_opacity: 0.0,
        ..egui::style::ScrollStyle::floating()
    };

    let visuals = &mut style.visuals;
    *visuals = match theme {
        Theme::Light => egui::Visuals::light(),
        Theme::Dark => egui::Visuals::dark(),
    };
    visuals.override_text_color = Some(p.text);
    visuals.weak_text_color = Some(p.secondary);
    visuals.panel_fill = p.surface;
    visuals.window_fill = p.raised;
    visuals.window_stroke = Stroke::new(1.0, p.line);
    visuals.window_corner_radius = CornerRadius::same(radius::WINDOW);
    visuals.menu_corner_radius = CornerRadius::same(radius::CARD);
    visuals.extreme_bg_color = p.raised;
    visuals.text_edit_bg_color = Some(p.raised);
    visuals.faint_bg_color = p.hover;
    visuals.hyperlink_color = p.accent;
    visuals.error_fg_color = p.danger;
    visuals.warn_fg_color = p.on_support;
    visuals.selection.bg_fill = p.accent.gamma_multiply(0.3);
    visuals.selection.stroke = Stroke::new(measure::RING, p.accent);
    visuals.text_cursor.stroke = Stroke::new(2.0, p.accent);
    for widget in [
        &mut visuals.widgets.noninteractive,
        &mut visuals.widgets.inactive,
        &mut visuals.widgets.hovered,
        &mut visuals.widgets.active,
        &mut visuals.widgets.open,
    ] {
        widget.corner_radius = CornerRadius::same(radius::CONTROL);
        widget.fg_stroke = Stroke::new(1.0, p.text);
        widget.bg_stroke = Stroke::new(1.0, p.border);
        widget.bg_fill = p.raised;
        widget.weak_bg_fill = p.raised;
        widget.expansion = 0.0;
    }
    visuals.widgets.noninteractive.bg_stroke = Stroke::new(1.0, p.line);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luminance(c: Color32) -> f64 {
        let channel = |v: u8| {
            let v = f64::from(v) / 255.0;
            if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(c.r()) + 0.7152 * channel(c.g()) + 0.0722 * channel(c.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn contrast_of_black_and_white_is_21() {
        assert!((contrast(Color32::BLACK, Color32::WHITE) - 21.0).abs() < 0.01);
    }

    #[test]
    fn every_text_reaches_4_5_and_every_control_3() {
        for (theme, p) in [("light", LIGHT), ("dark", DARK)] {
            let grounds = [("side", p.side), ("surface", p.surface), ("raised", p.raised), ("hover", p.hover)];
            for (ground, on) in grounds {
                for (name, words) in [("text", p.text), ("secondary", p.secondary), ("accent", p.accent)] {
                    let c = contrast(words, on);
                    assert!(c >= 4.5, "{theme}: {name} on {ground} is {c:.2}");
                }
                for (name, edge) in [("border", p.border), ("accent", p.accent), ("danger", p.danger)] {
                    let c = contrast(edge, on);
                    assert!(c >= 3.0, "{theme}: {name} against {ground} is {c:.2}");
                }
            }
            let pairs = [
                ("accent", p.on_accent, p.accent),
                ("selected", p.on_selected, p.selected),
                ("support", p.on_support, p.support),
                ("veil", p.on_veil, p.veil),
                ("problem on surface", p.on_support, p.surface),
                ("problem on raised", p.on_support, p.raised),
                ("danger on surface", p.danger, p.surface),
                ("danger on raised", p.danger, p.raised),
                ("danger button", p.raised, p.danger),
            ];
            for (name, words, on) in pairs {
                let c = contrast(words, on);
                assert!(c >= 4.5, "{theme}: on {name} is {c:.2}");
            }
            for avatar in p.avatars {
                let c = contrast(p.on_avatar, avatar);
                assert!(c >= 4.5, "{theme}: initials are {c:.2}");
            }
        }
    }
}
