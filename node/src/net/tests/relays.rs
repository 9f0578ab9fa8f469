use std::collections::BTreeSet;

use ed25519_dalek::SigningKey;
use hearth_crypto::schedule::Signer;
use hearth_protocol::{
    id::{QueueId, SlotId},
    limits::FRAME_SMALL,
    mailbox::{Action, Answer, QueueKind, Refusal, queue_id, relay_key},
};
use tokio::net::TcpListener;

use super::*;
use crate::{
    engine::lane::{MEMBER_RELAY, OWN_MAILBOX, RelayFailure, Ticket},
    net::{
        commons::{Commons, CommonsConfig, CommonsEvent, CommonsHandle, CommonsLimits, EntryConfig, Identity},
        dht::tests::record,
    },
    relay::{
        MailboxService, Metrics,
        mailbox::{Mailbox, MemoryStore, Policy, Quotas},
    },
};

const GROUP: GroupId = GroupId([1; 32]);

pub(super) fn signer(n: u8) -> Signer {
    Signer::new(SigningKey::from_bytes(&[n; 32]))
}

pub(super) fn public(n: u8) -> [u8; 32] {
    SigningKey::from_bytes(&[n; 32]).verifying_key().to_bytes()
}

/// The queue with write key `n` and read key `n + 1`.
pub(super) fn queue(n: u8) -> QueueId {
    queue_id(&public(n), &public(n + 1), QueueKind::Daily)
}

pub(super) fn create(n: u8) -> Action {
    Action::Create { write_pk: public(n), read_pk: public(n + 1), kind: QueueKind::Daily, pow: 0 }
}

pub(super) fn put(n: u8, byte: u8) -> Action {
    Action::Put { queue: queue(n), blob: vec![byte; FRAME_SMALL] }
}

/// A relay as volunteers run it, but with its mailbox in memory.
pub(super) struct Relay {
    pub(super) identity: Identity,
    mailbox: MailboxService,
    pub(super) handle: CommonsHandle,
    pub(super) metrics: Metrics,
    pub(super) address: String,
}

impl Relay {
    pub(super) async fn start() -> Self {
        Self::run_by(None).await
    }

    pub(super) async fn run_by(operator: Option<&str>) -> Self {
        let metrics = Metrics::default();
        let identity = Identity::random().unwrap();
        let quotas = Quotas { pow_bits: 8, ..Quotas::default() };
        let store = Mailbox::new(MemoryStore::default(), identity.relay_key(), Policy::Open, quotas).unwrap();
        let (mailbox, _) = MailboxService::spawn(store, clock, Metrics::default()).unwrap();
        let on = ("/ip4/127.0.0.1/tcp/0", operator, &metrics);
        let (handle, address) = Self::listen(&identity, &mailbox, on).await;
        Self { identity, mailbox, handle, metrics, address }
    }

    async fn listen(
        identity: &Identity,
        mailbox: &MailboxService,
        (on, operator, metrics): (&str, Option<&str>, &Metrics),
    ) -> (CommonsHandle, String) {
        let (identity, mailbox, limits) = (identity.clone(), mailbox.clone(), CommonsLimits::member());
        let (listen, metrics) = (vec![on.to_owned()], metrics.clone());
        let entry = Some(EntryConfig { operator: operator.map(str::to_owned), streams: 4, rate: 1 << 24 });
        let config = CommonsConfig { identity, listen, mailbox, entry, limits, clock, metrics };
        let (handle, mut events) = Commons::spawn(config).unwrap();
        let address = loop {
            match timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
                CommonsEvent::Listening { addresses } if !addresses.is_empty() => break addresses[0].clone(),
                CommonsEvent::PortTaken { .. } => panic!("the port is taken"),
                _ => {}
            }
        };
        (handle, address)
    }

    pub(super) fn name(&self) -> String {
        format!("{}/p2p/{}", self.address, self.identity.peer_id())
    }
}

impl Node {
    pub(super) fn relays(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(ToString::to_string).collect();
        self.send(LaneCommand::Relays { group: GROUP, addresses });
    }

    pub(super) async fn relay_up(&mut self, name: &str) -> [u8; 32] {
        self.wait(|event| match event {
            LaneEvent::RelayUp { address, relay_key, .. } if address == name => Some(*relay_key),
            _ => None,
        })
        .await
    }

    pub(super) async fn relay_down(&mut self, name: &str) {
        self.wait(|e| matches!(e, LaneEvent::RelayDown { address, .. } if address == name).then_some(())).await;
    }

