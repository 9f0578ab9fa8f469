//! Attacks that must fail: a member, or somebody with a link, who has software of its own. Everybody else runs the real
//! engine. Each attack runs over the model MLS, whose every run is the same, and over OpenMLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeMap;

use hearth_crypto::{
    chain::mls_group_id,
    mls::{Binding, CommitPlan, Mls, MlsNode as _, Suite},
    model::ModelMls,
    openmls_port::OpenMls,
    persona::DeviceKeys,
    policy::Seat,
};
use hearth_integration_tests::sim::{Act, Invitation, Scene, Villain, charter_op, lie};
use hearth_node::app::{Command, Kind, MessageRow, Notice, RoleName};
use hearth_protocol::{
    cbor,
    door::{DoorBody, NetworkKeys},
    envelope::{EnvelopeContent, SignedEnvelope},
    frame::Control,
    id::{EnvelopeId, GroupId, NodeId, OpId, PersonaId},
    knock::KnockAnswer,
    op::{JoinMode, LastSeen, OpBody, OpContent, Role, SignedOp},
    packet::Packet,
    time::{Minute, Second},
};
use zeroize::Zeroizing;

const MINUTE_MS: u64 = 60_000;
const DAY_S: u64 = 86_400;

fn model(seed: u64) -> ModelMls {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    ModelMls::new(bytes)
}

fn openmls(_: u64) -> OpenMls {
    OpenMls::default()
}

/// Makes a test of each attack, over either MLS.
macro_rules! attacks {
    ($($attack:ident),* $(,)?) => {
        mod over_the_model {
            $(#[test] fn $attack() { super::$attack(super::model); })*
        }
        mod over_openmls {
            $(#[test] fn $attack() { super::$attack(super::openmls); })*
        }
    };
}

attacks![
    fork_grinding_by_a_removed_member,
    a_long_private_branch,
    a_withheld_commit,
    a_removal_by_one_who_was_removed,
    a_drip_of_withheld_commits,
    an_invalid_welcome,
    equivocation_by_a_member,
    equivocation_by_a_facilitator,
    stale_and_poisoned_key_packages,
    external_joins_that_no_link_allows,
    an_expired_link_and_a_clock_put_back,
    a_duplicate_signature_key,
    a_welcome_into_a_forged_group,
    replay_of_any_frame,
    an_epoch_flood,
    rollback_by_an_old_copy_of_the_disk,
    forged_moved_back_dated_and_reordered_history,
    two_copies_of_one_vault,
    an_op_dated_before_its_authors_demotion,
    a_sock_puppet_promotion,
    recover_by_link_holders,
    requests_for_a_leaf_without_end,
    a_counter_pushed_to_its_maximum,
];

/// The tip of whom everybody else agrees with.
fn agreed<M: Mls + 'static>(scene: &mut Scene<M>) -> NodeId {
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    scene.tip(0).unwrap()
}

/// What the founder's node has, as its disk shows it.
fn seen<M: Mls + 'static>(scene: &mut Scene<M>) -> Villain<M> {
    scene.spy(0).unwrap()
}

fn post_all<M: Mls + 'static>(scene: &mut Scene<M>, villain: &Villain<M>, controls: impl IntoIterator<Item = Control>) {
    for control in controls {
        scene.post(villain, &villain.network(&villain.tip), control);
    }
}

fn warned<M: Mls + 'static>(scene: &Scene<M>, node: usize) -> bool {
    scene.notices(node).iter().any(|notice| matches!(notice, Notice::Warning { .. }))
}

fn facilitators(roster: &BTreeMap<PersonaId, RoleName>) -> Vec<PersonaId> {
    roster.iter().filter(|(_, role)| **role == RoleName::Facilitator).map(|(persona, _)| *persona).collect()
}

