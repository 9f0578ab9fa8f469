//! Relayed mode: a relay is reached through another, or not at all.

use futures::StreamExt as _;
use hearth_protocol::{
    entry::{EntryAnswer, EntryGreeting, EntryRequest},
    mailbox::{Action, Answer},
};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, SwarmBuilder, identify, kad, noise, swarm::NetworkBehaviour, tcp, yamux,
};
use tokio::net::TcpListener;

use super::{
    relays::{Relay, create, put, queue},
    *,
};
use crate::net::{
    Reach,
    dial::{Dialled, Path, open},
    entry::ENTRY,
    framing::{FrameError, Framed},
};

fn relayed() -> NetConfig {
    NetConfig { reach: Reach::Relayed { relays: Vec::new() }, ..config() }
}

/// Two relays that know each other, by two operators.
async fn pair() -> (Relay, Relay) {
    let (a, b) = (Relay::run_by(Some("Ada")).await, Relay::run_by(Some("Ben")).await);
    b.handle.bootstrap(vec![a.name()]).unwrap();
    know(&a, &b).await;
    know(&b, &a).await;
    (a, b)
}

/// Waits until `one` has `other` in its table.
async fn know(one: &Relay, other: &Relay) {
    let peer = peer_of(other).to_bytes();
    let knows = async {
        while !greeting(one).await.0.relays.iter().any(|relay| relay.peer == peer) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, knows).await.expect("the relays do not meet");
}

fn peer_of(relay: &Relay) -> PeerId {
    relay.identity.peer_id().parse().unwrap()
}

/// What a relay greets with at its entry, and the stream.
async fn greeting(relay: &Relay) -> (EntryGreeting, Framed<Dialled>) {
    let address: Multiaddr = relay.address.parse().unwrap();
    let opened = open(&address, Some(peer_of(relay)), ENTRY, Path::Straight).await.unwrap();
    let mut framed = Framed::new(opened);
    (framed.recv().await.unwrap(), framed)
}

