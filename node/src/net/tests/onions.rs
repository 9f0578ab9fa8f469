//! Tor mode, before a proxy that speaks as Tor's SOCKS port does and notes what it is asked.

use std::sync::{Arc, Mutex};

use libp2p::PeerId;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::{relays::Relay, *};
use crate::net::Reach;

/// A name and password, and what was asked for with them.
type Asked = Arc<Mutex<Vec<(Vec<u8>, String)>>>;

/// A proxy: addresses it connects to, names it takes for a service on this port.
struct Proxy {
    at: std::net::SocketAddr,
    asked: Asked,
}

impl Proxy {
    async fn start(service: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, asked) = (listener.local_addr().unwrap(), Asked::default());
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(carry(stream, Arc::clone(&noted), service));
            }
        });
        Self { at, asked }
    }

    fn asked(&self) -> Vec<(Vec<u8>, String)> {
        self.asked.lock().unwrap().clone()
    }
}

async fn bytes(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

/// A byte that says how long what follows is, and that.
async fn field(stream: &mut TcpStream) -> Vec<u8> {
    let len = stream.read_u8().await.unwrap();
    bytes(stream, len.into()).await
}

async fn carry(mut stream: TcpStream, asked: Asked, service: u16) {
    assert_eq!(bytes(&mut stream, 1).await, [5]);
    assert!(field(&mut stream).await.contains(&2), "no name and password are offered: nothing would be kept apart");
    stream.write_all(&[5, 2]).await.unwrap();
    assert_eq!(bytes(&mut stream, 1).await, [1]);
    let who = [field(&mut stream).await, field(&mut stream).await].concat();
    stream.write_all(&[1, 0]).await.unwrap();
    assert_eq!(bytes(&mut stream, 3).await, [5, 1, 0]);
    let (target, port) = match stream.read_u8().await.unwrap() {
        1 => {
            let ip = bytes(&mut stream, 4).await;
            let port = stream.read_u16().await.unwrap();
            (format!("{}.{}.{}.{}:{port}", ip[0], ip[1], ip[2], ip[3]), port)
        }
        3 => {
            let name = String::from_utf8(field(&mut stream).await).unwrap();
            (format!("{name}:{}", stream.read_u16().await.unwrap()), service)
        }
        kind => panic!("asked for an address of kind {kind}"),
    };
    asked.lock().unwrap().push((who, target));
    let mut relay = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
    // However it ends, it has ended.
    let _ = copy_bidirectional(&mut stream, &mut relay).await;
}

fn through(socks: std::net::SocketAddr) -> NetConfig {
    NetConfig { reach: Reach::Tor { socks }, ..config() }
}

fn port(address: &str) -> u16 {
    address.rsplit('/').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_relay_is_reached_through_tor_under_another_name() {
    let (a, b) = (Relay::start().await, Relay::start().await);
    let proxy = Proxy::start(0).await;
    let mut node = Node::new(through(proxy.at));
    let (at_a, at_b) = (a.name(), b.name());
    node.relays(&[&at_a, &at_b]);
    for (name, relay) in [(&at_a, &a), (&at_b, &b)] {
        assert_eq!(node.relay_up(name).await, relay.identity.relay_key());
        let seen = node
            .wait(|event| match event {
                LaneEvent::RelayPath { address, sees_address, .. } if address == name => Some(*sees_address),
                _ => None,
            })
            .await;
        assert!(!seen);
    }
    let mut asked = proxy.asked();
    asked.sort_by(|one, other| one.1.cmp(&other.1));
    let mut wanted = [port(&a.address), port(&b.address)].map(|port| format!("127.0.0.1:{port}"));
    wanted.sort();
    assert_eq!(asked.iter().map(|(_, target)| target.clone()).collect::<Vec<_>>(), wanted);
    assert_ne!(asked[0].0, asked[1].0, "two relays are asked under one name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_onion_service_is_asked_for_by_its_name() {
    let relay = Relay::start().await;
    let proxy = Proxy::start(port(&relay.address)).await;
    let mut node = Node::new(through(proxy.at));
    let host = "abcdefghijklmnopqrstuvwxyz234567".repeat(2)[..56].to_owned();
    let name = format!("/onion3/{host}:5858/p2p/{}", relay.identity.peer_id());
    node.relays(&[&name]);
    assert_eq!(node.relay_up(&name).await, relay.identity.relay_key());
    assert_eq!(proxy.asked()[0].1, format!("{host}.onion:5858"));

    // Somebody else answers there: it is not that relay.
    let stranger = format!("/onion3/{host}:5858/p2p/{}", PeerId::random());
    node.relays(&[&stranger]);
    node.relay_down(&name).await;
    assert!(!node.sees(Duration::from_secs(2), |e| matches!(e, LaneEvent::RelayUp { .. })).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_tor_nothing_is_dialled() {
    let relay = Relay::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut node = Node::new(through(nobody));
    node.relays(&[&relay.name()]);
    assert!(!node.sees(Duration::from_secs(3), |e| matches!(e, LaneEvent::RelayUp { .. })).await);
    assert_eq!(relay.metrics.connections.get(), 0, "the relay was dialled");
}
