//! A lane: the swarm of one group in one network, members only. One task, one `select!`.
//!
//! A link is up when its stream is open and the peer's gossip subscriptions have arrived, so that what is
//! published right after [`LaneEvent::LinkUp`] reaches the peer. Whatever ends a link ends the connection, so
//! a peer is either linked or gone.

mod events;
mod swarm;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures::StreamExt as _;
use hearth_protocol::limits::SYNC_FRAME_MAX;
use libp2p::{
    Multiaddr, PeerId, Stream, Swarm,
    gossipsub::{MessageAcceptance, MessageId},
    swarm::dial_opts::DialOpts,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use zeroize::Zeroizing;

use self::swarm::LaneBehaviour;
use super::{
    address, gossip,
    links::{Inbound, Link},
    outbox::Outbox,
};
use crate::engine::lane::{LaneCommand, LaneEvent, LaneKey, LinkId, Topic};

/// Messages read from links that wait for the lane; the links stop reading when they are more.
const INBOUND: usize = 32;
/// Gossip messages that wait for their verdict. The oldest is dropped, which only means it is not forwarded.
const VERDICTS: usize = 2_048;

/// What a lane is opened with.
#[derive(Debug)]
pub(super) struct LaneSetup {
    pub(super) lane: LaneKey,
    pub(super) gate: Zeroizing<[u8; 32]>,
    pub(super) topics: Vec<Topic>,
    pub(super) members: usize,
    pub(super) listen: Vec<Multiaddr>,
    /// How long a link may be without `Accept`, and a connection without link.
    pub(super) accept_within: Duration,
    /// Source of link ids, shared by all lanes.
    pub(super) ids: Arc<AtomicU64>,
}

/// A connected peer.
#[derive(Debug)]
struct Peer {
    since: Instant,
    outbound: bool,
    /// Opened, and waiting for the subscriptions.
    stream: Option<Stream>,
    subscribed: bool,
    link: Option<LinkId>,
}

/// What happens when a deadline passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// Tell the engine the addresses.
    Announce,
    /// A peer that follows no topic gets its link now.
    Settle(PeerId),
    /// A connection that has no link by now is closed.
    Gate(PeerId),
    /// A link that was not accepted by now is closed.
    Accept(LinkId),
}

/// A running lane.
struct Lane {
    lane: LaneKey,
    swarm: Swarm<LaneBehaviour>,
    commands: mpsc::Receiver<LaneCommand>,
    outbox: Outbox,
    inbound: mpsc::Receiver<Inbound>,
    to_inbound: mpsc::Sender<Inbound>,
    links: HashMap<LinkId, Link>,
    peers: HashMap<PeerId, Peer>,
    verdicts: BTreeMap<u64, (MessageId, PeerId)>,
    gossip_seen: u64,
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    told: Option<Vec<String>>,
    /// Whether some address stands for every interface: several are reported, one after the other.
    unspecified: bool,
    accept_within: Duration,
    ids: Arc<AtomicU64>,
}

/// Runs a lane until `commands` closes.
pub(super) async fn run(setup: LaneSetup, commands: mpsc::Receiver<LaneCommand>, mut outbox: Outbox) {
    let Ok(mut swarm) = swarm::build(&setup.gate, setup.members) else {
        tracing::error!("a lane's swarm could not be built");
        outbox.push(LaneEvent::Listening { lane: setup.lane, peer: Vec::new(), addresses: Vec::new() });
        return outbox.drain().await;
    };
    let mut listening = false;
    for address in &setup.listen {
        match swarm.listen_on(address.clone()) {
            Ok(_) => listening = true,
            Err(_) => tracing::warn!("a lane cannot listen on one of its addresses"),
        }
    }
    let (to_inbound, inbound) = mpsc::channel(INBOUND);
    let mut lane = Lane {
        lane: setup.lane,
        swarm,
        commands,
        outbox,
        inbound,
        to_inbound,
        links: HashMap::new(),
        peers: HashMap::new(),
        verdicts: BTreeMap::new(),
        gossip_seen: 0,
        due: BinaryHeap::new(),
        told: None,
        unspecified: setup.listen.iter().any(address::is_unspecified),
        accept_within: setup.accept_within,
        ids: setup.ids,
    };
    lane.follow(&setup.topics);
    if !listening {
        // Members can still be dialled from here.
        lane.announce();
    }
    lane.serve().await;
    for link in lane.links.keys() {
        lane.outbox.push(LaneEvent::LinkDown { lane: lane.lane, link: *link });
    }
    let Lane { outbox, swarm, links, .. } = lane;
    drop((links, swarm));
    outbox.drain().await;
}

