//! A member with software of its own: it has everything that lay on its node's disk, and makes of it whatever the
//! protocol's own parts can be made into. It breaks no cryptography; it keeps to no rule either.

use std::collections::BTreeMap;

use hearth_crypto::{
    envelope,
    mls::{Binding, CommitPlan, Mls, MlsNode, Rows},
    persona::DeviceKeys,
    policy::{At, InviteKeys, PolicyLog, Seat, judge},
    schedule::{Network, SHARE_LABEL},
    seal::seal_body,
};
use hearth_node::store::Table;
use hearth_protocol::{
    cbor,
    content::Content,
    door::{DoorBody, Elder, Link, NetworkKeys},
    envelope::{AppMessage, EnvelopeContent, SignedEnvelope},
    frame::{CommitFrame, Control, NodeSignature, signature_message},
    id::{EnvelopeId, GroupId, NodeId, OpId, PersonaId},
    op::{OpBody, OpContent, SignedOp},
    packet::{Packet, SharedEnvelopes},
    time::{Minute, Timestamp},
};
use minicbor::Decode;
use rand::Rng;
use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

/// How a group's own row begins.
#[derive(Decode)]
struct Own {
    #[cbor(n(0), with = "minicbor::bytes")]
    seed: [u8; 64],
    #[cbor(n(2), with = "minicbor::bytes")]
    base_info: Vec<u8>,
    #[n(3)]
    networks: Vec<NetworkKeys>,
    #[n(8)]
    elders: Vec<Elder>,
    #[n(9)]
    chain: Vec<Link>,
}

/// A node of the commit DAG as the villain knows it.
pub struct Known<N> {
    /// Its state, with secrets where the villain has them.
    pub state: N,
    /// The node that began its network.
    pub network: NodeId,
    /// What it realises.
    pub heads: Vec<OpId>,
    /// The node that it builds on, and the commit that made it; `None` for the first that the villain knows.
    pub made: Option<CommitFrame>,
    /// Who came first.
    pub elders: BTreeMap<PersonaId, (u64, u32)>,
}

/// See the module's page.
pub struct Villain<M: Mls> {
    /// Its keys.
    pub keys: DeviceKeys,
    /// Every op that it knows, its own lies included.
    pub log: PolicyLog,
    /// Every node that it knows, its own included.
    pub nodes: BTreeMap<NodeId, Known<M::Node>>,
    /// Networks whose keys it has.
    pub networks: BTreeMap<NodeId, Network>,
    /// The tip that it was shown last.
    pub tip: NodeId,
    /// The MLS library.
    pub mls: M,
    group: GroupId,
    /// Where its DAG begins, and what shows that this is final.
    base: (NodeId, Vec<u8>, Vec<Elder>, Vec<Link>),
    rng: ChaCha20Rng,
}

