//! What every implementation of the port must do alike: run on the real one and on the symbolic one.

use hearth_protocol::id::{NodeId, OpId};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

use crate::{
    mls::{Binding, CommitPlan, Mls, MlsError, MlsNode, NodeFacts, OwnCommit, Suite},
    persona::DeviceKeys,
};

/// Runs every test of this module on one implementation and suite.
macro_rules! run_suite {
    ($make:expr, $suite:expr, [$($test:ident),* $(,)?]) => {$(
        #[test]
        fn $test() {
            $crate::model::suite::$test(&$make, $suite);
        }
    )*};
    ($make:expr, $suite:expr) => {
        $crate::model::suite::run_suite!($make, $suite, [
            a_group_lives,
            messages_go_both_ways_out_of_order_and_once,
            two_children_of_one_parent_both_live,
            an_own_commit_leaves_the_parent_free,
            rows_carry_a_node_over,
            check_and_apply_agree,
            no_changed_commit_is_accepted_as_another,
            a_removed_member_has_no_say,
            a_signature_key_stands_in_one_leaf,
            key_packages_speak_for_their_device,
            a_welcome_opens_for_its_key_package_only,
            a_door_opens_without_secrets,
            a_device_comes_back_in_its_own_place,
            a_fresh_leaf_takes_the_place_of_an_old_one_under_its_key,
            the_ratchet_jumps_only_so_far,
            an_update_may_change_the_binding,
            secrets_are_the_members_own,
            plans_that_cannot_be_are_refused,
            changes_are_told_once,
            a_node_that_only_reads_opens_messages_and_nothing_more,
        ]);
    };
}
pub(crate) use run_suite;

/// A device of its own persona.
pub(crate) fn device(n: u8) -> DeviceKeys {
    DeviceKeys::generate(&mut rng(n))
}

/// Deterministic randomness.
pub(crate) fn rng(n: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([n; 32])
}

/// A binding that differs by `n`.
pub(crate) fn binding(n: u8) -> Binding {
    Binding {
        heads: vec![OpId([n; 32])],
        roster_root: [n; 32],
        network: (n > 0).then_some(NodeId([9; 32])),
        first_day: 20_000,
        generation: 0,
        began: 0,
        epoch: 0,
    }
}

/// A new group of `device`.
pub(crate) fn create<M: Mls>(mls: &M, device: &DeviceKeys, suite: Suite) -> M::Node {
    mls.create(device, &[5; 32], suite, &binding(0)).unwrap()
}

/// An own commit.
pub(crate) fn commit<N: MlsNode>(node: &N, device: &DeviceKeys, plan: &CommitPlan) -> OwnCommit<N> {
    node.commit(device, plan, &mut rng(99)).unwrap()
}

/// Adds one KeyPackage under a new binding.
pub(crate) fn add(package: Vec<u8>, n: u8) -> CommitPlan {
    CommitPlan { adds: vec![package], removes: vec![], binding: Some(binding(n)) }
}

/// Removes one leaf under a new binding.
pub(crate) fn remove(index: u32, n: u8) -> CommitPlan {
    CommitPlan { adds: vec![], removes: vec![index], binding: Some(binding(n)) }
}

/// Creator, joiner from outside, and their nodes of one epoch.
pub(crate) fn pair<M: Mls>(mls: &M, suite: Suite) -> (DeviceKeys, M::Node, DeviceKeys, M::Node) {
    let (a, b) = (device(1), device(2));
    let root = create(mls, &a, suite);
    let (commit, at_b) = mls.join_external(&b, &root.group_info(&a).unwrap(), b"join op").unwrap();
    let (_, at_a) = root.apply(&commit).unwrap();
    (a, at_a, b, at_b)
}

/// [`pair`] and a third member, who came by Welcome.
pub(crate) fn three<M: Mls>(mls: &M, suite: Suite) -> [(DeviceKeys, M::Node); 3] {
    let (a, at_a, b, at_b) = pair(mls, suite);
    let c = device(3);
    let (package, private) = mls.key_package(&c, suite).unwrap();
    let own = commit(&at_a, &a, &add(package, 1));
    let at_b = at_b.apply(&own.commit).unwrap().1;
    let at_c = mls.join_welcome(&c, &private, own.welcome.as_deref().unwrap()).unwrap();
    [(a, own.child), (b, at_b), (c, at_c)]
}

