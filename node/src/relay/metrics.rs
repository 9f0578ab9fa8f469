//! Counters of a relay. None has a label by peer, address, topic or queue: what is not counted cannot leak.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

use super::mailbox::Usage;

/// Seconds; upper bounds of the histogram of PUT.
const PUT_SECONDS: [f64; 9] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0];

/// Counters, shared by cloning.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Connections open.
    pub connections: Gauge,
    /// Mailbox sessions open.
    pub sessions: Gauge,
    /// Mailbox sessions ended because the other side did not read, or sent garbage.
    pub sessions_dropped: Counter,
    /// Queues kept.
    pub queues: Gauge,
    /// Slots kept.
    pub slots: Gauge,
    /// Bytes kept, as counted against the quota.
    pub store_bytes: Gauge,
    /// Blobs stored.
    pub puts: Counter,
    /// Requests answered, of any kind.
    pub requests: Counter,
    /// Requests refused.
    pub refused: Counter,
    /// Blobs and slots that outlived their time.
    pub expired: Counter,
    /// Leading zero bits asked of a proof of work.
    pub pow_bits: Gauge,
    /// Syncs of the store.
    pub syncs: Counter,
    /// Seconds from request to durable answer, for PUT.
    pub put_seconds: Histogram,
    /// DHT records stored for others.
    pub records_stored: Counter,
    /// DHT records refused.
    pub records_refused: Counter,
    /// Streams carried to other relays.
    pub entries: Gauge,
    /// Streams that were to be carried, and were not.
    pub entries_refused: Counter,
    /// Bytes carried, both ways.
    pub entry_bytes: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            sessions: Gauge::default(),
            sessions_dropped: Counter::default(),
            queues: Gauge::default(),
            slots: Gauge::default(),
            store_bytes: Gauge::default(),
            puts: Counter::default(),
            requests: Counter::default(),
            refused: Counter::default(),
            expired: Counter::default(),
            pow_bits: Gauge::default(),
            syncs: Counter::default(),
            put_seconds: Histogram::new(PUT_SECONDS),
            records_stored: Counter::default(),
            records_refused: Counter::default(),
            entries: Gauge::default(),
            entries_refused: Counter::default(),
            entry_bytes: Counter::default(),
        }
    }
}

impl Metrics {
    /// Sets the gauges of the mailbox.
    pub(super) fn usage(&self, usage: Usage, sessions: usize, pow_bits: u8) {
        let gauge = |gauge: &Gauge, value: u64| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        gauge(&self.queues, usage.queues);
        gauge(&self.slots, usage.slots);
        gauge(&self.store_bytes, usage.bytes);
        gauge(&self.sessions, sessions as u64);
        gauge(&self.pow_bits, u64::from(pow_bits));
    }

    /// A registry under the prefix `hearth_relay`.
    #[must_use]
    pub fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("hearth_relay");
        let mut gauge = |name: &str, help: &str, metric: &Gauge| registry.register(name, help, metric.clone());
        gauge("connections", "Connections open", &self.connections);
        gauge("sessions", "Mailbox sessions open", &self.sessions);
        gauge("queues", "Queues kept", &self.queues);
        gauge("slots", "Slots kept", &self.slots);
        gauge("store_bytes", "Bytes kept, as counted against the quota", &self.store_bytes);
        gauge("pow_bits", "Bits asked of a proof of work", &self.pow_bits);
        gauge("entries", "Streams carried to other relays", &self.entries);
        let mut counter =
            |name: &str, help: &str, metric: &Counter<u64, AtomicU64>| registry.register(name, help, metric.clone());
        counter("sessions_dropped", "Sessions ended for not reading or for garbage", &self.sessions_dropped);
        counter("puts", "Blobs stored", &self.puts);
        counter("requests", "Requests answered", &self.requests);
        counter("refused", "Requests refused", &self.refused);
        counter("expired", "Blobs and slots that outlived their time", &self.expired);
        counter("syncs", "Syncs of the store", &self.syncs);
        counter("records_stored", "DHT records stored", &self.records_stored);
        counter("records_refused", "DHT records refused", &self.records_refused);
        counter("entries_refused", "Streams not carried to other relays", &self.entries_refused);
        counter("entry_bytes", "Bytes carried to and from other relays", &self.entry_bytes);
        registry.register("put_seconds", "Seconds from PUT to its durable answer", self.put_seconds.clone());
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The program", version);
        registry
    }
}

/// The registry as text, in the OpenMetrics form.
pub(super) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail; an encoder's own error would leave a text without its end mark.
    let _ = encode(&mut text, registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The dashboard that volunteers are given asks for what there is, and for all of it.
    #[test]
    fn the_dashboard_shows_every_metric_and_no_other() {
        let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../packaging/grafana.json")).unwrap();
        let targets = dashboard["panels"].as_array().unwrap().iter().flat_map(|p| p["targets"].as_array().unwrap());
        let asked: String = targets.map(|target| target["expr"].as_str().unwrap()).collect::<Vec<_>>().join(" ");
        let served = text(&Metrics::default().registry());
        let names: Vec<&str> = served.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        assert!(names.len() > 10, "{served}");
        for name in names.iter().filter(|name| **name != "hearth_relay_build") {
            assert!(asked.contains(name), "no panel shows {name}");
        }
        let words = asked.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|w| w.starts_with("hearth_"));
        for word in words {
            let base = word.trim_end_matches("_total").trim_end_matches("_bucket");
            assert!(names.contains(&base) && served.contains(word), "{word} is not served");
        }
    }
}
