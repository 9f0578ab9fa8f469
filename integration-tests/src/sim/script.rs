//! What the members of one world do, seed by seed.

#![allow(clippy::print_stdout, reason = "the schedule of a seed is printed when asked for")]

use hearth_crypto::mls::{Mls, Suite};
use hearth_node::app::{Answer, Command, GroupState, Join, PersonaChoice, Reaction, RoleName, Secret};
use hearth_protocol::id::{GroupId, MessageId, PersonaId};

use super::{Failure, Faults, Said, World, net::RELAY};

/// What a passed seed did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Members at the end.
    pub members: usize,
    /// Messages said.
    pub said: usize,
    /// Members who came in by link.
    pub joined: usize,
    /// Members removed.
    pub removed: usize,
    /// Forks that members saw heal.
    pub forks: usize,
    /// Crashes.
    pub crashes: usize,
    /// Hash of everything.
    pub trace: String,
}

/// The script's memory.
pub(crate) struct Story {
    pub(crate) group: GroupId,
    pub(crate) said: Vec<Said>,
    /// Persona of each node, once it is in.
    pub(crate) persona: Vec<Option<PersonaId>>,
    /// The epoch that brought it.
    pub(crate) since: Vec<u64>,
    pub(crate) removed: Vec<usize>,
    link: String,
    asleep: Vec<usize>,
    crashes: usize,
}

const MINUTE: u64 = 60_000;

/// Runs one seed: a group is made, members come in by one link, talk, sleep, crash and are cut off from each other;
/// then everything heals and the invariants are checked.
///
/// # Errors
/// The first broken invariant, with the seed.
pub fn run<M: Mls + 'static>(seed: u64, suite: Suite, make: impl Fn(u64) -> M + 'static) -> Result<Report, Failure> {
    let pick = |salt: u64, span: u64| {
        (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(17) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9)) % span
    };
    let faults = Faults {
        drop: pick(1, 31) as f64 / 100.0,
        duplicate: pick(2, 21) as f64 / 100.0,
        delay_ms: [50, 500, 5_000, 30_000][pick(3, 4) as usize],
        skew_ms: [0, 0, 3_600_000, 20 * 3_600_000][pick(4, 4) as usize],
        partitions: pick(5, 4) as usize,
        crashes: pick(6, 5) as usize,
    };
    if std::env::var_os("HEARTH_SIM_TELL").is_some() {
        println!("seed {seed}: {faults:?}");
    }
    let nodes = 3 + pick(7, 4) as usize;
    let relays = 1 + pick(8, 2) as usize;
    let mut world = World::new(seed, nodes, relays, faults, suite, make);
    let mut story = world.found(seed)?;
    world.act(&mut story, seed)?;
    world.heal(&mut story);
    world.check(seed, &story)?;
    let forks = world
        .nodes
        .iter()
        .flat_map(|n| &n.notices)
        .filter(|n| matches!(n, hearth_node::app::Notice::ForkResolved { .. }))
        .count();
    Ok(Report {
        members: nodes - story.removed.len(),
        said: story.said.len(),
        joined: story.persona.iter().flatten().count().saturating_sub(1),
        removed: story.removed.len(),
        forks,
        crashes: story.crashes,
        trace: world.trace(),
    })
}

impl<M: Mls> World<M> {
    /// The first node makes the group and a link for all others.
    fn found(&mut self, seed: u64) -> Result<Story, Failure> {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        let fail = |what: &str| Failure::new(seed, what);
        let name = Some(PersonaChoice { name: Some("Founder".into()) });
        let create = Command::GroupCreate {
            name: "Tuesday".into(),
            template: None,
            join: Join::Open,
            history_days: None,
            persona: name,
        };
        let Some(Answer::GroupCreated { group, persona }) = self.query(0, create) else {
            return Err(fail("no group was made"));
        };
        self.wait(2_000);
        let uses = Some(u32::try_from(self.nodes.len()).unwrap_or(8) + 4);
        let invite = self.ask(0, Command::InviteCreate { group, uses, expires_in_s: Some(30 * 86_400), role: None });
        self.wait(12_000);
        let reply = self.nodes.get_mut(0).and_then(|n| n.replies.remove(&invite));
        let Some(Ok(Answer::Invite { link, held: true, .. })) = reply else {
            return Err(fail("no relay held the door"));
        };
        let mut personas = vec![None; self.nodes.len()];
        if let Some(first) = personas.first_mut() {
            *first = Some(persona);
        }
        Ok(Story {
            group,
            said: vec![],
            persona: personas,
            since: vec![0; self.nodes.len()],
            removed: vec![],
            link: link.expose().to_owned(),
            asleep: vec![],
            crashes: 0,
        })
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.run_until(self.now + ms);
    }

