//! Strangers with a libp2p of their own: behind the handshake they say what they like, and honest traffic goes on.

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use hearth_protocol::{
    cbor,
    id::SlotId,
    limits::{MAILBOX_FRAME_MAX, REQUEST_MAX},
    mailbox::{Action, Answer, Frame, Greeting, MAILBOX_PROTOCOL, Refusal, Request},
    sync::SYNC_PROTOCOL,
};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, Swarm, SwarmBuilder, Transport as _,
    core::upgrade::Version,
    noise,
    pnet::{PnetConfig, PreSharedKey},
    swarm::{SwarmEvent, dial_opts::DialOpts},
    tcp, yamux,
};
use libp2p_stream::{Behaviour, Control, IncomingStreams, OpenStreamError};

use super::{
    relays::{Relay, create, put, queue},
    *,
};
use crate::{
    net::{dht::tests::record, framing::Framed},
    relay::mailbox::kit::{Client, blob},
};

pub(super) const GOSSIP: &str = "/meshsub/1.1.0";
const KAD: &str = "/hearth/kad/1";
const ALIVE: &str = "/hearth/alive/1";

/// Somebody connected to a node of ours.
pub(super) struct Stranger {
    pub(super) own: PeerId,
    pub(super) node: PeerId,
    pub(super) control: Control,
    /// Streams that the node opens to it: links, and gossip, without which a lane takes none from it either.
    pub(super) incoming: IncomingStreams,
    _gossip: IncomingStreams,
}

fn swarm(gate: Option<[u8; 32]>) -> Swarm<Behaviour> {
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let behaviour = |_: &_| Behaviour::new();
    let stay = |config: libp2p::swarm::Config| config.with_idle_connection_timeout(Duration::from_secs(60));
    let Some(gate) = gate else {
        let tcp = tcp::Config::default().nodelay(true);
        let built = builder.with_tcp(tcp, noise::Config::new, yamux::Config::default).unwrap();
        return built.with_behaviour(behaviour).unwrap().with_swarm_config(stay).build();
    };
    let gate = PnetConfig::new(PreSharedKey::new(gate));
    let built = builder.with_other_transport(|key| {
        tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
            .and_then(move |socket, _| gate.handshake(socket))
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(key).unwrap())
            .multiplex(yamux::Config::default())
    });
    built.unwrap().with_behaviour(behaviour).unwrap().with_swarm_config(stay).build()
}

impl Stranger {
    /// Connects; `None` when the node's side does not let it in.
    pub(super) async fn reach(address: &str, gate: Option<[u8; 32]>) -> Option<Self> {
        let mut swarm = swarm(gate);
        let own = *swarm.local_peer_id();
        let mut control = swarm.behaviour().new_control();
        let incoming = control.accept(StreamProtocol::new(SYNC_PROTOCOL)).unwrap();
        let gossip = control.accept(StreamProtocol::new(GOSSIP)).unwrap();
        swarm.dial(DialOpts::unknown_peer_id().address(address.parse::<Multiaddr>().unwrap()).build()).unwrap();
        let node = loop {
            match timeout(PATIENCE, swarm.select_next_some()).await.expect("neither in nor out") {
                SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
                SwarmEvent::OutgoingConnectionError { .. } => return None,
                _ => {}
            }
        };
        tokio::spawn(async move { while swarm.next().await.is_some() {} });
        Some(Self { own, node, control, incoming, _gossip: gossip })
    }

    pub(super) async fn open(&mut self, protocol: &'static str) -> Result<Stream, OpenStreamError> {
        timeout(PATIENCE, self.control.open_stream(self.node, StreamProtocol::new(protocol))).await.expect("no answer")
    }

    /// A mailbox session, greeted as client `seed`.
    async fn session(&mut self, seed: u8) -> Option<(Framed<Stream>, Client)> {
        let mut framed = Framed::new(self.open(MAILBOX_PROTOCOL).await.ok()?);
        let greeting: Greeting = framed.recv().await.ok()?;
        Some((framed, Client::new(greeting, seed)))
    }
}

