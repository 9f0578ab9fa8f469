use hearth_protocol::id::GroupId;

use super::*;
use crate::policy::{Inserted, OpError, PENDING_MAX, judge::HEADS_MAX};

#[test]
fn the_group_is_named_by_its_genesis_and_takes_no_second_one() {
    let mut log = PolicyLog::new();
    let first = genesis(&keys(0), founding(None));
    log.insert(first.clone()).unwrap();
    assert_eq!(log.group(), Some(GroupId(first.id().0)));
    let second = genesis(&keys(1), founding(None));
    assert_eq!(log.insert(second.clone()), Err(OpError::OtherGroup));
    assert_eq!(PolicyLog::for_group(GroupId([3; 32])).insert(second), Err(OpError::OtherGroup));
}

#[test]
fn duplicates_change_nothing() {
    let mut group = Group::new(2, 1);
    let before = group.state();
    let ops: Vec<_> = group.log.ops_in_order().map(|(_, op)| op.clone()).collect();
    for op in ops {
        assert_eq!(group.log.insert(op), Ok(Inserted::default()));
    }
    assert_eq!(group.state(), before);
}

/// An op is the same with its attachment and without; what is missing comes later, and nothing else in its place.
#[test]
fn what_lies_beside_an_op_can_come_later() {
    let mut whole = Group::new(1, 0);
    whole.say(0, charter("words"));
    let bare = whole.say(0, add(5, Role::Member));
    let mut log = PolicyLog::for_group(whole.log.group().unwrap());
    for (_, op) in whole.log.ops_in_order() {
        log.insert(op.bare()).unwrap();
    }
    let heads = whole.heads();
    assert_eq!(log.heads(), heads);
    let read = |log: &PolicyLog| log.state_at(&heads, &whole.seniority);
    assert_eq!((read(&log).members, read(&log).settings.charter.text()), (whole.state().members, None));
    assert!(log.is_bare(&bare) && !whole.log.is_bare(&bare));
    let named = |log: &PolicyLog| log.content(&bare).unwrap().body.attachment().unwrap().hash();
    assert_eq!(named(&log), named(&whole.log));
    // Nobody says again what they do not have.
    let body = log.content(&bare).unwrap().body.clone();
    let at = At { heads: &heads, node: NodeId([7; 32]) };
    assert_eq!(log.make(&keys(0), at, body), Err(OpError::Attachment));

    let came = log.came();
    let other = SignedOp { attached: Some(b"other".to_vec()), ..whole.log.get(&bare).unwrap().clone() };
    assert!(matches!(log.insert(other), Err(OpError::Shape(_))));
    assert!(log.is_bare(&bare) && log.came() == came);
    let ops: Vec<_> = whole.log.ops_in_order().map(|(_, op)| op.clone()).collect();
    for op in &ops {
        assert_eq!(log.insert(op.clone()), Ok(Inserted { filled: true, ..Inserted::default() }));
        assert_eq!(log.insert(op.bare()), Ok(Inserted::default()), "what is here stays");
    }
    assert_eq!(read(&log), whole.state());
    assert!(log.came() > came && ops.iter().all(|op| !log.is_bare(&op.id())));
}

#[test]
fn a_foreign_signature_a_wrong_counter_and_another_group_are_refused() {
    let mut group = Group::new(1, 1);
    let at = group.heads();
    let good = group.log.make(&keys(0), At { heads: &at, node: NodeId([7; 32]) }, charter("x")).unwrap();

    let mut forged = good.clone();
    forged.sig = keys(1).sign_as_persona(&forged.content);
    assert_eq!(group.log.insert(forged), Err(OpError::Signature));

    for lamport in [1, good.open().unwrap().lamport + 1, u64::MAX] {
        let content = OpContent { lamport, ..good.open().unwrap() };
        assert_eq!(group.log.insert(signed(0, &content)), Err(OpError::Lamport));
    }
    let content = OpContent { group: GroupId([5; 32]), ..good.open().unwrap() };
    assert_eq!(group.log.insert(signed(0, &content)), Err(OpError::OtherGroup));

    let mut torn = good;
    torn.content.pop();
    assert!(matches!(group.log.insert(torn), Err(OpError::Shape(_))));
}

