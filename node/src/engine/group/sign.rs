//! When this member signs a node, which is how nodes become final, or says that it signs none.

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    frame::{Control, NodeSignature, signature_message},
    packet::Packet,
    time::Timestamp,
};

use super::{Group, rows};
use crate::{engine::ctx::Ctx, store::Table};

/// A facilitator signs this long after something changed: what comes together is signed together.
const SIGN_MS: u64 = 5_000;
/// Of two facilitators one may be away. Then the other members sign, and usually need not.
const MEMBER_SIGN_MS: u64 = 10 * 60_000;

/// When to look next, and what was there when it was last looked.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    due: Option<Timestamp>,
    seen: (usize, usize),
}

impl<M: Mls> Group<M> {
    /// Signs what should be signed, once it is time. Who is in touch with nobody signs nothing: what others did
    /// meanwhile may be the better branch, and a signature binds. Who was removed still decides where it was in last.
    pub(super) fn sign_if_due(&mut self, ctx: &mut Ctx<'_, M>) {
        let me = self.me();
        let takes_part = (self.is_joined() && !self.stranded) || self.listens();
        let Some(facilitates) = self.dag.decides(&me).filter(|_| takes_part) else {
            self.signing = Signing::default();
            return;
        };
        if self.signing.seen != self.dag.came() {
            self.signing.seen = self.dag.came();
            let wait = if facilitates { SIGN_MS } else { MEMBER_SIGN_MS };
            self.signing.due.get_or_insert(ctx.now.plus_ms(wait));
        }
        // What is certified lies on the way to the tip, so this is all that can be final.
        if self.dag.certified == self.dag.tip {
            self.signing.due = None;
        }
        let Some(due) = self.signing.due else { return };
        if !self.is_in_touch() || self.is_catching_up(ctx) {
            // It need not wait anew when it is back, and hears first what others did.
            self.signing.due = Some(due.max(ctx.now.plus_ms(SIGN_MS)));
        } else if due > ctx.now {
            ctx.wake_at(due);
        } else {
            self.signing.due = None;
            self.sign(ctx);
            self.reselect(ctx);
        }
    }

    pub(super) fn is_in_touch(&self) -> bool {
        let read = |a: &String| self.is_relay(a) && self.desk.is_control_read(a);
        self.links.members() > 0 || self.desk.sessions.keys().any(read)
    }

    fn sign(&mut self, ctx: &mut Ctx<'_, M>) {
        let me = self.me();
        // What was signed before a new beginning is not here any more to be held to.
        if self.dag.entry(&self.dag.certified).is_none_or(|last| last.depth < self.signed_to) {
            return;
        }
        let node = self.dag.to_sign(&self.log, &me);
        for node in node.map(|node| self.dag.signs_with(node, &me)).unwrap_or_default() {
            let Some(network) = self.dag.entry(&node).map(|e| e.network) else { continue };
            let sig = self.keys.sign_as_persona(&signature_message(&self.id, &node));
            let signature = NodeSignature { node, persona: me, sig };
            if self.dag.offer_signature(&self.id, &signature) {
                self.signing.seen = self.dag.came();
                self.save_signature(&signature, ctx);
                self.publish_control(Control::Signature(signature), network, ctx);
            }
        }
        if self.listens() {
            self.abstain(ctx);
        }
    }

    pub(super) fn take_signature(&mut self, signature: &NodeSignature, ctx: &mut Ctx<'_, M>) {
        if self.dag.offer_signature(&self.id, signature) {
            self.signature_counts(signature, ctx);
        }
    }

    /// One of somebody else counts.
    pub(super) fn signature_counts(&mut self, signature: &NodeSignature, ctx: &mut Ctx<'_, M>) {
        self.save_signature(signature, ctx);
        self.heard_from(&signature.persona, ctx);
        self.carry(&Packet::Control(Control::Signature(signature.clone())), &signature.node, ctx);
    }

    pub(super) fn save_signature(&self, signature: &NodeSignature, ctx: &mut Ctx<'_, M>) {
        let key = rows::signature_key(&signature.node, &signature.persona);
        ctx.write(self.id, Table::State, &key, Some(signature.sig.to_vec()));
    }
}
