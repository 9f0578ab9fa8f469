//! A fresh MLS group for the same people.

use hearth_crypto::mls::Suite;
use hearth_integration_tests::sim::{Act, Plan, Scene};
use hearth_protocol::packet::Packet;

use super::{calm, model, with_model, with_openmls};

/// Two facilitators move the group to a fresh MLS group while one is asleep and one has not come in yet; then they take
/// one out. Everybody has one roster and one conversation all the while.
pub(crate) fn restarting(suite: Option<u16>, knock: bool) -> Plan {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (20_000, Act::Say(3)),
        (5_000, Act::Sleep(3)),
        (200, Act::Restart(0, suite)),
        (200, Act::Charter(0)),
        (10_000, Act::Restart(1, None)),
        (200, Act::Say(2)),
        (60_000, Act::Say(4)),
        (200, Act::Say(0)),
        (60_000, Act::Join(5)),
        (60_000, Act::Say(5)),
        (200, Act::Wake(0)),
        (60_000, Act::Say(3)),
        (5_000, Act::Expel(0, 4)),
        (20_000, Act::Say(1)),
        (60_000, Act::Agree),
    ];
    Plan { knock, relays: 1, late: 1, ..calm(6, acts) }
}

#[test]
fn a_restart_moves_the_roster_and_the_conversation_goes_on() {
    for seed in 0..20 {
        let plan = Plan { seed, ..restarting(None, seed % 2 == 0) };
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!((report.members, report.removed), (5, 1), "{plan}");
        let generations: Vec<_> = (0..6).filter(|n| *n != 4).map(|n| report.generations[n]).collect();
        assert_eq!(generations, [Some(1); 5], "{plan}");
    }
}

/// Whoever makes the first node is gone before anybody else is in: the others begin once more.
#[test]
fn a_restart_goes_on_without_who_began_it() {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (20_000, Act::Promote(2, true)),
        (1_000, Act::Second(1, 2)),
        (20_000, Act::Restart(2, None)),
        (2_000, Act::Restart(1, None)),
        (150, Act::Sleep(0)),
        (60_000, Act::Restart(1, None)),
        (2_000, Act::Restart(2, None)),
        (120_000, Act::Say(3)),
        (60_000, Act::Say(1)),
        (200, Act::Wake(0)),
        (120_000, Act::Say(0)),
        (60_000, Act::Agree),
    ];
    let plan = calm(4, acts);
    let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    assert_eq!((report.members, report.generations), (4, vec![Some(2); 4]), "{plan}");
}

#[test]
fn a_restart_changes_the_suite() {
    for knock in [false, true] {
        let plan = restarting(Some(Suite::Hybrid.code()), knock);
        let report = with_openmls(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!(report.members, 5, "{plan}");
        assert_eq!(report.generations[3], Some(1), "{plan}");
    }
}

/// Two versions are both final, by one who signed both, and somebody came in on one of them. The Restart begins where
/// they part, so that join stands no more: whose it was comes back by another link, as who it is and with what it said.
#[test]
fn who_joined_on_what_a_restart_left_behind_comes_back_by_another_link() {
    let mut scene = Scene::with_stranger((6, false), 3, model).unwrap();
    let villain = scene.corrupt(2).unwrap();
    let network = villain.network(&villain.tip);
    // The founder, nodes 3 and 5 and the relay on one side.
    scene.act(Act::Partition { side: 1 | 1 << 3 | 1 << 5 | 1 << 6, one_way: false });
    scene.wait(20_000);
    scene.act(Act::Charter(0));
    scene.act(Act::Charter(1));
    scene.say(4);
    scene.wait(1_000);
    assert!(scene.join(5));
    scene.say(5);
    scene.wait(1_000);
    for (side, others) in [(0, vec![0, 3, 5]), (1, vec![1, 4])] {
        let tip = scene.tip(side).unwrap();
        for node in others {
            scene.whisper(&villain, node, &network, &Packet::Control(villain.sign(&tip)));
        }
    }
    scene.wait(30_000);
    assert!(scene.is_final(0) && scene.is_final(1) && scene.is_final(5));
    assert_ne!(scene.tip(0), scene.tip(1));
    scene.act(Act::Mend);
    scene.soon();
    scene.soon();
    scene.act(Act::Restart(0, None));
    scene.wait(5_000);
    scene.act(Act::Restart(1, None));
    scene.soon();
    scene.soon();
    let persona = scene.persona(5);
    assert!(!scene.roster(0).contains_key(&persona), "its join stands");
    let link = scene.invite(1, 86_400).unwrap();
    assert_eq!(scene.try_link(5, &link), None);
    scene.soon();
    scene.say(5);
    scene.soon();
    for node in [0, 1, 3, 4, 5] {
        assert_eq!(scene.tip(node), scene.tip(0));
        assert!(scene.is_member(node) && scene.is_final(node), "node {node}");
        assert!(scene.roster(node).contains_key(&persona));
        // Node 5 was not in where node 4 spoke.
        assert_eq!(scene.messages(node).len(), if node == 5 { 2 } else { 3 }, "node {node}");
    }
}
