//! People join by a link while every member sleeps, write at once, and are seen when the others wake.

use anyhow::Result;
use hearth_integration_tests::Lab;
use serde_json::json;

#[test]
fn joins_by_link_while_everybody_sleeps() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let group = ada.found("Open all night", "Ada")?;
    let link = ada.invite(&group)?;
    ada.kill()?;

    // Nobody is there: the relay's door is enough.
    let mut ben = lab.member("ben", &[])?;
    assert_eq!(ben.join(&link, "Ben")?, group);
    let hello = ben.say(&group, "is anybody awake?")?;
    ben.delivered(&group, &hello, |status| status["state"] == "held")?;
    ben.kill()?;

    // The second one too, after the first, whom it sees in the roster.
    let mut cleo = lab.member("cleo", &[])?;
    assert_eq!(cleo.join(&link, "Cleo")?, group);
    let me_too = cleo.say(&group, "I am, now")?;
    cleo.delivered(&group, &me_too, |status| status["relays"].as_u64() >= Some(1))?;
    assert!(cleo.quit()?.success());

    ada.wake()?;
    ada.sees(&group, &["is anybody awake?", "I am, now"])?;
    ada.roster(&group, &["Ada", "Ben", "Cleo"])?;
    ben.wake()?;
    ben.sees(&group, &["I am, now"])?;
    cleo.wake()?;
    ada.say(&group, "good morning")?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
        member.sees(&group, &["good morning"])?;
    }
    let tip = ada.tip(&group)?;
    for member in [&mut ben, &mut cleo] {
        member.until("the same tip", |member| Ok((member.tip(&group)?["node"] == tip["node"]).then_some(())))?;
    }
    Ok(())
}

#[test]
fn two_who_join_at_the_same_moment_both_stay() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let group = ada.found("Two at once", "Ada")?;
    let link = ada.invite(&group)?;
    ada.kill()?;
    let (mut ben, mut cleo) = (lab.member("ben", &[])?, lab.member("cleo", &[])?);
    let join = |name: &str| json!({"link": link, "persona": {"name": name}, "accept_charter": true});
    let (one, other) = (ben.ask("group.join", &join("Ben"))?, cleo.ask("group.join", &join("Cleo"))?);
    assert_eq!(ben.answer(&one)?["state"], "joined");
    assert_eq!(cleo.answer(&other)?["state"], "joined");
    ben.say(&group, "first")?;
    cleo.say(&group, "no, me")?;
    ada.wake()?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }
    ada.sees(&group, &["first", "no, me"])?;
    ada.say(&group, "both welcome")?;
    ben.sees(&group, &["both welcome"])?;
    cleo.sees(&group, &["both welcome"])
}
