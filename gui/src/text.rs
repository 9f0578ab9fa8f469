//! Text for display. egui joins and shapes right-to-left letters but puts the words of a line in logical order; here
//! every line is broken first, and its words are then placed in visual order, each as a section of its own.
//! What is copied or spoken is always the logical text.

use std::{ops::Range, sync::Arc};

use eframe::{
    egui::{Align, Color32, FontId, Galley, Ui, text::LayoutJob},
    epaint::text::{ByteIndex, LayoutSection, TextFormat, TextWrapping},
};
use unicode_bidi::{BidiInfo, Level};
use unicode_segmentation::UnicodeSegmentation;

use crate::theme::size;

/// A body longer than this is shown folded, in bytes.
pub const FOLD_OVER: usize = 16 * 1024;
/// What is shown of a folded body, in bytes at most.
const FOLDED: usize = 2 * 1024;

/// How a text is drawn.
#[derive(Clone, Debug)]
pub struct Pen {
    /// Font.
    pub font: FontId,
    /// Colour.
    pub color: Color32,
    /// Whether slanted.
    pub italics: bool,
}

impl Pen {
    /// Upright.
    #[must_use]
    pub fn new(font: FontId, color: Color32) -> Self {
        Self { font, color, italics: false }
    }

    fn format(&self) -> TextFormat {
        TextFormat {
            font_id: self.font.clone(),
            color: self.color,
            italics: self.italics,
            line_height: Some((self.font.size * size::LINE).round()),
            valign: Align::Center,
            ..TextFormat::default()
        }
    }
}

/// Whether a text holds right-to-left letters.
#[must_use]
pub fn has_rtl(text: &str) -> bool {
    text.chars().any(|c| {
        matches!(c, '\u{590}'..='\u{8ff}' | '\u{200f}' | '\u{202b}' | '\u{202e}' | '\u{2067}'
            | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}' | '\u{10800}'..='\u{10fff}' | '\u{1e800}'..='\u{1efff}')
    })
}

/// Whether a text begins right to left, and so belongs on the right.
#[must_use]
pub fn starts_rtl(text: &str) -> bool {
    has_rtl(text) && unicode_bidi::get_base_direction(text) == unicode_bidi::Direction::Rtl
}

/// What is shown of a long body while it is folded: `None` when it is short enough to be whole.
#[must_use]
pub fn folded(text: &str) -> Option<&str> {
    if text.len() <= FOLD_OVER {
        return None;
    }
    text.get(..text.floor_char_boundary(FOLDED))
}

/// Lays a paragraph out at a width.
#[must_use]
pub fn layout(ui: &Ui, text: &str, pen: &Pen, width: f32) -> Arc<Galley> {
    let job = if has_rtl(text) { bidi_job(ui, text, pen, width) } else { plain_job(text, pen, width) };
    ui.fonts_mut(|f| f.layout_job(job))
}

/// One line, ending in "…" when it does not fit.
#[must_use]
pub fn line(ui: &Ui, text: &str, pen: &Pen, width: f32) -> Arc<Galley> {
    let flat: String = text.chars().take(512).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut job = if has_rtl(&flat) {
        let mut job = empty_job(f32::INFINITY);
        push_line(&mut job, &BidiInfo::new(&flat, None), 0..flat.len(), pen);
        job
    } else {
        plain_job(&flat, pen, width)
    };
    job.wrap = TextWrapping { max_width: width, max_rows: 1, break_anywhere: true, ..TextWrapping::default() };
    job.halign = Align::LEFT;
    ui.fonts_mut(|f| f.layout_job(job))
}

fn empty_job(width: f32) -> LayoutJob {
    LayoutJob { wrap: TextWrapping { max_width: width, ..TextWrapping::default() }, ..LayoutJob::default() }
}

fn plain_job(text: &str, pen: &Pen, width: f32) -> LayoutJob {
    let mut job = LayoutJob::single_section(text.to_owned(), pen.format());
    job.wrap.max_width = width;
    job
}

fn bidi_job(ui: &Ui, text: &str, pen: &Pen, width: f32) -> LayoutJob {
    let mut job = empty_job(f32::INFINITY);
    if starts_rtl(text) {
        job.halign = Align::RIGHT;
    }
    let info = BidiInfo::new(text, None);
    let mut first = true;
    for range in lines(ui, text, pen, width) {
        if !first {
            push(&mut job, "\n", pen);
        }
        first = false;
        push_line(&mut job, &info, range, pen);
    }
    job
}