fn say<N: MlsNode>(from: &mut N, device: &DeviceKeys, to: &mut N, text: &[u8]) {
    let message = from.encrypt(device, text).unwrap();
    let opened = to.decrypt(&message).unwrap();
    assert_eq!((opened.sender.device, opened.plaintext.as_slice()), (device.device(), text));
    assert_eq!(opened.sender.persona, device.persona());
}

fn same<N: MlsNode>(one: &N, two: &N) {
    assert_eq!(one.facts(), two.facts());
    assert_eq!(one.authenticator().unwrap(), two.authenticator().unwrap());
    assert_eq!(one.export("hearth net/1", b"x").unwrap(), two.export("hearth net/1", b"x").unwrap());
}

pub(crate) fn a_group_lives<M: Mls>(mls: &M, suite: Suite) {
    let a = device(1);
    let root = create(mls, &a, suite);
    assert_eq!((root.facts().epoch, root.facts().leaves.len()), (0, 1));
    assert_eq!(root.facts().binding, binding(0));

    let [(a, mut at_a), (b, mut at_b), (c, mut at_c)] = three(mls, suite);
    same(&at_a, &at_b);
    same(&at_a, &at_c);
    assert_eq!(at_a.facts().binding, binding(1));
    let devices: Vec<_> = at_a.facts().leaves.iter().map(|leaf| leaf.device).collect();
    assert_eq!(devices, [a.device(), b.device(), c.device()]);
    say(&mut at_a, &a, &mut at_c, b"welcome");
    say(&mut at_c, &c, &mut at_b, b"hello");

    // The one who came from outside removes the one who came by Welcome, then heals.
    let own = commit(&at_b, &b, &remove(2, 2));
    let (facts, at_a) = at_a.apply(&own.commit).unwrap();
    assert_eq!(facts.removes.iter().map(|leaf| leaf.device).collect::<Vec<_>>(), [c.device()]);
    same(&at_a, &own.child);
    let healed = commit(&own.child, &b, &CommitPlan::default());
    assert!(healed.welcome.is_none());
    let (facts, mut at_a) = at_a.apply(&healed.commit).unwrap();
    assert!(facts.adds.is_empty() && facts.removes.is_empty() && !facts.changes_binding && !facts.external);
    assert_eq!(facts.author.device, b.device());
    let mut at_b = healed.child;
    same(&at_a, &at_b);
    assert_eq!(at_a.facts().leaves.len(), 2);
    say(&mut at_a, &a, &mut at_b, b"still here");
}

pub(crate) fn messages_go_both_ways_out_of_order_and_once<M: Mls>(mls: &M, suite: Suite) {
    let (a, mut at_a, b, mut at_b) = pair(mls, suite);
    say(&mut at_b, &b, &mut at_a, b"one way");
    let sent: Vec<_> = (0..20u8).map(|n| at_a.encrypt(&a, &[n]).unwrap()).collect();
    for n in [3usize, 19, 0, 7, 1, 18] {
        assert_eq!(at_b.decrypt(&sent[n]).unwrap().plaintext, [u8::try_from(n).unwrap()]);
        assert_eq!(at_b.decrypt(&sent[n]), Err(MlsError::AlreadyUsed));
    }
    // A sender cannot open its own.
    assert_eq!(at_a.decrypt(&sent[2]), Err(MlsError::AlreadyUsed));
    let mut changed = sent[2].clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(at_b.decrypt(&changed), Err(MlsError::Invalid));
    // A forged copy does not use the key up.
    assert_eq!(at_b.decrypt(&sent[2]).unwrap().plaintext, [2]);
    assert!(at_b.decrypt(b"").is_err());
    assert!(at_b.decrypt(&sent[4][..sent[4].len() / 2]).is_err());
    assert_eq!(at_b.encrypt(&a, b"as another"), Err(MlsError::NoSecrets));
}

