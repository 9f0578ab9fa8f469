//! The only clock: everything else is told the time.

use std::time::{SystemTime, UNIX_EPOCH};

use hearth_protocol::time::Timestamp;

/// The system's time now; the epoch itself if the clock stands before 1970.
#[must_use]
pub fn now() -> Timestamp {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
    Timestamp(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn now_lies_after_this_was_written() {
        assert!(super::now().0 > 1_735_689_600_000, "2025-01-01");
    }
}
