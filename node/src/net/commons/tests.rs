use std::time::Duration;

use hearth_protocol::mailbox::{Greeting, MAILBOX_PROTOCOL};
use libp2p::StreamProtocol;
use tokio::time::timeout;

use super::*;
use crate::{
    net::{
        dht::tests::{clock, record},
        framing::Framed,
    },
    relay::mailbox::{Mailbox, MemoryStore, Policy, Quotas},
};

struct Node {
    handle: CommonsHandle,
    events: mpsc::Receiver<CommonsEvent>,
    identity: Identity,
}

fn node_on(listen: &str) -> Node {
    let identity = Identity::random().unwrap();
    let mailbox = Mailbox::new(MemoryStore::default(), identity.relay_key(), Policy::Open, Quotas::default()).unwrap();
    let metrics = Metrics::default();
    let (mailbox, _) = MailboxService::spawn(mailbox, clock, metrics.clone()).unwrap();
    let limits = CommonsLimits::member();
    let listen = vec![listen.to_owned()];
    let config = CommonsConfig { identity: identity.clone(), listen, mailbox, entry: None, limits, clock, metrics };
    let (handle, events) = Commons::spawn(config).unwrap();
    Node { handle, events, identity }
}

fn node() -> Node {
    node_on("/ip4/127.0.0.1/tcp/0")
}

impl Node {
    async fn wait<T>(&mut self, wanted: impl Fn(CommonsEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        timeout(Duration::from_secs(20), found).await.unwrap()
    }

    async fn address(&mut self) -> String {
        self.wait(|event| match event {
            CommonsEvent::Listening { addresses } => addresses.into_iter().next(),
            _ => None,
        })
        .await
    }

    async fn peers(&mut self) -> Vec<String> {
        self.wait(|event| match event {
            CommonsEvent::Peers { addresses } => Some(addresses),
            _ => None,
        })
        .await
    }

    async fn found(&mut self, wanted: [u8; 32]) -> Vec<u8> {
        self.wait(|event| match event {
            CommonsEvent::Found { key, value } if key == wanted => Some(value),
            _ => None,
        })
        .await
    }
}

#[tokio::test]
async fn a_record_travels_through_a_third_node() {
    let mut relay = node();
    let address = relay.address().await;
    let (mut alice, mut bob) = (node(), node());
    let with_peer = format!("{address}/p2p/{}", relay.identity.peer_id());
    alice.handle.bootstrap(vec![with_peer]).unwrap();
    assert_eq!(alice.peers().await, vec![address.clone()]);
    let (key, value) = record(1, 0, b"card");
    alice.handle.put(key, value.clone()).unwrap();
    bob.handle.bootstrap(vec![address]).unwrap();
    bob.handle.get(key).unwrap();
    assert_eq!(bob.found(key).await, value);
}

#[tokio::test]
async fn two_nodes_alone_exchange_records_put_before_and_after_they_met() {
    let (mut alice, mut bob) = (node(), node());
    let address = alice.address().await;
    let (early, early_value) = record(1, 0, b"early");
    alice.handle.put(early, early_value.clone()).unwrap();
    alice.handle.get(early).unwrap();
    assert_eq!(alice.found(early).await, early_value);
    bob.handle.get(early).unwrap();
    bob.handle.bootstrap(vec![address]).unwrap();
    assert_eq!(bob.found(early).await, early_value);
    let (late, late_value) = record(2, 0, b"late");
    bob.handle.put(late, late_value.clone()).unwrap();
    let asking = alice.handle.clone();
    let asker = tokio::spawn(async move {
        while asking.get(late).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(alice.found(late).await, late_value);
    asker.abort();
}

#[tokio::test]
async fn a_lost_peer_is_found_again_when_it_is_back_on_its_port() {
    let mut relay = node();
    let address = relay.address().await;
    let mut alice = node();
    alice.handle.bootstrap(vec![address.clone()]).unwrap();
    alice.peers().await;
    let (key, value) = record(1, 0, b"card");
    alice.handle.put(key, value.clone()).unwrap();
    drop(relay);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut relay = node_on(&address);
    assert_eq!(relay.address().await, address);
    // Alice comes back and hands over what she had published.
    relay.peers().await;
    let asking = relay.handle.clone();
    let asker = tokio::spawn(async move {
        while asking.get(key).is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    assert_eq!(relay.found(key).await, value);
    asker.abort();
}

#[tokio::test]
async fn a_taken_port_means_a_free_one_and_a_word_about_it() {
    let mut first = node();
    let address = first.address().await;
    let port: u16 = address.rsplit('/').next().unwrap().parse().unwrap();
    let mut second = node_on(&address);
    let taken = second.wait(|event| match event {
        CommonsEvent::PortTaken { port } => Some(port),
        _ => None,
    });
    assert_eq!(taken.await, port);
    assert_ne!(second.address().await, address);
}

#[tokio::test]
async fn listening_everywhere_yields_concrete_addresses() {
    let mut everywhere = node_on("/ip4/0.0.0.0/tcp/0");
    let addresses = everywhere.wait(|event| match event {
        CommonsEvent::Listening { addresses } => Some(addresses),
        _ => None,
    });
    let addresses = addresses.await;
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(|address| !address.contains("/0.0.0.0/") && !address.ends_with("/tcp/0")));
}

#[tokio::test]
async fn addresses_that_are_none_are_refused() {
    let mailbox = Mailbox::new(MemoryStore::default(), [9; 32], Policy::Own, Quotas::member()).unwrap();
    let metrics = Metrics::default();
    let (mailbox, _) = MailboxService::spawn(mailbox, clock, metrics.clone()).unwrap();
    for bad in ["nonsense", "/ip4/127.0.0.1", "/dns4/example.org/tcp/1", "/ip4/127.0.0.1/udp/1/quic-v1"] {
        let config = CommonsConfig {
            identity: Identity::random().unwrap(),
            listen: vec![bad.to_owned()],
            mailbox: mailbox.clone(),
            entry: None,
            limits: CommonsLimits::member(),
            clock,
            metrics: metrics.clone(),
        };
        assert!(matches!(Commons::spawn(config), Err(CommonsError::Address)));
    }
    let node = node();
    assert!(matches!(node.handle.bootstrap(vec!["nonsense".into()]), Err(CommonsError::Address)));
}

/// The mailbox is served on the commons' own port; whoever connects is greeted with the node's key.
#[tokio::test]
async fn the_mailbox_greets_over_the_network() {
    use futures::StreamExt as _;
    let mut relay = node();
    let address = relay.address().await;
    let mut client = libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(libp2p::tcp::Config::default(), libp2p::noise::Config::new, libp2p::yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())
        .unwrap()
        .build();
    let mut control = client.behaviour().new_control();
    let peer: PeerId = relay.identity.peer_id().parse().unwrap();
    client.dial(format!("{address}/p2p/{peer}").parse::<libp2p::Multiaddr>().unwrap()).unwrap();
    let driver = tokio::spawn(async move { while client.next().await.is_some() {} });
    let stream = control.open_stream(peer, StreamProtocol::new(MAILBOX_PROTOCOL)).await.unwrap();
    let greeting: Greeting = Framed::new(stream).recv().await.unwrap();
    assert_eq!(greeting.relay_key, relay.identity.relay_key());
    assert_eq!(greeting.pow_bits, 12);
    driver.abort();
}
