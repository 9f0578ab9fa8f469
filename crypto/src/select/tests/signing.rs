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
