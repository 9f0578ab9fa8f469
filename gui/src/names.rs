//! Names for new personas: an adjective and an animal. Drawn afresh for every group, so that no name links two of them.

use std::hash::{BuildHasher, Hasher, RandomState};

const ADJECTIVES: &[&str] = &[
    "Amber", "Autumn", "Bold", "Brave", "Bright", "Calm", "Candid", "Careful", "Cheerful", "Clear", "Cloudy",
    "Copper", "Coral", "Cosy", "Crimson", "Curious", "Daring", "Dawn", "Dusky", "Eager", "Early", "Earnest", "Easy",
    "Fair", "Faithful", "Fearless", "Fern", "Floating", "Fond", "Forest", "Free", "Frosty", "Gentle", "Glad",
    "Golden", "Graceful", "Green", "Hazel", "Hearty", "Hidden", "Honest", "Hopeful", "Humble", "Indigo", "Ivory",
    "Jade", "Jolly", "Keen", "Kind", "Late", "Lilac", "Linen", "Little", "Lively", "Lofty", "Lucky", "Lunar",
    "Maple", "Meadow", "Mellow", "Merry", "Mild", "Misty", "Modest", "Mossy", "Nimble", "Noble", "Northern",
    "Oaken", "Olive", "Open", "Patient", "Peaceful", "Pearl", "Playful", "Plucky", "Polite", "Prairie", "Quick",
    "Quiet", "Rainy", "Ready", "Restful", "River", "Rosy", "Rustic", "Sandy", "Serene", "Shady", "Silver", "Simple",
    "Sincere", "Sleepy", "Slow", "Smiling", "Snowy", "Soft", "Southern", "Spring", "Starry", "Steady", "Still",
    "Summer", "Sunny", "Swift", "Tender", "Thankful", "Thoughtful", "Tidal", "Tranquil", "True", "Valiant",
    "Velvet", "Violet", "Wandering", "Warm", "Wild", "Willow", "Winter", "Wise", "Witty",
];

const ANIMALS: &[&str] = &[
    "Albatross", "Alpaca", "Antelope", "Avocet", "Badger", "Bat", "Bear", "Beaver", "Bison", "Bittern", "Blackbird",
    "Bluebird", "Bunting", "Buzzard", "Camel", "Caribou", "Chaffinch", "Chamois", "Cormorant", "Crane", "Cricket",
    "Curlew", "Deer", "Dolphin", "Dormouse", "Dove", "Dragonfly", "Dunlin", "Eagle", "Egret", "Eider", "Elk",
    "Falcon", "Fawn", "Ferret", "Finch", "Firefly", "Flamingo", "Fox", "Gannet", "Gazelle", "Goldfinch", "Goose",
    "Grebe", "Grouse", "Gull", "Hare", "Harrier", "Hawk", "Hedgehog", "Heron", "Hoopoe", "Ibex", "Ibis", "Jackdaw",
    "Jay", "Kestrel", "Kingfisher", "Kite", "Koala", "Lapwing", "Lark", "Lemur", "Linnet", "Llama", "Lynx",
    "Magpie", "Manatee", "Marmot", "Marten", "Martin", "Mole", "Moose", "Moth", "Nightingale", "Nuthatch", "Ocelot",
    "Oriole", "Osprey", "Otter", "Owl", "Panda", "Partridge", "Pelican", "Penguin", "Petrel", "Pheasant", "Pigeon",
    "Plover", "Puffin", "Quail", "Rabbit", "Raven", "Redstart", "Reindeer", "Robin", "Salmon", "Sandpiper", "Seal",
    "Shearwater", "Shrew", "Siskin", "Skylark", "Sparrow", "Squirrel", "Starling", "Stoat", "Stork", "Swallow",
    "Swan", "Swift", "Tapir", "Teal", "Tern", "Thrush", "Tortoise", "Turtle", "Vole", "Wagtail", "Warbler",
    "Waxwing", "Whale", "Wren", "Yak",
];

/// A name drawn by a number.
#[must_use]
pub fn name_for(number: u64) -> String {
    let pick = |list: &[&'static str], n: u64| {
        let len = u64::try_from(list.len()).unwrap_or(1).max(1);
        usize::try_from(n % len).ok().and_then(|i| list.get(i).copied()).unwrap_or("Quiet")
    };
    format!("{} {}", pick(ADJECTIVES, number >> 32), pick(ANIMALS, number & 0xffff_ffff))
}

/// A name drawn by chance. The standard library seeds its hashers from the system's randomness.
#[must_use]
pub fn roll() -> String {
    name_for(RandomState::new().build_hasher().finish())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn lists_are_long_and_without_doubles() {
        for list in [ADJECTIVES, ANIMALS] {
            assert!(list.len() >= 64);
            assert_eq!(list.iter().collect::<BTreeSet<_>>().len(), list.len());
        }
    }

    #[test]
    fn a_number_names_and_chance_varies() {
        assert_eq!(name_for(0), "Amber Albatross");
        let rolled: BTreeSet<String> = (0..64).map(|_| roll()).collect();
        assert!(rolled.len() > 48, "64 rolls of more than 4,096 names hardly repeat");
    }
}
