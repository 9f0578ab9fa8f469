//! What this member says, and hears, about commits that it cannot open.

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    frame::{Control, Nack, nack_message},
    id::{FrameId, NodeId},
    packet::Packet,
};

use super::{Group, rows};
use crate::{engine::ctx::Ctx, store::Table};

impl<M: Mls> Group<M> {
    /// Says of every frame that could not be opened that it could not, once.
    pub(super) fn nack_if_due(&mut self, ctx: &mut Ctx<'_, M>) {
        if !self.is_joined() {
            return;
        }
        let me = self.me();
        for (frame, parent) in self.dag.to_nack(&me) {
            self.say_nack(frame, &parent, ctx);
        }
    }

    /// Who is out says that it decides no more about what follows where it was in last: those who stay may need its
    /// word, and cannot tell silence from a signature that is on its way.
    pub(super) fn abstain(&mut self, ctx: &mut Ctx<'_, M>) {
        if let Some((frame, parent)) = self.dag.to_abstain(&self.log, &self.me()) {
            self.say_nack(frame, &parent, ctx);
        }
    }

    fn say_nack(&mut self, frame: FrameId, parent: &NodeId, ctx: &mut Ctx<'_, M>) {
        let Some(network) = self.dag.entry(parent).map(|e| e.network) else { return };
        let sig = self.keys.sign_as_persona(&nack_message(&self.id, &frame));
        let nack = Nack { frame, persona: self.me(), sig };
        if self.dag.offer_nack(&self.id, &nack) {
            self.save_nack(&nack, ctx);
            self.publish_control(Control::Nack(nack), network, ctx);
        }
    }

    pub(super) fn take_nack(&mut self, nack: &Nack, ctx: &mut Ctx<'_, M>) {
        if self.dag.offer_nack(&self.id, nack) {
            self.nack_counts(nack, ctx);
        }
    }

    /// One of somebody else counts.
    pub(super) fn nack_counts(&mut self, nack: &Nack, ctx: &mut Ctx<'_, M>) {
        self.save_nack(nack, ctx);
        let node = self.dag.node_of(&nack.frame).unwrap_or(self.dag.tip);
        self.carry(&Packet::Control(Control::Nack(nack.clone())), &node, ctx);
    }

    pub(super) fn save_nack(&self, nack: &Nack, ctx: &mut Ctx<'_, M>) {
        ctx.write(self.id, Table::State, &rows::nack_key(&nack.frame, &nack.persona), Some(nack.sig.to_vec()));
    }
}
