//! How a group lies on disk, and how it comes back.

use hearth_crypto::{
    chain::{Elders, Ground},
    mls::{Mls, MlsNode, Rows},
    persona::DeviceKeys,
    policy::PolicyLog,
    schedule::Network,
};
use hearth_protocol::{
    cbor,
    door::{Elder, Link, NetworkKeys},
    frame::CommitFrame,
    id::{DeviceId, EnvelopeId, FrameId, GroupId, MessageId, NodeId, OpId, PersonaId, QueueId},
    op::SignedOp,
    packet::Packet,
    time::{Day, Timestamp},
};
use minicbor::{Decode, Encode};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use zeroize::Zeroizing;

use super::{Group, Start};
use crate::{
    app::GroupState,
    engine::{
        ctx::Ctx,
        dag::{Dag, Left, Origin},
        outbox::{Delivered, Item},
        timeline::Kept,
    },
    store::{Row, Table},
};

/// The row that names a group.
#[derive(Encode, Decode)]
pub(crate) struct GroupRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    seed: [u8; 64],
    #[n(1)]
    standing: u8,
    #[cbor(n(2), with = "minicbor::bytes")]
    base_info: Vec<u8>,
    #[n(3)]
    networks: Vec<NetworkKeys>,
    #[n(4)]
    synced: Day,
    #[n(5)]
    seen: Option<(u64, u32, MessageId)>,
    #[n(6)]
    own_join: Option<SignedOp>,
    #[n(7)]
    draft: String,
    /// Who had come before the base, and what makes it final.
    #[n(8)]
    elders: Vec<Elder>,
    #[n(9)]
    chain: Vec<Link>,
    /// Of the link by which it came in, until that is final.
    #[cbor(n(10), with = "minicbor::bytes")]
    link_secret: Option<[u8; 32]>,
    /// How deep it signed before it began anew.
    #[n(11)]
    signed_to: u64,
    /// When it was removed, while that may still turn out otherwise.
    #[n(12)]
    removed_at: Option<Timestamp>,
    /// The last day before it was away for long, if it was.
    #[n(13)]
    away: Option<Day>,
    /// When something that a facilitator signed came last.
    #[n(14)]
    facilitated: Day,
}

impl Drop for GroupRow {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.seed);
        zeroize::Zeroize::zeroize(&mut self.link_secret);
    }
}

/// What is on disk already.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    ops: BTreeSet<OpId>,
    nodes: BTreeMap<NodeId, BTreeSet<Vec<u8>>>,
}

impl Saved {
    /// Notes a row that the MLS library changed.
    pub(super) fn note(&mut self, node: &NodeId, key: &[u8], kept: bool) {
        let keys = self.nodes.entry(*node).or_default();
        if kept {
            keys.insert(key.to_vec())
        } else {
            keys.remove(key)
        };
    }
}

const PENDING: u8 = b'p';
const CARRIED: u8 = b'w';
const CURSOR: u8 = b'c';
const DELIVERED: u8 = b'd';
const CARD: u8 = b'k';
const CARD_SEQ: u8 = b's';
const SIGNATURE: u8 = b'g';
const KNOCK: u8 = b'n';
const NACK: u8 = b'x';
const REQUEST: u8 = b'r';
const SUPERSEDED: u8 = b'o';

/// Frames are read back parents first.
fn frame_key(depth: u64, frame: &FrameId) -> Vec<u8> {
    [depth.to_be_bytes().as_slice(), &frame.0].concat()
}

pub(crate) fn pending_key(hash: &[u8; 32]) -> Vec<u8> {
    [&[PENDING], hash.as_slice()].concat()
}

pub(crate) fn carried_key(hash: &[u8; 32]) -> Vec<u8> {
    [&[CARRIED], hash.as_slice()].concat()
}

pub(crate) fn cursor_key(relay: &[u8; 32], queue: &QueueId) -> Vec<u8> {
    [&[CURSOR], relay.as_slice(), &queue.0].concat()
}

pub(crate) fn card_key(device: &DeviceId) -> Vec<u8> {
    [&[CARD], device.0.as_slice()].concat()
}

pub(crate) fn signature_key(node: &NodeId, persona: &PersonaId) -> Vec<u8> {
    [&[SIGNATURE], node.0.as_slice(), &persona.0].concat()
}

pub(crate) fn nack_key(frame: &FrameId, persona: &PersonaId) -> Vec<u8> {
    [&[NACK], frame.0.as_slice(), &persona.0].concat()
}

