//! The specification's sentences about rights and conflicts, one test each; the sentence stands above it. What other
//! modules show at length is only named here where a table says it better.

use super::*;
use crate::policy::{COMMITTERS_MAX, InviteStatus};

/// "Promoting, demoting or removing a facilitator needs ⌊f/2⌋+1 signatures, never the target's."
#[test]
fn each_number_of_facilitators_has_its_quorum() {
    for f in 3..=6u8 {
        for body in [remove, |who| set_role(who, Role::Member)] {
            let mut group = Group::new(f, 0);
            let needed = usize::from(f) / 2 + 1;
            let own = group.say(0, body(0));
            assert_eq!(group.refusal(&own), Some(Refusal::AboutOneself), "the target does not sign");
            for signer in 1..=needed as u8 {
                assert_eq!(group.role(0), Some(Role::Facilitator), "{f}: before signature {signer}");
                if signer < f {
                    group.say(signer, body(0));
                }
            }
            assert_eq!(group.role(0) != Some(Role::Facilitator), needed < usize::from(f), "{f}");
        }
    }
    for f in 1..=6u8 {
        let mut group = Group::new(f, 1);
        for signer in 0..f / 2 + 1 {
            assert_eq!(group.role(f), Some(Role::Member));
            group.say(signer, set_role(f, Role::Facilitator));
        }
        assert_eq!(group.role(f), Some(Role::Facilitator));
    }
}

/// "With two facilitators only the senior may remove or demote the other." Seniority is that of the place it is read at.
#[test]
fn who_is_the_senior_of_two_depends_on_where_it_is_read() {
    let mut group = Group::new(2, 0);
    let by_one = group.say(1, remove(0));
    assert_eq!(group.refusal(&by_one), Some(Refusal::OnlySenior));
    group.seniority.elders.insert(id(1), (0, 0));
    group.seniority.elders.insert(id(0), (1, 0));
    assert_eq!((group.refusal(&by_one), group.role(0)), (None, None));
}

/// "Successors: only the names offered first for promotion or Recover."
#[test]
fn successors_are_names_and_no_right() {
    let mut group = Group::new(1, 1);
    let body = OpBody::SetPolicy {
        charter: None,
        history_days: None,
        slow_mode_s: None,
        shield: None,
        relays: None,
        successors: Some(vec![id(1)]),
    };
    group.say(0, body);
    assert_eq!(group.state().settings.successors, vec![id(1)]);
    assert_eq!(group.role(1), Some(Role::Member));
    let words = group.say(1, charter("mine"));
    assert_eq!(group.refusal(&words), Some(Refusal::NotFacilitator));
    group.say(0, OpBody::Leave);
    assert_eq!(group.role(1), Some(Role::Member), "nor when nobody else is left");
}

/// "Committers are the first 8 facilitators by seniority: no setting."
#[test]
fn committers_follow_seniority_alone() {
    let mut group = Group::new(10, 0);
    group.seniority.elders.insert(id(9), (0, 0));
    group.seniority.elders.insert(id(0), (50, 0));
    let committers = group.state().committers();
    assert_eq!(committers.len(), COMMITTERS_MAX);
    assert_eq!((committers[0], committers.contains(&id(0))), (id(9), false));
}

/// "Invites confer at most member", even where a facilitator signs more.
#[test]
fn no_invite_makes_a_facilitator() {
    let mut group = Group::new(1, 0);
    let at = group.heads();
    for role in [Role::Facilitator, Role::Cofacilitator] {
        let OpBody::Invite { join_pk, door_pk, uses, expires, mode, .. } = invite(1, 1) else { return };
        let body = OpBody::Invite { join_pk, door_pk, uses, role, expires, mode };
        let op = group.log.make(&keys(0), At { heads: &at, node: NodeId([7; 32]) }, body).unwrap();
        assert!(group.log.insert(op).is_err());
    }
}

/// "Removing or demoting a facilitator voids all its invites": those in its past, and those beside it.
#[test]
fn a_facilitators_invites_go_with_its_role() {
    for by in [remove(1), set_role(1, Role::Cofacilitator)] {
        let mut group = Group::new(2, 0);
        let known = group.say(1, invite(1, 2));
        let at = group.heads();
        let beside = group.say_on(1, &at, invite(2, 2));
        group.say_on(0, &at, by);
        let state = group.state();
        assert_eq!(state.invites[&known].status, InviteStatus::Revoked);
        assert!(!state.open_invites(Second(0)).any(|(id, _)| *id == beside));
    }
}

/// "Naming it in `prev` is not dependence": what rests on a void op falls, what merely cites it stands.
#[test]
fn what_rests_on_a_void_op_falls_however_long_the_chain() {
    let mut group = Group::new(3, 0);
    let at = group.heads();
    let added = group.say_on(2, &at, add(20, Role::Member));
    let device = group.say_on(20, &[added], super::devices::device_add(120));
    let cites = group.say_on(0, &[device], charter("cites"));
    for signer in [0, 1] {
        group.say_on(signer, &at, remove(2));
    }
    let state = group.state();
    assert_eq!(state.without_effect.get(&added), Some(&Refusal::Voided));
    assert_eq!(state.without_effect.get(&device), Some(&Refusal::Voided));
    assert_eq!((state.without_effect.get(&cites), state.settings.charter.text()), (None, Some("cites")));
}

/// "Concurrent removals: the most senior signer, then OpId."
#[test]
fn of_two_facilitators_who_remove_each_other_only_the_seniors_word_counts() {
    let mut group = Group::new(2, 0);
    let at = group.heads();
    group.say_on(1, &at, remove(0));
    group.say_on(0, &at, remove(1));
    assert_eq!((group.role(0), group.role(1)), (Some(Role::Facilitator), None));
}

/// "Concurrent SetPolicy: per field, the senior author, then OpId", whatever the order of arrival.
#[test]
fn each_field_is_settled_by_itself() {
    let mut group = Group::new(3, 0);
    let at = group.heads();
    group.say_on(2, &at, policy(Some("third"), Some(true)));
    group.say_on(1, &at, policy(Some("second"), None));
    let settings = group.state().settings;
    assert_eq!((settings.charter.text(), settings.shield), (Some("second"), true));
    group.say_on(0, &at, shield(false));
    assert!(!group.state().settings.shield);
}

/// "The author holds the right in the closure of `prev`": neither a later nor a lost right counts.
#[test]
fn a_right_that_was_lost_before_is_no_right() {
    let mut group = Group::new(2, 1);
    group.say(0, set_role(1, Role::Member));
    let late = group.say(1, add(20, Role::Member));
    assert_eq!(group.refusal(&late), Some(Refusal::NotFacilitator));
    assert_eq!(group.role(20), None);
}
