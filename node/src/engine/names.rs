//! Names for new personas: two plain words, so that nobody has to think of one at 3 a.m.

use hearth_protocol::name;
use rand::CryptoRng;

const FIRST: [&str; 64] = [
    "Amber", "Autumn", "Blue", "Brave", "Bright", "Calm", "Clear", "Coastal", "Copper", "Dawn", "Deep", "Distant",
    "Dusky", "Early", "Easy", "Evening", "Fair", "Fern", "Gentle", "Golden", "Grey", "Harbour", "Hazel", "Hidden",
    "High", "Honest", "Humble", "Ivory", "Kind", "Late", "Light", "Little", "Lunar", "Maple", "Meadow", "Mild",
    "Misty", "Morning", "Mossy", "Northern", "Olive", "Open", "Patient", "Pale", "Plain", "Quiet", "Rainy", "River",
    "Rosy", "Sandy", "Silver", "Slow", "Small", "Soft", "Southern", "Spring", "Steady", "Still", "Summer", "Sunlit",
    "Tidal", "Warm", "Wild", "Winter",
];
const SECOND: [&str; 64] = [
    "Alder",
    "Aspen",
    "Badger",
    "Beech",
    "Birch",
    "Brook",
    "Cedar",
    "Clover",
    "Crane",
    "Cricket",
    "Curlew",
    "Dipper",
    "Dove",
    "Dunlin",
    "Egret",
    "Elm",
    "Falcon",
    "Finch",
    "Fox",
    "Gannet",
    "Goldfinch",
    "Grebe",
    "Gull",
    "Hare",
    "Hawthorn",
    "Heather",
    "Hedgehog",
    "Heron",
    "Ibis",
    "Jackdaw",
    "Juniper",
    "Kestrel",
    "Kingfisher",
    "Lapwing",
    "Lark",
    "Linnet",
    "Loon",
    "Magpie",
    "Marten",
    "Moth",
    "Nuthatch",
    "Oak",
    "Otter",
    "Owl",
    "Pebble",
    "Petrel",
    "Pine",
    "Pipit",
    "Plover",
    "Poplar",
    "Puffin",
    "Rabbit",
    "Raven",
    "Robin",
    "Rook",
    "Rowan",
    "Sparrow",
    "Starling",
    "Stork",
    "Swallow",
    "Swift",
    "Thrush",
    "Willow",
    "Wren",
];

/// A name like "Quiet Heron".
pub(crate) fn generate(rng: &mut dyn CryptoRng) -> String {
    let mut bytes = [0u8; 2];
    rng.fill_bytes(&mut bytes);
    let word = |list: &[&'static str; 64], b: u8| list.get(usize::from(b) % 64).copied().unwrap_or("Quiet");
    format!("{} {}", word(&FIRST, bytes[0]), word(&SECOND, bytes[1]))
}

/// A name as it may be shown, whoever chose it: never empty, never disguised as something else.
pub(crate) fn shown(given: &str) -> String {
    name::clean(given).unwrap_or_else(|| "Unreadable name".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_two_words_and_pass_the_protocol() {
        let distinct: std::collections::BTreeSet<_> = FIRST.iter().chain(&SECOND).collect();
        assert_eq!(distinct.len(), 128);
        let name = generate(&mut rand::rng());
        assert_eq!(hearth_protocol::name::clean(&name).as_deref(), Some(name.as_str()));
        assert_eq!(name.split(' ').count(), 2);
    }

    #[test]
    fn a_name_that_hides_is_shown_clean_and_one_that_cannot_be_is_said_to_be_so() {
        assert_eq!(shown("admin\u{202e}nimda\u{200b}"), "adminnimda");
        assert_eq!(shown(&format!("a{}", "\u{310}".repeat(10_000))).chars().count(), 4);
        for unreadable in ["", "\u{200b}\u{2066}", &"m".repeat(65)] {
            assert_eq!(shown(unreadable), "Unreadable name");
        }
    }
}
