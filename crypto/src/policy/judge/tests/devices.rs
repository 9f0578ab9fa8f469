//! Commits about devices, and the first node of a fresh group.

use super::*;
use crate::{
    chain::mls_group_id,
    mls::{NodeFacts, Suite},
    policy::tests::{
        devices::{device_add, device_revoke, evict},
        signed,
    },
};

fn device(who: u8, device: u8) -> AddedLeaf {
    AddedLeaf { device: keys(device).device(), key_package_hash: hash(&[&[device; 4]]), ..added(who) }
}

fn adding(node: &Node, adds: Vec<AddedLeaf>) -> CommitFacts {
    CommitFacts { adds, ..node.facts(0, &[], &[]) }
}

fn removing(node: &Node, leaves: &[usize]) -> CommitFacts {
    CommitFacts { removes: leaves.iter().map(|at| node.leaves[*at]).collect(), ..node.facts(0, &[], &[]) }
}

/// Member 3 with a second leaf.
fn two_devices() -> Node {
    let mut node = Node::new();
    node.group.say(3, device_add(43));
    node.binding = node.bind(false);
    node.leaves.push(Leaf { index: 4, persona: id(3), device: keys(43).device() });
    node
}

#[test]
fn a_device_comes_in_by_its_personas_word_and_begins_no_network() {
    let mut node = Node::new();
    node.group.say(3, device_add(43));
    let child = node.bind(false);
    let judgement = node.judge(&adding(&node, vec![device(3, 43)]), &child).unwrap();
    assert!(judgement.joined.is_empty() && judgement.left.is_empty() && !judgement.begins_network);
    let other_package = AddedLeaf { key_package_hash: [0; 32], ..device(3, 43) };
    for adds in [vec![device(2, 43)], vec![device(3, 44)], vec![other_package], vec![device(3, 43), device(3, 44)]] {
        assert_eq!(node.judge(&adding(&node, adds), &child), Err(PolicyViolation::Adds));
    }
    node.binding = child.clone();
    assert!(node.judge(&adding(&node, vec![device(3, 43)]), &child).is_ok(), "it may come later");
}

#[test]
fn a_revoked_or_evicted_device_goes_and_its_removal_begins_a_network() {
    for (by, out) in [(3, device_revoke(43)), (0, evict(3, 43))] {
        let mut node = two_devices();
        node.group.say(by, out);
        let child = node.bind(true);
        let judgement = node.judge(&removing(&node, &[4]), &child).unwrap();
        assert!(judgement.left.is_empty() && judgement.begins_network);
        for removes in [&[][..], &[3], &[3, 4]] {
            assert_eq!(node.judge(&removing(&node, removes), &child), Err(PolicyViolation::Removes));
        }
        let old_network = node.bind(false);
        assert_eq!(node.judge(&removing(&node, &[4]), &old_network), Err(PolicyViolation::Network));
    }
}

#[test]
fn nobody_revokes_anothers_device() {
    let mut node = two_devices();
    node.group.say(2, device_revoke(43));
    assert_eq!(node.judge(&removing(&node, &[4]), &node.bind(true)), Err(PolicyViolation::Removes));
    assert!(node.judge(&removing(&node, &[]), &node.bind(false)).is_ok());
}

#[test]
fn a_removal_takes_every_device() {
    let mut node = two_devices();
    node.group.say(0, remove(3));
    let child = node.bind(true);
    let judgement = node.judge(&removing(&node, &[3, 4]), &child).unwrap();
    assert_eq!(judgement.left, BTreeSet::from([id(3)]));
    assert_eq!(node.judge(&removing(&node, &[3]), &child), Err(PolicyViolation::Removes));
}

#[test]
fn who_was_evicted_comes_back_with_a_new_key_and_never_with_the_old_one() {
    let mut node = Node::new();
    node.group.say(0, evict(3, 3));
    node.binding = node.bind(false);
    node.leaves.remove(3);
    let old = node.group.say(3, OpBody::RejoinRequest { key_package: vec![3; 4].into() });
    let child = node.bind(false);
    assert_eq!(node.judge(&adding(&node, vec![added(3)]), &child), Err(PolicyViolation::DeviceGone));
    let fresh = AddedLeaf { device: keys(43).device(), ..added(3) };
    let judgement = node.judge(&adding(&node, vec![fresh]), &child).unwrap();
    assert_eq!((judgement.joined, judgement.begins_network), ([id(3)].into(), false));
    assert_eq!(node.judge(&node.external(3, &old), &node.binding), Err(PolicyViolation::DeviceGone));
}

#[test]
fn a_rejoin_swaps_the_device_that_asks_and_leaves_the_others() {
    let mut node = two_devices();
    let at = node.group.heads();
    // Written on device 43, whose state is gone; the KeyPackage is of a new key.
    let body = OpBody::RejoinRequest { key_package: vec![44; 4].into() };
    let op = node.group.log.make(&keys(3), crate::policy::At { heads: &at, node: NODE }, body).unwrap();
    let content = OpContent { device: keys(43).device(), ..op.open().unwrap() };
    node.group.insert(signed(3, &content));
    let child = node.bind(false);
    let swap = |gone: usize| CommitFacts { adds: vec![device(3, 44)], ..removing(&node, &[gone]) };
    assert!(node.judge(&swap(4), &child).is_ok());
    assert_eq!(node.judge(&swap(3), &child), Err(PolicyViolation::Removes));
}

