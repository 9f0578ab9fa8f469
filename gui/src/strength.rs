//! How hard a passphrase is to guess: a coarse, honest estimate without a word list.

/// The shortest passphrase that is taken, in characters.
pub const SHORTEST: usize = 8;

/// What the meter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Too short to be taken.
    TooShort,
    /// Guessed soon by somebody who has the disk.
    Weak,
    /// Holds for a while.
    Fair,
    /// Holds.
    Strong,
}

impl Strength {
    /// The sentence beside the meter.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::TooShort => "At least 8 characters. Four or five unrelated words are easy to remember.",
            Self::Weak => "Easy to guess for somebody who has this computer. A few more words help.",
            Self::Fair => "Fair. One more word makes it strong.",
            Self::Strong => "Strong.",
        }
    }

    /// How full the meter is, 0 to 1.
    #[must_use]
    pub fn share(self) -> f32 {
        match self {
            Self::TooShort => 0.08,
            Self::Weak => 0.33,
            Self::Fair => 0.66,
            Self::Strong => 1.0,
        }
    }
}

/// Judges a passphrase.
#[must_use]
pub fn judge(passphrase: &str) -> Strength {
    if passphrase.chars().count() < SHORTEST {
        return Strength::TooShort;
    }
    match bits(passphrase) {
        b if b < 36.0 => Strength::Weak,
        b if b < 56.0 => Strength::Fair,
        _ => Strength::Strong,
    }
}

/// Bits by characters, or by words when it is made of words, whichever is less. A repeated or counting character adds little.
fn bits(text: &str) -> f64 {
    let chars: Vec<char> = text.chars().collect();
    let mut pool = 0.0;
    for (class, size) in [
        (chars.iter().any(char::is_ascii_lowercase), 26.0),
        (chars.iter().any(char::is_ascii_uppercase), 26.0),
        (chars.iter().any(char::is_ascii_digit), 10.0),
        (chars.iter().any(|c| c.is_ascii_punctuation() || *c == ' '), 20.0),
        (chars.iter().any(|c| !c.is_ascii()), 60.0),
    ] {
        pool += if class { size } else { 0.0 };
    }
    let per_char = f64::max(pool, 2.0).log2();
    let mut by_chars = 0.0;
    let mut before: Option<char> = None;
    for &c in &chars {
        let step = before.map(|b| u32::from(c).abs_diff(u32::from(b)));
        by_chars += if step.is_some_and(|s| s <= 1) { 0.5 } else { per_char };
        before = Some(c);
    }
    let words: std::collections::BTreeSet<&str> = text.split_whitespace().filter(|w| w.chars().count() >= 3).collect();
    if words.len() < 2 {
        // One word with decorations: dictionaries know it.
        let letters = chars.iter().filter(|c| c.is_alphabetic()).count();
        let mostly_word = letters * 4 >= chars.len() * 3 && chars.len() < 14;
        return if mostly_word { by_chars.min(34.0) } else { by_chars };
    }
    #[allow(clippy::cast_precision_loss, reason = "a handful of words")]
    let by_words = words.len() as f64 * 13.5;
    by_chars.min(by_words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meter_orders_what_people_type() {
        assert_eq!(judge("secret"), Strength::TooShort);
        assert_eq!(judge("aaaaaaaaaaaaaaaa"), Strength::Weak);
        assert_eq!(judge("12345678"), Strength::Weak);
        assert_eq!(judge("password1"), Strength::Weak);
        assert_eq!(judge("lamp quiet river"), Strength::Fair);
        assert_eq!(judge("lamp quiet river stone walk"), Strength::Strong);
        assert_eq!(judge("gT7#kq2!Vz9p"), Strength::Strong);
    }
}
