//! Carrying out a plan: members come in, talk, sleep, crash and are cut off; then everything heals.

use hearth_crypto::mls::{Mls, Suite};
use hearth_node::{
    app::{Answer, Command, GroupState, Join, MotionState, Notice, PersonaChoice, Reaction, Refusal, RoleName, Secret},
    store::Table,
};
use hearth_protocol::id::{GroupId, MessageId, NodeId, PersonaId, hash};

use super::{Act, CANARY, Failure, Node, Plan, Said, World, net::RELAY};

/// What a passed seed did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Members at the end.
    pub members: usize,
    /// Messages said.
    pub said: usize,
    /// Members removed.
    pub removed: usize,
    /// Forks that members saw heal.
    pub forks: usize,
    /// Crashes.
    pub crashes: usize,
    /// MLS epoch of each node's base: 0 is the first node.
    pub bases: Vec<Option<u64>>,
    /// The node that began each node's network.
    pub networks: Vec<Option<NodeId>>,
    /// How often each node's MLS group was begun anew.
    pub generations: Vec<Option<u32>>,
    /// Of how many MLS nodes the secrets lie on each member's disk, and of how many only what opens late messages. Model MLS only.
    pub secrets: Vec<(usize, usize)>,
    /// Bytes of the largest door that was written.
    pub largest_door: usize,
    /// Sync rounds after healing until all agreed.
    pub rounds: usize,
    /// Hash of everything.
    pub trace: String,
}

/// The script's memory.
pub(crate) struct Story {
    pub(crate) group: GroupId,
    pub(crate) said: Vec<Said>,
    /// Persona of each node, once it is known to be in.
    pub(crate) persona: Vec<Option<PersonaId>>,
    /// A depth at which it was in.
    pub(crate) since: Vec<u64>,
    pub(crate) removed: Vec<usize>,
    /// Members that no node stands behind.
    pub(crate) guests: Vec<PersonaId>,
    /// Removals whose reply was lost in a crash.
    perhaps_removed: Vec<usize>,
    pub(crate) gone: Option<usize>,
    /// The tip of whom is gone, when it went, if it was in there: the join of one that went outside was lost with a fork.
    pub(crate) gone_at: Option<NodeId>,
    pub(super) link: String,
    asleep: Vec<usize>,
}

const MINUTE: u64 = 60_000;
/// Until a door stands at a relay.
const INVITE_MS: u64 = 12_000;
/// Sync rounds after which all must agree.
const ROUNDS: usize = 8;
/// How often the founder asks for what a crash may have kept from it.
const TRIES: usize = 3;

/// Runs one plan and checks the invariants.
///
/// # Errors
/// The first broken invariant.
pub fn run<M: Mls + 'static>(plan: &Plan, suite: Suite, make: impl Fn(u64) -> M + 'static) -> Result<Report, Failure> {
    World::new(plan, suite, make).live(plan).map(|(report, _)| report)
}

impl<M: Mls> World<M> {
    /// A whole life, and how many batches had been written when its acts began.
    pub(super) fn live(&mut self, plan: &Plan) -> Result<(Report, usize), Failure> {
        let mut story = self.found(plan)?;
        story.gone = plan.gone;
        self.come_in(&mut story, plan);
        let founded = self.batches;
        for (pause, act) in &plan.acts {
            self.wait(*pause);
            self.let_in(&story);
            self.act(&mut story, act);
            self.unbroken()?;
            match act {
                Act::Complete => self.check_now(&story)?,
                Act::Agree => self.check_agreed(&story)?,
                _ => {}
            }
        }
        let rounds = self.heal(&mut story)?;
        let forks = |n: &Notice| matches!(n, Notice::ForkResolved { .. });
        let report = Report {
            members: plan.nodes - story.removed.len(),
            said: story.said.len(),
            removed: story.removed.len(),
            forks: self.nodes.iter().flat_map(|n| &n.notices).filter(|n| forks(n)).count(),
            crashes: self.crashes,
            bases: self.nodes.iter().map(|n| n.engine.as_ref().and_then(|e| e.base_epoch(&story.group))).collect(),
            networks: self.nodes.iter().map(|n| n.engine.as_ref().and_then(|e| e.network(&story.group))).collect(),
            generations: self
                .nodes
                .iter()
                .map(|n| n.engine.as_ref().and_then(|e| e.generation(&story.group)))
                .collect(),
            secrets: self.nodes.iter().map(secrets_on_disk).collect(),
            largest_door: self.largest_slot,
            rounds,
            trace: self.trace(),
        };
        Ok((report, founded))
    }

