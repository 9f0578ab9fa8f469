//! Nacks: words of members who hold a node and cannot open a commit on it. Enough of them, and it counts for nothing.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::{mls::MlsNode, persona};
use hearth_protocol::{
    frame::{Control, Nack, nack_message},
    id::{FrameId, GroupId, NodeId, PersonaId},
};

use super::Dag;

/// Nacks that wait for their frame; the oldest gives way, and sync brings it again.
const EARLY: usize = 256;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Nacks {
    /// Verified, of frames that are here, by personas that have had a leaf at the parent.
    pub(super) known: BTreeMap<(FrameId, PersonaId), [u8; 64]>,
    /// Of frames that are not here yet, under their names as control items.
    early: Vec<([u8; 32], Nack)>,
    /// Frames on nodes that this member holds, and that it could not open.
    pub(super) unopened: BTreeSet<FrameId>,
}

fn nack(((frame, persona), sig): (&(FrameId, PersonaId), &[u8; 64])) -> Nack {
    Nack { frame: *frame, persona: *persona, sig: *sig }
}

impl<N: MlsNode> Dag<N> {
    /// Takes a Nack in. True when it is new and counts; one of an unknown frame waits.
    pub(crate) fn offer_nack(&mut self, group: &GroupId, nack: &Nack) -> bool {
        let Some(parent) = self.parent_of(&nack.frame) else {
            let (early, id) = (&mut self.nacks.early, Control::Nack(nack.clone()).hash());
            if early.iter().all(|(known, _)| *known != id) {
                if early.len() >= EARLY {
                    early.remove(0);
                }
                early.push((id, nack.clone()));
            }
            return false;
        };
        let key = (nack.frame, nack.persona);
        // So no more are kept than there are members to each frame.
        let was_in = self.nodes.get(&parent).is_some_and(|e| e.elders.places.contains_key(&nack.persona));
        let message = nack_message(group, &nack.frame);
        if !was_in || self.nacks.known.contains_key(&key) || !persona::verify(&nack.persona.0, &message, &nack.sig) {
            return false;
        }
        self.restore_nack(nack.frame, nack.persona, nack.sig);
        true
    }

    /// The node that a frame that made a node builds on.
    fn parent_of(&self, frame: &FrameId) -> Option<NodeId> {
        self.frames.get(frame).map(|(frame, _)| frame.parent)
    }

    /// Takes in what waited for frames that are here now. Returns what counts.
    pub(crate) fn retry_nacks(&mut self, group: &GroupId) -> Vec<Nack> {
        let early = std::mem::take(&mut self.nacks.early);
        let (here, early): (Vec<_>, _) = early.into_iter().partition(|(_, n)| self.parent_of(&n.frame).is_some());
        self.nacks.early = early;
        here.into_iter().map(|(_, n)| n).filter(|n| self.offer_nack(group, n)).collect()
    }

    /// One from disk, verified before it was written.
    pub(crate) fn restore_nack(&mut self, frame: FrameId, persona: PersonaId, sig: [u8; 64]) {
        self.nacks.known.insert((frame, persona), sig);
        self.came.1 += 1;
    }

    /// All that count.
    pub(crate) fn nacks(&self) -> impl Iterator<Item = Nack> {
        self.nacks.known.iter().map(nack)
    }

    pub(crate) fn nack(&self, frame: &FrameId, persona: &PersonaId) -> Option<Nack> {
        self.nacks.known.get_key_value(&(*frame, *persona)).map(nack)
    }

    /// Those that wait, under their names as control items.
    pub(crate) fn early_nacks(&self) -> impl Iterator<Item = &([u8; 32], Nack)> {
        self.nacks.early.iter()
    }

    /// Frames that `who` could not open, whose word about them counts, and of which it has given none.
    pub(crate) fn to_nack(&self, who: &PersonaId) -> Vec<(FrameId, NodeId)> {
        let due = |frame: &FrameId| {
            let (sent, made) = self.frames.get(frame)?;
            let (entry, parent) = (self.nodes.get(made)?, self.nodes.get(&sent.parent)?);
            let author = entry.made.as_ref()?.commit.author.persona;
            let (policy, stay) = (&parent.policy, &entry.policy.members);
            let mut judges = policy.facilitators.iter().filter(|f| **f != author && stay.contains(*f)).peekable();
            let judges = if judges.peek().is_some() { &policy.facilitators } else { &policy.members };
            let opened = entry.state.as_ref().is_some_and(MlsNode::can_read);
            let said = self.nacks.known.contains_key(&(*frame, *who));
            (judges.contains(who) && stay.contains(who) && author != *who && !opened && !said)
                .then_some((*frame, sent.parent))
        };
        self.nacks.unopened.iter().filter_map(due).collect()
    }
}

#[cfg(test)]
mod tests;