pub(crate) fn two_children_of_one_parent_both_live<M: Mls>(mls: &M, suite: Suite) {
    let [(a, at_a), (b, at_b), (c, at_c)] = three(mls, suite);
    let left = commit(&at_a, &a, &CommitPlan::default());
    let right = commit(&at_b, &b, &remove(0, 7));
    assert_ne!(left.child.facts().node, right.child.facts().node);
    let (_, mut left_c) = at_c.apply(&left.commit).unwrap();
    let (_, mut right_c) = at_c.apply(&right.commit).unwrap();
    let (_, mut left_b) = at_b.apply(&left.commit).unwrap();
    same(&left_c, &left.child);
    same(&right_c, &right.child);
    let (mut left_a, mut right_b) = (left.child, right.child);
    say(&mut left_a, &a, &mut left_c, b"left");
    say(&mut right_b, &b, &mut right_c, b"right");
    say(&mut left_c, &c, &mut left_b, b"left again");
    // A message of one branch is nothing on the other, though the epoch's number is the same.
    let message = left_a.encrypt(&a, b"left only").unwrap();
    assert!(right_c.decrypt(&message).is_err());
    assert_eq!(left_c.decrypt(&message).unwrap().plaintext, b"left only");
    // Both branches go on.
    let next = commit(&left_c, &c, &CommitPlan::default());
    same(&left_a.apply(&next.commit).unwrap().1, &next.child);
    assert!(right_b.apply(&next.commit).is_err());
    let next = commit(&right_c, &c, &CommitPlan::default());
    same(&right_b.apply(&next.commit).unwrap().1, &next.child);
}

pub(crate) fn an_own_commit_leaves_the_parent_free<M: Mls>(mls: &M, suite: Suite) {
    let (a, mut at_a, b, mut at_b) = pair(mls, suite);
    let before = at_a.facts().clone();
    let first = commit(&at_a, &a, &CommitPlan::default());
    let second = commit(&at_a, &a, &CommitPlan { binding: Some(binding(4)), ..CommitPlan::default() });
    assert_eq!(*at_a.facts(), before);
    assert_ne!(first.child.facts().node, second.child.facts().node);
    say(&mut at_a, &a, &mut at_b, b"still at the parent");
    for own in [first, second] {
        let (_, mut child) = at_b.apply(&own.commit).unwrap();
        let mut mine = own.child;
        same(&child, &mine);
        say(&mut child, &b, &mut mine, b"child");
        // Nobody can open an own commit from its bytes, and that is no ground for a Nack.
        assert_eq!(at_a.apply(&own.commit).err(), Some(MlsError::NoSecrets));
        assert_eq!(at_a.check(&own.commit).unwrap().1.facts(), mine.facts());
    }
}

pub(crate) fn rows_carry_a_node_over<M: Mls>(mls: &M, suite: Suite) {
    let (a, mut at_a, b, mut at_b) = pair(mls, suite);
    let sent: Vec<_> = (0..4u8).map(|n| at_a.encrypt(&a, &[n]).unwrap()).collect();
    at_b.decrypt(&sent[1]).unwrap();
    let mut loaded = mls.load(at_b.rows()).unwrap();
    same(&loaded, &at_b);
    assert!(loaded.has_secrets());
    assert_eq!(loaded.decrypt(&sent[1]), Err(MlsError::AlreadyUsed));
    assert_eq!(loaded.decrypt(&sent[0]).unwrap().plaintext, [0]);
    assert_eq!(loaded.decrypt(&sent[3]).unwrap().plaintext, [3]);
    let mut sender = mls.load(at_a.rows()).unwrap();
    let five = sender.encrypt(&a, b"five").unwrap();
    assert_eq!(loaded.decrypt(&five).unwrap().plaintext, b"five");
    let own = commit(&loaded, &b, &CommitPlan::default());
    same(&sender.apply(&own.commit).unwrap().1, &own.child);
    // Public nodes too.
    let public = mls.open_group_info(&at_a.group_info(&a).unwrap()).unwrap();
    let again = mls.load(public.rows()).unwrap();
    assert_eq!((again.facts(), again.has_secrets()), (at_a.facts(), false));
    assert_eq!(again.check(&own.commit).unwrap().1.facts(), own.child.facts());
    // What does not load says so.
    assert_eq!(mls.load(Default::default()).err(), Some(MlsError::State));
    let mut cut = at_b.rows();
    cut.pop_first();
    assert_eq!(mls.load(cut).err(), Some(MlsError::State));
}

