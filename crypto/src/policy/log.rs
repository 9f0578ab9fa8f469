//! The log itself: a DAG of verified ops, and those that wait for a cause.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::OnceLock,
};

use hearth_protocol::{
    id::{GroupId, NodeId, OpId, PersonaId},
    op::{OP_LABEL, OpBody, OpContent, SignedOp, join_message},
};

use super::{OpError, PENDING_MAX, Seniority, bits::Bits, judge::HEADS_MAX, resolve::Resolver, rights::Verdict};
use crate::persona::verify;

/// An accepted op.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) index: usize,
    pub(crate) id: OpId,
    pub(crate) op: SignedOp,
    pub(crate) content: OpContent,
    /// All its causes, itself not included.
    pub(crate) past: Bits,
    /// Ops that name it in `prev`.
    pub(crate) children: u32,
    /// Its right in its own past, once computed, when no seniority had to be asked.
    pub(crate) verdict: OnceLock<Verdict>,
}

impl Entry {
    pub(crate) fn author(&self) -> PersonaId {
        self.content.persona
    }

    pub(crate) fn order(&self) -> (u64, OpId) {
        (self.content.lamport, self.id)
    }

    pub(crate) fn sees(&self, other: &Entry) -> bool {
        self.past.contains(other.index)
    }

    /// Whether what travels beside it is not here.
    fn is_bare(&self) -> bool {
        self.op.attached.is_none() && self.content.body.attachment().is_some()
    }
}

/// What an insertion did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inserted {
    /// Ops that are now part of the log: this one and those that waited for it, causes first.
    pub accepted: Vec<OpId>,
    /// Whether this one waits for a cause.
    pub waiting: bool,
    /// Whether it was here without its attachment, and has it now.
    pub filled: bool,
    /// Waiting ops given up: the oldest of too many, or found wrong once their causes came. They may be fetched again.
    pub dropped: Vec<OpId>,
}

/// The policy log of one group.
#[derive(Clone, Debug, Default)]
pub struct PolicyLog {
    group: Option<GroupId>,
    entries: Vec<Entry>,
    index: BTreeMap<OpId, usize>,
    /// Positions by (lamport, id): causes first, the same on every machine.
    order: Vec<usize>,
    by_author: BTreeMap<PersonaId, Vec<usize>>,
    heads: BTreeSet<OpId>,
    pending: VecDeque<(OpId, SignedOp, OpContent)>,
    /// Attachments that came after their ops.
    filled: usize,
}

impl PolicyLog {
    /// An empty log; the first Genesis names the group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty log of a group whose id is known, as from an invite link: no other Genesis is taken.
    #[must_use]
    pub fn for_group(group: GroupId) -> Self {
        Self { group: Some(group), ..Self::default() }
    }

    /// Takes an op from anybody. A duplicate changes nothing and accepts nothing.
    ///
    /// # Errors
    /// [`OpError`]; the log is then as before.
    pub fn insert(&mut self, op: SignedOp) -> Result<Inserted, OpError> {
        self.insert_inner(op, true)
    }

    /// Takes an op from the own sealed store, where only verified ops lie: as [`Self::insert`], signatures unchecked.
    ///
    /// # Errors
    /// [`OpError`].
    pub fn restore(&mut self, op: SignedOp) -> Result<Inserted, OpError> {
        self.insert_inner(op, false)
    }

    /// The same of a whole log, in any order. Causes go first: else most ops of a long log would have to wait for theirs,
    /// and only so many can.
    pub fn restore_all(&mut self, ops: impl Iterator<Item = SignedOp>) {
        let mut ops: Vec<_> = ops.filter_map(|op| Some((op.open().ok()?.lamport, op))).collect();
        ops.sort_by_key(|(lamport, _)| *lamport);
        for (_, op) in ops {
            let _ = self.restore(op);
        }
    }

    fn insert_inner(&mut self, op: SignedOp, verify_signatures: bool) -> Result<Inserted, OpError> {
        let id = op.id();
        if let Some(known) = self.index.get(&id).and_then(|i| self.entries.get_mut(*i)) {
            let filled = known.is_bare() && op.attached.is_some();
            if filled {
                (known.content, known.op) = (op.open()?, op);
                self.filled = self.filled.saturating_add(1);
            }
            return Ok(Inserted { filled, ..Inserted::default() });
        }
        let content = op.open()?;
        if let Some((_, waiting, known)) = self.pending.iter_mut().find(|(waiting, ..)| *waiting == id) {
            if op.attached.is_some() {
                (*waiting, *known) = (op, content);
            }
            return Ok(Inserted { waiting: true, ..Inserted::default() });
        }
        self.check_group(&id, &content)?;
        let message = [OP_LABEL, &op.content].concat();
        if verify_signatures && !verify(&content.persona.0, &message, &op.sig) {
            return Err(OpError::Signature);
        }
        let mut done = Inserted::default();
        if !content.prev.iter().all(|p| self.contains(p)) {
            self.pending.push_back((id, op, content));
            if self.pending.len() > PENDING_MAX {
                done.dropped.extend(self.pending.pop_front().map(|(oldest, ..)| oldest));
            }
            done.waiting = true;
            return Ok(done);
        }
        self.accept(id, op, content)?;
        done.accepted.push(id);
        self.release(&mut done);
        Ok(done)
    }

