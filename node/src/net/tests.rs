//! Whole networks on loopback.

mod entries;
mod forgers;
mod holders;
mod lanes;
mod misbehaving;
mod onions;
mod relays;
mod strangers;

use std::{collections::VecDeque, time::Duration};

use hearth_protocol::id::{GroupId, NodeId};
use tokio::{sync::mpsc, time::timeout};
use zeroize::Zeroizing;

use super::{Net, NetConfig, NetHandle, dht::tests::clock};
use crate::engine::lane::{LaneCommand, LaneEvent, LaneKey, LinkId, Topic};

const LANE: LaneKey = LaneKey { group: GroupId([1; 32]), network: NodeId([2; 32]) };
const TOPIC: Topic = [3; 16];
const GATE: [u8; 32] = [4; 32];
/// Long enough for a machine that builds meanwhile; nothing waits it out when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

fn config() -> NetConfig {
    NetConfig::new(vec!["/ip4/127.0.0.1/tcp/0".to_owned()], clock)
}

/// One network, and the events that no test has asked for yet.
struct Node {
    net: NetHandle,
    events: mpsc::Receiver<LaneEvent>,
    kept: VecDeque<LaneEvent>,
    peer: Vec<u8>,
    addresses: Vec<String>,
}

impl Node {
    fn new(config: NetConfig) -> Self {
        let (net, events) = Net::spawn(config).unwrap();
        Self { net, events, kept: VecDeque::new(), peer: Vec::new(), addresses: Vec::new() }
    }

    /// A node with one lane open.
    async fn in_lane(config: NetConfig, gate: [u8; 32], members: usize) -> Self {
        let mut node = Self::new(config);
        node.send(LaneCommand::Open { lane: LANE, gate: Zeroizing::new(gate), topics: vec![TOPIC], members });
        let (peer, addresses) = node
            .wait(|event| match event {
                LaneEvent::Listening { peer, addresses, .. } => Some((peer.clone(), addresses.clone())),
                _ => None,
            })
            .await;
        assert_eq!(addresses.len(), 1);
        assert!(!addresses[0].ends_with("/tcp/0"), "the port is known: {addresses:?}");
        node.peer = peer;
        node.addresses = addresses;
        node
    }

    fn send(&self, command: LaneCommand) {
        self.net.send(command).unwrap();
    }

    fn dial(&self, other: &Node) {
        let (peer, addresses) = (other.peer.clone(), other.addresses.clone());
        self.send(LaneCommand::Dial { lane: LANE, peer, addresses });
    }

    fn publish(&self, topic: Topic, frame: &[u8]) {
        self.send(LaneCommand::Publish { lane: LANE, topic, frame: frame.to_vec() });
    }

    fn say(&self, link: LinkId, message: &[u8]) {
        self.send(LaneCommand::Send { lane: LANE, link, message: message.to_vec() });
    }

    /// The first event that `wanted` takes; others are kept for later.
    async fn wait<T>(&mut self, wanted: impl Fn(&LaneEvent) -> Option<T>) -> T {
        if let Some((at, found)) = self.kept.iter().enumerate().find_map(|(at, event)| Some((at, wanted(event)?))) {
            self.kept.remove(at);
            return found;
        }
        loop {
            let event = timeout(PATIENCE, self.events.recv()).await.expect("no such event").expect("the network ended");
            match wanted(&event) {
                Some(found) => return found,
                None => self.kept.push_back(event),
            }
        }
    }

    /// Whether such an event has come, or comes within `within`.
    async fn sees(&mut self, within: Duration, wanted: impl Fn(&LaneEvent) -> bool) -> bool {
        if self.kept.iter().any(&wanted) {
            return true;
        }
        let until = tokio::time::Instant::now() + within;
        while let Ok(Some(event)) = tokio::time::timeout_at(until, self.events.recv()).await {
            let found = wanted(&event);
            self.kept.push_back(event);
            if found {
                return true;
            }
        }
        false
    }

    async fn link_up(&mut self) -> (LinkId, bool) {
        let (link, outbound) = self
            .wait(|event| match event {
                LaneEvent::LinkUp { link, outbound, .. } => Some((*link, *outbound)),
                _ => None,
            })
            .await;
        self.send(LaneCommand::Accept { lane: LANE, link });
        (link, outbound)
    }

    async fn link_down(&mut self, down: LinkId) {
        self.wait(|event| matches!(event, LaneEvent::LinkDown { link, .. } if *link == down).then_some(())).await;
    }

    async fn message(&mut self) -> Vec<u8> {
        self.wait(|event| match event {
            LaneEvent::Message { message, .. } => Some(message.clone()),
            _ => None,
        })
        .await
    }

    /// The next gossip frame, found good.
    async fn gossip(&mut self) -> (Topic, Vec<u8>) {
        let (message, topic, frame) = self
            .wait(|event| match event {
                LaneEvent::Gossip { message, topic, frame, .. } => Some((*message, *topic, frame.clone())),
                _ => None,
            })
            .await;
        self.send(LaneCommand::Verdict { lane: LANE, message, accept: true });
        (topic, frame)
    }
}
