//! Relays that answer garbage, lies or nothing, behind a handshake that is in order.

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use hearth_protocol::{
    cbor,
    id::SlotId,
    limits::{FRAME_SMALL, GET_MAX, POW_BITS_MAX, SLOT_KEEPS},
    mailbox::{self, Action, Answer, Blob, Frame, Greeting, MAILBOX_PROTOCOL, relay_key},
};
use libp2p::{Multiaddr, Stream, StreamProtocol, SwarmBuilder, noise, swarm::SwarmEvent, tcp, yamux};

use super::{
    relays::{Relay, put, queue},
    *,
};
use crate::{engine::lane::RelayFailure, net::framing::Framed};

/// A swarm that speaks the mailbox protocol as `part` does. The address names its PeerId; each visit is told.
async fn fake<F, W>(part: F) -> (String, mpsc::Receiver<()>)
where
    F: Fn(Stream, [u8; 32]) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let peer = *swarm.local_peer_id();
    let mut control = swarm.behaviour().new_control();
    let mut streams = control.accept(StreamProtocol::new(MAILBOX_PROTOCOL)).unwrap();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address;
        }
    };
    tokio::spawn(async move { while swarm.next().await.is_some() {} });
    let (visited, visits) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some((_, stream)) = streams.next().await {
            tokio::spawn(part(stream, relay_key(&peer.to_string())));
            // Nobody counts beyond a few.
            let _ = visited.try_send(());
        }
    });
    (format!("{address}/p2p/{peer}"), visits)
}

fn greeting(relay_key: [u8; 32]) -> Greeting {
    Greeting { relay_key, nonce: [0; 32], pow_bits: 0 }
}

/// The bytes that answer the request of this id.
type Part = fn(u64) -> Vec<u8>;

/// Greets well and answers the first request with `answer`, given its id; then stays silent.
async fn greet_and_answer(stream: Stream, key: [u8; 32], answer: Part) {
    let mut framed = Framed::new(stream);
    framed.send(&greeting(key)).await.unwrap();
    let Ok(request) = framed.recv::<mailbox::Request>().await else { return };
    let _ = framed.write.write(&answer(request.id)).await;
    std::future::pending::<()>().await;
}

fn reply(id: u64, answer: Answer) -> Vec<u8> {
    cbor::to_vec(&Frame::Reply { id, answer })
}