pub(crate) fn superseded_key(node: &NodeId) -> Vec<u8> {
    [&[SUPERSEDED], node.0.as_slice()].concat()
}

pub(crate) fn request_key() -> [u8; 1] {
    [REQUEST]
}

pub(crate) fn knock_key(persona: &PersonaId) -> Vec<u8> {
    [&[KNOCK], persona.0.as_slice()].concat()
}

pub(crate) fn card_seq_key() -> [u8; 1] {
    [CARD_SEQ]
}

pub(crate) fn delivered_key(id: &EnvelopeId) -> Vec<u8> {
    [&[DELIVERED], id.0.as_slice()].concat()
}

const STANDINGS: [GroupState; 5] =
    [GroupState::Waiting, GroupState::Joined, GroupState::Declined, GroupState::Left, GroupState::Removed];

impl<M: Mls> Group<M> {
    /// Writes the group's own row.
    pub(crate) fn save_group(&self, ctx: &mut Ctx<'_, M>) {
        let standing = STANDINGS.iter().position(|s| *s == self.standing).unwrap_or(1);
        let row = GroupRow {
            seed: *self.keys.seed(),
            standing: u8::try_from(standing).unwrap_or(1),
            base_info: self.dag.origin.info.clone(),
            networks: self.networks.iter().map(|n| n.keys_from(n.first_day())).collect(),
            synced: self.synced,
            seen: self.seen,
            own_join: self.own_join.clone(),
            draft: self.draft.clone(),
            elders: self.dag.origin.told_elders(),
            chain: self.dag.origin.chain.clone(),
            link_secret: self.link_secret.as_ref().map(|s| **s),
            signed_to: self.signed_to,
            removed_at: self.removed_at,
            away: self.gaps.away,
            facilitated: self.facilitated,
        };
        let value = cbor::to_vec(&row);
        ctx.write(self.id, Table::Group, b"", Some(value));
    }

    /// Deletes everything of the group.
    pub(crate) fn delete_rows(&mut self, ctx: &mut Ctx<'_, M>) {
        let group = self.id;
        for op in std::mem::take(&mut self.saved.ops) {
            ctx.write(group, Table::Op, &op.0, None);
        }
        for node in self.saved.nodes.keys().copied().collect::<Vec<_>>() {
            self.drop_node_rows(&node, ctx);
            ctx.write(group, Table::State, &superseded_key(&node), None);
        }
        for entry in self.dag.nodes.values() {
            if let Some(made) = &entry.made {
                ctx.write(group, Table::Frame, &frame_key(entry.depth, &made.frame), None);
            }
        }
        for (id, _) in self.timeline.iter() {
            ctx.write(group, Table::Envelope, &id.0, None);
        }
        for item in self.outbox.items() {
            ctx.write(group, Table::Outbox, &item.number.to_be_bytes(), None);
        }
        for id in self.outbox.delivered.keys() {
            ctx.write(group, Table::State, &delivered_key(id), None);
        }
        for (relay, queue) in self.desk.cursors.keys() {
            ctx.write(group, Table::State, &cursor_key(relay, queue), None);
        }
        for key in self.pending() {
            ctx.write(group, Table::State, &pending_key(key), None);
        }
        for key in self.carry.keys() {
            ctx.write(group, Table::State, &carried_key(key), None);
        }
        for signature in self.dag.signatures() {
            ctx.write(group, Table::State, &signature_key(&signature.node, &signature.persona), None);
        }
        ctx.write(group, Table::State, &request_key(), None);
        for nack in self.dag.nacks() {
            ctx.write(group, Table::State, &nack_key(&nack.frame, &nack.persona), None);
        }
        for persona in self.knocks.keys() {
            ctx.write(group, Table::State, &knock_key(persona), None);
        }
        for device in self.carded() {
            ctx.write(group, Table::State, &card_key(device), None);
        }
        ctx.write(group, Table::State, &card_seq_key(), None);
        ctx.write(group, Table::Group, b"", None);
    }

    /// Writes ops that are not on disk yet.
    pub(crate) fn save_ops(&mut self, ctx: &mut Ctx<'_, M>) {
        if self.log.len() == self.saved.ops.len() {
            return;
        }
        for (id, op) in self.log.ops_in_order() {
            if self.saved.ops.insert(id) {
                ctx.write(self.id, Table::Op, &id.0, Some(cbor::to_vec(op)));
            }
        }
    }

