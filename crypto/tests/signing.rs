//! The signing rule, model-checked: the very functions that the engine calls, under every order of signing and every
//! partial view.
//!
//! A state is what was signed by whom, and who left. A signer acts on any part of what the others signed that it may
//! have received: loss, delay and partition are views that lack something, and views need not even grow. That allows
//! more than a network can do, so what holds here holds there. Signers of the same role are interchangeable, and states
//! are kept in a canonical order of them; a signature stands for the node's ancestors, so states are closed upwards.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

#[path = "signing/model.rs"]
mod model;

use model::{Bounds, Rule, World, explore, look};

/// Three branches from one fork, nobody lies: for 2–5 facilitators.
#[test]
fn honest_facilitators_and_three_rival_commits() {
    for facilitators in 2..=5 {
        explore(&World::fork(facilitators, 0, 3), Bounds::default());
    }
}

/// Of two facilitators, one with more than half of the other members also suffices.
#[test]
fn two_facilitators_and_members() {
    for members in 1..=3 {
        explore(&World::fork(2, members, 3), Bounds::default());
    }
}

/// Forks below forks: nobody's finality is undone further up.
#[test]
fn forks_below_a_fork() {
    for facilitators in 2..=4 {
        explore(&World::tree(facilitators, 0, &[0, 0, 1, 1, 2]), Bounds::default());
    }
    explore(&World::tree(2, 2, &[0, 0, 1, 1]), Bounds::default());
}

/// One signs whatever it likes.
#[test]
fn one_equivocator() {
    for facilitators in 2..=5 {
        explore(&World::fork(facilitators, 0, 3).with_equivocator(0), Bounds::default());
    }
    explore(&World::fork(2, 2, 3).with_equivocator(0), Bounds::default());
    explore(&World::fork(2, 3, 2).with_equivocator(4), Bounds::default());
    explore(&World::tree(3, 0, &[0, 0, 1, 1, 2]).with_equivocator(0), Bounds::default());
}

/// Who decides changes above the fork, in a node that is not final yet.
#[test]
fn promotion_and_demotion_above_the_fork() {
    // (facilitators before, facilitators after)
    for (before, after) in [(4, 5), (2, 3), (2, 4), (3, 5), (5, 3), (4, 2), (3, 2), (1, 2)] {
        explore(&World::tree(before, after, &[0, 1, 1]).deciding_after(1, after), Bounds::default());
    }
    explore(&World::tree(4, 5, &[0, 1, 1]).deciding_after(1, 5).with_equivocator(0), Bounds::default());
}

/// Facilitators leave, and not everybody knows it yet.
#[test]
fn facilitators_leave() {
    for facilitators in 2..=4 {
        explore(&World::fork(facilitators, 0, 2).with_leaves(2), Bounds::default());
    }
    explore(&World::fork(5, 0, 2).with_leaves(1), Bounds::default());
    explore(&World::fork(5, 0, 3).with_leaves(2), Bounds::default());
    explore(&World::fork(2, 2, 2).with_leaves(1), Bounds::default());
    explore(&World::tree(3, 0, &[0, 1, 1]).with_leaves(1), Bounds::default());
    explore(&World::tree(3, 0, &[0, 0, 1, 1]).with_leaves(1), Bounds::default());
    explore(&World::fork(4, 0, 2).with_leaves(1).with_equivocator(0), Bounds::default());
}

/// A branch takes somebody out who is needed to decide. It cannot open that branch, abstains, and says no more; or it
/// comes back on the other one.
#[test]
fn one_is_taken_out_on_one_branch() {
    explore(&World::fork(2, 0, 2).taking_out(2, 0), Bounds::default());
    for facilitators in 3..=5 {
        for branch in 1..=2 {
            explore(&World::fork(facilitators, 0, 2).taking_out(branch, 0), Bounds::default());
        }
        explore(&World::fork(facilitators, 0, 3).taking_out(1, 0).taking_out(3, 0), Bounds::default());
    }
    // A member, of those whose word counts when there are two facilitators.
    for (members, branch) in [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2)] {
        explore(&World::fork(2, members, 2).taking_out(branch, 2), Bounds::default());
    }
    explore(&World::fork(4, 0, 2).taking_out(1, 0).taking_out(2, 1), Bounds::default());
    explore(&World::tree(3, 0, &[0, 0, 1, 2]).taking_out(1, 0).taking_out(4, 0), Bounds::default());
    explore(&World::tree(3, 0, &[0, 1, 1]).taking_out(2, 0), Bounds::default());
    explore(&World::fork(4, 0, 2).taking_out(1, 0).with_leaves(1), Bounds::default());
    for equivocator in [0, 1] {
        explore(&World::fork(4, 0, 2).taking_out(1, 0).with_equivocator(equivocator), Bounds::default());
    }
    explore(&World::fork(2, 3, 2).taking_out(1, 2).with_equivocator(2), Bounds::default());
}

