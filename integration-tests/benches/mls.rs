//! What a step of a group costs: through our port (rows of a node, policy check), with bare OpenMLS, with mls-rs. One
//! run; a table of ratios and sizes at the end. `make bench`; `HEARTH_BENCH=10,100` chooses the numbers of members.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops at what it did not expect")]

#[path = "mls/bare.rs"]
mod bare;
#[path = "mls/hearth.rs"]
mod hearth;
#[allow(dead_code, reason = "shared with the interoperation test")]
#[path = "../tests/interop/peer.rs"]
mod peer;
#[path = "mls/table.rs"]
mod table;
#[path = "mls/theirs.rs"]
mod theirs;

use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion};
use hearth_crypto::{mls::Suite, persona::DeviceKeys};

/// What a message carries.
const TEXT: [u8; 1_024] = [b'x'; 1_024];

/// Member `n`, always the same.
fn device(n: usize) -> DeviceKeys {
    let mut seed = [7; 64];
    seed[..8].copy_from_slice(&(n as u64).to_be_bytes());
    seed[32..40].copy_from_slice(&(n as u64).to_be_bytes());
    DeviceKeys::from_seed(&seed)
}

/// A column of the table: where and how often.
struct Bench<'a> {
    criterion: &'a mut Criterion,
    who: &'static str,
    suite: Suite,
    members: usize,
}

impl Bench<'_> {
    /// Times `step` on what `make` gives; making, and dropping what comes out, is not timed.
    fn time<I, O>(&mut self, what: &str, make: impl FnMut() -> I, step: impl FnMut(I) -> O) {
        let name = format!("{what}, {}", table::suite(self.suite));
        let mut group = self.criterion.benchmark_group(name);
        let (mut make, mut step) = (make, step);
        let id = BenchmarkId::new(self.who, self.members);
        group.bench_function(id, |b| b.iter_batched(&mut make, &mut step, BatchSize::PerIteration));
        group.finish();
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1_500))
        .without_plots()
        .configure_from_args();
    let sizes = std::env::var("HEARTH_BENCH").unwrap_or_else(|_| "10,100,1000".to_owned());
    for members in sizes.split(',').map(|n| n.trim().parse().unwrap()) {
        for suite in [Suite::Classic, Suite::Hybrid] {
            hearth::run(&mut Bench { criterion: &mut criterion, who: "hearth", suite, members });
            bare::run(&mut Bench { criterion: &mut criterion, who: "openmls", suite, members });
            if suite == Suite::Classic {
                theirs::run(&mut Bench { criterion: &mut criterion, who: "mls-rs", suite, members });
            }
        }
    }
    criterion.final_summary();
    table::print();
}
