//! The simulator over many seeds. `HEARTH_SIM_SEEDS=from..to` runs others, and tells how far it is, so that a long run
//! can be resumed; a failing seed shows its plan, cut down, and the first invariant that it breaks.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "test code outside of test functions")]

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use hearth_crypto::{mls::Suite, model::ModelMls, openmls_port::OpenMls};
use hearth_integration_tests::sim::{self, Act, Cut, Failure, Faults, Plan, Report, Scene, Spoil, SpoiledMls, Strike};
use hearth_node::app::{Command, Kind, Notice, Secret};

/// Seeds between two words on how far a long run is.
const TELL: u64 = 250;

/// A model MLS of its own for every start of every node.
fn model(seed: u64) -> ModelMls {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    ModelMls::new(bytes)
}

fn with_model(plan: &Plan) -> Result<Report, Failure> {
    sim::run(plan, Suite::Classic, model)
}

fn with_openmls(plan: &Plan) -> Result<Report, Failure> {
    let suite = if plan.seed.is_multiple_of(8) { Suite::Hybrid } else { Suite::Classic };
    sim::run(plan, suite, |_| OpenMls::default())
}

/// Seeds of a run: the default, or what the environment says.
fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(given) = std::env::var("HEARTH_SIM_SEEDS") else { return default };
    let range = given.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("HEARTH_SIM_SEEDS is from..to, as in 200..1000, not {given}"))
}

/// A panic breaks the eighth invariant.
fn caught(run: impl Fn(&Plan) -> Result<Report, Failure>, plan: &Plan) -> Result<Report, Failure> {
    catch_unwind(AssertUnwindSafe(|| run(plan)))
        .unwrap_or_else(|_| Err(Failure { invariant: 8, what: "the engine panicked: see above".into() }))
}

fn all(seeds: Range<u64>, plan: fn(u64) -> Plan, run: impl Fn(&Plan) -> Result<Report, Failure> + Sync) {
    let next = AtomicU64::new(seeds.start);
    let (failed, total) = (Mutex::new(Vec::new()), Mutex::new(Report::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if seed > seeds.start && seed.is_multiple_of(TELL) {
                        println!("at seed {seed} of {seeds:?}, {} failed", failed.lock().unwrap().len());
                    }
                    let plan = plan(seed);
                    match caught(&run, &plan) {
                        Ok(report) => {
                            let mut t = total.lock().unwrap();
                            t.said += report.said;
                            t.forks += report.forks;
                            t.crashes += report.crashes;
                            t.removed += report.removed;
                            t.rounds = t.rounds.max(report.rounds);
                        }
                        Err(failure) => {
                            println!("seed {seed}: {failure}");
                            failed.lock().unwrap().push((plan, failure));
                        }
                    }
                }
            });
        }
    });
    let Report { said, forks, crashes, removed, rounds, .. } = total.into_inner().unwrap();
    println!(
        "seeds {seeds:?}: {said} messages, {forks} forks seen healing, {crashes} crashes, {removed} removals; \
         at most {rounds} sync rounds until all agreed"
    );
    let failed = failed.into_inner().unwrap();
    let names: Vec<_> = failed.iter().map(|(plan, failure)| format!("seed {}: {failure}", plan.seed)).collect();
    if let Some((plan, failure)) = failed.into_iter().min_by_key(|(plan, _)| (plan.nodes, plan.seed)) {
        let (plan, failure) = sim::shrink(&plan, failure, |plan| caught(&run, plan).err());
        panic!(
            "{} of {seeds:?} failed:\n{}\n\nthe least of them, cut down:\n{plan}{failure}",
            names.len(),
            names.join("\n")
        );
    }
    assert!(said > 0, "nothing was said");
}

#[test]
fn many_seeds_with_model_mls() {
    all(seeds(0..2_000), Plan::new, with_model);
}

/// The same worlds, where whoever comes in has to be let in.
#[test]
fn many_knocks() {
    all(seeds(0..300), |seed| Plan { knock: true, ..Plan::new(seed) }, with_model);
}

#[test]
fn seeds_with_real_mls() {
    all(seeds(0..200), Plan::new, with_openmls);
}