    /// Forty acts between faults.
    fn act(&mut self, story: &mut Story, seed: u64) -> Result<(), Failure> {
        // Everybody tries to come in first, some at once, some while the founder sleeps.
        if self.chance(0.5) {
            self.sleep(story, 0);
        }
        for node in 1..self.nodes.len() {
            self.join(story, node);
            if self.chance(0.5) {
                self.wait(3_000);
            }
        }
        self.wait(60_000);
        for _ in 0..40 {
            self.step(story, seed)?;
            let pause = [10, 200, 3_000, MINUTE, 10 * MINUTE][self.random(5) as usize];
            self.wait(pause);
        }
        Ok(())
    }

    fn join(&mut self, story: &mut Story, node: usize) {
        if story.persona.get(node).is_none_or(|p| p.is_some()) || !self.is_up(node) {
            return;
        }
        let persona = Some(PersonaChoice { name: Some(format!("Member {node}")) });
        let link = Secret::new(story.link.clone());
        let id = self.ask(node, Command::GroupJoin { link, persona, introduction: None, accept_charter: true });
        self.wait(5_000);
        if let Some(Ok(Answer::Joined { persona, .. })) = self.nodes.get(node).and_then(|n| n.replies.get(&id)) {
            story.persona[node] = Some(*persona);
            story.since[node] = self.epoch(node, story.group);
            self.tell(|| format!("{node} is in"));
        }
    }

    fn step(&mut self, story: &mut Story, _seed: u64) -> Result<(), Failure> {
        let node = self.random(self.nodes.len() as u64) as usize;
        match self.random(20) {
            0..=9 => self.say(story, node),
            10 => self.change(story, node),
            11 => self.react(story, node),
            12 => self.sleep(story, node),
            13 | 14 => self.wake(story),
            15 if self.faults.crashes > story.crashes => self.crash(story, node),
            16 if self.faults.partitions > 0 => self.partition(),
            17 => {
                self.tell(|| "cuts healed".into());
                self.cut.clear();
            }
            18 => self.decide(story, node),
            19 => self.join(story, node),
            _ => {}
        }
        Ok(())
    }

    fn say(&mut self, story: &mut Story, node: usize) {
        let text = format!("from {node}, number {}", story.said.len());
        let (topic, reply_to, content_note, expires_in_s, library_consent) = (None, None, None, None, None);
        let command = Command::MessageSend {
            group: story.group,
            text,
            topic,
            reply_to,
            content_note,
            expires_in_s,
            library_consent,
        };
        if let Some(Answer::Message { message }) = self.query(node, command) {
            self.tell(|| format!("{node} says {} {message:?}", story.said.len()));
            let epoch = self.epoch(node, story.group);
            story.said.push(Said { message, author: node, epoch });
        }
    }

    fn epoch(&mut self, node: usize, group: GroupId) -> u64 {
        match self.query(node, Command::DebugTip { group }) {
            Some(Answer::Tip { epoch, .. }) => epoch,
            _ => u64::MAX,
        }
    }

    fn some_message(&mut self, story: &Story) -> Option<MessageId> {
        let at = self.random(story.said.len() as u64) as usize;
        story.said.get(at).map(|s| s.message)
    }

    fn change(&mut self, story: &Story, node: usize) {
        let Some(message) = self.some_message(story) else { return };
        self.ask(node, Command::MessageEdit { group: story.group, message, text: "said better".into() });
    }

