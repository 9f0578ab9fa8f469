//! Another implementation of MLS in the same group: mls-rs beside our port over OpenMLS, suite 0x0003, in one process.
//! Equal epoch authenticators mean an equal key schedule; the NodeId is computed anew from mls-rs's own GroupContext.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

#[path = "interop/peer.rs"]
mod peer;

use hearth_crypto::{
    mls::{Binding, CommitPlan, Mls as _, MlsError, MlsNode as _, Suite},
    openmls_port::{OpenMls, OpenMlsNode},
    persona::DeviceKeys,
};
use hearth_protocol::id::{NodeId, OpId, hash};
use mls_rs::{ExtensionList, Group, client_builder::MlsConfig, group::ReceivedMessage, mls_rs_codec::MlsEncode as _};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;

const GROUP: [u8; 32] = [5; 32];

fn device(n: u8) -> DeviceKeys {
    DeviceKeys::generate(&mut ChaCha20Rng::from_seed([n; 32]))
}

fn binding(n: u8) -> Binding {
    let network = (n > 0).then_some(NodeId([9; 32]));
    let (heads, roster_root) = (vec![OpId([n; 32])], [n; 32]);
    Binding { heads, roster_root, network, first_day: 20_000, generation: 0, began: 0, epoch: 0 }
}

fn add(package: Vec<u8>, n: u8) -> CommitPlan {
    CommitPlan { adds: vec![package], removes: vec![], binding: Some(binding(n)) }
}

fn remove(leaf: u32, n: u8) -> CommitPlan {
    CommitPlan { adds: vec![], removes: vec![leaf], binding: Some(binding(n)) }
}

fn own(node: &OpenMlsNode, keys: &DeviceKeys, plan: &CommitPlan) -> (Vec<u8>, Option<Vec<u8>>, OpenMlsNode) {
    let made = node.commit(keys, plan, &mut ChaCha20Rng::from_seed([99; 32])).unwrap();
    (made.commit, made.welcome, made.child)
}

/// A commit of theirs, followed by ours; the child as we could see it without secrets is the same node.
fn follow(node: &OpenMlsNode, commit: &[u8]) -> OpenMlsNode {
    let (seen, public) = node.check(commit).unwrap();
    let (done, child) = node.apply(commit).unwrap();
    assert_eq!(seen, done);
    assert_eq!(public.facts(), child.facts());
    child
}

/// One epoch: context, authenticator, exporter; and messages in both directions.
fn same<C: MlsConfig>(ours: &mut OpenMlsNode, keys: &DeviceKeys, theirs: &mut Group<C>) {
    assert_eq!(ours.facts().epoch, theirs.current_epoch());
    let context = theirs.context().mls_encode_to_vec().unwrap();
    let ours_too = ours.context().unwrap();
    // The GroupContext, then a vector of 32 bytes: the confirmation tag.
    assert_eq!(ours_too.strip_prefix(context.as_slice()).map(|tag| (tag[0], tag.len())), Some((32, 33)));
    assert_eq!(ours.facts().node, NodeId(hash(&[b"hearth node/2", &ours_too])));
    let told = OpenMls::new().open_group_info(&peer::group_info(theirs).unwrap()).unwrap();
    assert_eq!(told.facts(), ours.facts());
    assert_eq!(ours.authenticator().unwrap(), theirs.epoch_authenticator().unwrap().as_bytes());
    for label in ["hearth net/1", "hearth control/1", "hearth door/1"] {
        let exported = theirs.export_secret(label.as_bytes(), b"context", 32).unwrap();
        assert_eq!(ours.export(label, b"context").unwrap(), exported.as_bytes());
    }
    let said = ours.encrypt(keys, b"from us").unwrap();
    match peer::receive(theirs, &said).unwrap() {
        ReceivedMessage::ApplicationMessage(heard) => assert_eq!(heard.data(), b"from us"),
        other => panic!("{other:?}"),
    }
    let said = theirs.encrypt_application_message(b"from them", vec![]).unwrap().to_bytes().unwrap();
    let heard = ours.decrypt(&said).unwrap();
    assert_eq!((heard.plaintext.as_slice(), heard.sender.index), (&b"from them"[..], theirs.current_member_index()));
}

