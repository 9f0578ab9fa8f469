//! Being swapped in: a member whose state of the tip is gone asks for a fresh leaf, in the queues that it can still write
//! to, and a committer puts one in the old one's place. So it comes back although the others' network has changed.

use hearth_crypto::{
    mls::{Mls, MlsNode, Rows},
    policy::At,
    schedule::DOOR_LABEL,
    seal::{open_body, seal_body},
};
use hearth_protocol::{
    cbor,
    door::DoorBody,
    frame::{Control, WelcomeFrame},
    id::{NodeId, OpId},
    op::OpBody,
    time::Timestamp,
};
use minicbor::{Decode, Encode, bytes::ByteVec};

use super::{Group, door::DOOR_SEAL, rows};
use crate::{
    engine::{ctx::Ctx, dag::Offered},
    store::Table,
};

/// A wish that nobody granted is said again after this long: its commit may have lost, or its Welcome.
const AGAIN_MS: u64 = 15 * 60_000;
/// A Welcome may be for any of the last wishes: whoever granted it may not have known of a later one.
const WISHES: usize = 4;

/// RejoinRequests that wait for a Welcome.
#[derive(Clone, Encode, Decode)]
pub(crate) struct Request {
    /// When the last was said.
    #[n(0)]
    at: Timestamp,
    /// Rows of the private part of each KeyPackage, the oldest first.
    #[n(1)]
    private: Vec<Private>,
    /// The generation that it was said for: the first node of the next one grants nothing of what was said before.
    #[n(2)]
    generation: u32,
}

/// Rows of a KeyPackage's private part.
#[derive(Clone, Encode, Decode)]
#[cbor(transparent)]
struct Private(#[n(0)] Vec<(ByteVec, ByteVec)>);

impl Drop for Private {
    fn drop(&mut self) {
        self.0.iter_mut().for_each(|(_, value)| zeroize::Zeroize::zeroize(&mut **value));
    }
}

impl Private {
    fn rows(&self) -> Rows {
        self.0.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("at", &self.at).finish_non_exhaustive()
    }
}

impl<M: Mls> Group<M> {
    /// Asks for a fresh leaf, unless that was done a short while ago.
    pub(super) fn ask_for_a_leaf(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some(tip) = self.dag.tip_entry() else { return };
        let (suite, generation) = (tip.facts.suite, tip.facts.binding.generation);
        let recent = |r: &&Request| r.generation == generation && ctx.now.since(r.at) < AGAIN_MS;
        if let Some(request) = self.request.as_ref().filter(recent) {
            return ctx.wake_at(request.at.plus_ms(AGAIN_MS));
        }
        // Where the others may have gone on this member cannot write; they still read where it can, and answer there. So it
        // names the last node that it could open.
        let at_node = self.sending_node().unwrap_or(self.dag.tip);
        let Some(network) = self.dag.entry(&at_node).map(|e| e.network) else { return };
        let heads = self.heads_above();
        let Ok((key_package, private)) = ctx.mls.key_package(&self.keys, suite) else { return };
        let at = At { heads: &heads, node: at_node };
        let Ok(op) = self.log.make(&self.keys, at, OpBody::RejoinRequest { key_package: key_package.into() }) else {
            return;
        };
        if self.log.insert(op.clone()).is_err() {
            return;
        }
        let fresh = Private(private.into_iter().map(|(key, value)| (key.into(), value.into())).collect());
        let mut private = self.request.take().map(|r| r.private).unwrap_or_default();
        private.push(fresh);
        private.drain(..private.len().saturating_sub(WISHES));
        self.request = Some(Request { at: ctx.now, private, generation });
        self.save_request(ctx);
        self.save_ops(ctx);
        self.publish_control(Control::Op(op), network, ctx);
    }

    pub(super) fn save_request(&self, ctx: &mut Ctx<'_, M>) {
        ctx.write(self.id, Table::State, &rows::request_key(), self.request.as_ref().map(cbor::to_vec));
    }

    /// Hands a Welcome to members whom an own commit has just given a fresh leaf: where each asked for it, sealed with it what
    /// it needs to go on.
    pub(super) fn welcome_back(&mut self, node: NodeId, welcome: &[u8], asked: &[OpId], ctx: &mut Ctx<'_, M>) {
        let Some(door) = self.door_body(&node, ctx) else { return };
        let key = self.dag.secret_state(&node).and_then(|s| s.export(DOOR_LABEL, b"").ok());
        let door = cbor::to_vec(&DoorBody { group_info: Vec::new(), ..door });
        let Some(door) = key.and_then(|key| seal_body(&key, DOOR_SEAL, &door, ctx.rng).ok()) else { return };
        let frames = asked.iter().filter_map(|op| {
            let content = self.log.content(op)?;
            let network = self.dag.entry(&content.at_node).or(self.dag.entry(&node))?.network;
            let (device, welcome, door) = (content.device, welcome.to_vec(), door.clone());
            Some((network, WelcomeFrame { node, device, welcome, door }))
        });
        for (network, frame) in frames.collect::<Vec<_>>() {
            self.publish_control(Control::Welcome(frame), network, ctx);
        }
    }

    /// A Welcome for this member, if it asked for one. It opens in a copy of the private rows; what does not check changes
    /// nothing.
    pub(super) fn take_welcome(&mut self, frame: &WelcomeFrame, ctx: &mut Ctx<'_, M>) {
        let mine = self.stranded && self.is_joined() && frame.device == self.keys.device();
        let Some(request) = self.request.as_ref().filter(|_| mine) else { return };
        let mut private = request.private.iter().rev();
        let opened = private.find_map(|p| ctx.mls.join_welcome(&self.keys, &p.rows(), &frame.welcome).ok());
        let Some(node) = opened else { return };
        let Ok(key) = node.export(DOOR_LABEL, b"") else { return };
        let body = open_body(&key, DOOR_SEAL, &frame.door).ok().and_then(|b| cbor::read::<DoorBody>(&b).ok());
        let at = node.facts().node;
        let Some(body) = body.filter(|b| b.group == self.id && b.node == at && frame.node == at) else { return };
        if !self.take_body(&body, ctx) {
            return;
        }
        let Some(entry) = self.dag.nodes.get_mut(&at).filter(|e| e.facts == *node.facts()) else { return };
        if entry.network != body.keys.network {
            return;
        }
        entry.state = Some(node);
        self.save_node(&at, ctx);
        self.know_network(body.keys, ctx);
        self.request = None;
        self.save_request(ctx);
        // Whatever the tip was picked from: it can be read now.
        self.dag.reselect(&self.log);
        self.refresh(ctx);
    }

    /// Takes in what a door tells. False when it is of a past that leads nowhere here.
    pub(super) fn take_body(&mut self, body: &DoorBody, ctx: &mut Ctx<'_, M>) -> bool {
        self.take_ops(&body.ops, ctx);
        // One that begins earlier than the own DAG leads on from it all the same.
        let mut ways = body.frames.iter().map(|f| &f.parent).chain([&body.base, &body.node]);
        if !ways.any(|node| self.dag.entry(node).is_some()) && !self.begin_anew(body, ctx) {
            return false;
        }
        for frame in &body.frames {
            if let Offered::Accepted(node) = self.dag.offer(ctx.mls, &mut self.log, frame.clone()) {
                self.save_node(&node, ctx);
            }
        }
        for signature in &body.signatures {
            self.take_signature(signature, ctx);
        }
        for nack in &body.nacks {
            self.take_nack(nack, ctx);
        }
        true
    }
}
