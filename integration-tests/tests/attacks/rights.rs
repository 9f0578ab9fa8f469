//! Acts without the right to them, and rights used to the utmost.

use std::sync::Arc;

use hearth_crypto::{
    chain::Elders,
    mls::{Mls, Suite},
    persona::DeviceKeys,
    policy::Seat,
};
use hearth_integration_tests::sim::{Act, Scene, Villain, charter_op, lie};
use hearth_node::app::RoleName;
use hearth_protocol::{
    frame::Control,
    id::{EnvelopeId, NodeId, OpId, PersonaId},
    op::{JoinMode, LastSeen, OpBody, OpContent, Role, SignedOp},
    time::{Minute, Second},
};
use zeroize::Zeroizing;

use super::{DAY_S, MINUTE_MS, agreed, facilitators, post_all, seen};

/// A facilitator whom the senior one has taken out takes out a member, who hears of nothing else for two days, and asleep for
/// part of them. It has been a member all along, and is one again as soon as it hears.
pub(crate) fn a_removal_by_one_who_was_removed<M: Mls + 'static>(make: fn(u64) -> M) {
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

/// A facilitator who was demoted says things as of before, and commits them.
pub(crate) fn an_op_dated_before_its_authors_demotion<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn a_sock_puppet_promotion<M: Mls + 'static>(make: fn(u64) -> M) {
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
    content.body =
        OpBody::Add { subject: PersonaId([7; 32]), name: lie("eighth"), role, key_package: key_package.into() };
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
pub(crate) fn agreed_with<M: Mls + 'static>(scene: &mut Scene<M>, socks: &[DeviceKeys]) -> NodeId {
    scene.expect(socks.iter().map(DeviceKeys::persona));
    agreed(scene)
}

/// Personas of the villain's own come in by the link that everybody has.
pub(crate) fn let_in<M: Mls + 'static>(scene: &mut Scene<M>, villain: &mut Villain<M>, count: u32) -> Vec<DeviceKeys> {
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

/// Personas that came by a link, more of them than everybody else, name themselves facilitators. The founder's own commit
/// has them on its roster; it knows two others.
pub(crate) fn recover_by_link_holders<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 1, make).unwrap();
    for node in [1, 2] {
        scene.set_role(0, node, RoleName::Cofacilitator);
    }
    scene.soon();
    let mut villain = scene.corrupt(3).unwrap();
    let (decide, certified) = (facilitators(&scene.roster(0)), villain.tip);
    let mut named = vec![villain.keys.persona()];
    let socks = let_in(&mut scene, &mut villain, 5);
    named.extend(socks.iter().map(DeviceKeys::persona));
    named.sort_unstable();
    scene.soon();
    scene.act(Act::Charter(0));
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
    // And as if somebody had vouched for them.
    let heads = villain.log.heads();
    let mut plan = villain.plan(&tip, &heads).unwrap();
    let mut roll = villain.log.state_at(&heads, &()).node_policy();
    roll.vouched.extend(&named);
    let places = Arc::new(villain.nodes[&tip].elders.clone());
    let elders = Elders { places, last: Some((tip, Arc::new(roll))), ..Elders::default() };
    let state = villain.log.state_at(&heads, &elders);
    assert!(named.iter().all(|who| state.facilitators().contains(who)), "their own software follows them");
    plan.binding.as_mut().unwrap().roster_root = state.roster_root(&elders);
    let (lying, node) = villain.commit(&tip, &plan).unwrap();
    let signature = villain.sign(&node);
    let commits = [Control::Commit(frame), Control::Commit(lying), signature];
    post_all(&mut scene, &villain, ops.into_iter().map(Control::Op).chain(commits));
    scene.soon();
    agreed_with(&mut scene, &socks);
    assert_eq!(facilitators(&scene.roster(0)), decide);
}

/// A member asks for a fresh leaf again and again, each time by a good KeyPackage: each would cost everybody a commit.
pub(crate) fn requests_for_a_leaf_without_end<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 2, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let before = scene.depth(0);
    for _ in 0..12 {
        let (key_package, _) = villain.mls.key_package(&villain.keys, Suite::Classic).unwrap();
        let request = villain.op(OpBody::RejoinRequest { key_package: key_package.into() }).unwrap();
        post_all(&mut scene, &villain, [Control::Op(request)]);
        scene.wait(MINUTE_MS / 2);
    }
    scene.say(2);
    scene.soon();
    assert!(scene.depth(0) > before, "who has lost its leaf gets another");
    assert!(scene.depth(0) <= before + 3, "{} commits for one who asks", scene.depth(0) - before);
    agreed(&mut scene);
}

/// An op whose KeyPackage was taken off on its way, or changed for another thing, would use up what it asks for.
pub(crate) fn an_op_without_what_lies_beside_it<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 2, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let before = scene.depth(0);
    let (key_package, _) = villain.mls.key_package(&villain.keys, Suite::Classic).unwrap();
    let request = villain.op(OpBody::RejoinRequest { key_package: key_package.into() }).unwrap();
    let changed = SignedOp { attached: Some(b"another".to_vec()), ..request.clone() };
    post_all(&mut scene, &villain, [Control::Op(request.bare()), Control::Op(changed)]);
    scene.wait(2 * MINUTE_MS);
    assert_eq!(scene.depth(0), before, "somebody commits what is not all there");
    post_all(&mut scene, &villain, [Control::Op(request)]);
    scene.wait(2 * MINUTE_MS);
    assert!(scene.depth(0) > before, "the whole op is taken for one that is known");
    agreed(&mut scene);
}

/// A member says the greatest of each number that it may choose.
pub(crate) fn a_counter_pushed_to_its_maximum<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn second_device<M: Mls + 'static>(scene: &mut Scene<M>, keys: &DeviceKeys) -> DeviceKeys {
    let (own, other) = (keys.seed(), scene.nobody().seed());
    let mut seed = Zeroizing::new([0; 64]);
    seed[..32].copy_from_slice(&own[..32]);
    seed[32..].copy_from_slice(&other[32..]);
    DeviceKeys::from_seed(&seed)
}
