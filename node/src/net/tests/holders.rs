//! Who holds a lane's gate key and misbehaves, and who does not hold it: members hear each other all the same.

use futures::{AsyncWriteExt as _, StreamExt as _};
use hearth_protocol::{
    limits::{FRAME_SMALL, SYNC_FRAME_MAX},
    mailbox::MAILBOX_PROTOCOL,
    sync::SYNC_PROTOCOL,
};
use libp2p::Stream;
use libp2p_stream::OpenStreamError;

use super::{
    lanes::full_mesh,
    strangers::{GOSSIP, Stranger, framed, is_closed, noise_of},
    *,
};

/// Comes in with the gate key as far as a link that the engine accepts; of the two, the smaller PeerId opens it.
async fn holder(node: &mut Node) -> (Stranger, Stream, LinkId) {
    let mut holder = Stranger::reach(&node.addresses[0], Some(GATE)).await.unwrap();
    let stream = match holder.own < holder.node {
        true => holder.open(SYNC_PROTOCOL).await.unwrap(),
        false => timeout(PATIENCE, holder.incoming.next()).await.unwrap().unwrap().1,
    };
    let (link, _) = node.link_up().await;
    (holder, stream, link)
}

fn is_down(down: LinkId) -> impl Fn(&LaneEvent) -> bool {
    move |event| matches!(event, LaneEvent::LinkDown { link, .. } if *link == down)
}

/// Both ways, by gossip and over the link.
async fn hear_each_other(a: &mut Node, b: &mut Node, links: (LinkId, LinkId), round: u8) {
    a.publish(TOPIC, &[round; FRAME_SMALL]);
    assert_eq!(b.gossip().await.1, [round; FRAME_SMALL]);
    a.say(links.0, &[round]);
    b.say(links.1, &[round]);
    assert_eq!((a.message().await, b.message().await), (vec![round], vec![round]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gate_key_buys_nothing_but_a_link_of_ones_own() {
    let mut nodes = full_mesh(2).await;
    let (mut b, mut a) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    let links = (LinkId(1), LinkId(1));
    // On the link: what breaks its framing ends it. Nothing of it reaches the engine.
    let too_long = (SYNC_FRAME_MAX as u32 + 1).to_be_bytes();
    let ends: [(&str, &[u8], bool); 4] = [
        ("four gigabytes", &[0xff; 4], false),
        ("a byte too long", &too_long, false),
        ("a length cut short", &[0, 0], true),
        ("a frame cut short", &framed(&[1; 5_000])[..4_000], true),
    ];
    for (round, (what, bytes, leaves)) in (1..).zip(ends) {
        let (_holder, mut stream, link) = holder(&mut a).await;
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        if leaves {
            stream.close().await.unwrap();
        }
        a.link_down(link).await;
        assert!(!a.sees(Duration::ZERO, |event| matches!(event, LaneEvent::Message { .. })).await, "{what}");
        hear_each_other(&mut a, &mut b, links, round).await;
    }
    // On other streams: what is not spoken is refused, garbage is closed, and half of something waits for its end.
    let (mut holder, mut stream, link) = holder(&mut a).await;
    assert!(matches!(holder.open(MAILBOX_PROTOCOL).await, Err(OpenStreamError::UnsupportedProtocol(_))));
    if let Ok(second) = holder.open(SYNC_PROTOCOL).await {
        assert!(is_closed(second, &framed(b"a second link")).await);
    }
    let mut held = Vec::new();
    for bytes in [&[0xff; 10][..], &[0xff, 0xff, 0xff, 0xff, 0x0f], &noise_of(100_000), &[0x80], &[100, 8]] {
        // After garbage gossip may be over for this peer.
        let Ok(mut gossip) = holder.open(GOSSIP).await else { continue };
        let _ = gossip.write_all(bytes).await;
        let _ = gossip.flush().await;
        held.push(gossip);
    }
    assert!(!held.is_empty());
    // What is a frame is the engine's to judge, and comes whole.
    stream.write_all(&framed(&noise_of(3_000))).await.unwrap();
    stream.write_all(&framed(&[1; 5_000])[..4_000]).await.unwrap();
    stream.flush().await.unwrap();
    assert_eq!(a.message().await, noise_of(3_000));
    hear_each_other(&mut a, &mut b, links, 100).await;
    // The engine sends it away, and both others are as they were.
    a.send(LaneCommand::Hangup { lane: LANE, link });
    assert!(is_closed(stream, &[]).await);
    for node in [&mut a, &mut b] {
        assert!(!node.sees(Duration::ZERO, is_down(LinkId(1))).await);
    }
    hear_each_other(&mut a, &mut b, links, 101).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_gate_key_there_is_no_protocol_to_try() {
    let mut nodes = full_mesh(2).await;
    let (mut b, mut a) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    for gate in [None, Some([5; 32])] {
        assert!(Stranger::reach(&a.addresses[0], gate).await.is_none());
    }
    hear_each_other(&mut a, &mut b, (LinkId(1), LinkId(1)), 1).await;
}

/// A frame that somebody recorded and publishes again is known by its id: nobody's engine sees it twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorded_gossip_frame_is_not_heard_again() {
    let mut nodes = full_mesh(2).await;
    let (mut b, mut a) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    hear_each_other(&mut a, &mut b, (LinkId(1), LinkId(1)), 1).await;
    let mut late = Node::in_lane(config(), GATE, 2).await;
    for node in [&mut a, &mut b] {
        late.dial(node);
        node.link_up().await;
        late.link_up().await;
    }
    late.publish(TOPIC, &[1; FRAME_SMALL]);
    late.publish(TOPIC, &[2; FRAME_SMALL]);
    for node in [&mut a, &mut b] {
        // In order on one stream: had the first been new, it would have come first.
        assert_eq!(node.gossip().await.1, [2; FRAME_SMALL]);
    }
}
