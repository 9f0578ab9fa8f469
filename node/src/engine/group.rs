//! One group: everything this member knows of it, and what it does about what comes in.

mod again;
pub(crate) mod ask;
mod cards;
mod carry;
mod catalogue;
mod commit;
pub(crate) mod door;
mod follow;
mod gaps;
mod knock;
mod link;
mod mail;
mod nack;
mod pending;
mod post;
mod recover;
mod rejoin;
mod restart;
pub(crate) mod rows;
mod sign;
mod swap;

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use hearth_crypto::{
    mls::{Mls, MlsNode, Suite},
    persona::DeviceKeys,
    policy::{PolicyLog, PolicyState},
    schedule::Network,
};
use hearth_protocol::{
    cbor,
    frame::Control,
    id::{EnvelopeId, GroupId, NodeId, OpId, PersonaId},
    packet::Packet,
    time::{Day, Timestamp},
};

use zeroize::Zeroizing;

use super::{
    ctx::Ctx,
    dag::{Dag, Offered},
    desk::Desk,
    inbox::Inbox,
    lane::{LaneEvent, OWN_MAILBOX},
    outbox::Outbox,
    timeline::{Place, Timeline},
};
use crate::{
    app::{GroupState, Kind, Notice, Refusal},
    store::Table,
};
pub(crate) use door::Doors;
pub(crate) use link::Links;

///
const RIVALS: &str =
    "two versions of a group exclude each other, and facilitators have signed both: one of them misleads the others";

/// Networks kept at once, newest first: enough to cross a few removals, few enough to read.
const NETWORKS: usize = 6;

/// Heads, and the tip and number of ops that they follow from.
type Above = Option<((NodeId, usize), Vec<OpId>)>;

/// See the module's page.
pub(crate) struct Group<M: Mls> {
    pub(crate) id: GroupId,
    pub(crate) keys: DeviceKeys,
    pub(crate) standing: GroupState,
    pub(crate) log: PolicyLog,
    pub(crate) dag: Dag<M::Node>,
    /// Newest last.
    pub(crate) networks: Vec<Network>,
    pub(crate) timeline: Timeline,
    pub(crate) outbox: Outbox,
    pub(crate) inbox: Inbox,
    pub(crate) desk: Desk,
    pub(crate) links: Links,
    pub(crate) doors: Doors,
    /// What the tip's heads and every op above them say: what the user is shown.
    pub(crate) view: PolicyState,
    /// Up to where the user has seen the timeline.
    pub(crate) seen: Option<Place>,
    /// Everything up to this day was read at some relay.
    pub(crate) synced: Day,
    /// When something that a facilitator signed came last.
    facilitated: Day,
    /// Envelopes of others to be acknowledged, and when.
    acks: BTreeSet<EnvelopeId>,
    ack_at: Option<Timestamp>,
    unrealised: commit::Unrealised,
    /// Whom this member gave a fresh leaf last, and when.
    brought_back: BTreeMap<PersonaId, Timestamp>,
    /// Heads above the tip, worked out once.
    above: RefCell<Above>,
    /// Own ops that were lost with a fork and said again.
    decided_again: BTreeSet<OpId>,
    catalogue: catalogue::Catalogue,
    /// When each op that no commit realises yet was first seen.
    op_since: BTreeMap<OpId, Timestamp>,
    /// Members known to have acknowledged or written something: those who joined by link are confirmed by it.
    pub(crate) heard: BTreeSet<PersonaId>,
    /// The tip does not have this member, and no removal says why: it must come in again.
    pub(crate) stranded: bool,
    /// Since when it is removed, while that may still turn out to be the losing side of a fork.
    removed_at: Option<Timestamp>,
    /// Its wish for a fresh leaf.
    request: Option<swap::Request>,
    /// Since when it is stranded.
    stranded_since: Option<Timestamp>,
    /// The tip and what was final when secrets were last let go, and when to look again.
    faded: follow::Faded,
    /// Since when commits wait, without a break.
    late_since: Option<Timestamp>,
    /// The op of the own Join, offered again when its commit lost.
    pub(crate) own_join: Option<hearth_protocol::op::SignedOp>,
    /// Of the link by which it came in, until that is final: another seat may have to be taken.
    link_secret: Option<Zeroizing<[u8; 32]>>,
    /// Members' own mailboxes that may have let this member in: its first commit is left there too.
    pub(crate) guests: Vec<String>,
    /// Outbox number of the own Join's commit, until somebody has stored it.
    join_item: Option<u64>,
    look_at: Timestamp,
    rejoin_at: Timestamp,
    /// What the tip was last picked from: log length, number of nodes and signatures that ever came.
    selected: (usize, (usize, usize)),
    /// Number of nodes that had come when held packets were last tried: each waits for one.
    held_at: usize,
    /// Ops and frames that wait for what they rest on, and the keys of their rows.
    waiting: pending::Waiting,
    /// When frames that waited last were a reason to wait for them.
    waiting_since: Option<Timestamp>,
    carry: carry::Carry,
    signing: sign::Signing,
    /// Depth up to which it signed before it began anew: it signs again once others have made final what lies deeper.
    signed_to: u64,
    pub(crate) draft: String,
    saved: rows::Saved,
    gaps: gaps::Gaps,
    knocks: knock::Knocks,
    day: Day,
}