/// A removed facilitator makes rivals of the commit that took it out, as many as it takes to find ones with lesser
/// hashes, and of the commit before.
fn fork_grinding_by_a_removed_member<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    scene.remove(&[0, 1], 2);
    scene.soon();
    scene.say(3);
    let (out, fork, heads) = (scene.tip(0).unwrap(), villain.tip, villain.heads());
    assert_ne!(out, fork);
    let above = villain.nodes[&fork].made.as_ref().unwrap().parent;
    let mut lesser = 0;
    for n in 0..48 {
        let on = if n % 4 == 0 { above } else { fork };
        let heads = if on == fork { heads.clone() } else { villain.nodes[&on].heads.clone() };
        let (op, frame, node) = villain.rewrite(&on, &heads, &lie(&format!("ground {n}"))).unwrap();
        lesser += usize::from(node < out);
        let signature = villain.sign(&node);
        post_all(&mut scene, &villain, [Control::Op(op), Control::Commit(frame), signature]);
    }
    assert!(lesser > 0, "ground for nothing");
    let tip = agreed(&mut scene);
    assert!(seen(&mut scene).descends(&tip, &out));
    assert!(!scene.roster(0).contains_key(&villain.keys.persona()));
    assert!(!scene.charter(0).contains("ground"));
    // It hears of the network that follows, and has no key to it.
    scene.catch_up(&mut villain, 0);
    let known = &villain.nodes[&out];
    assert!(!known.state.has_secrets() && !villain.networks.contains_key(&known.network));
}

/// A facilitator makes thirty commits that it shows to nobody; meanwhile the others make one.
fn a_long_private_branch<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let (mut at, mut heads, mut branch) = (villain.tip, villain.heads(), Vec::new());
    for n in 0..30 {
        let (op, frame, node) = villain.rewrite(&at, &heads, &lie(&format!("number {n}"))).unwrap();
        (at, heads) = (node, vec![op.id()]);
        branch.extend([Control::Op(op), Control::Commit(frame), villain.sign(&node)]);
    }
    scene.act(Act::Charter(0));
    scene.say(3);
    scene.soon();
    let honest = scene.tip(0).unwrap();
    post_all(&mut scene, &villain, branch);
    scene.say(4);
    scene.soon();
    let tip = agreed(&mut scene);
    assert!(seen(&mut scene).descends(&tip, &honest));
    assert_eq!(scene.charter(0), lie("charter by 0"), "of two who did not know of each other, the senior");
}

/// A facilitator shows a commit to one member alone; then one that nobody is shown, and what rests on it.
fn a_withheld_commit<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let (network, heads) = (villain.network(&villain.tip), villain.heads());
    let (op, frame, shown) = villain.rewrite(&villain.tip.clone(), &heads, &lie("for one")).unwrap();
    for control in [Control::Op(op.clone()), Control::Commit(frame)] {
        scene.whisper(&villain, 3, &network, &Packet::Control(control));
    }
    scene.wait(1_000);
    assert_eq!(scene.tip(3), Some(shown));
    scene.say(3);
    scene.soon();
    // Whoever was shown it hands it on.
    let tip = agreed(&mut scene);
    assert!(seen(&mut scene).descends(&tip, &shown));
    scene.catch_up(&mut villain, 0);
    let (_, _, hidden) = villain.rewrite(&tip, &[op.id()], &lie("for nobody")).unwrap();
    let (op, frame, node) = villain.rewrite(&hidden, &[op.id()], &lie("on nothing")).unwrap();
    let signature = villain.sign(&node);
    post_all(&mut scene, &villain, [Control::Op(op), Control::Commit(frame), signature]);
    scene.act(Act::Charter(1));
    scene.say(4);
    scene.soon();
    let tip = agreed(&mut scene);
    let seen = seen(&mut scene);
    assert!(!seen.nodes.contains_key(&hidden) && !seen.nodes.contains_key(&node));
    assert!(scene.is_final(0), "what rests on nothing keeps nothing from being final");
    assert_eq!(scene.tip(0), Some(tip));
}

/// A facilitator whom the senior one has taken out takes out a member, who hears of nothing else for two days, and asleep for
/// part of them. It has been a member all along, and is one again as soon as it hears.
fn a_removal_by_one_who_was_removed<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 2, make).unwrap();
    scene.act(Act::Partition { side: 1 << 1 | 1 << 4, one_way: false });
    scene.remove(&[0], 1);
    scene.remove_in_vain(1, 4);
    scene.soon();
    assert!(!scene.is_member(4));
    scene.say(2);
    scene.wait(DAY_S * 1_000);
    scene.sleep(4);
    scene.wait(DAY_S * 1_000);
    scene.wake(4);
    assert!(!scene.is_member(4), "removed, as far as it knows");
    scene.act(Act::Mend);
    scene.soon();
    assert!(scene.is_member(4));
    scene.say(4);
    agreed(&mut scene);
    assert!(scene.is_listening(1), "who was removed hears for a while whether it holds");
    scene.wait(15 * DAY_S * 1_000);
    assert!(!scene.is_listening(1), "and then no more");
    assert!(scene.is_listening(4));
}

