//! Names under which ops and frames are reconciled: the hash of each as a control item, worked out once.

use std::collections::BTreeMap;

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    frame::Control,
    id::{FrameId, OpId},
};

use super::Group;

/// An item of the control set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// Of the log.
    Op(OpId),
    /// Of a node.
    Frame(FrameId),
}

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    /// Number of ops and nodes that it covers.
    covers: (usize, usize),
    names: BTreeMap<Item, [u8; 32]>,
}

impl<M: Mls> Group<M> {
    /// Every control item under its name; causes before effects, parents before children.
    pub(super) fn control_items(&mut self) -> Vec<([u8; 32], Item)> {
        let size = (self.log.len(), self.dag.nodes.len());
        let mut items: Vec<_> = self.log.ops_in_order().map(|(id, _)| Item::Op(id)).collect();
        items.extend(self.dag.frames_in_order().into_iter().map(|(id, _)| Item::Frame(id)));
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
        }
    }
}
