//! Signatures of nodes: a quorum of them makes a node final.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{mls::MlsNode, persona, policy::PolicyLog, select};
use hearth_protocol::{
    frame::{Control, NodeSignature, signature_message},
    id::{FrameId, GroupId, NodeId, PersonaId},
    limits::DOOR_SIGNATURES_MAX,
};

use super::Dag;

/// Signatures that wait for their node; the oldest gives way, and sync brings it again.
const EARLY: usize = 512;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// Verified, of nodes that are here, by personas that have had a leaf there.
    pub(super) known: BTreeMap<(NodeId, PersonaId), [u8; 64]>,
    /// Of nodes that are not here yet, under their names as control items.
    early: Vec<([u8; 32], NodeSignature)>,
}

fn signed(((node, persona), sig): (&(NodeId, PersonaId), &[u8; 64])) -> NodeSignature {
    NodeSignature { node: *node, persona: *persona, sig: *sig }
}

impl<N: MlsNode> Dag<N> {
    /// Takes a signature in. True when it is new and counts; one of an unknown node waits.
    pub(crate) fn offer_signature(&mut self, group: &GroupId, signature: &NodeSignature) -> bool {
        let key = (signature.node, signature.persona);
        let Some(entry) = self.nodes.get(&signature.node) else {
            let (early, id) = (&mut self.signatures.early, Control::Signature(signature.clone()).hash());
            if early.iter().all(|(known, _)| *known != id) {
                if early.len() >= EARLY {
                    early.remove(0);
                }
                early.push((id, signature.clone()));
            }
            return false;
        };
        // So no more are kept than there are members to each node.
        let may_count =
            entry.elders.places.contains_key(&signature.persona) && !self.signatures.known.contains_key(&key);
        let message = signature_message(group, &signature.node);
        if !may_count || !persona::verify(&signature.persona.0, &message, &signature.sig) {
            return false;
        }
        self.signatures.known.insert(key, signature.sig);
        self.came.1 += 1;
        true
    }

    /// Takes in what waited for nodes that are here now. Returns what counts.
    pub(crate) fn retry_signatures(&mut self, group: &GroupId) -> Vec<NodeSignature> {
        let early = std::mem::take(&mut self.signatures.early);
        let (here, early): (Vec<_>, _) = early.into_iter().partition(|(_, s)| self.nodes.contains_key(&s.node));
        self.signatures.early = early;
        here.into_iter().map(|(_, s)| s).filter(|s| self.offer_signature(group, s)).collect()
    }

    /// One from disk, verified before it was written.
    pub(crate) fn restore_signature(&mut self, node: NodeId, persona: PersonaId, sig: [u8; 64]) {
        self.signatures.known.insert((node, persona), sig);
        self.came.1 += 1;
    }

    /// All that count.
    pub(crate) fn signatures(&self) -> impl Iterator<Item = NodeSignature> {
        self.signatures.known.iter().map(signed)
    }

    pub(crate) fn signature(&self, node: &NodeId, persona: &PersonaId) -> Option<NodeSignature> {
        self.signatures.known.get_key_value(&(*node, *persona)).map(signed)
    }

    pub(super) fn signers(&self) -> BTreeSet<(NodeId, PersonaId)> {
        self.signatures.known.keys().copied().collect()
    }

    /// Those that wait, under their names as control items.
    pub(crate) fn early_signatures(&self) -> impl Iterator<Item = &([u8; 32], NodeSignature)> {
        self.signatures.early.iter()
    }

    /// Those that say something that no deeper one of the same persona says: a signature stands for all ancestors.
    /// Deepest first, as many as a door may carry.
    pub(crate) fn telling_signatures(&self) -> Vec<NodeSignature> {
        let depth = |node: &NodeId| self.nodes.get(node).map_or(0, |e| e.depth);
        let mut all: Vec<_> = self.signatures().collect();
        all.sort_by_key(|s| std::cmp::Reverse((depth(&s.node), s.node, s.persona)));
        let mut telling: Vec<NodeSignature> = Vec::new();
        for signature in all {
            let mut deeper = telling.iter().filter(|t| t.persona == signature.persona);
            if !deeper.any(|t| self.descends(&t.node, &signature.node)) {
                telling.push(signature);
            }
        }
        telling.truncate(DOOR_SIGNATURES_MAX);
        telling
    }

    /// Depth of the deepest node that a persona signed.
    pub(crate) fn signed_to(&self, who: &PersonaId) -> u64 {
        let own = self.signatures.known.keys().filter(|(_, persona)| persona == who);
        own.filter_map(|(node, _)| self.nodes.get(node).map(|e| e.depth)).max().unwrap_or(0)
    }

