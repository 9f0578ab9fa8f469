//! What leaves a member's computer, seen from outside it: hosts in namespaces of their own, on a switch that notes every
//! packet. `make test-net`.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use hearth_integration_tests::{Lab, netns::Network};

/// A member in relayed mode founds nothing special: it joins by a link, talks, sleeps, catches up, and is killed. Its group's
/// only relay and the members are on the same switch, and it must not send them a single packet; nor look up a name.
#[test]
#[ignore = "needs root and namespaces: make test-net"]
fn relayed_mode_sends_to_its_entry_and_to_nobody_else() -> Result<()> {
    let mut network = Network::new()?;
    let lab = Lab::new()?;
    let [west, east, ada, ben, cleo] = ["west", "east", "ada", "ben", "cleo"].map(|name| network.host(name));
    let (west, east, ada, ben, cleo) = (west?, east?, ada?, ben?, cleo?);
    let entry = lab.relay_on(&west, &[])?;
    let service = lab.relay_on(&east, &[entry.address()])?;
    network.watch()?;

    let mut founder = lab.member_on(&cleo, "direct", &[service.address()])?;
    let group = founder.found("Night shift", "Cleo")?;
    let link = founder.invite(&group)?;
    let mut hidden = lab.member_on(&ada, "relayed", &[entry.address()])?;
    let mut other = lab.member_on(&ben, "relayed", &[entry.address()])?;
    hidden.join(&link, "Ada")?;
    other.join(&link, "Ben")?;
    for member in [&mut founder, &mut hidden, &mut other] {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
    }
    hidden.say(&group, "from nowhere")?;
    other.sees(&group, &["from nowhere"])?;
    hidden.kill()?;
    founder.say(&group, "while she slept")?;
    hidden.wake()?;
    hidden.sees(&group, &["from nowhere", "while she slept"])?;
    ensure!(hidden.quit()?.success());

    let only_entry = BTreeSet::from([format!("{} tcp", west.ip())]);
    for host in [&ada, &ben] {
        let sent = network.sent(host)?;
        ensure!(sent == only_entry, "{} sent to {sent:?}", host.name());
    }
    // Nobody knows where they are: nobody else sends to them either. The watch itself sees.
    for host in [&east, &cleo] {
        let sent = network.sent(host)?;
        ensure!(
            !sent.iter().any(|to| to.starts_with(&format!("{} ", ada.ip()))),
            "{} knows ada: {sent:?}",
            host.name()
        );
    }
    let direct = network.sent(&cleo)?;
    ensure!(direct.contains(&format!("{} tcp", east.ip())), "the watch sees nothing: {direct:?}");
    Ok(())
}
