use hearth_protocol::limits::SLOT_KEEPS;
use proptest::prelude::*;

use super::{
    kit::{Client, blob},
    *,
};

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const ONE: SessionId = SessionId(1);
const TWO: SessionId = SessionId(2);
const DAY: u64 = 86_400_000;
const SLOT: SlotId = SlotId([5; 32]);

fn quotas() -> Quotas {
    Quotas { pow_bits: 4, ..Quotas::default() }
}

fn mailbox_with(policy: Policy, quotas: Quotas) -> Mailbox<MemoryStore> {
    Mailbox::new(MemoryStore::default(), [9; 32], policy, quotas).unwrap()
}

fn mailbox() -> Mailbox<MemoryStore> {
    mailbox_with(Policy::Open, quotas())
}

fn client(mailbox: &mut Mailbox<MemoryStore>, session: SessionId, seed: u8) -> Client {
    let nonce = [u8::try_from(session.0).unwrap(); 32];
    Client::new(mailbox.open(session, nonce, Party::Remote, NOW).unwrap(), seed)
}

fn ask(mailbox: &mut Mailbox<MemoryStore>, request: &Request) -> Answer {
    mailbox.handle(ONE, request, NOW).unwrap().answer
}

fn refused(why: Refusal) -> Answer {
    Answer::Refused(why)
}

fn seqs(answer: &Answer) -> Vec<u64> {
    match answer {
        Answer::Blobs { blobs, .. } => blobs.iter().map(|blob| blob.seq).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_action_wants_its_own_key() {
    let mut mailbox = mailbox();
    let c = client(&mut mailbox, ONE, 1);
    assert_eq!(ask(&mut mailbox, &c.create()), Answer::Created);
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 1, vec![1])), Answer::SlotStored);
    let queue = c.queue();
    let put = Action::Put { queue, blob: blob(1) };
    let get = Action::Get { queue, after: 0, max: 1 };
    let subscribe = Action::Subscribe { queue, after: 0 };
    let slot_put = Action::SlotPut { slot: SLOT, write_pk: c.write_pk(), version: 2, body: vec![] };
    let rotate = Action::SlotRotate { slot: SLOT, write_pk: c.read_pk() };
    let table = [
        (put, &c.write, &c.read),
        (get, &c.read, &c.write),
        (subscribe, &c.read, &c.write),
        (slot_put, &c.write, &c.read),
        (rotate, &c.write, &c.read),
    ];
    for (action, right, wrong) in table {
        assert_eq!(ask(&mut mailbox, &c.ask(action.clone(), Some(wrong))), refused(Refusal::Signature));
        assert_eq!(ask(&mut mailbox, &c.ask(action.clone(), None)), refused(Refusal::Signature));
        assert!(!matches!(ask(&mut mailbox, &c.ask(action, Some(right))), Answer::Refused(_)));
    }
}

#[test]
fn a_request_cannot_be_replayed_in_another_session_or_to_another_relay() {
    let mut mailbox = mailbox();
    let c = client(&mut mailbox, ONE, 1);
    ask(&mut mailbox, &c.create());
    let put = c.put(blob(1));
    assert_eq!(ask(&mut mailbox, &put), Answer::Stored { seq: 1 });
    client(&mut mailbox, TWO, 1);
    assert_eq!(mailbox.handle(TWO, &put, NOW).unwrap().answer, refused(Refusal::Signature));
    let mut other = Mailbox::new(MemoryStore::default(), [8; 32], Policy::Open, quotas()).unwrap();
    let d = client(&mut other, ONE, 1);
    other.handle(ONE, &d.create(), NOW).unwrap();
    assert_eq!(other.handle(ONE, &put, NOW).unwrap().answer, refused(Refusal::Signature));
    assert_eq!(mailbox.handle(SessionId(77), &put, NOW).unwrap().answer, refused(Refusal::Invalid));
}

