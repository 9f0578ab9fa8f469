//! Ops: the signed statements of the policy log. They say what the group decided; commits only realise it.

use minicbor::{Decode, Encode};

use crate::{
    cbor::{self, DecodeError, Wire},
    id::{DeviceId, GroupId, NodeId, OpId, PersonaId, hash},
    limits::{self, OP_MAX},
    time::Second,
};

/// What an Ed25519 signature over an op covers: this label, then the content's encoding.
pub const OP_LABEL: &[u8] = b"hearth op/1";
/// What the invite key signs in a Join: this label, group, persona, device, invite, slot.
pub const JOIN_LABEL: &[u8] = b"hearth join/1";

/// Standing in a group, highest first. Invites confer at most [`Role::Member`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Role {
    /// Invites, admits, removes, commits.
    #[n(0)]
    Facilitator,
    /// Moderates content and meetings.
    #[n(1)]
    Cofacilitator,
    /// Takes part.
    #[n(2)]
    Member,
    /// Takes part within the newcomer's limits.
    #[n(3)]
    Newcomer,
    /// Reads.
    #[n(4)]
    Reader,
}

/// How people come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum JoinMode {
    /// Whoever holds a link with a free use joins at once.
    #[n(0)]
    Open,
    /// A facilitator admits.
    #[n(1)]
    Knock,
}

/// What a group was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Template {
    /// Recovery.
    #[n(0)]
    Recovery,
    /// Chronic or rare illness.
    #[n(1)]
    Illness,
    /// Caregivers.
    #[n(2)]
    Caregivers,
    /// Grief.
    #[n(3)]
    Grief,
    /// Open circle.
    #[n(4)]
    Open,
}

/// Bytes that an op names by their hash and that travel beside it: a KeyPackage, a charter. Once nobody needs them any
/// more they can stay behind, and the op is what it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    hash: [u8; 32],
    bytes: Option<Vec<u8>>,
}

impl Attachment {
    /// Their SHA-256.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// The bytes, where they came with the op.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.as_deref()
    }

    /// The bytes as text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

impl From<Vec<u8>> for Attachment {
    fn from(bytes: Vec<u8>) -> Self {
        Self { hash: hash(&[&bytes]), bytes: Some(bytes) }
    }
}

impl From<String> for Attachment {
    fn from(text: String) -> Self {
        text.into_bytes().into()
    }
}

impl From<&str> for Attachment {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attachment").field("here", &self.bytes.is_some()).finish_non_exhaustive()
    }
}

impl<C> Encode<C> for Attachment {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.hash)?.ok()
    }
}

impl<'b, C> Decode<'b, C> for Attachment {
    fn decode(d: &mut minicbor::Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let hash = minicbor::bytes::decode(d, ctx)?;
        Ok(Self { hash, bytes: None })
    }
}