    /// The first node makes the group and a link for all others.
    pub(super) fn found(&mut self, plan: &Plan) -> Result<Story, Failure> {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        let fail = |what: &str| Failure::new(0, what);
        let (group, persona) = self.make_group().ok_or_else(|| fail("no group was made"))?;
        self.wait(2_000);
        let uses = plan.uses.or_else(|| u32::try_from(self.nodes.len() + 4).ok());
        let mut reply = None;
        for _ in 0..TRIES {
            reply = self.invite(0, (group, uses), Some(30 * 86_400), INVITE_MS);
            if reply.is_some() {
                break;
            }
        }
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
            guests: vec![],
            perhaps_removed: vec![],
            gone: None,
            gone_at: None,
            link: link.expose().to_owned(),
            asleep: vec![],
        })
    }

    /// Asks until there is one: a reply may be lost in a crash, and the group stand all the same.
    fn make_group(&mut self) -> Option<(GroupId, PersonaId)> {
        for _ in 0..TRIES {
            let create = Command::GroupCreate {
                name: format!("{CANARY} Tuesday"),
                template: None,
                join: if self.knock { Join::Knock } else { Join::Open },
                history_days: None,
                persona: Some(PersonaChoice { name: Some(format!("{CANARY} founder")) }),
            };
            if let Some(Answer::GroupCreated { group, persona }) = self.query(0, create) {
                return Some((group, persona));
            }
            self.wait(2_000);
            let Some(Answer::Groups { groups }) = self.query(0, Command::GroupList {}) else { continue };
            let Some(group) = groups.first().map(|g| g.group) else { continue };
            let Some(Answer::Group { members, .. }) = self.query(0, Command::GroupShow { group }) else { continue };
            return members.iter().find(|m| m.you).map(|m| (group, m.persona));
        }
        None
    }

    /// A facilitator asks for a link, and is answered within this time or not at all.
    pub(super) fn invite(
        &mut self,
        node: usize,
        (group, uses): (GroupId, Option<u32>),
        expires_in_s: Option<u64>,
        wait_ms: u64,
    ) -> Option<Result<Answer, Refusal>> {
        let id = self.ask(node, Command::InviteCreate { group, uses, expires_in_s, role: None });
        self.wait(wait_ms);
        self.nodes.get_mut(node)?.replies.remove(&id)
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.run_until(self.now + ms);
    }

    /// Everybody tries to come in first, some at once.
    pub(super) fn come_in(&mut self, story: &mut Story, plan: &Plan) {
        if plan.alone {
            self.sleep(story, 0);
        }
        for node in 1..self.nodes.len().saturating_sub(plan.late) {
            self.join(story, node);
            if self.chance(0.5) {
                self.wait(3_000);
            }
        }
        self.wait(MINUTE);
    }

    pub(super) fn act(&mut self, story: &mut Story, act: &Act) {
        let group = story.group;
        match act {
            Act::Say(node) => self.say(story, *node),
            Act::Edit(node, which) => {
                if let Some(message) = some_message(story, *which).filter(|_| self.has_everybody(story, *node)) {
                    let text = format!("{CANARY} said better");
                    self.ask(*node, Command::MessageEdit { group, message, text });
                }
            }
            Act::React(node, which, on) => {
                if let Some(message) = some_message(story, *which).filter(|_| self.has_everybody(story, *node)) {
                    self.ask(*node, Command::MessageReact { group, message, reaction: Reaction::WithYou, on: *on });
                }
            }
            Act::Join(node) => self.join(story, *node),
            Act::Sleep(node) => self.sleep(story, *node),
            Act::Wake(which) => self.wake(story, *which),
            Act::Crash { node, inputs, cut, away_ms } => {
                if self.is_up(*node) {
                    self.arm(*node, *inputs, *cut, *away_ms);
                }
            }
            Act::Partition { side, one_way } => self.partition(*side, *one_way),
            Act::Agree | Act::Complete => {}
            Act::Mend => self.cut.clear(),
            Act::RestartRelay { relay, away_ms } => self.restart_relay(*relay, *away_ms),
            Act::Remove(other) => self.remove(story, *other),
            Act::Expel(by, other) => self.expel(story, *by, *other),
            Act::Promote(other, whole) => {
                let role = if *whole { RoleName::Facilitator } else { RoleName::Cofacilitator };
                if let Some(Some(persona)) = story.persona.get(*other).copied() {
                    self.query(0, Command::MemberSetRole { group, persona, role });
                }
            }
            Act::Second(node, other) => {
                if let Some(Some(persona)) = story.persona.get(*other).copied() {
                    self.query(*node, Command::MemberSetRole { group, persona, role: RoleName::Facilitator });
                }
            }
            Act::Restart(node, suite) => {
                self.query(*node, Command::GroupRestart { group, suite: *suite });
            }
            Act::Charter(node) => {
                let charter = Some(format!("{CANARY} charter by {node}"));
                let (history_days, slow_mode_s, shield, relays) = (None, None, None, None);
                self.query(*node, Command::GroupSet { group, charter, history_days, slow_mode_s, shield, relays });
            }
        }
    }

    pub(super) fn join(&mut self, story: &mut Story, node: usize) {
        if story.persona.get(node).is_none_or(|p| p.is_some()) || !self.is_up(node) {
            return;
        }
        let persona = Some(PersonaChoice { name: Some(format!("{CANARY} member {node}")) });
        let link = Secret::new(story.link.clone());
        self.ask(node, Command::GroupJoin { link, persona, introduction: None, accept_charter: true });
        self.wait(5_000);
        self.let_in(story);
        self.look_who_is_in(story, node);
    }

    /// Every facilitator who hears a knock says yes.
    pub(super) fn let_in(&mut self, story: &Story) {
        if !self.knock {
            return;
        }
        let group = story.group;
        for node in 0..self.nodes.len() {
            let Some(Answer::Knocks { knocks }) = self.query(node, Command::KnockList { group }) else { continue };
            for knock in knocks {
                self.query(node, Command::KnockAdmit { group, persona: knock.persona });
            }
        }
        self.wait(5_000);
    }

    /// A reply may be lost in a crash, and the join stand all the same: what counts is what the node says.
    pub(super) fn look_who_is_in(&mut self, story: &mut Story, node: usize) {
        if story.persona.get(node).is_none_or(|p| p.is_some()) || !self.is_member(story, node) {
            return;
        }
        let Some(Answer::Group { members, .. }) = self.query(node, Command::GroupShow { group: story.group }) else {
            return;
        };
        let me = members.iter().find(|m| m.you).map(|m| m.persona);
        let depth = self.tip(node, story.group).map_or(u64::MAX, |(depth, _)| depth);
        if let (Some(slot), Some(since)) = (story.persona.get_mut(node), story.since.get_mut(node)) {
            (*slot, *since) = (me, depth);
        }
    }

    fn say(&mut self, story: &mut Story, node: usize) {
        let text = format!("{CANARY} from {node}, number {}", story.said.len());
        let (topic, reply_to, content_note, expires_in_s, library_consent) = (None, None, None, None, None);
        let group = story.group;
        let command =
            Command::MessageSend { group, text, topic, reply_to, content_note, expires_in_s, library_consent };
        // Where it will be said: the tip moves with an input, never by itself.
        let Some((depth, known, outside)) = self.in_and_out(node, group) else { return };
        if let Some(Answer::Message { message }) = self.query(node, command) {
            // The author's tip has exactly those whom its policy names: it has processed every removal it knows of.
            let processed = outside.as_ref().is_some_and(Vec::is_empty);
            let without = |n: &&usize| {
                let persona = story.persona.get(**n).copied().flatten();
                processed && persona.is_some_and(|p| !known.contains(&p))
            };
            let without = story.removed.iter().filter(without).copied().collect();
            let is_outside = |n: &usize| {
                let persona = story.persona.get(*n).copied().flatten();
                outside.as_ref().zip(persona).is_some_and(|(out, p)| out.contains(&p) || !known.contains(&p))
            };
            let outside = (0..self.nodes.len()).filter(is_outside).collect();
            story.said.push(Said { message, author: node, depth, without, outside });
        }
    }

    /// Whether everybody who came in is in at a node's tip. What is done to a message while somebody is outside is not owed to
    /// them, as nothing is that is said meanwhile: they show the message otherwise.
    fn has_everybody(&mut self, story: &Story, node: usize) -> bool {
        let Some((_, known, outside)) = self.in_and_out(node, story.group) else { return false };
        let stays = |n: &usize| !story.removed.contains(n) && story.gone != Some(*n);
        let mut came = (0..self.nodes.len()).filter(stays).filter_map(|n| story.persona.get(n).copied().flatten());
        let here = outside.is_some_and(|out| out.is_empty());
        here && came.all(|persona| known.contains(&persona))
    }

    /// Depth of a node's tip, whom the node shows as members, sorted, and those of them whom the tip does not have; `None` where it
    /// has others.
    fn in_and_out(&mut self, node: usize, group: GroupId) -> Option<(u64, Vec<PersonaId>, Option<Vec<PersonaId>>)> {
        let (depth, roster) = self.tip(node, group)?;
        let Answer::Group { members, .. } = self.query(node, Command::GroupShow { group })? else { return None };
        let mut known: Vec<_> = members.iter().map(|m| m.persona).collect();
        known.sort_unstable();
        let outside = outside(&known, &roster);
        Some((depth, known, outside))
    }

    /// Depth and roster hash of a node's tip.
    fn tip(&mut self, node: usize, group: GroupId) -> Option<(u64, String)> {
        let depth = self.nodes.get(node)?.engine.as_ref()?.depth(&group)?;
        match self.query(node, Command::DebugTip { group }) {
            Some(Answer::Tip { members_hash, .. }) => Some((depth, members_hash)),
            _ => None,
        }
    }

    fn sleep(&mut self, story: &mut Story, node: usize) {
        if self.is_up(node) {
            self.stop(node);
            story.asleep.push(node);
        }
    }

    fn wake(&mut self, story: &mut Story, which: u64) {
        if let Some(at) =
            usize::try_from(which % story.asleep.len().max(1) as u64).ok().filter(|_| !story.asleep.is_empty())
        {
            let node = story.asleep.swap_remove(at);
            self.start(node);
        }
    }

    fn partition(&mut self, side: u64, one_way: bool) {
        let ends: Vec<usize> = (0..self.nodes.len()).chain((0..self.relays.len()).map(|r| RELAY + r)).collect();
        let here = |i: usize| side.rotate_right(u32::try_from(i).unwrap_or(0)) & 1 == 1;
        for (_, a) in ends.iter().enumerate().filter(|(i, _)| here(*i)) {
            for (_, b) in ends.iter().enumerate().filter(|(j, _)| !here(*j)) {
                self.cut.insert((*a, *b));
                if !one_way {
                    self.cut.insert((*b, *a));
                }
            }
        }
    }

    /// One member is removed at most, and never below three.
    fn remove(&mut self, story: &mut Story, other: usize) {
        if story.removed.is_empty() && story.perhaps_removed.is_empty() && self.nodes.len() > 3 {
            self.expel(story, 0, other);
        }
    }

    fn expel(&mut self, story: &mut Story, by: usize, other: usize) {
        let Some(persona) = story.persona.get(other).copied().flatten().filter(|_| self.is_up(by)) else { return };
        let command = Command::MemberRemove { group: story.group, persona, reason: None };
        let id = self.ask(by, command);
        match self.nodes.get_mut(by).and_then(|n| n.replies.remove(&id)) {
            Some(Ok(Answer::Motion { state: MotionState::Done, .. })) => story.removed.push(other),
            // Waits for a second facilitator, who may sign, or the reply was lost.
            Some(Ok(_)) | None => story.perhaps_removed.push(other),
            Some(Err(_)) => {}
        }
    }

    /// Everything comes back and has to agree. Returns how many rounds it took.
    pub(super) fn heal(&mut self, story: &mut Story) -> Result<usize, Failure> {
        if let Some(gone) = story.gone {
            self.start(gone);
            story.gone_at = self.tip_that_has(gone, story);
            self.stop(gone);
        }
        self.mend();
        let here: Vec<_> = (0..self.nodes.len()).filter(|n| story.gone != Some(*n)).collect();
        here.iter().for_each(|n| self.start(*n));
        self.wait(30_000);
        here.iter().for_each(|n| self.look_who_is_in(story, *n));
        self.settle_removal(story);
        let mut broken = Ok(());
        for round in 1..=ROUNDS {
            self.let_in(story);
            if round == ROUNDS / 2 + 1 {
                self.come_back(story, &here);
            }
            for node in &here {
                self.look_who_is_in(story, *node);
                if !story.removed.contains(node) {
                    self.join(story, *node);
                }
                self.ask(*node, Command::NetworkSync { group: None });
            }
            self.wait(2 * MINUTE);
            self.unbroken()?;
            broken = self.check(story);
            if broken.is_ok() {
                return Ok(round);
            }
        }
        broken.map(|()| ROUNDS)
    }

    /// [R-55] Whose join was lost, and its link with it, asks for a new one, as the app tells it to.
    fn come_back(&mut self, story: &Story, here: &[usize]) {
        let group = story.group;
        let Some(Answer::Group { members, .. }) = self.query(0, Command::GroupShow { group }) else { return };
        let is_outside = |node: &usize| {
            let persona = story.persona.get(*node).copied().flatten();
            !story.removed.contains(node) && persona.is_some_and(|p| members.iter().all(|m| m.persona != p))
        };
        let outside: Vec<_> = here.iter().copied().filter(is_outside).collect();
        if outside.is_empty() {
            return;
        }
        let uses = u32::try_from(outside.len()).ok();
        let reply = self.invite(0, (group, uses), None, INVITE_MS);
        let Some(Ok(Answer::Invite { link, .. })) = reply else { return };
        for node in outside {
            let link = Secret::new(link.expose().to_owned());
            self.ask(node, Command::GroupJoin { link, persona: None, introduction: None, accept_charter: true });
            self.wait(5_000);
        }
    }

    /// Whether a removal without a reply stands is what the founder's log says.
    fn settle_removal(&mut self, story: &mut Story) {
        let Some(other) = story.perhaps_removed.pop() else { return };
        let Some(Some(persona)) = story.persona.get(other).copied() else { return };
        let roster = self.query(0, Command::GroupShow { group: story.group });
        if let Some(Answer::Group { members, .. }) = roster
            && !members.iter().any(|m| m.persona == persona)
        {
            story.removed.push(other);
        }
    }

    /// The tip of a node, if that has the node's persona in its roster.
    fn tip_that_has(&mut self, node: usize, story: &Story) -> Option<NodeId> {
        let group = story.group;
        let persona = story.persona.get(node).copied().flatten()?;
        let Answer::Group { members, .. } = self.query(node, Command::GroupShow { group })? else { return None };
        let Answer::Tip { node: tip, .. } = self.query(node, Command::DebugTip { group })? else { return None };
        members.iter().any(|m| m.persona == persona).then_some(tip)
    }

    pub(crate) fn is_member(&mut self, story: &Story, node: usize) -> bool {
        let Some(Answer::Groups { groups }) = self.query(node, Command::GroupList {}) else { return false };
        groups.iter().any(|g| g.group == story.group && g.state == GroupState::Joined)
    }
}