#[test]
fn only_two_sizes_are_stored_and_only_in_queues_that_exist() {
    let mut mailbox = mailbox();
    let c = client(&mut mailbox, ONE, 1);
    assert_eq!(ask(&mut mailbox, &c.put(blob(1))), refused(Refusal::NotFound));
    assert_eq!(ask(&mut mailbox, &c.get(0, 1)), refused(Refusal::NotFound));
    assert_eq!(ask(&mut mailbox, &c.subscribe(0)), refused(Refusal::NotFound));
    assert_eq!(ask(&mut mailbox, &c.slot_get(SLOT)), refused(Refusal::NotFound));
    ask(&mut mailbox, &c.create());
    for size in [0, 1, FRAME_SMALL - 1, FRAME_SMALL + 1, FRAME_LARGE - 1, FRAME_LARGE + 1] {
        assert_eq!(ask(&mut mailbox, &c.put(vec![0; size])), refused(Refusal::Size));
    }
    assert_eq!(ask(&mut mailbox, &c.put(vec![0; FRAME_SMALL])), Answer::Stored { seq: 1 });
    assert_eq!(ask(&mut mailbox, &c.put(vec![0; FRAME_LARGE])), Answer::Stored { seq: 2 });
    let long = c.slot_put(SLOT, 1, vec![0; SLOT_BODY_MAX + 1]);
    assert_eq!(ask(&mut mailbox, &long), refused(Refusal::Size));
}

#[test]
fn making_a_queue_costs_work_that_rises_under_load_and_falls_again() {
    let limits = Quotas { pow_bits: 8, creates_per_10s: 2, ..Quotas::default() };
    let mut mailbox = mailbox_with(Policy::Open, limits);
    let c = client(&mut mailbox, ONE, 1);
    assert_eq!(c.greeting.pow_bits, 8);
    let idle = c.ask(
        Action::Create {
            write_pk: c.write_pk(),
            read_pk: c.read_pk(),
            kind: QueueKind::Daily,
            pow: (0..).find(|pow| !pow_ok(&[9; 32], &[1; 32], &c.queue(), *pow, 8)).unwrap(),
        },
        None,
    );
    assert_eq!(ask(&mut mailbox, &idle), refused(Refusal::Work));
    for seed in 1..9 {
        let mut c = client(&mut mailbox, ONE, seed);
        c.greeting.pow_bits = mailbox.pow_bits(NOW);
        assert_eq!(ask(&mut mailbox, &c.create()), Answer::Created);
        // Again is fine, and free.
        assert_eq!(ask(&mut mailbox, &c.create_with_bits(0)), Answer::Created);
    }
    assert_eq!(mailbox.usage().queues, 8);
    assert_eq!(mailbox.pow_bits(NOW), 11);
    assert_eq!(mailbox.pow_bits(NOW.plus_ms(10_000)), 11);
    assert_eq!(mailbox.pow_bits(NOW.plus_ms(20_000)), 8);
}

#[test]
fn get_pages_from_a_cursor_and_says_when_there_is_more() {
    let mut mailbox = mailbox();
    let c = client(&mut mailbox, ONE, 1);
    ask(&mut mailbox, &c.create());
    for n in 0..70 {
        assert_eq!(ask(&mut mailbox, &c.put(blob(n))), Answer::Stored { seq: u64::from(n) + 1 });
    }
    let first = ask(&mut mailbox, &c.get(0, u16::MAX));
    assert_eq!(seqs(&first), (1..=64).collect::<Vec<_>>());
    assert!(matches!(first, Answer::Blobs { more: true, .. }));
    let rest = ask(&mut mailbox, &c.get(64, 64));
    assert_eq!(seqs(&rest), (65..=70).collect::<Vec<_>>());
    assert!(matches!(rest, Answer::Blobs { more: false, .. }));
    assert_eq!(seqs(&ask(&mut mailbox, &c.get(2, 0))), vec![3]);
    for cursor in [70, 71, u64::MAX] {
        assert_eq!(ask(&mut mailbox, &c.get(cursor, 9)), Answer::Blobs { blobs: vec![], more: false });
    }
}

#[test]
fn subscribers_are_told_of_new_blobs_until_they_leave() {
    let mut mailbox = mailbox();
    let c = client(&mut mailbox, ONE, 1);
    ask(&mut mailbox, &c.create());
    ask(&mut mailbox, &c.put(blob(1)));
    assert_eq!(seqs(&ask(&mut mailbox, &c.subscribe(0))), vec![1]);
    let listener = client(&mut mailbox, TWO, 1);
    assert_eq!(seqs(&mailbox.handle(TWO, &listener.subscribe(1), NOW).unwrap().answer), Vec::<u64>::new());
    let outcome = mailbox.handle(ONE, &c.put(blob(2)), NOW).unwrap();
    let push = Push { sessions: vec![ONE, TWO], queue: c.queue(), blob: Blob { seq: 2, bytes: blob(2) } };
    assert_eq!(outcome, Outcome { answer: Answer::Stored { seq: 2 }, push: Some(push), wrote: true });
    mailbox.close(TWO);
    let outcome = mailbox.handle(ONE, &c.put(blob(3)), NOW).unwrap();
    assert_eq!(outcome.push.unwrap().sessions, vec![ONE]);
    mailbox.close(ONE);
    let c = client(&mut mailbox, ONE, 1);
    assert_eq!(mailbox.handle(ONE, &c.put(blob(4)), NOW).unwrap().push, None);
}

