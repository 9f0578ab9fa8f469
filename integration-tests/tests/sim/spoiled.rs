//! Commits that some or all cannot open.

use hearth_crypto::mls::Suite;
use hearth_integration_tests::sim::{self, Act, Plan, Spoil, SpoiledMls};

use super::calm;

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
