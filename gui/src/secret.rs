//! A text buffer for passphrases and links: one allocation, wiped when it is cleared or dropped.

use std::ops::Range;

use eframe::{
    egui::{self, TextBuffer},
    epaint::text::{ByteIndex, CharIndex},
};
use hearth_node::app::Secret;
use zeroize::Zeroize;

/// Bytes kept from the start, so that growing never leaves a copy behind.
const CAPACITY: usize = 4_096;

/// See the module.
pub struct SecretBuffer(String);

impl Default for SecretBuffer {
    fn default() -> Self {
        Self(String::with_capacity(CAPACITY))
    }
}

impl Drop for SecretBuffer {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl std::fmt::Debug for SecretBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretBuffer(…)")
    }
}

impl SecretBuffer {
    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// A copy for a command.
    #[must_use]
    pub fn secret(&self) -> Secret {
        Secret::new(self.0.clone())
    }

    /// Wipes it.
    pub fn wipe(&mut self) {
        self.0.zeroize();
        self.0.reserve(CAPACITY);
    }

    /// Forgets the field's undo history, which holds copies of the text.
    pub fn forget_undo(ctx: &egui::Context, field: egui::Id) {
        if let Some(mut state) = egui::TextEdit::load_state(ctx, field) {
            state.clear_undoer();
            egui::TextEdit::store_state(ctx, field, state);
        }
    }
}

impl TextBuffer for SecretBuffer {
    fn is_mutable(&self) -> bool {
        true
    }

    fn as_str(&self) -> &str {
        &self.0
    }

    fn insert_text(&mut self, text: &str, at: CharIndex) -> usize {
        let room = CAPACITY.saturating_sub(self.0.len());
        let Some(fits) = text.get(..text.floor_char_boundary(room)) else { return 0 };
        let ByteIndex(byte) = self.byte_index_from_char_index(at);
        self.0.insert_str(byte.min(self.0.len()), fits);
        fits.chars().count()
    }

    fn delete_char_range(&mut self, range: Range<CharIndex>) {
        let ByteIndex(start) = self.byte_index_from_char_index(range.start);
        let ByteIndex(end) = self.byte_index_from_char_index(range.end);
        if start < end && end <= self.0.len() {
            self.0.drain(start..end);
        }
        if self.0.is_empty() {
            self.wipe();
        }
    }

    fn clear(&mut self) {
        self.wipe();
    }

    fn type_id(&self) -> std::any::TypeId {
        std::any::TypeId::of::<Self>()
    }

    fn take(&mut self) -> String {
        let text = self.0.clone();
        self.wipe();
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editing_never_moves_the_allocation() {
        let mut b = SecretBuffer::default();
        let place = b.0.as_ptr();
        assert_eq!(b.insert_text("häuser", CharIndex(0)), 6);
        b.delete_char_range(CharIndex(1)..CharIndex(2));
        assert_eq!(b.text(), "huser");
        assert_eq!(b.insert_text(&"x".repeat(10_000), CharIndex(5)), CAPACITY - 5);
        assert_eq!(b.0.as_ptr(), place);
        b.wipe();
        assert!(b.text().is_empty() && b.0.capacity() >= CAPACITY);
    }
}