    /// Takes an op in, or what was missing beside one. Returns what is new in the log by it.
    pub(super) fn take_op(&mut self, op: SignedOp, ctx: &mut Ctx<'_, M>) -> Vec<OpId> {
        let accepted = self.log_op(op, ctx);
        self.save_ops(ctx);
        accepted
    }

    /// The same of many, causes first, without a word on each: the log is looked through once.
    pub(super) fn take_ops(&mut self, ops: &[SignedOp], ctx: &mut Ctx<'_, M>) {
        for op in ops {
            self.log_op(op.clone(), ctx);
        }
        self.save_ops(ctx);
    }

    fn log_op(&mut self, op: SignedOp, ctx: &mut Ctx<'_, M>) -> Vec<OpId> {
        let id = op.id();
        let Ok(inserted) = self.log.insert(op) else { return Vec::new() };
        if inserted.filled {
            self.saved.ops.remove(&id);
            if self.lacks_charter_of(&id) {
                self.refresh_view(ctx);
            }
        }
        inserted.accepted
    }

    /// Whether the charter in force is shown to nobody yet, for want of what lies beside this op.
    fn lacks_charter_of(&self, op: &OpId) -> bool {
        let shown = &self.view.settings.charter;
        let said = self.log.content(op).and_then(|c| c.body.attachment());
        shown.bytes().is_none() && said.is_some_and(|said| said.hash() == shown.hash())
    }

    /// Writes a node: the frame that made it, and all rows of its state.
    pub(crate) fn save_node(&mut self, node: &NodeId, ctx: &mut Ctx<'_, M>) {
        let group = self.id;
        let Some(entry) = self.dag.nodes.get_mut(node) else { return };
        let depth = entry.depth;
        if let Some(state) = entry.state.as_mut().filter(|s| s.can_read()) {
            state.take_changes();
            for (key, value) in state.rows() {
                ctx.write(group, Table::Node, &[&node.0, key.as_slice()].concat(), Some(value));
                self.saved.nodes.entry(*node).or_default().insert(key);
            }
        }
        let frame = entry.made.as_ref().map(|m| m.frame);
        if let Some((id, frame)) = frame.and_then(|id| Some((id, self.dag.frame(&id)?))) {
            let bytes = cbor::to_vec(frame);
            ctx.write(group, Table::Frame, &frame_key(depth, &id), Some(bytes));
        }
    }

    /// Deletes the rows of what a new base left behind.
    pub(super) fn drop_rows(&mut self, left: Left, ctx: &mut Ctx<'_, M>) {
        for (depth, frame) in left.frames {
            ctx.write(self.id, Table::Frame, &frame_key(depth, &frame), None);
        }
        for node in left.nodes {
            self.drop_node_rows(&node, ctx);
            ctx.write(self.id, Table::State, &superseded_key(&node), None);
        }
        for (node, persona) in left.signatures {
            ctx.write(self.id, Table::State, &signature_key(&node, &persona), None);
        }
        for (frame, persona) in left.nacks {
            ctx.write(self.id, Table::State, &nack_key(&frame, &persona), None);
        }
    }

    /// Deletes the rows of a node's state.
    pub(super) fn drop_node_rows(&mut self, node: &NodeId, ctx: &mut Ctx<'_, M>) {
        for key in self.saved.nodes.remove(node).unwrap_or_default() {
            ctx.write(self.id, Table::Node, &[&node.0, key.as_slice()].concat(), None);
        }
    }