/// A fifth of gossip is lost, and no relay can be reached: within half a minute all have all, from each other. (Who
/// hears neither the last word nor any acknowledgement of it waits for the next regular sync.)
#[test]
fn what_gossip_lost_is_asked_of_members() {
    for seed in 0..20 {
        let mut plan = Plan { nodes: 5, relays: 1, alone: false, gone: None, ..Plan::new(seed) };
        plan.faults = Faults { drop: 0.2, duplicate: 0.0, reorder: 0.0, delay_ms: 50, skew_ms: 0 };
        // The sixth end is the relay.
        plan.acts = vec![(60_000, Act::Partition { side: 1 << 5, one_way: false })];
        plan.acts.extend((0..40).map(|n| (200, Act::Say(n % 5))));
        plan.acts.push((30_000, Act::Complete));
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!(report.said, 40);
    }
}

#[test]
fn large_groups() {
    all(0..5, Plan::large, with_model);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let run = || with_model(&Plan::new(seed)).map(|r| r.trace);
        let (a, b) = (run(), run());
        assert_eq!(a.as_ref().ok(), b.as_ref().ok(), "seed {seed}");
        traces.insert(a.ok());
    }
    assert!(traces.len() > 15, "seeds differ");
}

/// A calm world with these acts.
fn calm(nodes: usize, acts: Vec<(u64, Act)>) -> Plan {
    let faults = Faults { drop: 0.0, duplicate: 0.0, reorder: 0.0, delay_ms: 50, skew_ms: 0 };
    Plan { nodes, relays: 1, faults, alone: false, gone: None, acts, ..Plan::new(1) }
}

/// Which batches of writes of a plan.
enum Part {
    Whole,
    /// From the first act on.
    Acts,
    /// So many at the end.
    Last(usize),
}

/// Crashes at every batch of writes of a part of a plan, before the batch is on disk and right after. Gives the number
/// of batches.
fn crash_at_every_write(name: &str, plan: &Plan, part: Part) -> usize {
    let run = |strike| sim::run_struck(plan, Suite::Classic, model, strike);
    let (_, founded, end) = run(None).unwrap_or_else(|failure| panic!("{name}, no crash: {failure}"));
    let first = match part {
        Part::Whole => 0,
        Part::Acts => founded,
        Part::Last(batches) => end.saturating_sub(batches),
    };
    let strikes = (first..end).flat_map(|batch| [Cut::Persisting, Cut::Persisted].map(|cut| Strike { batch, cut }));
    let strikes: Vec<_> = strikes.collect();
    let (next, failed) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(strike) = strikes.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                    let crashed = |plan: &Plan| {
                        let (report, ..) = sim::run_struck(plan, Suite::Classic, model, Some(*strike))?;
                        assert_eq!(report.crashes, 1, "{strike:?} met no write");
                        Ok(report)
                    };
                    if let Err(failure) = caught(crashed, plan) {
                        failed.lock().unwrap().push(format!("{strike:?}: {failure}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!("{name}: {} batches, {} crashes, {} failed", end - first, strikes.len(), failed.len());
    assert!(failed.is_empty(), "{name}, {} of {}:\n{}\n{plan}", failed.len(), strikes.len(), failed.join("\n"));
    end - first
}

#[test]
fn a_crash_at_every_write_of_founding_and_joining() {
    let batches = crash_at_every_write("found and join", &calm(3, vec![]), Part::Whole);
    assert!(batches > 20, "only {batches} writes");
}

#[test]
fn a_crash_at_every_write_of_knocking() {
    let plan = Plan { knock: true, ..calm(3, vec![]) };
    let batches = crash_at_every_write("knock and admit", &plan, Part::Whole);
    assert!(batches > 30, "only {batches} writes");
}

#[test]
fn a_crash_at_every_write_of_talking() {
    let acts = vec![
        (200, Act::Say(0)),
        (200, Act::Say(1)),
        (10, Act::Say(2)),
        (200, Act::Edit(1, 1)),
        (200, Act::React(0, 2, true)),
        (3_000, Act::Say(1)),
    ];
    let batches = crash_at_every_write("talk", &calm(3, acts), Part::Acts);
    assert!(batches > 10, "only {batches} writes");
}

#[test]
fn a_crash_at_every_write_of_a_removal() {
    let acts = vec![(200, Act::Say(3)), (200, Act::Remove(3)), (200, Act::Say(1)), (3_000, Act::Say(0))];
    let batches = crash_at_every_write("remove", &calm(4, acts), Part::Acts);
    assert!(batches > 10, "only {batches} writes");
}

/// The founder and a facilitator write on both sides of a cut.
#[test]
fn a_crash_at_every_write_of_a_fork_that_heals() {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (60_000, Act::Partition { side: 1 << 1 | 1 << 3, one_way: false }),
        (200, Act::Charter(0)),
        (200, Act::Charter(1)),
        (200, Act::Say(2)),
        (200, Act::Say(3)),
        (60_000, Act::Mend),
    ];
    let plan = calm(4, acts);
    let forks = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}")).forks;
    assert!(forks > 0, "nothing forked");
    let batches = crash_at_every_write("fork and heal", &plan, Part::Acts);
    assert!(batches > 10, "only {batches} writes");
}

/// Every commit of a plan by turns is one that these leaves cannot open, whatever its author did it for: the group heals,
/// nobody is lost, and nothing that was said.
fn spoil_every_commit(name: &str, plan: &Plan, leaves: Option<Vec<u32>>) {
    let run = |commit| {
        let spoil = Spoil::new(commit, leaves.clone());
        let mls = spoil.clone();
        let make = move |seed: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&seed.to_be_bytes());
            SpoiledMls::new(bytes, mls.clone())
        };
        (sim::run(plan, Suite::Classic, make), spoil)
    };
    let (report, spoil) = run(usize::MAX);
    let commits = spoil.made();
    report.unwrap_or_else(|failure| panic!("{name}, nothing spoiled: {failure}"));
    assert!(commits > 1, "only {commits} commits");
    let mut failed = Vec::new();
    for commit in 0..commits {
        match run(commit) {
            (Err(failure), _) => failed.push(format!("commit {commit} of {commits}: {failure}")),
            // What nobody can open is undone: nobody has to come back.
            (Ok(_), spoil) if leaves.is_none() && spoil.asked() > 0 => {
                failed.push(format!("commit {commit} of {commits}: {} had to ask for a leaf", spoil.asked()));
            }
            (Ok(_), _) => {}
        }
    }
    println!("{name}: {commits} commits spoiled by turns, {} failed", failed.len());
    assert!(failed.is_empty(), "{name}:\n{}\n{plan}", failed.join("\n"));
}