/// The statement itself.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OpBody {
    /// Begins the group. Its author is the first facilitator; `group` and `prev` of the op are empty.
    #[n(0)]
    Genesis {
        /// Name of the group.
        #[n(0)]
        name: String,
        /// First charter, as text.
        #[n(1)]
        charter: Attachment,
        /// Template, if one was chosen.
        #[n(2)]
        template: Option<Template>,
        /// How people come in.
        #[n(3)]
        join: JoinMode,
        /// History window for newcomers, in days.
        #[n(4)]
        history_days: u16,
        /// MLS ciphersuite code point.
        #[n(5)]
        suite: u16,
        /// Relays, at most three: multiaddrs ending in `/p2p/…`.
        #[n(6)]
        relays: Vec<String>,
        /// The founder's name.
        #[n(7)]
        founder: String,
        /// Makes equal groups distinct.
        #[cbor(n(8), with = "minicbor::bytes")]
        salt: [u8; 16],
    },
    /// A facilitator admits a persona by its KeyPackage.
    #[n(1)]
    Add {
        /// Who.
        #[n(0)]
        subject: PersonaId,
        /// Their name.
        #[n(1)]
        name: String,
        /// At most member.
        #[n(2)]
        role: Role,
        /// MLS KeyPackage.
        #[n(3)]
        key_package: Attachment,
    },
    /// Opens an invite. Both keys come from the link's secret.
    #[n(2)]
    Invite {
        /// Ed25519 key that signs Joins.
        #[cbor(n(0), with = "minicbor::bytes")]
        join_pk: [u8; 32],
        /// X25519 key that opens the door's wrapper.
        #[cbor(n(1), with = "minicbor::bytes")]
        door_pk: [u8; 32],
        /// Slots 0 to `uses - 1`.
        #[n(2)]
        uses: u32,
        /// At most member.
        #[n(3)]
        role: Role,
        /// No Join in this second or after it.
        #[n(4)]
        expires: Second,
        /// How it admits.
        #[n(5)]
        mode: JoinMode,
    },
    /// Closes an invite.
    #[n(3)]
    InviteRevoke {
        /// The Invite op.
        #[n(0)]
        invite: OpId,
    },
    /// A joiner takes a slot of an open invite; carried in the AAD of its external commit.
    #[n(4)]
    Join {
        /// The Invite op.
        #[n(0)]
        invite: OpId,
        /// The use it takes.
        #[n(1)]
        slot: u32,
        /// The joiner's name.
        #[n(2)]
        name: String,
        /// Ed25519 by the invite key: see [`join_message`].
        #[cbor(n(3), with = "minicbor::bytes")]
        invite_sig: [u8; 64],
    },
    /// A member whose state is gone asks to be swapped in again.
    #[n(5)]
    RejoinRequest {
        /// Fresh MLS KeyPackage of the same persona.
        #[n(0)]
        key_package: Attachment,
    },
    /// Takes a persona out.
    #[n(6)]
    Remove {
        /// Who.
        #[n(0)]
        subject: PersonaId,
        /// Shown to every member.
        #[n(1)]
        reason: String,
        /// The target's last accepted envelope per device: later ones are never re-shared.
        #[n(2)]
        last: Vec<LastSeen>,
    },
    /// The author leaves.
    #[n(7)]
    Leave,
    /// Changes a role.
    #[n(8)]
    SetRole {
        /// Whose.
        #[n(0)]
        subject: PersonaId,
        /// The new role.
        #[n(1)]
        role: Role,
    },
    /// Changes settings; `None` leaves a field as it is.
    #[n(9)]
    SetPolicy {
        /// Charter, as text.
        #[n(0)]
        charter: Option<Attachment>,
        /// History window in days.
        #[n(1)]
        history_days: Option<u16>,
        /// Seconds between two posts of one member.
        #[n(2)]
        slow_mode_s: Option<u32>,
        /// Newcomers read only, invites void, links and images off.
        #[n(3)]
        shield: Option<bool>,
        /// Relays.
        #[n(4)]
        relays: Option<Vec<String>>,
        /// Names offered first for promotion or Recover.
        #[n(5)]
        successors: Option<Vec<PersonaId>>,
    },
    /// The author takes another device of its own in.
    #[n(10)]
    DeviceAdd {
        /// The new leaf's key.
        #[n(0)]
        device: DeviceId,
        /// MLS KeyPackage of that device and the author's persona.
        #[n(1)]
        key_package: Attachment,
    },
    /// The author takes one of its devices out, for good.
    #[n(11)]
    DeviceRevoke {
        /// The device, and its last envelope: later ones are never re-shared. `seq` 0 and a zero hash: none.
        #[n(0)]
        last: LastSeen,
    },
    /// Takes a leaf out that was silent too long. Its persona stays a member, and comes back with a new one.
    #[n(12)]
    Evict {
        /// Whose.
        #[n(0)]
        subject: PersonaId,
        /// The leaf's key.
        #[n(1)]
        device: DeviceId,
    },
    /// Names new facilitators where the old ones are silent: a word of more than half of the certified roster.
    #[n(13)]
    Recover {
        /// The last certified node: its roster decides.
        #[n(0)]
        base: NodeId,
        /// Who the facilitators are from then on, strictly ascending, 1 to [`limits::SUCCESSORS_MAX`].
        #[n(1)]
        facilitators: Vec<PersonaId>,
    },
    /// Opens a fresh MLS group for the same roster.
    #[n(14)]
    Restart {
        /// One more than the generation in force.
        #[n(0)]
        generation: u32,
        /// MLS ciphersuite code point of the fresh group.
        #[n(1)]
        suite: u16,
        /// The node that the fresh group's first node follows.
        #[n(2)]
        at_node: NodeId,
    },
}

