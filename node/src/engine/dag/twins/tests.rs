use std::sync::Arc;

use hearth_crypto::{model::ModelNode, persona::DeviceKeys};
use hearth_protocol::{
    frame::{CommitFrame, Nack, NodeSignature, nack_message, signature_message},
    id::FrameId,
};

use super::*;
use crate::engine::dag::{Offered, base::tests::Alone};

/// A member, besides the founder, of whom nothing is needed but that it was in.
fn other(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&[n; 64])
}

/// A founder with three other members.
fn crowd() -> Alone {
    let mut alone = Alone::new();
    let base = alone.dag.base;
    let elders = &mut alone.dag.nodes.get_mut(&base).unwrap().elders;
    Arc::make_mut(&mut elders.places).extend((20..23).map(|n| (other(n).persona(), (0, u32::from(n)))));
    alone
}

/// So many twins on the first node, the least first; and a DAG that knows their ops and none of them.
fn twins(count: usize) -> (Alone, Vec<(NodeId, CommitFrame)>) {
    let (alone, all) = held(count);
    (alone, all.into_iter().map(|(node, frame, _)| (node, frame)).collect())
}

/// The same, each with its state.
fn held(count: usize) -> (Alone, Vec<(NodeId, CommitFrame, ModelNode)>) {
    let mut alone = crowd();
    let base = alone.dag.base;
    let made = (0..count).map(|n| alone.make(base, n));
    let mut all: Vec<_> = made.map(|(frame, child)| (child.facts().node, frame, child)).collect();
    all.sort_by_key(|(node, ..)| *node);
    (alone, all)
}

/// Nine twins, of which the greatest is here; and its author's child of it.
fn with_child() -> (Alone, Vec<(NodeId, CommitFrame)>, CommitFrame) {
    let (mut alone, mut all) = held(9);
    let (last, frame, state) = all.pop().unwrap();
    alone.hear(&frame);
    alone.dag.nodes.get_mut(&last).unwrap().state = Some(state);
    let (child, _) = alone.make(last, 100);
    let others = all.into_iter().map(|(node, frame, _)| (node, frame));
    let all = others.chain([(last, frame)]).collect();
    (alone, all, child)
}

fn sign(keys: &DeviceKeys, alone: &Alone, node: NodeId) -> NodeSignature {
    NodeSignature { node, persona: keys.persona(), sig: keys.sign_as_persona(&signature_message(&alone.group, &node)) }
}

impl Alone {
    /// As a group does after each input.
    fn settle(&mut self) {
        self.dag.recall(&self.mls, &mut self.log);
        self.dag.retry(&self.mls, &mut self.log);
        self.dag.retry_signatures(&self.group);
        self.dag.retry_nacks(&self.group);
        self.dag.thin_out(&self.log);
        self.dag.reselect(&self.log);
    }

    fn hear(&mut self, frame: &CommitFrame) -> Offered {
        let offered = self.dag.offer(&self.mls, &mut self.log, frame.clone());
        self.settle();
        offered
    }

    fn hear_all(&mut self, twins: &[(NodeId, CommitFrame)]) {
        for (_, frame) in twins {
            self.hear(frame);
        }
    }

    fn hear_signature(&mut self, keys: &DeviceKeys, node: NodeId) {
        let signature = sign(keys, self, node);
        self.dag.offer_signature(&self.group, &signature);
        self.settle();
    }

    fn kept(&self) -> Vec<NodeId> {
        self.dag.nodes.keys().filter(|node| **node != self.dag.base).copied().collect()
    }

    fn is_aside(&self, frame: &CommitFrame) -> bool {
        self.dag.aside().any(|(id, _)| id == frame.id())
    }
}

fn ids(twins: &[(NodeId, CommitFrame)]) -> Vec<NodeId> {
    twins.iter().map(|(node, _)| *node).collect()
}

#[test]
fn the_least_few_stay_in_whatever_order_they_come() {
    let count = 3 * TWINS_MAX;
    for turn in 0..count {
        let (mut alone, all) = twins(count);
        let mut order = all.clone();
        order.rotate_left(turn);
        if turn % 2 == 0 {
            order.reverse();
        }
        order.iter().for_each(|(_, frame)| assert!(matches!(alone.hear(frame), Offered::Accepted(_))));
        assert_eq!((alone.kept(), alone.dag.tip), (ids(&all[..TWINS_MAX]), all[0].0), "turn {turn}");
        // Once more costs nothing, and changes nothing.
        let came = alone.dag.came();
        order.iter().for_each(|(_, frame)| assert_eq!(alone.hear(frame), Offered::Known));
        assert_eq!(alone.dag.came(), came);
    }
}

#[test]
fn a_few_are_no_crowd() {
    let (mut alone, all) = twins(TWINS_MAX);
    alone.hear_all(&all);
    assert_eq!((alone.kept(), alone.dag.aside().count()), (ids(&all), 0));
    assert!(alone.dag.is_crowded(&alone.dag.base, &alone.keys.device(), 0), "one more would be");
    assert!(!alone.dag.is_crowded(&alone.dag.base, &other(20).device(), 0));
    assert!(!alone.dag.is_crowded(&alone.dag.base, &alone.keys.device(), 1), "a fresh group is another matter");
}

