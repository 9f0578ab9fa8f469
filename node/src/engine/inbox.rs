//! What came in and cannot be used yet: parts of larger packets, and packets of nodes that are not known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hearth_protocol::{cbor, id::hash, limits::PARTS_MAX, packet::Packet};

/// Packet hashes remembered, so that a copy by another way costs nothing.
const SEEN: usize = 8_192;
/// Objects being put together at once; the oldest gives way and comes again by sync.
const OBJECTS: usize = 8;
/// Packets of unknown nodes; the oldest gives way and comes again by sync.
const PENDING: usize = 2_000;

/// See the module's page.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    seen: BTreeSet<[u8; 32]>,
    seen_order: VecDeque<[u8; 32]>,
    objects: VecDeque<Object>,
    pending: VecDeque<([u8; 32], Packet)>,
}

#[derive(Debug)]
struct Object {
    id: [u8; 32],
    count: u16,
    parts: BTreeMap<u16, Vec<u8>>,
}

impl Inbox {
    /// True the first time these bytes are seen.
    pub(crate) fn is_new(&mut self, packet: &[u8]) -> bool {
        let id = hash(&[packet]);
        if !self.seen.insert(id) {
            return false;
        }
        self.seen_order.push_back(id);
        if self.seen_order.len() > SEEN
            && let Some(old) = self.seen_order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }

    /// Takes a part; gives the packet when it is whole and its hash is right.
    pub(crate) fn part(&mut self, id: [u8; 32], index: u16, count: u16, bytes: Vec<u8>) -> Option<Packet> {
        if index >= count || usize::from(count) > PARTS_MAX {
            return None;
        }
        let at = self.objects.iter().position(|o| o.id == id && o.count == count).unwrap_or_else(|| {
            if self.objects.len() >= OBJECTS {
                self.objects.pop_front();
            }
            self.objects.push_back(Object { id, count, parts: BTreeMap::new() });
            self.objects.len() - 1
        });
        let object = self.objects.get_mut(at)?;
        object.parts.insert(index, bytes);
        if object.parts.len() < usize::from(count) {
            return None;
        }
        let object = self.objects.remove(at)?;
        let whole: Vec<u8> = object.parts.into_values().flatten().collect();
        if hash(&[&whole]) != id {
            return None;
        }
        cbor::read(&whole).ok().filter(|p| !matches!(p, Packet::Part { .. }))
    }

    /// Keeps a packet for later. Returns its key for the disk, and the key of one that had to go.
    pub(crate) fn hold(&mut self, packet: Packet) -> ([u8; 32], Option<[u8; 32]>) {
        let key = hash(&[b"pending", &cbor::to_vec(&packet)]);
        if self.pending.iter().any(|(k, _)| *k == key) {
            return (key, None);
        }
        self.pending.push_back((key, packet));
        let out = if self.pending.len() > PENDING { self.pending.pop_front().map(|(k, _)| k) } else { None };
        (key, out)
    }

    /// Everything that was held, to be tried again.
    pub(crate) fn take(&mut self) -> VecDeque<([u8; 32], Packet)> {
        std::mem::take(&mut self.pending)
    }

    /// Whether anything waits.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use hearth_protocol::id::NodeId;

    use super::*;
    use crate::engine::outbox::parts_of;

    #[test]
    fn parts_in_any_order_and_twice_make_one_packet() {
        let packet = Packet::App { node: NodeId([3; 32]), mls: vec![7; 60_000] };
        let mut parts = parts_of(&packet);
        parts.reverse();
        let mut inbox = Inbox::default();
        let mut whole = Vec::new();
        for p in parts.iter().chain(&parts.clone()[..2]) {
            if let Ok(Packet::Part { object, index, count, bytes }) = cbor::read(p) {
                whole.extend(inbox.part(object, index, count, bytes));
            }
        }
        assert_eq!(whole, vec![packet]);
        assert_eq!(inbox.part([0; 32], 5, 5, vec![]), None);
        assert_eq!(inbox.part([0; 32], 0, 1, vec![9]), None, "the hash must be right");
    }

    #[test]
    fn a_copy_is_seen_and_memory_is_bounded() {
        let mut inbox = Inbox::default();
        assert!(inbox.is_new(b"a") && !inbox.is_new(b"a"));
        for n in 0..3_000u64 {
            inbox.hold(Packet::App { node: NodeId([1; 32]), mls: n.to_be_bytes().to_vec() });
        }
        assert_eq!(inbox.take().len(), PENDING);
        for n in 0..20_000u64 {
            inbox.is_new(&n.to_be_bytes());
        }
        assert!(inbox.seen.len() <= SEEN);
    }
}