    fn check_group(&self, id: &OpId, content: &OpContent) -> Result<(), OpError> {
        let zero = GroupId([0; 32]);
        if let OpBody::Genesis { .. } = content.body {
            let first = content.group == zero && content.at_node == NodeId([0; 32]);
            let ours = self.entries.is_empty() && self.group.is_none_or(|g| g.0 == id.0);
            if !(first && ours) {
                return Err(OpError::OtherGroup);
            }
            return if content.lamport == 0 { Ok(()) } else { Err(OpError::Lamport) };
        }
        if content.group != zero && self.group.is_none_or(|g| g == content.group) {
            Ok(())
        } else {
            Err(OpError::OtherGroup)
        }
    }

    fn release(&mut self, done: &mut Inserted) {
        loop {
            let waiting = std::mem::take(&mut self.pending);
            let mut moved = false;
            for (id, op, content) in waiting {
                if self.group.is_some_and(|g| g != content.group) {
                    done.dropped.push(id);
                } else if !content.prev.iter().all(|p| self.contains(p)) {
                    self.pending.push_back((id, op, content));
                } else if self.accept(id, op, content).is_ok() {
                    done.accepted.push(id);
                    moved = true;
                } else {
                    done.dropped.push(id);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// All causes are here.
    fn accept(&mut self, id: OpId, op: SignedOp, content: OpContent) -> Result<(), OpError> {
        let mut past = Bits::default();
        let mut greatest = None;
        for prev in content.prev.iter().filter_map(|p| self.entry(p)) {
            past.union(&prev.past);
            past.insert(prev.index);
            greatest = greatest.max(Some(prev.content.lamport));
        }
        if content.lamport != greatest.map_or(0, |g| g.saturating_add(1)) {
            return Err(OpError::Lamport);
        }
        self.check_join(&content, &past)?;
        if content.prev.is_empty() {
            self.group = Some(GroupId(id.0));
        }
        let index = self.entries.len();
        self.adopt(Entry { index, id, op, content, past, children: 0, verdict: OnceLock::new() });
        Ok(())
    }

    /// Puts an entry in its place.
    fn adopt(&mut self, entry: Entry) {
        let Entry { index, id, content, .. } = &entry;
        let (index, id) = (*index, *id);
        for prev in &content.prev {
            self.heads.remove(prev);
            if let Some(entry) = self.index.get(prev).and_then(|i| self.entries.get_mut(*i)) {
                entry.children = entry.children.saturating_add(1);
            }
        }
        self.heads.insert(id);
        self.index.insert(id, index);
        self.by_author.entry(content.persona).or_default().push(index);
        let key = (content.lamport, id);
        let place = self.order.partition_point(|i| self.entries.get(*i).is_some_and(|e| e.order() < key));
        self.order.insert(place, index);
        self.entries.push(entry);
    }

    /// What of a Join can be checked for good: everything else depends on where it is read.
    fn check_join(&self, content: &OpContent, past: &Bits) -> Result<(), OpError> {
        let OpBody::Join { invite, slot, invite_sig, .. } = &content.body else { return Ok(()) };
        let named = self.entry(invite).filter(|e| past.contains(e.index)).ok_or(OpError::Join)?;
        let OpBody::Invite { join_pk, uses, .. } = &named.content.body else { return Err(OpError::Join) };
        let message = join_message(&content.group, &content.persona, &content.device, invite, *slot);
        if slot < uses && verify(join_pk, &message, invite_sig) { Ok(()) } else { Err(OpError::Join) }
    }

    /// The group, once known.
    #[must_use]
    pub fn group(&self) -> Option<GroupId> {
        self.group
    }

    /// Number of ops.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Grows with everything that comes: ops, and attachments that were missing.
    #[must_use]
    pub fn came(&self) -> usize {
        self.entries.len().saturating_add(self.filled)
    }

    /// Whether an op is here without its attachment, as from a door: it is not offered to others, so that theirs comes.
    #[must_use]
    pub fn is_bare(&self, id: &OpId) -> bool {
        self.entry(id).is_some_and(Entry::is_bare)
    }

    /// Whether no op is here yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the op is part of the log; waiting ops are not.
    #[must_use]
    pub fn contains(&self, id: &OpId) -> bool {
        self.index.contains_key(id)
    }

    /// The op as it travels.
    #[must_use]
    pub fn get(&self, id: &OpId) -> Option<&SignedOp> {
        self.entry(id).map(|e| &e.op)
    }

    /// The op's content.
    #[must_use]
    pub fn content(&self, id: &OpId) -> Option<&OpContent> {
        self.entry(id).map(|e| &e.content)
    }

    /// Ops that no other names, sorted.
    #[must_use]
    pub fn heads(&self) -> Vec<OpId> {
        self.heads.iter().copied().collect()
    }

    /// Every op, causes first, in the same order on every machine.
    pub fn ops_in_order(&self) -> impl Iterator<Item = (OpId, &SignedOp)> {
        self.ordered().map(|e| (e.id, &e.op))
    }

    /// Ops that wait for their causes.
    pub fn waiting(&self) -> impl Iterator<Item = (OpId, &SignedOp)> {
        self.pending.iter().map(|(id, op, _)| (*id, op))
    }

    /// Causes that waiting ops name and nobody has brought yet: what to ask others for.
    #[must_use]
    pub fn missing(&self) -> BTreeSet<OpId> {
        let waiting: BTreeSet<_> = self.pending.iter().map(|(id, ..)| *id).collect();
        let named = self.pending.iter().flat_map(|(.., content)| &content.prev);
        named.filter(|p| !self.contains(p) && !waiting.contains(p)).copied().collect()
    }

    /// `heads` and everything they rest on, causes first. Unknown heads are left out.
    #[must_use]
    pub fn closure(&self, heads: &[OpId]) -> Vec<OpId> {
        let set = self.closure_bits(heads);
        self.ordered().filter(|e| set.contains(e.index)).map(|e| e.id).collect()
    }

    /// Whether every one of `ops` lies in the closure of `heads`.
    #[must_use]
    pub fn covers(&self, heads: &[OpId], ops: &[OpId]) -> bool {
        let set = self.closure_bits(heads);
        ops.iter().all(|id| self.entry(id).is_some_and(|e| set.contains(e.index)))
    }

    /// `ids` without those that others of them rest on, sorted. Unknown ones are left out.
    #[must_use]
    pub fn reduce(&self, ids: &[OpId]) -> Vec<OpId> {
        let entries: Vec<_> = ids.iter().filter_map(|id| self.entry(id)).collect();
        let top = entries.iter().filter(|e| !entries.iter().any(|other| other.sees(e)));
        top.map(|e| e.id).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The heads that a commit on a node with these (effective) heads can write: all that is known and that its author had
    /// a right to, without what rests on a Join which no ancestor has realised, or on what nobody had a right to; sorted.
    /// Honest authors name these in `prev`. Of more than a node may bind those come first that rest on the most.
    #[must_use]
    pub fn heads_above(&self, heads: &[OpId], seniority: &dyn Seniority) -> Vec<OpId> {
        let base = self.closure_bits(heads);
        let mut resolver = Resolver::new(self, seniority);
        resolver.judge_all(self.ordered());
        let mut blocked = Bits::default();
        let mut free = Vec::new();
        for entry in self.ordered() {
            let join = matches!(entry.content.body, OpBody::Join { .. });
            let rightless = resolver.verdict(entry).is_some_and(Result::is_err);
            let through = entry.content.prev.iter().filter_map(|p| self.entry(p)).any(|p| blocked.contains(p.index));
            if (join || rightless || through) && !base.contains(entry.index) {
                blocked.insert(entry.index);
            } else {
                free.push(entry);
            }
        }
        let mut inner = Bits::default();
        free.iter().for_each(|e| inner.union(&e.past));
        let mut top: Vec<_> = free.iter().filter(|e| !inner.contains(e.index)).collect();
        top.sort_by_key(|e| (!base.contains(e.index), Reverse(e.order())));
        top.truncate(HEADS_MAX);
        top.iter().map(|e| e.id).collect::<BTreeSet<_>>().into_iter().collect()
    }

    pub(crate) fn entry(&self, id: &OpId) -> Option<&Entry> {
        self.index.get(id).and_then(|i| self.entries.get(*i))
    }

    pub(crate) fn ordered(&self) -> impl Iterator<Item = &Entry> {
        self.order.iter().filter_map(|i| self.entries.get(*i))
    }

    pub(crate) fn authored_by(&self, persona: &PersonaId) -> impl Iterator<Item = &Entry> {
        self.by_author.get(persona).into_iter().flatten().filter_map(|i| self.entries.get(*i))
    }

    pub(crate) fn closure_bits(&self, heads: &[OpId]) -> Bits {
        let mut set = Bits::default();
        for entry in heads.iter().filter_map(|id| self.entry(id)) {
            set.union(&entry.past);
            set.insert(entry.index);
        }
        set
    }
}