/// What a new group object starts from.
pub(crate) struct Start<M: Mls> {
    pub(crate) id: GroupId,
    pub(crate) keys: DeviceKeys,
    pub(crate) log: PolicyLog,
    pub(crate) dag: Dag<M::Node>,
    pub(crate) networks: Vec<Network>,
}

impl<M: Mls> Group<M> {
    pub(crate) fn new(start: Start<M>, today: Day) -> Self {
        Self {
            id: start.id,
            keys: start.keys,
            standing: GroupState::Joined,
            log: start.log,
            dag: start.dag,
            networks: start.networks,
            timeline: Timeline::default(),
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            desk: Desk::default(),
            links: Links::default(),
            doors: Doors::default(),
            view: PolicyState::default(),
            seen: None,
            synced: today,
            facilitated: today,
            acks: BTreeSet::new(),
            ack_at: None,
            unrealised: commit::Unrealised::default(),
            brought_back: BTreeMap::new(),
            above: RefCell::default(),
            decided_again: BTreeSet::new(),
            catalogue: catalogue::Catalogue::default(),
            op_since: BTreeMap::new(),
            heard: BTreeSet::new(),
            stranded: false,
            removed_at: None,
            request: None,
            stranded_since: None,
            faded: (None, None),
            late_since: None,
            own_join: None,
            link_secret: None,
            guests: Vec::new(),
            join_item: None,
            look_at: Timestamp(0),
            rejoin_at: Timestamp(0),
            selected: (0, (0, 0)),
            held_at: 0,
            waiting: pending::Waiting::default(),
            waiting_since: None,
            carry: carry::Carry::default(),
            signing: sign::Signing::default(),
            signed_to: 0,
            draft: String::new(),
            saved: rows::Saved::default(),
            gaps: gaps::Gaps::default(),
            knocks: knock::Knocks::default(),
            day: Day(0),
        }
    }

    /// Whether nothing waits to be delivered.
    pub(crate) fn is_settled(&self) -> bool {
        let said = self.outbox.is_empty() && self.knocks.are_answered();
        said && (self.acks.is_empty() || self.ack_at.is_none())
    }

    /// Whether this member takes part now.
    pub(crate) fn is_joined(&self) -> bool {
        self.standing == GroupState::Joined
    }

    /// Whether it was removed so short a while ago that another tip may still have it: until then it reads what decides the
    /// roster, and says nothing.
    pub(crate) fn listens(&self) -> bool {
        self.removed_at.is_some()
    }

    /// Whether it has anything open.
    pub(crate) fn is_awake(&self) -> bool {
        self.is_joined() || self.is_leaving() || self.listens()
    }

    /// Whether it left, and no relay has heard of it yet.
    pub(crate) fn is_leaving(&self) -> bool {
        self.standing == GroupState::Left && !self.outbox.is_empty()
    }

