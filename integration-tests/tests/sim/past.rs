//! What lies behind: bases that move, secrets that go, networks that end.

use hearth_crypto::{mls::Suite, openmls_port::OpenMls};
use hearth_integration_tests::sim::{self, Act, Plan, Report, Scene};
use hearth_protocol::limits::{CHARTER_MAX, DOOR_MAX};

use super::{calm, model, with_model};

/// Two facilitators who change the charter by turns, so often that what came first is left behind.
pub(crate) fn long_past(commits: usize) -> Vec<(u64, Act)> {
    let turn = |n: usize| [(6_000, Act::Charter(n % 2)), (200, Act::Say(n % 3))];
    (0..commits).flat_map(turn).collect()
}

#[test]
fn the_base_moves_and_whoever_comes_later_begins_there() {
    let mut acts = vec![(200, Act::Promote(1, true)), (20_000, Act::Say(2)), (200, Act::Sleep(2))];
    acts.extend(long_past(20));
    acts.extend([(200, Act::Join(3)), (5_000, Act::Say(3))]);
    acts.extend(long_past(30));
    // One restarts on a later base, one comes back from before it, one comes in.
    acts.extend([(200, Act::Sleep(1)), (5_000, Act::Wake(1)), (5_000, Act::Wake(0)), (5_000, Act::Join(4))]);
    acts.extend([(5_000, Act::Say(2)), (200, Act::Say(4)), (200, Act::Charter(0)), (20_000, Act::Say(1))]);
    let plan = Plan { late: 2, dag_bytes: Some(1), ..calm(5, acts) };
    let Report { bases, members, .. } = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    assert_eq!(members, 5);
    let bases: Vec<u64> = bases.into_iter().map(|b| b.expect("everybody is up and in")).collect();
    assert!(bases.iter().all(|b| *b > 0), "{bases:?}");
    assert!(bases[4] > bases[0], "a newcomer begins at what is final, not where others still keep what came before");
}

/// With real MLS, post-quantum, whose commits are large: whoever comes in after many of them finds a small door.
#[test]
fn a_long_past_makes_no_larger_door() {
    let doors = [4, 80].map(|commits| {
        let mut acts = vec![(200, Act::Promote(1, true))];
        acts.extend(long_past(commits));
        acts.extend([(20_000, Act::Join(3)), (5_000, Act::Say(3)), (5_000, Act::Say(0))]);
        let plan = Plan { late: 1, ..calm(4, acts) };
        let run = sim::run(&plan, Suite::Hybrid, |_| OpenMls::default());
        let report = run.unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!(report.members, 4);
        report.largest_door
    });
    println!("largest door, after a few commits and after many: {doors:?} bytes");
    // Its ops still grow, and a body is padded to a power of two.
    assert!(doors[1] <= doors[0] * 2, "{doors:?}");
}

/// After a month an invite's commit begins a network, and a newcomer keeps the extension that does not name it. What is decided
/// then is in force all the same.
#[test]
fn a_network_of_its_own_goes_on_after_a_join() {
    let plan = Plan { late: 1, ..calm(3, Vec::new()) };
    let mut scene = Scene::of(&plan, 1, model).unwrap();
    scene.wait(31 * 24 * 3_600_000);
    let link = scene.invite_by(0, 2, 86_400).unwrap();
    assert_eq!(scene.come_in(2, &link), Ok(()));
    let depth = scene.depth(2);
    scene.act(Act::Charter(0));
    scene.soon();
    assert_eq!([0, 1, 2].map(|node| scene.depth(node)), [depth + 1; 3], "nobody can commit");
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
}

/// More charters of full length than a door could hold: they stay behind, and whoever comes in has them by and by.
#[test]
fn old_charters_shut_no_door() {
    let plan = Plan { late: 1, ..calm(3, Vec::new()) };
    let mut scene = Scene::of(&plan, 1, model).unwrap();
    let charter = |n: usize| format!("{n}{}", "x".repeat(CHARTER_MAX - 8));
    let many = DOOR_MAX / CHARTER_MAX + 2;
    for n in 0..many {
        scene.set_charter(0, &charter(n));
        scene.wait(6_000);
    }
    let link = scene.invite_by(0, 2, 86_400).unwrap();
    assert_eq!(scene.come_in(2, &link), Ok(()), "a newcomer finds no way in");
    assert_eq!(scene.charter(2), charter(many - 1));
    scene.say(2);
    scene.wait(20 * 60_000);
    assert_eq!([0, 1, 2].map(|node| scene.bare_ops(node)), [0; 3], "what a door leaves out never comes");
}

#[test]
fn many_joins_in_a_row_are_written_in() {
    let acts = vec![(60_000, Act::Join(21)), (5_000, Act::Say(21)), (5_000, Act::Say(20))];
    let plan = Plan { late: 1, ..calm(22, acts) };
    let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    assert!(report.bases[21] > Some(16), "nobody wrote a commit that a newcomer can begin at: {:?}", report.bases[21]);
}

/// [R-54] (7) One talks at a node that the others have long left behind; what they need for that they still have, and nothing
/// with which what they said since could be read. Two weeks later not that either.
#[test]
fn secrets_of_what_lies_behind_are_destroyed() {
    let kept = |wait: u64| {
        let mut acts = vec![
            (200, Act::Promote(1, true)),
            (20_000, Act::Say(2)),
            // Node 3 alone.
            (20_000, Act::Partition { side: 1 << 3, one_way: false }),
        ];
        acts.extend(long_past(10));
        acts.extend([(2 * 3_600_000, Act::Say(3)), (200, Act::Mend), (60_000, Act::Say(3)), (20_000, Act::Complete)]);
        acts.push((wait, Act::Say(1)));
        let plan = calm(4, acts);
        with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}")).secrets
    };
    for (full, readable) in kept(2 * 3_600_000) {
        assert!((1..=3).contains(&full) && (10..=24).contains(&readable), "{full} and {readable}");
    }
    for (full, readable) in kept(15 * 24 * 3_600_000) {
        assert!((1..=3).contains(&full) && readable == 0, "{full} and {readable}");
    }
}

/// The network of everybody who came back, which must be one.
fn network(plan: &Plan) -> String {
    let report = with_model(plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    let networks: std::collections::BTreeSet<_> = report.networks.iter().flatten().collect();
    assert_eq!(networks.len(), 1, "{plan}");
    format!("{networks:?}")
}

/// Nobody is removed, and one who slept meanwhile crosses as after a removal.
#[test]
fn a_commit_that_finds_the_network_a_month_old_begins_another() {
    const DAY: u64 = 24 * 3_600_000;
    let after = |days: u64| {
        let acts = [(days * DAY, Act::Sleep(2)), (200, Act::Charter(0)), (200, Act::Say(1)), (60_000, Act::Wake(0))];
        network(&calm(3, acts.to_vec()))
    };
    // Model MLS: the same seed gives the same nodes, so the first network has the same name.
    let first = network(&calm(3, vec![]));
    assert_eq!(after(6), first);
    assert_ne!(after(31), first);
}
