use super::*;
use crate::policy::InviteStatus;

#[test]
fn concurrently_a_removal_beats_an_addition_and_a_join() {
    let mut group = Group::new(2, 1);
    group.say(2, OpBody::Leave);
    let open = group.say(0, invite(1, 1));
    let at = group.heads();
    group.say_on(0, &at, add(2, Role::Member));
    group.say_on(1, &at, remove(2));
    assert_eq!(group.role(2), None);
    assert_eq!(group.state().invites[&open].status, InviteStatus::Revoked);
    group.say(0, add(2, Role::Member));
    assert_eq!(group.role(2), Some(Role::Member), "an addition that knows of the removal stands");
}

#[test]
fn of_concurrent_roles_the_lower_of_successive_ones_the_later() {
    let mut group = Group::new(2, 1);
    let at = group.heads();
    group.say_on(0, &at, set_role(2, Role::Cofacilitator));
    group.say_on(1, &at, set_role(2, Role::Newcomer));
    assert_eq!(group.role(2), Some(Role::Newcomer));
    group.say(1, set_role(2, Role::Cofacilitator));
    assert_eq!(group.role(2), Some(Role::Cofacilitator));
}

#[test]
fn of_concurrent_settings_the_seniors_per_field_of_successive_ones_the_later() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(1, &at, policy(Some("junior"), Some(true)));
    group.say_on(0, &at, charter("senior"));
    let settings = group.state().settings;
    assert_eq!((settings.charter.text(), settings.shield), (Some("senior"), true));
    group.say(1, charter("later"));
    assert_eq!(group.state().settings.charter.text(), Some("later"));
}

#[test]
fn one_authors_concurrent_settings_are_settled_by_id() {
    let mut group = Group::new(1, 0);
    let at = group.heads();
    let ops = [group.say_on(0, &at, charter("a")), group.say_on(0, &at, charter("b"))];
    let expected = if ops[0] < ops[1] { "a" } else { "b" };
    assert_eq!(group.state().settings.charter.text(), Some(expected));
}

#[test]
fn a_removal_voids_every_open_invite_in_its_past() {
    let mut group = Group::new(2, 1);
    let known = group.say(1, invite(1, 2));
    let at = group.heads();
    let unknown = group.say_on(1, &at, invite(2, 2));
    group.say_on(0, &at, remove(2));
    let state = group.state();
    assert_eq!(state.invites[&known].status, InviteStatus::Revoked);
    assert_eq!(state.invites[&unknown].status, InviteStatus::Open);
    let after = group.say(0, invite(3, 1));
    assert_eq!(group.state().invites[&after].status, InviteStatus::Open);
}

#[test]
fn leaving_voids_no_invite() {
    let mut group = Group::new(2, 0);
    let open = group.say(1, invite(1, 2));
    group.say(1, OpBody::Leave);
    assert_eq!(group.state().invites[&open].status, InviteStatus::Open);
}

#[test]
fn demoting_a_facilitator_voids_all_its_invites_and_nobody_elses() {
    let mut group = Group::new(2, 0);
    let (own, other) = (group.say(1, invite(1, 2)), group.say(0, invite(2, 2)));
    let at = group.heads();
    let concurrent = group.say_on(1, &at, invite(3, 2));
    group.say_on(0, &at, set_role(1, Role::Member));
    let state = group.state();
    assert_eq!(state.invites[&own].status, InviteStatus::Revoked);
    assert_eq!(state.invites[&other].status, InviteStatus::Open);
    assert!(!state.invites.contains_key(&concurrent));
    assert_eq!(state.without_effect[&concurrent], Refusal::Voided);
}

#[test]
fn an_op_dated_before_its_authors_demotion_is_void_and_so_is_what_rests_on_it() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(0, &at, set_role(1, Role::Member));
    // Written after the demotion, pretending not to know of it.
    let open = group.say_on(1, &at, invite(1, 5));
    let join = group.join_on(9, &[open], 1, (open, 0));
    let friend = group.say_on(1, &[join], add(10, Role::Member));
    let rejoin = group.say_on(10, &[friend], OpBody::RejoinRequest { key_package: vec![1].into() });
    let state = group.state();
    for op in [open, join, friend, rejoin] {
        assert_eq!(state.without_effect.get(&op), Some(&Refusal::Voided));
    }
    assert_eq!(state.members.len(), 2);
}

#[test]
fn what_one_signer_of_every_quorum_knew_lies_in_the_removals_past() {
    let mut group = Group::new(3, 1);
    let at = group.heads();
    let words = group.say_on(2, &at, charter("words"));
    group.say_on(0, &[words], remove(2));
    group.say_on(1, &at, remove(2));
    assert_eq!((group.role(2), group.refusal(&words)), (None, None));
    assert_eq!(group.state().settings.charter.text(), Some("words"));
}