    /// The suite of the tip.
    pub(crate) fn suite(&self) -> Option<Suite> {
        self.dag.tip_entry().map(|tip| tip.facts.suite)
    }

    /// The network that is written in: the tip's.
    pub(crate) fn network(&self) -> Option<&Network> {
        let id = self.dag.tip_entry()?.network;
        self.networks.iter().rev().find(|n| n.id() == id)
    }

    pub(crate) fn network_of(&self, id: &NodeId) -> Option<&Network> {
        self.networks.iter().rev().find(|n| n.id() == *id)
    }

    /// Relays of the group, as its policy names them.
    pub(crate) fn relays(&self) -> &[String] {
        &self.view.settings.relays
    }

    /// Where doors stand: the relays, and this process's own mailbox, which helps when no relay can be reached.
    pub(crate) fn mailboxes(&self) -> Vec<String> {
        let mut mailboxes = self.relays().to_vec();
        mailboxes.push(OWN_MAILBOX.to_owned());
        mailboxes.extend(self.guests.iter().cloned());
        mailboxes
    }

    /// Whether a mailbox is a relay of the group's policy: only those make a message `held`.
    pub(crate) fn is_relay(&self, address: &str) -> bool {
        self.relays().iter().any(|r| r == address)
    }

    /// Whether packets are put there: relays, and members' mailboxes while they are needed.
    pub(crate) fn takes_mail(&self, address: &str) -> bool {
        self.is_relay(address) || self.guests.iter().any(|g| g == address)
    }

    /// Remembers how it came in.
    pub(crate) fn guest_of(&mut self, attempt: &super::join::Attempt) {
        self.guests.clone_from(&attempt.link.bootstrap);
        self.link_secret = Some(Zeroizing::new(attempt.link.secret));
        self.join_item = Some(self.outbox.next_number());
    }

    /// Whether a relay or a member has stored the own Join's commit.
    pub(crate) fn join_is_stored(&self) -> bool {
        let Some(number) = self.join_item else { return true };
        self.outbox.get(number).is_none_or(|item| !item.held.is_empty()) || !self.heard.is_empty()
    }

    /// Opens what a joined group has open: sessions, lane.
    pub(crate) fn wake(&mut self, ctx: &mut Ctx<'_, M>) {
        self.refresh(ctx);
        self.enter_networks(ctx);
    }

    /// Reads the policy at the tip, and takes up sessions with the relays that it names.
    pub(crate) fn refresh(&mut self, ctx: &mut Ctx<'_, M>) {
        self.refresh_view(ctx);
        self.check_standing(ctx);
        self.use_relays(ctx);
        self.enter_networks(ctx);
        self.doors.touch(self.dag.tip, ctx.now);
    }

    /// Writes everything: a group that was just made or entered.
    pub(crate) fn save_all(&mut self, ctx: &mut Ctx<'_, M>) {
        self.save_group(ctx);
        self.save_ops(ctx);
        for node in self.dag.nodes.keys().copied().collect::<Vec<_>>() {
            self.save_node(&node, ctx);
        }
        for signature in self.dag.signatures().collect::<Vec<_>>() {
            self.save_signature(&signature, ctx);
        }
        for nack in self.dag.nacks().collect::<Vec<_>>() {
            self.save_nack(&nack, ctx);
        }
    }

    pub(crate) fn me(&self) -> PersonaId {
        self.keys.persona()
    }

    /// The refusal for a group that one is no longer part of.
    pub(crate) fn must_be_joined(&self) -> Result<(), Refusal> {
        match self.standing {
            GroupState::Joined => Ok(()),
            GroupState::Removed => Err(Refusal::new(Kind::Removed, "you were removed from this group")),
            GroupState::Left => Err(Refusal::new(Kind::Removed, "you left this group: join again with a new invite")),
            GroupState::Waiting => Err(Refusal::new(Kind::NotPermitted, "a facilitator has not admitted you yet")),
            GroupState::Declined => Err(Refusal::new(Kind::NotPermitted, "you were not admitted to this group")),
        }
    }

