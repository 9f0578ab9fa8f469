//! A node of the DHT that lies: it answers with records that do not prove themselves, and hands them over.

use futures::StreamExt as _;
use libp2p::{
    Multiaddr, StreamProtocol, SwarmBuilder, identify,
    kad::{self, InboundRequest, Mode, QueryResult, Quorum, store::RecordStore as _},
    noise,
    swarm::{NetworkBehaviour, SwarmEvent},
    tcp, yamux,
};

use super::*;
use crate::net::dht::tests::record;

#[derive(NetworkBehaviour)]
struct Forger {
    kad: kad::Behaviour<kad::store::MemoryStore>,
    identify: identify::Behaviour,
}

/// What a forger has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Did {
    Answer,
    HandOver,
}

/// A DHT node that keeps one record unseen, answers with it, and hands it to whoever comes.
async fn forger(lie: kad::Record) -> (String, mpsc::Receiver<Did>) {
    let mut swarm = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|key| {
            let own = key.public().to_peer_id();
            let config = kad::Config::new(StreamProtocol::new("/hearth/kad/1"));
            let mut kad = kad::Behaviour::with_config(own, kad::store::MemoryStore::new(own), config);
            kad.set_mode(Some(Mode::Server));
            kad.store_mut().put(lie.clone()).unwrap();
            Forger { kad, identify: identify::Behaviour::new(identify::Config::new("hearth/1".into(), key.public())) }
        })
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(60)))
        .build();
    swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse::<Multiaddr>().unwrap()).unwrap();
    let address = loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            break address.to_string();
        }
    };
    let (told, did) = mpsc::channel(64);
    tokio::spawn(async move {
        loop {
            let done = match swarm.select_next_some().await {
                SwarmEvent::Behaviour(ForgerEvent::Identify(identify::Event::Received { peer_id, .. })) => {
                    let to = std::iter::once(peer_id);
                    swarm.behaviour_mut().kad.put_record_to(lie.clone(), to, Quorum::One);
                    continue;
                }
                SwarmEvent::Behaviour(ForgerEvent::Kad(kad::Event::InboundRequest {
                    request: InboundRequest::GetRecord { .. },
                })) => Did::Answer,
                SwarmEvent::Behaviour(ForgerEvent::Kad(kad::Event::OutboundQueryProgressed {
                    result: QueryResult::PutRecord(_),
                    ..
                })) => Did::HandOver,
                _ => continue,
            };
            let _ = told.try_send(done);
        }
    });
    (address, did)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_do_not_prove_themselves_are_neither_kept_nor_told() {
    let (key, genuine) = record(1, 0, b"genuine");
    let mut altered = genuine.clone();
    *altered.last_mut().unwrap() ^= 1;
    let lies = [
        ("garbage", b"garbage".to_vec()),
        ("nested", vec![0x81; 1_400]),
        ("longer than any", vec![0; 10_000]),
        ("of another key", record(2, 0, b"another's").1),
        ("from the future", record(1, 60, b"genuine").1),
        ("altered", altered),
    ];
    for (what, lie) in lies {
        let (address, mut did) = forger(kad::Record::new(key.to_vec(), lie)).await;
        let mut asker = Node::new(config());
        let commons = asker.commons().await;
        asker.send(LaneCommand::DhtBootstrap { addresses: vec![address] });
        asker.peers().await;
        asker.send(LaneCommand::DhtGet { key });
        let mut missing = vec![Did::Answer, Did::HandOver];
        while !missing.is_empty() {
            let done = timeout(PATIENCE, did.recv()).await.expect(what).unwrap();
            missing.retain(|awaited| *awaited != done);
        }
        // The first that is told is what its owner put.
        let owner = Node::new(config());
        owner.send(LaneCommand::DhtBootstrap { addresses: vec![commons] });
        owner.send(LaneCommand::DhtPut { key, value: genuine.clone() });
        assert_eq!(asker.found(key).await, genuine, "{what}");
    }
}