fn with_three_facilitators() -> Plan {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (10_000, Act::Promote(2, true)),
        (1_000, Act::Second(1, 2)),
        (10_000, Act::Charter(1)),
        (200, Act::Say(3)),
        (10_000, Act::Charter(2)),
        (200, Act::Say(4)),
        (10_000, Act::Remove(3)),
        (200, Act::Say(1)),
        (10_000, Act::Charter(0)),
        (200, Act::Say(2)),
        (60_000, Act::Say(0)),
    ];
    calm(5, acts)
}

#[test]
fn a_commit_that_nobody_can_open_is_undone() {
    spoil_every_commit("for all", &with_three_facilitators(), None);
    let acts = vec![(200, Act::Charter(0)), (200, Act::Say(1)), (10_000, Act::Charter(0)), (200, Act::Say(2))];
    spoil_every_commit("one facilitator, for all", &calm(4, acts), None);
}

#[test]
fn whom_a_commit_shuts_out_comes_back() {
    for leaf in 0..5 {
        spoil_every_commit(&format!("for leaf {leaf}"), &with_three_facilitators(), Some(vec![leaf]));
    }
    spoil_every_commit("for two", &with_three_facilitators(), Some(vec![2, 4]));
}

/// Two facilitators who change the charter by turns, so often that what came first is left behind.
fn long_past(commits: usize) -> Vec<(u64, Act)> {
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

#[test]
fn many_joins_in_a_row_are_written_in() {
    let acts = vec![(60_000, Act::Join(21)), (5_000, Act::Say(21)), (5_000, Act::Say(20))];
    let plan = Plan { late: 1, ..calm(22, acts) };
    let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    assert!(report.bases[21] > Some(16), "nobody wrote a commit that a newcomer can begin at: {:?}", report.bases[21]);
}

#[test]
fn a_crash_at_every_write_while_the_base_moves() {
    let mut acts = vec![(200, Act::Promote(1, true))];
    acts.extend(long_past(27));
    let plan = Plan { dag_bytes: Some(1), ..calm(3, acts) };
    let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    assert!(report.bases.iter().all(|b| *b > Some(0)), "{:?}", report.bases);
    let batches = crash_at_every_write("move the base", &plan, Part::Last(40));
    assert_eq!(batches, 40);
}

/// Three facilitators, so that a quorum of two makes nodes final.
#[test]
fn a_crash_at_every_write_of_signing() {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (3_000, Act::Promote(2, true)),
        (1_000, Act::Second(1, 2)),
        (3_000, Act::Charter(1)),
        (200, Act::Say(2)),
        (3_000, Act::Charter(2)),
    ];
    let batches = crash_at_every_write("sign", &calm(3, acts), Part::Acts);
    assert!(batches > 10, "only {batches} writes");
}

