//! A crash before and after every batch of writes.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use hearth_crypto::mls::Suite;
use hearth_integration_tests::sim::{self, Act, Cut, Plan, Strike};

use super::{calm, caught, model, past::long_past, with_model};

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