/// Byte ranges of the lines that fit, in logical order, without the white space they end in.
fn lines(ui: &Ui, text: &str, pen: &Pen, width: f32) -> Vec<Range<usize>> {
    let measure = |word: &str| -> f32 {
        let job = LayoutJob::single_section(word.to_owned(), pen.format());
        ui.fonts_mut(|f| f.layout_job(job)).size().x
    };
    let mut lines = Vec::new();
    let mut offset = 0;
    for paragraph in text.split('\n') {
        let (mut start, mut end, mut used) = (offset, offset, 0.0);
        for (at, word) in paragraph.split_word_bound_indices() {
            let at = offset + at;
            let wide = measure(word);
            let space = word.chars().all(char::is_whitespace);
            if used + wide > width && end > start && !space {
                lines.push(start..end);
                (start, used) = (at, 0.0);
            }
            used += wide;
            if !space {
                end = at + word.len();
            }
        }
        lines.push(start..end.max(start));
        offset += paragraph.len() + 1;
    }
    lines
}

fn push_line(job: &mut LayoutJob, info: &BidiInfo<'_>, range: Range<usize>, pen: &Pen) {
    for atom in visual_atoms(info, range) {
        push(job, &atom, pen);
    }
}

/// The atoms of a line from left to right. Letters inside a right-to-left atom stay in logical order: shaping turns them.
fn visual_atoms(info: &BidiInfo<'_>, line: Range<usize>) -> Vec<String> {
    let Some(paragraph) = info.paragraphs.iter().find(|p| p.range.start <= line.start && line.start < p.range.end)
    else {
        return Vec::new();
    };
    if line.is_empty() {
        return Vec::new();
    }
    let (levels, runs) = info.visual_runs(paragraph, line);
    let mut atoms = Vec::new();
    for run in runs {
        let Some(text) = info.text.get(run.clone()) else { continue };
        if levels.get(run.start).is_some_and(Level::is_rtl) {
            atoms.extend(rtl_atoms(text).into_iter().rev());
        } else {
            atoms.push(text.to_owned());
        }
    }
    atoms
}

/// Words, spaces and brackets; brackets are mirrored here because a lone bracket has no direction of its own.
fn rtl_atoms(text: &str) -> Vec<String> {
    let mut atoms: Vec<String> = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        let alone = c.is_whitespace() || mirrored(c) != c;
        if alone {
            atoms.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
            atoms.push(mirrored(c).to_string());
        } else {
            word.push(c);
        }
    }
    atoms.extend((!word.is_empty()).then_some(word));
    atoms
}

fn mirrored(c: char) -> char {
    match c {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        '{' => '}',
        '}' => '{',
        '<' => '>',
        '>' => '<',
        '«' => '»',
        '»' => '«',
        other => other,
    }
}

/// Not `LayoutJob::append`: it would join equal neighbours, and shaping would turn the whole run again.
fn push(job: &mut LayoutJob, atom: &str, pen: &Pen) {
    let start = ByteIndex(job.text.len());
    job.text.push_str(atom);
    let byte_range = start..ByteIndex(job.text.len());
    job.sections.push(LayoutSection { leading_space: 0.0, byte_range, format: pen.format() });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn atoms(text: &str) -> Vec<String> {
        visual_atoms(&BidiInfo::new(text, None), 0..text.len())
    }

    #[test]
    fn hebrew_words_run_right_to_left_with_numbers_and_brackets() {
        assert_eq!(atoms("שלום לכולם"), ["לכולם", " ", "שלום"]);
        assert_eq!(atoms("בשעה 19 (ערב)"), ["(", "ערב", ")", " ", "19", " ", "בשעה"]);
    }

    #[test]
    fn arabic_inside_latin_keeps_the_sentence() {
        assert_eq!(atoms("say صباح الخير now"), ["say ", "الخير", " ", "صباح", " now"]);
    }

    #[test]
    fn latin_inside_arabic_stays_readable() {
        assert_eq!(atoms("مرحبا Hearth مرحبا"), ["مرحبا", " ", "Hearth", " ", "مرحبا"]);
    }

    #[test]
    fn direction_is_that_of_the_first_strong_letter() {
        assert!(starts_rtl("שלום Sam") && !starts_rtl("Sam שלום") && !starts_rtl("12:30"));
    }

    #[test]
    fn long_bodies_fold_at_a_character() {
        let long = "é".repeat(FOLD_OVER);
        assert!(folded(&long).is_some_and(|t| t.len() <= FOLDED && long.starts_with(t)));
        assert_eq!(folded("short"), None);
    }
}