/// Members who hear of a commit whose parent they lack wait a little with their own commits and signatures. A member who
/// always has another such commit ready when it shows the parent of the last one holds nobody up for long.
fn a_drip_of_withheld_commits<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 2, make).unwrap();
    let mut villain = scene.corrupt(4).unwrap();
    let (tip, mut late) = (villain.tip, None);
    for n in 0..12 {
        let (parent, first) = villain.commit(&tip, &CommitPlan::default()).unwrap();
        let (child, _) = villain.commit(&first, &CommitPlan::default()).unwrap();
        let parent = late.replace(Control::Commit(parent));
        post_all(&mut scene, &villain, parent.into_iter().chain([Control::Commit(child)]));
        if n == 1 {
            scene.act(Act::Charter(1));
        }
        scene.wait(50_000);
    }
    assert_eq!(scene.charter(0), lie("charter by 1"));
    assert!(scene.is_final(0) && scene.tip(0) != Some(tip), "nothing was made final for ten minutes");
    agreed(&mut scene);
}

/// A member makes one self-update on another, and dozens on one node.
fn an_epoch_flood<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 1, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let (start, mut at, mut made) = (villain.tip, villain.tip, Vec::new());
    for _ in 0..12 {
        let (frame, node) = villain.commit(&at, &Default::default()).unwrap();
        post_all(&mut scene, &villain, [Control::Commit(frame)]);
        at = node;
        made.push(node);
    }
    for _ in 0..60 {
        let (frame, _) = villain.commit(&start, &Default::default()).unwrap();
        post_all(&mut scene, &villain, [Control::Commit(frame)]);
    }
    scene.say(1);
    scene.soon();
    let here = seen(&mut scene);
    let known: Vec<_> = made.iter().map(|node| here.nodes.contains_key(node)).collect();
    // Its own join, at the beginning, counts too.
    let most = known.iter().filter(|known| **known).count();
    assert!((7..=8).contains(&most) && known.is_sorted_by(|a, b| a >= b), "{known:?}");
    scene.act(Act::Charter(0));
    scene.soon();
    let tip = agreed(&mut scene);
    assert!(here.nodes.len() < 120 && scene.is_final(0));
    assert_ne!(tip, start);
}

/// A facilitator who was demoted says things as of before, and commits them.
fn an_op_dated_before_its_authors_demotion<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let (before, heads) = (villain.tip, villain.heads());
    scene.set_role(0, 2, RoleName::Member);
    scene.set_role(1, 2, RoleName::Member);
    scene.soon();
    let (roster, charter) = (scene.roster(0), scene.charter(0));
    assert_eq!(facilitators(&roster).len(), 2);
    let subject = scene.persona(3);
    let link = scene.nobody();
    let said = [
        charter_op(&lie("as of before")),
        OpBody::Remove { subject, reason: String::new(), last: Vec::new() },
        OpBody::SetRole { subject, role: Role::Cofacilitator },
        OpBody::Invite {
            join_pk: link.persona().0,
            door_pk: link.device().0,
            uses: 9,
            role: Role::Member,
            expires: Second(u64::MAX),
            mode: JoinMode::Open,
        },
    ];
    let mut ops: Vec<OpId> = Vec::new();
    for body in said {
        let op = villain.op_at(&heads, before, body).unwrap();
        ops.push(op.id());
        post_all(&mut scene, &villain, [Control::Op(op)]);
    }
    // On the node where it still had the right, and, as any member may who realises ops, on the tip.
    let (frame, old) = villain.realise(&before, &ops).unwrap();
    let signature = villain.sign(&old);
    post_all(&mut scene, &villain, [Control::Commit(frame), signature]);
    scene.catch_up(&mut villain, 0);
    let heads = villain.heads();
    let tip = villain.tip;
    let (frame, _) = villain.realise(&tip, &heads).unwrap();
    post_all(&mut scene, &villain, [Control::Commit(frame)]);
    scene.soon();
    let last = agreed(&mut scene);
    assert!(seen(&mut scene).descends(&last, &tip));
    assert_eq!((scene.roster(0), scene.charter(0)), (roster, charter));
}

