use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[test]
fn a_signer_extends_what_it_signed() {
    let draw = Drawing::new(3, 0).by(1, 0, 0).by(2, 0, 1).by(3, 1, 0).signed(1, &[0]);
    let may = |who, id| may_sign(&draw.input, &person(who), &node(id));
    assert!(may(0, 3) && may(0, 1) && may(1, 2));
    assert!(!may(0, 2), "a greater branch");
    assert!(!may(0, 99), "an unknown node");
}

#[test]
fn it_leaves_for_a_lesser_branch_once_its_own_can_win_no_more() {
    let draw = Drawing::new(3, 0).by(1, 0, 0).by(2, 0, 1).signed(2, &[1]);
    assert!(!may_sign(&draw.input, &person(1), &node(1)));
    let one = draw.signed(1, &[0]);
    assert!(!may_sign(&one.input, &person(1), &node(1)), "persons 1 and 2 could still certify node 2");
    let two = one.signed(1, &[2]);
    assert!(may_sign(&two.input, &person(1), &node(1)));
}

#[test]
fn what_is_certified_may_be_followed_but_never_left() {
    let draw = Drawing::new(3, 0).by(1, 0, 0).by(2, 0, 1).signed(1, &[0]).signed(2, &[1, 2]);
    assert!(may_sign(&draw.input, &person(0), &node(2)));
    assert!(!may_sign(&draw.input, &person(1), &node(1)));
}

/// Who decides about node 2 and 3 is known only once node 1 is final: person 4, a facilitator from node 1 on, would leave
/// node 3 by the four facilitators of the base, and make two certificates by the five of node 1.
#[test]
fn no_branch_is_left_at_a_fork_that_is_not_final() {
    let draw = Drawing::new(4, 0).by(1, 0, 0).by(2, 1, 0).by(3, 1, 1).change(1, |i| i.policy = policy(5, 0));
    let draw = draw.signed(3, &[4]).signed(2, &[0, 1]);
    assert!(select(&draw.input).certified.is_empty(), "two of four are no quorum");
    assert!(!may_sign(&draw.input, &person(4), &node(2)));
    assert_eq!(to_sign(&draw.input, &person(4), |_| true), None);
    // Two more below node 1 make it final; of five, three decide, and node 3 has them.
    assert_eq!(select(&draw.signed(3, &[2, 3]).input).last_certified, node(3));
}

/// The tip has the most signatures, and everybody who could add one may not.
#[test]
fn a_branch_that_is_lost_is_left_although_it_is_the_tip() {
    let draw = Drawing::new(4, 0).by(1, 0, 0).by(2, 0, 1).by(3, 0, 2);
    let mut draw = draw.signed(3, &[0, 1]).signed(2, &[2]).signed(1, &[3]);
    assert_eq!(draw.tip(), 3);
    assert!(!may_sign(&draw.input, &person(2), &node(3)) && !may_sign(&draw.input, &person(3), &node(3)));
    assert_eq!(to_sign(&draw.input, &person(2), |_| true), None);
    for who in [0, 1] {
        let next = to_sign(&draw.input, &person(who), |_| true).unwrap();
        draw.input.signatures.insert((next, person(who)));
    }
    let selection = select(&draw.input);
    assert_eq!((selection.certified.len(), selection.tip), (1, selection.last_certified));
}

#[test]
fn one_signs_the_deepest_node_that_it_holds() {
    let draw = Drawing::new(3, 0).by(1, 0, 0).by(2, 1, 0).by(3, 2, 0).by(4, 0, 1);
    assert_eq!(to_sign(&draw.input, &person(0), |_| true), Some(node(3)));
    assert_eq!(to_sign(&draw.input, &person(0), |id| *id != node(3)), Some(node(2)));
    assert_eq!(to_sign(&draw.input, &person(0), |id| *id != node(1)), None);
    let signed = draw.signed(2, &[0]);
    assert_eq!(to_sign(&signed.input, &person(0), |id| *id != node(3)), None);
    // Who signed elsewhere stays there while it can still win.
    assert_eq!(to_sign(&signed.signed(4, &[2]).input, &person(2), |_| true), None);
}

#[test]
fn who_left_signs_no_more_and_strands_nobody() {
    let draw = Drawing::new(2, 0).by(1, 0, 0).by(2, 0, 1).by(3, 1, 0).signed(1, &[0]).revoked(50, 1, Revoked::Left, 2);
    assert!(!may_sign(&draw.input, &person(1), &node(1)));
    assert_eq!(to_sign(&draw.input, &person(1), |_| true), None);
    // Person 1 left on node 2, which person 0's signature of node 1 makes lost: person 0 decides alone.
    assert_eq!(select(&draw.input).last_certified, node(1));
    assert_eq!(to_sign(&draw.input, &person(0), |_| true), Some(node(3)));
}

