use super::*;
use crate::policy::{InviteStatus, Standing};

/// Person of each role in a group with three facilitators 0–2.
const COFACILITATOR: u8 = 3;
const MEMBER: u8 = 4;
const NEWCOMER: u8 = 5;
const READER: u8 = 6;
const STRANGER: u8 = 7;

fn everybody() -> Group {
    let mut group = Group::new(3, 4);
    group.say(0, set_role(COFACILITATOR, Role::Cofacilitator));
    group.say(0, set_role(NEWCOMER, Role::Newcomer));
    group.say(0, set_role(READER, Role::Reader));
    group
}

#[test]
fn who_may_do_what() {
    let mut group = everybody();
    let open = group.say(0, invite(1, 2));
    let effective = Ok(Standing::Effective);
    let motion = Ok(Standing::Motion { signatures: 1, needed: 2 });
    let table: Vec<(&str, OpBody, Result<Standing, Refusal>)> = vec![
        ("add", add(20, Role::Member), effective),
        ("invite", invite(2, 1), effective),
        ("revoke", OpBody::InviteRevoke { invite: open }, effective),
        ("remove a member", remove(MEMBER), effective),
        ("remove a facilitator", remove(2), motion),
        ("promote to facilitator", set_role(MEMBER, Role::Facilitator), motion),
        ("promote to cofacilitator", set_role(MEMBER, Role::Cofacilitator), effective),
        ("demote to reader", set_role(MEMBER, Role::Reader), effective),
        ("demote a facilitator", set_role(2, Role::Member), motion),
        ("set the charter", charter("new"), effective),
        ("raise the shield", shield(true), effective),
    ];
    let heads = group.heads();
    let ask = |who: u8, body: &OpBody| group.log.check(&heads, &id(who), body, &group.seniority);
    for (what, body, expected) in &table {
        assert_eq!(ask(1, body), *expected, "a facilitator: {what}");
        for who in [COFACILITATOR, MEMBER, NEWCOMER, READER] {
            assert_eq!(ask(who, body), Err(Refusal::NotFacilitator), "{who}: {what}");
        }
        assert_eq!(ask(STRANGER, body), Err(Refusal::NotMember), "a stranger: {what}");
    }
    let rejoin = OpBody::RejoinRequest { key_package: vec![1].into() };
    for body in [OpBody::Leave, rejoin] {
        for who in [0, COFACILITATOR, MEMBER, NEWCOMER, READER] {
            assert_eq!(ask(who, &body), effective);
        }
        assert_eq!(ask(STRANGER, &body), Err(Refusal::NotMember));
    }
}

#[test]
fn what_changes_nothing_or_hits_nobody_is_refused() {
    let group = everybody();
    let heads = group.heads();
    let ask = |body: OpBody| group.log.check(&heads, &id(0), &body, &group.seniority);
    assert_eq!(ask(add(MEMBER, Role::Member)), Err(Refusal::AlreadyMember));
    assert_eq!(ask(remove(STRANGER)), Err(Refusal::NoSuchMember));
    assert_eq!(ask(set_role(STRANGER, Role::Member)), Err(Refusal::NoSuchMember));
    assert_eq!(ask(set_role(MEMBER, Role::Member)), Err(Refusal::NothingChanges));
    assert_eq!(ask(set_role(0, Role::Member)), Err(Refusal::AboutOneself));
    assert_eq!(ask(remove(0)), Err(Refusal::AboutOneself));
    assert_eq!(ask(policy(None, None)), Err(Refusal::NothingChanges));
    assert_eq!(ask(OpBody::InviteRevoke { invite: heads[0] }), Err(Refusal::NoSuchInvite));
}

#[test]
fn an_op_without_right_stays_in_the_log_without_effect() {
    let mut group = everybody();
    let op = group.say(MEMBER, charter("mine"));
    assert_eq!(group.state().settings.charter.text(), Some("Be kind"));
    assert_eq!(group.refusal(&op), Some(Refusal::NotFacilitator));
    assert!(group.log.contains(&op));
}

#[test]
fn a_right_is_read_where_the_op_was_written() {
    let mut group = everybody();
    let before = group.heads();
    group.say(0, set_role(MEMBER, Role::Facilitator));
    group.say(1, set_role(MEMBER, Role::Facilitator));
    let early = group.say_on(MEMBER, &before, charter("too early"));
    assert_eq!(group.refusal(&early), Some(Refusal::NotFacilitator));
    group.say(MEMBER, charter("now"));
    assert_eq!(group.state().settings.charter.text(), Some("now"));
}

#[test]
fn settings_come_from_genesis_and_change_field_by_field() {
    let mut group = Group::new(1, 0);
    assert_eq!(group.state().settings.name, "Night watch");
    group.say(0, charter("first"));
    group.say(0, shield(true));
    let settings = group.state().settings;
    assert_eq!((settings.charter.text(), settings.shield, settings.history_days), (Some("first"), true, 7));
}