/// A facilitator lets in personas of its own by a link, and they make each other facilitators.
fn a_sock_puppet_promotion<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let decide = facilitators(&scene.roster(0));
    let socks = let_in(&mut scene, &mut villain, 4);
    scene.soon();
    assert_eq!(scene.roster(0).len(), 9, "they are members like any other");
    scene.catch_up(&mut villain, 0);
    let tip = villain.tip;
    let role = Role::Facilitator;
    let mut ops = Vec::new();
    for subject in socks.iter().map(DeviceKeys::persona) {
        ops.push(villain.op(OpBody::SetRole { subject, role }).unwrap());
        for sock in &socks {
            let heads = villain.heads();
            ops.extend(villain.op_by(sock, &heads, tip, OpBody::SetRole { subject, role }));
        }
    }
    // Such words have no form.
    let mut content = ops[0].open().unwrap();
    let (key_package, _) = villain.mls.key_package(&scene.nobody(), Suite::Classic).unwrap();
    content.body = OpBody::Add { subject: PersonaId([7; 32]), name: lie("eighth"), role, key_package };
    ops.push(villain.forge(&content));
    // And what a commit says of the roster is worked out by everybody anew.
    let heads = villain.heads();
    let mut plan = villain.plan(&tip, &heads).unwrap();
    plan.binding.as_mut().unwrap().roster_root = [7; 32];
    let (lying, _) = villain.commit(&tip, &plan).unwrap();
    let (frame, node) = villain.realise(&tip, &heads).unwrap();
    let signature = villain.sign(&node);
    post_all(&mut scene, &villain, ops.into_iter().map(Control::Op));
    post_all(&mut scene, &villain, [Control::Commit(lying), Control::Commit(frame), signature]);
    scene.soon();
    agreed_with(&mut scene, &socks);
    assert_eq!(facilitators(&scene.roster(0)), decide);
}

/// As [`agreed`], where the roster also has personas of the villain's making.
fn agreed_with<M: Mls + 'static>(scene: &mut Scene<M>, socks: &[DeviceKeys]) -> NodeId {
    scene.expect(socks.iter().map(DeviceKeys::persona));
    agreed(scene)
}

/// Personas of the villain's own come in by the link that everybody has.
fn let_in<M: Mls + 'static>(scene: &mut Scene<M>, villain: &mut Villain<M>, count: u32) -> Vec<DeviceKeys> {
    let link = scene.link().unwrap();
    let socks: Vec<_> = (0..count).map(|_| scene.nobody()).collect();
    for sock in &socks {
        let at = villain.tip;
        let taken = villain.log.state_at(&villain.nodes[&at].heads, &()).invites[&link.invite].free_slot();
        let seat = Seat { invite: link.invite, slot: taken.unwrap(), name: lie("sock") };
        let (frame, node) = villain.let_in(&at, sock, (&link.keys, seat)).unwrap();
        post_all(scene, villain, [Control::Commit(frame)]);
        villain.tip = node;
    }
    socks
}

/// A facilitator adds a second persona whose leaf has a signature key that another leaf has: its own.
fn a_duplicate_signature_key<M: Mls + 'static>(make: fn(u64) -> M) {
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
        key_package: key_package.clone(),
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

