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
use hearth_integration_tests::sim::{self, Act, Failure, Faults, Plan, Report};

#[path = "sim/coming_back.rs"]
mod coming_back;
#[path = "sim/crashes.rs"]
mod crashes;
#[path = "sim/healing.rs"]
mod healing;
#[path = "sim/invites.rs"]
mod invites;
#[path = "sim/past.rs"]
mod past;
#[path = "sim/recovers.rs"]
mod recovers;
#[path = "sim/restarts.rs"]
mod restarts;
#[path = "sim/spoiled.rs"]
mod spoiled;

/// Seeds between two words on how far a long run is.
const TELL: u64 = 250;

/// A model MLS of its own for every start of every node.
pub(crate) fn model(seed: u64) -> ModelMls {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    ModelMls::new(bytes)
}

pub(crate) fn with_model(plan: &Plan) -> Result<Report, Failure> {
    sim::run(plan, Suite::Classic, model)
}

pub(crate) fn with_openmls(plan: &Plan) -> Result<Report, Failure> {
    // In one of eight worlds nothing is symbolic.
    let signs = plan.seed.is_multiple_of(8);
    let suite = if signs { Suite::Hybrid } else { Suite::Classic };
    sim::run(&Plan { signs, ..plan.clone() }, suite, |_| OpenMls::default())
}

/// Seeds of a run: the default, or what the environment says.
fn seeds(default: Range<u64>) -> Range<u64> {
    let Ok(given) = std::env::var("HEARTH_SIM_SEEDS") else { return default };
    let range = given.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("HEARTH_SIM_SEEDS is from..to, as in 200..1000, not {given}"))
}

/// A panic breaks the eighth invariant.
pub(crate) fn caught(run: impl Fn(&Plan) -> Result<Report, Failure>, plan: &Plan) -> Result<Report, Failure> {
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

/// `make test` runs those up to 20,000 too, beside everything else.
#[test]
fn many_seeds_with_model_mls() {
    all(seeds(0..5_000), Plan::new, with_model);
}

/// Worlds of longer runs in which something was broken once.
#[test]
fn seeds_that_found_something() {
    for seed in [2_481, 7_138, 12_350, 12_762, 16_343, 21_495, 23_160, 24_054, 25_008, 27_687, 28_872, 29_772, 46_674] {
        all(seed..seed + 1, Plan::new, with_model);
    }
}

/// The same worlds, where whoever comes in has to be let in.
#[test]
fn many_knocks() {
    all(seeds(0..300), |seed| Plan { knock: true, ..Plan::new(seed) }, with_model);
}

/// The same worlds, where some are in relayed mode, or all: other members never meet them.
#[test]
fn many_relayed() {
    fn plan(seed: u64) -> Plan {
        let some = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Plan { relayed: if seed.is_multiple_of(4) { u64::MAX } else { some }, ..Plan::new(seed) }
    }
    all(seeds(0..300), plan, with_model);
}

#[test]
fn seeds_with_real_mls() {
    all(seeds(0..1_000), Plan::new, with_openmls);
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
pub(crate) fn calm(nodes: usize, acts: Vec<(u64, Act)>) -> Plan {
    let faults = Faults { drop: 0.0, duplicate: 0.0, reorder: 0.0, delay_ms: 50, skew_ms: 0 };
    Plan { nodes, relays: 1, faults, alone: false, gone: None, acts, ..Plan::new(1) }
}
