//! Where a DAG begins, and how it moves on: what lies above a node that is final for good need not be kept, nor told
//! to newcomers.

use std::collections::BTreeSet;

use hearth_crypto::{
    chain::{Anchor, Elders, Ground, Places},
    mls::{Leaf, Mls, MlsNode, Place},
    persona::DeviceKeys,
    policy::PolicyLog,
    select::Class,
};
use hearth_protocol::{
    door::{Elder, Link, LinkSignature},
    frame::{CommitFrame, NodeSignature},
    id::{FrameId, GroupId, NodeId, PersonaId},
};

use super::{Dag, Entry, past::RETAIN};

/// What a base rests on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origin {
    /// GroupInfo of the base: what a rebuild and a newcomer start from.
    pub(crate) info: Vec<u8>,
    /// Who had come before it; nobody when it is the first node.
    pub(crate) elders: Elders,
    /// What makes it final; empty when it is the first node.
    pub(crate) chain: Vec<Link>,
}

impl Origin {
    /// Elders as they are written, by PersonaId.
    pub(crate) fn told_elders(&self) -> Vec<Elder> {
        self.elders
            .places
            .iter()
            .map(|(persona, (depth, leaf))| Elder { persona: *persona, depth: *depth, leaf: *leaf })
            .collect()
    }

    /// Elders as they were written.
    pub(crate) fn read_elders(told: &[Elder]) -> Places {
        told.iter().map(|e| (e.persona, (e.depth, e.leaf))).collect()
    }
}

/// What a move left behind: whose rows are to go.
#[derive(Debug, Default)]
pub(crate) struct Left {
    /// Frames, with the depth of the node that they made.
    pub(crate) frames: Vec<(u64, FrameId)>,
    /// Nodes.
    pub(crate) nodes: Vec<NodeId>,
    /// Signatures.
    pub(crate) signatures: Vec<(NodeId, PersonaId)>,
    /// Nacks.
    pub(crate) nacks: Vec<(FrameId, PersonaId)>,
}

impl<N: MlsNode> Dag<N> {
    /// About how many bytes it takes to keep what lies below the base.
    pub(crate) fn weight(&self) -> usize {
        let leaves: usize = self.nodes.values().map(|e| e.facts.leaves.len() * size_of::<Leaf>()).sum();
        leaves + self.frames.values().map(|(frame, _)| frame.commit.len()).sum::<usize>()
    }

    /// The deepest node below the base that is final and of class 0, that this member can vouch for, and that can be shown
    /// to be final; with what shows it. Class 0, because such a node's binding names all of its heads, and nobody's light
    /// nodes are counted past it.
    pub(crate) fn later_base<M: Mls<Node = N>>(
        &self,
        (mls, group, log): (&M, &GroupId, &PolicyLog),
        keys: &DeviceKeys,
    ) -> Option<(NodeId, Origin)> {
        let mut at = self.certified;
        while at != self.base && self.conflicts == 0 {
            let entry = self.nodes.get(&at)?;
            let parent = entry.parent?;
            let state = entry.state.as_ref().filter(|s| s.has_secrets());
            let fits = entry.made.as_ref().is_some_and(|m| m.class == Class::Committer);
            if let (true, Some(state), Some(above)) = (fits, state, self.nodes.get(&parent)) {
                let ground = Ground { mls, group, log, places: &above.elders.places };
                let chain = self.chain_to(&at, &ground);
                if let (Some(chain), Ok(info)) = (chain, state.group_info(keys)) {
                    return Some((at, Origin { info, elders: above.elders.clone(), chain }));
                }
            }
            at = parent;
        }
        None
    }

    /// What shows that a node is final. Where that rests on a Recover, also the node whose roster decided it.
    fn chain_to<M: Mls<Node = N>>(&self, node: &NodeId, ground: &Ground<'_, M>) -> Option<Vec<Link>> {
        let link = |node: &NodeId| {
            let context = self.nodes.get(node)?.state.as_ref()?.context().ok()?;
            Some(Link { context, signatures: self.exact_signatures(node) })
        };
        let chain = &self.origin.chain;
        ground.extend(chain, link(node)?).or_else(|| {
            let asked = self.nodes.get(node)?.elders.settled.keys().find(|asked| self.nodes.contains_key(asked))?;
            ground.extend(&ground.extend(chain, link(asked)?)?, link(node)?)
        })
    }