#[test]
fn subscriptions_and_sessions_are_bounded() {
    let mut mailbox = mailbox_with(Policy::Open, Quotas { subscriptions: 1, sessions: 2, ..quotas() });
    let (a, b) = (client(&mut mailbox, ONE, 1), client(&mut mailbox, TWO, 2));
    assert_eq!(mailbox.open(SessionId(3), [3; 32], Party::Remote, NOW), Err(Refusal::Busy));
    ask(&mut mailbox, &a.create());
    mailbox.handle(TWO, &b.create(), NOW).unwrap();
    assert!(matches!(ask(&mut mailbox, &a.subscribe(0)), Answer::Blobs { .. }));
    assert!(matches!(ask(&mut mailbox, &a.subscribe(0)), Answer::Blobs { .. }));
    let second = Client { greeting: a.greeting.clone(), ..b };
    assert_eq!(ask(&mut mailbox, &second.subscribe(0)), refused(Refusal::Busy));
}

#[test]
fn a_slot_takes_exactly_the_next_version_from_its_own_key() {
    let mut mailbox = mailbox();
    let c = client(&mut mailbox, ONE, 1);
    let other = Client { greeting: c.greeting.clone(), ..Client::new(c.greeting.clone(), 2) };
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 2, vec![])), refused(Refusal::Version));
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 0, vec![])), refused(Refusal::Version));
    for version in 1..=6u8 {
        assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, version.into(), vec![version])), Answer::SlotStored);
    }
    for version in [0, 5, 6, 8, u64::MAX] {
        assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, version, vec![])), refused(Refusal::Version));
    }
    assert_eq!(ask(&mut mailbox, &other.slot_put(SLOT, 7, vec![])), refused(Refusal::Signature));
    let bodies: Vec<_> = [6u8, 5, 4, 3].map(|version| vec![version].into()).to_vec();
    assert_eq!(bodies.len(), SLOT_KEEPS);
    let slot = Answer::Slot { version: 6, write_pk: c.write_pk(), bodies };
    assert_eq!(ask(&mut mailbox, &c.slot_get(SLOT)), slot);

    let rotate = Action::SlotRotate { slot: SLOT, write_pk: other.write_pk() };
    assert_eq!(ask(&mut mailbox, &c.ask(rotate, Some(&c.write))), Answer::SlotStored);
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 7, vec![])), refused(Refusal::Signature));
    assert_eq!(ask(&mut mailbox, &other.slot_put(SLOT, 7, vec![7])), Answer::SlotStored);
}

#[test]
fn rates_and_quotas_refuse_and_time_heals_the_rates() {
    let put = Rate { burst: 3, per_minute: 60 };
    let mut mailbox = mailbox_with(Policy::Open, Quotas { put, daily_blobs: 5, ..quotas() });
    let mut c = client(&mut mailbox, ONE, 1);
    ask(&mut mailbox, &c.create());
    for seq in 1..=3 {
        assert_eq!(ask(&mut mailbox, &c.put(blob(0))), Answer::Stored { seq });
    }
    assert_eq!(ask(&mut mailbox, &c.put(blob(0))), refused(Refusal::Busy));
    let later = NOW.plus_ms(2_000);
    for answer in [Answer::Stored { seq: 4 }, Answer::Stored { seq: 5 }, refused(Refusal::Busy)] {
        assert_eq!(mailbox.handle(ONE, &c.put(blob(0)), later).unwrap().answer, answer);
    }
    let much_later = NOW.plus_ms(60_000);
    assert_eq!(mailbox.handle(ONE, &c.put(blob(0)), much_later).unwrap().answer, refused(Refusal::Full));
    // The control queue has its own quota.
    c.kind = QueueKind::Control;
    ask(&mut mailbox, &c.create());
    assert_eq!(ask(&mut mailbox, &c.put(blob(0))), Answer::Stored { seq: 1 });

    let mut mailbox = mailbox_with(Policy::Open, Quotas { total_bytes: 10_000, ..quotas() });
    let c = client(&mut mailbox, ONE, 1);
    ask(&mut mailbox, &c.create());
    assert_eq!(ask(&mut mailbox, &c.put(blob(0))), Answer::Stored { seq: 1 });
    assert_eq!(ask(&mut mailbox, &c.put(blob(0))), Answer::Stored { seq: 2 });
    assert_eq!(ask(&mut mailbox, &c.put(blob(0))), refused(Refusal::Full));
    let next = Client { kind: QueueKind::Control, ..c.clone() };
    assert_eq!(ask(&mut mailbox, &next.create()), refused(Refusal::Full));
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 1, vec![0; 4_000])), refused(Refusal::Full));
}

