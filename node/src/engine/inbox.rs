//! What came in and cannot be used yet: parts of larger packets, and packets of nodes that are not known.

use std::collections::{BTreeMap, VecDeque};

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
    /// Each with whether a relay has it.
    seen: BTreeMap<[u8; 32], bool>,
    seen_order: VecDeque<[u8; 32]>,
    objects: VecDeque<Object>,
    pending: VecDeque<([u8; 32], Packet)>,
}

#[derive(Debug)]
struct Object {
    id: [u8; 32],
    count: u16,
    /// Each with the key of its row.
    parts: BTreeMap<u16, (Vec<u8>, [u8; 32])>,
}

/// What became of a part.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// The packet that it made whole.
    pub(crate) whole: Option<Packet>,
    /// Its own key, if it waits for others and is new.
    pub(crate) kept: Option<[u8; 32]>,
    /// Keys of parts that wait no more.
    pub(crate) gone: Vec<[u8; 32]>,
}

/// The key that a packet is held under.
pub(crate) fn key_of(packet: &Packet) -> [u8; 32] {
    hash(&[b"pending", &cbor::to_vec(packet)])
}

impl Object {
    fn keys(&self) -> impl Iterator<Item = [u8; 32]> {
        self.parts.values().map(|(_, key)| *key)
    }
}

impl Inbox {
    /// True the first time these bytes are seen.
    pub(crate) fn is_new(&mut self, packet: &[u8]) -> bool {
        self.note(hash(&[packet]), false)
    }

    /// A relay has the packet with this hash. True the first time it is seen.
    pub(crate) fn is_new_at_relay(&mut self, id: [u8; 32]) -> bool {
        self.note(id, true)
    }

    fn note(&mut self, id: [u8; 32], at_relay: bool) -> bool {
        if let Some(known) = self.seen.get_mut(&id) {
            *known |= at_relay;
            return false;
        }
        self.seen.insert(id, at_relay);
        self.seen_order.push_back(id);
        if self.seen_order.len() > SEEN
            && let Some(old) = self.seen_order.pop_front()
        {
            self.seen.remove(&old);
        }
        true
    }

    /// Whether a relay is known to have the packet with this hash.
    pub(crate) fn is_at_relay(&self, id: &[u8; 32]) -> bool {
        self.seen.get(id).is_some_and(|stored| *stored)
    }

    /// Takes a part; gives the packet when it is whole and its hash is right. `key` is the part's own.
    pub(crate) fn part(&mut self, id: [u8; 32], index: u16, count: u16, bytes: Vec<u8>, key: [u8; 32]) -> Taken {
        let mut taken = Taken::default();
        if index >= count || usize::from(count) > PARTS_MAX {
            return taken;
        }
        let at = self.objects.iter().position(|o| o.id == id && o.count == count).unwrap_or_else(|| {
            if self.objects.len() >= OBJECTS {
                taken.gone.extend(self.objects.pop_front().iter().flat_map(Object::keys));
            }
            self.objects.push_back(Object { id, count, parts: BTreeMap::new() });
            self.objects.len() - 1
        });
        let Some(object) = self.objects.get_mut(at) else { return taken };
        let old = object.parts.insert(index, (bytes, key)).map(|(_, old)| old);
        taken.gone.extend(old.filter(|old| *old != key));
        if object.parts.len() < usize::from(count) {
            taken.kept = Some(key).filter(|_| old != Some(key));
            return taken;
        }
        let Some(object) = self.objects.remove(at) else { return taken };
        taken.gone.extend(object.keys().filter(|k| *k != key));
        let whole: Vec<u8> = object.parts.into_values().flat_map(|(bytes, _)| bytes).collect();
        if hash(&[&whole]) == id {
            taken.whole = cbor::read(&whole).ok().filter(|p| !matches!(p, Packet::Part { .. }));
        }
        taken
    }

    /// Keeps a packet for later. Returns its key for the disk, and the key of one that had to go.
    pub(crate) fn hold(&mut self, packet: Packet) -> ([u8; 32], Option<[u8; 32]>) {
        let key = key_of(&packet);
        if self.pending.iter().any(|(k, _)| *k == key) {
            return (key, None);
        }
        self.pending.push_back((key, packet));
        let out = if self.pending.len() > PENDING { self.pending.pop_front().map(|(k, _)| k) } else { None };
        (key, out)
    }

    /// A packet from disk, of any kind; its bounds held when it was written.
    pub(crate) fn restore(&mut self, packet: Packet) {
        self.pending.push_back((key_of(&packet), packet));
    }

    /// Keys of everything that is held.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &[u8; 32]> {
        let parts = self.objects.iter().flat_map(|o| o.parts.values()).map(|(_, key)| key);
        self.pending.iter().map(|(key, _)| key).chain(parts)
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
    use std::collections::BTreeSet;

    use hearth_protocol::id::NodeId;

    use super::*;
    use crate::engine::outbox::parts_of;

    #[test]
    fn parts_in_any_order_and_twice_make_one_packet() {
        let packet = Packet::App { node: NodeId([3; 32]), mls: vec![7; 60_000] };
        let mut parts = parts_of(&packet);
        parts.reverse();
        let mut inbox = Inbox::default();
        let (mut whole, mut kept) = (Vec::new(), BTreeSet::new());
        let mut last = vec![parts[0].clone(), parts[0].clone()];
        last.splice(1..1, parts[1..].to_vec());
        for (n, p) in last.iter().enumerate() {
            let part = cbor::read(p).unwrap();
            let key = key_of(&part);
            if let Packet::Part { object, index, count, bytes } = part {
                let taken = inbox.part(object, index, count, bytes, key);
                kept.extend(taken.kept);
                taken.gone.iter().for_each(|k| assert!(kept.remove(k), "a row that was never written"));
                whole.extend(taken.whole);
            }
            // What is on disk is exactly what waits.
            assert_eq!(inbox.pending().copied().collect::<BTreeSet<_>>(), kept, "after part {n}");
        }
        assert_eq!((whole, kept.len()), (vec![packet], 1), "the copy of the first part waits for others");
        assert_eq!(inbox.part([0; 32], 5, 5, vec![], [1; 32]), Taken::default());
        assert_eq!(inbox.part([0; 32], 0, 1, vec![9], [1; 32]), Taken::default(), "the hash must be right");
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
