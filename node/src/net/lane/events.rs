//! What a lane hears from its swarm, its links and the clock.

use std::{cmp::Reverse, sync::atomic::Ordering, time::Duration};

use libp2p::{
    PeerId,
    gossipsub::{self, MessageAcceptance},
    swarm::{ConnectionId, SwarmEvent},
};
use tokio::time::Instant;

use super::{Due, Lane, Peer, VERDICTS, swarm::LaneBehaviourEvent};
use crate::{
    engine::lane::{LaneEvent, LinkId},
    net::{
        address, gossip,
        links::{Inbound, Link, streams::StreamEvent},
    },
};

/// How long a link waits for the peer's subscriptions; they come with the connection, or there are none.
const SETTLE: Duration = Duration::from_millis(250);
/// How long the addresses of several interfaces are gathered.
const GATHER: Duration = Duration::from_millis(20);

impl Lane {
    pub(super) fn on_swarm(&mut self, event: SwarmEvent<LaneBehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { .. } if self.unspecified => {
                self.due.push(Reverse((Instant::now() + GATHER, Due::Announce)));
            }
            SwarmEvent::NewListenAddr { .. }
            | SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ListenerClosed { .. } => self.announce(),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, endpoint.is_dialer());
            }
            // A link on this connection hears of it from its stream, after the last message.
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, .. } => {
                self.peers.remove(&peer_id);
            }
            SwarmEvent::Behaviour(LaneBehaviourEvent::Gossip(event)) => self.on_gossip(event),
            SwarmEvent::Behaviour(LaneBehaviourEvent::Streams((peer, event))) => self.on_stream(peer, event),
            _ => {}
        }
    }

    fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, outbound: bool) {
        if self.peers.contains_key(&peer) {
            return;
        }
        let since = Instant::now();
        self.peers.insert(peer, Peer { since, outbound, stream: None, subscribed: false, link: None });
        self.due.push(Reverse((since + self.accept_within, Due::Gate(peer))));
        if self.opens(&peer) {
            self.swarm.behaviour_mut().streams.open(peer, connection);
        }
    }

    /// Of two members, one opens the stream: see [`crate::net::links::streams`].
    fn opens(&self, peer: &PeerId) -> bool {
        self.swarm.local_peer_id() < peer
    }

    fn on_stream(&mut self, peer: PeerId, event: StreamEvent) {
        let ours = self.opens(&peer);
        let stream = match event {
            StreamEvent::Inbound(stream) if !ours => stream,
            StreamEvent::Outbound(stream) if ours => stream,
            // Not its part: the stream is closed unread.
            StreamEvent::Inbound(_) | StreamEvent::Outbound(_) => return,
            StreamEvent::Failed => return self.disconnect(peer),
        };
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        entry.stream = Some(stream);
        if let Some(old) = entry.link.take() {
            // The peer lost the connection of the old link before we noticed.
            self.forget(old);
        }
        self.due.push(Reverse((Instant::now() + SETTLE, Due::Settle(peer))));
        self.link_up(peer, false);
    }

    /// Turns an open stream into a link, once the subscriptions are there or `settled` says not to wait.
    fn link_up(&mut self, peer: PeerId, settled: bool) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        if !(entry.subscribed || settled) {
            return;
        }
        let Some(stream) = entry.stream.take() else { return };
        let id = LinkId(self.ids.fetch_add(1, Ordering::Relaxed));
        entry.link = Some(id);
        let outbound = entry.outbound;
        self.links.insert(id, Link::start(id, peer, stream, self.to_inbound.clone()));
        self.due.push(Reverse((Instant::now() + self.accept_within, Due::Accept(id))));
        self.outbox.push(LaneEvent::LinkUp { lane: self.lane, link: id, peer: peer.to_bytes(), outbound });
    }

    pub(super) fn on_inbound(&mut self, inbound: Inbound) {
        // A link that is gone may have left messages behind.
        if !self.links.contains_key(&inbound.link) {
            return;
        }
        match inbound.message {
            Some(message) => {
                self.outbox.push(LaneEvent::Message { lane: self.lane, link: inbound.link, message });
            }
            None => self.end(inbound.link),
        }
    }

    /// Ends a link and the peer's connection with it.
    pub(super) fn end(&mut self, id: LinkId) {
        let Some(peer) = self.forget(id) else { return };
        if self.peers.get(&peer).is_some_and(|entry| entry.link.is_none_or(|current| current == id)) {
            self.disconnect(peer);
        }
    }

    /// Drops a link and says so; the peer it had.
    fn forget(&mut self, id: LinkId) -> Option<PeerId> {
        let link = self.links.remove(&id)?;
        self.outbox.push(LaneEvent::LinkDown { lane: self.lane, link: id });
        Some(link.peer)
    }

    /// Closes all connections of a peer. Its entry goes at once: what still arrives from it finds no entry.
    fn disconnect(&mut self, peer: PeerId) {
        if let Some(id) = self.peers.remove(&peer).and_then(|entry| entry.link) {
            self.forget(id);
        }
        // An error only says that it is gone already.
        let _ = self.swarm.disconnect_peer_id(peer);
    }

    fn on_gossip(&mut self, event: gossipsub::Event) {
        match event {
            gossipsub::Event::Message { propagation_source, message_id, message } => {
                let Some(topic) = gossip::topic_of(&message.topic) else {
                    let gossip = &mut self.swarm.behaviour_mut().gossip;
                    let ignore = MessageAcceptance::Ignore;
                    gossip.report_message_validation_result(&message_id, &propagation_source, ignore);
                    return;
                };
                self.gossip_seen += 1;
                let message_no = self.gossip_seen;
                self.verdicts.insert(message_no, (message_id, propagation_source));
                if self.verdicts.len() > VERDICTS {
                    self.verdicts.pop_first();
                }
                let frame = message.data;
                self.outbox.push(LaneEvent::Gossip { lane: self.lane, topic, message: message_no, frame });
            }
            gossipsub::Event::Subscribed { peer_id, .. } => {
                if let Some(entry) = self.peers.get_mut(&peer_id) {
                    entry.subscribed = true;
                    self.link_up(peer_id, false);
                }
            }
            // Its queue is full and messages to it were lost: end the link, and sync repairs when it is back.
            gossipsub::Event::SlowPeer { peer_id, .. } => self.disconnect(peer_id),
            _ => {}
        }
    }

    pub(super) fn on_due(&mut self) {
        let now = Instant::now();
        while self.due.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, due))) = self.due.pop() else { return };
            match due {
                Due::Announce => self.announce(),
                Due::Settle(peer) => self.link_up(peer, true),
                Due::Gate(peer) => {
                    // The peer may have come back since: then another deadline is its.
                    let late = |entry: &Peer| entry.link.is_none() && entry.since + self.accept_within <= now;
                    if self.peers.get(&peer).is_some_and(late) {
                        self.disconnect(peer);
                    }
                }
                Due::Accept(id) => {
                    if self.links.get(&id).is_some_and(|link| !link.accepted) {
                        tracing::debug!("a link was closed: no card was accepted in time");
                        self.end(id);
                    }
                }
            }
        }
    }

    /// Tells the engine where the lane can be reached, if that has changed.
    pub(super) fn announce(&mut self) {
        let addresses = address::reachable(self.swarm.listeners());
        if self.told.as_ref() == Some(&addresses) {
            return;
        }
        self.told = Some(addresses.clone());
        let peer = self.swarm.local_peer_id().to_bytes();
        self.outbox.push(LaneEvent::Listening { lane: self.lane, peer, addresses });
    }
}