    /// A packet from a member. Copies and garbage change nothing.
    pub(crate) fn receive(&mut self, bytes: &[u8], ctx: &mut Ctx<'_, M>) {
        if self.inbox.is_new(bytes)
            && let Ok(packet) = cbor::read::<Packet>(bytes)
        {
            self.take(packet, ctx);
        }
    }

    fn take(&mut self, packet: Packet, ctx: &mut Ctx<'_, M>) {
        match packet {
            Packet::Part { object, index, count, bytes } => self.take_part((object, index, count), bytes, ctx),
            Packet::Control(control) => self.take_control(control, ctx),
            // What is said is no business of one who was removed; whoever turns out to be in gets it by sync.
            Packet::App { .. } | Packet::Shared { .. } if self.listens() => {}
            Packet::App { node, mls } => self.take_app(node, mls, ctx),
            Packet::Shared { node, sealed } => self.take_shared(node, sealed, ctx),
            // Only in the queue that a knock names.
            Packet::Answer(_) => {}
        }
    }

    fn take_control(&mut self, control: Control, ctx: &mut Ctx<'_, M>) {
        match control {
            Control::Op(op) => {
                // Only a door leaves anything out.
                if !op.is_whole() || self.is_crowded_by(&op) {
                    return;
                }
                for op in &self.take_op(op, ctx) {
                    self.carry_op(op, ctx);
                    if let Some(author) = self.log.content(op).map(|c| c.persona) {
                        self.heard_from(&author, ctx);
                    }
                }
            }
            Control::Commit(frame) => {
                if let Offered::Accepted(node) = self.dag.offer(ctx.mls, &mut self.log, frame) {
                    self.take_node(&node, ctx);
                }
            }
            Control::Signature(signature) => self.take_signature(&signature, ctx),
            Control::Nack(nack) => self.take_nack(&nack, ctx),
            Control::Welcome(frame) => self.take_welcome(&frame, ctx),
        }
    }

    /// A commit of somebody else made a node.
    fn take_node(&mut self, node: &NodeId, ctx: &mut Ctx<'_, M>) {
        self.save_ops(ctx);
        self.save_node(node, ctx);
        self.carry_commit(node, ctx);
        let made = self.dag.entry(node).and_then(|e| e.made.as_ref());
        if let Some(author) = made.map(|m| m.commit.author.persona) {
            self.heard_from(&author, ctx);
        }
        if self.is_joined() && self.dag.entry(node).is_some_and(|e| e.network == *node) {
            // Perhaps a rival's, which the tip never enters.
            self.enter_networks(ctx);
            self.save_group(ctx);
        }
    }

    /// Lets go of what its author's software should never have made, with its rows.
    fn thin_out(&mut self, ctx: &mut Ctx<'_, M>) {
        if let Some(left) = self.dag.thin_out(&self.log) {
            self.drop_rows(left, ctx);
        }
    }

    /// Picks the tip anew, if anything that decides it is new.
    fn reselect(&mut self, ctx: &mut Ctx<'_, M>) {
        self.thin_out(ctx);
        let (from, seen) = (self.dag.tip, (self.log.came(), self.dag.came()));
        if self.selected == seen {
            return;
        }
        self.selected = seen;
        let conflicts = self.dag.conflicts;
        let moved = self.dag.reselect(&self.log);
        if self.dag.conflicts > conflicts {
            ctx.notice(Notice::Warning { text: RIVALS });
        }
        if moved || self.view.heads.is_empty() {
            self.follow(from, ctx);
        } else if self.view.heads != self.heads_above() {
            self.refresh_view(ctx);
        }
    }

