//! People knock at a group that admits by hand: while everybody sleeps, and whoever answers.

use anyhow::{Context as _, Result};
use hearth_integration_tests::{Lab, Member};
use serde_json::{Value, json};

/// A group that admits by hand.
fn found(ada: &mut Member) -> Result<(String, String)> {
    let made = ada.call("group.create", json!({"name": "Quiet room", "join": "knock", "persona": {"name": "Ada"}}))?;
    let group = made["group"].as_str().context("no group")?.to_owned();
    ada.call("group.set", json!({"group": group, "charter": "Listen first."}))?;
    let link = ada.invite(&group)?;
    Ok((group, link))
}

fn knock(who: &mut Member, link: &str, name: &str, introduction: &str) -> Result<Value> {
    let persona = json!({"name": name});
    who.call(
        "group.join",
        json!({"link": link, "persona": persona, "introduction": introduction, "accept_charter": true}),
    )
}

fn knocks(who: &mut Member, group: &str, names: &[&str]) -> Result<Vec<Value>> {
    who.until(&format!("the knocks of {names:?}"), |who| {
        let knocks = who.call("knock.list", json!({"group": group}))?["knocks"].as_array().cloned().unwrap_or_default();
        let mut found: Vec<_> = knocks.iter().filter_map(|k| k["name"].as_str()).collect();
        found.sort_unstable();
        Ok((found == names).then_some(knocks))
    })
}

fn state(who: &mut Member, group: &str) -> Result<String> {
    let groups = who.call("group.list", json!({}))?;
    let row = groups["groups"].as_array().and_then(|g| g.iter().find(|g| g["group"] == group)).cloned();
    Ok(row.and_then(|r| r["state"].as_str().map(str::to_owned)).unwrap_or_default())
}

fn becomes(who: &mut Member, group: &str, wanted: &str) -> Result<()> {
    who.until(wanted, |who| Ok((state(who, group)? == wanted).then_some(())))
}

#[test]
fn a_knock_waits_while_everybody_sleeps_and_the_answer_while_who_knocked_does() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let (group, link) = found(&mut ada)?;
    ada.say(&group, "said before")?;
    ada.quit()?;

    let mut ben = lab.member("ben", &[])?;
    let seen = ben.call("invite.inspect", json!({"link": link}))?;
    assert_eq!(
        (&seen["group_name"], &seen["charter"], &seen["join"], &seen["members_hint"]),
        (&json!("Quiet room"), &json!("Listen first."), &json!("knock"), &Value::Null)
    );
    let knocked = knock(&mut ben, &link, "Ben", "I read here for a year.")?;
    assert_eq!((&knocked["group"], &knocked["state"]), (&json!(group), &json!("waiting")));
    ben.event("group.waiting", |e| e["group"] == group)?;
    let shown = ben.call("group.show", json!({"group": group}))?;
    assert_eq!((&shown["state"], &shown["charter"]), (&json!("waiting"), &json!("Listen first.")));
    assert_eq!(
        ben.refusal("message.send", json!({"group": group, "text": "hello?"}))?.kind.as_deref(),
        Some("not_permitted")
    );
    assert_eq!(
        ben.refusal("group.join", json!({"link": link, "accept_charter": true}))?.kind.as_deref(),
        Some("conflict")
    );
    // It is remembered across a stop.
    ben.kill()?;
    ben.wake()?;
    assert_eq!(state(&mut ben, &group)?, "waiting");
    ben.kill()?;

    ada.wake()?;
    ada.event("knock.new", |e| e["group"] == group && e["persona"] == knocked["persona"])?;
    let found = knocks(&mut ada, &group, &["Ben"])?;
    assert_eq!(found[0]["persona"], knocked["persona"]);
    assert_eq!(found[0]["introduction"], "I read here for a year.");
    assert!(found[0]["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{found:?}");
    ada.call("knock.admit", json!({"group": group, "persona": knocked["persona"]}))?;
    knocks(&mut ada, &group, &[])?;
    ada.roster(&group, &["Ada", "Ben"])?;
    let refused = ada.refusal("knock.admit", json!({"group": group, "persona": knocked["persona"]}))?;
    assert_eq!(refused.kind.as_deref(), Some("conflict"));
    let welcome = ada.say(&group, "come in")?;
    ada.delivered(&group, &welcome, |status| status["relays"].as_u64() >= Some(1))?;
    ada.quit()?;

    ben.wake()?;
    ben.event("group.joined", |e| e["group"] == group && e["persona"] == knocked["persona"])?;
    assert_eq!(state(&mut ben, &group)?, "joined");
    ben.sees(&group, &["come in"])?;
    assert!(!ben.texts(&group)?.contains(&"said before".to_owned()), "no history window, no history");
    ben.roster(&group, &["Ada", "Ben"])?;
    ben.say(&group, "thank you")?;
    ben.kill()?;
    ben.wake()?;
    assert_eq!(state(&mut ben, &group)?, "joined");
    ada.wake()?;
    ada.sees(&group, &["thank you"])?;
    let tip = ada.tip(&group)?;
    ben.until("the same tip", |ben| Ok((ben.tip(&group)? == tip).then_some(())))
}

