use super::*;

fn id(n: u8) -> EnvelopeId {
    EnvelopeId([n; 32])
}

fn kept(n: u8, minute: u64, parents: &[u8], says: Says) -> Kept {
    Kept {
        persona: PersonaId([1; 32]),
        device: DeviceId([n % 3; 32]),
        node: NodeId([0; 32]),
        seq: u64::from(n),
        parents: parents.iter().map(|p| id(*p)).collect(),
        sent_at: Minute(minute),
        message: MessageId([n; 32]),
        says,
        signed: None,
        expires_s: None,
        previous: None,
        depth: None,
    }
}

fn order(t: &Timeline) -> Vec<u8> {
    t.rows_between(None, None).map(|m| m.0[0]).collect()
}

#[test]
fn every_arrival_order_gives_one_display_order() {
    // 2 answers 1 with a clock that is an hour slow; 3 is concurrent; 4 answers both.
    let all = [
        kept(1, 100, &[], Says::Post),
        kept(2, 40, &[1], Says::Post),
        kept(3, 100, &[], Says::Post),
        kept(4, 101, &[2, 3], Says::Post),
        kept(5, 90, &[4], Says::Post),
    ];
    let mut orders = BTreeSet::new();
    for rotation in 0..5 {
        for reversed in [false, true] {
            let mut arrival: Vec<_> = all.to_vec();
            arrival.rotate_left(rotation);
            if reversed {
                arrival.reverse();
            }
            let mut t = Timeline::default();
            for k in arrival {
                assert_ne!(t.insert(EnvelopeId(k.message.0), k.clone()), Inserted::Duplicate);
                assert_eq!(t.insert(EnvelopeId(k.message.0), k), Inserted::Duplicate);
            }
            assert_eq!(t.parents_now(), vec![id(5)]);
            orders.insert(order(&t));
        }
    }
    assert_eq!(orders.into_iter().collect::<Vec<_>>(), vec![vec![1, 3, 2, 4, 5]]);
}

#[test]
fn a_device_stays_in_order_where_what_lies_between_is_missing() {
    // 4 answers 2, which answers 1; 2 never came, and the clock of 4 is an hour slow.
    let first = kept(1, 100, &[], Says::Post);
    let later = Kept { previous: Some(id(1)), ..kept(4, 40, &[2], Says::Post) };
    for all in [[first.clone(), later.clone()], [later, first]] {
        let mut t = Timeline::default();
        for k in all {
            t.insert(EnvelopeId(k.message.0), k);
        }
        assert_eq!(order(&t), [1, 4]);
        assert_eq!(t.parents_now(), vec![id(4)]);
    }
}

#[test]
fn gaps_are_counted_between_first_and_last() {
    let mut t = Timeline::default();
    for (n, seq) in [(1, 4), (2, 5), (3, 8)] {
        let mut k = kept(n, 1, &[], Says::Post);
        (k.device, k.seq) = (DeviceId([9; 32]), seq);
        t.insert(id(n), k);
    }
    assert_eq!(t.gaps(|_| false).collect::<Vec<_>>(), vec![(PersonaId([1; 32]), 2)]);
    assert_eq!(t.chain_end(&DeviceId([9; 32])), (9, id(3)));
    assert_eq!(t.chain_end(&DeviceId([8; 32])), (1, EnvelopeId([0; 32])));
}

#[test]
fn a_chain_that_ought_to_be_whole_is_counted_from_its_beginning() {
    let mut t = Timeline::default();
    for (n, seq, device) in [(1, 4, 8), (2, 6, 8), (3, 1, 9), (4, 2, 9), (5, u64::MAX, 7)] {
        let mut k = kept(n, 1, &[], Says::Post);
        (k.device, k.persona, k.seq) = (DeviceId([device; 32]), PersonaId([device; 32]), seq);
        t.insert(id(n), k);
    }
    let gaps = |whole: fn(&Kept) -> bool| t.gaps(whole).collect::<Vec<_>>();
    assert_eq!(gaps(|_| false), [(PersonaId([8; 32]), 1)]);
    assert_eq!(gaps(|first| first.seq == 4), [(PersonaId([8; 32]), 4)], "it is asked about the first one only");
    assert_eq!(gaps(|_| true), [(PersonaId([7; 32]), u64::MAX - 1), (PersonaId([8; 32]), 4)]);
}

#[test]
fn a_reaction_counts_until_its_author_takes_it_back() {
    let mut t = Timeline::default();
    t.insert(id(1), kept(1, 1, &[], Says::Post));
    let target = MessageId([1; 32]);
    // Taken back before it arrives: still taken back.
    t.insert(id(3), kept(3, 2, &[2], Says::Unreact(target, MessageId([2; 32]))));
    t.insert(id(2), kept(2, 2, &[1], Says::React(target, "me_too".into())));
    assert_eq!(t.row(&target).unwrap().reactions, Reactions::default());
    t.insert(id(4), kept(4, 3, &[3], Says::React(target, "me_too".into())));
    assert_eq!(t.row(&target).unwrap().reactions.me_too, vec![PersonaId([1; 32])]);
    assert_eq!(t.active_reaction(&target, &PersonaId([1; 32]), "me_too"), Some(MessageId([4; 32])));
    assert_eq!(t.active_reaction(&target, &PersonaId([2; 32]), "me_too"), None);
}

#[test]
fn only_the_author_takes_a_row_back() {
    let mut t = Timeline::default();
    t.insert(id(1), kept(1, 1, &[], Says::Post));
    let mut other = kept(2, 2, &[1], Says::Retract(MessageId([1; 32])));
    other.persona = PersonaId([7; 32]);
    assert_eq!(t.insert(id(2), other), Inserted::Changed(MessageId([1; 32])));
    // `signed: None` alone shows a row as taken back, so look at the fold of a row with a body elsewhere.
    assert_eq!(order(&t), vec![1]);
    assert_eq!(t.rows_between(t.last_place(), None).count(), 0);
}
