//! `make demo`: a relay and three members as real processes on this computer. They meet by a link, talk, one sleeps
//! and catches up from the relay alone. Ends by itself: 0 when everything was as it should be, else 1 with the reason.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use hearth_integration_tests::{Lab, Member, Relay, Said, say, scan};
use serde_json::json;

const GROUP: &str = "Night kitchen";

fn main() -> Result<()> {
    let lab = Lab::new()?;
    say("Hearth, four processes on this computer: one relay, three members. Nothing leaves it.\n")?;
    let relay = lab.relay("relay")?;
    say(format!("relay    ready at {}", relay.address()))?;

    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let group = ada.found(GROUP, "Ada")?;
    let invite = ada.call("invite.create", json!({"group": group, "uses": 5}))?;
    let link = invite["link"].as_str().context("an invite without a link")?.to_owned();
    ensure!(invite["held"] == true, "the relay does not hold the door");
    say(format!(
        "ada      founds \"{GROUP}\" and makes a link of {} characters; the relay holds its door",
        link.len()
    ))?;
    ben.join(&link, "Ben")?;
    cleo.join(&link, "Cleo")?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }
    say("ben      joins by the link\ncleo     joins by the link; everybody sees the same three names\n")?;

    let mut said: Vec<Said> = Vec::new();
    said.push(ada.say(&group, "Kettle is on. How was today?")?);
    ben.sees(&group, &["Kettle is on. How was today?"])?;
    said.push(ben.say(&group, "Long. But I am here.")?);
    cleo.sees(&group, &["Long. But I am here."])?;
    said.push(cleo.say(&group, "Same. Glad you both are.")?);
    everybody_sees(&group, &said, &mut [&mut ada, &mut ben, &mut cleo])?;
    show(&mut ada, &group)?;
    show(&mut ben, &group)?;
    show(&mut cleo, &group)?;
    let first = said.first().context("nothing was said")?;
    let status = ada.delivered(&group, first, |status| status["members_reached"] == 2)?;
    say(format!(
        "ada's first message: {} ({} of {})\n",
        status["state"], status["members_reached"], status["members_total"]
    ))?;

    cleo.kill()?;
    say("cleo     sleeps (her process is killed)")?;
    let one = ada.say(&group, "Ben, you awake? I cannot sleep.")?;
    ben.sees(&group, &[&one.text])?;
    let other = ben.say(&group, "Always. Breathe with me.")?;
    for (author, message) in [(&mut ada, &one), (&mut ben, &other)] {
        author.delivered(&group, message, |status| status["relays"].as_u64() >= Some(1))?;
    }
    said.extend([one, other]);
    ensure!(ada.quit()?.success() && ben.quit()?.success(), "ada and ben did not end well");
    say("ada, ben talk, the relay holds it, and both go offline\ncleo     wakes, alone with the relay")?;
    cleo.wake()?;
    everybody_sees(&group, &said, &mut [&mut cleo])?;
    show(&mut cleo, &group)?;
    ensure!(cleo.texts(&group)?.len() == said.len(), "something is missing or there twice");

    what_the_relay_saw(&relay, &lab, &said)?;
    ensure!(cleo.quit()?.success(), "cleo did not end well");
    say("\nEverything was as it should be.")?;
    Ok(())
}

fn everybody_sees(group: &str, said: &[Said], members: &mut [&mut Member]) -> Result<()> {
    let words: Vec<&str> = said.iter().map(|said| said.text.as_str()).collect();
    members.iter_mut().try_for_each(|member| member.sees(group, &words))
}

fn show(member: &mut Member, group: &str) -> Result<()> {
    say(format!("  what {} sees", member.name))?;
    for row in member.messages(group)? {
        let part = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
        say(format!("    {:<6}{}", part("name"), part("text")))?;
    }
    Ok(())
}

/// Counts, sizes, and a search of everything the relay has: disk, log and metrics.
fn what_the_relay_saw(relay: &Relay, lab: &Lab, said: &[Said]) -> Result<()> {
    say("\n  what the relay could see")?;
    let metrics = relay.metrics()?;
    for line in metrics.lines().filter(|line| !line.starts_with('#') && !line.contains('{')) {
        say(format!("    {line}"))?;
    }
    let (files, bytes) = size(&relay.home)?;
    say(format!("    {files} files, {bytes} bytes: opaque ids, and sealed blobs of 4,096 or 16,384 bytes"))?;

    let mut secrets: Vec<String> = said.iter().map(|said| said.text.clone()).collect();
    secrets.extend([GROUP.to_owned(), said.first().map(|said| said.message.clone()).unwrap_or_default()]);
    let forms = scan::forms(&secrets);
    let control = format!("before {} after", secrets.first().context("nothing was said")?);
    ensure!(!scan::search(control.as_bytes(), &forms).is_empty(), "the search itself does not work");
    let mut found = scan::search_files(&relay.home, &forms)?.0.len();
    let log = fs::read(lab.path().join("relay.log")).context("the relay's log")?;
    found += scan::search(&log, &forms).len() + scan::search(metrics.as_bytes(), &forms).len();
    say(format!(
        "    of {} texts, names and ids searched in {} forms on its disk: {found} found",
        secrets.len(),
        forms.len()
    ))?;
    ensure!(found == 0, "the relay has something readable");
    Ok(())
}

fn size(dir: &Path) -> Result<(usize, u64)> {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            let below = size(&entry.path())?;
            files += below.0;
            bytes += below.1;
        } else {
            files += 1;
            bytes += about.len();
        }
    }
    Ok((files, bytes))
}
