//! What a step of a group costs: through our port (rows of a node, policy check), with bare OpenMLS, with mls-rs. One
//! run; a table of ratios and sizes at the end. `make bench`; `HEARTH_BENCH=10,100` chooses the numbers of members.
//!
//! Each library grows its own group in the same way. A step begins with the tip loaded, as the engine has it, and ends with
//! the child's state written: ours as rows in hand, OpenMLS's in its own store in memory, mls-rs's not at all.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops at what it did not expect")]

#[path = "mls/bare.rs"]
mod bare;
#[path = "mls/hearth.rs"]
mod hearth;
#[allow(dead_code, reason = "shared with the interoperation test")]
#[path = "../tests/interop/peer.rs"]
mod peer;
#[path = "mls/processor.rs"]
mod processor;
#[path = "mls/table.rs"]
mod table;
#[path = "mls/theirs.rs"]
mod theirs;

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, measurement::WallTime};
use hearth_crypto::{mls::Suite, persona::DeviceKeys};
use processor::Processor;

/// Above this, suite 0x004F is not timed: the GroupInfo of such a group's door is longer than a body of a slot, so nobody
/// comes in by link, and to grow it takes longer than all the rest.
const HYBRID_MAX: usize = 384;
/// What a message carries.
const TEXT: [u8; 1_024] = [b'x'; 1_024];

/// Member `n`, always the same.
fn device(n: usize) -> DeviceKeys {
    let mut seed = [7; 64];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    seed[32..40].copy_from_slice(&(n as u64).to_be_bytes());
    DeviceKeys::from_seed(&seed)
}

/// How the group came to be, on which the size of every commit depends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tree {
    /// Everybody came from outside, as by a link: every path has keys. So is the tree of a group that lives.
    Full,
    /// One added everybody at once and nobody has committed since: no path has keys, and a commit is for each member apart.
    Blank,
}

/// A column of the table: where and how often.
struct Bench<'a> {
    criterion: &'a mut Criterion<Processor>,
    who: &'static str,
    suite: Suite,
    members: usize,
    tree: Tree,
    sizes_only: bool,
}

impl Bench<'_> {
    /// Times `step` on what `make` gives; making, and dropping what comes out, is not timed.
    fn time<I, O>(&mut self, what: &str, make: impl FnMut() -> I, step: impl FnMut(I) -> O) {
        let name = format!("{what}, {}", table::kind(self.suite, self.tree));
        let mut group = self.criterion.benchmark_group(name);
        let (mut make, mut step) = (make, step);
        let id = BenchmarkId::new(self.who, self.members);
        group.bench_function(id, |b| b.iter_batched(&mut make, &mut step, BatchSize::PerIteration));
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .with_measurement(Processor(WallTime))
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_500))
        .without_plots()
        .configure_from_args();
    let sizes = std::env::var("HEARTH_BENCH").unwrap_or_else(|_| "10,100,1000".to_owned());
    for members in sizes.split(',').map(|n| n.trim().parse().unwrap()) {
        for (suite, tree) in [
            (Suite::Classic, Tree::Full),
            (Suite::Classic, Tree::Blank),
            (Suite::Hybrid, Tree::Full),
            (Suite::Hybrid, Tree::Blank),
        ] {
            let sizes_only = suite == Suite::Hybrid && members > HYBRID_MAX;
            if sizes_only && tree == Tree::Full {
                continue;
            }
            let runs: [(_, fn(&mut Bench<'_>)); 3] =
                [("hearth", hearth::run), ("openmls", bare::run), ("mls-rs", theirs::run)];
            for (who, run) in runs {
                // mls-rs has no such suite.
                let runs = who == "hearth" || !sizes_only && (who == "openmls" || suite == Suite::Classic);
                if runs {
                    run(&mut Bench { criterion: &mut criterion, who, suite, members, tree, sizes_only });
                }
            }
        }
    }
    criterion.final_summary();
    table::print();
}
