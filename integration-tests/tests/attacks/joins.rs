//! Ways in that are none.

use hearth_crypto::{
    chain::mls_group_id,
    mls::{Binding, CommitPlan, Mls, MlsNode as _, Suite},
    persona::DeviceKeys,
    policy::Seat,
};
use hearth_integration_tests::sim::{Act, Invitation, Scene, Villain, lie};
use hearth_node::app::{Command, Kind};
use hearth_protocol::{
    door::{DoorBody, NetworkKeys},
    frame::Control,
    id::{GroupId, NodeId, OpId, PersonaId},
    knock::KnockAnswer,
    op::{OpBody, Role, SignedOp},
};
use zeroize::Zeroizing;

use super::{DAY_S, MINUTE_MS, agreed, post_all, seen};

/// A facilitator adds a second persona whose leaf has a signature key that another leaf has: its own.
pub(crate) fn a_duplicate_signature_key<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 2, make).unwrap();
    let mut villain = scene.corrupt(1).unwrap();
    let (tip, heads, link) = (villain.tip, villain.heads(), scene.link().unwrap());
    let (persona, device) = (scene.nobody().seed(), villain.keys.seed());
    let mut seed = Zeroizing::new([0; 64]);
    seed[..32].copy_from_slice(&persona[..32]);
    seed[32..].copy_from_slice(&device[32..]);
    let twin = DeviceKeys::from_seed(&seed);
    assert_eq!(twin.device(), villain.keys.device());
    // By hand. (An MLS library that refuses to make such a commit leaves nothing to try.)
    let (key_package, _) = villain.mls.key_package(&twin, Suite::Classic).unwrap();
    let add = OpBody::Add {
        subject: twin.persona(),
        name: lie("twin"),
        role: Role::Member,
        key_package: key_package.clone().into(),
    };
    let op = villain.op_at(&heads, tip, add).unwrap();
    let mut plan = villain.plan(&tip, &[op.id()]).unwrap();
    plan.adds.push(key_package);
    let added = villain.commit(&tip, &plan);
    // By the link.
    let seat = Seat { invite: link.invite, slot: 7, name: lie("twin") };
    let joined = villain.let_in(&tip, &twin, (&link.keys, seat));
    let tries: Vec<_> = [added, joined].into_iter().flatten().collect();
    for (frame, node) in &tries {
        let signature = villain.sign(node);
        post_all(&mut scene, &villain, [Control::Commit(frame.clone()), signature]);
    }
    post_all(&mut scene, &villain, [Control::Op(op)]);
    scene.say(2);
    scene.soon();
    scene.expect([twin.persona()]);
    let tip = agreed(&mut scene);
    let seen = seen(&mut scene);
    assert!(tries.iter().all(|(_, node)| !seen.nodes.contains_key(node)));
    let leaves = &seen.nodes[&tip].state.facts().leaves;
    assert_eq!(leaves.len(), 4, "it was named a member, and has no leaf");
}

/// Whoever has a link comes in with a seat that it does not have, that is taken, or by a link that has ended.
pub(crate) fn external_joins_that_no_link_allows<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 1, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let (all, few, old) = (scene.link().unwrap(), scene.invite(2, DAY_S).unwrap(), scene.invite(9, DAY_S).unwrap());
    scene.soon();
    scene.catch_up(&mut villain, 0);
    let start = villain.tip;
    let mut tries = Vec::new();
    let mut attempt = |scene: &mut Scene<M>, villain: &mut Villain<M>, at: NodeId, link: &Invitation, slot| {
        let who = scene.nobody();
        let seat = Seat { invite: link.invite, slot, name: lie("nobody") };
        let (frame, node) = villain.let_in(&at, &who, (&link.keys, seat)).unwrap();
        scene.post(villain, &villain.network(&at), Control::Commit(frame));
        tries.push(node);
    };
    // Of eight seats three are taken; of two none.
    attempt(&mut scene, &mut villain, start, &all, 0);
    attempt(&mut scene, &mut villain, start, &few, 2);
    attempt(&mut scene, &mut villain, start, &few, u32::MAX);
    // With the keys of another link.
    let mixed = Invitation { keys: few.keys.clone(), ..scene.link().unwrap() };
    attempt(&mut scene, &mut villain, start, &mixed, 6);
    let (group, invite) = (scene.group(), old.invite);
    scene.query(0, Command::InviteRevoke { group, invite }).unwrap();
    scene.soon();
    // As of before it was revoked, and after.
    attempt(&mut scene, &mut villain, start, &old, 0);
    scene.catch_up(&mut villain, 0);
    let at = scene.tip(0).unwrap();
    if villain.nodes[&at].state.has_secrets() {
        attempt(&mut scene, &mut villain, at, &old, 1);
    }
    let (charter, history_days, slow_mode_s, relays) = (None, None, None, None);
    let set = Command::GroupSet { group, charter, history_days, slow_mode_s, shield: Some(true), relays };
    scene.query(0, set).unwrap();
    scene.soon();
    scene.catch_up(&mut villain, 0);
    let at = scene.tip(0).unwrap();
    if villain.nodes[&at].state.has_secrets() {
        attempt(&mut scene, &mut villain, at, &few, 0);
    }
    scene.say(1);
    scene.soon();
    let tip = agreed(&mut scene);
    assert_eq!(scene.roster(0).len(), 4);
    let seen = seen(&mut scene);
    assert!(!tries.iter().any(|node| seen.descends(&tip, node)));
}