/// Persons 1 and 2 stand on different children of node 1, which person 0 will never sign: it left on node 2.
#[test]
fn who_left_on_what_is_ruled_out_is_not_waited_for() {
    let draw = Drawing::new(3, 0).by(1, 0, 1).by(2, 0, 0).by(3, 1, 1).by(4, 1, 2).signed(3, &[1]).signed(4, &[2]);
    assert_eq!(to_sign(&draw.input, &person(2), |_| true), None, "person 0 may make node 4 final");
    let draw = draw.revoked(50, 0, Revoked::Left, 2);
    assert_eq!(to_sign(&draw.input, &person(2), |_| true), Some(node(3)));
    assert_eq!(select(&draw.signed(3, &[2]).input).last_certified, node(3));
}

/// Of two facilitators and four others, person 1 and two stand on node 2; person 0 and one on node 1, which takes the last one out.
#[test]
fn who_is_taken_out_abstains_and_the_others_are_enough() {
    let out = |p: &Arc<NodePolicy>| {
        let members = p.members.iter().copied().filter(|m| *m != person(103)).collect();
        Arc::new(NodePolicy { members, ..p.as_ref().clone() })
    };
    let draw = Drawing::new(2, 4).by(1, 0, 0).by(2, 0, 1).change(1, |i| i.policy = out(&i.policy));
    let draw = draw.signed(2, &[1, 100, 101]).signed(1, &[0, 102]);
    let may = |draw: &Drawing, id| may_sign(&draw.input, &person(103), &node(id));
    let holds = |id: &NodeId| *id != node(1);
    let people = [0, 1, 100, 101, 102, 103];
    let waits = |draw: &Drawing| people.iter().all(|who| to_sign(&draw.input, &person(*who), holds).is_none());
    assert!(select(&draw.input).certified.is_empty() && waits(&draw), "each of them waits for person 103");
    assert!(may(&draw, 2) && may_abstain(&draw.input, &person(103), &node(0)));
    assert!(!may_abstain(&draw.clone().signed(2, &[103]).input, &person(103), &node(0)), "it signed one");

    let draw = draw.nacked(1, &[103]);
    assert_eq!(select(&draw.input).last_certified, node(2));
    assert!(select(&draw.input).void.is_empty(), "it has no say about what takes it out");
    assert!(may(&draw, 2), "node 2 is final: it may follow");
    let fewer = Drawing { input: SelectionInput { signatures: [(node(1), person(0))].into(), ..draw.input }, ..draw };
    assert!(!may(&fewer, 2) && !may(&fewer, 1), "it gave its word");
    assert_eq!(to_sign(&fewer.input, &person(103), |_| true), None);
}

/// Persons 1 and 2 follow the rule; person 0 made both certificates by signing nodes 2 and 3, and is shown with them.
#[test]
fn an_equivocator_outside_both_certificates_is_shown_too() {
    let draw = Drawing::new(3, 0).by(1, 0, 0).by(2, 0, 1).by(3, 0, 2);
    let draw = draw.signed(2, &[0]).signed(3, &[0, 1, 2]).signed(1, &[1, 2]);
    let conflicts = select(&draw.input).conflicts;
    assert_eq!(conflicts[0].certified, [node(1), node(3)].into());
    assert_eq!(conflicts[0].signers, [person(0), person(1), person(2)].into());
}

fn certified_children(drawing: &Drawing) -> usize {
    let selection = select(&drawing.input);
    selection.conflicts.first().map_or(usize::from(!selection.certified.is_empty()), |c| c.certified.len())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000, failure_persistence: None, rng_seed: RngSeed::Fixed(13), ..ProptestConfig::default()
    })]

    /// Honest signers, each with its own signatures and a random part of the others', never certify two branches.
    #[test]
    fn honest_signers_never_certify_rivals(
        facilitators in 1..6u8,
        members in 0..4u8,
        rivals in 2..5u8,
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u64>()), 0..60),
    ) {
        let mut drawing = Drawing::new(facilitators, members);
        for child in 1..=rivals {
            drawing = drawing.by(child, 0, child % facilitators);
        }
        let people: Vec<_> = drawing.policy.members.iter().copied().collect();
        for (who, target, seen) in steps {
            let signer = people[usize::from(who) % people.len()];
            let target = node(1 + target % rivals);
            let mut view = drawing.input.clone();
            let mut n = 0;
            view.signatures.retain(|(_, by)| {
                n += 1;
                *by == signer || seen >> (n % 64) & 1 == 1
            });
            if may_sign(&view, &signer, &target) {
                drawing.input.signatures.insert((target, signer));
            }
            prop_assert!(certified_children(&drawing) <= 1);
        }
    }
}
