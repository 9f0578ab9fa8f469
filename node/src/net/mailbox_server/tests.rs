use hearth_protocol::{
    limits::SLOT_BODY_MAX,
    mailbox::{Answer, Greeting},
    time::Timestamp,
};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::*;
use crate::relay::{
    Metrics,
    mailbox::{
        Mailbox, MemoryStore, Policy, Quotas,
        kit::{Client, blob},
    },
};

fn clock() -> Timestamp {
    Timestamp(1_700_000_000_000)
}

fn service() -> MailboxService {
    let quotas = Quotas { pow_bits: 2, ..Quotas::default() };
    let mailbox = Mailbox::new(MemoryStore::default(), [9; 32], Policy::Open, quotas).unwrap();
    MailboxService::spawn(mailbox, clock, Metrics::default()).unwrap().0
}

type Ended = tokio::task::JoinHandle<Result<(), ServeError>>;

fn connect(service: &MailboxService) -> (DuplexStream, Ended) {
    let (near, far) = duplex(64 * 1_024);
    let service = service.clone();
    let served = tokio::spawn(async move { serve(far.compat(), &service, &Room::default()).await });
    (near, served)
}

async fn greeted(near: DuplexStream) -> (Framed<Compat<DuplexStream>>, Client) {
    let mut framed = Framed::new(near.compat());
    let greeting: Greeting = framed.recv().await.unwrap();
    (framed, Client::new(greeting, 1))
}

async fn ask(framed: &mut Framed<Compat<DuplexStream>>, request: &Request) -> Answer {
    framed.send(request).await.unwrap();
    match framed.recv().await.unwrap() {
        Frame::Reply { id, answer } => {
            assert_eq!(id, request.id);
            answer
        }
        Frame::Push { .. } => panic!("a push"),
    }
}

#[tokio::test]
async fn serves_requests_and_pushes_over_a_stream() {
    let service = service();
    let (near, _) = connect(&service);
    let (mut writer, c) = greeted(near).await;
    assert_eq!(ask(&mut writer, &c.create()).await, Answer::Created);
    let (near, _) = connect(&service);
    let (mut reader, r) = greeted(near).await;
    assert_eq!(ask(&mut reader, &r.subscribe(0)).await, Answer::Blobs { blobs: vec![], more: false });
    assert_eq!(ask(&mut writer, &c.put(blob(7))).await, Answer::Stored { seq: 1 });
    match reader.recv().await.unwrap() {
        Frame::Push { queue, blob: pushed } => {
            assert_eq!((queue, pushed.seq, pushed.bytes), (c.queue(), 1, blob(7)));
        }
        Frame::Reply { .. } => panic!("a reply"),
    }
}

#[tokio::test]
async fn bad_peers_are_closed_and_a_good_one_is_served() {
    let service = service();
    let request = |body: &[u8]| [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat();
    let bad = [
        vec![0xff; 4],
        request(&vec![0x81; 5_000]),
        request(b"garbage"),
        request(&[]),
        (REQUEST_MAX as u32 + 1).to_be_bytes().to_vec(),
    ];
    for bytes in bad {
        let (mut near, served) = connect(&service);
        near.write_all(&bytes).await.unwrap();
        assert!(matches!(served.await.unwrap(), Err(ServeError::Frame(_))));
    }
    // Half-open ones linger, and harm nobody.
    let mut lingering = Vec::new();
    for _ in 0..50 {
        let (mut near, served) = connect(&service);
        near.write_all(&(REQUEST_MAX as u32).to_be_bytes()).await.unwrap();
        lingering.push((near, served));
    }
    let (near, served) = connect(&service);
    let (mut framed, c) = greeted(near).await;
    assert_eq!(ask(&mut framed, &c.create()).await, Answer::Created);
    assert_eq!(ask(&mut framed, &c.put(blob(1))).await, Answer::Stored { seq: 1 });
    drop(framed);
    assert!(matches!(served.await.unwrap(), Err(ServeError::Frame(FrameError::Closed))));
    drop(lingering);
}

#[tokio::test]
async fn a_full_slot_travels_in_one_answer() {
    let service = service();
    let (near, _) = connect(&service);
    let (mut framed, c) = greeted(near).await;
    let slot = hearth_protocol::id::SlotId([5; 32]);
    for version in 1..=4 {
        let put = c.slot_put(slot, version, vec![1; SLOT_BODY_MAX]);
        assert_eq!(ask(&mut framed, &put).await, Answer::SlotStored);
    }
    let Answer::Slot { bodies, .. } = ask(&mut framed, &c.slot_get(slot)).await else { panic!() };
    assert!(bodies.len() == 4 && bodies.iter().all(|body| body.len() == SLOT_BODY_MAX));
}
