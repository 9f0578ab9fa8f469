//! When to try a lost relay again: at once, then after 1, 2, 4 and at most 8 seconds, jittered.

use std::time::Duration;

/// The longest wait; the whole is meant to be back within ten seconds of the network's return.
const LONGEST: Duration = Duration::from_secs(8);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next attempt; `jitter` in 0..=1 shortens it by up to a quarter, so that a
    /// relay that comes back is not met by all its clients at once.
    pub(super) fn next(&mut self, jitter: f64) -> Duration {
        let wait = match self.failures {
            0 => Duration::ZERO,
            n => Duration::from_secs(1 << (n - 1).min(3)).min(LONGEST),
        };
        self.failures = self.failures.saturating_add(1);
        wait.mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
    }

    /// After misbehaviour nothing is tried at once.
    pub(super) fn skip_first(&mut self) {
        self.failures = self.failures.max(1);
    }

    /// The session was good for a while: the next loss begins anew.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_once_then_doubling_to_eight_seconds() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.next(0.0).as_secs()).collect();
        assert_eq!(waits, [0, 1, 2, 4, 8, 8, 8]);
        assert_eq!(backoff.next(1.0), Duration::from_secs(6), "jitter only shortens");
        backoff.reset();
        assert_eq!(backoff.next(0.5), Duration::ZERO);
        backoff.reset();
        backoff.skip_first();
        assert_eq!(backoff.next(0.0), Duration::from_secs(1));
    }
}