    /// Brings a group back from its rows; `None` when its own row is not there or does not read.
    pub(crate) fn restore(mls: &M, id: GroupId, mut rows: Vec<Row>, today: Day) -> Option<Self> {
        rows.sort_by(|a, b| (a.table, &a.key).cmp(&(b.table, &b.key)));
        let of = |table: Table| rows.iter().filter(move |r| r.table == table);
        let tail = |row: &Row| row.key.get(32..).unwrap_or_default().to_vec();
        let own: GroupRow = minicbor::decode(&of(Table::Group).next()?.value).ok()?;
        let mut log = PolicyLog::for_group(id);
        let ops = of(Table::Op).map(|row| minicbor::decode::<SignedOp>(&row.value).ok());
        // Signed by others and checked when they came; sealed since.
        log.restore_all(ops.collect::<Option<Vec<_>>>()?.into_iter());
        let mut states: BTreeMap<NodeId, Rows> = BTreeMap::new();
        for row in of(Table::Node) {
            let key = tail(row);
            let (node, key) = key.split_first_chunk::<32>()?;
            states.entry(NodeId(*node)).or_default().insert(key.to_vec(), row.value.clone());
        }
        let base = mls.open_group_info(&own.base_info).ok()?;
        let places = Arc::new(Origin::read_elders(&own.elders));
        let shown = Ground { mls, group: &id, log: &log, places: &places }.verify(&own.chain);
        let elders = match shown {
            Some(shown) => shown.elders(places),
            None => Elders { places, ..Elders::default() },
        };
        let origin = Origin { info: own.base_info.clone(), elders, chain: own.chain.clone() };
        let mut dag = Dag::new(base, origin, &log);
        for row in of(Table::Frame) {
            let frame: CommitFrame = minicbor::decode(&row.value).ok()?;
            dag.offer(mls, &mut log, frame);
        }
        dag.retry(mls, &mut log);
        let mut nodes: BTreeMap<NodeId, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (node, rows) in states {
            nodes.insert(node, rows.keys().cloned().collect());
            if let (Some(entry), Ok(state)) = (dag.nodes.get_mut(&node), mls.load(rows)) {
                entry.state = Some(state);
            }
        }
        let networks = own.networks.iter().cloned().map(Network::from_keys).collect();
        let keys = DeviceKeys::from_seed(&Zeroizing::new(own.seed));
        let mut group = Self::new(Start { id, keys, log, dag, networks }, today);
        group.standing = STANDINGS.get(usize::from(own.standing)).copied().unwrap_or(GroupState::Joined);
        group.synced = own.synced;
        group.seen = own.seen;
        group.own_join.clone_from(&own.own_join);
        group.link_secret = own.link_secret.map(Zeroizing::new);
        group.draft.clone_from(&own.draft);
        group.signed_to = own.signed_to;
        group.removed_at = own.removed_at;
        group.gaps.away = own.away;
        group.facilitated = own.facilitated;
        group.saved = Saved { ops: group.log.ops_in_order().map(|(id, _)| id).collect(), nodes };
        for row in of(Table::Envelope) {
            let envelope = EnvelopeId(tail(row).try_into().ok()?);
            let kept = Kept::from_row(&row.value)?;
            group.heard.insert(kept.persona);
            group.timeline.insert(envelope, kept);
        }
        for row in of(Table::Outbox) {
            group.outbox.push(minicbor::decode::<Item>(&row.value).ok()?);
        }
        for row in of(Table::State) {
            group.restore_state(&tail(row), &row.value);
        }
        group.dag.reselect(&group.log);
        group.decided_again = group.decided_for_good();
        Some(group)
    }

    fn restore_state(&mut self, key: &[u8], value: &[u8]) -> Option<()> {
        let (kind, key) = key.split_first()?;
        match *kind {
            PENDING => {
                self.inbox.restore(cbor::read::<Packet>(value).ok()?);
            }
            CARRIED => self.carry.restore(key.try_into().ok()?, minicbor::decode(value).ok()?),
            CURSOR => {
                let (relay, queue) = key.split_first_chunk::<32>()?;
                let cursor = u64::from_be_bytes(value.try_into().ok()?);
                self.desk.cursors.insert((*relay, QueueId(queue.try_into().ok()?)), cursor);
            }
            DELIVERED => {
                let delivered: Delivered = minicbor::decode(value).ok()?;
                delivered.reached.iter().for_each(|p| {
                    self.heard.insert(*p);
                });
                self.outbox.delivered.insert(EnvelopeId(key.try_into().ok()?), delivered);
            }
            SIGNATURE => {
                let (node, persona) = key.split_first_chunk::<32>()?;
                let (node, persona) = (NodeId(*node), PersonaId(persona.try_into().ok()?));
                self.dag.restore_signature(node, persona, value.try_into().ok()?);
            }
            NACK => {
                let (frame, persona) = key.split_first_chunk::<32>()?;
                let (frame, persona) = (FrameId(*frame), PersonaId(persona.try_into().ok()?));
                self.dag.restore_nack(frame, persona, value.try_into().ok()?);
            }
            SUPERSEDED => {
                let since = Timestamp(u64::from_be_bytes(value.try_into().ok()?));
                self.dag.restore_superseded(&NodeId(key.try_into().ok()?), since);
            }
            REQUEST => self.request = minicbor::decode(value).ok(),
            KNOCK => self.knocks.restore(&self.id, minicbor::decode(value).ok()?),
            CARD => self.restore_card(cbor::read(value).ok()?),
            CARD_SEQ => self.restore_card_seq(u64::from_be_bytes(value.try_into().ok()?)),
            _ => {}
        }
        Some(())
    }
}
