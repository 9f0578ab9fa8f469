//! Without any relay: members talk directly, and find one whose address has changed.

use anyhow::Result;
use hearth_integration_tests::{Lab, Member};
use serde_json::json;

fn connected(member: &mut Member, peers: u64) -> Result<()> {
    member.until(&format!("{peers} peers"), |member| {
        Ok((member.call("status", json!({}))?["peers"].as_u64() >= Some(peers)).then_some(()))
    })
}

#[test]
fn two_members_talk_without_a_relay() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let mut ben = lab.member("ben", &[])?;
    let group = ada.found("Just us", "Ada")?;
    let invite = ada.call("invite.create", json!({"group": group}))?;
    assert_eq!(invite["held"], false, "no relay, no door");
    ben.join(invite["link"].as_str().unwrap_or_default(), "Ben")?;
    // What Ada writes before she has seen the join is not for Ben: he holds no key to it.
    ada.roster(&group, &["Ada", "Ben"])?;
    ada.say(&group, "can you hear me?")?;
    ben.sees(&group, &["can you hear me?"])?;
    let answer = ben.say(&group, "loud and clear")?;
    ada.sees(&group, &["loud and clear"])?;
    let status = ben.delivered(&group, &answer, |status| status["state"] == "reached")?;
    assert_eq!(status["relays"], 0);
    Ok(())
}

#[test]
fn a_member_at_a_new_address_is_found_through_the_dht() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let group = ada.found("Moving house", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    cleo.join(&link, "Cleo")?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }

    // Both move to other ports at the same time: neither remembers where the other is now.
    ben.kill()?;
    cleo.kill()?;
    ben.wake()?;
    cleo.wake()?;
    for member in [&mut ben, &mut cleo] {
        connected(member, 2)?;
    }
    // Only a direct link between the two is left.
    ada.kill()?;
    ben.say(&group, "found you")?;
    cleo.sees(&group, &["found you"])?;
    cleo.say(&group, "and I you")?;
    ben.sees(&group, &["and I you"])
}

/// Ada removes Cleo while Cleo and Dan sleep. Gives the group, with Ada and Ben in its new network.
fn removed_asleep(ada: &mut Member, ben: &mut Member, cleo: &mut Member, dan: &mut Member) -> Result<String> {
    let group = ada.found("Night ferry", "Ada")?;
    let link = ada.invite(&group)?;
    let cleos = cleo.call("group.join", json!({"link": link, "persona": {"name": "Cleo"}, "accept_charter": true}))?;
    ben.join(&link, "Ben")?;
    dan.join(&link, "Dan")?;
    for member in [&mut *ada, ben, cleo, dan] {
        member.roster(&group, &["Ada", "Ben", "Cleo", "Dan"])?;
    }
    cleo.kill()?;
    dan.kill()?;
    ada.call("member.remove", json!({"group": group, "persona": cleos["persona"], "reason": "a test"}))?;
    for member in [&mut *ada, ben] {
        member.roster(&group, &["Ada", "Ben", "Dan"])?;
    }
    // Where Ben is linked now, only those who crossed are.
    ada.say(&group, "on the other side")?;
    ben.sees(&group, &["on the other side"])?;
    Ok(group)
}

#[test]
fn who_slept_through_a_removal_crosses_and_who_was_removed_does_not() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let mut dan = lab.member("dan", &[])?;
    let group = removed_asleep(&mut ada, &mut ben, &mut cleo, &mut dan)?;
    dan.wake()?;
    dan.roster(&group, &["Ada", "Ben", "Dan"])?;
    dan.sees(&group, &["on the other side"])?;
    cleo.wake()?;
    cleo.until("to be told of the removal", |cleo| {
        let listed = cleo.call("group.list", json!({}))?;
        Ok((listed["groups"][0]["state"] == "removed").then_some(()))
    })?;
    assert_eq!(cleo.texts(&group)?, Vec::<String>::new());
    dan.say(&group, "we are all here")?;
    ada.sees(&group, &["we are all here"])?;
    ben.sees(&group, &["we are all here"])
}

#[test]
fn a_crossing_lane_outlasts_a_restart() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let mut dan = lab.member("dan", &[])?;
    // Somebody of another group keeps the DHT together.
    let mut fay = lab.member("fay", &[])?;
    let other = fay.found("Day ferry", "Fay")?;
    let link = fay.invite(&other)?;
    ben.join(&link, "Ben")?;
    dan.join(&link, "Dan")?;
    let group = removed_asleep(&mut ada, &mut ben, &mut cleo, &mut dan)?;
    ben.kill()?;
    ada.kill()?;
    ben.wake()?;
    dan.wake()?;
    dan.roster(&group, &["Ada", "Ben", "Dan"])?;
    dan.sees(&group, &["on the other side"])
}