#[test]
fn ops_wait_for_their_causes_and_come_in_when_these_do() {
    let group = Group::new(2, 2);
    let ops: Vec<_> = group.log.ops_in_order().map(|(_, op)| op.clone()).collect();
    let mut late = PolicyLog::for_group(group.log.group().unwrap());
    for op in ops.iter().skip(1).rev() {
        assert!(late.insert(op.clone()).unwrap().waiting);
    }
    assert_eq!(late.missing().into_iter().collect::<Vec<_>>(), vec![ops[0].id()]);
    let done = late.insert(ops[0].clone()).unwrap();
    assert_eq!(done.accepted.len(), ops.len());
    assert_eq!(late.heads(), group.log.heads());
    assert!(late.missing().is_empty());
}

#[test]
fn the_waiting_room_is_bounded_and_the_oldest_gives_way() {
    let mut group = Group::new(1, 0);
    let mut chain = Vec::new();
    for n in 0..PENDING_MAX + 2 {
        let heads = group.heads();
        let text = format!("{n}");
        let op = group.log.make(&keys(0), At { heads: &heads, node: NodeId([7; 32]) }, charter(&text)).unwrap();
        chain.push(op.clone());
        group.log.restore(op).unwrap();
    }
    let mut late = PolicyLog::for_group(group.log.group().unwrap());
    let mut dropped = Vec::new();
    for op in &chain[1..] {
        dropped.extend(late.restore(op.clone()).unwrap().dropped);
    }
    assert_eq!(dropped, vec![chain[1].id()]);
}

/// As rows lie on disk: by OpId, which is no order of causes.
#[test]
fn a_long_log_comes_back_whole_from_any_order() {
    let mut group = Group::new(1, 0);
    for n in 0..2 * PENDING_MAX {
        let heads = group.heads();
        let at = At { heads: &heads, node: NodeId([7; 32]) };
        let op = group.log.make(&keys(0), at, charter(&n.to_string())).unwrap();
        group.log.restore(op).unwrap();
    }
    let mut rows: Vec<_> = group.log.ops_in_order().map(|(id, op)| (id, op.clone())).collect();
    rows.sort_by_key(|(id, _)| *id);
    let mut back = PolicyLog::for_group(group.log.group().unwrap());
    back.restore_all(rows.into_iter().map(|(_, op)| op));
    assert_eq!((back.len(), back.heads()), (group.log.len(), group.heads()));
}

#[test]
fn heads_closure_and_reduction_follow_the_causes() {
    let mut group = Group::new(1, 0);
    let root = group.heads();
    let left = group.say_on(0, &root, charter("left"));
    let right = group.say_on(0, &root, charter("right"));
    let mut both = vec![left, right];
    both.sort_unstable();
    assert_eq!(group.heads(), both);
    assert_eq!(group.log.closure(&[left]), vec![root[0], left]);
    assert_eq!(group.log.reduce(&[root[0], left, right, left]), both);
    assert!(group.log.covers(&[left], &root) && !group.log.covers(&[left], &[right]));
    let top = group.say(0, charter("top"));
    assert_eq!(group.heads(), vec![top]);
}

#[test]
fn more_heads_than_fit_still_give_an_op() {
    let mut group = Group::new(1, 1);
    let root = group.heads();
    for n in 0..40 {
        group.say_on(0, &root, charter(&format!("{n}")));
    }
    let leave = group.say_on(1, &root, OpBody::Leave);
    let op = group.say(0, remove(1));
    let prev = &group.log.content(&op).unwrap().prev;
    assert_eq!(prev.len(), hearth_protocol::limits::OP_PREV_MAX);
    assert!(prev.contains(&leave), "what the subject said is among the causes");
}