#[test]
fn what_another_member_signed_stays_whichever_comes_first() {
    let (_, all) = twins(9);
    let (last, last_frame) = &all[8];
    let mut expected = ids(&all[..TWINS_MAX]);
    expected.push(*last);
    for turn in 0..3 {
        let (mut alone, all) = twins(9);
        if turn == 0 {
            alone.hear_signature(&other(20), *last);
        }
        for (node, frame) in all.iter().rev() {
            alone.hear(frame);
            if turn == 1 && node == last {
                alone.hear_signature(&other(20), *last);
            }
        }
        if turn == 2 {
            assert!(alone.is_aside(last_frame));
            alone.hear_signature(&other(20), *last);
        }
        assert_eq!((alone.kept(), alone.is_aside(last_frame)), (expected.clone(), false), "turn {turn}");
    }
}

#[test]
fn a_member_keeps_as_many_by_its_signatures_and_a_stranger_none() {
    let (mut alone, all) = twins(16);
    let founder = alone.keys.clone();
    for (node, frame) in all.iter().rev() {
        alone.hear(frame);
        // The author's own may make a node final, where it decides alone.
        for keys in [&other(20), &other(99)] {
            alone.hear_signature(keys, *node);
        }
    }
    assert_eq!(alone.kept(), ids(&all[..TWINS_MAX]));
    for (node, _) in all[8..].iter().rev() {
        alone.hear_signature(&other(21), *node);
    }
    let mut expected = ids(&all[..TWINS_MAX]);
    expected.extend(ids(&all[8..8 + TWINS_MAX]));
    assert_eq!(alone.kept(), expected);
    alone.hear_signature(&other(99), all[5].0);
    assert_eq!(alone.kept(), expected);
    alone.hear_signature(&founder, all[5].0);
    assert!(alone.kept().contains(&all[5].0));
    assert_eq!(alone.dag.certified, all[5].0, "alone, it decides");
}

#[test]
fn an_authors_own_child_keeps_nothing_and_is_asked_about_once() {
    let (mut alone, all, child) = with_child();
    let (last, frame) = &all[8];
    alone.hear_all(&all[..8]);
    assert!(alone.is_aside(frame));
    let before = alone.dag.came().0;
    assert_eq!(alone.hear(&child), Offered::Waiting);
    // Both were looked at, and go.
    assert_eq!(alone.dag.came().0, before + 2);
    assert!(alone.is_aside(frame) && alone.is_aside(&child) && !alone.dag.is_waiting());
    (0..3).for_each(|_| alone.settle());
    assert_eq!((alone.dag.came().0, alone.kept()), (before + 2, ids(&all[..TWINS_MAX])));
    // Somebody else's word about the node brings the child back too.
    alone.hear_signature(&other(21), *last);
    assert!(alone.dag.node_of(&frame.id()).is_some() && alone.dag.node_of(&child.id()).is_some());
}

#[test]
fn a_word_about_a_child_keeps_what_it_hangs_on() {
    let (mut alone, all, child) = with_child();
    alone.hear(&child);
    let below = alone.dag.node_of(&child.id()).unwrap();
    alone.hear_all(&all[..8]);
    assert!(alone.is_aside(&all[8].1) && alone.is_aside(&child));
    alone.hear_signature(&other(22), below);
    assert!(alone.kept().contains(&all[8].0) && alone.kept().contains(&below));
}

#[test]
fn what_waits_for_ever_calls_a_twin_once() {
    let (mut ahead, all, _) = with_child();
    // It rests on an op that only its author has.
    let (child, _) = ahead.make(all[8].0, 101);
    let (mut alone, _) = twins(9);
    alone.hear_all(&all);
    alone.hear(&child);
    let came = alone.dag.came();
    assert!(alone.is_aside(&all[8].1) && alone.dag.is_waiting());
    (0..3).for_each(|_| alone.settle());
    assert_eq!(alone.dag.came(), came);
}

#[test]
fn what_another_member_could_not_open_stays_with_its_word() {
    let (mut alone, all) = twins(9);
    let (last, frame) = all[8].clone();
    alone.hear_all(&all);
    let keys = other(20);
    let message = nack_message(&alone.group, &frame.id());
    let nack = Nack { frame: frame.id(), persona: keys.persona(), sig: keys.sign_as_persona(&message) };
    assert!(!alone.dag.offer_nack(&alone.group, &nack));
    alone.settle();
    assert!(alone.kept().contains(&last) && alone.dag.nack(&frame.id(), &keys.persona()).is_some());
    // Not so a word in a member's name.
    let frame = all[7].1.id();
    let forged = Nack { frame, persona: keys.persona(), sig: [1; 64] };
    alone.dag.offer_nack(&alone.group, &forged);
    alone.settle();
    assert_eq!(alone.kept().len(), TWINS_MAX + 1);
}

#[test]
fn what_goes_goes_with_everything_and_what_is_set_aside_is_bounded() {
    let (mut alone, all) = twins(200);
    let mut gone: BTreeSet<FrameId> = BTreeSet::new();
    for (node, frame) in all.iter().rev() {
        alone.dag.offer(&alone.mls, &mut alone.log, frame.clone());
        if let Some(left) = alone.dag.thin_out(&alone.log) {
            assert_eq!((left.frames.len(), left.nodes.len()), (1, 1));
            gone.extend(left.frames.iter().map(|(_, id)| *id));
        }
        assert!(alone.dag.nodes.contains_key(node) && alone.dag.nodes.len() <= TWINS_MAX + 1);
    }
    assert_eq!(gone, all[TWINS_MAX..].iter().map(|(_, frame)| frame.id()).collect());
    assert_eq!((alone.dag.aside().count(), alone.dag.frames_in_order().len()), (128, TWINS_MAX));
    alone.dag.reselect(&alone.log);
    assert_eq!(alone.dag.tip, all[0].0);
}
