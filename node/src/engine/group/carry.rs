//! Carrying to the relays what others said. What came from a member may have reached nobody else: its author may be
//! gone before a relay had it, and members whose clocks differ too much have no link to each other. So whoever has it
//! and sees it at no relay for a while puts it there ([R-95]).

use std::collections::BTreeMap;

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    cbor,
    frame::Control,
    id::{NodeId, hash},
    limits::PACKET_MAX,
    packet::Packet,
    time::Timestamp,
};
use minicbor::{Decode, Encode};

use super::{Group, rows};
use crate::{
    engine::{
        ctx::Ctx,
        outbox::{Mail, cut},
    },
    store::Table,
};

/// The author has this long to bring it to a relay, and then others up to as long again, each at a random moment: the
/// first one is enough.
const CARRY_MS: u64 = 60_000;
/// Packets that are carried at once; the next to be carried gives way, as it has been known for longest.
const CARRIED_MAX: usize = 256;

/// A packet that no relay has shown.
#[derive(Debug, Encode, Decode)]
pub(super) struct Carried {
    #[cbor(n(0), with = "minicbor::bytes")]
    packet: Vec<u8>,
    #[n(1)]
    network: NodeId,
    #[n(2)]
    control: bool,
    #[n(3)]
    due: Timestamp,
}

/// What is carried, by the hash of its packet.
#[derive(Debug, Default)]
pub(crate) struct Carry(BTreeMap<[u8; 32], Carried>);

impl Carry {
    /// Keys of what is on disk: what decides the roster.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.0.iter().filter(|(_, c)| c.control).map(|(key, _)| key)
    }

    pub(super) fn restore(&mut self, key: [u8; 32], carried: Carried) {
        self.0.insert(key, carried);
    }
}

impl<M: Mls> Group<M> {
    /// Remembers a packet that came from a member on this network.
    pub(super) fn carry(&mut self, packet: Vec<u8>, network: NodeId, ctx: &mut Ctx<'_, M>) {
        let key = hash(&[&packet]);
        if self.relays().is_empty() || self.inbox.is_at_relay(&key) || self.network_of(&network).is_none() {
            return;
        }
        if self.carry.0.len() >= CARRIED_MAX
            && let Some(first) = self.carry.0.iter().min_by_key(|(_, c)| c.due).map(|(key, _)| *key)
        {
            self.put_down(&first, ctx);
        }
        let control = matches!(cbor::read::<Packet>(&packet), Ok(Packet::Control(_)));
        let carried = Carried { packet, network, control, due: patience(ctx) };
        if control {
            ctx.write(self.id, Table::State, &rows::carried_key(&key), Some(cbor::to_vec(&carried)));
        }
        self.carry.0.insert(key, carried);
    }

    /// The same for a control item that came by sync: in the network where its author left it.
    pub(super) fn carry_control(&mut self, control: &Control, link: NodeId, ctx: &mut Ctx<'_, M>) {
        let at = match control {
            Control::Op(op) => self.log.content(&op.id()).map(|c| c.at_node),
            Control::Commit(frame) => Some(frame.parent),
            Control::Signature(_) | Control::Nack(_) | Control::Welcome(_) => return,
        };
        let network = at.and_then(|node| self.dag.entry(&node)).map_or(link, |e| e.network);
        let packet = cbor::to_vec(&Packet::Control(control.clone()));
        if packet.len() <= PACKET_MAX {
            return self.carry(packet, network, ctx);
        }
        cut(&packet).into_iter().for_each(|part| self.carry(part, network, ctx));
    }

    /// A relay has it: nothing is left to do.
    pub(super) fn is_at_relay(&mut self, packet: &[u8], ctx: &mut Ctx<'_, M>) {
        let key = hash(&[packet]);
        self.inbox.stored(key);
        self.put_down(&key, ctx);
    }

    fn put_down(&mut self, key: &[u8; 32], ctx: &mut Ctx<'_, M>) -> Option<Carried> {
        let carried = self.carry.0.remove(key)?;
        if carried.control {
            ctx.write(self.id, Table::State, &rows::carried_key(key), None);
        }
        Some(carried)
    }

    /// A relay is back: its author may be coming with it just now.
    pub(super) fn carry_later(&mut self, ctx: &mut Ctx<'_, M>) {
        for carried in self.carry.0.values_mut() {
            carried.due = carried.due.max(patience(ctx));
        }
    }

    /// Puts what is due into the outbox, once all that the relays have was read.
    pub(super) fn hand_in(&mut self, ctx: &mut Ctx<'_, M>) {
        if self.carry.0.is_empty() || !self.relays().iter().any(|r| self.desk.is_read(r)) {
            return;
        }
        let due: Vec<_> = self.carry.0.iter().filter(|(_, c)| c.due <= ctx.now).map(|(key, _)| *key).collect();
        for key in due {
            if let Some(Carried { packet, network, control, .. }) = self.put_down(&key, ctx) {
                self.post(Mail { parts: vec![packet], network, control, envelope: None }, ctx);
            }
        }
        if let Some(next) = self.carry.0.values().map(|c| c.due).min() {
            ctx.wake_at(next);
        }
    }
}

fn patience<M: Mls>(ctx: &mut Ctx<'_, M>) -> Timestamp {
    ctx.now.plus_ms(CARRY_MS + u64::from_be_bytes(ctx.random()) % CARRY_MS)
}