#[test]
fn an_invite_admits_by_slot_until_it_is_used_up() {
    let mut group = Group::new(1, 0);
    let open = group.say(0, invite(1, 2));
    assert_eq!(group.state().invites[&open].free_slot(), Some(0));
    let at = group.heads();
    group.join_on(10, &at, 1, (open, 0));
    let at = group.heads();
    let twice = group.join_on(11, &at, 1, (open, 0));
    assert_eq!(group.refusal(&twice), Some(Refusal::SlotTaken));
    let again = group.join_on(10, &at, 1, (open, 1));
    assert_eq!(group.refusal(&again), Some(Refusal::AlreadyMember));
    assert!(group.state().join_allowed(&id(11), (&open, 1), Second(999)));
    assert!(!group.state().join_allowed(&id(11), (&open, 1), Second(1_000)), "expired");
    let at = group.heads();
    group.join_on(11, &at, 1, (open, 1));
    let state = group.state();
    assert_eq!(state.invites[&open].status, InviteStatus::Exhausted);
    assert_eq!(state.members[&id(11)].invite, Some(open));
    assert_eq!(state.open_invites(Second(0)).count(), 0);
}

#[test]
fn of_two_joins_that_take_one_slot_unknown_to_each_other_one_counts() {
    let mut group = Group::new(1, 0);
    let open = group.say(0, invite(1, 2));
    let at = group.heads();
    let joins = [group.join_on(10, &at, 1, (open, 0)), group.join_on(11, &at, 1, (open, 0))];
    let state = group.state();
    assert_eq!(state.members.len(), 2);
    assert_eq!(joins.iter().filter(|j| state.without_effect.contains_key(j)).count(), 1);
}

#[test]
fn revoked_shielded_and_knock_invites_admit_nobody() {
    let mut group = Group::new(1, 0);
    let open = group.say(0, invite(1, 2));
    group.say(0, shield(true));
    assert_eq!(group.state().open_invites(Second(0)).count(), 0);
    assert!(!group.state().admits(&id(9), &open, 0));
    let at = group.heads();
    let shielded = group.join_on(9, &at, 1, (open, 0));
    assert_eq!(group.refusal(&shielded), Some(Refusal::InviteClosed));

    group.say(0, shield(false));
    assert!(group.state().admits(&id(9), &open, 0));
    group.say(0, OpBody::InviteRevoke { invite: open });
    assert_eq!(group.state().invites[&open].status, InviteStatus::Revoked);
    let at = group.heads();
    let revoked = group.join_on(9, &at, 1, (open, 0));
    assert_eq!(group.refusal(&revoked), Some(Refusal::InviteClosed));

    let OpBody::Invite { join_pk, door_pk, uses, role, expires, .. } = invite(1, 2) else { return };
    let knock = group.say(0, OpBody::Invite { join_pk, door_pk, uses, role, expires, mode: JoinMode::Knock });
    let at = group.heads();
    let knocked = group.join_on(9, &at, 1, (knock, 0));
    assert_eq!(group.refusal(&knocked), Some(Refusal::InviteClosed));
}

#[test]
fn a_template_receives_members_as_newcomers() {
    let mut group = Group::with(1, 1, Some(Template::Grief));
    assert_eq!(group.role(1), Some(Role::Newcomer));
    let open = group.say(0, invite(1, 1));
    let at = group.heads();
    group.join_on(9, &at, 1, (open, 0));
    assert_eq!(group.role(9), Some(Role::Newcomer));
    group.say(0, set_role(9, Role::Member));
    assert_eq!(group.role(9), Some(Role::Member));
}

#[test]
fn leaving_ends_membership_and_who_left_may_come_back() {
    let mut group = Group::new(1, 1);
    group.say(1, OpBody::Leave);
    assert_eq!(group.role(1), None);
    let op = group.say(1, OpBody::RejoinRequest { key_package: vec![1].into() });
    assert_eq!(group.refusal(&op), Some(Refusal::NotMember));
    group.say(0, add(1, Role::Reader));
    assert_eq!(group.role(1), Some(Role::Reader));
}

#[test]
fn committers_are_the_first_eight_by_seniority() {
    let group = Group::new(10, 1);
    let state = group.state();
    assert_eq!(state.facilitators(), (0..10).map(id).collect::<Vec<_>>());
    assert_eq!(state.committers(), (0..8).map(id).collect::<Vec<_>>());
    assert_eq!((state.rank(&id(3)), state.rank(&id(10)), state.quorum()), (3, 10, 6));
}

#[test]
fn the_roster_root_covers_who_and_which_role() {
    let mut group = Group::new(1, 2);
    let root = group.state().roster_root(&group.seniority);
    group.say(0, charter("words alone change no roster"));
    assert_eq!(group.state().roster_root(&group.seniority), root);
    group.say(0, set_role(1, Role::Reader));
    let lower = group.state().roster_root(&group.seniority);
    assert_ne!(lower, root);
    group.say(0, remove(1));
    assert!(![root, lower].contains(&group.state().roster_root(&group.seniority)));
}
