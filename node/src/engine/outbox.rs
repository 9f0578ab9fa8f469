//! What waits to be delivered: packets with, per relay, what has been acknowledged. Survives every stop.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::{
    cbor,
    id::{EnvelopeId, NodeId, PersonaId, hash},
    limits::{PACKET_MAX, PART_BYTES},
    packet::Packet,
    time::{Day, Timestamp},
};
use minicbor::{Decode, Encode, bytes::ByteVec};

/// Items that may wait; beyond that new posts are refused, never dropped.
pub(crate) const ITEMS_MAX: usize = 20_000;

/// A packet on its way to the relays.
#[derive(Clone, Debug, Encode, Decode)]
pub(crate) struct Item {
    /// Position in the outbox: items go out in this order.
    #[n(0)]
    pub(crate) number: u64,
    /// Encodings of packets that each fit one frame.
    #[n(1)]
    pub(crate) parts: Vec<ByteVec>,
    /// Control queue, or the day's.
    #[n(2)]
    pub(crate) control: bool,
    /// Network it belongs to.
    #[n(3)]
    pub(crate) network: NodeId,
    /// Day whose queue it goes into.
    #[n(4)]
    pub(crate) day: Day,
    /// The own envelope it carries, if one.
    #[n(5)]
    pub(crate) envelope: Option<EnvelopeId>,
    /// Relays that hold all of it.
    #[n(6)]
    pub(crate) held: Vec<String>,
    /// When it was queued.
    #[n(7)]
    pub(crate) since: Timestamp,
}

/// Where an own message is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Delivered {
    /// Relays that acknowledged it.
    #[n(0)]
    pub(crate) relays: Vec<String>,
    /// Members that acknowledged it, sorted.
    #[n(1)]
    pub(crate) reached: Vec<PersonaId>,
}

/// Queues that take blobs now: network, and day or control.
pub(crate) type Open = BTreeSet<(NodeId, Option<Day>)>;

/// Everything that waits, and where own messages are.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    items: BTreeMap<u64, Item>,
    next: u64,
    /// Parts acknowledged in this run, by relay and item: (relay, number) → part indexes.
    acked: BTreeMap<(String, u64), BTreeSet<usize>>,
    /// Parts under way in this run.
    under_way: BTreeSet<(String, u64, usize)>,
    pub(crate) delivered: BTreeMap<EnvelopeId, Delivered>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= ITEMS_MAX
    }

    /// Queues a packet; the caller writes the returned item to disk.
    pub(crate) fn push(&mut self, item: Item) -> &Item {
        self.next = self.next.max(item.number + 1);
        self.items.entry(item.number).or_insert(item)
    }

    pub(crate) fn next_number(&self) -> u64 {
        self.next
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Item> {
        self.items.get(&number)
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &Item> {
        self.items.values()
    }

    /// Takes an item out.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Item> {
        self.acked.retain(|(_, n), _| *n != number);
        self.under_way.retain(|(_, n, _)| *n != number);
        self.items.remove(&number)
    }

    /// The earliest day whose queue something waits for.
    pub(crate) fn first_day(&self) -> Option<Day> {
        self.items.values().filter(|i| !i.control).map(|i| i.day).min()
    }

    /// Parts that a relay does not have and that are not under way, control first, then in order; at most `room`, and
    /// only for queues that are open, of what was said after a time.
    pub(crate) fn wanting(&self, relay: &str, room: usize, open: &Open, after: Option<Timestamp>) -> Vec<(u64, usize)> {
        let (control, daily): (Vec<_>, Vec<_>) = self.items.values().partition(|i| i.control);
        let waiting = control.into_iter().chain(daily).filter(|i| !i.held.iter().any(|r| r == relay));
        let waiting = waiting.filter(|i| after.is_none_or(|at| i.since > at));
        let waiting = waiting.filter(|i| open.contains(&(i.network, (!i.control).then_some(i.day))));
        let parts = waiting.flat_map(|i| (0..i.parts.len()).map(|p| (i.number, p)));
        parts.filter(|(n, p)| !self.is_taken(relay, *n, *p)).take(room).collect()
    }

    fn is_taken(&self, relay: &str, number: u64, part: usize) -> bool {
        self.under_way.contains(&(relay.to_owned(), number, part))
            || self.acked.get(&(relay.to_owned(), number)).is_some_and(|a| a.contains(&part))
    }

    /// Parts under way to a relay.
    pub(crate) fn under_way(&self, relay: &str) -> usize {
        self.under_way.iter().filter(|(r, ..)| r == relay).count()
    }

    pub(crate) fn sent(&mut self, relay: &str, number: u64, part: usize) {
        self.under_way.insert((relay.to_owned(), number, part));
    }

    /// A part did not get through: it is offered again.
    pub(crate) fn failed(&mut self, relay: &str, number: u64, part: usize) {
        self.under_way.remove(&(relay.to_owned(), number, part));
    }

    /// The session with a relay ended.
    pub(crate) fn relay_lost(&mut self, relay: &str) {
        self.under_way.retain(|(r, ..)| r != relay);
    }

    /// A relay stored a part. True when it now holds the whole item.
    pub(crate) fn stored(&mut self, relay: &str, number: u64, part: usize) -> bool {
        self.under_way.remove(&(relay.to_owned(), number, part));
        let Some(item) = self.items.get_mut(&number) else { return false };
        let acked = self.acked.entry((relay.to_owned(), number)).or_default();
        acked.insert(part);
        if acked.len() < item.parts.len() || item.held.iter().any(|r| r == relay) {
            return false;
        }
        item.held.push(relay.to_owned());
        true
    }
}