#[test]
fn a_session_that_asks_too_much_or_makes_too_many_slots_waits() {
    let limits =
        Quotas { requests: Rate { burst: 5, per_minute: 60 }, new_slots: Rate { burst: 1, per_minute: 1 }, ..quotas() };
    let mut mailbox = mailbox_with(Policy::Open, limits);
    let c = client(&mut mailbox, ONE, 1);
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 1, vec![])), Answer::SlotStored);
    assert_eq!(ask(&mut mailbox, &c.slot_put(SlotId([6; 32]), 1, vec![])), refused(Refusal::Busy));
    assert_eq!(ask(&mut mailbox, &c.slot_put(SLOT, 2, vec![])), Answer::SlotStored);
    for _ in 0..2 {
        assert!(matches!(ask(&mut mailbox, &c.slot_get(SLOT)), Answer::Slot { .. }));
    }
    assert_eq!(ask(&mut mailbox, &c.slot_get(SLOT)), refused(Refusal::Busy));
}

#[test]
fn blobs_queues_and_slots_outlive_their_time_only_until_the_sweep() {
    let mut mailbox = mailbox();
    let daily = client(&mut mailbox, ONE, 1);
    let control = Client { kind: QueueKind::Control, ..daily.clone() };
    for c in [&daily, &control] {
        ask(&mut mailbox, &c.create());
        ask(&mut mailbox, &c.put(blob(1)));
        mailbox.handle(ONE, &c.put(blob(2)), NOW.plus_ms(10 * DAY)).unwrap();
    }
    ask(&mut mailbox, &daily.slot_put(SLOT, 1, vec![1; 100]));
    assert_eq!(mailbox.sweep(NOW.plus_ms(30 * DAY)).unwrap(), 0);
    assert_eq!(mailbox.sweep(NOW.plus_ms(30 * DAY + 1)).unwrap(), 1);
    // Numbers go on where they were.
    assert_eq!(seqs(&ask(&mut mailbox, &daily.get(0, 9))), vec![2]);
    let late = NOW.plus_ms(31 * DAY);
    assert_eq!(mailbox.handle(ONE, &daily.put(blob(3)), late).unwrap().answer, Answer::Stored { seq: 3 });
    mailbox.sweep(NOW.plus_ms(62 * DAY)).unwrap();
    assert_eq!(ask(&mut mailbox, &daily.get(0, 9)), refused(Refusal::NotFound));
    assert_eq!(seqs(&ask(&mut mailbox, &control.get(0, 9))), vec![1, 2]);
    mailbox.sweep(NOW.plus_ms(121 * DAY)).unwrap();
    assert_eq!(seqs(&ask(&mut mailbox, &control.get(0, 9))), vec![2]);
    assert_eq!(ask(&mut mailbox, &daily.slot_get(SLOT)), refused(Refusal::NotFound));
    mailbox.sweep(NOW.plus_ms(131 * DAY)).unwrap();
    assert_eq!(mailbox.usage(), Usage::default());
}