pub(crate) fn check_and_apply_agree<M: Mls>(mls: &M, suite: Suite) {
    let [(a, at_a), (b, at_b), (c, at_c)] = three(mls, suite);
    let d = device(4);
    let (package, _) = mls.key_package(&d, suite).unwrap();
    let leaf = mls.inspect_key_package(&package, suite).unwrap();
    let swap = CommitPlan { adds: vec![package], removes: vec![2], binding: Some(binding(3)) };
    let (join, joined) = mls.join_external(&d, &at_a.group_info(&a).unwrap(), b"the join").unwrap();
    let own = [commit(&at_b, &b, &swap), commit(&at_b, &b, &CommitPlan::default())];
    let commits = own.iter().map(|own| (&own.commit, &own.child)).chain([(&join, &joined)]);
    for (bytes, child) in commits {
        let public = mls.open_group_info(&at_c.group_info(&c).unwrap()).unwrap();
        let (seen, public_child) = public.check(bytes).unwrap();
        let (also, member_child) = at_a.check(bytes).unwrap();
        let (applied, secret_child) = at_a.apply(bytes).unwrap();
        assert_eq!((&seen, &also), (&applied, &applied));
        assert_eq!((public_child.facts(), member_child.facts()), (child.facts(), child.facts()));
        assert_eq!(secret_child.facts(), child.facts());
        assert!(!public_child.has_secrets() && !member_child.has_secrets() && secret_child.has_secrets());
    }
    let (facts, _) = at_a.check(&own[0].commit).unwrap();
    assert_eq!((facts.adds, facts.removes.len(), facts.changes_binding), (vec![leaf], 1, true));
    let (facts, _) = at_a.check(&join).unwrap();
    assert_eq!((facts.aad.as_slice(), facts.external, facts.changes_binding), (&b"the join"[..], true, false));
    assert_eq!((facts.author.device, facts.author.index), (d.device(), 3));
    // A public child carries on alone.
    let public = at_c.check(&join).unwrap().1;
    let next = commit(&joined, &d, &CommitPlan::default());
    assert_eq!(public.check(&next.commit).unwrap().1.facts(), next.child.facts());
    assert_eq!(public.apply(&next.commit).err(), Some(MlsError::NoSecrets));
}

pub(crate) fn no_changed_commit_is_accepted_as_another<M: Mls>(mls: &M, suite: Suite) {
    let (a, at_a, b, at_b) = pair(mls, suite);
    let (package, _) = mls.key_package(&device(3), suite).unwrap();
    let own = commit(&at_a, &a, &add(package, 1));
    let (join, _) = mls.join_external(&device(4), &at_b.group_info(&b).unwrap(), b"join").unwrap();
    for good in [&own.commit, &join] {
        let (facts, child) = at_b.check(good).unwrap();
        let step = (good.len() / 150).max(1);
        for at in (0..good.len()).step_by(step) {
            let mut changed = good.clone();
            changed[at] ^= 1 << (at % 8);
            // The confirmation and membership tags are outside the signature; they change nothing but, the first, which node
            // it is: what grows on it would have other names.
            if let Ok((other, other_child)) = at_b.check(&changed) {
                let same = NodeFacts { node: child.facts().node, ..other_child.facts().clone() };
                assert_eq!((&other, &same), (&facts, child.facts()), "byte {at}");
            }
            assert!(at_b.apply(&changed).is_err(), "byte {at}");
            assert!(at_b.check(&good[..at]).is_err());
        }
        let longer = [good.as_slice(), b"x"].concat();
        assert_eq!(at_b.check(&longer).err(), Some(MlsError::NotForThisNode));
    }
}

pub(crate) fn a_removed_member_has_no_say<M: Mls>(mls: &M, suite: Suite) {
    let [(a, at_a), (b, at_b), (c, mut at_c)] = three(mls, suite);
    let own = commit(&at_a, &a, &remove(2, 2));
    assert_eq!(at_c.apply(&own.commit).err(), Some(MlsError::NoSecrets));
    let (_, outside) = at_c.check(&own.commit).unwrap();
    assert!(!outside.has_secrets());
    assert_eq!(outside.commit(&c, &CommitPlan::default(), &mut rng(1)).err(), Some(MlsError::NoSecrets));
    let mut at_b = at_b.apply(&own.commit).unwrap().1;
    // Neither its old messages nor its old commits count at the new node.
    let old = at_c.encrypt(&c, b"me again").unwrap();
    assert!(at_b.decrypt(&old).is_err());
    let late = commit(&at_c, &c, &CommitPlan::default());
    assert_eq!(at_b.check(&late.commit).err(), Some(MlsError::NotForThisNode));
    let new = at_b.encrypt(&b, b"without c").unwrap();
    assert!(at_c.decrypt(&new).is_err());
    // Nor can it sign as a member from a copy of another branch with the same number.
    let rival = commit(&late.child, &c, &CommitPlan::default());
    let next = commit(&at_b, &b, &CommitPlan::default()).child;
    assert!(next.check(&rival.commit).is_err());
}