async fn ask(framed: &mut Framed<Stream>, request: &Request) -> Answer {
    framed.send(request).await.unwrap();
    match framed.recv().await.unwrap() {
        Frame::Reply { answer, .. } => answer,
        Frame::Push { .. } => panic!("a push"),
    }
}

/// Bytes behind the length that they claim to have.
pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// Bytes that mean nothing, the same in every run.
pub(super) fn noise_of(length: u32) -> Vec<u8> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Writes, as far as it is read, and waits until the other side is done with the stream.
pub(super) async fn is_closed(mut stream: Stream, bytes: &[u8]) -> bool {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
    timeout(PATIENCE, async { while stream.read(&mut [0; 1_024]).await.is_ok_and(|read| read > 0) {} }).await.is_ok()
}

/// A node with a session at a relay and an empty queue there.
async fn guest_of(relay: &Relay) -> (Node, String) {
    let (mut node, name) = (Node::new(config()), relay.name());
    node.relays(&[&name]);
    node.relay_up(&name).await;
    node.ask(&name, 1, create(10), None);
    assert_eq!(node.answer(1).await, Ok(Answer::Created));
    (node, name)
}

/// The blobs of the guest's queue, by their first byte.
async fn kept(node: &mut Node, name: &str, ticket: u64) -> Vec<u8> {
    node.ask(name, ticket, Action::Get { queue: queue(10), after: 0, max: 64 }, Some(11));
    let Ok(Answer::Blobs { blobs, .. }) = node.answer(ticket).await else { panic!("no blobs") };
    blobs.iter().map(|blob| blob.bytes[0]).collect()
}

