//! Whole relays on loopback.

use std::path::Path;

use hearth_crypto::schedule::Signer;
use hearth_protocol::{
    id::GroupId,
    limits::FRAME_SMALL,
    mailbox::{Action, Answer, QueueKind, queue_id},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

use super::*;
use crate::{
    engine::lane::{LaneCommand, LaneEvent, Ticket},
    net::{Net, NetConfig, NetHandle},
};

const GROUP: GroupId = GroupId([1; 32]);
const WRITE: [u8; 32] = [2; 32];
const READ: [u8; 32] = [3; 32];

struct Relay {
    ready: Ready,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RelayError>>,
}

fn config(home: &Path) -> RelayConfig {
    let limits = RelayLimits { pow_bits: 0, ..RelayLimits::default() };
    let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
    RelayConfig { listen, limits, ..RelayConfig::new(home.to_owned()) }
}

async fn start(config: RelayConfig) -> Relay {
    let (told, ready) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(run(config, move |ready| told.send(ready).unwrap(), async move {
        let _ = stopped.await;
    }));
    Relay { ready: timeout(Duration::from_secs(20), ready).await.unwrap().unwrap(), stop, ended }
}

impl Relay {
    async fn stop(self) {
        self.stop.send(()).unwrap();
        timeout(Duration::from_secs(20), self.ended).await.unwrap().unwrap().unwrap();
    }
}

/// A member, with a session to one relay.
struct Member {
    net: NetHandle,
    events: mpsc::Receiver<LaneEvent>,
    address: String,
    tickets: u64,
}

impl Member {
    async fn new(address: &str) -> Self {
        let listen = vec!["/ip4/127.0.0.1/tcp/0".to_owned()];
        let (net, events) = Net::spawn(NetConfig::new(listen, clock::now)).unwrap();
        net.send(LaneCommand::Relays { group: GROUP, addresses: vec![address.to_owned()] }).unwrap();
        let mut member = Self { net, events, address: address.to_owned(), tickets: 0 };
        member.wait(|event| matches!(event, LaneEvent::RelayUp { .. }).then_some(())).await;
        member
    }

    async fn wait<T>(&mut self, wanted: impl Fn(LaneEvent) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.events.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        timeout(Duration::from_secs(20), found).await.unwrap()
    }

    async fn ask(&mut self, action: Action, seed: Option<[u8; 32]>) -> Answer {
        self.tickets += 1;
        let mine = Ticket(self.tickets);
        let signer = seed.map(|seed| Signer::new(ed25519_dalek::SigningKey::from_bytes(&seed)));
        let address = self.address.clone();
        self.net.send(LaneCommand::Relay { group: GROUP, address, ticket: mine, action, signer }).unwrap();
        let answer = self.wait(|event| match event {
            LaneEvent::RelayAnswer { ticket, answer, .. } if ticket == mine => Some(answer),
            _ => None,
        });
        answer.await.unwrap()
    }

    async fn create(&mut self) -> Answer {
        let (write_pk, read_pk) = (public(WRITE), public(READ));
        self.ask(Action::Create { write_pk, read_pk, kind: QueueKind::Daily, pow: 0 }, None).await
    }

    async fn put(&mut self, byte: u8) -> Answer {
        self.ask(Action::Put { queue: queue(), blob: vec![byte; FRAME_SMALL] }, Some(WRITE)).await
    }

    async fn get(&mut self) -> Vec<(u64, u8)> {
        let Answer::Blobs { blobs, .. } = self.ask(Action::Get { queue: queue(), after: 0, max: 64 }, Some(READ)).await
        else {
            panic!("no blobs")
        };
        blobs.iter().map(|blob| (blob.seq, blob.bytes[0])).collect()
    }
}

fn public(seed: [u8; 32]) -> [u8; 32] {
    ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key().to_bytes()
}

fn queue() -> hearth_protocol::id::QueueId {
    queue_id(&public(WRITE), &public(READ), QueueKind::Daily)
}

#[tokio::test]
async fn a_restarted_relay_has_its_identity_and_every_acknowledged_blob() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(config(home.path())).await;
    let first = relay.ready.clone();
    assert_eq!(peer_id(home.path()).unwrap(), first.peer_id);
    let mut member = Member::new(&first.addresses[0]).await;
    assert_eq!(member.create().await, Answer::Created);
    for seq in 1..=20u8 {
        assert_eq!(member.put(seq).await, Answer::Stored { seq: seq.into() });
    }
    relay.stop().await;

    let listen = first.addresses[0].split("/p2p/").next().unwrap().to_owned();
    let relay = start(RelayConfig { listen: vec![listen], ..config(home.path()) }).await;
    assert_eq!(relay.ready, first);
    member.wait(|event| matches!(event, LaneEvent::RelayUp { .. }).then_some(())).await;
    assert_eq!(member.get().await, (1..=20).map(|n| (n.into(), n)).collect::<Vec<_>>());
    assert_eq!(member.put(21).await, Answer::Stored { seq: 21 });
    relay.stop().await;
}

#[tokio::test]
async fn a_second_process_on_the_same_home_is_refused_and_the_identity_is_private() {
    let home = tempfile::tempdir().unwrap();
    let relay = start(config(home.path())).await;
    let second = run(config(home.path()), |_| panic!("it started"), std::future::pending()).await;
    assert!(matches!(second, Err(RelayError::Home(HomeError::InUse))));
    relay.stop().await;
    let identity = home.path().join("identity");
    #[cfg(unix)]
    {
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&identity).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
    std::fs::write(&identity, [0; 31]).unwrap();
    let damaged = run(config(home.path()), |_| panic!("it started"), std::future::pending()).await;
    assert!(matches!(damaged, Err(RelayError::Home(HomeError::Damaged))));
    assert_eq!(std::fs::read(&identity).unwrap().len(), 31);
}

#[tokio::test]
async fn wrong_settings_start_nothing() {
    let home = tempfile::tempdir().unwrap();
    let outside = RelayConfig { metrics: Some("0.0.0.0:0".parse().unwrap()), ..config(home.path()) };
    let refused = run(outside, |_| panic!("it started"), std::future::pending()).await;
    assert!(matches!(refused, Err(RelayError::MetricsNotLoopback)));
    let limits = RelayLimits { pow_bits: 99, ..RelayLimits::default() };
    let refused = run(RelayConfig { limits, ..config(home.path()) }, |_| panic!("it started"), std::future::pending());
    assert!(matches!(refused.await, Err(RelayError::Limits(LimitError { name: "pow_bits", .. }))));
}

async fn http(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let home = tempfile::tempdir().unwrap();
    let metrics = Some("127.0.0.1:0".parse().unwrap());
    let relay = start(RelayConfig { metrics, ..config(home.path()) }).await;
    let mut member = Member::new(&relay.ready.addresses[0]).await;
    member.create().await;
    member.put(1).await;
    let at = relay.ready.metrics.clone().unwrap();
    let answer = http(&at, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"));
    for line in ["hearth_relay_puts_total 1", "hearth_relay_queues 1", "hearth_relay_sessions 1"] {
        assert!(answer.lines().any(|l| l == line), "{line} in\n{answer}");
    }
    let labels: Vec<_> = answer.lines().filter_map(|line| line.split_once('{')).map(|(_, label)| label).collect();
    assert!(labels.iter().all(|label| label.starts_with("le=") || label.starts_with("version=")), "{labels:?}");
    assert!(http(&at, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 404"));
    assert!(http(&at, "POST /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await.starts_with("HTTP/1.1 405"));
    relay.stop().await;
}
