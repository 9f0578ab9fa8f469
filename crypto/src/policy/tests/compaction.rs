//! A compacted log reads everything above like the whole one.

use hearth_protocol::cbor;
use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::policy::{Checkpoint, InviteStatus, OpError, tests::order};

/// What a state says to whatever is built on it: what lies below and speaks no more is left out.
fn speaks(mut state: PolicyState, below: &BTreeSet<OpId>) -> PolicyState {
    state.invites.retain(|_, invite| invite.status == InviteStatus::Open);
    state.rejoins.retain(|id| !below.contains(id));
    // Closing once more what was closed below changes nothing, whether or not its Invite is still here.
    state.without_effect.retain(|id, why| !below.contains(id) && *why != Refusal::NoSuchInvite);
    state.revocations.retain(|r| r.ops.is_disjoint(below));
    state.motions.retain(|(subject, _), _| state.members.contains_key(subject));
    state
}

fn compacted(group: &Group, heads: &[OpId]) -> (Checkpoint, PolicyLog, BTreeSet<OpId>) {
    let below = group.log.closure(heads).into_iter().collect();
    let checkpoint = group.log.checkpoint(heads, &group.seniority).unwrap();
    let (log, _) = group.log.compact(&checkpoint).unwrap();
    (checkpoint, log, below)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(23), ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_gives_the_same_states_above(
        before in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..24),
        after in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..16),
    ) {
        let mut group = Group::new(3, 3);
        group.ask_on(order::BASE);
        let floor = group.log.ops_in_order().map(|(id, _)| vec![id]).collect();
        order::go_on(&mut group, &before, floor);
        let heads = group.heads();
        let (checkpoint, at_once, below) = compacted(&group, &heads);
        prop_assert_eq!(
            speaks(at_once.state_at(&heads, &group.seniority), &below),
            speaks(group.state(), &below)
        );
        // The encoding holds all of it, also for somebody who checks every signature.
        let read: Checkpoint = cbor::from_slice(&cbor::to_vec(&checkpoint), usize::MAX).unwrap();
        prop_assert_eq!(&read, &checkpoint);
        prop_assert!(PolicyLog::resume(group.log.group().unwrap(), &read).is_ok());

        order::go_on(&mut group, &after, vec![heads.clone()]);
        let (_, log, _) = compacted(&group, &heads);
        prop_assert_eq!(log.heads(), group.heads());
        for (id, _) in group.log.ops_in_order().filter(|(id, _)| !below.contains(id)) {
            let whole = group.log.state_at(&[id], &group.seniority);
            prop_assert_eq!(speaks(log.state_at(&[id], &group.seniority), &below), speaks(whole, &below));
        }
        let above = |state: PolicyState| speaks(state, &below);
        prop_assert_eq!(above(log.state_at(&log.heads(), &group.seniority)), above(group.state()));

        // Compacted again, further up, it is what the whole log compacts to.
        let further = group.heads();
        let (from_whole, from_part) = (group.log.checkpoint(&further, &group.seniority), log.checkpoint(&further, &group.seniority));
        prop_assert_eq!(from_whole, from_part);
    }
}

#[test]
fn what_was_superseded_goes_and_the_log_does_not_grow_with_it() {
    let mut group = Group::new(2, 1);
    for n in 0..60 {
        group.say(0, charter(&format!("version {n}")));
        group.say(1, set_role(2, if n % 2 == 0 { Role::Reader } else { Role::Member }));
        group.say(0, add(20, Role::Member));
        let open = group.say(1, invite(1, 1));
        group.say(0, OpBody::InviteRevoke { invite: open });
        group.say(0, remove(20));
    }
    let heads = group.heads();
    let (checkpoint, log, _) = compacted(&group, &heads);
    assert!(group.log.len() > 360);
    // Genesis, two Adds, one promotion, one role, one charter, and the head.
    assert_eq!((checkpoint.ops.len(), log.len()), (7, 7));
}

