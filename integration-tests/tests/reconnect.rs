//! The network goes away and comes back: everything is connected again within ten seconds of its return.

use std::time::{Duration, Instant};

use anyhow::Result;
use hearth_integration_tests::{Lab, Member, tap::Tap};
use serde_json::json;

/// The promise is ten seconds; a machine that builds meanwhile gets three times as long.
const BACK: Duration = Duration::from_secs(30);

/// Waits until the group's only relay is in this state at the member.
fn relay_is(member: &mut Member, group: &str, state: &str) -> Result<()> {
    member.until(&format!("a relay that is {state}"), |member| {
        let listed = member.call("relay.list", json!({"group": group}))?;
        Ok((listed["relays"][0]["state"] == state).then_some(()))
    })
}

#[test]
fn a_line_that_was_cut_without_a_word_is_replaced_when_it_is_back() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let port = relay.port()?;
    let tap = Tap::before(port)?;
    let through_tap = relay.address().replace(&format!("/tcp/{port}/"), &format!("/tcp/{}/", tap.port));
    let mut ada = lab.member("ada", &[&through_tap])?;
    let group = ada.found("Bad reception", "Ada")?;
    relay_is(&mut ada, &group, "ok")?;

    tap.cut();
    // No packet says so: only silence does.
    relay_is(&mut ada, &group, "unreachable")?;
    let said = ada.say(&group, "is anybody there?")?;
    tap.heal();
    let healed = Instant::now();
    relay_is(&mut ada, &group, "ok")?;
    ada.delivered(&group, &said, |status| status["relays"] == 1)?;
    assert!(healed.elapsed() < BACK, "connected again after {:?}", healed.elapsed());
    Ok(())
}

#[test]
fn a_relay_that_comes_back_on_its_port_has_its_members_back() -> Result<()> {
    let lab = Lab::new()?;
    let mut relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let group = ada.found("Power cut", "Ada")?;
    let mut ben = lab.member("ben", &[])?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    relay.kill()?;
    for member in [&mut ada, &mut ben] {
        relay_is(member, &group, "unreachable")?;
    }
    let said = ada.say(&group, "still talking")?;
    relay.restart()?;
    let back = Instant::now();
    for member in [&mut ada, &mut ben] {
        relay_is(member, &group, "ok")?;
    }
    ada.delivered(&group, &said, |status| status["relays"] == 1)?;
    assert!(back.elapsed() < BACK, "connected again after {:?}", back.elapsed());
    ben.sees(&group, &["still talking"])
}

/// Waits until so many members are linked.
fn peers(member: &mut Member, count: u64) -> Result<()> {
    member.until(&format!("{count} peers"), |member| {
        Ok((member.call("status", json!({}))?["peers"] == count).then_some(()))
    })
}

/// Nothing is said in between: the link of two quiet members outlasts the silence of a third.
#[test]
fn a_member_that_falls_silent_is_let_go_and_dialled_again() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let group = ada.found("Quiet", "Ada")?;
    let link = ada.invite(&group)?;
    for (member, name) in [(&mut ben, "Ben"), (&mut cleo, "Cleo")] {
        member.join(&link, name)?;
    }
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
        peers(member, 2)?;
    }
    ben.freeze()?;
    peers(&mut ada, 1)?;
    peers(&mut cleo, 1)?;
    ben.thaw()?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        peers(member, 2)?;
    }
    ben.say(&group, "did I miss anything?")?;
    ada.sees(&group, &["did I miss anything?"])?;
    cleo.sees(&group, &["did I miss anything?"])
}