impl Node {
    async fn path(&mut self, name: &str) -> bool {
        self.wait(|event| match event {
            LaneEvent::RelayPath { address, sees_address, .. } if address == name => Some(*sees_address),
            _ => None,
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_through_another_relay() {
    let (a, b) = pair().await;
    let mut node = Node::new(relayed());
    let (at_a, at_b) = (a.name(), b.name());
    node.relays(&[&at_a, &at_b]);
    for (name, relay) in [(&at_a, &a), (&at_b, &b)] {
        assert_eq!(node.relay_up(name).await, relay.identity.relay_key());
        assert!(!node.path(name).await, "the relay sees no address");
    }
    // Each carries the session with the other, and no more.
    assert_eq!((a.metrics.entries.get(), b.metrics.entries.get()), (1, 1));

    node.ask(&at_a, 1, create(10), None);
    node.ask(&at_a, 2, put(10, 1), Some(10));
    node.ask(&at_a, 3, Action::Get { queue: queue(10), after: 0, max: 10 }, Some(11));
    assert_eq!(node.answer(1).await, Ok(Answer::Created));
    assert_eq!(node.answer(2).await, Ok(Answer::Stored { seq: 1 }));
    assert!(matches!(node.answer(3).await, Ok(Answer::Blobs { blobs, .. }) if blobs.len() == 1));
    assert!(b.metrics.entry_bytes.get() > 4_096, "the blob went through the other relay");

    // With the one gone, the session with the other is gone too, and nothing is dialled in its place.
    drop(b);
    node.relay_down(&at_a).await;
    assert!(!node.sees(Duration::from_secs(3), |e| matches!(e, LaneEvent::RelayUp { .. })).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_path_there_is_no_session_and_with_one_there_is() {
    let (a, b) = (Relay::run_by(None).await, Relay::run_by(None).await);
    let mut node = Node::new(relayed());
    let (at_a, at_b) = (a.name(), b.name());
    node.relays(&[&at_a, &at_b]);
    assert!(!node.sees(Duration::from_secs(3), |e| matches!(e, LaneEvent::RelayUp { .. })).await);

    b.handle.bootstrap(vec![at_a.clone()]).unwrap();
    node.relay_up(&at_a).await;
    node.relay_up(&at_b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_of_one_operator_are_no_path_to_each_other() {
    let (a, b) = (Relay::run_by(Some("Ada")).await, Relay::run_by(Some(" ada ")).await);
    b.handle.bootstrap(vec![a.name()]).unwrap();
    know(&a, &b).await;
    know(&b, &a).await;
    let mut node = Node::new(relayed());
    node.relays(&[&a.name(), &b.name()]);
    assert!(!node.sees(Duration::from_secs(3), |e| matches!(e, LaneEvent::RelayUp { .. })).await);
    assert_eq!((a.metrics.entries.get(), b.metrics.entries.get()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_relay_alone_sees_the_address_until_there_are_two() {
    let (a, b) = pair().await;
    let mut node = Node::new(relayed());
    let (at_a, at_b) = (a.name(), b.name());
    node.relays(&[&at_a]);
    node.relay_up(&at_a).await;
    assert!(node.path(&at_a).await);

    node.relays(&[&at_a, &at_b]);
    node.relay_down(&at_a).await;
    node.relay_up(&at_a).await;
    assert!(!node.path(&at_a).await, "it is dialled no more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_private_mode_listens_nowhere_and_dials_no_member() {
    let member = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = format!("/ip4/127.0.0.1/tcp/{}", member.local_addr().unwrap().port());
    let mut node = Node::new(relayed());
    node.send(LaneCommand::Open { lane: LANE, gate: Zeroizing::new(GATE), topics: vec![TOPIC], members: 2 });
    node.send(LaneCommand::Dial { lane: LANE, peer: PeerId::random().to_bytes(), addresses: vec![at.clone()] });
    node.send(LaneCommand::DhtBootstrap { addresses: vec![at.clone()] });
    node.send(LaneCommand::DhtGet { key: [1; 32] });
    node.relays(&[&at, crate::engine::lane::OWN_MAILBOX]);
    // The own mailbox is within this process.
    node.relay_up(crate::engine::lane::OWN_MAILBOX).await;
    let heard = node.sees(Duration::from_secs(2), |e| {
        matches!(e, LaneEvent::Listening { .. } | LaneEvent::CommonsListening { .. } | LaneEvent::CommonsPeers { .. })
    });
    assert!(!heard.await, "something listens");
    assert!(timeout(Duration::from_millis(1), member.accept()).await.is_err(), "a member was dialled");
}

/// Speaks all that a relay speaks.
#[derive(NetworkBehaviour)]
struct Pretender {
    identify: identify::Behaviour,
    kad: kad::Behaviour<kad::store::MemoryStore>,
    streams: libp2p_stream::Behaviour,
}

fn pretend(keys: &libp2p::identity::Keypair) -> Pretender {
    let own = keys.public().to_peer_id();
    let mut kad = kad::Behaviour::with_config(
        own,
        kad::store::MemoryStore::new(own),
        kad::Config::new(StreamProtocol::new("/hearth/kad/1")),
    );
    kad.set_mode(Some(kad::Mode::Server));
    let identify = identify::Behaviour::new(identify::Config::new("hearth/1".into(), keys.public()));
    Pretender { identify, kad, streams: libp2p_stream::Behaviour::new() }
}

/// It says that it listens at a port of this computer where something else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_claims_an_address_is_dialled_there_before_anything_is_carried() {
    let relay = Relay::start().await;
    let else_ = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(pretend)
        .unwrap()
        .build();
    let mut guests = swarm.behaviour().streams.new_control().accept(ENTRY).unwrap();
    let pretender = *swarm.local_peer_id();
    tokio::spawn(async move {
        while let Some((_, stream)) = guests.next().await {
            let greeting = EntryGreeting { operator: "nobody".into(), relays: Vec::new() };
            let _ = Framed::new(stream).send(&greeting).await;
        }
    });
    let claimed = format!("/ip4/127.0.0.1/tcp/{}", else_.local_addr().unwrap().port());
    swarm.add_external_address(claimed.parse().unwrap());
    swarm.dial(relay.address.parse::<Multiaddr>().unwrap()).unwrap();
    tokio::spawn(async move { while swarm.next().await.is_some() {} });

    let (there, _) = timeout(PATIENCE, else_.accept()).await.expect("it is not dialled where it claims to be").unwrap();
    drop(there);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (told, mut framed) = greeting(&relay).await;
    assert!(told.relays.is_empty(), "what listens there has proved nothing");
    framed.send(&EntryRequest { peer: pretender.to_bytes() }).await.unwrap();
    assert_eq!(framed.recv::<EntryAnswer>().await.unwrap(), EntryAnswer::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_carries_to_relays_it_knows_and_nowhere_else() {
    let (a, b) = pair().await;
    let (told, mut framed) = greeting(&a).await;
    assert_eq!((told.operator.as_str(), told.relays.len()), ("Ada", 1));
    assert_eq!((&told.relays[0].peer, told.relays[0].operator.as_str()), (&peer_of(&b).to_bytes(), "Ben"));
    framed.send(&EntryRequest { peer: PeerId::random().to_bytes() }).await.unwrap();
    assert_eq!(framed.recv::<EntryAnswer>().await.unwrap(), EntryAnswer::Unknown);
    assert!(matches!(framed.recv::<EntryAnswer>().await, Err(FrameError::Closed)));

    // Garbage ends the stream, and costs honest ones nothing.
    for garbage in [vec![0xff; 4], vec![0, 0, 0, 200], [vec![0, 0, 0, 3], vec![0x81; 3]].concat()] {
        let (_, framed) = greeting(&a).await;
        let mut stream = framed.into_inner().unwrap();
        futures::AsyncWriteExt::write_all(&mut stream, &garbage).await.unwrap();
        futures::AsyncWriteExt::flush(&mut stream).await.unwrap();
        let mut rest = Vec::new();
        let read = timeout(PATIENCE, futures::AsyncReadExt::read_to_end(&mut stream, &mut rest)).await;
        assert!(read.is_ok() && rest.is_empty(), "it answered garbage");
    }

    // Four places: the fifth is told that all are taken, and gets one when another leaves.
    let ask = EntryRequest { peer: peer_of(&b).to_bytes() };
    let mut carried = Vec::new();
    for expected in [EntryAnswer::Carried; 4].into_iter().chain([EntryAnswer::Busy]) {
        let (_, mut framed) = greeting(&a).await;
        framed.send(&ask).await.unwrap();
        assert_eq!(framed.recv::<EntryAnswer>().await.unwrap(), expected);
        carried.push(framed);
    }
    assert_eq!(a.metrics.entries.get(), 4);
    carried.clear();
    let again = async {
        loop {
            let (_, mut framed) = greeting(&a).await;
            framed.send(&ask).await.unwrap();
            if framed.recv::<EntryAnswer>().await.unwrap() == EntryAnswer::Carried {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("a place that was left stays taken");
}