/// Ours creates, theirs comes by Welcome: the node, its keys, the group.
fn theirs_by_welcome() -> (DeviceKeys, OpenMlsNode, DeviceKeys, Group<impl MlsConfig>) {
    let (a, b) = (device(1), device(2));
    let root = OpenMls::new().create(&a, &GROUP, Suite::Classic, &binding(0)).unwrap();
    let client = peer::client(&b);
    let (_, welcome, ours) = own(&root, &a, &add(peer::key_package(&client).unwrap(), 1));
    let theirs = peer::join(&client, &welcome.unwrap()).unwrap();
    (a, ours, b, theirs)
}

/// Theirs creates, ours comes by Welcome.
fn ours_by_welcome() -> (DeviceKeys, OpenMlsNode, DeviceKeys, Group<impl MlsConfig>) {
    let (a, b) = (device(1), device(2));
    let mut theirs = peer::create(&peer::client(&b), &GROUP, &binding(0)).unwrap();
    let mls = OpenMls::new();
    let (package, private) = mls.key_package(&a, Suite::Classic).unwrap();
    let made = peer::commit(&mut theirs, &[package], &[], Some(&binding(1))).unwrap();
    let welcome = made.welcome_messages()[0].to_bytes().unwrap();
    (a.clone(), mls.join_welcome(&a, &private, &welcome).unwrap(), b, theirs)
}

#[test]
fn they_come_by_our_welcome_and_both_commit() {
    let (a, mut ours, b, mut theirs) = theirs_by_welcome();
    same(&mut ours, &a, &mut theirs);
    assert!(ours.facts().leaves.iter().any(|leaf| leaf.device == b.device() && leaf.persona == b.persona()));
    // Our self-update, then theirs.
    let (commit, _, mut ours) = own(&ours, &a, &CommitPlan::default());
    peer::receive(&mut theirs, &commit).unwrap();
    same(&mut ours, &a, &mut theirs);
    let made = peer::commit(&mut theirs, &[], &[], None).unwrap();
    let mut ours = follow(&ours, &made.commit_message().to_bytes().unwrap());
    same(&mut ours, &a, &mut theirs);
}

#[test]
fn we_come_by_their_welcome_and_both_commit() {
    let (a, mut ours, _, mut theirs) = ours_by_welcome();
    same(&mut ours, &a, &mut theirs);
    assert_eq!(ours.facts().binding, binding(1));
    let made = peer::commit(&mut theirs, &[], &[], Some(&binding(2))).unwrap();
    let mut ours = follow(&ours, &made.commit_message().to_bytes().unwrap());
    same(&mut ours, &a, &mut theirs);
    assert_eq!(ours.facts().binding, binding(2));
    let plan = CommitPlan { binding: Some(binding(3)), ..CommitPlan::default() };
    let (commit, _, mut ours) = own(&ours, &a, &plan);
    peer::receive(&mut theirs, &commit).unwrap();
    same(&mut ours, &a, &mut theirs);
}

#[test]
fn rows_carry_a_node_of_their_group() {
    let (a, ours, _, mut theirs) = ours_by_welcome();
    let mut again = OpenMls::new().load(ours.rows()).unwrap();
    same(&mut again, &a, &mut theirs);
    let (commit, _, mut ours) = own(&again, &a, &CommitPlan::default());
    peer::receive(&mut theirs, &commit).unwrap();
    same(&mut ours, &a, &mut theirs);
}

