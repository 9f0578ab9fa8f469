//! A group with a villain in it, for tests that attack by hand: what members do, what they see, and what must hold.

use std::collections::BTreeMap;

use hearth_crypto::{
    mls::{Mls, Suite},
    persona::DeviceKeys,
    policy::InviteKeys,
};
use hearth_node::{
    app::{Answer, Command, Kind, MessageRow, Notice, PersonaChoice, Refusal, RoleName, Secret},
    store::Table,
};
use hearth_protocol::{
    id::{GroupId, NodeId, OpId, PersonaId},
    link::InviteLink,
    time::Timestamp,
};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use super::{Act, CANARY, Failure, Faults, Key, Plan, Villain, World, script::Story};

/// Longer than anything that two members who can talk wait for.
const SOON_MS: u64 = 3 * 60_000;
/// A link, as whoever holds it can use it.
pub struct Invitation {
    /// Its keys.
    pub keys: InviteKeys,
    /// The op that made it.
    pub invite: OpId,
    /// As it is handed round.
    pub text: String,
}

/// What lay on a disk.
#[derive(Clone)]
pub struct Disk(BTreeMap<Key, Vec<u8>>);

/// See the module's page.
pub struct Scene<M: Mls> {
    pub(super) world: World<M>,
    story: Story,
}

/// A calm world: nothing is lost, and all that is wrong with it is the villain.
fn calm(nodes: usize) -> Plan {
    let faults = Faults { drop: 0.0, duplicate: 0.0, reorder: 0.0, delay_ms: 50, skew_ms: 0 };
    Plan { nodes, relays: 1, faults, alone: false, gone: None, acts: Vec::new(), ..Plan::new(1) }
}

