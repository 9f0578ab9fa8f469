//! Cover: in a private mode nothing leaves at the moment that it was written, and each relay hears of it at another moment.
//! So neither a relay, nor two that compare their clocks, can tell from the time who wrote, or who was there to read.

use hearth_protocol::{
    id::{GroupId, hash},
    time::Timestamp,
};

use super::outbox::Item;

/// Mean wait of what is put at a relay, before it is cut off at the longest.
const PUT_MEAN_MS: f64 = 3_000.0;
const PUT_MOST_MS: f64 = 15_000.0;
/// Acknowledgements wait up to this long: they say that somebody read.
const ACK_MOST_MS: f64 = 30_000.0;

/// Chances that are the same each time one asks, and known to nobody else.
#[derive(Clone, Copy)]
pub(crate) struct Cover([u8; 32]);

impl std::fmt::Debug for Cover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cover(…)")
    }
}

impl Cover {
    pub(crate) fn new(key: [u8; 32]) -> Self {
        Self(key)
    }

    /// Until when an item is not put at a relay; `None` when it may be.
    pub(crate) fn until(&self, (group, relay): (&GroupId, &str), item: &Item, now: Timestamp) -> Option<Timestamp> {
        let chance = self.chance(&[&group.0, relay.as_bytes(), &item.number.to_be_bytes()]);
        let at = item.since.plus_ms(whole((-PUT_MEAN_MS * (1.0 - chance).ln()).min(PUT_MOST_MS)));
        // After the clock was set back it would be long.
        let close = now.plus_ms(whole(PUT_MOST_MS));
        (at > now && at <= close).then_some(at)
    }

    /// How long what was read now is not acknowledged.
    pub(crate) fn ack_wait_ms(&self, group: &GroupId, now: Timestamp) -> u64 {
        whole(ACK_MOST_MS * self.chance(&[b"ack", &group.0, &now.0.to_be_bytes()]))
    }

    /// A time around `ms`, another for each group: what all do now and then they do not do together.
    pub(crate) fn around_ms(&self, ms: u64, group: &GroupId, now: Timestamp) -> u64 {
        let chance = self.chance(&[b"around", &group.0, &now.0.to_be_bytes()]);
        ms / 2 + whole(ms as f64 * chance)
    }

    /// From 0 up to, and without, 1.
    fn chance(&self, of: &[&[u8]]) -> f64 {
        let all: Vec<&[u8]> = std::iter::once(self.0.as_slice()).chain(of.iter().copied()).collect();
        let [a, b, c, d, ..] = hash(&all);
        f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
    }
}

/// Whole milliseconds of what is neither negative nor long.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to what one call asks for, minutes")]
fn whole(ms: f64) -> u64 {
    ms as u64
}

#[cfg(test)]
mod tests {
    use hearth_protocol::{id::NodeId, time::Day};

    use super::*;

    const GROUP: GroupId = GroupId([1; 32]);

    fn item(number: u64) -> Item {
        let (network, day, since) = (NodeId([0; 32]), Day(0), Timestamp(1_000));
        Item { number, parts: Vec::new(), control: false, network, day, envelope: None, held: Vec::new(), since }
    }

    #[test]
    fn each_relay_hears_of_it_at_another_moment_around_three_seconds() {
        let cover = Cover::new([7; 32]);
        let wait = |at, n| cover.until(at, &item(n), Timestamp(1_000)).map_or(0, |at| at.0 - 1_000);
        let waits = |group, relay| (0..2_000).map(|n| wait((group, relay), n)).collect::<Vec<u64>>();
        let one = waits(&GROUP, "one");
        assert_eq!(one, waits(&GROUP, "one"), "asked again it is the same");
        for other in [waits(&GROUP, "other"), waits(&GroupId([2; 32]), "one")] {
            assert!(one.iter().zip(&other).filter(|(a, b)| a.abs_diff(**b) < 10).count() < 40);
        }
        let mean = one.iter().sum::<u64>() / 2_000;
        assert!((2_600..3_300).contains(&mean) && one.iter().all(|ms| *ms <= 15_000), "{mean}");
        assert!(
            (0..99).all(|n| cover.until((&GROUP, "one"), &item(n), Timestamp(16_000)).is_none()),
            "none waits longer"
        );
        let back = Item { since: Timestamp(1 << 40), ..item(1) };
        assert_eq!(cover.until((&GROUP, "one"), &back, Timestamp(1_000)), None, "nor when the clock was set back");
    }

    #[test]
    fn acknowledgements_are_spread_over_half_a_minute() {
        let cover = Cover::new([7; 32]);
        let waits: Vec<u64> = (0..1_000).map(|ms| cover.ack_wait_ms(&GROUP, Timestamp(ms))).collect();
        assert!(
            waits.iter().all(|ms| *ms < 30_000) && waits.iter().filter(|ms| **ms < 15_000).count().abs_diff(500) < 80
        );
    }
}