pub(crate) fn a_signature_key_stands_in_one_leaf<M: Mls>(mls: &M, suite: Suite) {
    let (a, at_a, b, at_b) = pair(mls, suite);
    let (package, _) = mls.key_package(&b, suite).unwrap();
    assert_eq!(at_a.commit(&a, &add(package.clone(), 1), &mut rng(1)).err(), Some(MlsError::Invalid));
    let (third, _) = mls.key_package(&device(3), suite).unwrap();
    let twice = CommitPlan { adds: vec![third.clone(), third], removes: vec![], binding: Some(binding(1)) };
    assert_eq!(at_a.commit(&a, &twice, &mut rng(1)).err(), Some(MlsError::Invalid));
    // With its old leaf removed in the same commit, a device may come back.
    let swap = CommitPlan { adds: vec![package], removes: vec![1], binding: Some(binding(1)) };
    let own = commit(&at_a, &a, &swap);
    let (facts, child) = at_b.check(&own.commit).unwrap();
    assert_eq!((facts.adds.len(), facts.removes.len(), child.facts().leaves.len()), (1, 1, 2));
}

pub(crate) fn key_packages_speak_for_their_device<M: Mls>(mls: &M, suite: Suite) {
    let c = device(3);
    let (package, _) = mls.key_package(&c, suite).unwrap();
    let leaf = mls.inspect_key_package(&package, suite).unwrap();
    assert_eq!((leaf.persona, leaf.device), (c.persona(), c.device()));
    let other = if suite == Suite::Classic { Suite::Hybrid } else { Suite::Classic };
    assert_eq!(mls.inspect_key_package(&package, other).err(), Some(MlsError::Invalid));
    assert_eq!(leaf.key_package_hash, hearth_protocol::id::hash(&[&package]));
    let a = device(1);
    let root = create(mls, &a, suite);
    for at in (0..package.len()).step_by((package.len() / 100).max(1)) {
        let mut changed = package.clone();
        changed[at] ^= 0x40;
        assert_eq!(mls.inspect_key_package(&changed, suite).err(), Some(MlsError::Invalid), "byte {at}");
        assert_eq!(root.commit(&a, &add(changed, 1), &mut rng(1)).err(), Some(MlsError::Invalid), "byte {at}");
        assert_eq!(mls.inspect_key_package(&package[..at], suite).err(), Some(MlsError::Invalid));
    }
}

pub(crate) fn a_welcome_opens_for_its_key_package_only<M: Mls>(mls: &M, suite: Suite) {
    let (a, at_a, _, _) = pair(mls, suite);
    let c = device(3);
    let (package, private) = mls.key_package(&c, suite).unwrap();
    let (_, other) = mls.key_package(&c, suite).unwrap();
    let own = commit(&at_a, &a, &add(package, 1));
    let welcome = own.welcome.unwrap();
    assert_eq!(mls.join_welcome(&c, &other, &welcome).err(), Some(MlsError::NotForThisNode));
    assert_eq!(mls.join_welcome(&device(4), &private, &welcome).err(), Some(MlsError::NotForThisNode));
    assert!(mls.join_welcome(&c, &private, &own.commit).is_err());
    for at in (0..welcome.len()).step_by((welcome.len() / 60).max(1)) {
        let mut changed = welcome.clone();
        changed[at] ^= 1;
        if let Ok(node) = mls.join_welcome(&c, &private, &changed) {
            // Only what is meant for other joiners may change unseen.
            assert_eq!(node.facts(), own.child.facts());
        }
    }
    // Opening does not use the private part up: the caller decides.
    for _ in 0..2 {
        same(&mls.join_welcome(&c, &private, &welcome).unwrap(), &own.child);
    }
}

