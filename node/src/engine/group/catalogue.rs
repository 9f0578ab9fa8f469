//! Names under which ops, frames and signatures are reconciled: the hash of each as a control item, worked out once.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    frame::Control,
    id::{FrameId, NodeId, OpId, PersonaId},
};

use super::Group;
use crate::engine::dag::Entry;

/// An item of the control set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// Of the log.
    Op(OpId),
    /// Of a node.
    Frame(FrameId),
    /// Of a node, by this persona.
    Signature(NodeId, PersonaId),
    /// Of a frame, by this persona.
    Nack(FrameId, PersonaId),
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Number of ops, and of nodes and signatures that ever came, when it was made.
    covers: (usize, (usize, usize)),
    names: BTreeMap<Item, [u8; 32]>,
}

impl<M: Mls> Group<M> {
    /// Every control item under its name; causes before effects, parents before children.
    pub(super) fn control_items(&mut self) -> Vec<([u8; 32], Item)> {
        let came = (self.log.came(), self.dag.came());
        let mut items: Vec<_> =
            self.log.ops_in_order().map(|(id, _)| id).filter(|id| !self.log.is_bare(id)).map(Item::Op).collect();
        items.extend(self.dag.frames_in_order().into_iter().map(|(id, _)| Item::Frame(id)));
        items.extend(self.dag.signatures().map(|s| Item::Signature(s.node, s.persona)));
        items.extend(self.dag.nacks().map(|n| Item::Nack(n.frame, n.persona)));
        if self.catalogue.covers != came {
            let mut known = std::mem::take(&mut self.catalogue.names);
            let name = |item: &Item| known.remove(item).or_else(|| self.control_item(item).map(|c| c.hash()));
            self.catalogue.names = items
                .iter()
                .filter_map({
                    let mut name = name;
                    move |item| Some((*item, name(item)?))
                })
                .collect();
            self.catalogue.covers = came;
        }
        items.into_iter().filter_map(|item| Some((*self.catalogue.names.get(&item)?, item))).collect()
    }

    /// Whether an item is of a node of this epoch or an earlier one.
    pub(super) fn is_before(&self, item: &Item, epoch: u64) -> bool {
        let node = match item {
            Item::Op(_) => return false,
            Item::Frame(id) | Item::Nack(id, _) => self.dag.node_of(id),
            Item::Signature(node, _) => Some(*node),
        };
        node.and_then(|n| self.dag.entry(&n)).is_some_and(|e| e.depth <= epoch)
    }

    /// What extends a network: commits on its nodes, the one that ends it included, the ops that these realise, and
    /// signatures of its nodes.
    pub(super) fn extending(&self, network: &NodeId) -> BTreeSet<Item> {
        let within = |node: &NodeId| self.dag.entry(node).is_some_and(|e| e.network == *network);
        let on = |e: &&Entry<M::Node>| e.parent.is_some_and(|parent| within(&parent));
        let (mut items, mut heads) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.dag.nodes.values().filter(on) {
            items.extend(entry.made.as_ref().map(|m| Item::Frame(m.frame)));
            heads.extend(entry.heads.iter().copied());
        }
        let heads: Vec<_> = heads.into_iter().collect();
        items.extend(self.log.closure(&heads).into_iter().map(Item::Op));
        let signed = self.dag.signatures().filter(|s| within(&s.node));
        items.extend(signed.map(|s| Item::Signature(s.node, s.persona)));
        items
    }

    /// The item itself.
    pub(super) fn control_item(&self, item: &Item) -> Option<Control> {
        match item {
            Item::Op(id) => self.log.get(id).cloned().map(Control::Op),
            Item::Frame(id) => self.dag.frame(id).cloned().map(Control::Commit),
            Item::Signature(node, persona) => self.dag.signature(node, persona).map(Control::Signature),
            Item::Nack(frame, persona) => self.dag.nack(frame, persona).map(Control::Nack),
        }
    }
}