/// Personas that came by a link, more of them than everybody else, name themselves facilitators.
fn recover_by_link_holders<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 1, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let (decide, certified) = (facilitators(&scene.roster(0)), villain.tip);
    let mut named = vec![villain.keys.persona()];
    let socks = let_in(&mut scene, &mut villain, 5);
    named.extend(socks.iter().map(DeviceKeys::persona));
    named.sort_unstable();
    scene.soon();
    scene.catch_up(&mut villain, 0);
    let (tip, first) = (villain.tip, villain.network(&villain.tip));
    let mut ops = Vec::new();
    for base in [first, certified, tip] {
        let body = OpBody::Recover { base, facilitators: named.clone() };
        for keys in socks.iter().cloned().chain([villain.keys.clone()]) {
            let heads = villain.heads();
            ops.push(villain.op_by(&keys, &heads, tip, body.clone()).unwrap());
        }
    }
    let heads = villain.heads();
    let (frame, _) = villain.realise(&tip, &heads).unwrap();
    post_all(&mut scene, &villain, ops.into_iter().map(Control::Op).chain([Control::Commit(frame)]));
    scene.soon();
    agreed_with(&mut scene, &socks);
    assert_eq!(facilitators(&scene.roster(0)), decide);
}

/// A facilitator signs both of two rival commits, each where only the one is known: both become final, and everybody is
/// shown that somebody broke the signing rule, and who did.
fn equivocation_by_a_facilitator<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let villain = scene.corrupt(2).unwrap();
    let network = villain.network(&villain.tip);
    // The founder, node 3 and the relay on one side.
    scene.act(Act::Partition { side: 1 | 1 << 3 | 1 << 5, one_way: false });
    scene.wait(20_000);
    scene.act(Act::Charter(0));
    scene.act(Act::Charter(1));
    scene.say(3);
    scene.say(4);
    scene.wait(1_000);
    for (side, others) in [(0, [0, 3]), (1, [1, 4])] {
        let tip = scene.tip(side).unwrap();
        for node in others {
            scene.whisper(&villain, node, &network, &Packet::Control(villain.sign(&tip)));
        }
    }
    scene.wait(30_000);
    assert!(scene.is_final(0) && scene.is_final(1));
    assert_ne!(scene.tip(0), scene.tip(1));
    scene.act(Act::Mend);
    scene.soon();
    scene.soon();
    let honest = [0, 1, 3, 4];
    let liar = villain.keys.persona();
    for node in honest {
        assert_eq!(scene.tip(node), scene.tip(0));
        // Node 1 left its branch rightly, misled. The founder never left its own.
        let suspects = scene.suspects(node);
        assert!(suspects.contains(&liar) && !suspects.contains(&scene.persona(0)), "node {node}");
        assert!(warned(&scene, node), "node {node} was told nothing");
        assert_eq!(scene.messages(node).len(), 2);
    }
    // The group lives on, and takes the liar out.
    scene.remove(&[0, 1], 2);
    scene.soon();
    scene.say(1);
    scene.soon();
    for node in honest {
        assert_eq!(scene.tip(node), scene.tip(0));
        assert!(!scene.roster(node).contains_key(&liar));
        assert_eq!(scene.messages(node).len(), 3);
        assert!(!scene.is_final(node), "nothing can be final while two versions are");
    }
    // A Restart cures it: the same people, without the liar, in a fresh MLS group that can be final again.
    scene.act(Act::Restart(0, None));
    scene.wait(5_000);
    scene.act(Act::Restart(1, None));
    scene.soon();
    scene.soon();
    scene.say(4);
    scene.soon();
    for node in honest {
        assert_eq!(scene.tip(node), scene.tip(0));
        assert!(scene.is_member(node) && scene.is_final(node), "node {node}");
        assert!(scene.suspects(node).is_empty());
        assert!(!scene.roster(node).contains_key(&liar));
        assert_eq!(scene.messages(node).len(), 4);
    }
}

/// A member says two things in one place of its chain, one to each of two others.
fn equivocation_by_a_member<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 1, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let (tip, now) = (villain.tip, scene.now().minute());
    for (to, text) in [(1, "yes"), (2, "no")] {
        let content = villain.content((1, EnvelopeId([0; 32])), now, &lie(text));
        let envelope = villain.envelope(&content);
        let packet = villain.send(&tip, &envelope).unwrap();
        scene.whisper(&villain, to, &villain.network(&tip), &packet);
    }
    scene.say(0);
    scene.soon();
    agreed(&mut scene);
    for node in 0..3 {
        let texts: Vec<_> = scene.messages(node).into_iter().map(|m| m.text).collect();
        assert!(texts.contains(&lie("yes")) && texts.contains(&lie("no")), "node {node} shows {texts:?}");
        assert!(warned(&scene, node), "node {node} was told nothing");
    }
}

