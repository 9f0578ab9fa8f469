//! What a fork leaves to be done once it has healed.

use hearth_integration_tests::sim::{Act, Plan, Scene};

use super::{calm, model, with_model, with_openmls};

/// Two come in while the founder sleeps, who then changes the charter before it hears of them. The Join of the second
/// names that of the first, who is gone: the second comes back without.
#[test]
fn who_joined_after_one_who_is_gone_comes_back() {
    for seed in 0..10 {
        let relay = 1 << 3;
        let acts =
            vec![(3_000, Act::Partition { side: relay, one_way: false }), (10, Act::Wake(0)), (10, Act::Charter(0))];
        let plan = Plan { seed, alone: true, gone: Some(1), ..calm(3, acts) };
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        // Later everybody who is still outside is given another link.
        assert_eq!(report.rounds, 1, "{plan}");
    }
}

/// One comes in on the side of a cut that loses, by a link that a removal on the other side withdraws: no seat of it is
/// left to take. A new link leads back, as who it is and with what it said.
#[test]
fn whose_join_was_lost_with_its_link_comes_back_by_another() {
    let mut scene = Scene::with_stranger((5, false), 2, model).unwrap();
    // The founder, nodes 3 and 4 and the relay on one side.
    scene.act(Act::Partition { side: 1 | 1 << 3 | 1 << 4 | 1 << 5, one_way: false });
    scene.wait(20_000);
    assert!(scene.join(4));
    scene.say(4);
    scene.wait(5_000);
    scene.remove(&[1], 2);
    scene.wait(20_000);
    scene.act(Act::Mend);
    scene.soon();
    let persona = scene.persona(4);
    assert!(!scene.roster(0).contains_key(&persona), "the link still leads back");
    let link = scene.invite(1, 86_400).unwrap();
    assert_eq!(scene.try_link(4, &link), None);
    scene.soon();
    assert_eq!(scene.tip(4), scene.tip(0));
    assert!(scene.roster(0).contains_key(&persona) && scene.roster(0).len() == 4);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
}

/// Of two facilitators each has part of the group with it, and both sides sign. One took out whose word is what both
/// lack: it says that it gives none, and one of them is final.
#[test]
fn who_is_out_is_not_waited_for() {
    for seed in 0..10 {
        // The founder and nodes 2 and 5 on one side; nodes 1, 3 and 4 and the relay on the other.
        let acts = vec![
            (200, Act::Promote(3, true)),
            (60_000, Act::Partition { side: 1 | 1 << 2 | 1 << 5, one_way: false }),
            (10_000, Act::Remove(5)),
            (200, Act::Charter(3)),
            (1_200_000, Act::Mend),
        ];
        let plan = Plan { seed, ..calm(6, acts) };
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!(report.removed, 1, "{plan}");
    }
}

/// Each side of a cut takes out a member of the other and changes the charter, and both go on: what either did in the
/// network that its own removal began reaches the other, which never was in it.
#[test]
fn rival_removals_heal() {
    for seed in 0..40 {
        for relays in [1, 2] {
            // The founder, nodes 2 and 3 and the first relay on one side.
            let side = 1 | 1 << 2 | 1 << 3 | 1 << 6;
            let acts = vec![
                (200, Act::Promote(1, true)),
                (60_000, Act::Say(4)),
                (3_000, Act::Partition { side, one_way: false }),
                (20_000, Act::Expel(0, 4)),
                (200, Act::Expel(1, 2)),
                (3_000, Act::Charter(0)),
                (200, Act::Charter(1)),
                (200, Act::Say(0)),
                (200, Act::Say(2)),
                (200, Act::Say(3)),
                (200, Act::Say(1)),
                (200, Act::Say(4)),
                (200, Act::Say(5)),
                (60_000, Act::Mend),
                (60_000, Act::Say(1)),
                (200, Act::Say(0)),
                (120_000, Act::Agree),
            ];
            let plan = Plan { seed, relays, ..calm(6, acts) };
            let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
            assert_eq!(report.removed, 2, "{plan}");
            assert!(report.forks > 0, "{plan}");
        }
    }
}

/// Two come in on either side of a cut, and all are in when it heals. By a link with two uses left ([R-42]) they take the
/// same seat in every second world; let in by hand, one of them has used up a KeyPackage on the side that loses.
#[test]
fn who_came_in_on_the_side_that_lost_comes_back() {
    for (seed, knock) in (0..20).flat_map(|seed| [(seed, false), (seed, true)]) {
        // The founder, node 4 and the first relay on one side.
        let side = 1 | 1 << 4 | 1 << 6;
        let acts = vec![
            (200, Act::Promote(1, true)),
            (60_000, Act::Partition { side, one_way: false }),
            (20_000, Act::Join(4)),
            (200, Act::Join(5)),
            (3_000, Act::Say(4)),
            (200, Act::Say(5)),
            (20_000, Act::Mend),
            (60_000, Act::Say(0)),
            (300_000, Act::Agree),
        ];
        let plan = Plan { seed, knock, relays: 2, late: 2, uses: Some(5), ..calm(6, acts) };
        if seed < 4 {
            with_openmls(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        }
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!(report.members, 6, "{plan}");
        assert!(report.forks > 0, "{plan}");
    }
}

/// One comes in on one side of a cut and the founder takes out another, knowing of it; the other side's commit wins, and
/// the join that the removal rests on is lost with the fork.
#[test]
fn a_removal_that_rests_on_a_lost_join_is_said_again() {
    for seed in 0..20 {
        // The founder, nodes 2 and 4 and the first relay on one side.
        let side = 1 | 1 << 2 | 1 << 4 | 1 << 5;
        let acts = vec![
            (200, Act::Promote(1, true)),
            (60_000, Act::Partition { side, one_way: false }),
            (20_000, Act::Join(4)),
            (200, Act::Expel(0, 2)),
            (200, Act::Charter(1)),
            (200, Act::Say(3)),
            (60_000, Act::Mend),
            (120_000, Act::Say(0)),
            (300_000, Act::Agree),
        ];
        let plan = Plan { seed, relays: 2, late: 1, ..calm(5, acts) };
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!((report.members, report.removed), (4, 1), "{plan}");
        assert!(report.forks > 0, "{plan}");
    }
}

/// The same, and who came in does not bring the join back; and the founder stops before it has noticed what was lost.
#[test]
fn a_removal_that_was_lost_is_said_again_after_a_start() {
    let mut scene = Scene::with_stranger((5, false), 2, model).unwrap();
    // The founder, nodes 2 and 4 and the relay on one side.
    scene.act(Act::Partition { side: 1 | 1 << 2 | 1 << 4 | 1 << 5, one_way: false });
    scene.wait(20_000);
    assert!(scene.join(4));
    let persona = scene.persona(2);
    scene.remove(&[0], 2);
    scene.sleep(4);
    scene.act(Act::Charter(1));
    scene.wait(60_000);
    scene.act(Act::Mend);
    scene.wait(10_000);
    scene.sleep(0);
    assert!(scene.roster(1).contains_key(&persona), "the removal was not lost");
    scene.wait(300_000);
    scene.wake(0);
    scene.soon();
    assert!(!scene.roster(1).contains_key(&persona));
    // The removal withdrew the link by which the other had come.
    scene.wake(4);
    scene.soon();
    let link = scene.invite(1, 86_400).unwrap();
    assert_eq!(scene.try_link(4, &link), None);
    scene.soon();
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
}
