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
async fn a_burst_shares_syncs() {
    let (service, _stopped, metrics) = service();
    let mut session = service.open(Party::Owner).await.unwrap();
    let c = Client::new(session.greeting.clone(), 1);
    session.asker.ask(c.create()).await.unwrap();
    let asker = session.asker;
    let burst = tokio::spawn(async move {
        for _ in 0..500 {
            asker.ask(c.put(blob(1))).await.unwrap();
        }
    });
    assert_eq!(answer(&mut session.answers).await, Answer::Created);
    for seq in 1..=500 {
        assert_eq!(answer(&mut session.answers).await, Answer::Stored { seq });
    }
    burst.await.unwrap();
    assert!(metrics.syncs.get() <= 501);
}
