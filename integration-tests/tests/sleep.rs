//! A member sleeps, the others talk and go to sleep too: it catches up from the relay alone.

use anyhow::Result;
use hearth_integration_tests::Lab;

#[test]
fn catches_up_from_the_relay_while_everybody_else_sleeps() -> Result<()> {
    let lab = Lab::new()?;
    let relay = lab.relay("relay")?;
    let mut ada = lab.member("ada", &[relay.address()])?;
    let mut ben = lab.member("ben", &[])?;
    let mut cleo = lab.member("cleo", &[])?;
    let group = ada.found("Night shift", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    cleo.join(&link, "Cleo")?;
    for member in [&mut ada, &mut ben, &mut cleo] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }
    ada.say(&group, "before")?;
    cleo.sees(&group, &["before"])?;

    cleo.kill()?;
    let mut said = Vec::new();
    for round in 0..5 {
        said.push((ada.say(&group, &format!("ada while cleo sleeps {round}"))?, true));
        said.push((ben.say(&group, &format!("ben while cleo sleeps {round}"))?, false));
    }
    for (message, by_ada) in &said {
        let author = if *by_ada { &mut ada } else { &mut ben };
        author.delivered(&group, message, |status| status["relays"].as_u64() >= Some(1))?;
    }
    assert!(ada.quit()?.success());
    ben.kill()?;

    cleo.wake()?;
    let words: Vec<&str> = said.iter().map(|(said, _)| said.text.as_str()).collect();
    cleo.sees(&group, &words)?;
    assert_eq!(cleo.texts(&group)?.len(), 1 + words.len(), "each once");

    // An answer into the night is there for the others when they wake.
    let answer = cleo.say(&group, "I read all of it")?;
    cleo.delivered(&group, &answer, |status| status["relays"].as_u64() >= Some(1))?;
    cleo.kill()?;
    for member in [&mut ada, &mut ben] {
        member.wake()?;
        member.sees(&group, &["I read all of it"])?;
    }
    assert_eq!(ada.texts(&group)?, ben.texts(&group)?);
    Ok(())
}