    /// Makes a later node the base once it lies so far above the tip that nothing of what is left can still be read. It
    /// is chosen while its state is held, and waits. Returns what is gone.
    pub(crate) fn move_base<M: Mls<Node = N>>(
        &mut self,
        rests_on: (&M, &GroupId, &PolicyLog),
        keys: &DeviceKeys,
    ) -> Option<Left> {
        if self.next.is_none() {
            self.next = self.later_base(rests_on, keys);
        }
        let (next, _) = self.next.as_ref()?;
        let depth = self.nodes.get(next)?.depth;
        if depth.saturating_add(RETAIN) > self.tip_entry()?.depth {
            return None;
        }
        let (to, origin) = self.next.take()?;
        self.descends(&self.certified, &to).then(|| self.begin_at(to, origin))
    }

    /// Signatures of exactly this node: of those who facilitated, or where two did of all.
    fn exact_signatures(&self, node: &NodeId) -> Vec<LinkSignature> {
        let of = |(n, persona): &(NodeId, PersonaId), sig: &[u8; 64]| {
            (n == node).then_some(LinkSignature { persona: *persona, sig: *sig })
        };
        self.signatures.known.iter().filter_map(|(key, sig)| of(key, sig)).collect()
    }

    fn begin_at(&mut self, to: NodeId, origin: Origin) -> Left {
        let below: BTreeSet<NodeId> = self.nodes.keys().filter(|n| self.descends(n, &to)).copied().collect();
        let mut left = Left::default();
        for (node, entry) in std::mem::take(&mut self.nodes) {
            if below.contains(&node) {
                if node == to {
                    left.frames.extend(entry.made.as_ref().map(|m| (entry.depth, m.frame)));
                }
                let (parent, made) = if node == to { (None, None) } else { (entry.parent, entry.made) };
                self.nodes.insert(node, Entry { parent, made, ..entry });
            } else {
                left.frames.extend(entry.made.as_ref().map(|m| (entry.depth, m.frame)));
                left.nodes.push(node);
            }
        }
        self.frames.retain(|_, (_, made)| *made != to && below.contains(made));
        self.signatures.known.retain(|(node, persona), _| {
            let stays = below.contains(node);
            if !stays {
                left.signatures.push((*node, *persona));
            }
            stays
        });
        left.nacks = self.nacks.known.keys().filter(|(frame, _)| !self.frames.contains_key(frame)).copied().collect();
        self.nacks.known.retain(|(frame, _), _| self.frames.contains_key(frame));
        self.nacks.unopened.retain(|frame| self.frames.contains_key(frame));
        self.leave_aside();
        (self.base, self.origin, self.tried) = (to, origin, (0, 0));
        left
    }

    /// Everything, to be left for another DAG.
    pub(crate) fn leave_all(&self) -> Left {
        Left {
            frames: self.nodes.values().filter_map(|e| Some((e.depth, e.made.as_ref()?.frame))).collect(),
            nodes: self.nodes.keys().copied().collect(),
            signatures: self.signatures.known.keys().copied().collect(),
            nacks: self.nacks.known.keys().copied().collect(),
        }
    }

    /// Whether another base leads on from what is final here: it is later, and those who decided here had a say in it.
    pub(crate) fn leads_on<M: Mls<Node = N>>(
        &self,
        (mls, group, log): (&M, &GroupId, &PolicyLog),
        origin: &Origin,
        depth: u64,
    ) -> bool {
        let Some(last) = self.nodes.get(&self.certified).filter(|last| depth > last.depth) else { return false };
        let state = self.policy(log, &self.certified);
        let from = Anchor { policy: &last.policy, depth: last.depth, state: &state, elders: &last.elders };
        Ground { mls, group, log, places: &origin.elders.places }.leads_on(&from, &origin.chain)
    }

    /// Goes on as another DAG of the same group.
    pub(crate) fn succeed(&mut self, other: Self) {
        let came = (self.came.0 + other.came.0, self.came.1 + other.came.1);
        *self = Self { came, ..other };
    }

    /// Frames below a node, parents first, and the signatures there that say something by themselves.
    pub(crate) fn below(&self, base: &NodeId) -> (Vec<CommitFrame>, Vec<NodeSignature>) {
        let frames = self.frames_in_order().into_iter();
        let frames = frames.filter(|(_, frame)| self.descends(&frame.parent, base)).map(|(_, frame)| frame.clone());
        let signatures = self.telling_signatures().into_iter().filter(|s| self.descends(&s.node, base));
        (frames.collect(), signatures.collect())
    }

    /// The base's depth.
    pub(crate) fn base_depth(&self) -> u64 {
        self.nodes.get(&self.base).map_or(0, |b| b.depth)
    }

    /// Whether a commit or message that belongs there, at a node that is not here, is of a time before the base: nothing
    /// comes of it any more.
    pub(crate) fn is_past(&self, place: Option<Place>) -> bool {
        let Some((base, place)) = self.nodes.get(&self.base).zip(place) else { return false };
        place.mls_group_id == base.facts.mls_group_id && place.epoch <= base.facts.epoch
    }
}

#[cfg(test)]
pub(super) mod tests;
