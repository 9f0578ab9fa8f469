use super::*;
use crate::relay::mailbox::{
    MemoryStore, Policy, Quotas,
    kit::{Client, blob},
};

fn clock() -> Timestamp {
    Timestamp(1_700_000_000_000)
}

fn service() -> (MailboxService, Stopped, Metrics) {
    let quotas = Quotas { pow_bits: 2, ..Quotas::default() };
    let mailbox = Mailbox::new(MemoryStore::default(), [9; 32], Policy::Open, quotas).unwrap();
    let metrics = Metrics::default();
    let (service, stopped) = MailboxService::spawn(mailbox, clock, metrics.clone()).unwrap();
    (service, stopped, metrics)
}

async fn answer(answers: &mut Answers) -> Answer {
    match answers.next().await.unwrap().frame() {
        Frame::Reply { answer, .. } => answer.clone(),
        Frame::Push { .. } => panic!("a push"),
    }
}

#[tokio::test]
async fn a_session_that_does_not_read_is_dropped_and_others_go_on() {
    let (service, stopped, metrics) = service();
    let mut deaf = service.open(Party::Remote).await.unwrap();
    let mut writer = service.open(Party::Remote).await.unwrap();
    let c = Client::new(writer.greeting.clone(), 1);
    writer.asker.ask(c.create()).await.unwrap();
    assert_eq!(answer(&mut writer.answers).await, Answer::Created);
    let listener = Client::new(deaf.greeting.clone(), 1);
    deaf.asker.ask(listener.subscribe(0)).await.unwrap();
    let total = OUT_QUEUE as u64 + 100;
    for seq in 1..=total {
        writer.asker.ask(c.put(blob(1))).await.unwrap();
        assert_eq!(answer(&mut writer.answers).await, Answer::Stored { seq });
    }
    let mut heard = 0;
    while deaf.answers.next().await.is_some() {
        heard += 1;
    }
    assert_eq!(heard, OUT_QUEUE);
    assert_eq!(metrics.sessions_dropped.get(), 1);
    assert_eq!(metrics.puts.get(), total);
    drop((deaf, writer, service));
    stopped.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_requests_of_one_round_share_one_sync() {
    let quotas = Quotas { pow_bits: 2, ..Quotas::default() };
    let mut mailbox = Mailbox::new(MemoryStore::default(), [9; 32], Policy::Open, quotas).unwrap();
    let session = SessionId(1);
    let c = Client::new(mailbox.open(session, [1; 32], Party::Remote, clock()).unwrap(), 1);
    let metrics = Metrics::default();
    let (out, mut inbox) = mpsc::channel(200);
    let outs = HashMap::from([(session, out)]);
    let mut worker = Worker { mailbox, clock, metrics: metrics.clone(), outs, next: 2, waiting: Arc::default() };
    let ask = |request| Job::Ask { session, request, at: Instant::now() };
    let mut jobs: Vec<_> = std::iter::once(c.create()).chain((0..100).map(|n| c.put(blob(n)))).map(ask).collect();
    worker.round(&mut jobs).unwrap();
    assert_eq!(metrics.syncs.get(), 1);
    assert_eq!(metrics.puts.get(), 100);
    assert_eq!(std::iter::from_fn(|| inbox.try_recv().ok()).count(), 101);
    worker.round(&mut vec![ask(c.get(0, 9))]).unwrap();
    assert_eq!(metrics.syncs.get(), 1);
}
