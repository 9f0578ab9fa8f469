//! Branches that nobody should follow, and signatures that contradict each other.

use std::cmp::Reverse;

use hearth_crypto::mls::{CommitPlan, Mls, MlsNode as _};
use hearth_integration_tests::sim::{Act, Scene, lie};
use hearth_node::store::Table;
use hearth_protocol::{cbor, frame::Control, id::EnvelopeId, packet::Packet};

use super::{agreed, post_all, seen, warned};

/// A removed facilitator makes rivals of the commit that took it out, as many as it takes to find ones with lesser
/// hashes, and of the commit before.
pub(crate) fn fork_grinding_by_a_removed_member<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    scene.remove(&[0, 1], 2);
    scene.soon();
    scene.say(3);
    let (out, fork, heads) = (scene.tip(0).unwrap(), villain.tip, villain.heads());
    assert_ne!(out, fork);
    let above = villain.nodes[&fork].made.as_ref().unwrap().parent;
    let (mut n, mut lesser) = (0, 0);
    while n < 48 || (lesser == 0 && n < 1_024) {
        let on = if n % 4 == 0 { above } else { fork };
        let heads = if on == fork { heads.clone() } else { villain.nodes[&on].heads.clone() };
        let (op, frame, node) = villain.rewrite(&on, &heads, &lie(&format!("ground {n}"))).unwrap();
        lesser += usize::from(node < out);
        let signature = villain.sign(&node);
        post_all(&mut scene, &villain, [Control::Op(op), Control::Commit(frame), signature]);
        n += 1;
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
pub(crate) fn a_long_private_branch<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn a_withheld_commit<M: Mls + 'static>(make: fn(u64) -> M) {
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

/// Members who hear of a commit whose parent they lack wait a little with their own commits and signatures. A member who
/// always has another such commit ready when it shows the parent of the last one holds nobody up for long.
pub(crate) fn a_drip_of_withheld_commits<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn an_epoch_flood<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(4, 1, make).unwrap();
    let mut villain = scene.corrupt(3).unwrap();
    let (start, mut at, mut made) = (villain.tip, villain.tip, Vec::new());
    for _ in 0..12 {
        let (frame, node) = villain.commit(&at, &Default::default()).unwrap();
        post_all(&mut scene, &villain, [Control::Commit(frame)]);
        at = node;
        made.push(node);
    }
    scene.wait(1_000);
    let here = seen(&mut scene);
    let known: Vec<_> = made.iter().map(|node| here.nodes.contains_key(node)).collect();
    // Its own join, at the beginning, counts too.
    let most = known.iter().filter(|known| **known).count();
    assert!((7..=8).contains(&most) && known.is_sorted_by(|a, b| a >= b), "{known:?}");
    for _ in 0..60 {
        let (frame, _) = villain.commit(&start, &Default::default()).unwrap();
        post_all(&mut scene, &villain, [Control::Commit(frame)]);
    }
    scene.say(1);
    scene.soon();
    scene.act(Act::Charter(0));
    scene.soon();
    let tip = agreed(&mut scene);
    assert!(seen(&mut scene).nodes.len() < 40 && scene.is_final(0));
    assert_ne!(tip, start);
}