/// Whatever lies in queues is put there again, into other queues too, and said on links, twice and backwards.
fn replay_of_any_frame<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 2, make).unwrap();
    let mut packets = Vec::new();
    for _ in 0..2 {
        (0..4).for_each(|node| scene.say(node));
        scene.act(Act::Charter(0));
        scene.act(Act::Edit(1, 1));
        scene.act(Act::React(2, 0, true));
        scene.soon();
        let spy = scene.spy(3).unwrap();
        for network in spy.networks.keys() {
            packets.extend(scene.packets(&spy, network));
        }
        if scene.is_member(4) {
            scene.remove(&[0], 4);
            scene.soon();
        }
    }
    let spy = scene.spy(3).unwrap();
    let tip = agreed(&mut scene);
    let before: Vec<_> = (0..4).map(|node| scene.messages(node)).collect();
    assert!(packets.len() > 30 && spy.networks.len() > 1);
    for packet in packets.iter().rev().chain(&packets) {
        let packet = cbor::read(packet).unwrap();
        for network in spy.networks.keys() {
            scene.post_any(&spy, network, &packet);
            (0..4).for_each(|node| scene.whisper(&spy, node, network, &packet));
        }
        scene.wait(200);
    }
    scene.soon();
    assert_eq!(agreed(&mut scene), tip);
    for (node, before) in before.into_iter().enumerate() {
        assert_eq!((scene.messages(node), scene.told(node)), (before, 1));
    }
    assert_eq!(scene.roster(0).len(), 4);
}

/// Whoever has a link comes in with a seat that it does not have, that is taken, or by a link that has ended.
fn external_joins_that_no_link_allows<M: Mls + 'static>(make: fn(u64) -> M) {
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
fn an_expired_link_and_a_clock_put_back<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::with_stranger((4, false), 1, make).unwrap();
    let link = scene.invite(9, 3_600).unwrap();
    scene.put_clock(3, -3 * 3_600_000);
    scene.wait(2 * 3_600_000);
    assert_eq!(scene.try_link(3, &link), Some(Kind::Expired));
    assert_eq!(scene.roster(0).len(), 3);
}

/// A member asks for a fresh leaf again and again, each time by a good KeyPackage: each would cost everybody a commit.
fn requests_for_a_leaf_without_end<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 2, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let before = scene.depth(0);
    for _ in 0..12 {
        let (key_package, _) = villain.mls.key_package(&villain.keys, Suite::Classic).unwrap();
        let request = villain.op(OpBody::RejoinRequest { key_package }).unwrap();
        post_all(&mut scene, &villain, [Control::Op(request)]);
        scene.wait(MINUTE_MS / 2);
    }
    scene.say(2);
    scene.soon();
    assert!(scene.depth(0) > before, "who has lost its leaf gets another");
    assert!(scene.depth(0) <= before + 3, "{} commits for one who asks", scene.depth(0) - before);
    agreed(&mut scene);
}

