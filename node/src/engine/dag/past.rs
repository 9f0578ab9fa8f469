//! What is kept of nodes that lie behind: forward secrecy reaches back as far as their secrets do.
//!
//! From the secrets of a node those of the nodes below it follow, and with them the keys of messages that were opened and
//! forgotten there. So once a node is final, those that it supersedes keep what opens late messages, and nothing else; after
//! a while not that either.

use std::{cmp::Reverse, collections::BTreeSet};

use hearth_crypto::{mls::MlsNode, select::Class};
use hearth_protocol::{id::NodeId, time::Timestamp};

use super::Dag;

/// A superseded node keeps its secrets this long: somebody's signature may be on its way that shows two versions to be final.
const IN_FULL_MS: u64 = 3_600_000;
/// And what opens its messages this long.
const READABLE_MS: u64 = 14 * 24 * 3_600_000;
/// Depth below the tip whose state is kept in full, whatever is final.
pub(super) const RETAIN: u64 = 24;
/// About how many bytes all superseded nodes take: who wakes after weeks follows hundreds of commits before it reads what was
/// said on the way. The oldest give way.
const READABLE_BYTES: usize = 32 * 1024 * 1024;
/// About what one takes, and for each leaf.
const NODE_BYTES: usize = 2_048;
const LEAF_BYTES: usize = 1_024;

/// What changed.
#[derive(Debug, Default)]
pub(crate) struct Faded {
    /// Nodes that are superseded, since now, or no longer.
    pub(crate) since: Vec<(NodeId, Option<Timestamp>)>,
    /// Nodes that only read from now on.
    pub(crate) readers: Vec<NodeId>,
    /// Nodes of which nothing is left.
    pub(crate) gone: Vec<NodeId>,
    /// When to look next.
    pub(crate) due: Option<Timestamp>,
}

impl<N: MlsNode> Dag<N> {
    /// Lets go of what is superseded, each as it is time; of everything, where this member takes no part any more.
    pub(crate) fn fade(&mut self, takes_part: bool, now: Timestamp) -> Faded {
        let mut faded = Faded::default();
        let Some(tip) = self.tip_entry().map(|e| e.depth) else { return faded };
        let needed = if takes_part { self.needed() } else { BTreeSet::new() };
        let mut superseded = Vec::new();
        for (node, entry) in &mut self.nodes {
            let Some(state) = &mut entry.state else { continue };
            let deep = entry.depth.saturating_add(RETAIN) < tip;
            if !state.can_read() {
                // Rebuilt from what everybody has, whenever it is needed.
                if deep {
                    entry.state = None;
                }
                continue;
            }
            let was = entry.superseded;
            entry.superseded = (deep || !needed.contains(node)).then(|| was.unwrap_or(now));
            if entry.superseded != was {
                faded.since.push((*node, entry.superseded));
            }
            let Some(since) = entry.superseded else { continue };
            let (in_full, readable) = (since.plus_ms(IN_FULL_MS), since.plus_ms(READABLE_MS));
            if (deep || in_full <= now) && state.has_secrets() {
                state.only_read();
                faded.readers.push(*node);
            }
            let bytes = NODE_BYTES + LEAF_BYTES * entry.facts.leaves.len();
            superseded.push((Reverse(since), Reverse(entry.depth), bytes, *node));
            let due = if state.has_secrets() { in_full } else { readable };
            if due > now {
                faded.due = Some(faded.due.map_or(due, |d| d.min(due)));
            }
        }
        superseded.sort_unstable();
        let mut room = READABLE_BYTES;
        for (Reverse(since), _, bytes, node) in superseded {
            if since.plus_ms(READABLE_MS) <= now || room < bytes {
                faded.gone.push(node);
            }
            room = room.saturating_sub(bytes);
        }
        for node in &faded.gone {
            if let Some(entry) = self.nodes.get_mut(node) {
                (entry.state, entry.superseded) = (None, None);
            }
        }
        faded
    }

    /// Nodes that are held and that something may still follow from: what is final as far as this member could follow, what
    /// lies below it, and above it up to a node that a newcomer can begin at.
    fn needed(&self) -> BTreeSet<NodeId> {
        let mut needed = BTreeSet::new();
        let mut at = Some(self.certified);
        let (mut anchor, mut followed) = (self.base, false);
        while let Some((node, entry)) = at.and_then(|node| Some((node, self.nodes.get(&node)?))) {
            if !followed && entry.state.as_ref().is_some_and(MlsNode::has_secrets) {
                (anchor, followed) = (node, true);
            }
            if followed {
                needed.insert(node);
                if entry.made.as_ref().is_none_or(|m| m.class == Class::Committer) {
                    break;
                }
            }
            at = entry.parent;
        }
        let held = self.nodes.iter().filter(|(_, e)| e.state.is_some());
        needed.extend(held.map(|(node, _)| node).filter(|node| self.descends(node, &anchor)));
        needed
    }

    /// When a node from disk was superseded.
    pub(crate) fn restore_superseded(&mut self, node: &NodeId, since: Timestamp) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.superseded = Some(since);
        }
    }
}