/// What the rule cannot do: with one signer silent for good, two honest ones on different branches may wait for ever.
/// (Any rule that never certifies rivals has such states: nobody can tell silence from a signature that is on its way.)
#[test]
fn the_silent_can_be_waited_for() {
    let silent = World::fork(3, 0, 2).with_silent(0);
    // Of two who are alone, one signed what the other has left, and cannot open where that one is.
    let two = World::fork(2, 0, 2).taking_out(1, 0);
    for world in [silent, two] {
        let found = explore(&world, Bounds { may_wait: true, ..Bounds::default() });
        assert!(found.waits, "a limit that is gone should be gone from SPEC.md too");
    }
}

/// What the rule cannot do either: once somebody equivocates, an honest signer who rightly left one branch for the other
/// stands on both sides too.
#[test]
fn both_sides_do_not_convict() {
    let found = explore(&World::fork(3, 0, 2).with_equivocator(0), Bounds::default());
    assert!(found.innocent_on_both_sides);
}

/// The checker sees what is wrong with other rules: leaving for any lesser branch, and signing anything.
#[test]
fn weaker_rules_are_found_out() {
    const SAFETY: &str = "rival certificates show an equivocator, and what is final stays final";
    let lesser: Rule = |input, who, node| input.signatures.iter().all(|(signed, by)| by != who || node <= signed);
    let anything: Rule = |_, _, _| true;
    for rule in [lesser, anything] {
        let found = look(&World::fork(3, 0, 2), Bounds { rule: Some(rule), ..Bounds::default() });
        assert!(found.broken.contains_key(SAFETY), "{:?}", found.broken);
    }
    let never: Rule = |_, _, _| false;
    assert!(!look(&World::fork(3, 0, 2), Bounds { rule: Some(never), ..Bounds::default() }).broken.is_empty());
}

/// Larger trees and groups; `make model`.
#[test]
#[ignore = "takes minutes: make model"]
fn deep() {
    let deep = Bounds::default();
    explore(&World::fork(5, 0, 4), deep);
    explore(&World::fork(4, 0, 4).with_equivocator(0), deep);
    explore(&World::fork(4, 0, 3).with_leaves(3), deep);
    explore(&World::fork(2, 3, 3).with_leaves(2), deep);
    explore(&World::fork(2, 4, 3).with_equivocator(0), deep);
    explore(&World::tree(5, 0, &[0, 0, 1, 1, 2]), deep);
    explore(&World::tree(4, 0, &[0, 0, 1, 1, 2]).with_leaves(2), deep);
    explore(&World::tree(4, 0, &[0, 0, 1, 1, 2, 2]).with_equivocator(0), deep);
    explore(&World::tree(5, 0, &[0, 0, 1, 1, 2]).with_equivocator(0), deep);
    explore(&World::fork(5, 0, 3).taking_out(1, 0).taking_out(3, 1), deep);
    explore(&World::fork(5, 0, 3).taking_out(2, 0).with_leaves(2), deep);
    explore(&World::fork(2, 4, 3).taking_out(1, 2).taking_out(2, 3), deep);
    explore(&World::tree(4, 0, &[0, 0, 1, 1, 2]).taking_out(1, 0).taking_out(5, 0).with_leaves(1), deep);
    for (before, after) in [(4, 5), (5, 4), (3, 5), (5, 2)] {
        explore(&World::tree(before, after, &[0, 1, 1, 1]).deciding_after(1, after).with_leaves(1), deep);
        explore(&World::tree(before, after, &[0, 0, 1, 1, 2]).deciding_after(1, after), deep);
    }
}