/// A link has ended, and whoever has it has put its clock back.
pub(crate) fn an_expired_link_and_a_clock_put_back<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::with_stranger((4, false), 1, make).unwrap();
    let link = scene.invite(9, 3_600).unwrap();
    scene.put_clock(3, -3 * 3_600_000);
    scene.wait(2 * 3_600_000);
    assert_eq!(scene.try_link(3, &link), Some(Kind::Expired));
    assert_eq!(scene.roster(0).len(), 3);
}

/// A facilitator names as members people by KeyPackages of others, by one whose key has a leaf already, and by none; and
/// commits a KeyPackage that no op named.
pub(crate) fn stale_and_poisoned_key_packages<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 2, make).unwrap();
    let mut villain = scene.corrupt(1).unwrap();
    let tip = villain.tip;
    let (good, other, named, swapped) = (scene.nobody(), scene.nobody(), scene.nobody(), scene.nobody());
    let package = |keys: &DeviceKeys| villain.mls.key_package(keys, Suite::Classic).unwrap().0;
    let packages = [
        (good.persona(), package(&good)),
        (named.persona(), package(&other)),
        (PersonaId([7; 32]), package(&villain.keys)),
        (scene.nobody().persona(), vec![7; 300]),
        (scene.nobody().persona(), vec![]),
    ];
    let mut ops = Vec::new();
    for (subject, key_package) in packages.clone() {
        let key_package = key_package.into();
        let body = OpBody::Add { subject, name: lie("nobody"), role: Role::Member, key_package };
        ops.extend(villain.op(body));
    }
    // And a commit adds a KeyPackage of which no op says anything.
    let heads = villain.heads();
    let mut plan = villain.plan(&tip, &heads).unwrap();
    plan.adds.push(villain.mls.key_package(&swapped, Suite::Classic).unwrap().0);
    let (frame, wrong) = villain.commit(&tip, &plan).unwrap();
    post_all(&mut scene, &villain, ops.into_iter().map(Control::Op).chain([Control::Commit(frame)]));
    scene.soon();
    let ghosts: Vec<_> = packages.iter().map(|(persona, _)| *persona).collect();
    scene.act(Act::Charter(0));
    scene.say(2);
    scene.soon();
    scene.expect(ghosts.clone());
    let tip = agreed(&mut scene);
    let here = seen(&mut scene);
    assert!(!here.nodes.contains_key(&wrong));
    let in_tree: Vec<_> = here.nodes[&tip].state.facts().leaves.iter().map(|leaf| leaf.persona).collect();
    assert_eq!(in_tree.len(), 6, "of five words only the first one had a KeyPackage of the one it named");
    assert!(in_tree.contains(&ghosts[0]) && !ghosts[1..].iter().any(|ghost| in_tree.contains(ghost)));
    assert_eq!(scene.charter(0), lie("charter by 0"));
}

