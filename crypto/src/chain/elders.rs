//! What a node knows of those who came before it.

use std::{collections::BTreeMap, sync::Arc};

use hearth_protocol::id::{NodeId, PersonaId};

use crate::{
    mls::Leaf,
    policy::{PolicyState, Seniority},
    select::NodePolicy,
};

/// Recovers that a group can have behind it: each takes a season of silence.
const SETTLED_MAX: usize = 16;

/// Who has had a leaf since when: depth of the first node, leaf index.
pub type Places = BTreeMap<PersonaId, (u64, u32)>;

/// Who came when, and who decides about a Recover.
#[derive(Clone, Debug, Default)]
pub struct Elders {
    /// Who came when.
    pub places: Arc<Places>,
    /// Those of the last node of class 0 at or above this one, or of the first: they may name new facilitators.
    pub last: Option<(NodeId, Arc<NodePolicy>)>,
    /// Those who did, by the node that they were asked as.
    pub settled: BTreeMap<NodeId, Arc<NodePolicy>>,
}

impl Elders {
    /// Those of a node at this depth with these leaves.
    #[must_use]
    pub fn with(&self, leaves: &[Leaf], depth: u64) -> Self {
        let mut grown = self.clone();
        for leaf in leaves {
            // Most nodes bring nobody, and share what there is.
            if !grown.places.contains_key(&leaf.persona) {
                Arc::make_mut(&mut grown.places).insert(leaf.persona, (depth, leaf.index));
            }
        }
        grown
    }

    /// At a node of class 0, or a first one, those who are there decide from now on; who decided stays known.
    #[must_use]
    pub fn committed(mut self, node: NodeId, policy: Arc<NodePolicy>, state: &PolicyState) -> Self {
        self.settled.extend(self.last.take());
        self.settled.retain(|base, _| state.recovers.contains_key(base));
        self.last = (self.settled.len() < SETTLED_MAX).then_some((node, policy));
        self
    }
}

impl Seniority for Elders {
    fn of(&self, persona: &PersonaId) -> Option<(u64, u32)> {
        self.places.of(persona)
    }

    fn all(&self) -> Vec<(PersonaId, (u64, u32))> {
        self.places.all()
    }

    fn roll(&self, base: &NodeId) -> Option<Arc<NodePolicy>> {
        let last = self.last.as_ref().filter(|(node, _)| node == base).map(|(_, policy)| policy);
        last.or_else(|| self.settled.get(base)).map(Arc::clone)
    }
}