/// A member says the greatest of each number that it may choose.
fn a_counter_pushed_to_its_maximum<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 2, make).unwrap();
    let mut villain = scene.corrupt(1).unwrap();
    let (tip, heads, now) = (villain.tip, villain.heads(), scene.now().minute());
    let network = villain.network(&tip);
    scene.say(0);
    // Of ops: what they count, and what they carry.
    let last = LastSeen { device: villain.keys.device(), seq: u64::MAX, hash: [1; 32] };
    let high = OpBody::Remove { subject: scene.persona(4), reason: String::new(), last: vec![last] };
    let op = villain.op_at(&heads, tip, charter_op(&lie("high"))).unwrap();
    let content = OpContent { lamport: u64::MAX, ..op.open().unwrap() };
    post_all(&mut scene, &villain, [Control::Op(villain.forge(&content)), Control::Op(op)]);
    // Of envelopes: places in the chain, of a device that no leaf stands for too, and the time.
    for device in [villain.keys.clone(), second_device(&mut scene, &villain.keys)] {
        let keys = std::mem::replace(&mut villain.keys, device);
        let vouches = villain.op_at(&heads, tip, charter_op(&lie("two devices"))).unwrap();
        post_all(&mut scene, &villain, [Control::Op(vouches)]);
        let ends = [(1, 0), (u64::MAX - 1, 1), (u64::MAX, 1)];
        let said = ends.map(|(seq, prev)| {
            let time = if seq == 1 { now } else { Minute(u64::MAX) };
            let content = villain.content((seq, EnvelopeId([prev; 32])), time, &lie(&format!("number {seq}")));
            villain.envelope(&content)
        });
        villain.keys = keys;
        let packet = villain.share(&tip, said.to_vec()).unwrap();
        scene.post_daily(&villain, &network, &packet);
    }
    scene.soon();
    // Of networks: their first day.
    scene.catch_up(&mut villain, 0);
    let (tip, heads) = (villain.tip, villain.heads());
    let removal = villain.op_at(&heads, tip, high).unwrap();
    let mut plan = villain.plan(&tip, &[removal.id()]).unwrap();
    plan.binding.as_mut().unwrap().first_day = u64::MAX;
    let (frame, node) = villain.commit(&tip, &plan).unwrap();
    // The commit first: whoever hears of the op alone makes another.
    post_all(&mut scene, &villain, [Control::Commit(frame), Control::Op(removal)]);
    scene.is_out(4);
    scene.soon();
    assert_eq!(scene.tip(0), Some(node), "it is the commit of a facilitator");
    // Everybody goes on, also where relays are all that they have.
    for n in [0, 2, 3] {
        scene.say(n);
        scene.soon();
    }
    scene.sleep(2);
    scene.say(3);
    scene.soon();
    [0, 3].into_iter().for_each(|node| scene.sleep(node));
    scene.wake(2);
    scene.soon();
    assert_eq!(scene.messages(2).len(), 3 + 5, "what was said while it slept lies at the relay");
    [0, 3].into_iter().for_each(|node| scene.wake(node));
    agreed(&mut scene);
}

/// Another device of the same persona, that no leaf stands for.
fn second_device<M: Mls + 'static>(scene: &mut Scene<M>, keys: &DeviceKeys) -> DeviceKeys {
    let (own, other) = (keys.seed(), scene.nobody().seed());
    let mut seed = Zeroizing::new([0; 64]);
    seed[..32].copy_from_slice(&own[..32]);
    seed[32..].copy_from_slice(&other[32..]);
    DeviceKeys::from_seed(&seed)
}

/// A facilitator names as members people by KeyPackages of others, by one whose key has a leaf already, and by none; and
/// commits a KeyPackage that no op named.
fn stale_and_poisoned_key_packages<M: Mls + 'static>(make: fn(u64) -> M) {
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
fn an_invalid_welcome<M: Mls + 'static>(make: fn(u64) -> M) {
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
        key_package: knock.key_package.clone(),
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
fn a_welcome_into_a_forged_group<M: Mls + 'static>(make: fn(u64) -> M) {
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

/// A member's computer is set back to a copy of its disk from days before, and goes on from there.
fn rollback_by_an_old_copy_of_the_disk<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 2, make).unwrap();
    scene.say(1);
    scene.say(2);
    scene.soon();
    let copy = scene.copy_disk(1);
    for _ in 0..3 {
        scene.say(1);
        scene.say(2);
        scene.act(Act::Charter(0));
        scene.act(Act::Charter(1));
        scene.soon();
    }
    scene.start_from(1, copy);
    for _ in 0..3 {
        scene.say(1);
        scene.say(3);
        scene.soon();
    }
    agreed(&mut scene);
    assert!(warned(&scene, 0) && warned(&scene, 1), "what was said anew took the place of what was said before");
}

/// Two computers run copies of one vault at the same time.
fn two_copies_of_one_vault<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::with_stranger((4, false), 2, make).unwrap();
    scene.say(1);
    scene.soon();
    let copy = scene.copy_disk(1);
    scene.start_from(3, copy);
    scene.is_same(3, 1);
    for _ in 0..3 {
        scene.say(1);
        scene.say(3);
        scene.say(0);
        scene.soon();
    }
    scene.act(Act::Charter(1));
    scene.act(Act::Charter(3));
    scene.soon();
    agreed(&mut scene);
    (0..4).for_each(|node| assert!(warned(&scene, node), "node {node} was told nothing"));
}

