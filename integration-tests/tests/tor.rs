//! Tor mode with a Tor network of its own: directory authorities, relays, an onion service and a client, on one host in a
//! namespace. Needs root, Debian's `tor`, and the script that writes their settings. `make test-net`.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hearth_integration_tests::{
    Lab,
    netns::{Host, Network},
};
use serde_json::json;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/tools/tor-testnet.sh");
const CLIENT: &str = "tor 127.0.0.1:9150";
/// Authorities vote every 20 s; clients begin to build circuits after that.
const BOOTSTRAP: Duration = Duration::from_secs(180);

/// Running Tors; killed when dropped.
struct Tors {
    dir: PathBuf,
    running: Vec<Child>,
}

impl Tors {
    /// With an onion service that leads to `behind`.
    fn begin(host: &Host, dir: &Path, behind: &str) -> Result<Self> {
        let made = Command::new("bash").args([SCRIPT.as_ref(), dir]).stdout(Stdio::null()).status()?;
        ensure!(made.success(), "the settings of the Tor network could not be written");
        let service = dir.join("h1/torrc");
        let settings = fs::read_to_string(&service)?;
        let lines = settings.lines().filter(|line| !line.starts_with("HiddenServicePort"));
        let lines: Vec<&str> = lines.collect();
        fs::write(&service, format!("{}\nHiddenServicePort 5858 {behind}\n", lines.join("\n")))?;
        let mut tors = Self { dir: dir.to_owned(), running: Vec::new() };
        for name in ["a1", "a2", "a3", "r1", "r2", "r3"] {
            tors.start(host, name)?;
        }
        std::thread::sleep(Duration::from_secs(20));
        for name in ["h1", "c1"] {
            tors.start(host, name)?;
        }
        tors.bootstrapped("c1")?;
        tors.bootstrapped("h1")?;
        Ok(tors)
    }

    fn start(&mut self, host: &Host, name: &str) -> Result<()> {
        let log = File::create(self.dir.join(format!("{name}.log")))?;
        let mut command = host.command("tor");
        command.arg("-f").arg(self.dir.join(name).join("torrc")).stdin(Stdio::null());
        self.running.push(command.stdout(log.try_clone()?).stderr(log).spawn().context("tor cannot be started")?);
        Ok(())
    }

    fn bootstrapped(&self, name: &str) -> Result<()> {
        let (log, since) = (self.dir.join(name).join("notice.log"), Instant::now());
        while !fs::read_to_string(&log).is_ok_and(|text| text.contains("Bootstrapped 100%")) {
            ensure!(since.elapsed() < BOOTSTRAP, "{name} does not come up: {:?}", fs::read_to_string(&log));
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

impl Drop for Tors {
    fn drop(&mut self) {
        for tor in &mut self.running {
            // One that has ended meanwhile is no error.
            let _ended = tor.kill().and_then(|()| tor.wait());
        }
    }
}

/// Two members behind Tor, and one who is not, share a group; then two in a group whose relay is an onion service only.
#[test]
#[ignore = "needs root, namespaces and tor: make test-net"]
fn members_behind_tor_talk_through_a_relay_and_through_an_onion_service() -> Result<()> {
    if !Path::new(SCRIPT).exists() {
        println!("SKIPPED: the script that writes a Tor network's settings is not here");
        return Ok(());
    }
    let mut network = Network::new()?;
    let lab = Lab::new()?;
    let city = network.host("city")?;
    let relay = lab.relay_on(&city, &[])?;
    let behind = format!("{}:{}", city.ip(), relay.port()?);
    let tors = Tors::begin(&city, &lab.path().join("tors"), &behind)?;

    let mut cleo = lab.named_member_on("cleo", &city, "direct", &[relay.address()])?;
    let mut ada = lab.named_member_on("ada", &city, CLIENT, &[relay.address()])?;
    let mut ben = lab.named_member_on("ben", &city, CLIENT, &[relay.address()])?;
    let group = ada.found("Night shift", "Ada")?;
    let link = ada.invite(&group)?;
    ben.join(&link, "Ben")?;
    cleo.join(&link, "Cleo")?;
    let words = ["from behind Tor", "so am I", "and I am not"];
    for (member, words) in [&mut ada, &mut ben, &mut cleo].into_iter().zip(words) {
        member.roster(&group, &["Ada", "Ben", "Cleo"])?;
        member.say(&group, words)?;
    }
    for (member, mode) in [(&mut ada, "tor"), (&mut ben, "tor"), (&mut cleo, "direct")] {
        member.sees(&group, &words)?;
        let status = member.call("status", json!({}))?;
        ensure!(status["mode"] == mode && status["relays"][0]["state"] == "ok", "{status}");
        ensure!(status["relays"][0]["sees_address"] == json!(mode == "direct"), "{status}");
        ensure!(mode == "direct" || status["peers"] == 0, "{status}");
    }

    // The same relay, as an onion service.
    let host = fs::read_to_string(tors.dir.join("h1/hs/hostname")).context("the onion service has no name")?;
    let host = host.trim().trim_end_matches(".onion");
    let onion = format!("/onion3/{host}:5858/p2p/{}", relay.peer_id());
    let mut dan = lab.named_member_on("dan", &city, CLIENT, &[&onion])?;
    let mut eve = lab.named_member_on("eve", &city, CLIENT, &[&onion])?;
    let group = dan.found("Nowhere", "Dan")?;
    let link = dan.invite(&group)?;
    eve.join(&link, "Eve")?;
    dan.roster(&group, &["Dan", "Eve"])?;
    dan.say(&group, "nobody knows where")?;
    eve.sees(&group, &["nobody knows where"])?;
    Ok(())
}