/// Somebody knocks. A facilitator whom nobody asked answers: with a Welcome that does not open, with one into a group of its
/// own making, and with one that opens and a door that lies.
pub(crate) fn an_invalid_welcome<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::with_stranger((5, true), 2, make).unwrap();
    let mut villain = scene.corrupt(1).unwrap();
    scene.knock(4);
    let knock = scene.knocks(&villain).pop().unwrap();
    let tip = villain.tip;
    let door = villain.door(&tip, scene.now()).unwrap();
    let body = OpBody::Add {
        subject: knock.persona,
        name: lie("stranger"),
        role: Role::Member,
        key_package: knock.key_package.clone().into(),
    };
    let op = villain.op(body).unwrap();
    let mut plan = villain.plan(&tip, &[op.id()]).unwrap();
    plan.adds.push(knock.key_package.clone());
    // An own group under the same name, whose founder it is.
    let binding = villain.nodes[&tip].state.facts().binding.clone();
    let id = mls_group_id(villain.log.get(&OpId(scene.group().0)).unwrap(), 0);
    let forged = villain.mls.create(&villain.keys, &id, Suite::Classic, &binding).unwrap();
    let root = villain.found(forged);
    let own_plan = CommitPlan { adds: plan.adds.clone(), removes: Vec::new(), binding: Some(binding) };
    let (own_frame, own_node, own_welcome) = villain.welcome(&root, &own_plan).unwrap();
    let own_info = villain.nodes[&root].state.group_info(&villain.keys).unwrap();
    let own_door =
        DoorBody { node: own_node, base: root, base_info: own_info, frames: vec![own_frame], ..door.clone() };
    // One that opens: a commit that the villain shows to nobody else. What lies beside it does not fit.
    let (frame, node, welcome) = villain.welcome(&tip, &plan).unwrap();
    let good = villain.door(&node, scene.now()).unwrap();
    let answers = [
        (vec![7; 500], good.clone()),
        (own_welcome.clone(), own_door),
        (own_welcome, good.clone()),
        (welcome.clone(), DoorBody { frames: Vec::new(), ..good.clone() }),
        (welcome.clone(), DoorBody { base: node, base_info: Vec::new(), ..good.clone() }),
        (welcome, DoorBody { group: GroupId([7; 32]), ..good.clone() }),
        (vec![8; 500], DoorBody { ops: good.ops[1..].to_vec(), ..good }),
    ];
    drop(frame);
    for (welcome, door) in answers {
        scene.answer(&knock, KnockAnswer::Admitted { welcome, door });
        scene.wait(5_000);
        assert!(!scene.is_member(4));
    }
    // It is told no by one who has no right to, and yes by one who has: also after a restart in between.
    scene.answer(&knock, KnockAnswer::Declined);
    scene.wait(5_000);
    scene.sleep(4);
    scene.wake(4);
    scene.wait(DAY_S * 1_000);
    assert!(!scene.is_member(4));
    assert!(scene.admit(4));
    scene.say(4);
    agreed(&mut scene);
}

/// A member leaves a forged door behind the link that everybody has.
pub(crate) fn a_welcome_into_a_forged_group<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::with_stranger((4, false), 1, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let (tip, link) = (villain.tip, scene.link().unwrap());
    let door = villain.door(&tip, scene.now()).unwrap();
    let genesis = villain.log.get(&OpId(scene.group().0)).unwrap().clone();
    let binding = Binding { heads: vec![genesis.id()], ..villain.nodes[&tip].state.facts().binding.clone() };
    let root = villain.log.state_at(&[genesis.id()], &()).roster_root(&());
    let binding = Binding { roster_root: root, network: None, epoch: 0, ..binding };
    let id = mls_group_id(&genesis, 0);
    let forged = villain.mls.create(&villain.keys, &id, Suite::Classic, &binding).unwrap();
    let own = villain.found(forged);
    let info = villain.nodes[&own].state.group_info(&villain.keys).unwrap();
    let doors = [
        // A first node that the founder did not make.
        DoorBody {
            node: own,
            base: own,
            group_info: info.clone(),
            base_info: Vec::new(),
            frames: Vec::new(),
            ..door.clone()
        },
        // A node that is no child of what comes before it.
        DoorBody { node: own, group_info: info, ..door.clone() },
        // A base that nobody signed as final.
        DoorBody { base: tip, base_info: Vec::new(), frames: Vec::new(), signatures: Vec::new(), ..door.clone() },
        // An op that nobody signed.
        DoorBody { ops: door.ops.iter().cloned().map(|op| SignedOp { sig: [7; 64], ..op }).collect(), ..door.clone() },
        // Another network.
        DoorBody { keys: NetworkKeys { network: own, ..door.keys.clone() }, ..door },
    ];
    for (n, door) in doors.into_iter().enumerate() {
        scene.leave_door(&villain, &link, &door);
        assert!(!scene.join(3), "door {n}");
        assert_eq!(scene.roster(0).len(), 3);
    }
    // Members mend their door, and by it the stranger comes in.
    for _ in 0..5 {
        scene.wait(10 * MINUTE_MS);
        if scene.join(3) {
            break;
        }
    }
    assert!(scene.is_member(3));
    scene.say(3);
    agreed(&mut scene);
}
