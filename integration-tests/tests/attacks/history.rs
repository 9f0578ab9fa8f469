//! Old copies, and history that is not what it was.

use hearth_crypto::mls::Mls;
use hearth_integration_tests::sim::{Act, Scene, lie};
use hearth_node::app::MessageRow;
use hearth_protocol::{
    cbor,
    envelope::{EnvelopeContent, SignedEnvelope},
    id::{EnvelopeId, GroupId},
    time::Minute,
};

use super::{agreed, warned};

/// A member's computer is set back to a copy of its disk from days before, and goes on from there.
pub(crate) fn rollback_by_an_old_copy_of_the_disk<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn two_copies_of_one_vault<M: Mls + 'static>(make: fn(u64) -> M) {
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
pub(crate) fn forged_moved_back_dated_and_reordered_history<M: Mls + 'static>(make: fn(u64) -> M) {
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
