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
/// Superseded nodes of which anything is kept; the oldest give way.
const SUPERSEDED_MAX: usize = 64;

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
            superseded.push((Reverse(since), Reverse(entry.depth), *node));
            let due = if state.has_secrets() { in_full } else { readable };
            if due > now {
                faded.due = Some(faded.due.map_or(due, |d| d.min(due)));
            }
        }
        superseded.sort_unstable();
        let too_old = |at: usize, since: Timestamp| at >= SUPERSEDED_MAX || since.plus_ms(READABLE_MS) <= now;
        let gone = superseded.into_iter().enumerate().filter(|(at, (since, ..))| too_old(*at, since.0));
        faded.gone = gone.map(|(_, (.., node))| node).collect();
        for node in &faded.gone {
            if let Some(entry) = self.nodes.get_mut(node) {
                (entry.state, entry.superseded) = (None, None);
            }
        }
        faded
    }

    /// Nodes that something may still follow from: what is final as far as this member could follow, what lies below it, and
    /// above it up to a node that a newcomer can begin at.
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
        needed.extend(self.nodes.keys().filter(|node| self.descends(node, &anchor)));
        needed
    }

    /// When a node from disk was superseded.
    pub(crate) fn restore_superseded(&mut self, node: &NodeId, since: Timestamp) {
        if let Some(entry) = self.nodes.get_mut(node) {
            entry.superseded = Some(since);
        }
    }
}
