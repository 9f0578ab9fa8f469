//! Frames of twins that were thinned out. They are at hand when somebody else turns out to have built on one, or to have
//! signed it, for no relay shows a frame twice; and while they are, the same frame once more costs nothing.

use std::collections::{BTreeSet, VecDeque};

use hearth_crypto::{
    mls::{Mls, MlsNode},
    policy::PolicyLog,
};
use hearth_protocol::{
    frame::CommitFrame,
    id::{FrameId, NodeId},
};

use super::{Dag, Left, Offered};

/// Frames set aside; the one that was for longest gives way, and whoever keeps its node brings it again by sync.
const ASIDE: usize = 128;
/// Bytes of them.
const ASIDE_BYTES: usize = 8 * 1024 * 1024;

/// A frame that is set aside.
#[derive(Debug)]
struct Put {
    id: FrameId,
    frame: CommitFrame,
    /// The node that it made.
    node: NodeId,
    /// Nothing was wrong with it but what it hangs on.
    hangs: bool,
}

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Aside {
    frames: VecDeque<Put>,
    /// Number of ops, and what was final, when it was last looked who is named.
    seen: (usize, Option<NodeId>),
    /// Nodes that were taken back because somebody stood there: once is enough.
    stood: BTreeSet<NodeId>,
    /// Frames that wait, and for which nodes were taken back: once is enough.
    called: BTreeSet<FrameId>,
}

impl Aside {
    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> {
        self.frames.iter().map(|put| put.node)
    }

    fn put(&mut self, put: Put) {
        self.frames.push_back(put);
        let bytes = |all: &VecDeque<Put>| all.iter().map(|put| put.frame.commit.len()).sum::<usize>();
        while self.frames.len() > ASIDE || bytes(&self.frames) > ASIDE_BYTES {
            self.frames.pop_front();
        }
    }
}

impl<N: MlsNode> Dag<N> {
    pub(super) fn is_aside(&self, id: &FrameId) -> bool {
        self.aside.frames.iter().any(|put| put.id == *id)
    }

    /// Frames that are set aside.
    pub(crate) fn aside(&self) -> impl Iterator<Item = (FrameId, &CommitFrame)> {
        self.aside.frames.iter().map(|put| (put.id, &put.frame))
    }

    /// Takes these nodes out, with all below them, and keeps their frames. Returns whose rows are to go.
    pub(super) fn set_aside(&mut self, go: &BTreeSet<NodeId>) -> Left {
        if self.aside.frames.is_empty() {
            self.aside.seen.1 = Some(self.certified);
        }
        let mut left = Left::default();
        for node in go {
            let Some(entry) = self.nodes.remove(node) else { continue };
            left.nodes.push(*node);
            left.frames.extend(entry.made.map(|made| (entry.depth, made.frame)));
        }
        left.frames.sort_unstable();
        for (_, id) in &left.frames {
            if let Some((frame, node)) = self.frames.remove(id) {
                let hangs = go.contains(&frame.parent);
                self.aside.put(Put { id: *id, frame, node, hangs });
            }
            self.nacks.unopened.remove(id);
        }
        left.signatures = self.signatures.known.keys().filter(|(node, _)| go.contains(node)).copied().collect();
        self.signatures.known.retain(|(node, _), _| !go.contains(node));
        left.nacks = self.nacks.known.keys().filter(|(frame, _)| !self.frames.contains_key(frame)).copied().collect();
        self.nacks.known.retain(|(frame, _), _| self.frames.contains_key(frame));
        self.next.take_if(|(node, _)| go.contains(node));
        left
    }

    /// Offers again what somebody turns out to speak of, and what hung on it. Returns the nodes made.
    pub(crate) fn recall<M: Mls<Node = N>>(&mut self, mls: &M, log: &mut PolicyLog) -> Vec<NodeId> {
        let mut made = Vec::new();
        loop {
            let back = self.take_back(log);
            if back.is_empty() {
                return made;
            }
            for put in back {
                if let Offered::Accepted(node) = self.offer(mls, log, put.frame) {
                    made.push(node);
                }
            }
        }
    }

    fn take_back(&mut self, log: &PolicyLog) -> VecDeque<Put> {
        if self.aside.frames.is_empty() {
            return VecDeque::new();
        }
        let mut named = self.named(log);
        let returned = |put: &&Put| put.hangs && self.nodes.contains_key(&put.frame.parent);
        named.extend(self.aside.frames.iter().filter(returned).map(|put| put.node));
        // Whoever speaks of a node needs those above it.
        let mut known = 0;
        while known < named.len() {
            known = named.len();
            let above = self.aside.frames.iter().filter(|put| named.contains(&put.node)).map(|put| put.frame.parent);
            named.extend(above.collect::<Vec<_>>());
        }
        let all = std::mem::take(&mut self.aside.frames);
        let (back, stay) = all.into_iter().partition(|put| named.contains(&put.node));
        self.aside.frames = stay;
        back
    }

    /// Nodes that something names which is not here, or waits.
    fn named(&mut self, log: &PolicyLog) -> BTreeSet<NodeId> {
        let mut named: BTreeSet<_> = self.early_signatures().map(|(_, signature)| signature.node).collect();
        let refused: BTreeSet<_> = self.early_nacks().map(|(_, nack)| nack.frame).collect();
        named.extend(self.aside.frames.iter().filter(|put| refused.contains(&put.id)).map(|put| put.node));
        let waiting: BTreeSet<_> = self.waiting.iter().map(|(id, ..)| *id).collect();
        self.aside.called.retain(|id| waiting.contains(id));
        for (id, frame, missing) in &self.waiting {
            // What waits for an op has been looked at.
            if missing.map_or_else(|| self.aside.called.insert(*id), |op| log.contains(&op)) {
                named.insert(frame.parent);
            }
        }
        let (ops, last) = std::mem::replace(&mut self.aside.seen, (log.len(), Some(self.certified)));
        if last != Some(self.certified) {
            // Below what is final others may be left undone than were before.
            let below = |put: &&Put| self.descends(&put.frame.parent, &self.certified);
            named.extend(self.aside.frames.iter().filter(below).map(|put| put.node));
        }
        if ops != log.len() {
            let stood: BTreeSet<_> = self.stood(log).into_iter().map(|(node, _)| node).collect();
            let here = self.aside.nodes().filter(|node| stood.contains(node));
            for node in here.collect::<Vec<_>>() {
                if self.aside.stood.insert(node) {
                    named.insert(node);
                }
            }
        }
        named
    }

    /// Lets go of what hangs on nodes that are not here any more.
    pub(super) fn leave_aside(&mut self) {
        let mut frames = std::mem::take(&mut self.aside.frames);
        let aside: BTreeSet<_> = frames.iter().map(|put| put.node).collect();
        frames.retain(|put| aside.contains(&put.frame.parent) || self.nodes.contains_key(&put.frame.parent));
        self.aside.frames = frames;
        self.aside.stood.clear();
    }
}