fn blobs(id: u64, seqs: impl IntoIterator<Item = u64>, size: usize) -> Vec<u8> {
    let blobs = seqs.into_iter().map(|seq| Blob { seq, bytes: vec![1; size] }).collect();
    reply(id, Answer::Blobs { blobs, more: false })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_that_greet_and_then_misbehave() {
    let write = || (put(10, 1), Some(10));
    let read = || (Action::Get { queue: queue(10), after: 0, max: 64 }, Some(11));
    let slot = || (Action::SlotGet { slot: SlotId([1; 32]) }, None);
    type Asked = (Action, Option<u8>);
    let parts: [(&str, Asked, Part); 13] = [
        ("garbage", write(), |_| vec![0xff; 64]),
        ("nested", write(), |_| vec![0x81; 100_000]),
        ("nothing in a frame", write(), |_| Vec::new()),
        ("half a value", write(), |id| reply(id, Answer::Stored { seq: 1 })[..3].to_vec()),
        ("an answer to nothing", write(), |id| reply(id + 1, Answer::Stored { seq: 1 })),
        ("an answer of another kind", write(), |id| reply(id, Answer::Created)),
        ("the wrong value", write(), |_| cbor::to_vec(&greeting([0; 32]))),
        ("a push of no size", write(), |_| {
            cbor::to_vec(&Frame::Push { queue: queue(10), blob: Blob { seq: 1, bytes: vec![1; 100] } })
        }),
        ("blobs of no size", read(), |id| blobs(id, [1], FRAME_SMALL + 1)),
        ("blobs in no order", read(), |id| blobs(id, [2, 1], FRAME_SMALL)),
        ("a blob before the first", read(), |id| blobs(id, [0], FRAME_SMALL)),
        ("too many blobs", read(), |id| blobs(id, 1..=GET_MAX as u64 + 1, FRAME_SMALL)),
        ("too many bodies", slot(), |id| {
            let bodies = vec![vec![1].into(); SLOT_KEEPS + 1];
            reply(id, Answer::Slot { version: 9, write_pk: [1; 32], bodies })
        }),
    ];
    let mut node = Node::new(config());
    for (ticket, (what, (action, signer), part)) in (1..).zip(parts) {
        let (name, _) = fake(move |stream, key| greet_and_answer(stream, key, part)).await;
        node.relays(&[&name]);
        node.relay_up(&name).await;
        node.ask(&name, ticket, action, signer);
        assert_eq!(node.answer(ticket).await, Err(RelayFailure::Misbehaved), "{what}");
        node.relay_down(&name).await;
    }
    // The network itself is unharmed.
    let relay = Relay::start().await;
    node.relays(&[&relay.name()]);
    node.relay_up(&relay.name()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_does_not_answer_is_closed_and_tried_again() {
    let silent = |stream, key| async move {
        let mut framed = Framed::new(stream);
        framed.send(&greeting(key)).await.unwrap();
        std::future::pending::<()>().await;
    };
    let (name, _) = fake(silent).await;
    let mut node = Node::new(NetConfig { answer_within: Duration::from_millis(500), ..config() });
    node.relays(&[&name]);
    node.relay_up(&name).await;
    node.ask(&name, 1, put(10, 1), Some(10));
    node.ask(&name, 2, put(10, 2), Some(10));
    assert_eq!(node.answer(1).await, Err(RelayFailure::Misbehaved));
    assert_eq!(node.answer(2).await, Err(RelayFailure::Misbehaved));
    node.relay_down(&name).await;
    node.relay_up(&name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn relays_that_greet_wrongly_never_come_up() {
    let oversized = |mut stream: Stream, _| async move {
        let _ = stream.write_all(&u32::MAX.to_be_bytes()).await;
        let _ = stream.flush().await;
        let _ = stream.read(&mut [0; 1]).await;
    };
    let impostor = |stream, _| async move {
        let mut framed = Framed::new(stream);
        framed.send(&greeting([9; 32])).await.unwrap();
        std::future::pending::<()>().await;
    };
    let trap = |stream, key| async move {
        let mut framed = Framed::new(stream);
        framed.send(&Greeting { pow_bits: POW_BITS_MAX + 1, ..greeting(key) }).await.unwrap();
        std::future::pending::<()>().await;
    };
    let nested = |stream: Stream, _| async move {
        let _ = Framed::new(stream).write.write(&[0x81; 100_000]).await;
        std::future::pending::<()>().await;
    };
    let mute = |stream: Stream, _| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    };
    let closed = |_, _| async {};
    let mut fakes = vec![fake(oversized).await, fake(impostor).await, fake(trap).await];
    fakes.extend([fake(nested).await, fake(mute).await, fake(closed).await]);
    let mut node = Node::new(NetConfig { answer_within: Duration::from_millis(300), ..config() });
    let named: Vec<&str> = fakes.iter().map(|(name, _)| name.as_str()).collect();
    node.relays(&named);
    for (ticket, name) in (1..).zip(named) {
        node.ask(name, ticket, put(10, 1), Some(10));
        assert_eq!(node.answer(ticket).await, Err(RelayFailure::Unreachable));
    }
    // Who is visited again was found wanting the first time.
    for (_, visits) in &mut fakes {
        for _ in 0..2 {
            timeout(PATIENCE, visits.recv()).await.expect("not tried again").unwrap();
        }
    }
    assert!(!node.sees(Duration::ZERO, |event| matches!(event, LaneEvent::RelayUp { .. })).await);
}
