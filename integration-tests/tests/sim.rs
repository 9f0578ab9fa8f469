//! The simulator over many seeds. `HEARTH_SIM_SEEDS=from..to` runs other ones; a failing seed names itself.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code outside of test functions")]

use hearth_crypto::{mls::Suite, model::ModelMls, openmls_port::OpenMls};
use hearth_integration_tests::sim;

/// A model MLS of its own for every start of every node.
fn model(seed: u64) -> ModelMls {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    ModelMls::new(bytes)
}

/// Seeds of a run: the default, or what the environment says.
fn seeds(default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let given = std::env::var("HEARTH_SIM_SEEDS").ok();
    let parsed =
        given.as_deref().and_then(|s| s.split_once("..")).and_then(|(a, b)| Some(a.parse().ok()?..b.parse().ok()?));
    parsed.unwrap_or(default)
}

fn all(seeds: std::ops::Range<u64>, run: impl Fn(u64) -> Result<sim::Report, sim::Failure> + Sync) {
    let failures = std::sync::Mutex::new(Vec::new());
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let totals = std::sync::Mutex::new((0, 0, 0, 0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    match run(seed) {
                        Ok(report) => {
                            let mut t = totals.lock().unwrap();
                            *t = (t.0 + report.said, t.1 + report.forks, t.2 + report.crashes, t.3 + report.removed);
                        }
                        Err(failure) => failures.lock().unwrap().push(failure.to_string()),
                    }
                }
            });
        }
    });
    let (said, forks, crashes, removed) = *totals.lock().unwrap();
    println!("seeds {seeds:?}: {said} messages, {forks} forks seen healing, {crashes} crashes, {removed} removals");
    let failures = failures.into_inner().unwrap();
    let shown: Vec<_> = failures.iter().take(12).collect();
    assert!(failures.is_empty(), "{} of {} seeds failed:\n{shown:#?}", failures.len(), seeds.end - seeds.start);
    assert!(said > 0, "nothing was said");
}

#[test]
fn many_seeds_with_model_mls() {
    all(seeds(0..300), |seed| sim::run(seed, Suite::Classic, model));
}

#[test]
fn seeds_with_real_mls() {
    all(seeds(0..60), |seed| {
        let suite = if seed % 8 == 0 { Suite::Hybrid } else { Suite::Classic };
        sim::run(seed, suite, |_| OpenMls::default())
    });
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut traces = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let run = || sim::run(seed, Suite::Classic, model).map(|r| r.trace);
        let (a, b) = (run(), run());
        assert_eq!(a.as_ref().ok(), b.as_ref().ok(), "seed {seed}");
        traces.insert(a.ok());
    }
    assert!(traces.len() > 15, "seeds differ");
}