impl<M: Mls> Villain<M> {
    /// Reads what lay on a node's disk.
    pub(super) fn read<'r>(
        mls: M,
        (group, tip): (GroupId, NodeId),
        rows: impl Iterator<Item = (Table, &'r [u8], &'r [u8])>,
        rng: ChaCha20Rng,
    ) -> Option<Self> {
        let (mut own, mut log, mut frames) = (None, PolicyLog::for_group(group), Vec::new());
        let mut states: BTreeMap<NodeId, Rows> = BTreeMap::new();
        for (table, key, value) in rows {
            let key = key.get(32..)?;
            match table {
                Table::Group if key.is_empty() => own = minicbor::decode::<Own>(value).ok(),
                Table::Op => drop(log.insert(cbor::read(value).ok()?)),
                Table::Frame => frames.push((key.to_vec(), cbor::read::<CommitFrame>(value).ok()?)),
                Table::Node => {
                    let (node, key) = key.split_first_chunk::<32>()?;
                    states.entry(NodeId(*node)).or_default().insert(key.to_vec(), value.to_vec());
                }
                _ => {}
            }
        }
        let own = own?;
        let keys = DeviceKeys::from_seed(&Zeroizing::new(own.seed));
        let networks = own.networks.into_iter().map(|n| (n.network, Network::from_keys(n))).collect();
        let root = mls.open_group_info(&own.base_info).ok()?;
        let base = (root.facts().node, own.base_info, own.elders, own.chain);
        let mut villain = Self { keys, log, nodes: BTreeMap::new(), networks, tip, mls, group, base, rng };
        villain.learn(None, Vec::new(), root);
        // Keys begin with the depth: parents first.
        frames.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (_, frame) in frames {
            villain.hear(&frame);
        }
        for (node, rows) in states {
            if let (Some(known), Ok(state)) = (villain.nodes.get_mut(&node), villain.mls.load(rows)) {
                known.state = state;
            }
        }
        Some(villain)
    }

    /// A commit of somebody else: opened where the villain can, followed publicly where it cannot.
    pub fn hear(&mut self, frame: &CommitFrame) -> Option<NodeId> {
        let parent = &self.nodes.get(&frame.parent)?.state;
        let opened = parent.apply(&frame.commit).or_else(|_| parent.check(&frame.commit));
        let (facts, child) = opened.ok()?;
        let op = judge::external_op(&facts);
        let own = op.iter().map(SignedOp::id).collect();
        op.map(|op| self.log.insert(op));
        Some(self.learn(Some(frame.clone()), own, child))
    }

    /// What lies in a queue.
    pub fn read_all(&mut self, packets: &[Vec<u8>]) {
        let controls = packets.iter().filter_map(|bytes| match cbor::read::<Packet>(bytes) {
            Ok(Packet::Control(control)) => Some(control),
            _ => None,
        });
        let (mut frames, mut before) = (Vec::new(), usize::MAX);
        for control in controls {
            match control {
                Control::Op(op) => drop(self.log.insert(op)),
                Control::Commit(frame) => frames.push(frame),
                Control::Signature(_) | Control::Nack(_) | Control::Welcome(_) => {}
            }
        }
        while frames.len() < before {
            before = frames.len();
            frames.retain(|frame| self.hear(frame).is_none());
        }
    }

    /// Whether `node` is `ancestor` or below it.
    pub fn descends(&self, node: &NodeId, ancestor: &NodeId) -> bool {
        let above = |node: &NodeId| self.nodes.get(node)?.made.as_ref().map(|made| made.parent);
        std::iter::successors(Some(*node), above).any(|at| at == *ancestor)
    }

    fn learn(&mut self, made: Option<CommitFrame>, own: Vec<OpId>, state: M::Node) -> NodeId {
        let facts = state.facts().clone();
        if let Some(known) = self.nodes.get(&facts.node).filter(|known| known.state.has_secrets()) {
            return known.state.facts().node;
        }
        let above = made.as_ref().and_then(|made| self.nodes.get(&made.parent));
        let mut elders = above.map(|p| p.elders.clone()).unwrap_or_default();
        for leaf in &facts.leaves {
            elders.entry(leaf.persona).or_insert((facts.epoch, leaf.index));
        }
        let heads = match above.filter(|_| !own.is_empty()) {
            Some(above) => above.heads.iter().copied().chain(own).collect(),
            None => facts.binding.heads.clone(),
        };
        // An update writes no heads: what joins above it brought is still in force.
        let unchanged = above.filter(|p| p.state.facts().binding == facts.binding && heads == facts.binding.heads);
        let heads = self.log.reduce(unchanged.map_or(&heads, |p| &p.heads));
        // An extension that an ancestor wrote does not say that this one began the network.
        let begun = above.filter(|_| facts.binding.epoch != facts.epoch).map_or(facts.node, |p| p.network);
        let network = facts.binding.network.unwrap_or(begun);
        if let (false, Ok(begun)) = (self.networks.contains_key(&network), Network::begin(&state))
            && network == facts.node
        {
            self.networks.insert(network, begun);
        }
        self.nodes.insert(facts.node, Known { state, network, heads, made, elders });
        facts.node
    }

    /// The network of a node.
    pub fn network(&self, node: &NodeId) -> NodeId {
        self.nodes.get(node).map_or(*node, |n| n.network)
    }

    /// The heads of everything that it knows, as a commit on the tip would write them.
    #[must_use]
    pub fn heads(&self) -> Vec<OpId> {
        self.nodes.get(&self.tip).map(|tip| self.log.heads_above(&tip.heads, &tip.elders)).unwrap_or_default()
    }

    /// An op on what it knows, at its tip.
    pub fn op(&mut self, body: OpBody) -> Option<SignedOp> {
        let heads = self.heads();
        self.op_at(&heads, self.tip, body)
    }

    /// An op on what it says that it knew, where it says that it stood.
    pub fn op_at(&mut self, heads: &[OpId], node: NodeId, body: OpBody) -> Option<SignedOp> {
        let keys = self.keys.clone();
        self.op_by(&keys, heads, node, body)
    }

    /// The same by another persona of its own.
    pub fn op_by(&mut self, keys: &DeviceKeys, heads: &[OpId], node: NodeId, body: OpBody) -> Option<SignedOp> {
        let op = self.log.make(keys, At { heads, node }, body).ok()?;
        self.log.insert(op.clone()).ok()?;
        Some(op)
    }

    /// An op with whatever content, signed all the same.
    #[must_use]
    pub fn forge(&self, content: &OpContent) -> SignedOp {
        SignedOp::new(content, |message| self.keys.sign_as_persona(message))
    }

    /// What an honest committer would do on `parent` to realise these heads.
    pub fn plan(&self, parent: &NodeId, heads: &[OpId]) -> Option<CommitPlan> {
        let at = self.nodes.get(parent)?;
        let facts = at.state.facts();
        let before = self.log.state_at(&at.heads, &at.elders);
        let target = self.log.state_at(heads, &at.elders);
        let judged = judge::Parent {
            node: *parent,
            epoch: facts.epoch,
            binding: &facts.binding,
            network: at.network,
            leaves: &facts.leaves,
            state: &before,
            seniority: &at.elders,
            light_nodes: 0,
        };
        let removes: Vec<_> = judge::demand(&self.log, &judged, heads).removes.iter().map(|leaf| leaf.index).collect();
        let binding = Binding {
            heads: target.heads.clone(),
            roster_root: target.roster_root(&at.elders),
            network: removes.is_empty().then_some(at.network),
            epoch: facts.epoch + 1,
            ..facts.binding.clone()
        };
        Some(CommitPlan { adds: Vec::new(), removes, binding: Some(binding) })
    }

    /// Commits whatever plan on whatever node that it holds, and stands on the child.
    pub fn commit(&mut self, parent: &NodeId, plan: &CommitPlan) -> Option<(CommitFrame, NodeId)> {
        self.welcome(parent, plan).map(|(frame, node, _)| (frame, node))
    }

    /// The same, with the Welcome of whom the plan adds.
    pub fn welcome(&mut self, parent: &NodeId, plan: &CommitPlan) -> Option<(CommitFrame, NodeId, Vec<u8>)> {
        let at = self.nodes.get(parent)?;
        let own = at.state.commit(&self.keys, plan, &mut self.rng).ok()?;
        let frame = CommitFrame { parent: *parent, commit: own.commit };
        let node = self.learn(Some(frame.clone()), Vec::new(), own.child);
        Some((frame, node, own.welcome.unwrap_or_default()))
    }

    /// A first node of its own making.
    pub fn found(&mut self, node: M::Node) -> NodeId {
        self.learn(None, Vec::new(), node)
    }

    /// The door of a node.
    #[must_use]
    pub fn door(&self, node: &NodeId, now: Timestamp) -> Option<DoorBody> {
        let at = self.nodes.get(node)?;
        let (base, base_info, elders, chain) = self.base.clone();
        Some(DoorBody {
            group: self.group,
            node: *node,
            group_info: at.state.group_info(&self.keys).ok()?,
            base,
            base_info,
            frames: self.nodes.values().filter_map(|n| n.made.clone()).collect(),
            ops: self.log.ops_in_order().map(|(_, op)| op.clone()).collect(),
            signatures: Vec::new(),
            keys: self.networks.get(&at.network)?.keys_from(now.day()),
            elders,
            chain,
            nacks: Vec::new(),
        })
    }

    /// Realises ops on a node as an honest committer would.
    pub fn realise(&mut self, parent: &NodeId, heads: &[OpId]) -> Option<(CommitFrame, NodeId)> {
        let plan = self.plan(parent, heads)?;
        self.commit(parent, &plan)
    }

    /// Another charter, as an op on `heads` and the commit on `parent` that realises it.
    pub fn rewrite(
        &mut self,
        parent: &NodeId,
        heads: &[OpId],
        charter: &str,
    ) -> Option<(SignedOp, CommitFrame, NodeId)> {
        let op = self.op_at(heads, *parent, charter_op(charter))?;
        let (frame, node) = self.realise(parent, &[op.id()])?;
        Some((op, frame, node))
    }

    /// Somebody comes in on a node from outside, with a Join by this link.
    pub fn let_in(
        &mut self,
        parent: &NodeId,
        who: &DeviceKeys,
        (invite, seat): (&InviteKeys, Seat),
    ) -> Option<(CommitFrame, NodeId)> {
        let at = self.nodes.get(parent)?;
        let join = self.log.make_join(who, invite, At { heads: &at.heads, node: *parent }, seat).ok()?;
        let info = at.state.group_info(&self.keys).ok()?;
        let (commit, _) = self.mls.join_external(who, &info, &cbor::to_vec(&join)).ok()?;
        let frame = CommitFrame { parent: *parent, commit };
        // Seen from the villain's own leaf.
        let node = self.hear(&frame)?;
        Some((frame, node))
    }

    /// Signs a node as final, whatever it signed before.
    #[must_use]
    pub fn sign(&self, node: &NodeId) -> Control {
        let sig = self.keys.sign_as_persona(&signature_message(&self.group, node));
        Control::Signature(NodeSignature { node: *node, persona: self.keys.persona(), sig })
    }

    /// What an envelope of its own would say.
    pub fn content(&mut self, (seq, prev): (u64, EnvelopeId), now: Minute, text: &str) -> EnvelopeContent {
        let mut salt = [0; 16];
        self.rng.fill_bytes(&mut salt);
        EnvelopeContent {
            v: 1,
            persona: self.keys.persona(),
            device: self.keys.device(),
            node: self.tip,
            seq,
            prev,
            parents: Vec::new(),
            sent_at: now,
            body: Content::text(salt, text).encode(),
        }
    }

    /// Signs an envelope.
    #[must_use]
    pub fn envelope(&self, content: &EnvelopeContent) -> SignedEnvelope {
        envelope::sign(&self.keys, &self.group, content)
    }

    /// An envelope as its author sends it at a node.
    pub fn send(&mut self, node: &NodeId, envelope: &SignedEnvelope) -> Option<Packet> {
        let state = &mut self.nodes.get_mut(node)?.state;
        let plain = cbor::to_vec(&AppMessage::Envelope(envelope.clone()));
        Some(Packet::App { node: *node, mls: state.encrypt(&self.keys, &plain).ok()? })
    }

    /// Every envelope that lies in a queue and that it can open.
    pub fn open(&mut self, packets: &[Vec<u8>]) -> Vec<SignedEnvelope> {
        let mut said = Vec::new();
        for packet in packets {
            let Ok(Packet::App { node, mls }) = cbor::read(packet) else { continue };
            let opened = self.nodes.get_mut(&node).and_then(|n| n.state.decrypt(&mls).ok());
            if let Some(Ok(AppMessage::Envelope(envelope))) = opened.map(|o| cbor::read(&o.plaintext)) {
                said.push(envelope);
            }
        }
        said
    }

    /// Envelopes as a member hands them on at a node.
    pub fn share(&mut self, node: &NodeId, envelopes: Vec<SignedEnvelope>) -> Option<Packet> {
        let key = self.nodes.get(node)?.state.export(SHARE_LABEL, b"").ok()?;
        let sealed = seal_body(&key, b"hearth shared/1", &cbor::to_vec(&SharedEnvelopes { envelopes }), &mut self.rng);
        Some(Packet::Shared { node: *node, sealed: sealed.ok()? })
    }
}

/// A SetPolicy that changes the charter alone.
#[must_use]
pub fn charter_op(charter: &str) -> OpBody {
    let (history_days, slow_mode_s, shield, relays, successors) = (None, None, None, None, None);
    OpBody::SetPolicy { charter: Some(charter.into()), history_days, slow_mode_s, shield, relays, successors }
}
