//! Relayed mode with real processes: everything goes through two relays, of which none sees both who asks and what.

#![allow(clippy::indexing_slicing, reason = "test code outside of test functions")]

use anyhow::{Context as _, Result, ensure};
use hearth_integration_tests::{Lab, Member, Relay};
use serde_json::{Value, json};

/// Two relays of two operators, each in the other's table.
fn relays(lab: &Lab) -> Result<[Relay; 2]> {
    let west = lab.relay("west")?;
    let east = lab.relay_beside("east", &[west.address()])?;
    Ok([west, east])
}

/// Waits until every relay that `status` lists is connected, and returns them.
fn connected(member: &mut Member, count: usize) -> Result<Vec<Value>> {
    member.until("all relays connected", |member| {
        let status = member.call("status", json!({}))?;
        let relays = status["relays"].as_array().context("relays")?.clone();
        Ok((relays.len() == count && relays.iter().all(|relay| relay["state"] == "ok")).then_some(relays))
    })
}

fn metric(relay: &Relay, name: &str) -> Result<f64> {
    let text = relay.metrics()?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("hearth_relay_{name} ")));
    line.with_context(|| format!("no metric {name}"))?.parse().context("a number")
}

#[test]
fn members_of_two_modes_share_a_group_and_only_the_direct_one_is_seen() -> Result<()> {
    let lab = Lab::new()?;
    let [west, east] = relays(&lab)?;
    let both = [west.address(), east.address()];
    let mut ada = lab.relayed("ada", &both)?;
    let mut ben = lab.relayed("ben", &both)?;
    let mut cleo = lab.member("cleo", &both)?;
    let group = ada.found("Night shift", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    cleo.join(&link, "Cleo")?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }
    let words = ["from behind two relays", "so am I", "and I am not"];
    for (member, words) in [&mut ada, &mut ben, &mut cleo].into_iter().zip(words) {
        member.say(&group, words)?;
    }
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.sees(&group, &words)?;
    }
    for (member, mode, seen) in
        [(&mut ada, "relayed", false), (&mut ben, "relayed", false), (&mut cleo, "direct", true)]
    {
        let relays = connected(member, 2)?;
        ensure!(relays.iter().all(|relay| relay["sees_address"] == json!(seen)), "{mode}: {relays:?}");
        let status = member.call("status", json!({}))?;
        ensure!(status["mode"] == mode, "{status}");
        ensure!(mode == "direct" || status["peers"] == 0, "somebody is connected to it: {status}");
    }
    for relay in [&west, &east] {
        ensure!(metric(relay, "entries")? >= 2.0, "it carries for both");
        ensure!(metric(relay, "entry_bytes_total")? > 4_096.0);
    }
    Ok(())
}

#[test]
fn without_the_entry_relay_a_member_stays_offline_and_loses_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let [mut west, east] = relays(&lab)?;
    // The group's one relay is reached through another that only this member names.
    let mut cleo = lab.member("cleo", &[east.address()])?;
    let group = cleo.found("Night shift", "Cleo")?;
    let link = cleo.invite(&group)?;
    let mut ada = lab.relayed("ada", &[west.address()])?;
    ada.join(&link, "Ada")?;
    cleo.roster(&group, &["Ada", "Cleo"])?;
    ensure!(!connected(&mut ada, 1)?[0]["sees_address"].as_bool().context("a word on addresses")?);
    ensure!((metric(&west, "entries")?, metric(&east, "entries")?) == (1.0, 0.0));

    west.kill()?;
    ada.until("offline", |ada| {
        let status = ada.call("status", json!({}))?;
        Ok((status["relays"][0]["state"] == "unreachable").then_some(()))
    })?;
    let said = ada.say(&group, "said while the entry was away")?;
    // The relay of the group is up all the time, and is not dialled.
    std::thread::sleep(std::time::Duration::from_secs(6));
    let status = ada.call("message.status", json!({"group": group, "message": said.message}))?;
    ensure!(status["state"] == "queued", "{status}");
    ensure!(metric(&east, "entries")? == 0.0);

    west.restart()?;
    ada.delivered(&group, &said, |status| status["relays"].as_u64() >= Some(1))?;
    cleo.sees(&group, &["said while the entry was away"])?;
    ensure!(ada.quit()?.success());
    Ok(())
}

/// Covered by waits of chance, and all the same nothing that was said is left behind at a clean end.
#[test]
fn what_was_said_last_goes_out_before_the_end() -> Result<()> {
    let lab = Lab::new()?;
    let [west, east] = relays(&lab)?;
    let both = [west.address(), east.address()];
    let mut ada = lab.relayed("ada", &both)?;
    let mut cleo = lab.member("cleo", &both)?;
    let group = ada.found("Night shift", "Ada")?;
    cleo.join(&ada.invite(&group)?, "Cleo")?;
    ada.roster(&group, &["Ada", "Cleo"])?;
    connected(&mut ada, 2)?;
    for round in 0..6 {
        let words = format!("good night {round}");
        ada.say(&group, &words)?;
        ensure!(ada.quit()?.success());
        cleo.sees(&group, &[&words])?;
        ada.wake()?;
        connected(&mut ada, 2)?;
    }
    Ok(())
}
