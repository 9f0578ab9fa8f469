//! Bundled fonts, by weight. Latin is Atkinson Hyperlegible Next; Noto covers the rest; the system covers what Noto lacks.

use std::{collections::BTreeMap, sync::Arc};

use eframe::egui::{FontData, FontDefinitions, FontFamily, FontId, FontTweak, TextStyle};

use crate::theme::size;

macro_rules! font {
    ($file:literal) => {
        include_bytes!(concat!("../assets/fonts/", $file))
    };
}

const MEDIUM: &str = "medium";
const SEMIBOLD: &str = "semibold";
const BOLD: &str = "bold";

/// Ordinary words.
#[must_use]
pub fn regular(size: f32) -> FontId {
    FontId::new(size, FontFamily::Proportional)
}

/// Buttons and names in lists.
#[must_use]
pub fn medium(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(MEDIUM.into()))
}

/// Names of authors, headings of cards.
#[must_use]
pub fn semibold(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(SEMIBOLD.into()))
}

/// Titles.
#[must_use]
pub fn bold(size: f32) -> FontId {
    FontId::new(size, FontFamily::Name(BOLD.into()))
}

pub(crate) fn text_styles() -> BTreeMap<TextStyle, FontId> {
    BTreeMap::from([
        (TextStyle::Small, regular(size::SMALL)),
        (TextStyle::Body, regular(size::BODY)),
        (TextStyle::Button, medium(size::BODY)),
        (TextStyle::Heading, bold(size::TITLE)),
        (TextStyle::Monospace, FontId::new(size::NOTE, FontFamily::Monospace)),
    ])
}

/// The fonts of the window and of its tests: what a test draws does not depend on the machine.
#[must_use]
pub fn definitions() -> FontDefinitions {
    let mut fonts = FontDefinitions::empty();
    let rtl = FontTweak { scale: size::RTL, ..FontTweak::default() };
    let faces: [(&str, &'static [u8], FontTweak); 9] = [
        ("latin-400", font!("AtkinsonHyperlegibleNext_400Regular.ttf"), FontTweak::default()),
        ("latin-500", font!("AtkinsonHyperlegibleNext_500Medium.ttf"), FontTweak::default()),
        ("latin-600", font!("AtkinsonHyperlegibleNext_600SemiBold.ttf"), FontTweak::default()),
        ("latin-700", font!("AtkinsonHyperlegibleNext_700Bold.ttf"), FontTweak::default()),
        ("noto-400", font!("NotoSans-Regular.ttf"), FontTweak::default()),
        ("noto-700", font!("NotoSans-Bold.ttf"), FontTweak::default()),
        ("arabic", font!("NotoSansArabic-Regular.ttf"), rtl.clone()),
        ("hebrew", font!("NotoSansHebrew-Regular.ttf"), rtl),
        ("emoji", font!("NotoColorEmoji.ttf"), FontTweak::default()),
    ];
    for (name, bytes, tweak) in faces {
        fonts.font_data.insert(name.to_owned(), Arc::new(FontData::from_static(bytes).tweak(tweak)));
    }
    let chain = |latin: &str, noto: &str| -> Vec<String> {
        [latin, noto, "arabic", "hebrew", "emoji"].into_iter().map(str::to_owned).collect()
    };
    fonts.families = BTreeMap::from([
        (FontFamily::Proportional, chain("latin-400", "noto-400")),
        (FontFamily::Monospace, chain("latin-400", "noto-400")),
        (FontFamily::Name(MEDIUM.into()), chain("latin-500", "noto-400")),
        (FontFamily::Name(SEMIBOLD.into()), chain("latin-600", "noto-700")),
        (FontFamily::Name(BOLD.into()), chain("latin-700", "noto-700")),
    ]);
    fonts
}
