//! What came in and cannot be used yet. It is on disk too: its cursor has moved on, and nobody may be left to hand it
//! over again.

use std::collections::BTreeMap;

use hearth_crypto::mls::Mls;
use hearth_protocol::{frame::Control, packet::Packet};

use super::{Group, rows};
use crate::{
    engine::{ctx::Ctx, inbox::key_of},
    store::Table,
};

/// A member does not commit or sign this long while frames wait; and then for this long whatever waits is no reason any
/// more, or who always has another such frame ready would hold up everybody.
const CATCH_UP_MS: u64 = 60_000;
const CATCH_UP_AGAIN_MS: u64 = 600_000;

/// Keys of the rows of waiting ops, frames and signatures, by their ids.
pub(super) type Waiting = BTreeMap<[u8; 32], [u8; 32]>;

impl<M: Mls> Group<M> {
    /// Keeps a packet whose node is not known yet.
    pub(super) fn hold(&mut self, packet: Packet, ctx: &mut Ctx<'_, M>) {
        let (key, dropped) = self.inbox.hold(packet.clone());
        self.save_pending(&key, Some(&packet), ctx);
        if let Some(old) = dropped {
            self.save_pending(&old, None, ctx);
        }
    }

    /// Takes a part of a larger packet, and the packet once it is whole.
    pub(super) fn take_part(&mut self, part: ([u8; 32], u16, u16), bytes: Vec<u8>, ctx: &mut Ctx<'_, M>) {
        let (object, index, count) = part;
        let packet = Packet::Part { object, index, count, bytes: bytes.clone() };
        let taken = self.inbox.part(object, index, count, bytes, key_of(&packet));
        if let Some(key) = taken.kept {
            self.save_pending(&key, Some(&packet), ctx);
        }
        for key in taken.gone {
            self.save_pending(&key, None, ctx);
        }
        if let Some(whole) = taken.whole {
            self.take(whole, ctx);
        }
    }

    /// Tries again what was held. Packets of nodes that are still unknown go back.
    pub(super) fn retry_held(&mut self, ctx: &mut Ctx<'_, M>) {
        for (key, packet) in self.inbox.take() {
            let known = match &packet {
                Packet::App { node, .. } | Packet::Shared { node, .. } => self.dag.entry(node).is_some(),
                Packet::Control(_) | Packet::Part { .. } | Packet::Answer(_) => true,
            };
            if known {
                self.save_pending(&key, None, ctx);
                self.take(packet, ctx);
            } else if let (_, Some(dropped)) = self.inbox.hold(packet) {
                self.save_pending(&dropped, None, ctx);
            }
        }
    }

    /// Whether frames wait that may be the tip's: what they rest on is usually close behind. Not for long, as anybody
    /// can send what rests on nothing.
    pub(super) fn is_catching_up(&mut self, ctx: &mut Ctx<'_, M>) -> bool {
        if !self.dag.is_waiting() {
            return false;
        }
        let since = self.waiting_since.filter(|since| ctx.now.since(*since) < CATCH_UP_AGAIN_MS).unwrap_or(ctx.now);
        self.waiting_since = Some(since);
        let until = since.plus_ms(CATCH_UP_MS);
        if until > ctx.now {
            ctx.wake_at(until);
        }
        until > ctx.now
    }

    /// Writes the ops, frames and signatures that began to wait or were set aside, and deletes those that no longer do.
    pub(super) fn save_waiting(&mut self, ctx: &mut Ctx<'_, M>) {
        let mut before = std::mem::take(&mut self.waiting);
        let mut fresh = Vec::new();
        let mut note = |id: [u8; 32], control: &dyn Fn() -> Control| {
            let key = before.remove(&id).unwrap_or_else(|| {
                let packet = Packet::Control(control());
                let key = key_of(&packet);
                fresh.push((key, packet));
                key
            });
            self.waiting.insert(id, key);
        };
        self.dag.waiting().for_each(|(id, frame)| note(id.0, &|| Control::Commit(frame.clone())));
        self.dag.aside().for_each(|(id, frame)| note(id.0, &|| Control::Commit(frame.clone())));
        self.dag.early_signatures().for_each(|(id, signature)| note(*id, &|| Control::Signature(signature.clone())));
        self.dag.early_nacks().for_each(|(id, nack)| note(*id, &|| Control::Nack(nack.clone())));
        self.log.waiting().for_each(|(id, op)| note(id.0, &|| Control::Op(op.clone())));
        fresh.iter().for_each(|(key, packet)| self.save_pending(key, Some(packet), ctx));
        before.values().for_each(|key| self.save_pending(key, None, ctx));
    }

    fn save_pending(&self, key: &[u8; 32], packet: Option<&Packet>, ctx: &mut Ctx<'_, M>) {
        ctx.write(self.id, Table::State, &rows::pending_key(key), packet.map(hearth_protocol::cbor::to_vec));
    }

    /// Keys of everything that is held or waits.
    pub(super) fn pending(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.inbox.pending().chain(self.waiting.values())
    }
}