#[test]
fn in_a_members_own_mailbox_only_the_owner_makes_things() {
    let mut mailbox = mailbox_with(Policy::Own, Quotas { pow_bits: 4, ..Quotas::member() });
    let guest = client(&mut mailbox, ONE, 1);
    assert_eq!(ask(&mut mailbox, &guest.create()), refused(Refusal::NotFound));
    assert_eq!(ask(&mut mailbox, &guest.slot_put(SLOT, 1, vec![1])), refused(Refusal::NotFound));
    let owner = Client::new(mailbox.open(TWO, [2; 32], Party::Owner, NOW).unwrap(), 1);
    assert_eq!(mailbox.handle(TWO, &owner.create_with_bits(0), NOW).unwrap().answer, Answer::Created);
    let made = mailbox.handle(TWO, &owner.slot_put(SLOT, 1, vec![1]), NOW).unwrap();
    assert_eq!(made.answer, Answer::SlotStored);

    assert_eq!(ask(&mut mailbox, &guest.create()), Answer::Created);
    assert_eq!(ask(&mut mailbox, &guest.put(blob(1))), Answer::Stored { seq: 1 });
    assert_eq!(seqs(&ask(&mut mailbox, &guest.get(0, 1))), vec![1]);
    assert_eq!(seqs(&ask(&mut mailbox, &guest.subscribe(0))), vec![1]);
    assert!(matches!(ask(&mut mailbox, &guest.slot_get(SLOT)), Answer::Slot { version: 1, .. }));
    assert_eq!(ask(&mut mailbox, &guest.slot_put(SLOT, 2, vec![2])), Answer::SlotStored);
    let stranger = Client { greeting: guest.greeting.clone(), ..Client::new(guest.greeting.clone(), 3) };
    assert_eq!(ask(&mut mailbox, &stranger.slot_put(SLOT, 3, vec![3])), refused(Refusal::Signature));
    let rotate = Action::SlotRotate { slot: SLOT, write_pk: stranger.write_pk() };
    assert_eq!(ask(&mut mailbox, &guest.ask(rotate, Some(&guest.write))), Answer::SlotStored);
}

/// What may happen to two queues.
#[derive(Clone, Debug)]
enum Step {
    Put { queue: usize, byte: u8 },
    Get { queue: usize, after: u64, max: u16 },
    Days(u64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2usize, any::<u8>()).prop_map(|(queue, byte)| Step::Put { queue, byte }),
        3 => (0..2usize, 0..12u64, 0..9u16).prop_map(|(queue, after, max)| Step::Get { queue, after, max }),
        1 => (1..9u64).prop_map(Step::Days),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Numbers have no gaps, GET returns exactly what was acknowledged and has not expired, the count is right.
    #[test]
    fn a_queue_returns_exactly_what_it_acknowledged(steps in proptest::collection::vec(step(), 1..60)) {
        let mut mailbox = mailbox();
        let mut now = NOW;
        let mut clients = [client(&mut mailbox, ONE, 1), client(&mut mailbox, ONE, 2)];
        let mut model: [Vec<(Timestamp, u8)>; 2] = [vec![], vec![]];
        for c in &mut clients {
            c.greeting.nonce = [1; 32];
            prop_assert_eq!(mailbox.handle(ONE, &c.create(), now).unwrap().answer, Answer::Created);
        }
        for step in steps {
            match step {
                Step::Put { queue, byte } => {
                    let answer = mailbox.handle(ONE, &clients[queue].put(blob(byte)), now).unwrap().answer;
                    if answer == refused(Refusal::NotFound) {
                        // Outlived: it begins anew.
                        let made = mailbox.handle(ONE, &clients[queue].create(), now).unwrap().answer;
                        prop_assert_eq!(made, Answer::Created);
                        model[queue].clear();
                        continue;
                    }
                    model[queue].push((now, byte));
                    prop_assert_eq!(answer, Answer::Stored { seq: model[queue].len() as u64 });
                }
                Step::Get { queue, after, max } => {
                    let ttl = quotas().daily_ttl_ms;
                    let kept: Vec<Blob> = (1u64..).zip(&model[queue])
                        .filter(|(seq, (at, _))| *seq > after && now.since(*at) <= ttl)
                        .map(|(seq, (_, byte))| Blob { seq, bytes: blob(*byte) })
                        .collect();
                    match mailbox.handle(ONE, &clients[queue].get(after, max), now).unwrap().answer {
                        Answer::Blobs { blobs, more } => {
                            let max = usize::from(max).max(1);
                            prop_assert_eq!(more, kept.len() > max);
                            prop_assert_eq!(blobs.as_slice(), &kept[..kept.len().min(max)]);
                        }
                        other => {
                            prop_assert_eq!(other, refused(Refusal::NotFound));
                            prop_assert!(kept.is_empty());
                        }
                    }
                }
                Step::Days(days) => {
                    now = now.plus_ms(days * DAY);
                    mailbox.sweep(now).unwrap();
                }
                Step::Reopen => {
                    let usage = mailbox.usage();
                    let store = mailbox.store.clone();
                    mailbox = Mailbox::new(store, [9; 32], Policy::Open, quotas()).unwrap();
                    prop_assert_eq!(mailbox.usage(), usage);
                    client(&mut mailbox, ONE, 1);
                }
            }
        }
    }
}