    pub(super) fn ask(&self, address: &str, ticket: u64, action: Action, signer: Option<u8>) {
        let (address, ticket, signer) = (address.to_owned(), Ticket(ticket), signer.map(self::signer));
        self.send(LaneCommand::Relay { group: GROUP, address, ticket, action, signer });
    }

    pub(super) async fn answer(&mut self, asked: u64) -> Result<Answer, RelayFailure> {
        self.wait(|event| match event {
            LaneEvent::RelayAnswer { ticket, answer, .. } if ticket.0 == asked => Some(answer.clone()),
            _ => None,
        })
        .await
    }

    pub(super) async fn push(&mut self) -> (String, QueueId, u64) {
        self.wait(|event| match event {
            LaneEvent::RelayPush { address, queue, blob, .. } => Some((address.clone(), *queue, blob.seq)),
            _ => None,
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_at_a_real_relay() {
    let relay = Relay::start().await;
    let name = relay.name();
    let mut node = Node::new(config());
    node.relays(&[&name]);
    assert_eq!(node.relay_up(&name).await, relay.identity.relay_key());

    // Sent in one go: nothing overtakes the proof of work of its own queue.
    node.ask(&name, 1, create(10), None);
    node.ask(&name, 2, put(10, 1), Some(10));
    node.ask(&name, 3, Action::Get { queue: queue(10), after: 0, max: 10 }, Some(11));
    assert_eq!(node.answer(1).await, Ok(Answer::Created));
    assert_eq!(node.answer(2).await, Ok(Answer::Stored { seq: 1 }));
    let Ok(Answer::Blobs { blobs, more }) = node.answer(3).await else { panic!("no blobs") };
    assert_eq!((blobs.len(), blobs[0].seq, more), (1, 1, false));

    node.ask(&name, 4, put(10, 1), Some(11));
    assert_eq!(node.answer(4).await, Ok(Answer::Refused(Refusal::Signature)), "the read key cannot write");

    node.ask(&name, 5, Action::Subscribe { queue: queue(10), after: 1 }, Some(11));
    assert_eq!(node.answer(5).await, Ok(Answer::Blobs { blobs: Vec::new(), more: false }));
    node.ask(&name, 6, put(10, 2), Some(10));
    assert_eq!(node.push().await, (name.clone(), queue(10), 2));
    assert_eq!(node.answer(6).await, Ok(Answer::Stored { seq: 2 }));

    let slot = SlotId([9; 32]);
    let body = vec![7; 200_000];
    node.ask(&name, 7, Action::SlotPut { slot, write_pk: public(20), version: 1, body: body.clone() }, Some(20));
    node.ask(&name, 8, Action::SlotGet { slot }, None);
    assert_eq!(node.answer(7).await, Ok(Answer::SlotStored));
    let Ok(Answer::Slot { version, write_pk, bodies }) = node.answer(8).await else { panic!("no slot") };
    assert_eq!((version, write_pk, bodies[0].to_vec()), (1, public(20), body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_are_each_answered_once() {
    const COUNT: u64 = 700;
    let relay = Relay::start().await;
    let name = relay.name();
    let mut node = Node::new(config());
    node.relays(&[&name]);
    node.relay_up(&name).await;
    node.ask(&name, 0, create(10), None);
    for ticket in 1..=COUNT {
        node.ask(&name, ticket, put(10, 1), Some(10));
    }
    let begun = std::time::Instant::now();
    let mut seen = BTreeSet::new();
    while seen.len() <= usize::try_from(COUNT).unwrap() {
        let (ticket, answer) = node
            .wait(|event| match event {
                LaneEvent::RelayAnswer { ticket, answer, .. } => Some((*ticket, answer.clone())),
                _ => None,
            })
            .await;
        assert!(matches!(answer, Ok(Answer::Created | Answer::Stored { .. })), "{answer:?}");
        assert!(seen.insert(ticket), "answered twice");
    }
    println!("{COUNT} puts of 4 KiB in {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_comes_back_is_found_within_ten_seconds() {
    let Relay { identity, mailbox, handle, metrics, address } = Relay::start().await;
    let name = format!("{address}/p2p/{}", identity.peer_id());
    let mut node = Node::new(config());
    node.relays(&[&name]);
    node.relay_up(&name).await;
    node.ask(&name, 1, create(10), None);
    assert_eq!(node.answer(1).await, Ok(Answer::Created));
    drop(handle);
    node.relay_down(&name).await;
    node.ask(&name, 2, put(10, 1), Some(10));
    assert_eq!(node.answer(2).await, Err(RelayFailure::Unreachable));
    // Meanwhile somebody else has its port: the attempt at once and the one after a wait find no relay.
    let port = address.rsplit('/').next().unwrap();
    let bound = async {
        loop {
            match TcpListener::bind(format!("127.0.0.1:{port}")).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let nobody = timeout(PATIENCE, bound).await.expect("the port is never free");
    for _ in 0..2 {
        drop(timeout(PATIENCE, nobody.accept()).await.expect("not tried again").unwrap());
    }
    drop(nobody);
    let (_handle, again) = Relay::listen(&identity, &mailbox, (&address, None, &metrics)).await;
    assert_eq!(again, address);
    let up = timeout(Duration::from_secs(10), node.relay_up(&name)).await;
    assert_eq!(up.expect("not back in time"), identity.relay_key());
    node.ask(&name, 3, put(10, 1), Some(10));
    assert_eq!(node.answer(3).await, Ok(Answer::Stored { seq: 1 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_is_no_longer_named_goes_down_and_answers_nothing() {
    let relay = Relay::start().await;
    let name = relay.name();
    let mut node = Node::new(config());
    node.ask(&name, 1, create(10), None);
    assert_eq!(node.answer(1).await, Err(RelayFailure::Unreachable), "never named");
    for round in 0..3 {
        node.relays(&[&name, "not an address"]);
        node.relay_up(&name).await;
        // Down and up again at once: the events keep their order.
        node.relays(&[]);
        node.ask(&name, 10 + round, create(10), None);
        node.relays(&[&name]);
        node.relay_down(&name).await;
        node.relay_up(&name).await;
        assert_eq!(node.answer(10 + round).await, Err(RelayFailure::Unreachable));
        node.relays(&[]);
        node.relay_down(&name).await;
    }
}

impl Node {
    pub(super) async fn commons(&mut self) -> String {
        self.wait(|event| match event {
            LaneEvent::CommonsListening { addresses } => addresses.first().cloned(),
            _ => None,
        })
        .await
    }

    /// Waits for peers of the DHT.
    pub(super) async fn peers(&mut self) {
        let some = |e: &LaneEvent| matches!(e, LaneEvent::CommonsPeers { addresses } if !addresses.is_empty());
        self.wait(|event| some(event).then_some(())).await;
    }

    /// Looks a record up until there is one.
    pub(super) async fn found(&mut self, wanted: [u8; 32]) -> Vec<u8> {
        let is_it = |event: &LaneEvent| matches!(event, LaneEvent::DhtFound { key, .. } if *key == wanted);
        for _ in 0..100 {
            self.send(LaneCommand::DhtGet { key: wanted });
            if self.sees(Duration::from_millis(200), is_it).await {
                break;
            }
        }
        self.wait(|event| match event {
            LaneEvent::DhtFound { key, value } if *key == wanted => Some(value.clone()),
            _ => None,
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_own_mailbox_serves_its_owner_and_other_members() {
    let mut owner = Node::new(config());
    owner.relays(&[OWN_MAILBOX]);
    assert_eq!(owner.relay_up(OWN_MAILBOX).await, relay_key(MEMBER_RELAY));
    owner.ask(OWN_MAILBOX, 1, create(10), None);
    owner.ask(OWN_MAILBOX, 2, Action::Subscribe { queue: queue(10), after: 0 }, Some(11));
    assert_eq!(owner.answer(1).await, Ok(Answer::Created));
    assert_eq!(owner.answer(2).await, Ok(Answer::Blobs { blobs: Vec::new(), more: false }));

    let address = owner.commons().await;
    let mut other = Node::new(config());
    other.relays(&[&address]);
    assert_eq!(other.relay_up(&address).await, relay_key(MEMBER_RELAY));
    other.ask(&address, 1, create(30), None);
    assert_eq!(other.answer(1).await, Ok(Answer::Refused(Refusal::NotFound)), "only its owner makes queues there");
    other.ask(&address, 2, put(10, 1), Some(10));
    assert_eq!(other.answer(2).await, Ok(Answer::Stored { seq: 1 }));
    assert_eq!(owner.push().await, (OWN_MAILBOX.to_owned(), queue(10), 1));
    owner.relays(&[]);
    owner.relay_down(OWN_MAILBOX).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_travel_between_members() {
    let (mut a, mut b) = (Node::new(config()), Node::new(config()));
    let address = a.commons().await;
    b.send(LaneCommand::DhtBootstrap { addresses: vec![address] });
    b.peers().await;
    let (key, value) = record(1, 0, b"sealed");
    a.send(LaneCommand::DhtPut { key, value: value.clone() });
    assert_eq!(b.found(key).await, value);
}