    fn react(&mut self, story: &Story, node: usize) {
        let Some(message) = self.some_message(story) else { return };
        let on = self.chance(0.8);
        self.ask(node, Command::MessageReact { group: story.group, message, reaction: Reaction::WithYou, on });
    }

    fn sleep(&mut self, story: &mut Story, node: usize) {
        if self.is_up(node) {
            self.tell(|| format!("{node} sleeps"));
            self.stop(node);
            story.asleep.push(node);
        }
    }

    fn wake(&mut self, story: &mut Story) {
        if !story.asleep.is_empty() {
            let at = self.random(story.asleep.len() as u64) as usize;
            let node = story.asleep.swap_remove(at);
            self.tell(|| format!("{node} wakes"));
            self.start(node);
        }
    }

    /// A crash in the middle of something: the engine is gone, the disk is what it was.
    fn crash(&mut self, story: &mut Story, node: usize) {
        if self.is_up(node) {
            story.crashes += 1;
            self.tell(|| format!("{node} crashes"));
            self.stop(node);
            let pause = self.random(30_000);
            self.wait(pause);
            self.start(node);
        }
    }

    /// Cuts some pairs, each one way or both.
    fn partition(&mut self) {
        let ends: Vec<usize> = (0..self.nodes.len()).chain((0..self.relays.len()).map(|r| RELAY + r)).collect();
        let side: Vec<bool> = ends.iter().map(|_| self.chance(0.5)).collect();
        let one_way = self.chance(0.3);
        self.tell(|| format!("cut {side:?} one way {one_way}"));
        for (i, a) in ends.iter().enumerate() {
            for (j, b) in ends.iter().enumerate() {
                if side[i] && !side[j] {
                    self.cut.insert((*a, *b));
                    if !one_way {
                        self.cut.insert((*b, *a));
                    }
                }
            }
        }
    }

    /// A facilitator decides something: a role, the charter, rarely a removal.
    fn decide(&mut self, story: &mut Story, node: usize) {
        let group = story.group;
        let other = 1 + self.random((self.nodes.len() - 1) as u64) as usize;
        let Some(Some(persona)) = story.persona.get(other).copied() else { return };
        match self.random(4) {
            0 if story.removed.is_empty() && self.nodes.len() > 3 => {
                if matches!(
                    self.query(0, Command::MemberRemove { group, persona, reason: None }),
                    Some(Answer::Motion { .. })
                ) {
                    story.removed.push(other);
                }
            }
            1 => {
                self.query(0, Command::MemberSetRole { group, persona, role: RoleName::Cofacilitator });
            }
            _ => {
                let charter = Some(format!("charter by {node}"));
                self.query(
                    node,
                    Command::GroupSet {
                        group,
                        charter,
                        history_days: None,
                        slow_mode_s: None,
                        shield: None,
                        relays: None,
                    },
                );
            }
        }
    }

    /// Prints the schedule, when asked.
    fn tell(&self, what: impl FnOnce() -> String) {
        if std::env::var_os("HEARTH_SIM_TELL").is_some() {
            println!("{:>9} {}", self.now - super::START, what());
        }
    }

    /// Everything comes back and has time to agree.
    fn heal(&mut self, story: &mut Story) {
        self.tell(|| "everything heals".into());
        self.calm = true;
        self.cut.clear();
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        self.wait(30_000);
        for node in 1..self.nodes.len() {
            if !story.removed.contains(&node) {
                self.join(story, node);
            }
        }
        for _ in 0..8 {
            for node in 0..self.nodes.len() {
                self.ask(node, Command::NetworkSync { group: None });
            }
            self.wait(2 * MINUTE);
        }
    }

    pub(crate) fn is_member(&mut self, story: &Story, node: usize) -> bool {
        let Some(Answer::Groups { groups }) = self.query(node, Command::GroupList {}) else { return false };
        groups.iter().any(|g| g.group == story.group && g.state == GroupState::Joined)
    }
}
