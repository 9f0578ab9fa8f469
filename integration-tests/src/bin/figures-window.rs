//! `make figures-window`: measures the app's window on a screen without a monitor, and prints a Markdown table.

use std::{fs, thread, time::Duration};

use anyhow::{Context as _, Result};
use hearth_integration_tests::{Lab, PASSPHRASE, say};

/// Starts that are measured.
const STARTS: usize = 9;
/// After this nothing blinks any more.
const REST: Duration = Duration::from_secs(15);
/// How long a resting window is watched.
const WATCH: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    say(format!("Measured on {cores} cores, release build, Xvfb, drawn by the processor.\n"))?;
    say("| what | figure |\n|---|---|")?;
    let lab = Lab::new()?;
    let desktop = lab.desktop("desktop")?;
    let mut starts = Vec::new();
    for number in 0..STARTS {
        let window = desktop.window(&lab.home(&format!("start{number}")), &[])?;
        starts.push(window.first_words);
        window.kill()?;
    }
    starts.sort_unstable();
    let at = |n: usize| starts.get(n).map_or(0.0, |d| d.as_secs_f64() * 1_000.0);
    say(format!(
        "| start of the process → words on the screen, median / worst of {STARTS} | {:.0} / {:.0} ms |",
        at(STARTS / 2),
        at(STARTS - 1)
    ))?;

    let home = lab.home("rest");
    let mut window = desktop.window(&home, &[])?;
    for keys in [&["Tab"], &["Return"]] {
        window.types(PASSPHRASE)?;
        window.press(keys)?;
    }
    window.until("a vault", |_| Ok(home.join("vault").is_file()))?;
    thread::sleep(REST);
    let before = (window.drawing_ticks()?, window.all_ticks()?);
    thread::sleep(WATCH);
    let after = (window.drawing_ticks()?, window.all_ticks()?);
    say(format!(
        "| processor time of the thread that draws, open, focused and at rest for {WATCH:?} | {} ms |",
        (after.0 - before.0) * 10
    ))?;
    say(format!("| processor time of the whole app meanwhile, network included | {} ms |", (after.1 - before.1) * 10))?;
    let status = fs::read_to_string(format!("/proc/{}/status", window.pid())).context("the process's status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    say(format!("| resident memory, vault open, no group | {} |", resident.trim()))?;
    Ok(())
}