impl<M: Mls + 'static> Scene<M> {
    /// A group of so many members, of whom the first ones are facilitators. All of it is final.
    ///
    /// # Errors
    /// When the group does not come together.
    pub fn new(nodes: usize, facilitators: usize, make: impl Fn(u64) -> M + 'static) -> Result<Self, Failure> {
        Self::of(&calm(nodes), facilitators, make)
    }

    /// The same, with a stranger: a last node that has the link, and is not in yet.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_stranger(
        (nodes, knock): (usize, bool),
        facilitators: usize,
        make: impl Fn(u64) -> M + 'static,
    ) -> Result<Self, Failure> {
        Self::of(&Plan { knock, late: 1, ..calm(nodes) }, facilitators, make)
    }

    /// A group as a plan draws it, before its acts.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(plan: &Plan, facilitators: usize, make: impl Fn(u64) -> M + 'static) -> Result<Self, Failure> {
        let mut world = World::new(plan, Suite::Classic, make);
        let mut story = world.found(plan)?;
        world.come_in(&mut story, plan);
        let mut scene = Self { world, story };
        for node in 1..facilitators {
            (0..node).for_each(|by| scene.set_role(by, node, RoleName::Facilitator));
            scene.wait(SOON_MS);
        }
        let everybody = 0..plan.nodes - plan.late;
        match everybody.clone().all(|node| scene.story.persona.get(node).is_some_and(Option::is_some)) {
            true => Ok(scene),
            false => Err(Failure::new(0, "not everybody came in")),
        }
    }

    /// Time passes.
    pub fn wait(&mut self, ms: u64) {
        self.world.wait(ms);
    }

    /// Enough of it for whatever members tell each other.
    pub fn soon(&mut self) {
        self.wait(SOON_MS);
    }

    /// One of the simulator's acts.
    pub fn act(&mut self, act: Act) {
        let story = &mut self.story;
        self.world.act(story, &act);
    }

    /// A member asks its node for something.
    pub fn query(&mut self, node: usize, command: Command) -> Option<Answer> {
        self.world.query(node, command)
    }

    /// Gives a role, or signs the motion that gives it.
    pub fn set_role(&mut self, by: usize, other: usize, role: RoleName) {
        let (group, persona) = (self.group(), self.persona(other));
        self.query(by, Command::MemberSetRole { group, persona, role });
    }

    /// These take a member out together; from the last signature on it is out.
    pub fn remove(&mut self, by: &[usize], other: usize) {
        let (group, persona) = (self.group(), self.persona(other));
        for node in by {
            self.query(*node, Command::MemberRemove { group, persona, reason: None });
            self.wait(2_000);
        }
        self.story.removed.push(other);
    }

    /// One takes another out, which will turn out to be void.
    pub fn remove_in_vain(&mut self, by: usize, other: usize) {
        let (group, persona) = (self.group(), self.persona(other));
        self.query(by, Command::MemberRemove { group, persona, reason: None });
    }

    /// Whether a node has a session with any relay for the group.
    #[must_use]
    pub fn is_listening(&self, node: usize) -> bool {
        let sessions = self.world.nodes.get(node).map(|n| &n.sessions);
        sessions.is_some_and(|s| s.keys().any(|(group, _)| *group == self.story.group))
    }

    /// Says something that must be there in the end.
    pub fn say(&mut self, node: usize) {
        self.act(Act::Say(node));
    }

    /// The stranger comes in by the link, or tries to. True when it is in.
    pub fn join(&mut self, node: usize) -> bool {
        let Self { world, story } = self;
        world.join(story, node);
        self.is_member(node)
    }

    /// Whether a node says that it is in.
    pub fn is_member(&mut self, node: usize) -> bool {
        let Self { world, story } = self;
        world.is_member(story, node)
    }

    /// The group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.story.group
    }

    /// Who a node is. (The zero persona for one that is not in.)
    #[must_use]
    pub fn persona(&self, node: usize) -> PersonaId {
        self.story.persona.get(node).copied().flatten().unwrap_or(PersonaId([0; 32]))
    }

    /// The link that everybody has.
    ///
    /// # Errors
    /// When it does not read.
    pub fn link(&self) -> Result<Invitation, Failure> {
        invitation(&self.story.link)
    }

    /// A member's node ends, and what lay on its disk is in the hands of somebody with other software.
    ///
    /// # Errors
    /// When what lies there does not read.
    pub fn corrupt(&mut self, node: usize) -> Result<Villain<M>, Failure> {
        let villain = self.spy(node)?;
        self.world.stop(node);
        self.story.gone = Some(node);
        Ok(villain)
    }

    /// The same, while the node goes on as it should: its owner has other software beside it.
    ///
    /// # Errors
    /// As [`Self::corrupt`].
    pub fn spy(&mut self, node: usize) -> Result<Villain<M>, Failure> {
        let group = self.group();
        let tip = self.tip(node).ok_or_else(|| Failure::new(0, "no tip to begin at"))?;
        let mls = (self.world.make)(u64::MAX - node as u64);
        let rows = self.world.nodes.get(node).into_iter().flat_map(|n| &n.disk);
        let rows = rows.filter(|((of, ..), _)| *of == Some(group));
        let rows = rows.map(|((_, _, table, key), value)| (*table, key.as_slice(), value.as_slice()));
        let rng = ChaCha20Rng::seed_from_u64(node as u64);
        Villain::read(mls, (group, tip), rows, rng).ok_or_else(|| Failure::new(0, "no villain"))
    }

    /// What everybody honest has in common, once all of it has come to rest: the simulator's invariants hold.
    ///
    /// # Errors
    /// The first that is broken.
    pub fn agree(&mut self) -> Result<(), Failure> {
        let Self { world, story } = self;
        world.heal(story).map(|_| ())
    }

    /// From now on these are expected on the roster, although no node stands behind them.
    pub fn expect(&mut self, personas: impl IntoIterator<Item = PersonaId>) {
        self.story.guests.extend(personas);
    }

    /// A member's tip.
    pub fn tip(&mut self, node: usize) -> Option<NodeId> {
        match self.query(node, Command::DebugTip { group: self.story.group })? {
            Answer::Tip { node, .. } => Some(node),
            _ => None,
        }
    }

    /// How many nodes lie above a member's tip.
    #[must_use]
    pub fn depth(&self, node: usize) -> u64 {
        let engine = self.world.nodes.get(node).and_then(|n| n.engine.as_ref());
        engine.and_then(|e| e.depth(&self.story.group)).unwrap_or(0)
    }

    /// Whether what a node shows as its tip is final.
    pub fn is_final(&mut self, node: usize) -> bool {
        let tip = self.tip(node);
        let engine = self.world.nodes.get(node).and_then(|n| n.engine.as_ref());
        tip.is_some() && engine.and_then(|e| e.certified(&self.story.group)) == tip
    }

    /// Members and their roles, as a member is shown them.
    pub fn roster(&mut self, node: usize) -> BTreeMap<PersonaId, RoleName> {
        match self.query(node, Command::GroupShow { group: self.story.group }) {
            Some(Answer::Group { members, .. }) => members.into_iter().map(|m| (m.persona, m.role)).collect(),
            _ => BTreeMap::new(),
        }
    }

    /// The charter, as a member is shown it.
    pub fn charter(&mut self, node: usize) -> String {
        match self.query(node, Command::GroupShow { group: self.story.group }) {
            Some(Answer::Group { charter, .. }) => charter,
            _ => String::new(),
        }
    }

    /// A facilitator writes another charter.
    pub fn set_charter(&mut self, node: usize, text: &str) {
        let (group, charter) = (self.story.group, Some(text.to_owned()));
        let (history_days, slow_mode_s, shield, relays) = (None, None, None, None);
        self.query(node, Command::GroupSet { group, charter, history_days, slow_mode_s, shield, relays });
    }

    /// How many ops a member has without what lies beside them.
    #[must_use]
    pub fn bare_ops(&self, node: usize) -> usize {
        let engine = self.world.nodes.get(node).and_then(|n| n.engine.as_ref());
        engine.map_or(0, |e| e.bare_ops(&self.story.group))
    }

    /// Everything said, as a member is shown it.
    pub fn messages(&mut self, node: usize) -> Vec<MessageRow> {
        let group = self.story.group;
        let (topic, before, after, limit, newest) = (None, None, None, Some(500), None);
        match self.query(node, Command::MessageList { group, topic, before, after, limit, newest }) {
            Some(Answer::Messages { messages }) => messages,
            _ => Vec::new(),
        }
    }

    /// What a node told its owner by itself.
    #[must_use]
    pub fn notices(&self, node: usize) -> &[Notice] {
        self.world.nodes.get(node).map_or(&[], |n| &n.notices)
    }

    /// How often a message was told as new, at most.
    #[must_use]
    pub fn told(&self, node: usize) -> usize {
        self.world.nodes.get(node).into_iter().flat_map(|n| n.announced.values()).copied().max().unwrap_or(0)
    }

    /// The time that the world has.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.world.now)
    }

    /// From now on a node's clock is wrong by so many milliseconds.
    pub fn put_clock(&mut self, node: usize, ms: i64) {
        if let Some(at) = self.world.nodes.get_mut(node) {
            at.skew = ms;
        }
    }

    /// Whom a node suspects of having broken the signing rule.
    #[must_use]
    pub fn suspects(&self, node: usize) -> Vec<PersonaId> {
        let engine = self.world.nodes.get(node).and_then(|n| n.engine.as_ref());
        engine.map(|e| e.suspects(&self.story.group)).unwrap_or_default()
    }

    /// Somebody was taken out by other means.
    pub fn is_out(&mut self, node: usize) {
        self.story.removed.push(node);
    }

    /// A node ends as it should.
    pub fn sleep(&mut self, node: usize) {
        self.world.stop(node);
    }

    /// And comes back.
    pub fn wake(&mut self, node: usize) {
        self.world.start(node);
    }

    /// How many rows of a table lie on a node's disk.
    #[must_use]
    pub fn rows(&self, node: usize, table: Table) -> usize {
        let disk = self.world.nodes.get(node).into_iter().flat_map(|n| n.disk.keys());
        disk.filter(|(_, _, of, _)| *of == table).count()
    }

    /// A copy of everything on a node's disk.
    #[must_use]
    pub fn copy_disk(&self, node: usize) -> Disk {
        Disk(self.world.nodes.get(node).map(|n| n.disk.clone()).unwrap_or_default())
    }

    /// A node comes up with what lay on a disk before, of its own or of another.
    pub fn start_from(&mut self, node: usize, disk: Disk) {
        self.world.stop(node);
        if let Some(at) = self.world.nodes.get_mut(node) {
            at.disk = disk.0;
            // It knows nothing of what it was told since.
            at.announced.clear();
        }
        self.world.start(node);
    }

    /// This node is the same member as that one.
    pub fn is_same(&mut self, node: usize, other: usize) {
        let (persona, since) = (self.story.persona.get(other).copied(), self.story.since.get(other).copied());
        if let (Some(at), Some(persona)) = (self.story.persona.get_mut(node), persona) {
            *at = persona;
        }
        if let (Some(at), Some(since)) = (self.story.since.get_mut(node), since) {
            *at = since;
        }
    }

    /// The founder makes another link.
    ///
    /// # Errors
    /// When no relay takes its door.
    pub fn invite(&mut self, uses: u32, expires_in_s: u64) -> Result<Invitation, Failure> {
        self.invite_by(0, uses, expires_in_s)
    }

    /// A facilitator makes another link.
    ///
    /// # Errors
    /// When no relay takes its door.
    pub fn invite_by(&mut self, node: usize, uses: u32, expires_in_s: u64) -> Result<Invitation, Failure> {
        let group = self.group();
        let reply = self.world.invite(node, (group, Some(uses)), Some(expires_in_s), SOON_MS);
        let Some(Ok(Answer::Invite { link, .. })) = reply else { return Err(Failure::new(0, "no link was made")) };
        invitation(link.expose())
    }

    /// Somebody knocks.
    pub fn knock(&mut self, node: usize) {
        let link = Secret::new(self.story.link.clone());
        let persona = Some(PersonaChoice { name: Some(lie("stranger")) });
        self.world.ask(node, Command::GroupJoin { link, persona, introduction: None, accept_charter: true });
        self.soon();
    }

    /// Every facilitator lets in whoever knocked. True when this node came in.
    pub fn admit(&mut self, node: usize) -> bool {
        let Self { world, story } = self;
        world.let_in(story);
        self.soon();
        let Self { world, story } = self;
        world.look_who_is_in(story, node);
        self.is_member(node)
    }

    /// These name facilitators, one after the other. How each was answered.
    pub fn recover(&mut self, by: &[usize], named: &[usize]) -> Vec<Result<Answer, Refusal>> {
        let group = self.group();
        let facilitators: Vec<_> = named.iter().map(|node| self.persona(*node)).collect();
        let mut answers = Vec::new();
        for node in by {
            let id = self.world.ask(*node, Command::GroupRecover { group, facilitators: facilitators.clone() });
            self.wait(5_000);
            answers.extend(self.world.nodes.get_mut(*node).and_then(|n| n.replies.remove(&id)));
        }
        answers
    }

    /// Where what a member keeps of the DAG begins: its MLS epoch.
    #[must_use]
    pub fn base(&self, node: usize) -> Option<u64> {
        self.world.nodes.get(node)?.engine.as_ref()?.base_epoch(&self.story.group)
    }

    /// A stranger comes in by a link.
    ///
    /// # Errors
    /// Why not; `None` when there was no answer.
    pub fn come_in(&mut self, node: usize, link: &Invitation) -> Result<(), Option<Kind>> {
        let refused = self.try_link(node, link);
        let Self { world, story } = self;
        world.look_who_is_in(story, node);
        if self.is_member(node) { Ok(()) } else { Err(refused) }
    }

    /// A fresh persona, of nobody who is in.
    pub fn nobody(&mut self) -> DeviceKeys {
        DeviceKeys::generate(&mut self.world.rng)
    }

    /// Somebody comes in by a link, or is told why not.
    pub fn try_link(&mut self, node: usize, link: &Invitation) -> Option<Kind> {
        let persona = Some(PersonaChoice { name: Some(lie("stranger")) });
        let link = Secret::new(link.text.clone());
        let id = self.world.ask(node, Command::GroupJoin { link, persona, introduction: None, accept_charter: true });
        self.soon();
        self.world.nodes.get_mut(node)?.replies.remove(&id)?.err().map(|refusal| refusal.kind)
    }
}

fn invitation(link: &str) -> Result<Invitation, Failure> {
    let link = InviteLink::parse(link).map_err(|_| Failure::new(0, "no link"))?;
    Ok(Invitation { keys: InviteKeys::from_secret(&link.secret), invite: link.invite, text: link.to_text() })
}

/// The text of a villain's message, as it may be overheard like any other.
#[must_use]
pub fn lie(text: &str) -> String {
    format!("{CANARY} {text}")
}