/// A member hands on what others said, changed, under another name, as of another time or in another order, and what was
/// never said here.
fn forged_moved_back_dated_and_reordered_history<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 2, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let (tip, network) = (villain.tip, villain.network(&villain.tip));
    for n in [0, 1, 2, 0, 1] {
        scene.say(n);
        scene.wait(2_000);
    }
    let packets = scene.packets(&villain, &network);
    let honest = villain.open(&packets);
    assert_eq!(honest.len(), 5);
    let before = scene.messages(0);
    let first = honest[0].open().unwrap();
    let changed = |change: &dyn Fn(&mut EnvelopeContent)| {
        let mut content = first.clone();
        change(&mut content);
        content
    };
    let other = scene.nobody();
    let mut lies = Vec::new();
    // The words of another with the old signature: another text, time, place, author, or what came before it.
    let text = villain.content((1, EnvelopeId([0; 32])), Minute(1), &lie("never said")).body;
    let contents = [
        changed(&|c| c.body = text.clone()),
        changed(&|c| c.sent_at = Minute(1)),
        changed(&|c| c.parents = vec![honest[1].id()]),
        changed(&|c| (c.seq, c.prev) = (9, honest[1].id())),
        changed(&|c| c.node = network),
        changed(&|c| c.persona = villain.keys.persona()),
    ];
    for content in &contents {
        lies.push(SignedEnvelope { content: cbor::to_vec(content), sig: honest[0].sig });
        // Or with one's own.
        lies.push(villain.envelope(content));
    }
    // Under another's name by an own device, and by a device that nobody vouches for.
    lies.push(villain.envelope(&changed(&|c| c.device = villain.keys.device())));
    lies.push(villain.envelope(&EnvelopeContent { persona: other.persona(), device: other.device(), ..first.clone() }));
    // Said in another group.
    let here = villain.content((1, EnvelopeId([0; 32])), Minute(1), &lie("said elsewhere"));
    lies.push(hearth_crypto::envelope::sign(&villain.keys, &GroupId([7; 32]), &here));
    // Said where it was not in yet.
    lies.push(villain.envelope(&EnvelopeContent { node: network, ..here }));
    for lies in lies.chunks(4) {
        let packet = villain.share(&tip, lies.to_vec()).unwrap();
        scene.post_daily(&villain, &network, &packet);
        let packet = villain.send(&tip, &lies[0]).unwrap();
        scene.post_daily(&villain, &network, &packet);
    }
    // What was said, the last first.
    for envelope in honest.iter().rev() {
        let packet = villain.share(&tip, vec![envelope.clone()]).unwrap();
        scene.post_daily(&villain, &network, &packet);
        (0..5).for_each(|node| scene.whisper(&villain, node, &network, &packet));
    }
    scene.soon();
    for node in [0, 1, 2, 4] {
        let texts =
            |rows: &[MessageRow]| rows.iter().map(|m| (m.message, m.persona, m.text.clone())).collect::<Vec<_>>();
        assert_eq!(texts(&scene.messages(node)), texts(&before), "node {node}");
    }
    // A time is a claim, and moves nothing before what it follows.
    let (mut prev, mut own) = (EnvelopeId([0; 32]), Vec::new());
    for seq in 1..4 {
        let time = if seq == 1 { scene.now().minute() } else { Minute(1) };
        let content = villain.content((seq, prev), time, &lie(&format!("number {seq}")));
        let parents = vec![honest[4].id()];
        let envelope = villain.envelope(&EnvelopeContent { parents, ..content });
        prev = envelope.id();
        own.push(envelope);
    }
    for envelope in own.iter().rev() {
        let packet = villain.send(&tip, envelope).unwrap();
        scene.post_daily(&villain, &network, &packet);
    }
    scene.soon();
    agreed(&mut scene);
    let last: Vec<_> = scene.messages(0).into_iter().skip(before.len()).map(|m| m.text).collect();
    assert_eq!(last, [1, 2, 3].map(|n| lie(&format!("number {n}"))));
}
