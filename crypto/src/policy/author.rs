//! Writing ops, and the keys that an invite's secret gives.

use ed25519_dalek::{Signer as _, SigningKey};
use hearth_protocol::{
    id::{DeviceId, GroupId, NodeId, OpId, PersonaId},
    limits::OP_PREV_MAX,
    op::{OpBody, OpContent, SignedOp, join_message},
};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{OpError, PolicyLog};
use crate::persona::DeviceKeys;

/// Where an author stands when it writes.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// The heads it knows; best from [`PolicyLog::heads_above`] its tip.
    pub heads: &'a [OpId],
    /// Its tip.
    pub node: NodeId,
}

/// The place that a joiner takes.
#[derive(Clone, Debug)]
pub struct Seat {
    /// The Invite op.
    pub invite: OpId,
    /// The use.
    pub slot: u32,
    /// The joiner's name.
    pub name: String,
}

/// The two keys of an invite's secret.
#[derive(Clone)]
pub struct InviteKeys {
    signing: SigningKey,
    door_seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for InviteKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InviteKeys(…)")
    }
}

impl InviteKeys {
    /// Derives both keys from the link's secret: HKDF-SHA256, no salt, one info each.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Self {
        let derive = |info: &[u8]| {
            let mut out = Zeroizing::new([0u8; 32]);
            // 32 bytes are one block of SHA-256: expansion cannot fail.
            let _ = Hkdf::<Sha256>::new(None, secret).expand(info, out.as_mut());
            out
        };
        let signing = SigningKey::from_bytes(&derive(b"hearth invite join/1"));
        Self { signing, door_seed: derive(b"hearth invite door/1") }
    }

    /// The Ed25519 key that an Invite op names as `join_pk`.
    #[must_use]
    pub fn join_pk(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// The secret that the X25519 key of the door comes from.
    #[must_use]
    pub fn door_seed(&self) -> &[u8; 32] {
        &self.door_seed
    }

    /// What a Join carries as `invite_sig`.
    #[must_use]
    pub fn sign_join(&self, group: &GroupId, persona: &PersonaId, device: &DeviceId, seat: (&OpId, u32)) -> [u8; 64] {
        self.signing.sign(&join_message(group, persona, device, seat.0, seat.1)).to_bytes()
    }
}

/// Signs a Genesis; `body` is [`OpBody::Genesis`]. Its id is the group's.
#[must_use]
pub fn genesis(keys: &DeviceKeys, body: OpBody) -> SignedOp {
    let content = OpContent {
        group: GroupId([0; 32]),
        prev: Vec::new(),
        lamport: 0,
        persona: keys.persona(),
        device: keys.device(),
        at_node: NodeId([0; 32]),
        body,
    };
    sign(keys, &content)
}

impl PolicyLog {
    /// Writes an op on `at`: `prev` sorted, at most [`OP_PREV_MAX`], counter and signature set. It is not inserted.
    ///
    /// # Errors
    /// [`OpError::UnknownCause`] when a head is not here, or none is given; [`OpError::Attachment`] when what travels beside
    /// the op is not.
    pub fn make(&self, keys: &DeviceKeys, at: At<'_>, body: OpBody) -> Result<SignedOp, OpError> {
        let group = self.group().ok_or(OpError::UnknownCause)?;
        if at.heads.is_empty() || !at.heads.iter().all(|h| self.contains(h)) {
            return Err(OpError::UnknownCause);
        }
        if body.attachment().is_some_and(|a| a.bytes().is_none()) {
            return Err(OpError::Attachment);
        }
        let prev = self.choose_prev(keys, at.heads, &body);
        let greatest = prev.iter().filter_map(|p| self.content(p)).map(|c| c.lamport).max().unwrap_or(0);
        let content = OpContent {
            group,
            prev,
            lamport: greatest.saturating_add(1),
            persona: keys.persona(),
            device: keys.device(),
            at_node: at.node,
            body,
        };
        Ok(sign(keys, &content))
    }

    /// Writes a Join: signed by the invite's key and by the joiner.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub fn make_join(
        &self,
        keys: &DeviceKeys,
        invite: &InviteKeys,
        at: At<'_>,
        seat: Seat,
    ) -> Result<SignedOp, OpError> {
        let group = self.group().ok_or(OpError::UnknownCause)?;
        let invite_sig = invite.sign_join(&group, &keys.persona(), &keys.device(), (&seat.invite, seat.slot));
        let body = OpBody::Join { invite: seat.invite, slot: seat.slot, name: seat.name, invite_sig };
        self.make(keys, at, body)
    }

    /// With more heads than fit, those that the statement rests on come first, then the newest.
    fn choose_prev(&self, keys: &DeviceKeys, heads: &[OpId], body: &OpBody) -> Vec<OpId> {
        let (subject, invite) = match body {
            OpBody::Add { subject, .. }
            | OpBody::Remove { subject, .. }
            | OpBody::SetRole { subject, .. }
            | OpBody::Evict { subject, .. } => (Some(*subject), None),
            OpBody::Join { invite, .. } | OpBody::InviteRevoke { invite } => (None, Some(*invite)),
            _ => (None, None),
        };
        let own = keys.persona();
        let mut heads: Vec<_> = self.reduce(heads).into_iter().filter_map(|h| self.entry(&h)).collect();
        heads.sort_by_key(|e| {
            let about = Some(e.id) == invite || Some(e.author()) == subject || e.author() == own;
            (!about, std::cmp::Reverse(e.content.lamport), e.id)
        });
        let mut prev: Vec<_> = heads.into_iter().take(OP_PREV_MAX).map(|e| e.id).collect();
        prev.sort_unstable();
        prev
    }
}

fn sign(keys: &DeviceKeys, content: &OpContent) -> SignedOp {
    SignedOp::new(content, |message| keys.sign_as_persona(message))
}