#[test]
fn an_op_that_does_not_know_the_checkpoint_comes_too_late() {
    let mut group = Group::new(2, 1);
    group.say(0, charter("superseded"));
    let before = group.heads();
    let late = group.say_on(1, &before, charter("late"));
    let head = group.say_on(0, &before, charter("settled"));
    let checkpoint = group.log.checkpoint(&[head], &group.seniority).unwrap();
    let (mut log, dropped) = group.log.compact(&checkpoint).unwrap();
    assert_eq!(dropped, vec![late]);
    assert_eq!(log.insert(group.log.get(&late).unwrap().clone()), Err(OpError::Late));
    assert_eq!(log.insert(group.log.get(&before[0]).unwrap().clone()), Err(OpError::Late), "dropped, not waiting");
    let knows = log.make(&keys(1), At { heads: &[head], node: NodeId([7; 32]) }, charter("again")).unwrap();
    log.insert(knows).unwrap();
    assert_eq!(log.state_at(&log.heads(), &group.seniority).settings.charter.text(), Some("again"));
}

#[test]
fn one_of_two_heads_is_not_all_of_the_checkpoint() {
    let mut group = Group::new(2, 1);
    let before = group.heads();
    let heads = vec![group.say_on(0, &before, charter("a")), group.say_on(1, &before, shield(true))];
    let half = group.say_on(0, &heads[..1], charter("half"));
    let whole = group.say_on(0, &heads, charter("whole"));
    let checkpoint = group.log.checkpoint(&heads, &group.seniority).unwrap();
    let (mut log, dropped) = group.log.compact(&checkpoint).unwrap();
    assert_eq!(dropped, vec![half]);
    assert_eq!(log.insert(group.log.get(&half).unwrap().clone()), Err(OpError::Late));
    assert!(log.contains(&whole));
}

#[test]
fn more_heads_than_an_op_can_name_are_not_compacted() {
    let mut group = Group::new(1, 0);
    let root = group.heads();
    for n in 0..40 {
        group.say_on(0, &root, charter(&format!("{n}")));
    }
    assert_eq!(group.log.checkpoint(&group.heads(), &group.seniority), None);
    assert_eq!(group.log.checkpoint(&[OpId([9; 32])], &group.seniority), None);
}

#[test]
fn a_checkpoint_that_does_not_hold_together_is_refused() {
    let group = Group::new(2, 1);
    let id = group.log.group().unwrap();
    let good = group.log.checkpoint(&group.heads(), &group.seniority).unwrap();
    let with = |change: &dyn Fn(&mut Checkpoint)| {
        let mut other = good.clone();
        change(&mut other);
        assert_ne!(other.id(), good.id());
        PolicyLog::resume(id, &other).map(|_| ())
    };
    assert_eq!(PolicyLog::resume(id, &good).map(|_| ()), Ok(()));
    assert_eq!(with(&|c| c.ops[1].op.sig[0] ^= 1), Err(OpError::Signature));
    assert_eq!(with(&|c| c.ops[1].sees = vec![1]), Err(OpError::UnknownCause));
    assert_eq!(with(&|c| c.heads = vec![OpId([9; 32])]), Err(OpError::UnknownCause));
    assert_eq!(with(&|c| c.ops.swap(0, 1)), Err(OpError::OtherGroup));
    assert_eq!(with(&|c| c.ops[2] = c.ops[1].clone()), Err(OpError::OtherGroup));
    let other = hearth_protocol::id::GroupId([1; 32]);
    assert_eq!(PolicyLog::resume(other, &good).map(|_| ()), Err(OpError::OtherGroup));
}

#[test]
fn motions_and_uses_of_invites_go_on_where_they_were() {
    let mut group = Group::new(3, 1);
    let open = group.say(0, invite(1, 2));
    let at = group.heads();
    group.join_on(50, &at, 1, (open, 0));
    group.say(1, set_role(3, Role::Facilitator));
    let heads = group.heads();
    let (_, mut log, _) = compacted(&group, &heads);
    let second =
        log.make(&keys(0), At { heads: &heads, node: NodeId([7; 32]) }, set_role(3, Role::Facilitator)).unwrap();
    log.insert(second).unwrap();
    let state = log.state_at(&log.heads(), &group.seniority);
    assert_eq!(state.role_of(&id(3)), Some(Role::Facilitator));
    assert_eq!(state.role_of(&id(50)), Some(Role::Member));
    assert_eq!(state.invites[&open].free_slot(), Some(1));
}
