//! Keeps connections to the peers it was given: a lost one is dialled again at once, then after 1, 2 and at most 4 s.
//!
//! With a dial of at most 5 s, everything is connected again within 10 s of the network's return.

use std::time::{Duration, Instant};

use libp2p::{
    Multiaddr, PeerId,
    multiaddr::Protocol,
    swarm::{
        ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};

/// Peers to keep; more are ignored.
const TARGETS: usize = 64;
const LONGEST_WAIT_MS: u64 = 4_000;

#[derive(Debug)]
enum State {
    Waiting {
        until: Instant,
    },
    Dialing {
        connection: ConnectionId,
    },
    Up {
        connection: ConnectionId,
    },
    /// It is this node itself.
    Own,
}

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    state: State,
    failures: u32,
}

/// The peers to keep, and how each stands.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    targets: Vec<Target>,
}

impl Dialer {
    /// Adds addresses; known ones stay as they are.
    pub(super) fn add(&mut self, addresses: impl IntoIterator<Item = Multiaddr>, now: Instant) {
        for address in addresses {
            let known = self.targets.iter().any(|target| target.address == address);
            if !known && self.targets.len() < TARGETS {
                self.targets.push(Target { address, state: State::Waiting { until: now }, failures: 0 });
            }
        }
    }

    /// Dials that are due now; each counts as begun.
    pub(super) fn due(&mut self, now: Instant) -> Vec<DialOpts> {
        let due = |target: &&mut Target| matches!(target.state, State::Waiting { until } if until <= now);
        self.targets.iter_mut().filter(due).map(Target::dial).collect()
    }

    /// When the next dial is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let until = |target: &Target| match target.state {
            State::Waiting { until } => Some(until),
            _ => None,
        };
        self.targets.iter().filter_map(until).min()
    }

    /// A connection is up. Whether it is one of ours.
    pub(super) fn up(&mut self, connection: ConnectionId) -> bool {
        let Some(target) = self.dialing(connection) else { return false };
        target.state = State::Up { connection };
        target.failures = 0;
        true
    }

    /// Whether a connection is one of those that are kept.
    pub(super) fn keeps(&self, connection: ConnectionId) -> bool {
        self.targets.iter().any(|t| matches!(t.state, State::Up { connection: up } if up == connection))
    }

    /// A dial failed; `own` when it led back to this node.
    pub(super) fn failed(&mut self, connection: ConnectionId, own: bool, now: Instant) {
        let Some(target) = self.dialing(connection) else { return };
        target.state = if own { State::Own } else { State::Waiting { until: now + wait(target.failures) } };
        target.failures = target.failures.saturating_add(1);
    }

    /// A connection ended.
    pub(super) fn down(&mut self, ended: ConnectionId, now: Instant) {
        for target in &mut self.targets {
            if matches!(target.state, State::Up { connection } if connection == ended) {
                target.state = State::Waiting { until: now };
            }
        }
    }

    fn dialing(&mut self, dialed: ConnectionId) -> Option<&mut Target> {
        let ours = |target: &&mut Target| matches!(target.state, State::Dialing { connection } if connection == dialed);
        self.targets.iter_mut().find(ours)
    }
}

impl Target {
    fn dial(&mut self) -> DialOpts {
        // The port of a listener is never reused: the same pair of ports could not be dialled again for a while.
        let opts = match peer_of(&self.address) {
            Some(peer) => DialOpts::peer_id(peer)
                .addresses(vec![self.address.clone()])
                .condition(PeerCondition::Always)
                .allocate_new_port()
                .build(),
            None => DialOpts::unknown_peer_id().address(self.address.clone()).allocate_new_port().build(),
        };
        self.state = State::Dialing { connection: opts.connection_id() };
        opts
    }
}

/// How long to wait after so many failures: 1, 2, 4, 4 … s, shortened by up to a fifth so that many nodes do not
/// dial in step.
fn wait(failures: u32) -> Duration {
    let full = (1_000u64 << failures.min(4)).min(LONGEST_WAIT_MS);
    let mut byte = [0];
    // Without randomness the full wait is fine too.
    let _ = getrandom::fill(&mut byte);
    let [cut] = byte;
    Duration::from_millis(full - full * u64::from(cut) / 255 / 5)
}

/// The peer an address ends with.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer),
        _ => None,
    }
}

/// The address without its peer.
pub(super) fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_peer_is_dialled_at_once_and_then_with_growing_waits() {
        let mut dialer = Dialer::default();
        let mut now = Instant::now();
        let address: Multiaddr = "/ip4/127.0.0.1/tcp/1".parse().unwrap();
        dialer.add([address.clone(), address], now);
        assert_eq!(dialer.targets.len(), 1);
        let mut waits = Vec::new();
        for _ in 0..6 {
            let dials = dialer.due(now);
            assert_eq!(dials.len(), 1);
            assert!(dialer.due(now).is_empty());
            dialer.failed(dials[0].connection_id(), false, now);
            let next = dialer.next().unwrap();
            waits.push((next - now).as_millis());
            now = next;
        }
        for (wait, full) in waits.iter().zip([1_000, 2_000, 4_000, 4_000, 4_000, 4_000]) {
            assert!((full * 4 / 5..=full).contains(wait), "{waits:?}");
        }
        let connection = dialer.due(now)[0].connection_id();
        assert!(dialer.up(connection));
        assert_eq!(dialer.next(), None);
        dialer.down(connection, now);
        assert_eq!(dialer.next(), Some(now));
        let again = dialer.due(now)[0].connection_id();
        dialer.failed(again, true, now);
        assert_eq!(dialer.next(), None);
    }
}