#[test]
fn they_add_and_remove_ours_and_we_add_and_remove_theirs() {
    let mls = OpenMls::new();
    let (a, ours, _, mut theirs) = theirs_by_welcome();
    // They add a third member, of ours; its leaf is read back from their commit as the op's KeyPackage.
    let c = device(3);
    let (package, private) = mls.key_package(&c, Suite::Classic).unwrap();
    let made = peer::commit(&mut theirs, std::slice::from_ref(&package), &[], Some(&binding(2))).unwrap();
    let commit = made.commit_message().to_bytes().unwrap();
    assert_eq!(ours.check(&commit).unwrap().0.adds, [mls.inspect_key_package(&package, Suite::Classic).unwrap()]);
    let mut ours = follow(&ours, &commit);
    let welcome = made.welcome_messages()[0].to_bytes().unwrap();
    let mut at_c = mls.join_welcome(&c, &private, &welcome).unwrap();
    same(&mut ours, &a, &mut theirs);
    same(&mut at_c, &c, &mut theirs);
    // We add a fourth, of theirs.
    let d = device(4);
    let client = peer::client(&d);
    let (commit, welcome, mut ours) = own(&ours, &a, &add(peer::key_package(&client).unwrap(), 3));
    peer::receive(&mut theirs, &commit).unwrap();
    let mut at_d = peer::join(&client, &welcome.unwrap()).unwrap();
    let at_c = follow(&at_c, &commit);
    same(&mut ours, &a, &mut theirs);
    same(&mut ours, &a, &mut at_d);
    // They remove ours: it cannot follow, we can.
    let leaf = |node: &OpenMlsNode, keys: &DeviceKeys| {
        node.facts().leaves.iter().find(|leaf| leaf.device == keys.device()).unwrap().index
    };
    let made = peer::commit(&mut theirs, &[], &[leaf(&ours, &c)], Some(&binding(4))).unwrap();
    let commit = made.commit_message().to_bytes().unwrap();
    assert_eq!(at_c.apply(&commit).err(), Some(MlsError::NoSecrets));
    let mut ours = follow(&ours, &commit);
    peer::receive(&mut at_d, &commit).unwrap();
    same(&mut ours, &a, &mut theirs);
    // We remove theirs: it cannot follow, the other can.
    let (commit, _, mut ours) = own(&ours, &a, &remove(leaf(&ours, &d), 5));
    peer::receive(&mut theirs, &commit).unwrap();
    same(&mut ours, &a, &mut theirs);
    let said = ours.encrypt(&a, b"not for d").unwrap();
    assert!(peer::receive(&mut at_d, &said).is_err());
}

#[test]
fn they_join_from_outside_and_come_back_in_their_own_place() {
    let (a, b) = (device(1), device(2));
    let root = OpenMls::new().create(&a, &GROUP, Suite::Classic, &binding(0)).unwrap();
    let client = peer::client(&b);
    let (mut theirs, commit) =
        peer::join_external(&client, &root.group_info(&a).unwrap(), b"their Join", None).unwrap();
    let (facts, _) = root.check(&commit).unwrap();
    assert!(facts.external && facts.removes.is_empty() && facts.author.persona == b.persona());
    assert_eq!(facts.aad, b"their Join");
    let mut ours = follow(&root, &commit);
    same(&mut ours, &a, &mut theirs);
    // The state is lost: the same device again, and its old leaf goes.
    let old = theirs.current_member_index();
    let door = ours.group_info(&a).unwrap();
    let (mut theirs, commit) = peer::join_external(&client, &door, b"their Rejoin", Some(old)).unwrap();
    let (facts, _) = ours.check(&commit).unwrap();
    assert_eq!(facts.removes.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [old]);
    let mut ours = follow(&ours, &commit);
    same(&mut ours, &a, &mut theirs);
}

#[test]
fn we_join_their_group_from_outside_and_come_back() {
    let (a, b) = (device(1), device(2));
    let mut theirs = peer::create(&peer::client(&b), &GROUP, &binding(0)).unwrap();
    let mls = OpenMls::new();
    let door = peer::group_info(&theirs).unwrap();
    let public = mls.open_group_info(&door).unwrap();
    let (commit, mut ours) = mls.join_external(&a, &door, b"our Join").unwrap();
    assert_eq!(public.check(&commit).unwrap().1.facts(), ours.facts());
    match peer::receive(&mut theirs, &commit).unwrap() {
        ReceivedMessage::Commit(seen) => assert!(seen.is_external && seen.authenticated_data == b"our Join"),
        other => panic!("{other:?}"),
    }
    same(&mut ours, &a, &mut theirs);
    let (commit, mut ours) = mls.join_external(&a, &peer::group_info(&theirs).unwrap(), b"our Rejoin").unwrap();
    peer::receive(&mut theirs, &commit).unwrap();
    assert_eq!(ours.facts().leaves.len(), 2);
    same(&mut ours, &a, &mut theirs);
}

