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