/// A facilitator makes two hundred rivals of one commit, the greatest first, so that each is the tip when it comes; it signs some
/// and builds on some. Meanwhile others commit, sign, talk, and one of them stops and comes back.
pub(crate) fn twins_without_end<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let (parent, heads, honest) = (villain.tip, villain.heads(), [0, 1, 3, 4]);
    let before = honest.map(|node| kept(&scene, node));
    let (op, ..) = villain.rewrite(&parent, &heads, &lie("twins")).unwrap();
    let mut twins: Vec<_> = (0..200).map(|_| villain.realise(&parent, &[op.id()]).unwrap()).collect();
    twins.sort_by_key(|(_, node)| Reverse(*node));
    let least = twins[199].1;
    for (n, (frame, node)) in twins.into_iter().enumerate() {
        let (child, _) = villain.commit(&node, &CommitPlan::default()).unwrap();
        let signature = villain.sign(&node);
        // Last, or the senior committer, who waits for nobody, would realise it before.
        let op = Some(Control::Op(op.clone())).filter(|_| n == 0);
        post_all(&mut scene, &villain, [Control::Commit(frame)].into_iter().chain(op));
        match n % 3 {
            0 => post_all(&mut scene, &villain, [Control::Commit(child)]),
            1 => post_all(&mut scene, &villain, [signature]),
            _ => {}
        }
        scene.wait(60);
        match n {
            30 => scene.say(1),
            60 => scene.act(Act::Charter(1)),
            80 => scene.sleep(3),
            100 => scene.say(4),
            140 => scene.wake(3),
            160 => scene.say(3),
            _ => {}
        }
    }
    scene.say(0);
    scene.soon();
    scene.say(4);
    scene.soon();
    let tip = agreed(&mut scene);
    for turn in 0..2 {
        for (node, (frames, states, others)) in honest.into_iter().zip(before) {
            assert_eq!(scene.tip(node), Some(tip), "node {node}");
            let here = scene.spy(node).unwrap();
            let twins = here.nodes.values().filter(|n| n.made.as_ref().is_some_and(|made| made.parent == parent));
            // Four by themselves, four by its own signatures, and what each of the others spoke of.
            assert!(twins.count() < 20, "node {node}");
            let now = kept(&scene, node);
            assert!(now.0 < frames + 40 && now.1 < states + 600, "node {node}: {now:?}");
            assert!(now.2 < others + 500, "node {node}: {now:?}");
            assert!(scene.is_final(node), "node {node}");
        }
        assert!(seen(&mut scene).nodes.contains_key(&least), "nobody took the least");
        if turn == 0 {
            scene.sleep(1);
            scene.wait(1_000);
            scene.wake(1);
            scene.say(1);
            scene.soon();
            assert_eq!(agreed(&mut scene), tip);
        }
    }
    assert_eq!(scene.messages(0).len(), 6);
}

/// Rows of frames, of states, and of what waits and is known besides.
fn kept<M: Mls + 'static>(scene: &Scene<M>, node: usize) -> (usize, usize, usize) {
    (scene.rows(node, Table::Frame), scene.rows(node, Table::Node), scene.rows(node, Table::State))
}

/// Cut off from the others, two members are shown the greatest of a facilitator's twins and go on from there. The others have
/// thirty lesser ones when they hear of that.
pub(crate) fn a_twin_that_somebody_built_on<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = Scene::new(5, 3, make).unwrap();
    let mut villain = scene.corrupt(2).unwrap();
    let (parent, heads, network) = (villain.tip, villain.heads(), villain.network(&villain.tip));
    let (op, ..) = villain.rewrite(&parent, &heads, &lie("twins")).unwrap();
    let mut twins: Vec<_> = (0..30).map(|_| villain.realise(&parent, &[op.id()]).unwrap()).collect();
    twins.sort_by_key(|(_, node)| *node);
    let last = twins[29].1;
    // The founder, node 3 and the relay on one side.
    scene.act(Act::Partition { side: 1 | 1 << 3 | 1 << 5, one_way: false });
    scene.wait(20_000);
    for (n, (frame, _)) in twins.into_iter().enumerate() {
        let controls = [Control::Commit(frame), Control::Op(op.clone())];
        if n == 29 {
            for control in controls.clone() {
                scene.whisper(&villain, 1, &network, &Packet::Control(control));
            }
        }
        post_all(&mut scene, &villain, controls);
    }
    scene.wait(1_000);
    assert_eq!(scene.tip(1), Some(last));
    assert!(!seen(&mut scene).nodes.contains_key(&last));
    scene.say(1);
    scene.act(Act::Charter(1));
    scene.say(4);
    scene.say(3);
    scene.wait(30_000);
    scene.act(Act::Mend);
    scene.soon();
    scene.say(0);
    scene.soon();
    let tip = agreed(&mut scene);
    for node in [0, 1, 3, 4] {
        assert_eq!(scene.tip(node), Some(tip), "node {node}");
        assert!(scene.spy(node).unwrap().nodes.contains_key(&last), "node {node} lacks what others built on");
        assert_eq!(scene.messages(node).len(), 4, "node {node}");
    }
}

/// A facilitator signs both of two rival commits, each where only the one is known: both become final, and everybody is
/// shown that somebody broke the signing rule, and who did.
pub(crate) fn equivocation_by_a_facilitator<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn equivocation_by_a_member<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn replay_of_any_frame<M: Mls + 'static>(make: fn(u64) -> M) {
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