/// Three members commit on one node. Everybody holds all three branches, then follows one of them further.
#[test]
fn a_three_way_fork_lives_on_in_every_branch() {
    let mls = OpenMls::new();
    let (a, ours, _, mut theirs) = theirs_by_welcome();
    let c = device(3);
    let (package, private) = mls.key_package(&c, Suite::Classic).unwrap();
    let (commit, welcome, ours) = own(&ours, &a, &add(package, 2));
    peer::receive(&mut theirs, &commit).unwrap();
    let at_c = mls.join_welcome(&c, &private, &welcome.unwrap()).unwrap();

    let plan = |n| CommitPlan { binding: Some(binding(n)), ..CommitPlan::default() };
    let (by_a, _, a_of_a) = own(&ours, &a, &plan(3));
    let mut b_of_b = theirs.clone();
    let by_b = peer::commit(&mut b_of_b, &[], &[], Some(&binding(4))).unwrap().commit_message().to_bytes().unwrap();
    let (by_c, _, c_of_c) = own(&at_c, &c, &plan(5));
    // mls-rs keeps a branch by a clone of the group, ours by a node.
    let their_branch = |commit: &[u8]| {
        let mut branch = theirs.clone();
        peer::receive(&mut branch, commit).unwrap();
        branch
    };
    let mut branches = [
        (a_of_a, their_branch(&by_a), follow(&at_c, &by_a)),
        (follow(&ours, &by_b), b_of_b, follow(&at_c, &by_b)),
        (follow(&ours, &by_c), their_branch(&by_c), c_of_c),
    ];
    let mut nodes = std::collections::BTreeSet::new();
    for (at_a, at_b, at_c) in &mut branches {
        same(at_a, &a, at_b);
        same(at_c, &c, at_b);
        nodes.insert(at_a.facts().node);
    }
    assert_eq!(nodes.len(), 3, "one integer epoch, three nodes");
    // Each branch goes on; a commit of one is refused on the others.
    for n in 0..3 {
        let (commit, _, mut next) = own(&branches[n].0, &a, &CommitPlan::default());
        for other in (0..3).filter(|other| *other != n) {
            assert!(branches[other].2.apply(&commit).is_err());
            assert!(peer::receive(&mut branches[other].1.clone(), &commit).is_err());
        }
        peer::receive(&mut branches[n].1, &commit).unwrap();
        same(&mut next, &a, &mut branches[n].1);
    }
}

/// What RFC 9420 allows and Hearth does not, made by somebody else's code.
#[test]
fn what_they_may_say_and_we_refuse() {
    let (_, ours, _, theirs) = theirs_by_welcome();
    let refused = |commit: Vec<u8>| {
        let error = ours.check(&commit).err();
        assert_eq!(ours.apply(&commit).err(), error);
        error
    };
    let bytes =
        |builder: mls_rs::group::CommitBuilder<'_, _>| builder.build().unwrap().commit_message().to_bytes().unwrap();
    let with_aad = bytes(theirs.clone().commit_builder().authenticated_data(b"a word".to_vec()));
    assert_eq!(refused(with_aad), Some(MlsError::Forbidden));
    let without_binding = bytes(theirs.clone().commit_builder().set_group_context_ext(ExtensionList::new()).unwrap());
    assert_eq!(refused(without_binding), Some(MlsError::Forbidden));
    let good = peer::commit(&mut theirs.clone(), &[], &[], None).unwrap().commit_message().to_bytes().unwrap();
    assert!(ours.apply(&good).is_ok());
}
