use std::time::{Duration, Instant};

use hearth_protocol::limits::{FRAME_SMALL, SYNC_FRAME_MAX};

use super::*;

/// `count` nodes in one lane, everyone linked with everyone.
pub(super) async fn full_mesh(count: usize) -> Vec<Node> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(Node::in_lane(config(), GATE, count).await);
    }
    for (at, node) in nodes.iter().enumerate() {
        for other in &nodes[at + 1..] {
            node.dial(other);
        }
    }
    for node in &mut nodes {
        for _ in 1..count {
            node.link_up().await;
        }
    }
    nodes
}

fn is_link_up(event: &LaneEvent) -> bool {
    matches!(event, LaneEvent::LinkUp { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_meet_and_hear_each_other_at_once() {
    for round in 0..5u8 {
        let (mut a, mut b) = (Node::in_lane(config(), GATE, 2).await, Node::in_lane(config(), GATE, 2).await);
        a.dial(&b);
        let (from_a, a_dialled) = a.link_up().await;
        // At once: the link is up only when gossip is.
        a.publish(TOPIC, &[round; FRAME_SMALL]);
        let (from_b, b_dialled) = b.link_up().await;
        b.publish(TOPIC, &[round + 100; FRAME_SMALL]);
        assert_eq!((a_dialled, b_dialled), (true, false));
        assert_eq!(b.gossip().await, (TOPIC, vec![round; FRAME_SMALL]));
        assert_eq!(a.gossip().await, (TOPIC, vec![round + 100; FRAME_SMALL]));
        a.say(from_a, b"hello b");
        b.say(from_b, b"hello a");
        assert_eq!(b.message().await, b"hello b");
        assert_eq!(a.message().await, b"hello a");
        a.send(LaneCommand::Hangup { lane: LANE, link: from_a });
        a.link_down(from_a).await;
        b.link_down(from_b).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_who_dial_each_other_at_once_have_one_link() {
    for _ in 0..10 {
        let (mut a, mut b) = (Node::in_lane(config(), GATE, 2).await, Node::in_lane(config(), GATE, 2).await);
        a.dial(&b);
        b.dial(&a);
        let (a_link, _) = a.link_up().await;
        let (b_link, _) = b.link_up().await;
        assert!(!a.sees(Duration::from_millis(300), is_link_up).await, "one link up, not two");
        assert!(!b.sees(Duration::from_millis(10), is_link_up).await, "one link up, not two");
        b.say(b_link, b"still there");
        assert_eq!(a.message().await, b"still there");
        // A dial of a peer that is linked does nothing.
        a.dial(&b);
        assert!(!a.sees(Duration::from_millis(100), is_link_up).await);
        a.say(a_link, b"and here");
        assert_eq!(b.message().await, b"and here");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_passes_through_a_member_once_it_is_found_good() {
    // a - b - c: a and c have no link with each other. Above 16 members nobody publishes straight to everybody.
    let mut a = Node::in_lane(config(), GATE, 17).await;
    let mut b = Node::in_lane(config(), GATE, 17).await;
    let mut c = Node::in_lane(config(), GATE, 17).await;
    a.dial(&b);
    a.link_up().await;
    b.link_up().await;
    c.dial(&b);
    c.link_up().await;
    b.link_up().await;
    a.publish(TOPIC, &[1; FRAME_SMALL]);
    let unjudged = b
        .wait(|event| match event {
            LaneEvent::Gossip { message, .. } => Some(*message),
            _ => None,
        })
        .await;
    assert!(!c.sees(Duration::from_millis(300), |event| matches!(event, LaneEvent::Gossip { .. })).await);
    b.send(LaneCommand::Verdict { lane: LANE, message: unjudged, accept: true });
    assert_eq!(c.gossip().await.1, [1; FRAME_SMALL]);
    c.publish(TOPIC, &[2; FRAME_SMALL]);
    assert_eq!(b.gossip().await.1, [2; FRAME_SMALL]);
    assert_eq!(a.gossip().await.1, [2; FRAME_SMALL]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_link_without_the_gate_key() {
    let mut a = Node::in_lane(config(), GATE, 2).await;
    let mut stranger = Node::in_lane(config(), [5; 32], 2).await;
    stranger.dial(&a);
    a.dial(&stranger);
    assert!(!a.sees(Duration::from_secs(1), is_link_up).await);
    assert!(!stranger.sees(Duration::from_millis(10), is_link_up).await);
    // A fresh member still comes in.
    let mut b = Node::in_lane(config(), GATE, 2).await;
    b.dial(&a);
    a.link_up().await;
    b.link_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_arrive_whole_and_in_order() {
    let mut nodes = full_mesh(2).await;
    let mut b = nodes.pop().unwrap();
    let mut a = nodes.pop().unwrap();
    let link = LinkId(1);
    for n in 0..24u8 {
        let size = if n % 2 == 0 { 1024 * 1024 } else { 1_000 };
        a.say(link, &vec![n; size]);
    }
    a.say(link, &vec![99; SYNC_FRAME_MAX]);
    for n in 0..24u8 {
        let message = b.message().await;
        assert_eq!((message[0], message.len()), (n, if n % 2 == 0 { 1024 * 1024 } else { 1_000 }));
    }
    assert_eq!(b.message().await.len(), SYNC_FRAME_MAX);
    // One byte more is never sent: the link ends.
    a.say(link, &vec![0; SYNC_FRAME_MAX + 1]);
    a.link_down(link).await;
    b.wait(|event| matches!(event, LaneEvent::LinkDown { .. }).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_reads_loses_its_link_and_takes_no_memory() {
    let mut nodes = full_mesh(2).await;
    let mut a = nodes.remove(0);
    // b's engine reads no event from here on: 1 MiB messages fill its bounded queues, then a's.
    for n in 0..400u16 {
        let message = n.to_be_bytes().repeat(512 * 1024);
        a.say(LinkId(1), &message);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    a.link_down(LinkId(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_not_accepted_is_closed() {
    let short = NetConfig { accept_within: Duration::from_millis(400), ..config() };
    let mut a = Node::in_lane(short.clone(), GATE, 2).await;
    let mut b = Node::in_lane(config(), GATE, 2).await;
    b.dial(&a);
    let up = |event: &LaneEvent| match event {
        LaneEvent::LinkUp { link, .. } => Some(*link),
        _ => None,
    };
    let link = a.wait(up).await;
    let begun = Instant::now();
    let (b_link, _) = b.link_up().await;
    a.link_down(link).await;
    b.link_down(b_link).await;
    assert!(begun.elapsed() >= Duration::from_millis(300));
    // An accepted one stays.
    b.dial(&a);
    let (link, _) = a.link_up().await;
    let down = |event: &LaneEvent| matches!(event, LaneEvent::LinkDown { link: of, .. } if *of == link);
    assert!(!a.sees(Duration::from_millis(900), down).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_are_exactly_those_given() {
    let mut nodes = full_mesh(2).await;
    let mut b = nodes.pop().unwrap();
    let a = nodes.pop().unwrap();
    let tomorrow: Topic = [7; 16];
    b.send(LaneCommand::Topics { lane: LANE, topics: vec![tomorrow] });
    a.send(LaneCommand::Topics { lane: LANE, topics: vec![TOPIC, tomorrow] });
    // Subscriptions travel; nothing tells when they have arrived, so one asks until it is heard.
    let mut asked = 0u8;
    loop {
        asked += 1;
        a.publish(TOPIC, &[asked; 100]);
        a.publish(tomorrow, &[asked; 200]);
        let heard = |e: &LaneEvent| matches!(e, LaneEvent::Gossip { topic, .. } if *topic == [7; 16]);
        if b.sees(Duration::from_millis(100), heard).await {
            break;
        }
        assert!(asked < 100);
    }
    b.kept.retain(|event| !matches!(event, LaneEvent::Gossip { topic, .. } if *topic == TOPIC));
    a.publish(TOPIC, &[0; 300]);
    assert!(
        !b.sees(Duration::from_millis(300), |e| matches!(e, LaneEvent::Gossip { topic, .. } if *topic == TOPIC)).await
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_lane_ends_its_links_and_it_can_be_opened_again() {
    let mut nodes = full_mesh(2).await;
    let (mut b, mut a) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    a.send(LaneCommand::Close { lane: LANE });
    a.link_down(LinkId(1)).await;
    b.link_down(LinkId(1)).await;
    a.send(LaneCommand::Open { lane: LANE, gate: Zeroizing::new(GATE), topics: vec![TOPIC], members: 2 });
    let peer = a
        .wait(|event| match event {
            LaneEvent::Listening { peer, .. } => Some(peer.clone()),
            _ => None,
        })
        .await;
    assert_ne!(peer, a.peer, "each swarm has a PeerId of its own");
    a.dial(&b);
    assert_ne!(a.link_up().await.0, LinkId(1), "link ids are unique in a run");
    b.link_up().await;
}

/// Ten members as one would have them in a small group. Prints what it measures; asserts only that nothing is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_members_all_hear_every_message() {
    const MESSAGES: usize = 60;
    let mut nodes = full_mesh(10).await;
    let mut nanos = Vec::new();
    for n in 0..MESSAGES {
        let mut frame = vec![0; FRAME_SMALL];
        frame[..8].copy_from_slice(&(n as u64).to_be_bytes());
        let sender = n % nodes.len();
        let sent = Instant::now();
        nodes[sender].publish(TOPIC, &frame);
        let mut hearers = Vec::new();
        for (at, mut node) in nodes.drain(..).enumerate() {
            let frame = frame.clone();
            hearers.push(tokio::spawn(async move {
                if at != sender {
                    assert_eq!(node.gossip().await.1, frame);
                }
                (node, (at != sender).then(|| sent.elapsed()))
            }));
        }
        for hearer in hearers {
            let (node, took) = hearer.await.unwrap();
            nodes.push(node);
            nanos.extend(took);
        }
    }
    assert_eq!(nanos.len(), MESSAGES * 9);
    nanos.sort();
    println!("publish to deliver: p50 {:?}, p99 {:?}", nanos[nanos.len() / 2], nanos[nanos.len() * 99 / 100]);
}

/// A burst from one member, published as fast as the engine can: nothing is lost and nothing comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_a_thousand_reaches_everybody() {
    const MESSAGES: u64 = 1_000;
    let mut nodes = full_mesh(10).await;
    let sender = nodes.remove(0);
    let begun = Instant::now();
    let hearers: Vec<_> = nodes
        .into_iter()
        .map(|mut node| {
            tokio::spawn(async move {
                let mut heard = std::collections::BTreeSet::new();
                while heard.len() < usize::try_from(MESSAGES).unwrap() {
                    let (_, frame) = node.gossip().await;
                    assert!(heard.insert(frame), "came twice");
                }
                node
            })
        })
        .collect();
    for n in 0..MESSAGES {
        let mut frame = vec![0; FRAME_SMALL];
        frame[..8].copy_from_slice(&n.to_be_bytes());
        sender.publish(TOPIC, &frame);
    }
    let mut nodes = vec![sender];
    for hearer in hearers {
        nodes.push(hearer.await.unwrap());
    }
    let took = begun.elapsed();
    for node in &mut nodes {
        let down = |event: &LaneEvent| matches!(event, LaneEvent::LinkDown { .. });
        assert!(!node.sees(Duration::from_millis(10), down).await, "a link was lost to the burst");
    }
    println!("{MESSAGES} messages at 9 others after {took:?}");
}

/// A peer that has the gate key and a connection, and never opens a link.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_link_is_closed() {
    use futures::StreamExt as _;
    use libp2p::{
        Multiaddr, SwarmBuilder, Transport as _,
        core::upgrade::Version,
        noise,
        pnet::{PnetConfig, PreSharedKey},
        swarm::{SwarmEvent, dial_opts::DialOpts, dummy},
        tcp, yamux,
    };
    let short = NetConfig { accept_within: Duration::from_millis(400), ..config() };
    let mut a = Node::in_lane(short, GATE, 2).await;
    let gate = PnetConfig::new(PreSharedKey::new(GATE));
    let mut idler = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_other_transport(|key| {
            tcp::tokio::Transport::new(tcp::Config::default())
                .and_then(move |socket, _| gate.handshake(socket))
                .upgrade(Version::V1Lazy)
                .authenticate(noise::Config::new(key).unwrap())
                .multiplex(yamux::Config::default())
        })
        .unwrap()
        .with_behaviour(|_| dummy::Behaviour)
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    let address: Multiaddr = a.addresses[0].parse().unwrap();
    idler.dial(DialOpts::unknown_peer_id().address(address).build()).unwrap();
    let closed = async {
        let mut connected = false;
        loop {
            match idler.select_next_some().await {
                SwarmEvent::ConnectionEstablished { .. } => connected = true,
                SwarmEvent::ConnectionClosed { .. } => return connected,
                _ => {}
            }
        }
    };
    assert!(timeout(PATIENCE, closed).await.expect("still connected"));
    assert!(!a.sees(Duration::from_millis(10), is_link_up).await);
}