pub(crate) fn a_door_opens_without_secrets<M: Mls>(mls: &M, suite: Suite) {
    let [(a, at_a), (b, at_b), _] = three(mls, suite);
    let door = at_a.group_info(&a).unwrap();
    let mut public = mls.open_group_info(&door).unwrap();
    assert_eq!((public.facts(), public.has_secrets()), (at_a.facts(), false));
    let none = Some(MlsError::NoSecrets);
    assert_eq!(public.encrypt(&a, b"x").err(), none);
    assert_eq!(public.decrypt(b"x").err(), none);
    assert_eq!(public.export("x", b"").err(), none);
    assert_eq!(public.authenticator().err(), none);
    assert_eq!(public.group_info(&a).err(), none);
    assert_eq!(at_b.group_info(&a).err(), none);
    assert!(at_b.group_info(&b).is_ok());
    for at in (0..door.len()).step_by((door.len() / 100).max(1)) {
        let mut changed = door.clone();
        changed[at] ^= 4;
        assert_eq!(mls.open_group_info(&changed).err(), Some(MlsError::Invalid), "byte {at}");
        assert_eq!(mls.join_external(&device(4), &changed, b"").err(), Some(MlsError::Invalid), "byte {at}");
        assert!(mls.open_group_info(&door[..at]).is_err());
    }
    // Two join on the same node: each its own child.
    let (one, _) = mls.join_external(&device(4), &door, b"slot 1").unwrap();
    let (two, _) = mls.join_external(&device(5), &door, b"slot 2").unwrap();
    assert_ne!(at_b.apply(&one).unwrap().1.facts().node, at_b.apply(&two).unwrap().1.facts().node);
    assert_eq!(at_b.apply(&one).unwrap().1.apply(&two).err(), Some(MlsError::NotForThisNode));
}

pub(crate) fn a_device_comes_back_in_its_own_place<M: Mls>(mls: &M, suite: Suite) {
    let (a, at_a, b, at_b) = pair(mls, suite);
    let (rejoin, mut back) = mls.join_external(&b, &at_a.group_info(&a).unwrap(), b"rejoin").unwrap();
    let (facts, mut at_a) = at_a.apply(&rejoin).unwrap();
    assert!(facts.external);
    assert_eq!(facts.removes.iter().map(|leaf| leaf.device).collect::<Vec<_>>(), [b.device()]);
    assert_eq!((facts.author.index, at_a.facts().leaves.len()), (1, 2));
    same(&at_a, &back);
    say(&mut back, &b, &mut at_a, b"back");
    assert_eq!(at_b.apply(&rejoin).err(), Some(MlsError::NoSecrets));
}

pub(crate) fn a_fresh_leaf_takes_the_place_of_an_old_one_under_its_key<M: Mls>(mls: &M, suite: Suite) {
    let [(a, at_a), (_, at_b), (c, old)] = three(mls, suite);
    let index = old.facts().leaves.iter().find(|l| l.device == c.device()).unwrap().index;
    drop(old);
    let (package, private) = mls.key_package(&c, suite).unwrap();
    let plan = CommitPlan { adds: vec![package], removes: vec![index], binding: Some(binding(2)) };
    let own = commit(&at_a, &a, &plan);
    let (facts, at_b) = at_b.apply(&own.commit).unwrap();
    assert_eq!((facts.adds.len(), facts.removes.len()), (1, 1));
    let at_c = mls.join_welcome(&c, &private, own.welcome.as_deref().unwrap()).unwrap();
    assert_eq!(at_c.facts().leaves.iter().filter(|l| l.device == c.device()).count(), 1);
    same(&own.child, &at_c);
    same(&at_b, &at_c);
}

pub(crate) fn the_ratchet_jumps_only_so_far<M: Mls>(mls: &M, suite: Suite) {
    let (a, mut at_a, _, at_b) = pair(mls, suite);
    let sent: Vec<_> = (0..=4_097u32).map(|n| at_a.encrypt(&a, &n.to_be_bytes()).unwrap()).collect();
    let mut near = mls.load(at_b.rows()).unwrap();
    assert_eq!(near.decrypt(&sent[4_097]).err(), Some(MlsError::Invalid));
    assert!(near.decrypt(&sent[4_096]).is_ok());
    // Keys that fell out of the window are gone.
    assert_eq!(near.decrypt(&sent[0]).err(), Some(MlsError::AlreadyUsed));
    assert!(near.decrypt(&sent[4_000]).is_ok());
}

pub(crate) fn an_update_may_change_the_binding<M: Mls>(mls: &M, suite: Suite) {
    let (_, at_a, b, at_b) = pair(mls, suite);
    let own = commit(&at_b, &b, &CommitPlan { binding: Some(binding(6)), ..CommitPlan::default() });
    let (facts, child) = at_a.apply(&own.commit).unwrap();
    assert!(facts.changes_binding && facts.adds.is_empty() && facts.removes.is_empty());
    assert_eq!(child.facts().binding, binding(6));
}