/// Nothing is left at the relay of what a sleeper could follow: it comes back by a link, as who it was, and gets what
/// was said.
#[test]
fn who_slept_too_long_comes_back_by_a_link() {
    const DAY: u64 = 24 * 3_600_000;
    let mut scene = Scene::new(4, 2, model).unwrap();
    scene.say(3);
    scene.soon();
    scene.sleep(3);
    for n in 0..10 {
        (0..3).for_each(|node| scene.sleep(node));
        scene.wait(20 * DAY);
        (0..3).for_each(|node| scene.wake(node));
        scene.soon();
        scene.act(Act::Charter(n % 2));
        scene.say(2);
        scene.soon();
    }
    let persona = scene.persona(3);
    scene.wake(3);
    scene.soon();
    scene.soon();
    assert_ne!(scene.tip(3), scene.tip(0), "it found the way alone");
    let link = scene.invite(1, 86_400).unwrap();
    assert_eq!(scene.try_link(3, &link), None);
    scene.soon();
    assert_eq!(scene.tip(3), scene.tip(0));
    assert!(scene.is_member(3) && scene.roster(0).contains_key(&persona) && scene.roster(0).len() == 4);
    scene.say(3);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(scene.messages(3).len(), 12);
    assert_eq!(scene.try_link(3, &link), Some(Kind::Conflict), "it is in already");
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

/// Who leaves while the relay is away, and looks at a link to the same group in the next moment, has left all the same.
#[test]
fn a_look_at_a_link_does_not_undo_a_leave() {
    let mut scene = Scene::new(3, 1, model).unwrap();
    let (persona, group, link) = (scene.persona(2), scene.group(), scene.link().unwrap());
    (0..2).for_each(|node| scene.sleep(node));
    scene.act(Act::Partition { side: 1 << 2, one_way: false });
    assert!(scene.query(2, Command::GroupLeave { group }).is_some());
    scene.query(2, Command::InviteInspect { link: Secret::new(link.text) });
    scene.wait(1_000);
    scene.act(Act::Mend);
    scene.soon();
    scene.sleep(2);
    (0..2).for_each(|node| scene.wake(node));
    scene.soon();
    assert!(!scene.roster(0).contains_key(&persona), "nobody heard that it left");
}

/// Two facilitators decide ten things on each of sixty days, and take one out; all the while a member sleeps, and everybody
/// does when it wakes. It follows them commit by commit through every network, and has all that was said.
#[test]
fn sixty_days_and_six_hundred_commits_later_a_sleeper_follows() {
    let mut scene = Scene::new(4, 2, model).unwrap();
    (0..3).for_each(|node| scene.say(node));
    scene.soon();
    scene.sleep(2);
    let before = scene.depth(0);
    for day in 0..60 {
        (0..2).for_each(|node| scene.wake(node));
        scene.wait(60_000);
        for n in 0..10 {
            scene.act(Act::Charter(n % 2));
            scene.wait(20_000);
        }
        scene.say(day % 2);
        if day == 30 {
            scene.remove(&[0], 3);
        }
        scene.soon();
        (0..2).for_each(|node| scene.sleep(node));
        scene.wait(24 * 3_600_000);
    }
    scene.wake(2);
    scene.soon();
    // Relays keep what is said for thirty days. That earlier messages are missing is shown; others have them.
    let told = scene.messages(2).len();
    assert!((32..=34).contains(&told), "{told} messages with nobody else awake");
    assert!(scene.notices(2).iter().any(|n| matches!(n, Notice::GapFound { .. })));
    scene.say(2);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(scene.messages(2).len(), 64);
    assert!(scene.depth(2) >= before + 600, "{} commits", scene.depth(2) - before);
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

/// Two facilitators move the group to a fresh MLS group while one is asleep and one has not come in yet; then they take
/// one out. Everybody has one roster and one conversation all the while.
fn restarting(suite: Option<u16>, knock: bool) -> Plan {
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

#[test]
fn a_crash_at_every_write_of_a_restart() {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (20_000, Act::Restart(0, None)),
        (200, Act::Restart(1, None)),
        (200, Act::Say(2)),
        (60_000, Act::Say(1)),
    ];
    let batches = crash_at_every_write("restart", &calm(3, acts), Part::Acts);
    assert!(batches > 20, "only {batches} writes");
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