#[test]
fn what_no_remover_knew_is_void_but_those_who_merely_cite_it_stand() {
    let mut group = Group::new(4, 1);
    let at = group.heads();
    let void = group.say_on(3, &at, charter("void"));
    let cites = group.say_on(0, &[void], set_role(4, Role::Reader));
    for signer in [0, 1, 2] {
        group.say_on(signer, &at, remove(3));
    }
    let state = group.state();
    assert_eq!(state.without_effect.get(&void), Some(&Refusal::Voided));
    assert_eq!(state.without_effect.get(&cites), None);
    assert_eq!((state.settings.charter.text(), state.role_of(&id(4))), (Some("Be kind"), Some(Role::Reader)));
}

#[test]
fn a_removed_authors_removals_in_the_removals_past_stand() {
    let mut group = Group::new(2, 1);
    group.say(1, remove(2));
    group.say(0, remove(1));
    assert_eq!((group.role(1), group.role(2)), (None, None));
}

#[test]
fn the_removed_cannot_strike_back_from_beside_its_removal() {
    let mut group = Group::new(2, 1);
    let at = group.heads();
    group.say_on(0, &at, remove(1));
    let back = group.say_on(1, &at, remove(2));
    assert_eq!((group.role(1), group.role(2)), (None, Some(Role::Member)));
    assert_eq!(group.refusal(&back), Some(Refusal::Voided));
}

/// Facilitators 0–2, of whom 2 signs against both others at once.
fn mutual(seniority_of_one: u64) -> Group {
    let mut group = Group::new(3, 0);
    group.seniority.elders.insert(id(1), (seniority_of_one, 0));
    group.seniority.elders.insert(id(0), (5, 0));
    group.seniority.elders.insert(id(2), (9, 0));
    let at = group.heads();
    let first = group.say_on(2, &at, remove(1));
    let second = group.say_on(2, &at, remove(0));
    group.say_on(0, &[first], remove(1));
    group.say_on(1, &[second], remove(0));
    group
}

#[test]
fn of_removals_of_each_other_the_most_senior_signers_stands() {
    let senior_zero = mutual(6);
    assert_eq!((senior_zero.role(0), senior_zero.role(1)), (Some(Role::Facilitator), None));
    let senior_one = mutual(4);
    assert_eq!((senior_one.role(0), senior_one.role(1)), (None, Some(Role::Facilitator)));
}

#[test]
fn a_removal_that_is_itself_removed_is_not_saved_by_seniority() {
    // 0 is senior and removes 4; 1, 2 and 3 remove 0 without knowing.
    let mut group = Group::new(4, 1);
    let at = group.heads();
    let void = group.say_on(0, &at, remove(4));
    for signer in [1, 2, 3] {
        group.say_on(signer, &at, remove(0));
    }
    assert_eq!((group.role(0), group.role(4)), (None, Some(Role::Member)));
    assert_eq!(group.refusal(&void), Some(Refusal::Voided));
}

#[test]
fn one_signer_who_claims_to_have_known_nothing_voids_nothing_that_the_others_knew() {
    let mut group = Group::new(4, 0);
    let at = group.heads();
    let known = group.say(3, add(20, Role::Member));
    for signer in [1, 2, 3] {
        let seen = if signer == 3 { at.clone() } else { vec![known] };
        // 3 adds a person, and is then among those who remove 0 on an old view; its own op is not the subject's.
        group.say_on(signer, &seen, remove(0));
    }
    assert_eq!((group.role(0), group.role(20)), (None, Some(Role::Member)));
}

#[test]
fn a_demotion_leaves_the_right_to_leave() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(0, &at, set_role(1, Role::Member));
    group.say_on(1, &at, OpBody::Leave);
    assert_eq!(group.role(1), None);
}

#[test]
fn who_left_can_be_removed_so_that_what_it_says_out_of_sight_is_void() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(1, &at, OpBody::Leave);
    let hidden = group.say_on(1, &at, invite(1, 5));
    assert_eq!(group.state().invites[&hidden].status, InviteStatus::Open);
    let left = group.log.heads().into_iter().find(|h| *h != hidden).unwrap();
    group.say_on(0, &[left], remove(1));
    assert_eq!(group.refusal(&hidden), Some(Refusal::Voided));
}

#[test]
fn an_earlier_membership_passes_no_role_on() {
    let mut group = Group::new(2, 0);
    group.say(0, remove(1));
    group.say(0, add(1, Role::Reader));
    assert_eq!(group.role(1), Some(Role::Reader));
    assert_eq!(group.state().facilitators(), vec![id(0)]);
}

#[test]
fn two_additions_that_do_not_know_of_each_other_are_one_member() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(0, &at, add(20, Role::Member));
    group.say_on(1, &at, add(20, Role::Reader));
    let state = group.state();
    assert_eq!(state.members[&id(20)].adds.len(), 2);
    assert_eq!(state.role_of(&id(20)), Some(Role::Reader));
}