impl Lane {
    async fn serve(&mut self) {
        loop {
            // While the engine lags, peers wait; commands never do, so the two cannot wait for each other.
            let room = self.outbox.has_room();
            let wake = self.due.peek().map(|Reverse((at, _))| *at);
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                () = self.outbox.flush(), if !self.outbox.is_empty() => {}
                Some(inbound) = self.inbound.recv(), if room => self.on_inbound(inbound),
                event = self.swarm.select_next_some(), if room => self.on_swarm(event),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.on_due(),
            }
        }
    }

    fn obey(&mut self, command: LaneCommand) {
        match command {
            LaneCommand::Topics { topics, .. } | LaneCommand::Open { topics, .. } => self.follow(&topics),
            LaneCommand::Publish { topic, frame, .. } => self.publish(&topic, frame),
            LaneCommand::Verdict { message, accept, .. } => self.judge(message, accept),
            LaneCommand::Dial { peer, addresses, .. } => self.dial(&peer, &addresses),
            LaneCommand::Send { link, message, .. } => self.send(link, message),
            LaneCommand::Accept { link, .. } => {
                if let Some(link) = self.links.get_mut(&link) {
                    link.accepted = true;
                }
            }
            LaneCommand::Hangup { link, .. } => self.end(link),
            // The rest is not addressed to lanes.
            _ => {}
        }
    }

    /// Follows exactly `topics`. New ones first, so that no message falls between an old one and its successor.
    fn follow(&mut self, topics: &[Topic]) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        for topic in topics {
            let ident = gossip::ident(topic);
            // Parameters must be there before the first message, else it would not be scored.
            if gossip.set_topic_params(ident.clone(), gossip::topic_scores()).is_err()
                || gossip.subscribe(&ident).is_err()
            {
                tracing::warn!("a topic could not be followed");
            }
        }
        let old: Vec<Topic> = gossip.topics().filter_map(gossip::topic_of).filter(|t| !topics.contains(t)).collect();
        for topic in old {
            gossip.unsubscribe(&gossip::ident(&topic));
        }
    }

    fn publish(&mut self, topic: &Topic, frame: Vec<u8>) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        // Nobody there, every queue full, or published before: gossip only makes delivery quick, sync completes it.
        if gossip.publish(gossip::ident(topic).hash(), frame).is_err() {
            tracing::debug!("a gossip message was not published");
        }
    }

    fn judge(&mut self, message: u64, accept: bool) {
        let Some((id, source)) = self.verdicts.remove(&message) else { return };
        let verdict = if accept { MessageAcceptance::Accept } else { MessageAcceptance::Reject };
        self.swarm.behaviour_mut().gossip.report_message_validation_result(&id, &source, verdict);
    }

    fn dial(&mut self, peer: &[u8], addresses: &[String]) {
        let Ok(peer) = PeerId::from_bytes(peer) else {
            tracing::debug!("a card names no peer");
            return;
        };
        let addresses = address::dialable(peer, addresses);
        if peer == *self.swarm.local_peer_id() || self.peers.contains_key(&peer) || addresses.is_empty() {
            return;
        }
        // A new port each time: from the listening port, two members who dial each other at once would meet in
        // one TCP connection where both take the dialler's part, and a quick redial would find the port in use.
        let options = DialOpts::peer_id(peer).addresses(addresses).allocate_new_port().build();
        if self.swarm.dial(options).is_err() {
            tracing::debug!("a dial was not begun");
        }
    }

    fn send(&mut self, id: LinkId, message: Vec<u8>) {
        let Some(link) = self.links.get(&id) else { return };
        if message.len() > SYNC_FRAME_MAX || !link.send(message) {
            tracing::debug!("a link was closed: its peer reads too slowly");
            self.end(id);
        }
    }
}
