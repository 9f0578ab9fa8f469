//! `make figures`: measures on this computer, with real processes on loopback, and prints a Markdown table.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hearth_integration_tests::{Lab, Member, PATIENCE, Relay, say};

/// Messages whose way is measured.
const SENDS: usize = 200;
/// Messages of one burst, all asked for before the first is answered.
const BURST: usize = 1_000;
/// Newcomers whose first message is awaited.
const NEWCOMERS: usize = 8;
/// Messages missed by a sleeper.
const MISSED: usize = 1_000;

fn main() -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    say(format!("Measured on {cores} cores, release build, loopback, one relay.\n"))?;
    say("| what | figure |\n|---|---|")?;
    for members in [2, 10] {
        delivery(members)?;
    }
    newcomers()?;
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
    let pids: Vec<u32> = members.iter().map(Member::pid).chain([relay.pid()]).collect();
    let before = processor_ms(&pids)?;
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
    let spent = processor_ms(&pids)? - before;
    let each_spent = spent / (SENDS * (count - 1)) as f64;
    row(
        &format!("1 KiB, {count} members: processor time per delivery, all processes"),
        &format!("{each_spent:.1} ms"),
    )?;
    let mut joins = joins;
    row(&format!("join by link, group growing to {count}, p50 / p99"), &quantiles(&mut joins))?;
    burst(&mut members, &group)
}

/// One member says many things at once: until all others have all of it, in order.
fn burst(members: &mut [Member], group: &str) -> Result<()> {
    let count = members.len();
    let (author, others) = members.split_first_mut().context("a group has members")?;
    let started = Instant::now();
    let asked = (0..BURST).map(|number| {
        author.ask("message.send", &serde_json::json!({ "group": group, "text": format!("burst {number}") }))
    });
    let asked = asked.collect::<Result<Vec<_>>>()?;
    let mut last = String::new();
    for ticket in &asked {
        let answer = author.answer(ticket)?;
        answer["message"].as_str().context("an id")?.clone_into(&mut last);
    }
    let mut ended = started;
    for other in others.iter_mut() {
        let texts = other.until("the whole burst", |other| {
            let texts: Vec<_> = other.texts(group)?.into_iter().filter(|t| t.starts_with("burst ")).collect();
            Ok((texts.len() >= BURST).then_some(texts))
        })?;
        let in_order = texts.iter().enumerate().all(|(number, text)| *text == format!("burst {number}"));
        ensure!(in_order && texts.len() == BURST, "a burst out of order");
        let mut at = started;
        let mut seen = 0;
        while seen < BURST {
            let (when, _) = other.client().event_at("message.new", PATIENCE, |event| {
                event["text"].as_str().is_some_and(|text| text.starts_with("burst "))
            })?;
            (at, seen) = (at.max(when), seen + 1);
        }
        ended = ended.max(at);
    }
    let rate = BURST as f64 / ended.saturating_duration_since(started).as_secs_f64();
    row(
        &format!("burst of {BURST}, {count} members: until all others have all, in order"),
        &format!("{rate:.0} messages/s"),
    )
}

/// From the request to join until what the founder says on hearing of the newcomer is read by it.
fn newcomers() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let (mut members, group, _) = group(&lab, &relay, 1)?;
    let founder = members.first_mut().context("a founder")?;
    let link = founder.invite(&group)?;
    let mut waits = Vec::new();
    for number in 0..NEWCOMERS {
        let name = format!("newcomer {number}");
        let mut newcomer = lab.member(&format!("n{number}"), &[])?;
        let params = serde_json::json!({ "link": link, "persona": { "name": name }, "accept_charter": true });
        let started = Instant::now();
        let joining = newcomer.ask("group.join", &params)?;
        founder.event("member.changed", |_| true)?;
        let said = founder.say(&group, &format!("welcome, {name}"))?;
        let id = said.message.as_str();
        let (at, _) = newcomer.client().event_at("message.new", PATIENCE, |event| event["message"] == id)?;
        newcomer.answer(&joining)?;
        waits.push(at.saturating_duration_since(started));
    }
    row("newcomer: group.join asked → first message read, p50 / p99", &quantiles(&mut waits))
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

/// Processor time of these processes so far.
fn processor_ms(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).context("the process's times")?;
        let (_, after) = stat.rsplit_once(')').context("a name")?;
        // utime and stime are the 12th and 13th field after the name.
        ticks += after.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum::<u64>();
    }
    // Linux counts in hundredths of a second.
    Ok(ticks as f64 * 10.0)
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
