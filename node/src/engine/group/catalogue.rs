//! Names under which ops, frames and signatures are reconciled: the hash of each as a control item, worked out once.

use std::collections::BTreeMap;

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    frame::Control,
    id::{FrameId, NodeId, OpId, PersonaId},
};

use super::Group;

/// An item of the control set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// Of the log.
    Op(OpId),
    /// Of a node.
    Frame(FrameId),
    /// Of a node, by this persona.
    Signature(NodeId, PersonaId),
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Number of ops, nodes and signatures that it covers.
    covers: (usize, (usize, usize)),
    names: BTreeMap<Item, [u8; 32]>,
}

impl<M: Mls> Group<M> {
    /// Every control item under its name; causes before effects, parents before children.
    pub(super) fn control_items(&mut self) -> Vec<([u8; 32], Item)> {
        let size = (self.log.len(), self.dag.size());
        let mut items: Vec<_> = self.log.ops_in_order().map(|(id, _)| Item::Op(id)).collect();
        items.extend(self.dag.frames_in_order().into_iter().map(|(id, _)| Item::Frame(id)));
        items.extend(self.dag.signatures().map(|s| Item::Signature(s.node, s.persona)));
        if self.catalogue.covers != size {
            for item in &items {
                if !self.catalogue.names.contains_key(item)
                    && let Some(control) = self.control_item(item)
                {
                    self.catalogue.names.insert(*item, control.hash());
                }
            }
            self.catalogue.covers = size;
        }
        items.into_iter().filter_map(|item| Some((*self.catalogue.names.get(&item)?, item))).collect()
    }

    /// The item itself.
    pub(super) fn control_item(&self, item: &Item) -> Option<Control> {
        match item {
            Item::Op(id) => self.log.get(id).cloned().map(Control::Op),
            Item::Frame(id) => self.dag.frame(id).cloned().map(Control::Commit),
            Item::Signature(node, persona) => self.dag.signature(node, persona).map(Control::Signature),
        }
    }
}