pub(crate) fn secrets_are_the_members_own<M: Mls>(mls: &M, suite: Suite) {
    let (_, at_a, b, at_b) = pair(mls, suite);
    let other = commit(&at_b, &b, &CommitPlan::default()).child;
    let base = at_a.export("hearth net/1", b"x").unwrap();
    assert_eq!(base, at_b.export("hearth net/1", b"x").unwrap());
    for different in
        [at_a.export("hearth net/1", b"y"), at_a.export("hearth control/1", b"x"), other.export("hearth net/1", b"x")]
    {
        assert_ne!(different.unwrap(), base);
    }
    assert_ne!(at_a.authenticator().unwrap(), other.authenticator().unwrap());
}

pub(crate) fn plans_that_cannot_be_are_refused<M: Mls>(mls: &M, suite: Suite) {
    let (a, at_a, b, _) = pair(mls, suite);
    let refused = |plan: &CommitPlan| at_a.commit(&a, plan, &mut rng(1)).err();
    assert_eq!(refused(&remove(0, 1)), Some(MlsError::Invalid), "its own leaf");
    assert_eq!(refused(&remove(9, 1)), Some(MlsError::Invalid), "an empty leaf");
    assert_eq!(refused(&CommitPlan { removes: vec![1, 1], ..remove(1, 1) }), Some(MlsError::Invalid), "twice");
    assert_eq!(refused(&add(b"no key package".to_vec(), 1)), Some(MlsError::Invalid));
    let other = if suite == Suite::Classic { Suite::Hybrid } else { Suite::Classic };
    let (package, _) = mls.key_package(&device(3), other).unwrap();
    assert_eq!(refused(&add(package, 1)), Some(MlsError::Invalid), "another suite");
    assert_eq!(at_a.commit(&b, &CommitPlan::default(), &mut rng(1)).err(), Some(MlsError::NoSecrets));
}

pub(crate) fn changes_are_told_once<M: Mls>(mls: &M, suite: Suite) {
    let (a, mut at_a, _, mut at_b) = pair(mls, suite);
    assert!(at_a.take_changes().is_empty() && at_b.take_changes().is_empty());
    let mut stored = (at_a.rows(), at_b.rows());
    let message = at_a.encrypt(&a, b"x").unwrap();
    at_b.decrypt(&message).unwrap();
    for (node, rows) in [(&mut at_a, &mut stored.0), (&mut at_b, &mut stored.1)] {
        let changes = node.take_changes();
        assert_eq!(changes.len(), 1, "one row, however large the group");
        for (key, value) in changes {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        assert_eq!(*rows, node.rows());
        assert!(node.take_changes().is_empty());
    }
    assert_eq!(mls.load(stored.1).unwrap().decrypt(&message), Err(MlsError::AlreadyUsed));
}

pub(crate) fn a_node_that_only_reads_opens_messages_and_nothing_more<M: Mls>(mls: &M, suite: Suite) {
    let (a, mut at_a, b, mut at_b) = pair(mls, suite);
    let early = at_a.encrypt(&a, b"early").unwrap();
    let next = commit(&at_a, &a, &CommitPlan::default()).commit;
    at_b.take_changes();
    let mut rows = at_b.rows();
    at_b.only_read();
    at_b.only_read();
    for (key, value) in at_b.take_changes() {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    assert_eq!(rows, at_b.rows());
    let mut reader = mls.load(rows).unwrap();
    for node in [&mut at_b, &mut reader] {
        assert!(node.can_read() && !node.has_secrets());
        assert_eq!(node.decrypt(&early).unwrap().plaintext, b"early");
        assert_eq!(node.decrypt(&early), Err(MlsError::AlreadyUsed));
        assert_eq!(node.apply(&next).err(), Some(MlsError::NoSecrets));
        assert_eq!(node.commit(&b, &CommitPlan::default(), &mut rng(1)).err(), Some(MlsError::NoSecrets));
        assert_eq!(node.encrypt(&b, b"x").err(), Some(MlsError::NoSecrets));
        assert_eq!(node.export("hearth net/1", b"").err(), Some(MlsError::NoSecrets));
        assert_eq!(node.authenticator().err(), Some(MlsError::NoSecrets));
        assert_eq!(node.group_info(&b).err(), Some(MlsError::NoSecrets));
        assert_eq!(node.check(&next).unwrap().1.facts(), at_a.check(&next).unwrap().1.facts());
    }
    assert_eq!(reader.rows(), at_b.rows());
}