    /// How many nodes and signatures ever came: equal numbers, and nothing is new that the tip rests on.
    pub(crate) fn came(&self) -> (usize, usize) {
        self.came
    }

    /// Whether a persona's signatures count for what comes after the last final node, and whether as a facilitator's.
    pub(crate) fn decides(&self, who: &PersonaId) -> Option<bool> {
        let policy = &self.nodes.get(&self.certified)?.policy;
        let facilitates = policy.facilitators.contains(who) || self.is_named(who);
        let votes = facilitates || (policy.facilitators.len() == 2 && policy.members.contains(who));
        votes.then_some(facilitates)
    }

    /// Whether a Recover names a persona that the way to the tip realises and that is not final yet.
    fn is_named(&self, who: &PersonaId) -> bool {
        let way = std::iter::successors(self.nodes.get(&self.tip), |e| self.nodes.get(&e.parent?));
        let open =
            way.take_while(|e| e.facts.node != self.certified).filter_map(|e| e.made.as_ref()?.recovered.as_ref());
        open.into_iter().any(|named| named.facilitators.contains(who))
    }

    /// The node that `who` should sign now.
    pub(crate) fn to_sign(&self, log: &PolicyLog, who: &PersonaId) -> Option<NodeId> {
        let mut held = BTreeSet::new();
        for (node, entry) in &self.nodes {
            let mut at = Some(*node).filter(|_| entry.state.as_ref().is_some_and(MlsNode::has_secrets));
            // A signature stands for the ancestors, so whoever holds a node may sign through them.
            while let Some(next) = at.filter(|n| held.insert(*n)) {
                at = self.nodes.get(&next).and_then(|e| e.parent);
            }
        }
        select::to_sign(&self.selection(log), who, |node| held.contains(node))
    }

    /// What is signed with a node, the node last: on the way to it what changed who decides, and the last class 0
    /// node. A signature of a node stands for these anyway; their own let a newcomer begin there.
    pub(crate) fn signs_with(&self, node: NodeId, who: &PersonaId) -> Vec<NodeId> {
        let mut signs = vec![node];
        let mut committed = false;
        let mut at = node;
        while let Some((entry, made)) = self.nodes.get(&at).and_then(|e| Some((e, e.made.as_ref()?))) {
            let Some((above, parent)) = entry.parent.and_then(|p| Some((p, self.nodes.get(&p)?))) else { break };
            let last = made.class == select::Class::Committer && !std::mem::replace(&mut committed, true);
            let decides_anew = entry.policy.facilitators != parent.policy.facilitators;
            if at != node && (last || decides_anew) && !self.signatures.known.contains_key(&(at, *who)) {
                signs.push(at);
            }
            at = above;
        }
        signs.reverse();
        signs
    }

    /// What a Leave names: it counts as its author's last signature.
    pub(crate) fn leaves_at(&self, log: &PolicyLog, who: &PersonaId) -> NodeId {
        let selection = self.selection(log);
        if select::may_sign(&selection, who, &self.tip) {
            return self.tip;
        }
        let own = self
            .signatures
            .known
            .keys()
            .filter(|(_, p)| p == who)
            .filter_map(|(n, _)| Some((self.nodes.get(n)?.depth, *n)));
        let may = |node: &NodeId| select::may_sign(&selection, who, node);
        let above = || std::iter::successors(Some(self.tip), |n| self.nodes.get(n)?.parent).find(may);
        own.max().map(|(_, node)| node).or_else(above).unwrap_or(self.certified)
    }

    /// The commit on the way to the tip that takes `who` out, and its parent: by a Nack of it `who` abstains, if it
    /// may and has not.
    pub(crate) fn to_abstain(&self, log: &PolicyLog, who: &PersonaId) -> Option<(FrameId, NodeId)> {
        let stays = |node: &NodeId| self.nodes.get(node).is_some_and(|e| e.policy.members.contains(who));
        if stays(&self.tip) {
            return None;
        }
        let mut at = self.tip;
        loop {
            let entry = self.nodes.get(&at)?;
            let (parent, made) = (entry.parent?, entry.made.as_ref()?);
            if stays(&parent) {
                let may =
                    self.nack(&made.frame, who).is_none() && select::may_abstain(&self.selection(log), who, &parent);
                return may.then_some((made.frame, parent));
            }
            at = parent;
        }
    }
}

#[cfg(test)]
mod tests;
