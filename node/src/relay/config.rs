//! What a relay is started with, and the limits a volunteer may set.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::mailbox::{Quotas, Rate};
use crate::net::commons::{CommonsLimits, EntryConfig};

/// What a relay needs to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayConfig {
    /// Where identity and sealed messages lie; made if absent.
    pub home: PathBuf,
    /// Multiaddrs to listen on; empty: every IPv4 interface, a free port.
    pub listen: Vec<String>,
    /// Other relays: each enters the other's table.
    pub peers: Vec<String>,
    /// Who runs it; without one it is its own operator.
    pub operator: Option<String>,
    /// Where metrics are served, on loopback only; port 0 is a free one.
    pub metrics: Option<SocketAddr>,
    /// Limits.
    pub limits: RelayLimits,
}

impl RelayConfig {
    /// A relay in `home` with every default.
    #[must_use]
    pub fn new(home: PathBuf) -> Self {
        let (listen, peers, limits) = (Vec::new(), Vec::new(), RelayLimits::default());
        Self { home, listen, peers, operator: None, metrics: None, limits }
    }
}

/// `[limits]` of `relay.toml`. The defaults suit 2 vCPU, 2 GiB of memory and 1 TB of traffic a month.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayLimits {
    /// Connections open; 4,096.
    pub connections: u32,
    /// Connections open with one peer; 8.
    pub connections_per_peer: u32,
    /// Mailbox sessions open; 8,192.
    pub sessions: u32,
    /// Bytes of everything kept; 20 GiB. New queues stop at nine tenths, slots have a quarter.
    pub store_bytes: u64,
    /// Bytes of one day's queue; 64 MiB.
    pub daily_queue_bytes: u64,
    /// Blobs of one day's queue; 8,192.
    pub daily_queue_blobs: u64,
    /// Bytes of one control queue; 128 MiB.
    pub control_queue_bytes: u64,
    /// Blobs of one control queue; 16,384.
    pub control_queue_blobs: u64,
    /// PUT to one queue in the long run; 600 a minute.
    pub puts_per_minute: u32,
    /// PUT to one queue at once; 1,000.
    pub puts_burst: u32,
    /// Bits of the proof of work for a new queue; 12. It rises by itself under load.
    pub pow_bits: u8,
    /// New queues in ten seconds before the proof of work rises; 64.
    pub new_queues_per_10s: u32,
    /// DHT records kept for others; 100,000.
    pub records: u32,
    /// Members' streams carried to other relays at once; 1,024.
    pub entry_streams: u32,
    /// Bytes a second carried so, both ways, of all streams together; 4 MiB.
    pub entry_bytes_per_second: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            connections: 4_096,
            connections_per_peer: 8,
            sessions: 8_192,
            store_bytes: 20 << 30,
            daily_queue_bytes: 64 << 20,
            daily_queue_blobs: 8_192,
            control_queue_bytes: 128 << 20,
            control_queue_blobs: 16_384,
            puts_per_minute: 600,
            puts_burst: 1_000,
            pow_bits: 12,
            new_queues_per_10s: 64,
            records: 100_000,
            entry_streams: 1_024,
            entry_bytes_per_second: 4 << 20,
        }
    }
}

/// A limit that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limits: {name} must be from {least} to {most}")]
pub struct LimitError {
    /// Which.
    pub name: &'static str,
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl RelayLimits {
    /// Whether every limit can be followed.
    ///
    /// # Errors
    /// The first that cannot.
    pub fn check(&self) -> Result<(), LimitError> {
        let count = u64::from(u32::MAX);
        let table = [
            ("connections", u64::from(self.connections), 8, 1 << 20),
            ("connections_per_peer", u64::from(self.connections_per_peer), 1, 1 << 10),
            ("sessions", u64::from(self.sessions), 1, 1 << 20),
            ("store_bytes", self.store_bytes, 1 << 20, 1 << 50),
            ("daily_queue_bytes", self.daily_queue_bytes, 1 << 16, 1 << 40),
            ("daily_queue_blobs", self.daily_queue_blobs, 1, count),
            ("control_queue_bytes", self.control_queue_bytes, 1 << 16, 1 << 40),
            ("control_queue_blobs", self.control_queue_blobs, 1, count),
            ("puts_per_minute", u64::from(self.puts_per_minute), 1, 1 << 24),
            ("puts_burst", u64::from(self.puts_burst), 1, 1 << 24),
            ("pow_bits", u64::from(self.pow_bits), 0, 24),
            ("new_queues_per_10s", u64::from(self.new_queues_per_10s), 1, 1 << 24),
            ("records", u64::from(self.records), 16, 1 << 24),
            ("entry_streams", u64::from(self.entry_streams), 0, 1 << 16),
            ("entry_bytes_per_second", self.entry_bytes_per_second, 1 << 16, 1 << 40),
        ];
        match table.into_iter().find(|(_, value, least, most)| value < least || value > most) {
            Some((name, _, least, most)) => Err(LimitError { name, least, most }),
            None => Ok(()),
        }
    }

    pub(super) fn quotas(&self) -> Quotas {
        Quotas {
            total_bytes: self.store_bytes,
            daily_bytes: self.daily_queue_bytes,
            daily_blobs: self.daily_queue_blobs,
            control_bytes: self.control_queue_bytes,
            control_blobs: self.control_queue_blobs,
            put: Rate { burst: self.puts_burst, per_minute: self.puts_per_minute },
            pow_bits: self.pow_bits,
            creates_per_10s: self.new_queues_per_10s,
            sessions: usize::try_from(self.sessions).unwrap_or(usize::MAX),
            ..Quotas::default()
        }
    }

    pub(super) fn entry(&self, operator: Option<String>) -> EntryConfig {
        let streams = usize::try_from(self.entry_streams).unwrap_or(usize::MAX);
        EntryConfig { operator, streams, rate: self.entry_bytes_per_second }
    }

    pub(super) fn commons(&self) -> CommonsLimits {
        CommonsLimits {
            connections: self.connections,
            per_peer: self.connections_per_peer,
            records: usize::try_from(self.records).unwrap_or(usize::MAX),
            ..CommonsLimits::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_from_toml_with_defaults_and_without_surprises() {
        let limits: RelayLimits = toml::from_str("pow_bits = 16\nstore_bytes = 1048576").unwrap();
        assert_eq!(limits, RelayLimits { pow_bits: 16, store_bytes: 1 << 20, ..RelayLimits::default() });
        assert!(toml::from_str::<RelayLimits>("pow_bit = 16").is_err());
        assert!(toml::from_str::<RelayLimits>("pow_bits = 300").is_err());
        assert_eq!(limits.check(), Ok(()));
        let wrong = RelayLimits { pow_bits: 25, ..limits };
        assert_eq!(wrong.check(), Err(LimitError { name: "pow_bits", least: 0, most: 24 }));
    }

    #[test]
    fn the_defaults_are_the_mailboxs_own() {
        assert_eq!(RelayLimits::default().quotas(), Quotas::default());
        assert_eq!(RelayLimits::default().commons(), CommonsLimits::default());
    }
}
