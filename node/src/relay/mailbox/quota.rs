//! How much a mailbox takes: sizes, rates and the price of a queue. All integer arithmetic, all on the caller's clock.

use hearth_protocol::{mailbox::QueueKind, time::Timestamp};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Bounds of one mailbox. The defaults suit a relay with 2 vCPU, 2 GiB and 20 GiB of disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Bytes kept in all; creating queues stops at nine tenths, slots have a quarter.
    pub total_bytes: u64,
    /// Bytes of one daily queue.
    pub daily_bytes: u64,
    /// Blobs of one daily queue.
    pub daily_blobs: u64,
    /// Bytes of one control queue.
    pub control_bytes: u64,
    /// Blobs of one control queue.
    pub control_blobs: u64,
    /// Milliseconds that a daily queue's blobs live.
    pub daily_ttl_ms: u64,
    /// Milliseconds that a control queue's blobs live, and a slot after its last write.
    pub control_ttl_ms: u64,
    /// PUT per queue.
    pub put: Rate,
    /// Requests per session.
    pub requests: Rate,
    /// New slots per session.
    pub new_slots: Rate,
    /// Leading zero bits of CREATE's proof of work when nobody else creates.
    pub pow_bits: u8,
    /// Queues made in ten seconds before the proof of work gets dearer; each doubling adds a bit.
    pub creates_per_10s: u32,
    /// Queues that one session may subscribe to.
    pub subscriptions: usize,
    /// Sessions open at once.
    pub sessions: usize,
}

impl Default for Quotas {
    fn default() -> Self {
        Self {
            total_bytes: 20 << 30,
            daily_bytes: 64 << 20,
            daily_blobs: 8_192,
            control_bytes: 128 << 20,
            control_blobs: 16_384,
            daily_ttl_ms: 30 * DAY_MS,
            control_ttl_ms: 120 * DAY_MS,
            put: Rate { burst: 1_000, per_minute: 600 },
            requests: Rate { burst: 4_000, per_minute: 12_000 },
            new_slots: Rate { burst: 64, per_minute: 12 },
            pow_bits: 12,
            creates_per_10s: 64,
            subscriptions: 64,
            sessions: 8_192,
        }
    }
}

impl Quotas {
    /// Bounds of a member's own mailbox, which lies in memory.
    #[must_use]
    pub fn member() -> Self {
        Self {
            total_bytes: 64 << 20,
            daily_bytes: 16 << 20,
            control_bytes: 32 << 20,
            sessions: 1_024,
            ..Self::default()
        }
    }

    pub(super) fn ttl_ms(&self, kind: QueueKind) -> u64 {
        match kind {
            QueueKind::Daily => self.daily_ttl_ms,
            QueueKind::Control => self.control_ttl_ms,
        }
    }

    /// Bytes and blobs of one queue.
    pub(super) fn queue(&self, kind: QueueKind) -> (u64, u64) {
        match kind {
            QueueKind::Daily => (self.daily_bytes, self.daily_blobs),
            QueueKind::Control => (self.control_bytes, self.control_blobs),
        }
    }
}

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// At once, after a rest.
    pub burst: u32,
    /// In the long run.
    pub per_minute: u32,
}

/// Counts against a [`Rate`]. One token is 60,000 parts, so that a rate per minute refills whole parts per
/// millisecond.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    parts: u64,
    at: Timestamp,
}

const TOKEN: u64 = 60_000;

impl Allowance {
    pub(super) fn full(rate: Rate, now: Timestamp) -> Self {
        Self { parts: u64::from(rate.burst) * TOKEN, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Timestamp) {
        let gained = now.since(self.at).saturating_mul(u64::from(rate.per_minute));
        self.parts = self.parts.saturating_add(gained).min(u64::from(rate.burst) * TOKEN);
        self.at = now;
    }

    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        self.refill(rate, now);
        let Some(left) = self.parts.checked_sub(TOKEN) else { return false };
        self.parts = left;
        true
    }

    /// Whether forgetting it changes nothing.
    pub(super) fn is_full(&mut self, rate: Rate, now: Timestamp) -> bool {
        self.refill(rate, now);
        self.parts >= u64::from(rate.burst) * TOKEN
    }
}

/// How many queues were made lately, and so how dear the next one is. Back to the base 20 s after a rush.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CreateLoad {
    window: u64,
    before: u32,
    current: u32,
}

const WINDOW_MS: u64 = 10_000;

impl CreateLoad {
    fn turn(&mut self, now: Timestamp) {
        let window = now.0 / WINDOW_MS;
        if window == self.window + 1 {
            self.before = std::mem::take(&mut self.current);
        } else if window != self.window {
            (self.before, self.current) = (0, 0);
        }
        self.window = window;
    }

    pub(super) fn created(&mut self, now: Timestamp) {
        self.turn(now);
        self.current = self.current.saturating_add(1);
    }

    /// Bits asked of the next proof of work.
    pub(super) fn bits(&mut self, quotas: &Quotas, now: Timestamp) -> u8 {
        self.turn(now);
        let times = self.before.max(self.current) / quotas.creates_per_10s.max(1);
        let dearer = u8::try_from(u32::BITS - times.leading_zeros()).unwrap_or(u8::MAX);
        quotas.pow_bits.saturating_add(dearer).min(32)
    }
}