    /// Brings everything that follows from what came in up to date. Called once at the end of each input.
    pub(crate) fn settle(&mut self, ctx: &mut Ctx<'_, M>) {
        // Each round can make at most a commit of one's own; more than a few would be a loop with oneself.
        for _ in 0..4 {
            for node in self.dag.recall(ctx.mls, &mut self.log) {
                self.take_node(&node, ctx);
            }
            for node in self.dag.retry(ctx.mls, &mut self.log) {
                self.take_node(&node, ctx);
            }
            for signature in self.dag.retry_signatures(&self.id) {
                self.signature_counts(&signature, ctx);
            }
            for nack in self.dag.retry_nacks(&self.id) {
                self.nack_counts(&nack, ctx);
            }
            self.thin_out(ctx);
            self.nack_if_due(ctx);
            self.reselect(ctx);
            if self.inbox.is_waiting() && self.held_at != self.dag.came().0 {
                self.held_at = self.dag.came().0;
                self.retry_held(ctx);
            }
            if !self.commit_if_due(ctx) {
                break;
            }
        }
        self.sign_if_due(ctx);
        self.fade_if_due(ctx);
        self.save_waiting(ctx);
        self.mend_doors(ctx);
        self.work_desk(ctx);
    }

    /// The heads that a commit on the tip would write.
    pub(super) fn heads_above(&self) -> Vec<OpId> {
        let seen = (self.dag.tip, self.log.len());
        let mut above = self.above.borrow_mut();
        if let Some((_, heads)) = above.as_ref().filter(|(at, _)| *at == seen) {
            return heads.clone();
        }
        let Some(tip) = self.dag.tip_entry() else { return Vec::new() };
        let heads = self.log.heads_above(&tip.heads, &tip.elders);
        *above = Some((seen, heads.clone()));
        heads
    }

    /// Something from the network for this group.
    pub(crate) fn on_lane(&mut self, event: LaneEvent, ctx: &mut Ctx<'_, M>) {
        match event {
            LaneEvent::RelayUp { address, relay_key, .. } => self.relay_up(&address, relay_key, ctx),
            LaneEvent::RelayDown { address, .. } => self.relay_down(&address, ctx),
            LaneEvent::RelayAnswer { ticket, answer, .. } => self.relay_answer(ticket, answer, ctx),
            LaneEvent::RelayPush { address, queue, blob, .. } => self.take_blobs(&address, &queue, vec![blob], ctx),
            LaneEvent::Gossip { lane, topic: _, message, frame } => self.gossip_in(lane, message, &frame, ctx),
            LaneEvent::Listening { lane, peer, addresses } => self.listening(lane, peer, addresses, ctx),
            LaneEvent::LinkUp { lane, link, peer, outbound } => self.link_up(lane, link, (peer, outbound), ctx),
            LaneEvent::LinkDown { link, .. } => self.link_down(link, ctx),
            LaneEvent::Message { link, message, .. } => self.link_message(link, &message, ctx),
            LaneEvent::DhtFound { key, value } => self.card_found(&key, &value, ctx),
            LaneEvent::CommonsListening { .. } | LaneEvent::CommonsPeers { .. } | LaneEvent::RelayPath { .. } => {}
        }
    }

    /// Time passed.
    pub(crate) fn tick(&mut self, ctx: &mut Ctx<'_, M>) {
        self.expire(ctx);
        self.give_up_if_due(ctx);
        if !self.is_joined() && self.standing != GroupState::Left && !self.listens() {
            return;
        }
        if self.day != ctx.today() {
            self.day = ctx.today();
            self.new_day(ctx);
        }
        self.find_members(ctx);
        self.sync_again(ctx);
        self.show_gaps(ctx);
        self.look_again(ctx);
        if self.is_joined() {
            self.flush_acks(ctx);
            self.ask_about_gaps(ctx);
            self.come_back(ctx);
        }
    }

    /// Writes what the MLS library changed in a node.
    fn save_changes(&mut self, node: &NodeId, ctx: &mut Ctx<'_, M>) {
        let Some(state) = self.dag.nodes.get_mut(node).and_then(|e| e.state.as_mut()) else { return };
        for (key, value) in state.take_changes() {
            self.saved.note(node, &key, value.is_some());
            ctx.write(self.id, Table::Node, &[&node.0, key.as_slice()].concat(), value);
        }
    }
}

#[cfg(test)]
mod tests;
