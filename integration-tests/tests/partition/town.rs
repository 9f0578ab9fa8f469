//! A group of people on hosts of their own, and what is looked for when their network has healed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use hearth_integration_tests::{
    Lab, Member, Refused, Relay,
    netns::{Host, Network},
    say,
};
use serde_json::{Value, json};

/// Committers take turns of 20 s, and signatures follow: a limit, not a measurement.
const HEALED: Duration = Duration::from_secs(240);

/// Processes go before the network that they stand on.
pub(crate) struct Town {
    members: BTreeMap<String, Member>,
    pub(crate) relays: BTreeMap<String, Relay>,
    hosts: BTreeMap<String, Host>,
    network: Network,
    lab: Lab,
    personas: BTreeMap<String, String>,
    group: String,
    /// Everything that was said, and by whom.
    said: BTreeMap<String, String>,
    /// Who came in later: they read nothing from before.
    late: BTreeSet<String>,
}

impl Town {
    /// The first facilitator founds an open group; the others join by link.
    pub(crate) fn found(facilitators: &[&str], members: &[&str], relays: &[&str]) -> Result<Self> {
        Self::found_as("open", facilitators, members, relays)
    }

    /// The same, `open` or by `knock`: then the founder lets everybody in.
    pub(crate) fn found_as(join: &str, facilitators: &[&str], members: &[&str], relays: &[&str]) -> Result<Self> {
        let mut town = Self {
            members: BTreeMap::new(),
            relays: BTreeMap::new(),
            hosts: BTreeMap::new(),
            network: Network::new()?,
            lab: Lab::new()?,
            personas: BTreeMap::new(),
            group: String::new(),
            said: BTreeMap::new(),
            late: BTreeSet::new(),
        };
        for name in relays {
            let host = town.host(name)?;
            town.relays.insert((*name).to_owned(), town.lab.relay_on(&host, &[])?);
        }
        for name in facilitators.iter().chain(members) {
            town.newcomer(name)?;
        }
        let founder = *facilitators.first().context("somebody founds")?;
        let made = json!({"name": "Two banks", "join": join, "persona": {"name": founder}});
        let made = town.member(founder).call("group.create", made)?;
        town.group = made["group"].as_str().context("a group")?.to_owned();
        let link = town.link(founder, 50)?;
        for name in facilitators.iter().skip(1).chain(members) {
            if town.join(name, &link)? == "waiting" {
                town.admit(founder, name)?;
            }
        }
        let names: Vec<String> = facilitators.iter().chain(members).map(|n| (*n).to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        for name in &names {
            let group = town.group.clone();
            town.member(name).roster(&group, &names)?;
        }
        for (earlier, name) in facilitators.iter().enumerate().skip(1) {
            let mut signers = facilitators.iter().take(earlier);
            while signers.next().map(|by| town.role(by, name, "facilitator")).transpose()? == Some(false) {}
            for by in facilitators {
                town.until(by, "a facilitator more", |town| Ok(town.role_of(by, name)? == "facilitator"))?;
            }
        }
        town.converges(&names)?;
        Ok(town)
    }

    fn host(&mut self, name: &str) -> Result<Host> {
        let host = self.network.host(name)?;
        self.hosts.insert(name.to_owned(), host.clone());
        Ok(host)
    }

    /// Somebody who is in no group.
    pub(crate) fn newcomer(&mut self, name: &str) -> Result<()> {
        let host = self.host(name)?;
        let relays: Vec<String> = self.relays.values().map(|relay| relay.address().to_owned()).collect();
        let relays: Vec<&str> = relays.iter().map(String::as_str).collect();
        let member = self.lab.member_on(&host, "direct", &relays)?;
        self.members.insert(name.to_owned(), member);
        Ok(())
    }

    pub(crate) fn member(&mut self, name: &str) -> &mut Member {
        self.members.get_mut(name).expect("a member of that name")
    }

    pub(crate) fn relay(&mut self, name: &str) -> &mut Relay {
        self.relays.get_mut(name).expect("a relay of that name")
    }

    fn hosts(&self, names: &[&str]) -> Vec<Host> {
        names.iter().map(|name| self.hosts.get(*name).expect("a host of that name").clone()).collect()
    }

    pub(crate) fn cut(&mut self, these: &[&str], those: &[&str]) -> Result<()> {
        self.lose(these, those, 100)?;
        self.lose(those, these, 100)
    }

    /// See [`Network::lose`].
    pub(crate) fn lose(&mut self, these: &[&str], those: &[&str], percent: u8) -> Result<()> {
        let (these, those) = (self.hosts(these), self.hosts(those));
        let (these, those): (Vec<_>, Vec<_>) = (these.iter().collect(), those.iter().collect());
        self.network.lose(&these, &those, percent)
    }

    pub(crate) fn heal(&mut self) -> Result<()> {
        self.network.heal()
    }

    pub(crate) fn link(&mut self, by: &str, uses: u32) -> Result<String> {
        let group = self.group.clone();
        let invite = self.member(by).call("invite.create", json!({"group": group, "uses": uses}))?;
        invite["link"].as_str().map(str::to_owned).context("an invite without a link")
    }

    /// As [`Town::join`], by somebody who reads nothing from before.
    pub(crate) fn join_late(&mut self, name: &str, link: &str) -> Result<String> {
        self.late.insert(name.to_owned());
        self.join(name, link)
    }

    /// Joins or knocks; gives the state.
    pub(crate) fn join(&mut self, name: &str, link: &str) -> Result<String> {
        let mut params = json!({"link": link, "persona": {"name": name}, "accept_charter": true});
        params["introduction"] = json!(format!("{name} would like to come in"));
        let joined = self.member(name).call("group.join", params)?;
        self.personas.insert(name.to_owned(), joined["persona"].as_str().context("a persona")?.to_owned());
        joined["state"].as_str().map(str::to_owned).context("a state")
    }

    /// Waits until this facilitator has heard these knock.
    pub(crate) fn hears(&mut self, by: &str, names: &[&str]) -> Result<()> {
        let group = self.group.clone();
        self.until(by, "knocks", |town| {
            let list = town.member(by).call("knock.list", json!({"group": group}))?;
            let knocks = list["knocks"].as_array().context("knocks")?;
            Ok(names.iter().all(|name| knocks.iter().any(|knock| knock["persona"] == town.personas[*name].as_str())))
        })
    }

    /// Lets somebody in who knocked.
    pub(crate) fn admit(&mut self, by: &str, whom: &str) -> Result<()> {
        self.hears(by, &[whom])?;
        let (group, persona) = (self.group.clone(), self.personas[whom].clone());
        self.member(by).call("knock.admit", json!({"group": group, "persona": persona})).map(drop)
    }

    pub(crate) fn say(&mut self, by: &str, words: &str) -> Result<()> {
        let group = self.group.clone();
        self.member(by).say(&group, words)?;
        self.said.insert(words.to_owned(), by.to_owned());
        Ok(())
    }

    pub(crate) fn sees(&mut self, name: &str, words: &str) -> Result<()> {
        let group = self.group.clone();
        self.member(name).sees(&group, &[words])
    }

    pub(crate) fn everybody_sees(&mut self, words: &str) -> Result<()> {
        let group = self.group.clone();
        self.members.values_mut().try_for_each(|member| member.sees(&group, &[words]))
    }

    pub(crate) fn never_sees(&mut self, name: &str, words: &str) -> Result<()> {
        let group = self.group.clone();
        let texts = self.member(name).texts(&group)?;
        ensure!(!texts.iter().any(|text| text == words), "{name}, who was removed, reads {words:?}");
        Ok(())
    }

    pub(crate) fn remove(&mut self, by: &str, whom: &str) -> Result<()> {
        let (group, persona) = (self.group.clone(), self.personas[whom].clone());
        let params = json!({"group": group, "persona": persona, "reason": "a test"});
        let motion = self.member(by).call("member.remove", params)?;
        ensure!(motion["state"] == "done", "removing {whom} gave {motion}");
        Ok(())
    }

    /// Whether it is done: not yet, if others must sign too.
    pub(crate) fn role(&mut self, by: &str, whom: &str, role: &str) -> Result<bool> {
        let params = json!({"group": self.group, "persona": self.personas[whom], "role": role});
        match self.member(by).call("member.set_role", params) {
            // The others' signatures were enough.
            Err(e) if e.downcast_ref::<Refused>().is_some_and(|r| r.kind.as_deref() == Some("conflict")) => Ok(true),
            motion => Ok(motion?["state"] == "done"),
        }
    }

    pub(crate) fn set(&mut self, by: &str, mut what: Value) -> Result<()> {
        what["group"] = json!(self.group);
        self.member(by).call("group.set", what).map(drop)
    }

    pub(crate) fn show(&mut self, name: &str) -> Result<Value> {
        let group = self.group.clone();
        self.member(name).call("group.show", json!({"group": group}))
    }

    pub(crate) fn role_of(&mut self, at: &str, whom: &str) -> Result<String> {
        let shown = self.show(at)?;
        let row = shown["members"].as_array().and_then(|rows| rows.iter().find(|row| row["name"] == whom));
        Ok(row.and_then(|row| row["role"].as_str()).unwrap_or_default().to_owned())
    }

    /// Waits until this member is linked to so many.
    pub(crate) fn peers(&mut self, name: &str, count: u64) -> Result<()> {
        self.until(name, "so many peers", |town| Ok(town.member(name).call("status", json!({}))?["peers"] == count))
    }

    /// Waits until this member's relays are in these states, in the order of the group's policy.
    pub(crate) fn relays_are(&mut self, name: &str, states: &[&str]) -> Result<()> {
        self.until(name, "a relay's state", |town| Ok(relays_of(&town.show(name)?) == states))
    }

    fn until(&mut self, name: &str, what: &str, mut look: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        let started = Instant::now();
        while !look(self)? {
            ensure!(started.elapsed() < HEALED, "{name}: not within {HEALED:?}: {what}\n{}", self.picture());
            self.member(name).client().any_news(Duration::from_millis(200));
        }
        Ok(())
    }

    /// Two sides really went their own ways.
    pub(crate) fn must_differ(&mut self, one: &str, other: &str) -> Result<()> {
        let group = self.group.clone();
        let (one, other) = (self.member(one).tip(&group)?, self.member(other).tip(&group)?);
        ensure!(one["node"] != other["node"], "the two sides never parted");
        Ok(())
    }

    /// Waits until the group is in this state at this member.
    pub(crate) fn is(&mut self, name: &str, state: &str) -> Result<()> {
        self.until(name, state, |town| Ok(town.state(name)? == state))
    }

    fn state(&mut self, name: &str) -> Result<String> {
        let group = self.group.clone();
        let list = self.member(name).call("group.list", json!({}))?;
        let row = list["groups"].as_array().and_then(|rows| rows.iter().find(|row| row["group"] == group.as_str()));
        Ok(row.and_then(|row| row["state"].as_str()).unwrap_or_default().to_owned())
    }

    /// What must become equal: tip and timeline.
    fn stand(&mut self, name: &str) -> Result<(Value, Vec<String>)> {
        let group = self.group.clone();
        let member = self.member(name);
        Ok((member.tip(&group)?, member.texts(&group)?))
    }

    /// Waits until these, and nobody else, are the group: one tip, one roster, and everything that was said once at each
    /// of them, in one order.
    pub(crate) fn converges(&mut self, names: &[&str]) -> Result<()> {
        let started = Instant::now();
        let first = *names.first().context("somebody is there")?;
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        self.until(first, "one tip, one roster and one timeline", |town| {
            let roster = town.show(first)?;
            let roster = roster["members"].as_array().context("a roster")?;
            let mut have: Vec<&str> = roster.iter().filter_map(|row| row["name"].as_str()).collect();
            have.sort_unstable();
            let stand = town.stand(first)?;
            let mut texts = stand.1.clone();
            texts.sort_unstable();
            let all: Vec<_> = town.said.keys().cloned().collect();
            if have != sorted || texts != all {
                return Ok(false);
            }
            for name in names {
                let (tip, texts) = town.stand(name)?;
                let read = match town.late.contains(*name) {
                    true => town.is_part(name, &texts, &stand.1),
                    false => texts == stand.1,
                };
                if tip != stand.0 || !read {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        say(format!("{} members agree after {:.1} s", names.len(), started.elapsed().as_secs_f64()))?;
        Ok(())
    }

    /// Whether somebody who came in later reads a part of it all, in its order, what they said themselves included.
    fn is_part(&self, name: &str, texts: &[String], all: &[String]) -> bool {
        let mut rest = all.iter();
        let ordered = texts.iter().all(|text| rest.any(|other| other == text));
        let own = self.said.iter().filter(|(_, by)| *by == name).all(|(said, _)| texts.contains(said));
        ordered && own
    }

    /// What everybody sees, for the message of a failure.
    fn picture(&mut self) -> String {
        let names: Vec<_> = self.members.keys().cloned().collect();
        let one = |town: &mut Self, name: &String| -> Result<String> {
            let (state, shown) = (town.state(name)?, town.show(name)?);
            let roster: Vec<&str> =
                shown["members"].as_array().context("a roster")?.iter().filter_map(|m| m["name"].as_str()).collect();
            let roster = roster.join(" ");
            let (tip, texts) = town.stand(name)?;
            let peers = town.member(name).call("status", json!({}))?["peers"].clone();
            Ok(format!(
                "{name}: {state}, peers {peers}, tip {tip}, roster {roster}, relays {:?}, said {texts:?}",
                relays_of(&shown)
            ))
        };
        names
            .iter()
            .map(|name| one(self, name).unwrap_or_else(|e| format!("{name}: {e:#}")))
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// The states of a group's relays.
fn relays_of(shown: &Value) -> Vec<&str> {
    shown["relays"].as_array().into_iter().flatten().filter_map(|row| row["state"].as_str()).collect()
}
