//! Three members on one relay meet by a link and talk.

use anyhow::{Context as _, Result};
use hearth_integration_tests::Lab;
use serde_json::{Value, json};

fn ids(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["message"].as_str()).collect()
}

fn row<'a>(rows: &'a [Value], message: &str) -> Result<&'a Value> {
    rows.iter().find(|row| row["message"] == message).context("the message is not in the list")
}

#[test]
fn three_members_meet_and_talk() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;

    let group = ada.found("Kitchen table", "Ada")?;
    let invite = ada.call("invite.create", json!({"group": group, "uses": 5, "expires_in_s": 86_400}))?;
    assert_eq!(invite["held"], true, "the relay holds the door");
    let link = invite["link"].as_str().context("a link")?.to_owned();
    assert!(link.starts_with("hearth://join#"));

    let inspected = ben.call("invite.inspect", json!({"link": link}))?;
    assert_eq!((&inspected["group_name"], &inspected["join"]), (&json!("Kitchen table"), &json!("open")));
    assert_eq!(ben.join(&link, "Ben")?, group);
    assert_eq!(cleo.join(&link, "Cleo")?, group);
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }

    let mut said = Vec::new();
    for round in 0..3 {
        said.push(ada.say(&group, &format!("ada {round}"))?);
        said.push(ben.say(&group, &format!("ben {round} – ünïcode 🌿 مرحبا"))?);
        said.push(cleo.say(&group, &format!("cleo {round}\n\n*second* line"))?);
    }
    let words: Vec<&str> = said.iter().map(|said| said.text.as_str()).collect();
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.sees(&group, &words)?;
    }
    let rows = ada.messages(&group)?;
    assert_eq!(rows.len(), 9, "each once");
    for member in [&mut ben, &mut cleo] {
        let theirs = member.messages(&group)?;
        assert_eq!(ids(&theirs), ids(&rows), "{} sees another order", member.name);
    }
    for said in &said {
        let name = said.text.split(' ').next().unwrap_or_default();
        let shown = row(&rows, &said.message)?["name"].as_str().unwrap_or_default().to_lowercase();
        assert_eq!(shown, name);
    }

    // Edit, retract, react: seen everywhere, by the id of the original.
    let [first, second, third] = &said[..3] else { panic!("nine were said") };
    ada.call("message.edit", json!({"group": group, "message": first.message, "text": "ada, better"}))?;
    ben.call("message.retract", json!({"group": group, "message": second.message}))?;
    let with_you = json!({"group": group, "message": third.message, "reaction": "with_you", "on": true});
    ben.call("message.react", with_you)?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.until("edit, retraction and reaction", |member| {
            let rows = member.messages(&group)?;
            let edited = row(&rows, &first.message)?;
            let retracted = row(&rows, &second.message)?;
            let reacted = row(&rows, &third.message)?;
            let all = edited["text"] == "ada, better"
                && edited["edited"] == true
                && retracted["text"] == ""
                && retracted["retracted"] == true
                && reacted["reactions"]["with_you"].as_array().is_some_and(|who| who.len() == 1);
            Ok((all && rows.len() == 9).then_some(()))
        })?;
    }
    ben.call("message.react", json!({"group": group, "message": third.message, "reaction": "with_you", "on": false}))?;
    cleo.until("the reaction taken back", |cleo| {
        let rows = cleo.messages(&group)?;
        let left = row(&rows, &third.message)?["reactions"]["with_you"].as_array().map(Vec::len);
        Ok((left == Some(0)).then_some(()))
    })?;

    let status = ada.delivered(&group, first, |status| status["members_reached"] == 2)?;
    assert_eq!((&status["state"], &status["members_total"]), (&json!("reached"), &json!(2)));

    // Everybody stands at the same place.
    let tip = ada.tip(&group)?;
    for member in [&mut ben, &mut cleo] {
        member.until("the same tip", |member| {
            let theirs = member.tip(&group)?;
            let same =
                ["node", "epoch", "authenticator_hash", "members_hash"].iter().all(|key| theirs[key] == tip[key]);
            Ok(same.then_some(()))
        })?;
    }
    for member in [&mut ada, &mut ben, &mut cleo] {
        assert!(member.quit()?.success());
    }
    Ok(())
}

