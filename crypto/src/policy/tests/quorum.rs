use super::*;
use crate::policy::{Motion, MotionStatus, RevocationKind};

#[test]
fn a_lone_facilitator_promotes_alone_and_cannot_be_unmade() {
    let mut group = Group::new(1, 1);
    group.say(0, set_role(1, Role::Facilitator));
    assert_eq!(group.role(1), Some(Role::Facilitator));
}

#[test]
fn of_two_only_the_senior_removes_or_demotes_the_other() {
    for body in [remove, |who| set_role(who, Role::Member)] {
        let mut group = Group::new(2, 0);
        let refused = group.say(1, body(0));
        assert_eq!(group.refusal(&refused), Some(Refusal::OnlySenior));
        assert_eq!(group.role(0), Some(Role::Facilitator));
        group.say(0, body(1));
        assert_ne!(group.role(1), Some(Role::Facilitator));
    }
}

#[test]
fn two_facilitators_promote_a_third_together() {
    let mut group = Group::new(2, 1);
    group.say(1, set_role(2, Role::Facilitator));
    let status = group.state().motion_status(&id(2), Motion::SetRole(Role::Facilitator));
    assert_eq!(status, MotionStatus { signatures: 1, needed: 2 });
    assert_eq!(group.role(2), Some(Role::Member));
    group.say(0, set_role(2, Role::Facilitator));
    assert_eq!(group.role(2), Some(Role::Facilitator));
}

#[test]
fn a_facilitator_falls_by_a_quorum_of_the_others_one_after_the_other_or_at_once() {
    for at_once in [false, true] {
        let mut group = Group::new(4, 0);
        let at = group.heads();
        for (n, signer) in [1, 2, 3].into_iter().enumerate() {
            assert_eq!(group.role(0), Some(Role::Facilitator), "{n} of 3 do not suffice");
            if at_once {
                group.say_on(signer, &at, remove(0))
            } else {
                group.say(signer, remove(0))
            };
        }
        assert_eq!(group.role(0), None);
        let [revocation] = &group.state().revocations[..] else { panic!("one removal") };
        assert_eq!((revocation.kind, revocation.ops.len()), (RevocationKind::Remove, 3));
    }
}

#[test]
fn the_same_facilitator_twice_is_one_signature_and_reasons_are_not_compared() {
    let mut group = Group::new(3, 0);
    let at = group.heads();
    group.say_on(1, &at, remove(2));
    group.say_on(1, &at, OpBody::Remove { subject: id(2), reason: "again".into(), last: vec![] });
    group.say(1, remove(2));
    assert_eq!(group.role(2), Some(Role::Facilitator));
    group.say(0, OpBody::Remove { subject: id(2), reason: "other words".into(), last: vec![] });
    assert_eq!(group.role(2), None);
}

#[test]
fn different_motions_do_not_add_up() {
    let mut group = Group::new(3, 0);
    let at = group.heads();
    group.say_on(0, &at, remove(2));
    group.say_on(1, &at, set_role(2, Role::Member));
    assert_eq!(group.role(2), Some(Role::Facilitator));
}

#[test]
fn the_last_word_of_a_facilitator_about_somebody_replaces_its_earlier_one() {
    let mut group = Group::new(3, 1);
    group.say(0, set_role(3, Role::Facilitator));
    group.say(0, set_role(3, Role::Reader));
    group.say(1, set_role(3, Role::Facilitator));
    assert_eq!(group.role(3), Some(Role::Reader), "the promotion has one signature left");
}

#[test]
fn signatures_of_those_who_are_no_facilitators_any_more_do_not_count() {
    let mut group = Group::new(4, 1);
    group.say(3, set_role(4, Role::Facilitator));
    for signer in 0..3 {
        group.say(signer, set_role(3, Role::Member));
    }
    assert_eq!(group.role(3), Some(Role::Member));
    group.say(0, set_role(4, Role::Facilitator));
    let status = group.state().motion_status(&id(4), Motion::SetRole(Role::Facilitator));
    assert_eq!(status, MotionStatus { signatures: 1, needed: 2 });
    group.say(1, set_role(4, Role::Facilitator));
    assert_eq!(group.role(4), Some(Role::Facilitator));
}

#[test]
fn spent_signatures_promote_nobody_twice() {
    let mut group = Group::new(3, 1);
    for signer in [0, 1] {
        group.say(signer, set_role(3, Role::Facilitator));
    }
    for signer in [0, 1, 2] {
        group.say(signer, set_role(3, Role::Member));
    }
    assert_eq!(group.role(3), Some(Role::Member));
    group.say(2, set_role(3, Role::Facilitator));
    assert_eq!(group.role(3), Some(Role::Member));
}

#[test]
fn sock_puppets_promote_nobody() {
    // One facilitator of three invites five puppets: none of them, nor all, adds up to a second signature.
    let mut group = Group::new(3, 0);
    let open = group.say(2, invite(1, 5));
    for puppet in 0..5u8 {
        let at = group.heads();
        group.join_on(50 + puppet, &at, 1, (open, u32::from(puppet)));
    }
    group.say(2, set_role(50, Role::Facilitator));
    for puppet in 50..55 {
        group.say(puppet, set_role(50, Role::Facilitator));
    }
    assert_eq!(group.role(50), Some(Role::Member));
    assert_eq!(group.state().facilitators().len(), 3);
}
