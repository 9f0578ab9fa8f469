//! Recover and Restart: what the group decides as a whole.

use super::*;
use crate::policy::{Ballot, InviteStatus, RevocationKind, Standing};

const BASE: NodeId = NodeId([0xce; 32]);

fn recover(named: &[u8]) -> OpBody {
    let named: BTreeSet<_> = named.iter().map(|who| id(*who)).collect();
    OpBody::Recover { base: BASE, facilitators: named.into_iter().collect() }
}

fn restart(generation: u32, suite: u16) -> OpBody {
    OpBody::Restart { generation, suite, at_node: BASE }
}

/// Facilitators 0 and 1, members 2 to 5 whom they let in by name, all there at the last commit of class 0: four decide.
fn silent() -> Group {
    let mut group = Group::new(2, 4);
    group.ask_on(BASE);
    group
}

#[test]
fn more_than_half_of_the_roster_name_new_facilitators() {
    let mut group = silent();
    let old = group.say(1, invite(1, 3));
    for who in [2, 3, 4] {
        group.say(who, recover(&[2, 3]));
        assert_eq!(group.role(2), Some(Role::Member));
    }
    let heads = group.heads();
    let standing = group.log.check(&heads, &id(5), &recover(&[2, 3]), &group.seniority);
    assert_eq!(standing, Ok(Standing::Effective));
    group.say(5, recover(&[2, 3]));
    let state = group.state();
    assert_eq!(state.facilitators(), vec![id(2), id(3)]);
    assert_eq!(state.role_of(&id(0)), Some(Role::Member), "who is not named is a facilitator no more");
    assert_eq!(state.invites[&old].status, InviteStatus::Revoked);
    let demoted = state.revocations.iter().filter(|r| r.kind == RevocationKind::Demote && r.ops.len() == 4);
    assert_eq!(demoted.count(), 2);
    group.say(2, charter("after"));
    assert_eq!(group.state().settings.charter.text(), Some("after"));
}

#[test]
fn three_of_six_are_not_more_than_half_and_nobody_counts_twice() {
    let mut group = silent();
    for who in [2, 3, 4, 4, 2] {
        group.say(who, recover(&[2]));
    }
    let state = group.state();
    assert_eq!(state.facilitators(), vec![id(0), id(1)]);
    let ballot = Ballot::of(&recover(&[2])).unwrap();
    assert_eq!(state.ballots[&ballot].len(), 3);
}

#[test]
fn who_came_by_a_link_since_has_no_say_and_is_not_named() {
    let mut group = silent();
    let open = group.say(0, invite(1, 5));
    for puppet in 0..5u8 {
        let at = group.heads();
        group.join_on(50 + puppet, &at, 1, (open, u32::from(puppet)));
    }
    for puppet in 50..55 {
        let op = group.say(puppet, recover(&[2]));
        assert_eq!(group.refusal(&op), Some(Refusal::NotElector));
    }
    let op = group.say(2, recover(&[50]));
    assert_eq!(group.refusal(&op), Some(Refusal::NotElector));
    assert_eq!(group.state().facilitators(), vec![id(0), id(1)]);
}

#[test]
fn only_the_roster_of_the_last_commit_of_class_0_decides() {
    let mut group = silent();
    group.seniority.rolls.clear();
    for who in 2..6 {
        let op = group.say(who, recover(&[2]));
        assert_eq!(group.refusal(&op), Some(Refusal::OtherRoll));
    }
    assert_eq!(group.state().facilitators(), vec![id(0), id(1)]);
}

/// Facilitator 0, members 1 to 3 whom it let in by name, and six who came by a link before its last commit.
fn crowded() -> Group {
    let mut group = Group::new(1, 3);
    let open = group.say(0, invite(1, 6));
    for (puppet, slot) in (50..56).zip(0..) {
        let at = group.heads();
        group.join_on(puppet, &at, 1, (open, slot));
    }
    group
}

#[test]
fn a_link_that_made_most_of_the_roster_names_nobody() {
    let mut group = crowded();
    group.ask_on(BASE);
    for puppet in 50..56 {
        group.say(puppet, recover(&[50]));
    }
    assert_eq!(group.state().facilitators(), vec![id(0)]);
    group.say(3, recover(&[50]));
    assert_eq!(group.state().facilitators(), vec![id(0)], "one of three whom somebody knows");
    group.say(2, recover(&[50]));
    assert_eq!(group.state().facilitators(), vec![id(50)], "with two of three it is most of both");
}

#[test]
fn a_role_that_was_given_vouches_and_one_that_was_taken_does_not() {
    let mut group = crowded();
    group.say(0, set_role(50, Role::Cofacilitator));
    group.say(0, set_role(51, Role::Reader));
    let vouched = group.state().node_policy().vouched;
    assert_eq!(vouched, [1, 2, 3, 50].map(id).into());
}

#[test]
fn where_everybody_came_by_links_nobody_recovers() {
    let mut group = Group::new(1, 0);
    let open = group.say(0, invite(1, 3));
    for (who, slot) in (2..5).zip(0..) {
        let at = group.heads();
        group.join_on(who, &at, 1, (open, slot));
    }
    group.ask_on(BASE);
    let op = group.say(2, recover(&[2]));
    assert_eq!(group.refusal(&op), Some(Refusal::NobodyVouched));
}