/// Counts the model's rows: see `hearth_crypto::model`.
fn secrets_on_disk<M: Mls>(node: &Node<M>) -> (usize, usize) {
    let rows = |row: &[u8]| {
        let rows = node.disk.keys().filter(|(_, _, table, _)| *table == Table::Node);
        rows.filter(|(.., key)| key.get(64..) == Some(row)).count()
    };
    (rows(b"s"), rows(b"r"))
}

/// Members whom a tip with this roster hash does not have. `None` when it has others, or too many members to try.
fn outside(members: &[PersonaId], roster: &str) -> Option<Vec<PersonaId>> {
    let has = |left_out: u32| {
        let in_it = |i: &usize| left_out >> i & 1 == 0;
        let bytes: Vec<u8> =
            members.iter().enumerate().filter(|(i, _)| in_it(i)).flat_map(|(_, persona)| persona.0).collect();
        data_encoding::HEXLOWER.encode(&hash(&[&bytes])) == roster
    };
    let tries = if members.len() <= 8 { 1 << members.len() } else { 1 };
    let left_out = (0..tries).find(|left_out| has(*left_out))?;
    Some(members.iter().enumerate().filter(|(i, _)| left_out >> i & 1 == 1).map(|(_, persona)| *persona).collect())
}

fn some_message(story: &Story, which: u64) -> Option<MessageId> {
    let at = usize::try_from(which % story.said.len().max(1) as u64).ok()?;
    story.said.get(at).map(|s| s.message)
}
