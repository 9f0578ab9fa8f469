//! Knocks at this group: what facilitators find in the knock queues, and what they answer.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{
    hpke,
    knock::{self, CheckedKnock},
    mls::Mls,
    schedule::{QueueKeys, answer_queue},
    seal::seal_frame,
};
use hearth_protocol::{
    cbor,
    door::DoorWrapper,
    envelope::AppMessage,
    id::{KnockId, NodeId, OpId, PersonaId},
    knock::{KnockAnswer, KnockContent, SignedKnock},
    mailbox::{Action, Answer as Stored, Blob, Refusal as Refused},
    name,
    op::{JoinMode, OpBody, Role},
    packet::Packet,
    time::Timestamp,
};
use minicbor::{Decode, Encode};

use super::{Group, rows};
use crate::{
    app::{Answer, Kind, KnockRow, Notice, Refusal, Utc},
    engine::{
        ctx::Ctx,
        desk::Asked,
        lane::{OWN_MAILBOX, RelayFailure},
        outbox::parts_of,
    },
    store::Table,
};

/// Knocks that are remembered; while there are so many that nobody answered, further ones are not heard.
const KNOCKS: usize = 256;
/// What nobody answered, or fetched, is forgotten after this long.
const KEEP_MS: u64 = 30 * 86_400_000;

const NO_KNOCK: Refusal = Refusal::new(Kind::NotFound, "nobody of that persona has knocked");

/// What became of a knock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
enum Standing {
    /// Nobody has answered.
    #[n(0)]
    Open,
    /// Somebody said yes.
    #[n(1)]
    Admitted,
    /// Somebody said no.
    #[n(2)]
    Declined,
}

/// A knock and what became of it.
#[derive(Clone, Debug, Encode, Decode)]
pub(super) struct Knocked {
    #[n(0)]
    knock: SignedKnock,
    #[n(1)]
    at: Timestamp,
    #[n(2)]
    standing: Standing,
    /// The answer in parts, as long as not every mailbox has it.
    #[n(3)]
    parts: Vec<minicbor::bytes::ByteVec>,
    /// Mailboxes that have all of it.
    #[n(4)]
    held: BTreeSet<String>,
}

/// How far the answer to one knock is at one mailbox.
#[derive(Debug, Default)]
struct Progress {
    next: usize,
    under_way: bool,
    made: bool,
}

/// All knocks at a group.
#[derive(Debug, Default)]
pub(crate) struct Knocks {
    all: BTreeMap<PersonaId, (Knocked, CheckedKnock)>,
    progress: BTreeMap<(String, PersonaId), Progress>,
}