#[test]
fn who_changes_its_mind_counts_for_its_last_word() {
    let mut group = silent();
    group.say(2, recover(&[2]));
    group.say(2, recover(&[3]));
    for who in [3, 4, 5] {
        group.say(who, recover(&[2]));
    }
    assert_eq!(group.state().facilitators(), vec![id(0), id(1)]);
    group.say(2, recover(&[2]));
    assert_eq!(group.state().facilitators(), vec![id(2)]);
}

#[test]
fn what_the_former_facilitators_said_beside_a_recover_is_void_but_their_devices_and_their_leave_stand() {
    let mut group = silent();
    let at = group.heads();
    for who in 2..6 {
        group.say_on(who, &at, recover(&[2]));
    }
    let promotes =
        [group.say_on(0, &at, set_role(5, Role::Facilitator)), group.say_on(1, &at, set_role(5, Role::Facilitator))];
    let words = group.say_on(0, &at, charter("old"));
    group.say_on(1, &at, OpBody::Leave);
    let state = group.state();
    assert_eq!(state.facilitators(), vec![id(2)]);
    for op in [promotes[0], promotes[1], words] {
        assert_eq!(state.without_effect.get(&op), Some(&Refusal::Voided));
    }
    assert_eq!(state.role_of(&id(1)), None);
}

#[test]
fn of_two_recovers_that_do_not_know_of_each_other_the_one_that_names_the_senior_stands() {
    let mut group = silent();
    let at = group.heads();
    // Some say both: without somebody who equivocates there are no two majorities.
    for (named, who) in [(3, [2, 3, 4, 5]), (2, [0, 2, 3, 4])] {
        for who in who {
            group.say_on(who, &at, recover(&[named]));
        }
    }
    assert_eq!(group.state().facilitators(), vec![id(2)]);
    group.say(2, charter("settled"));
    assert_eq!(group.state().settings.charter.text(), Some("settled"));
}

#[test]
fn a_signature_too_many_changes_nothing_but_who_signed() {
    let mut group = silent();
    let at = group.heads();
    for who in 1..6 {
        group.say_on(who, &at, recover(&[2]));
    }
    let state = group.state();
    assert_eq!(state.facilitators(), vec![id(2)]);
    assert!(state.revocations.iter().all(|r| r.ops.len() == 5));
    assert!(state.ballots.is_empty());
}

#[test]
fn a_restart_needs_the_facilitators_quorum_and_the_next_generation() {
    let mut group = Group::new(3, 1);
    let skipped = group.say(0, restart(2, 3));
    assert_eq!(group.refusal(&skipped), Some(Refusal::Generation));
    let by_member = group.say(3, restart(1, 3));
    assert_eq!(group.refusal(&by_member), Some(Refusal::NotFacilitator));
    group.say(0, restart(1, 0x4f));
    group.say(1, restart(1, 3));
    assert_eq!(group.state().restarts, [], "different statements do not add up");
    let heads = group.heads();
    let standing = group.log.check(&heads, &id(2), &restart(2, 3), &group.seniority);
    assert_eq!(standing, Err(Refusal::Generation));
    group.say(2, restart(1, 0x4f));
    let found = group.state().restarts.pop().unwrap();
    assert_eq!((found.generation, found.suite, found.at_node, found.ops.len()), (1, 0x4f, BASE, 2));
    for who in [0, 1] {
        group.say(who, restart(2, 3));
    }
    assert_eq!(group.state().restarts.last().map(|r| (r.generation, r.suite)), Some((2, 3)));
}

#[test]
fn two_facilitators_restart_together_and_one_alone() {
    let mut group = Group::new(2, 0);
    group.say(0, restart(1, 3));
    assert_eq!(group.state().restarts, []);
    group.say(1, restart(1, 3));
    assert!(!group.state().restarts.is_empty());
    let mut group = Group::new(1, 1);
    group.say(0, restart(1, 3));
    assert!(!group.state().restarts.is_empty());
}

#[test]
fn of_two_restarts_that_do_not_know_of_each_other_the_senior_signers_stands() {
    let mut group = Group::new(4, 0);
    group.say(0, remove(3));
    group.say(1, remove(3));
    group.say(2, remove(3));
    let at = group.heads();
    // 1 says both.
    for (suite, who) in [(3, [1, 2]), (0x4f, [0, 1])] {
        for who in who {
            group.say_on(who, &at, restart(1, suite));
        }
    }
    assert_eq!(group.state().restarts.last().map(|r| r.suite), Some(0x4f));
}

#[test]
fn a_restart_signed_by_who_was_removed_without_knowing_of_it_is_void_and_so_is_what_rests_on_it() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(0, &at, remove(1));
    let first = group.say_on(0, &at, restart(1, 3));
    let void = group.say_on(1, &at, restart(1, 3));
    let next = group.say_on(1, &[first, void], restart(2, 3));
    let state = group.state();
    assert_eq!(state.restarts, []);
    assert_eq!(state.without_effect.get(&void), Some(&Refusal::Voided));
    assert_eq!(state.without_effect.get(&next), Some(&Refusal::Voided));
}
