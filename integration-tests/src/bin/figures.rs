//! `make figures`: measures on this computer, with real processes on loopback, and prints a Markdown table.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use hearth_integration_tests::{Lab, Member, PATIENCE, Relay, say};

/// Messages whose way is measured.
const SENDS: usize = 200;
/// Messages missed by a sleeper.
const MISSED: usize = 1_000;

fn main() -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    say(format!("Measured on {cores} cores, release build, loopback, one relay.\n"))?;
    say("| what | figure |\n|---|---|")?;
    for members in [2, 10] {
        delivery(members)?;
    }
    catch_up()?;
    memory()?;
    Ok(())
}

fn row(what: &str, figure: &str) -> Result<()> {
    Ok(say(format!("| {what} | {figure} |"))?)
}

/// A group of this many members on one relay, all seeing each other; and how long each join took.
fn group(lab: &Lab, relay: &Relay, count: usize) -> Result<(Vec<Member>, String, Vec<Duration>)> {
    let mut founder = lab.member("m0", &[relay.address()])?;
    let group = founder.found("Figures", "m0")?;
    let link = founder.invite(&group)?;
    let (mut members, mut joins) = (vec![founder], Vec::new());
    for number in 1..count {
        let name = format!("m{number}");
        let mut member = lab.member(&name, &[])?;
        let started = Instant::now();
        member.join(&link, &name)?;
        joins.push(started.elapsed());
        members.push(member);
    }
    let names: Vec<String> = (0..count).map(|number| format!("m{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for member in &mut members {
        member.roster(&group, &names)?;
    }
    Ok((members, group, joins))
}

/// From the request to send until another member has the message decrypted, on disk, and has told its program.
fn delivery(count: usize) -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let (mut members, group, joins) = group(&lab, &relay, count)?;
    let text = "x".repeat(1_024);
    let (mut each, mut acknowledged) = (Vec::new(), Vec::new());
    let (author, others) = members.split_first_mut().context("a group has members")?;
    for number in 0..SENDS {
        let started = Instant::now();
        let said = author.say(&group, &format!("{number} {text}"))?;
        acknowledged.push(started.elapsed());
        for other in others.iter_mut() {
            let id = said.message.as_str();
            let (at, _) = other.client().event_at("message.new", PATIENCE, |event| event["message"] == id)?;
            each.push(at.saturating_duration_since(started));
        }
    }
    row(&format!("1 KiB, {count} members: durable at the sender, p50 / p99"), &quantiles(&mut acknowledged))?;
    row(
        &format!("1 KiB, {count} members: sent → decrypted and persisted at each other member, p50 / p99"),
        &quantiles(&mut each),
    )?;
    let mut joins = joins;
    row(&format!("join by link, group growing to {count}, p50 / p99"), &quantiles(&mut joins))
}

/// From the vault being open until the last of the missed messages is there; everybody else is offline.
fn catch_up() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let (mut members, group, _) = group(&lab, &relay, 2)?;
    let (author, sleeper) = members.split_first_mut().context("two members")?;
    let sleeper = sleeper.first_mut().context("two members")?;
    sleeper.kill()?;
    let started = Instant::now();
    let mut last = None;
    for number in 0..MISSED {
        last = Some(author.say(&group, &format!("missed {number}"))?);
    }
    row(&format!("{MISSED} messages sent one after the other, each durable"), &millis(started.elapsed()))?;
    let last = last.context("nothing was sent")?;
    author.delivered(&group, &last, |status| status["relays"].as_u64() >= Some(1))?;
    author.kill()?;
    sleeper.wake()?;
    let started = Instant::now();
    let id = last.message.as_str();
    let (at, _) = sleeper.client().event_at("message.new", PATIENCE, |event| event["message"] == id)?;
    let took = at.saturating_duration_since(started);
    sleeper.until("every missed message", |sleeper| Ok((sleeper.texts(&group)?.len() >= MISSED).then_some(())))?;
    row(&format!("catch-up of {MISSED} messages from the relay alone, after unlocking"), &millis(took))
}

fn memory() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut member = lab.member("m", &[relay.address()])?;
    for count in 1..=10 {
        let group = member.found(&format!("Group {count}"), "m")?;
        member.say(&group, "hello")?;
        if count == 1 || count == 10 {
            row(&format!("resident memory of an agent, groups: {count}"), &mebibytes(resident(member.pid())?))?;
        }
    }
    row("resident memory of a relay with that member", &mebibytes(resident(relay.pid())?))
}

/// `VmRSS` in KiB.
fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the process's status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")
}

fn mebibytes(kib: u64) -> String {
    format!("{} MiB", kib.div_ceil(1_024))
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

fn quantiles(all: &mut [Duration]) -> String {
    all.sort_unstable();
    let at = |per_cent: usize| all.get((all.len() * per_cent / 100).min(all.len().saturating_sub(1))).copied();
    format!("{} / {}", millis(at(50).unwrap_or_default()), millis(at(99).unwrap_or_default()))
}