#[test]
fn a_knock_can_be_declined_and_taken_back() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let (group, link) = found(&mut ada)?;
    let mut ben = lab.member("ben", &[])?;
    let knocked = knock(&mut ben, &link, "Ben", "")?;
    knocks(&mut ada, &group, &["Ben"])?;
    ada.call("knock.decline", json!({"group": group, "persona": knocked["persona"]}))?;
    knocks(&mut ada, &group, &[])?;
    becomes(&mut ben, &group, "declined")?;
    ben.kill()?;
    ben.wake()?;
    assert_eq!(state(&mut ben, &group)?, "declined");
    ada.roster(&group, &["Ada"])?;

    // Somebody else thinks better of it; the first knocks again, under a new persona.
    let mut cleo = lab.member("cleo", &[])?;
    knock(&mut cleo, &link, "Cleo", "")?;
    cleo.call("group.leave", json!({"group": group}))?;
    assert_eq!(state(&mut cleo, &group)?, "");
    let again = knock(&mut ben, &link, "Ben again", "please")?;
    assert_ne!(again["persona"], knocked["persona"]);
    knocks(&mut ada, &group, &["Ben again", "Cleo"])?;
    ada.call("knock.admit", json!({"group": group, "persona": again["persona"]}))?;
    becomes(&mut ben, &group, "joined")?;
    ada.roster(&group, &["Ada", "Ben again"])
}

#[test]
fn any_facilitator_admits_and_both_at_once_do_no_harm() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let (group, link) = found(&mut ada)?;
    let mut ben = lab.member("ben", &[])?;
    let first = knock(&mut ben, &link, "Ben", "")?;
    knocks(&mut ada, &group, &["Ben"])?;
    ada.call("knock.admit", json!({"group": group, "persona": first["persona"]}))?;
    becomes(&mut ben, &group, "joined")?;
    assert_eq!(ben.refusal("knock.list", json!({"group": group}))?.kind.as_deref(), Some("not_permitted"));
    let role = json!({"group": group, "persona": first["persona"], "role": "facilitator"});
    ada.call("member.set_role", role)?;
    ben.until("the role", |ben| {
        let shown = ben.call("group.show", json!({"group": group}))?;
        let you = shown["members"].as_array().and_then(|m| m.iter().find(|m| m["you"] == true)).cloned();
        Ok(you.filter(|y| y["role"] == "facilitator"))
    })?;

    let mut cleo = lab.member("cleo", &[])?;
    let second = knock(&mut cleo, &link, "Cleo", "hello")?;
    knocks(&mut ada, &group, &["Cleo"])?;
    knocks(&mut ben, &group, &["Cleo"])?;
    let admit = json!({"group": group, "persona": second["persona"]});
    let (one, other) = (ada.ask("knock.admit", &admit)?, ben.ask("knock.admit", &admit)?);
    // One of them may have heard of the other's word already.
    let answers = [ada.answer(&one).is_ok(), ben.answer(&other).is_ok()];
    assert!(answers.contains(&true));
    becomes(&mut cleo, &group, "joined")?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }
    cleo.say(&group, "here I am")?;
    ada.sees(&group, &["here I am"])?;
    ben.sees(&group, &["here I am"])?;

    // What one declines the other need not look at.
    let mut dan = lab.member("dan", &[])?;
    let third = knock(&mut dan, &link, "Dan", "")?;
    knocks(&mut ada, &group, &["Dan"])?;
    knocks(&mut ben, &group, &["Dan"])?;
    ben.call("knock.decline", json!({"group": group, "persona": third["persona"]}))?;
    knocks(&mut ada, &group, &[])?;
    becomes(&mut dan, &group, "declined")
}

#[test]
fn a_link_that_is_withdrawn_admits_nobody() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let (group, _) = found(&mut ada)?;
    let made = ada.call("invite.create", json!({"group": group, "uses": 3}))?;
    assert_eq!(made["held"], true);
    let link = made["link"].as_str().context("no link")?.to_owned();
    ada.call("invite.revoke", json!({"group": group, "invite": made["invite"]}))?;
    let mut ben = lab.member("ben", &[])?;
    ben.until("the end of the link", |ben| {
        let refused = ben.refusal("invite.inspect", json!({"link": link}));
        Ok(refused.ok().filter(|r| r.kind.as_deref() == Some("expired")).map(|_| ()))
    })?;
    let refused = ben.refusal("group.join", json!({"link": link, "accept_charter": true}))?;
    assert_eq!(refused.kind.as_deref(), Some("expired"));
    let long = json!({"link": link, "introduction": "x".repeat(3_000), "accept_charter": true});
    assert_eq!(ben.refusal("group.join", long)?.kind.as_deref(), Some("too_large"));
    Ok(())
}

#[test]
fn without_a_relay_the_members_own_mailbox_takes_the_knock() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let (group, link) = found(&mut ada)?;
    let mut ben = lab.member("ben", &[])?;
    let knocked = knock(&mut ben, &link, "Ben", "")?;
    knocks(&mut ada, &group, &["Ben"])?;
    ada.call("knock.admit", json!({"group": group, "persona": knocked["persona"]}))?;
    becomes(&mut ben, &group, "joined")?;
    ben.say(&group, "hello")?;
    ada.sees(&group, &["hello"])
}