#[test]
fn an_external_rejoin_replaces_one_of_several_devices() {
    let mut node = two_devices();
    let at = node.heads();
    node.leaves[3].device = keys(60).device();
    let op = node.group.say_on(3, &at, OpBody::RejoinRequest { key_package: vec![3; 4].into() });
    let facts = |removes: &[usize]| CommitFacts { removes: removing(&node, removes).removes, ..node.external(3, &op) };
    for one in [3, 4] {
        assert!(node.judge(&facts(&[one]), &node.binding).is_ok());
    }
    for removes in [&[][..], &[2], &[3, 4]] {
        assert_eq!(node.judge(&facts(removes), &node.binding), Err(PolicyViolation::Removes));
    }
}

#[test]
fn a_persona_has_a_bounded_number_of_leaves() {
    let mut node = Node::new();
    let all: Vec<_> = (0..DEVICES_MAX as u8).map(|n| device(3, 100 + n)).collect();
    for n in 0..DEVICES_MAX as u8 {
        node.group.say(3, device_add(100 + n));
    }
    let child = node.bind(false);
    assert_eq!(node.judge(&adding(&node, all.clone()), &child), Err(PolicyViolation::TooManyDevices));
    assert!(node.judge(&adding(&node, all[1..].to_vec()), &child).is_ok());
}

#[test]
fn what_a_commit_must_and_may_do_can_be_asked() {
    let mut node = two_devices();
    node.group.say(3, device_revoke(43));
    node.group.say(0, add(20, Role::Member));
    node.group.say(0, remove(2));
    node.group.say(1, device_add(41));
    let state = node.group.log.state_at(&node.heads(), &node.group.seniority);
    let found = demand(&node.group.log, &node.parent(&state), &node.group.heads());
    assert_eq!(found.removes, vec![node.leaves[2], node.leaves[4]]);
    let asked: BTreeSet<_> = found.adds.iter().map(|a| (a.persona, a.device)).collect();
    assert_eq!(asked, [(id(20), None), (id(1), Some(keys(41).device()))].into());
    let facts = CommitFacts { adds: vec![added(20), device(1, 41)], ..removing(&node, &[2, 4]) };
    assert!(node.judge(&facts, &node.bind(true)).is_ok());
}

/// A group that restarts at [`NODE`], and the first node that facilitator `who` makes.
fn restarting(who: u8) -> (Node, NodeFacts) {
    let mut node = Node::new();
    for who in [0, 1] {
        node.group.say(who, OpBody::Restart { generation: 1, suite: 3, at_node: NODE });
    }
    let binding = Binding { generation: 1, began: EPOCH + 1, epoch: 0, ..node.bind(true) };
    let genesis = node.group.log.get(&OpId(node.group.log.group().unwrap().0)).unwrap();
    let mls_group_id = mls_group_id(genesis, 1);
    let (suite, leaves) = (Suite::Classic, vec![leaf(0, who)]);
    let first = NodeFacts { node: NodeId([8; 32]), mls_group_id, epoch: 0, suite, binding, leaves };
    (node, first)
}

fn judged(node: &Node, first: &NodeFacts) -> Result<Judgement, PolicyViolation> {
    let state = node.group.log.state_at(&node.heads(), &node.group.seniority);
    restart(&node.group.log, &node.parent(&state), first)
}

#[test]
fn a_restart_begins_with_one_committer_alone_where_the_ops_say() {
    let (node, first) = restarting(1);
    let judgement = judged(&node, &first).unwrap();
    assert_eq!((judgement.class, judgement.rank, judgement.begins_network), (Class::Committer, 1, true));
    assert_eq!(judgement.left, [id(0), id(2), id(3)].into());

    let with = |change: &dyn Fn(&mut NodeFacts)| {
        let mut other = first.clone();
        change(&mut other);
        judged(&node, &other)
    };
    assert_eq!(with(&|f| f.leaves.push(leaf(1, 2))), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.leaves = vec![leaf(0, 3)]), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.binding.generation = 2), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.binding.generation = 0), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.binding.network = Some(NETWORK)), Err(PolicyViolation::Network));
    assert_eq!(with(&|f| f.binding.began = EPOCH), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.binding.epoch = 1), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.epoch = 1), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.suite = Suite::Hybrid), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.mls_group_id = [0; 32]), Err(PolicyViolation::Restart));
    assert_eq!(with(&|f| f.binding.roster_root = [0; 32]), Err(PolicyViolation::RosterRoot));
    let heads = node.binding.heads.clone();
    let unsigned = Binding { generation: 1, began: EPOCH + 1, epoch: 0, ..node.bind_heads(&heads, true) };
    assert_eq!(with(&|f| f.binding = unsigned.clone()), Err(PolicyViolation::Restart));
}

#[test]
fn a_restart_happens_once_and_the_roster_follows_by_external_rejoin() {
    let (mut node, first) = restarting(0);
    node.binding = first.binding.clone();
    node.leaves = first.leaves.clone();
    let at = node.heads();
    let op = node.group.say_on(2, &at, OpBody::RejoinRequest { key_package: vec![2; 4].into() });
    let judgement = node.judge(&node.external(2, &op), &node.binding).unwrap();
    assert_eq!((judgement.class, judgement.joined), (Class::External, [id(2)].into()));
    assert_eq!(judged(&node, &first), Err(PolicyViolation::Restart));
}