impl OpBody {
    /// What travels beside it.
    #[must_use]
    pub fn attachment(&self) -> Option<&Attachment> {
        match self {
            Self::Genesis { charter, .. } => Some(charter),
            Self::SetPolicy { charter, .. } => charter.as_ref(),
            Self::Add { key_package, .. }
            | Self::RejoinRequest { key_package }
            | Self::DeviceAdd { key_package, .. } => Some(key_package),
            _ => None,
        }
    }

    fn attachment_mut(&mut self) -> Option<&mut Attachment> {
        match self {
            Self::Genesis { charter, .. } => Some(charter),
            Self::SetPolicy { charter, .. } => charter.as_mut(),
            Self::Add { key_package, .. }
            | Self::RejoinRequest { key_package }
            | Self::DeviceAdd { key_package, .. } => Some(key_package),
            _ => None,
        }
    }
}

/// One device's last envelope as the author of a Remove or DeviceRevoke saw it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LastSeen {
    /// The device.
    #[n(0)]
    pub device: DeviceId,
    /// Its sequence number.
    #[n(1)]
    pub seq: u64,
    /// Its hash.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub hash: [u8; 32],
}

/// What an op's signature covers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct OpContent {
    /// The group; all zero in Genesis.
    #[n(0)]
    pub group: GroupId,
    /// The heads the author knew, sorted, at most [`limits::OP_PREV_MAX`]; empty in Genesis.
    #[n(1)]
    pub prev: Vec<OpId>,
    /// One more than the greatest of `prev`; 0 in Genesis.
    #[n(2)]
    pub lamport: u64,
    /// The author, whose key signs.
    #[n(3)]
    pub persona: PersonaId,
    /// The device it was written on.
    #[n(4)]
    pub device: DeviceId,
    /// The author's tip; all zero in Genesis.
    #[n(5)]
    pub at_node: NodeId,
    /// The statement.
    #[n(6)]
    pub body: OpBody,
}

/// An op as it travels: the exact bytes that were signed, the signature, and what the content names by its hash.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SignedOp {
    /// Encoding of [`OpContent`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub content: Vec<u8>,
    /// Ed25519 by `persona` over [`OP_LABEL`] and `content`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
    /// The bytes of the content's [`Attachment`]; absent where it has none, and behind a door where they are of the past.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub attached: Option<Vec<u8>>,
}

impl Wire for SignedOp {
    const MAX: usize = OP_MAX + 128;

    fn within_limits(&self) -> bool {
        self.content.len().saturating_add(self.attached.as_ref().map_or(0, Vec::len)) <= OP_MAX
    }
}

impl SignedOp {
    /// The op that says `content`; `sign` is given what a signature covers.
    #[must_use]
    pub fn new(content: &OpContent, sign: impl FnOnce(&[u8]) -> [u8; 64]) -> Self {
        let attached = content.body.attachment().and_then(|a| a.bytes.clone());
        let content = cbor::to_vec(content);
        let sig = sign(&op_message(&content));
        Self { content, sig, attached }
    }

    /// Its id: SHA-256 of the encoding of content and signature.
    #[must_use]
    pub fn id(&self) -> OpId {
        OpId(hash(&[&cbor::to_vec(&self.bare())]))
    }