impl Knocks {
    pub(super) fn restore(&mut self, group: &hearth_protocol::id::GroupId, knocked: Knocked) {
        if let Some(checked) = knock::check(group, knocked.knock.clone()) {
            self.all.insert(checked.content.persona, (knocked, checked));
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &PersonaId> {
        self.all.keys()
    }

    /// Whether no answer waits to be put anywhere.
    pub(super) fn are_answered(&self) -> bool {
        self.all.values().all(|(knocked, _)| knocked.parts.is_empty())
    }

    /// What a mailbox that is gone was doing is not known.
    pub(super) fn relay_down(&mut self, address: &str) {
        self.progress.retain(|(at, _), _| at != address);
    }

    fn content(&self, persona: &PersonaId) -> Option<&KnockContent> {
        self.all.get(persona).map(|(_, checked)| &checked.content)
    }
}

/// A knock is admitted by the Add whose KeyPackage is its own.
fn is_of(content: &KnockContent, key_packages: &[Vec<u8>]) -> bool {
    key_packages.contains(&content.key_package)
}

impl<M: Mls> Group<M> {
    /// Whether this member hears knocks: those who may admit do.
    fn hears_knocks(&self) -> bool {
        self.is_joined() && self.view.role_of(&self.me()) == Some(Role::Facilitator)
    }

    /// The queues at a mailbox that knocks come in: of every network that is kept, as a link may be older than the last
    /// removal.
    pub(super) fn knock_queues(
        &self,
        key: &[u8; 32],
        new: impl Fn(&NodeId, &OpId) -> bool,
    ) -> Vec<(NodeId, OpId, QueueKeys)> {
        if !self.hears_knocks() {
            return Vec::new();
        }
        let knocks = self.view.invites.iter().filter(|(_, i)| i.mode == JoinMode::Knock).map(|(id, _)| *id);
        let knocks: Vec<_> = knocks.collect();
        let pairs = self.networks.iter().flat_map(|n| knocks.iter().map(move |invite| (n, invite)));
        let pairs = pairs.filter(|(n, invite)| new(&n.id(), invite));
        pairs.filter_map(|(n, invite)| Some((n.id(), *invite, n.knock_queue(invite, key).ok()?))).collect()
    }

    /// What lies behind the link of an invite that admits by hand.
    pub(super) fn knock_wrapper(&self, invite: &OpId, key: &[u8; 32]) -> Option<DoorWrapper> {
        let network = self.network()?;
        let settings = &self.view.settings;
        Some(DoorWrapper::Knock {
            invite: *invite,
            name: settings.name.clone(),
            charter: settings.charter.text().unwrap_or_default().to_owned(),
            history_days: settings.history_days,
            suite: self.suite()?.code(),
            knock_pk: hpke::public_key(&network.knock_seed(invite)).ok()?,
            queue: network.knock_queue(invite, key).ok()?.id,
        })
    }

    /// Blobs of a knock queue. Anybody with the link can put anything there: what is no knock is passed over.
    pub(super) fn hear_knocks(&mut self, (network, invite): (NodeId, OpId), blobs: &[Blob], ctx: &mut Ctx<'_, M>) {
        let Some(seed) = self.network_of(&network).map(|n| n.knock_seed(&invite)) else { return };
        for blob in blobs {
            let checked = knock::open(&seed, &self.id, &blob.bytes).and_then(|k| knock::check(&self.id, k));
            if let Some(checked) = checked.filter(|c| c.content.invite == invite) {
                self.hear(checked, ctx);
            }
        }
    }

    fn hear(&mut self, checked: CheckedKnock, ctx: &mut Ctx<'_, M>) {
        let content = &checked.content;
        let persona = content.persona;
        let known = self.knocks.all.get(&persona);
        if known.is_some_and(|(k, c)| c.id == checked.id || k.standing != Standing::Open) {
            return;
        }
        let open = self.knocks.all.values().filter(|(k, _)| k.standing == Standing::Open).count();
        let admits =
            self.closed_reason(&content.invite, ctx.now).is_none() && !self.view.members.contains_key(&persona);
        let named = name::clean(&content.name).as_ref() == Some(&content.name);
        let Some(suite) = self.suite() else { return };
        let genuine =
            ctx.mls.inspect_key_package(&content.key_package, suite).is_ok_and(|leaf| leaf.persona == persona);
        if !admits || !named || !genuine || (known.is_none() && open >= KNOCKS) {
            return;
        }
        let knock = checked.signed.clone();
        let (standing, parts, held) = (Standing::Open, Vec::new(), BTreeSet::new());
        self.knocks.all.insert(persona, (Knocked { knock, at: ctx.now, standing, parts, held }, checked));
        self.save_knock(&persona, ctx);
        ctx.notice(Notice::KnockNew { group: self.id, persona });
    }

    fn save_knock(&self, persona: &PersonaId, ctx: &mut Ctx<'_, M>) {
        let row = self.knocks.all.get(persona).map(|(knocked, _)| cbor::to_vec(knocked));
        ctx.write(self.id, Table::State, &rows::knock_key(persona), row);
    }

    /// Who has knocked and waits, the oldest first.
    pub(crate) fn knock_rows(&self) -> Result<Answer, Refusal> {
        self.must_facilitate()?;
        let waits = |(persona, (knocked, checked)): (&PersonaId, &(Knocked, CheckedKnock))| {
            let open = knocked.standing == Standing::Open && !self.view.members.contains_key(persona);
            open.then(|| KnockRow {
                persona: *persona,
                name: crate::engine::names::shown(&checked.content.name),
                introduction: checked.content.introduction.clone(),
                at: Utc(knocked.at),
            })
        };
        let mut knocks: Vec<_> = self.knocks.all.iter().filter_map(waits).collect();
        knocks.sort_by_key(|row| (row.at, row.persona));
        Ok(Answer::Knocks { knocks })
    }

    fn must_facilitate(&self) -> Result<(), Refusal> {
        self.must_be_joined()?;
        let may = self.hears_knocks();
        may.then_some(()).ok_or(Refusal::new(Kind::NotPermitted, "only facilitators may do this"))
    }

    fn open_knock(&self, persona: &PersonaId) -> Result<&CheckedKnock, Refusal> {
        self.must_facilitate()?;
        match self.knocks.all.get(persona) {
            Some((Knocked { standing: Standing::Open, .. }, checked)) => Ok(checked),
            Some(_) => Err(Refusal::new(Kind::Conflict, "this knock was answered already")),
            None => Err(NO_KNOCK),
        }
    }

    /// Says yes: the Add is an op as any other, and the commit that realises it makes the Welcome.
    pub(crate) fn admit(&mut self, persona: PersonaId, ctx: &mut Ctx<'_, M>) -> Result<Answer, Refusal> {
        let content = self.open_knock(&persona)?.content.clone();
        let role = self.view.invites.get(&content.invite).map_or(Role::Member, |i| i.role);
        let (name, key_package) = (content.name.clone(), content.key_package.clone().into());
        self.decide(OpBody::Add { subject: persona, name, role, key_package }, ctx)?;
        self.settle_knock(&persona, Standing::Admitted, ctx);
        Ok(Answer::Done {})
    }

    /// Says no: to who knocked, and to the other facilitators.
    pub(crate) fn decline(&mut self, persona: PersonaId, ctx: &mut Ctx<'_, M>) -> Result<Answer, Refusal> {
        let id = self.open_knock(&persona)?.id;
        self.answer_knock(&persona, KnockAnswer::Declined, ctx);
        self.settle_knock(&persona, Standing::Declined, ctx);
        self.say_declined(id, ctx);
        Ok(Answer::Done {})
    }

    /// Another facilitator declined it.
    pub(super) fn knock_declined(&mut self, id: KnockId, by: &PersonaId, ctx: &mut Ctx<'_, M>) {
        if self.view.role_of(by) != Some(Role::Facilitator) {
            return;
        }
        let open = |(k, c): &&(Knocked, CheckedKnock)| c.id == id && k.standing == Standing::Open;
        let known = self.knocks.all.values().find(open).map(|(_, c)| c.content.persona);
        if let Some(persona) = known {
            self.settle_knock(&persona, Standing::Declined, ctx);
        }
    }

    fn settle_knock(&mut self, persona: &PersonaId, standing: Standing, ctx: &mut Ctx<'_, M>) {
        if let Some((knocked, _)) = self.knocks.all.get_mut(persona) {
            knocked.standing = standing;
            self.save_knock(persona, ctx);
            ctx.notice(Notice::GroupChanged { group: self.id });
        }
    }

    fn say_declined(&mut self, id: KnockId, ctx: &mut Ctx<'_, M>) {
        let node = self.dag.tip;
        // Who does not hear of it may still look at the knock, and finds that nobody comes: no more is lost.
        let _ = self.send_app(&node, &cbor::to_vec(&AppMessage::Declined(id)), None, ctx);
    }

    /// Hands a Welcome to those of whose knocks an own commit has just added.
    pub(super) fn welcome_in(&mut self, node: NodeId, welcome: &[u8], added: &[Vec<u8>], ctx: &mut Ctx<'_, M>) {
        let all = self.knocks.all.iter();
        let let_in: Vec<_> = all.filter(|(_, (_, c))| is_of(&c.content, added)).map(|(persona, _)| *persona).collect();
        if let_in.is_empty() {
            return;
        }
        let Some(door) = self.door_body(&node, ctx) else { return };
        // The Welcome says what the GroupInfo would.
        let door = hearth_protocol::door::DoorBody { group_info: Vec::new(), ..door };
        for persona in let_in {
            let answer = KnockAnswer::Admitted { welcome: welcome.to_vec(), door: door.clone() };
            self.answer_knock(&persona, answer, ctx);
            self.settle_knock(&persona, Standing::Admitted, ctx);
        }
    }

    fn answer_knock(&mut self, persona: &PersonaId, answer: KnockAnswer, ctx: &mut Ctx<'_, M>) {
        self.knocks.progress.retain(|(_, who), _| who != persona);
        if let Some((knocked, _)) = self.knocks.all.get_mut(persona) {
            knocked.parts = parts_of(&Packet::Answer(answer)).into_iter().map(Into::into).collect();
            knocked.held.clear();
            self.save_knock(persona, ctx);
        }
    }

    /// Puts answers that a mailbox does not have, one part at a time: they are few.
    pub(super) fn offer_answers(&mut self, address: &str, ctx: &mut Ctx<'_, M>) {
        let Some(key) = self.desk.sessions.get(address).and_then(|s| s.key) else { return };
        let wanting =
            |(_, (k, _)): &(&PersonaId, &(Knocked, CheckedKnock))| !k.parts.is_empty() && !k.held.contains(address);
        let wanting: Vec<_> = self.knocks.all.iter().filter(wanting).map(|(persona, _)| *persona).collect();
        for persona in wanting {
            let progress = self.knocks.progress.entry((address.to_owned(), persona)).or_default();
            let Some((knocked, checked)) = self.knocks.all.get(&persona).filter(|_| !progress.under_way) else {
                continue;
            };
            let queue = answer_queue(&checked.content.answer, &key);
            let Some(blob) = knocked.parts.get(progress.next) else { continue };
            let Ok(blob) = seal_frame(&queue.seal, blob, ctx.rng) else { continue };
            progress.under_way = true;
            let action = Action::Put { queue: queue.id, blob };
            self.ask(address, action, Some(queue.write), Asked::Answer(persona), ctx);
        }
    }

    pub(super) fn answer_stored(
        &mut self,
        address: &str,
        persona: PersonaId,
        answer: Result<Stored, RelayFailure>,
        ctx: &mut Ctx<'_, M>,
    ) {
        let Some(progress) = self.knocks.progress.get_mut(&(address.to_owned(), persona)) else { return };
        progress.under_way = false;
        match answer {
            Ok(Stored::Stored { .. }) => {
                progress.next += 1;
                let next = progress.next;
                let all = self.knocks.all.get(&persona).is_some_and(|(k, _)| next >= k.parts.len());
                if all {
                    self.answer_held(address, &persona, ctx);
                }
            }
            // Who knocked has not made it here, or it has outlived its time.
            Ok(Stored::Refused(Refused::NotFound)) if !progress.made => {
                progress.made = true;
                progress.under_way = true;
                let key = self.desk.sessions.get(address).and_then(|s| s.key);
                let Some((key, content)) = key.zip(self.knocks.content(&persona)) else { return };
                let create = answer_queue(&content.answer, &key).create();
                self.ask(address, create, None, Asked::Answer(persona), ctx);
            }
            Ok(Stored::Created) => {}
            Ok(_) => self.pause(address, ctx),
            Err(_) => {}
        }
    }

    /// A mailbox has the whole answer. It is kept until every relay has it.
    fn answer_held(&mut self, address: &str, persona: &PersonaId, ctx: &mut Ctx<'_, M>) {
        let needed: BTreeSet<String> = match self.relays() {
            [] => [OWN_MAILBOX.to_owned()].into(),
            relays => relays.iter().cloned().collect(),
        };
        if let Some((knocked, _)) = self.knocks.all.get_mut(persona) {
            knocked.held.insert(address.to_owned());
            if needed.is_subset(&knocked.held) {
                knocked.parts = Vec::new();
            }
            self.save_knock(persona, ctx);
        }
    }

    /// Forgets what has waited too long.
    pub(super) fn forget_knocks(&mut self, ctx: &mut Ctx<'_, M>) {
        let old = |(k, _): &(Knocked, CheckedKnock)| ctx.now.since(k.at) >= KEEP_MS;
        let gone: Vec<_> = self.knocks.all.iter().filter(|(_, k)| old(k)).map(|(persona, _)| *persona).collect();
        for persona in gone {
            self.knocks.all.remove(&persona);
            self.save_knock(&persona, ctx);
        }
    }
}