#[test]
fn a_join_must_fit_its_invite_before_it_may_enter_the_log() {
    let mut group = Group::new(1, 0);
    let before = group.heads();
    let open = group.say(0, invite(1, 2));
    let at = group.heads();
    for (secret, seat) in [(2, (open, 0)), (1, (open, 2)), (1, (before[0], 0))] {
        let op = group.sign_join(9, &at, secret, seat);
        assert_eq!(group.log.insert(op), Err(OpError::Join));
    }
    let unseen = group.sign_join(9, &before, 1, (open, 0));
    assert_eq!(group.log.insert(unseen), Err(OpError::Join), "the invite is not among its causes");
    let mut stolen = group.sign_join(9, &at, 1, (open, 0)).open().unwrap();
    stolen.persona = id(8);
    assert_eq!(group.log.insert(signed(8, &stolen)), Err(OpError::Join), "the invite key signed for another");
    group.join_on(9, &at, 1, (open, 0));
    assert_eq!(group.role(9), Some(Role::Member));
}

#[test]
fn ops_above_a_join_that_nobody_realised_are_kept_apart() {
    let mut group = Group::new(2, 0);
    let open = group.say(0, invite(1, 2));
    let base = group.heads();
    let join = group.join_on(9, &base, 1, (open, 0));
    group.say_on(1, &[join], charter("after the join"));
    let free = group.say_on(1, &base, charter("beside the join"));
    assert_eq!(group.log.heads_above(&base, &group.seniority), vec![free]);
    assert_eq!(group.log.heads_above(&[join], &group.seniority), group.heads());
}

/// Anybody who ever knew a control secret can sign ops without end. None of them is written into a node.
#[test]
fn ops_that_nobody_had_a_right_to_are_kept_apart() {
    let mut group = Group::new(2, 1);
    let base = group.heads();
    for who in 20..40 {
        let stray = group.say_on(who, &base, OpBody::Leave);
        group.say_on(who, &[stray], charter("mine"));
    }
    group.say_on(2, &base, remove(0));
    assert_eq!(group.log.heads_above(&base, &group.seniority), base);
    let real = group.say_on(1, &base, charter("ours"));
    assert_eq!(group.log.heads_above(&base, &group.seniority), vec![real]);
    // What the parent rests on already is no question any more.
    let all = group.heads();
    assert_eq!(group.log.heads_above(&all, &group.seniority), all);
}

#[test]
fn more_heads_than_a_node_binds_are_written_one_node_after_the_other() {
    let mut group = Group::new(1, 0);
    let base = group.heads();
    for n in 0..HEADS_MAX + 40 {
        group.say_on(0, &base, charter(&n.to_string()));
    }
    let mut written = group.log.heads_above(&base, &group.seniority);
    assert_eq!(written.len(), HEADS_MAX);
    // Each new op knows of some, and takes their place.
    for n in 0.. {
        assert!(n < 12, "{} heads, {} written", group.heads().len(), written.len());
        let top = group.say_on(0, &written, charter(&format!("on top, {n}")));
        let next = group.log.heads_above(&written, &group.seniority);
        assert!(next.len() <= HEADS_MAX && next.contains(&top) && group.log.covers(&next, &written));
        written = next;
        if group.log.covers(&written, &group.heads()) {
            break;
        }
    }
}

#[test]
fn invite_keys_come_from_the_secret_and_hide_from_debug() {
    let a = InviteKeys::from_secret(&[1; 32]);
    assert_eq!(a.join_pk(), InviteKeys::from_secret(&[1; 32]).join_pk());
    assert_ne!(a.join_pk(), InviteKeys::from_secret(&[2; 32]).join_pk());
    assert_ne!(a.door_seed(), &a.join_pk());
    assert_eq!(format!("{a:?}"), "InviteKeys(…)");
}
