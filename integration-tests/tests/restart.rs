//! `kill -9` again and again, of members and of the relay: nothing acknowledged is lost, nothing is there twice.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use hearth_integration_tests::{Lab, Said};
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

/// Rounds; `HEARTH_ROUNDS` asks for more.
const ROUNDS: u32 = 50;

#[test]
fn nothing_acknowledged_is_lost_or_doubled_by_kills() -> Result<()> {
    let rounds = std::env::var("HEARTH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let lab = Lab::new()?;
    let mut relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let group = ada.found("Bad weather", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    ada.roster(&group, &["Ada", "Ben"])?;

    let mut acknowledged: Vec<Said> = Vec::new();
    for round in 0..rounds {
        for turn in 0..rng.random_range(1..4_u32) {
            let author = if rng.random_bool(0.5) { &mut ada } else { &mut ben };
            acknowledged.push(author.say(&group, &format!("{round}.{turn} stays"))?);
        }
        // One more is on its way at the moment of the kill: it may stay or not, but not twice.
        let victim = rng.random_range(0..3_u32);
        let open = json!({"group": group, "text": format!("{round} may stay")});
        match victim {
            0 => {
                ada.ask("message.send", &open)?;
                ada.kill()?;
                ada.wake().with_context(|| format!("ada in round {round}"))?;
            }
            1 => {
                ben.ask("message.send", &open)?;
                ben.kill()?;
                ben.wake().with_context(|| format!("ben in round {round}"))?;
            }
            _ => {
                ada.ask("message.send", &open)?;
                relay.restart().with_context(|| format!("the relay in round {round}"))?;
            }
        }
    }

    let words: Vec<&str> = acknowledged.iter().map(|said| said.text.as_str()).collect();
    ada.sees(&group, &words)?;
    ben.sees(&group, &words)?;
    let same = |ada: &[String], ben: &[String]| ada == ben;
    ben.until("the same list as ada", |ben| Ok(same(&ada.texts(&group)?, &ben.texts(&group)?).then_some(())))?;
    let mut counts: HashMap<String, usize> = HashMap::new();
    for text in ada.texts(&group)? {
        *counts.entry(text).or_default() += 1;
    }
    for word in words {
        assert_eq!(counts.get(word), Some(&1), "{word}");
    }
    assert!(counts.values().all(|&count| count == 1), "something is there twice");
    Ok(())
}

#[test]
fn a_relay_that_is_killed_keeps_what_it_acknowledged() -> Result<()> {
    let lab = Lab::new()?;
    let mut relay = lab.relay("relay")?;
    let peer_id = relay.peer_id().to_owned();
    let mut ada = lab.member("ada", &[relay.address()])?;
    let group = ada.found("Held", "Ada")?;
    let link = ada.invite(&group)?;
    let mut ben = lab.member("ben", &[])?;
    ben.join(&link, "Ben")?;
    ada.roster(&group, &["Ada", "Ben"])?;
    ben.kill()?;
    let said: Vec<Said> = (0..10).map(|i| ada.say(&group, &format!("held {i}"))).collect::<Result<_>>()?;
    for said in &said {
        ada.delivered(&group, said, |status| status["state"] == "held")?;
    }
    ada.kill()?;
    relay.kill()?;
    relay.restart()?;
    assert_eq!(relay.peer_id(), peer_id);
    ben.wake()?;
    ben.sees(&group, &said.iter().map(|said| said.text.as_str()).collect::<Vec<_>>())?;
    assert_eq!(ben.texts(&group)?.len(), 10);
    assert!(relay.terminate()?.success());
    Ok(())
}
