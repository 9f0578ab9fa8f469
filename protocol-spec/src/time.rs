//! Time as data. Nothing in the protocol reads a clock; callers pass `now`.

use minicbor::{Decode, Encode};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Timestamp(#[n(0)] pub u64);

/// Seconds since 1970-01-01T00:00:00Z: when an invite ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Second(#[n(0)] pub u64);

/// Minutes since 1970-01-01T00:00Z: the resolution that other members see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Minute(#[n(0)] pub u64);

/// Days since 1970-01-01 UTC: the rhythm of queues and topics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(transparent)]
pub struct Day(#[n(0)] pub u64);

impl Timestamp {
    /// Later by `ms` milliseconds.
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to `self`; zero when the clock went back.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The second it lies in.
    #[must_use]
    pub fn second(self) -> Second {
        Second(self.0 / 1_000)
    }

    /// The minute it lies in.
    #[must_use]
    pub fn minute(self) -> Minute {
        Minute(self.0 / 60_000)
    }

    /// The UTC day it lies in.
    #[must_use]
    pub fn day(self) -> Day {
        Day(self.0 / 86_400_000)
    }
}

impl Second {
    /// The first second that begins `seconds` after `now` or later: a promised lifetime is never cut short.
    #[must_use]
    pub fn after(now: Timestamp, seconds: u64) -> Self {
        Self(now.0.div_ceil(1_000).saturating_add(seconds))
    }

    /// The first instant of the second.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(1_000))
    }
}

impl Minute {
    /// The first instant of the minute.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(60_000))
    }
}

impl Day {
    /// The day after.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