/// A packet as packets that each fit one frame.
pub(crate) fn parts_of(packet: &Packet) -> Vec<Vec<u8>> {
    let bytes = cbor::to_vec(packet);
    if bytes.len() <= PACKET_MAX { vec![bytes] } else { cut(&bytes) }
}

/// Parts of a packet that does not fit one frame.
pub(crate) fn cut(bytes: &[u8]) -> Vec<Vec<u8>> {
    let object = hash(&[bytes]);
    let chunks: Vec<_> = bytes.chunks(PART_BYTES).collect();
    let count = u16::try_from(chunks.len()).unwrap_or(u16::MAX);
    let part =
        |(index, chunk): (u16, &[u8])| cbor::to_vec(&Packet::Part { object, index, count, bytes: chunk.to_vec() });
    (0..count).zip(chunks).map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(number: u64, control: bool, parts: usize) -> Item {
        Item {
            number,
            parts: vec![ByteVec::from(vec![1]); parts],
            control,
            network: NodeId([0; 32]),
            day: Day(1),
            envelope: None,
            held: vec![],
            since: Timestamp(0),
        }
    }

    #[test]
    fn a_relay_holds_an_item_when_it_has_every_part() {
        let mut o = Outbox::default();
        o.push(item(0, false, 2));
        o.push(item(1, true, 1));
        let open = Open::from([(NodeId([0; 32]), None), (NodeId([0; 32]), Some(Day(1)))]);
        assert_eq!(o.wanting("a", 9, &open, None), vec![(1, 0), (0, 0), (0, 1)], "control first");
        let control = Open::from([(NodeId([0; 32]), None), (NodeId([0; 32]), Some(Day(2)))]);
        assert_eq!(o.wanting("a", 9, &control, None), vec![(1, 0)], "what cannot be put takes nobody's place");
        o.sent("a", 0, 0);
        assert_eq!(o.wanting("a", 9, &open, None), vec![(1, 0), (0, 1)]);
        assert!(!o.stored("a", 0, 0));
        o.relay_lost("a");
        assert_eq!(o.wanting("a", 1, &open, None), vec![(1, 0)]);
        assert!(o.stored("a", 0, 1));
        assert!(!o.stored("a", 0, 1), "held once");
        assert!(o.wanting("b", 9, &open, Some(Timestamp(0))).is_empty(), "nothing was said after that");
        assert_eq!(o.wanting("b", 9, &open, None).len(), 3);
        assert!(o.remove(0).is_some() && o.get(0).is_none());
    }

    #[test]
    fn parts_fit_frames_and_make_the_packet_again() {
        let packet = Packet::App { node: NodeId([3; 32]), mls: vec![7; 60_000] };
        let parts = parts_of(&packet);
        assert!(parts.iter().all(|p| p.len() <= PACKET_MAX) && parts.len() > 3);
        let bytes: Vec<u8> = parts
            .iter()
            .flat_map(|p| match cbor::read::<Packet>(p).unwrap() {
                Packet::Part { bytes, .. } => bytes,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(cbor::read::<Packet>(&bytes).unwrap(), packet);
    }
}
