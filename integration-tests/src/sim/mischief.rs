//! What a villain does at relays and on links: it has the keys that every member has, and nobody asks what it writes there.

use hearth_crypto::{
    hpke, knock,
    mls::Mls,
    schedule::{Network, QueueKeys, Signer, SlotKeys, answer_queue},
    seal::{open_frame, seal_body, seal_frame},
};
use hearth_node::{
    engine::lane::{LaneEvent, LaneKey, Ticket},
    relay::mailbox::{Party, SessionId},
};
use hearth_protocol::{
    cbor,
    door::{DoorBody, DoorWrapper},
    frame::Control,
    id::{NodeId, hash},
    knock::{KnockAnswer, KnockContent},
    limits::{PACKET_MAX, PART_BYTES},
    mailbox::{self, Action},
    packet::Packet,
    time::Timestamp,
};

use super::{Happening, Invitation, Scene, Villain};

/// A life that no node ever has: answers to a villain's requests go nowhere.
const NO_LIFE: u32 = u32::MAX;
/// Blobs asked for at once.
const PAGE: u16 = 64;

impl<M: Mls + 'static> Scene<M> {
    /// Leaves a control item in the control queue of a network, at every relay.
    pub fn post(&mut self, villain: &Villain<M>, network: &NodeId, control: Control) {
        self.put(villain, network, &Packet::Control(control), |n, key, _| n.control_queue(key));
    }

    /// Leaves a packet in today's queue of a network, at every relay.
    pub fn post_daily(&mut self, villain: &Villain<M>, network: &NodeId, packet: &Packet) {
        self.put(villain, network, packet, |n, key, now| n.daily_queue(now.day(), key));
    }

    /// Leaves a packet in either queue of a network, wherever it belongs.
    pub fn post_any(&mut self, villain: &Villain<M>, network: &NodeId, packet: &Packet) {
        self.put(villain, network, packet, |n, key, _| n.control_queue(key));
        self.post_daily(villain, network, packet);
    }

    fn put(
        &mut self,
        villain: &Villain<M>,
        network: &NodeId,
        packet: &Packet,
        queue: impl Fn(&Network, &[u8; 32], Timestamp) -> QueueKeys,
    ) {
        let Some(network) = villain.networks.get(network) else { return };
        for relay in 0..self.world.relays.len() {
            let (key, now) = (self.world.relays.get(relay).map_or([0; 32], |r| r.key), Timestamp(self.world.now));
            let queue = queue(network, &key, now);
            for part in parts(packet) {
                if let Ok(blob) = seal_frame(&queue.seal, &part, &mut self.world.rng) {
                    self.ask_relay(relay, Action::Put { queue: queue.id, blob }, Some(queue.write.clone()));
                }
            }
        }
    }

    /// Hands a packet to one member alone, as from a link.
    pub fn whisper(&mut self, villain: &Villain<M>, to: usize, network: &NodeId, packet: &Packet) {
        let Some(keys) = villain.networks.get(network) else { return };
        let (today, group) = (Timestamp(self.world.now).day(), self.group());
        let life = self.world.nodes.get(to).map_or(0, |n| n.life);
        for part in parts(packet) {
            let Ok(frame) = seal_frame(&keys.wire(today), &part, &mut self.world.rng) else { continue };
            let (lane, topic) = (LaneKey { group, network: *network }, keys.topic(today));
            let event = LaneEvent::Gossip { lane, topic, message: self.world.fresh(), frame };
            self.world.plan(self.world.now + 1, Happening::Lane { node: to, life, event });
        }
    }

    /// One request in a session of its own; the answer comes back at once.
    pub fn ask_relay(&mut self, relay: usize, action: Action, signer: Option<Signer>) -> Option<mailbox::Answer> {
        let (session, now) = (SessionId(self.world.fresh()), Timestamp(self.world.now));
        let (group, nonce) = (self.group(), [7; 32]);
        let at = self.world.relays.get_mut(relay)?;
        at.mailbox.open(session, nonce, Party::Remote, now).ok()?;
        at.sessions.insert(session, (0, NO_LIFE, group, nonce));
        let answer = self.world.asked((0, NO_LIFE), (relay, session), (group, Ticket(0)), (action, signer));
        let at = self.world.relays.get_mut(relay)?;
        at.mailbox.close(session);
        at.sessions.remove(&session);
        answer
    }

    /// Every packet that lies in the control queue and today's queue of a network.
    pub fn packets(&mut self, villain: &Villain<M>, network: &NodeId) -> Vec<Vec<u8>> {
        let Some(network) = villain.networks.get(network) else { return Vec::new() };
        let (mut packets, now) = (Vec::new(), Timestamp(self.world.now));
        for relay in 0..self.world.relays.len() {
            let key = self.world.relays.get(relay).map_or([0; 32], |r| r.key);
            for queue in [network.control_queue(&key), network.daily_queue(now.day(), &key)] {
                let mut after = 0;
                loop {
                    let get = Action::Get { queue: queue.id, after, max: PAGE };
                    let answer = self.ask_relay(relay, get, Some(queue.read.clone()));
                    let Some(mailbox::Answer::Blobs { blobs, more }) = answer else { break };
                    after = blobs.last().map_or(after, |b| b.seq);
                    packets.extend(blobs.iter().filter_map(|b| open_frame(&queue.seal, &b.bytes).ok()));
                    if !more {
                        break;
                    }
                }
            }
        }
        packets
    }

    /// A villain reads on, in every network that it knows, and stands on the tip of an honest member.
    pub fn catch_up(&mut self, villain: &mut Villain<M>, with: usize) {
        for network in villain.networks.keys().copied().collect::<Vec<_>>() {
            let packets = self.packets(villain, &network);
            villain.read_all(&packets);
        }
        villain.tip = self.tip(with).filter(|tip| villain.nodes.contains_key(tip)).unwrap_or(villain.tip);
    }

    /// Every knock that lies at the link that everybody has.
    pub fn knocks(&mut self, villain: &Villain<M>) -> Vec<KnockContent> {
        let (Ok(link), group) = (self.link(), self.group()) else { return Vec::new() };
        let mut knocks = Vec::new();
        for network in villain.networks.values() {
            for relay in 0..self.world.relays.len() {
                let key = self.world.relays.get(relay).map_or([0; 32], |r| r.key);
                let Ok(queue) = network.knock_queue(&link.invite, &key) else { continue };
                let get = Action::Get { queue: queue.id, after: 0, max: PAGE };
                let answer = self.ask_relay(relay, get, Some(queue.read.clone()));
                let Some(mailbox::Answer::Blobs { blobs, .. }) = answer else { continue };
                let seed = network.knock_seed(&link.invite);
                let opened = blobs.iter().filter_map(|b| knock::open(&seed, &group, &b.bytes)?.open().ok());
                knocks.extend(opened);
            }
        }
        knocks
    }

    /// Puts an answer where whoever knocked looks for one.
    pub fn answer(&mut self, knock: &KnockContent, answer: KnockAnswer) {
        let packet = Packet::Answer(answer);
        for relay in 0..self.world.relays.len() {
            let key = self.world.relays.get(relay).map_or([0; 32], |r| r.key);
            let queue = answer_queue(&knock.answer, &key);
            self.ask_relay(relay, queue.create(), None);
            for part in parts(&packet) {
                if let Ok(blob) = seal_frame(&queue.seal, &part, &mut self.world.rng) {
                    self.ask_relay(relay, Action::Put { queue: queue.id, blob }, Some(queue.write.clone()));
                }
            }
        }
    }

    /// Writes over the door behind a link.
    pub fn leave_door(&mut self, villain: &Villain<M>, link: &Invitation, door: &DoorBody) {
        let network = villain.network(&villain.tip);
        let (Some(network), group) = (villain.networks.get(&network), self.group()) else { return };
        let body_key = [9; 32];
        let Ok(door_pk) = hpke::public_key(link.keys.door_seed()) else { return };
        for relay in 0..self.world.relays.len() {
            let key = self.world.relays.get(relay).map_or([0; 32], |r| r.key);
            let slot = network.door_slot(&key);
            let wrapper = DoorWrapper::Open { invite: link.invite, body_key, body_slot: slot.id };
            let Ok(body) = seal_body(&body_key, b"hearth door/1", &cbor::to_vec(door), &mut self.world.rng) else {
                continue;
            };
            self.write_slot(relay, &slot, body);
            let Ok(wrapper) = hpke::seal_to(&door_pk, b"hearth wrapper/1", &group.0, &cbor::to_vec(&wrapper)) else {
                continue;
            };
            self.write_slot(relay, &network.wrapper_slot(&link.invite, &link.keys.join_pk(), &key), wrapper);
        }
    }

    fn write_slot(&mut self, relay: usize, keys: &SlotKeys, body: Vec<u8>) {
        let version = match self.ask_relay(relay, Action::SlotGet { slot: keys.id }, None) {
            Some(mailbox::Answer::Slot { version, .. }) => version,
            _ => 0,
        };
        let (write, version) = (keys.write(), version + 1);
        let write_pk = write.verifying_key().to_bytes();
        self.ask_relay(relay, Action::SlotPut { slot: keys.id, write_pk, version, body }, Some(write));
    }
}

/// A packet as packets that each fit one frame.
fn parts(packet: &Packet) -> Vec<Vec<u8>> {
    let bytes = cbor::to_vec(packet);
    if bytes.len() <= PACKET_MAX {
        return vec![bytes];
    }
    let object = hash(&[&bytes]);
    let chunks: Vec<_> = bytes.chunks(PART_BYTES).collect();
    let count = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
    let part = |(index, chunk): (u16, &[u8])| Packet::Part { object, index, count, bytes: chunk.to_vec() };
    (0..count).zip(chunks).map(|part_of| cbor::to_vec(&part(part_of))).collect()
}