    /// The same without its attachment: its id, its signature and its place among other ops still check.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self { content: self.content.clone(), sig: self.sig, attached: None }
    }

    /// Whether all that it names lies beside it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.open().is_ok_and(|content| content.body.attachment().is_none_or(|a| a.bytes().is_some()))
    }

    /// The content, checked for shape and limits; signature and right are the policy log's to check.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn open(&self) -> Result<OpContent, DecodeError> {
        let mut content: OpContent = cbor::from_slice(&self.content, OP_MAX)?;
        if let Some(attached) = &self.attached {
            let named = content.body.attachment_mut().filter(|named| named.hash == hash(&[attached]));
            named.ok_or(DecodeError::Shape)?.bytes = Some(attached.clone());
        }
        let genesis = matches!(content.body, OpBody::Genesis { .. });
        let sorted = content.prev.windows(2).all(|w| w[0] < w[1]);
        let sized = content.prev.len() <= limits::OP_PREV_MAX && genesis == content.prev.is_empty();
        let placed = genesis == (content.lamport == 0) && genesis == (content.group == GroupId([0; 32]));
        if sorted && sized && placed && body_within_limits(&content.body) {
            Ok(content)
        } else {
            Err(DecodeError::Shape)
        }
    }
}

/// The bytes an op's author signs.
#[must_use]
pub fn op_message(content: &[u8]) -> Vec<u8> {
    [OP_LABEL, content].concat()
}

/// The bytes the invite key signs in a Join.
#[must_use]
pub fn join_message(group: &GroupId, persona: &PersonaId, device: &DeviceId, invite: &OpId, slot: u32) -> Vec<u8> {
    [JOIN_LABEL, &group.0, &persona.0, &device.0, &invite.0, &slot.to_be_bytes()].concat()
}

fn body_within_limits(body: &OpBody) -> bool {
    let name_ok =
        |s: &str| !s.is_empty() && s.len() <= limits::NAME_BYTES_MAX && s.chars().count() <= limits::NAME_CHARS_MAX;
    let charter_ok = |c: &Attachment| {
        let fits = |bytes: &[u8]| bytes.len() <= limits::CHARTER_MAX && std::str::from_utf8(bytes).is_ok();
        c.bytes().is_none_or(fits)
    };
    let relays_ok = |r: &[String]| r.len() <= limits::RELAYS_MAX && r.iter().all(|a| a.len() <= limits::ADDRESS_MAX);
    match body {
        OpBody::Genesis { name, charter, relays, founder, .. } => {
            name_ok(name) && name_ok(founder) && charter_ok(charter) && relays_ok(relays)
        }
        OpBody::Add { name, role, .. } => name_ok(name) && *role >= Role::Member,
        OpBody::Invite { uses, role, .. } => (1..=limits::INVITE_USES_MAX).contains(uses) && *role >= Role::Member,
        OpBody::Join { name, slot, .. } => name_ok(name) && *slot < limits::INVITE_USES_MAX,
        OpBody::Remove { reason, last, .. } => {
            reason.len() <= limits::REASON_MAX && last.len() <= limits::LAST_SEEN_MAX
        }
        OpBody::SetPolicy { charter, relays, successors, .. } => {
            charter.as_ref().is_none_or(charter_ok)
                && relays.as_deref().is_none_or(relays_ok)
                && successors.as_ref().is_none_or(|s| s.len() <= limits::SUCCESSORS_MAX)
        }
        OpBody::DeviceRevoke { last } => last.seq > 0 || last.hash == [0; 32],
        OpBody::Recover { facilitators, .. } => {
            let sized = (1..=limits::SUCCESSORS_MAX).contains(&facilitators.len());
            sized && facilitators.windows(2).all(|pair| matches!(pair, [a, b] if a < b))
        }
        OpBody::Restart { generation, .. } => *generation > 0,
        OpBody::InviteRevoke { .. }
        | OpBody::RejoinRequest { .. }
        | OpBody::Leave
        | OpBody::SetRole { .. }
        | OpBody::DeviceAdd { .. }
        | OpBody::Evict { .. } => true,
    }
}