fn is_relay_down(event: &LaneEvent) -> bool {
    matches!(event, LaneEvent::RelayDown { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_at_the_mailbox_is_closed_and_the_guests_stay() {
    let relay = Relay::start().await;
    let (mut guest, name) = guest_of(&relay).await;
    let mut stranger = Stranger::reach(&relay.address, None).await.unwrap();
    let (mut session, client) = stranger.session(40).await.unwrap();
    let whole = cbor::to_vec(&client.put(blob(1)));
    let bad: [(&str, Vec<u8>); 9] = [
        ("four gigabytes", vec![0xff; 4]),
        ("a byte too long", (REQUEST_MAX as u32 + 1).to_be_bytes().to_vec()),
        ("an answer's length", (MAILBOX_FRAME_MAX as u32).to_be_bytes().to_vec()),
        ("nested", framed(&[0x81; 100_000])),
        ("nested without end", framed(&[0x9f; 100_000])),
        ("noise", framed(&noise_of(5_000))),
        ("noise without frame", noise_of(5_000)),
        ("a request cut short", framed(&whole[..whole.len() - 1])),
        ("a request and a byte", framed(&[&whole[..], &[0]].concat())),
    ];
    for (what, bytes) in &bad {
        assert!(is_closed(stranger.open(MAILBOX_PROTOCOL).await.unwrap(), bytes).await, "{what}");
    }
    // Those who say nothing, half a length, half a request, or go away in the middle of one.
    let mut held = Vec::new();
    for part in [&[][..], &[0, 0], &framed(&whole)[..100]] {
        for leave in [false, true] {
            let mut stream = stranger.open(MAILBOX_PROTOCOL).await.unwrap();
            // A node that is still busy with the last stream drops the next: as good an answer as any.
            let _ = stream.write_all(part).await;
            let _ = stream.flush().await;
            if !leave {
                held.push(stream);
            }
        }
    }
    // Somebody who asks and never reads.
    let mut deaf = Framed::new(stranger.open(MAILBOX_PROTOCOL).await.unwrap());
    for id in 0..64 {
        let _ = deaf.send(&Request { id, ..client.slot_get(SlotId([1; 32])) }).await;
    }
    // One peer has so many sessions, whatever it opens.
    let mut sessions = Vec::new();
    for _ in 0..40 {
        if let Some((session, _)) = stranger.session(41).await {
            sessions.push(session);
        }
    }
    assert!(sessions.len() < 16, "{}", sessions.len());
    // The stranger's first session was told nothing of all that, and its guest neither.
    assert_eq!(ask(&mut session, &client.create()).await, Answer::Created);
    guest.ask(&name, 2, put(10, 7), Some(10));
    assert_eq!(guest.answer(2).await, Ok(Answer::Stored { seq: 1 }));
    let (mut late, _) = guest_of(&relay).await;
    assert_eq!(kept(&mut late, &name, 2).await, [7]);
    assert!(!guest.sees(Duration::ZERO, is_relay_down).await);
}

/// Signatures cover the session's nonce: what was recorded is worth nothing elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_request_is_refused_in_another_session() {
    let relay = Relay::start().await;
    let mut stranger = Stranger::reach(&relay.address, None).await.unwrap();
    let (mut session, client) = stranger.session(40).await.unwrap();
    let slot = SlotId([5; 32]);
    let rotate = client.ask(Action::SlotRotate { slot, write_pk: client.read_pk() }, Some(&client.write));
    assert_eq!(ask(&mut session, &client.create()).await, Answer::Created);
    let good = [
        (client.put(blob(1)), Answer::Stored { seq: 1 }),
        (
            client.get(0, 9),
            Answer::Blobs { blobs: vec![hearth_protocol::mailbox::Blob { seq: 1, bytes: blob(1) }], more: false },
        ),
        (client.slot_put(slot, 1, vec![1]), Answer::SlotStored),
    ];
    for (request, answer) in &good {
        assert_eq!(ask(&mut session, request).await, *answer);
    }
    let mut other = Stranger::reach(&relay.address, None).await.unwrap();
    let (mut replay, fresh) = other.session(40).await.unwrap();
    let next = client.slot_put(slot, 2, vec![2]);
    for request in good.iter().map(|(request, _)| request).chain([&rotate, &next, &client.subscribe(0)]) {
        let answer = ask(&mut replay, request).await;
        assert_eq!(answer, Answer::Refused(Refusal::Signature), "{:?}", request.action);
    }
    // Nothing was stored twice, and who has the keys goes on in either session.
    assert_eq!(ask(&mut replay, &fresh.put(blob(2))).await, Answer::Stored { seq: 2 });
    assert_eq!(ask(&mut session, &next).await, Answer::SlotStored);
    let Answer::Slot { version, write_pk, .. } = ask(&mut replay, &fresh.slot_get(slot)).await else { panic!() };
    assert_eq!((version, write_pk), (2, client.write_pk()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_at_the_dht_or_at_a_members_protocols_changes_nothing() {
    let relay = Relay::start().await;
    let (mut guest, name) = guest_of(&relay).await;
    let mut stranger = Stranger::reach(&relay.address, None).await.unwrap();
    for protocol in [SYNC_PROTOCOL, GOSSIP] {
        let refused = stranger.open(protocol).await;
        assert!(matches!(refused, Err(OpenStreamError::UnsupportedProtocol(_))), "{protocol}");
    }
    // The DHT's own framing: a varint, then protobuf.
    for bytes in
        [&[0xff; 10][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[5, 0xff, 0xff, 0xff, 0xff, 0xff], &noise_of(20_000)]
    {
        assert!(is_closed(stranger.open(KAD).await.unwrap(), bytes).await, "{:?}", &bytes[..4]);
    }
    let mut held = Vec::new();
    for bytes in [vec![], vec![0x80], vec![100, 8], noise_of(5_000)] {
        for protocol in [KAD, ALIVE] {
            let mut stream = stranger.open(protocol).await.unwrap();
            let _ = stream.write_all(&bytes).await;
            let _ = stream.flush().await;
            held.push(stream);
        }
    }
    guest.ask(&name, 2, put(10, 7), Some(10));
    assert_eq!(guest.answer(2).await, Ok(Answer::Stored { seq: 1 }));
    // A newcomer still finds a record through the relay.
    let (mut a, mut b) = (Node::new(config()), Node::new(config()));
    for node in [&mut a, &mut b] {
        node.send(LaneCommand::DhtBootstrap { addresses: vec![name.clone()] });
        node.peers().await;
    }
    let (key, value) = record(1, 0, b"sealed");
    a.send(LaneCommand::DhtPut { key, value: value.clone() });
    assert_eq!(b.found(key).await, value);
    assert!(!guest.sees(Duration::ZERO, is_relay_down).await);
}