#[test]
fn events_tell_what_happens() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let group = ada.found("Garden", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    ben.event("group.joined", |event| event["group"] == group.as_str())?;
    ada.roster(&group, &["Ada", "Ben"])?;

    let said = ben.say(&group, "good evening")?;
    let new = ada.event("message.new", |event| event["message"] == said.message.as_str())?;
    assert_eq!((&new["text"], &new["name"], &new["group"]), (&json!("good evening"), &json!("Ben"), &json!(group)));
    ben.event("message.delivery", |event| event["message"] == said.message.as_str() && event["state"] == "reached")?;
    ben.call("message.edit", json!({"group": group, "message": said.message, "text": "good night"}))?;
    let changed = ada.event("message.changed", |event| event["message"] == said.message.as_str())?;
    assert_eq!((&changed["text"], &changed["edited"]), (&json!("good night"), &json!(true)));
    Ok(())
}

#[test]
fn the_longest_messages_arrive_without_a_relay_and_so_does_what_follows() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let mut ben = lab.member("ben", &[])?;
    let group = ada.found("Long letters", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    ada.roster(&group, &["Ada", "Ben"])?;
    let letters: Vec<String> = (0..3).map(|i| format!("{i}{}", "é".repeat(32 * 1024 - 1))).collect();
    let words: Vec<&str> = letters.iter().map(String::as_str).chain(["and good night"]).collect();
    let said: Vec<_> = words.iter().map(|text| ada.say(&group, text)).collect::<Result<_>>()?;
    ben.sees(&group, &words)?;
    ada.delivered(&group, &said[3], |status| status["members_reached"] == 1)?;
    // Of another's message a member knows that it is here, and nothing of the others.
    let theirs = ben.call("message.status", json!({"group": group, "message": said[3].message}))?;
    assert_eq!((&theirs["state"], &theirs["members_reached"]), (&json!("reached"), &json!(1)));
    Ok(())
}

#[test]
fn pages_replies_and_topics_hold() -> Result<()> {
    let lab = Lab::new()?;
    let mut ada = lab.member("ada", &[])?;
    let group = ada.found("Alone for now", "Ada")?;
    let said: Vec<_> = (0..7).map(|i| ada.say(&group, &format!("note {i}"))).collect::<Result<_>>()?;
    let mut page = |more: Value| -> Result<Vec<String>> {
        let mut params = json!({"group": group});
        if let (Some(params), Some(more)) = (params.as_object_mut(), more.as_object()) {
            params.extend(more.clone());
        }
        let page = ada.call("message.list", params)?;
        let rows = page["messages"].as_array().context("messages")?;
        Ok(rows.iter().filter_map(|row| row["text"].as_str().map(str::to_owned)).collect())
    };
    assert_eq!(page(json!({"limit": 2}))?, ["note 0", "note 1"]);
    assert_eq!(page(json!({"limit": 2, "after": said[1].message}))?, ["note 2", "note 3"]);
    assert_eq!(page(json!({"limit": 2, "before": said[3].message}))?, ["note 1", "note 2"]);
    assert_eq!(page(json!({"limit": 2, "newest": true}))?, ["note 5", "note 6"]);
    assert_eq!(page(json!({}))?.len(), 7);

    // Groups page too, by their ids.
    let mut groups: Vec<String> = vec![group.clone(), ada.found("Second", "Ada")?, ada.found("Third", "Ada")?];
    groups.sort_unstable();
    let mut page = |params: Value| -> Result<Vec<String>> {
        let page = ada.call("group.list", params)?;
        let rows = page["groups"].as_array().context("groups")?;
        Ok(rows.iter().filter_map(|row| row["group"].as_str().map(str::to_owned)).collect())
    };
    assert_eq!(page(json!({}))?, groups);
    assert_eq!(page(json!({"limit": 2}))?, groups[..2]);
    assert_eq!(page(json!({"limit": 1, "after": groups[0]}))?, groups[1..2]);
    assert_eq!(page(json!({"limit": 1, "before": groups[2]}))?, groups[1..2]);

    let params = json!({"group": group, "text": "an answer", "reply_to": said[2].message, "content_note": "loss"});
    let reply = ada.call("message.send", params)?;
    let rows = ada.messages(&group)?;
    let shown = row(&rows, reply["message"].as_str().unwrap_or_default())?;
    assert_eq!((&shown["reply_to"], &shown["content_note"]), (&json!(said[2].message), &json!("loss")));
    assert_eq!(shown["delivery"], "queued", "alone, nothing is ever called sent");
    Ok(())
}
