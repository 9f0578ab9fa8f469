//! Knocks: what somebody outside asks of a group that admits by hand, and what comes back.

use minicbor::{Decode, Encode};
use zeroize::Zeroize as _;

use crate::{
    cbor::{self, DecodeError, Wire},
    door::DoorBody,
    id::{GroupId, KnockId, OpId, PersonaId, hash},
    limits::{KNOCK_BYTES, NAME_BYTES_MAX, OBJECT_MAX, OP_MAX, REASON_MAX},
};

/// What a knock's signature covers: this label, then the content.
pub const KNOCK_LABEL: &[u8] = b"hearth knock/1";

/// What somebody who knocks says. Sealed to the knock key: members of the group can read it, relays and holders of the
/// link cannot.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct KnockContent {
    /// The group.
    #[n(0)]
    pub group: GroupId,
    /// The Invite op of the link.
    #[n(1)]
    pub invite: OpId,
    /// Who knocks.
    #[n(2)]
    pub persona: PersonaId,
    /// The name it would have.
    #[n(3)]
    pub name: String,
    /// What it says of itself; may be empty.
    #[n(4)]
    pub introduction: String,
    /// MLS KeyPackage of the persona's device.
    #[cbor(n(5), with = "minicbor::bytes")]
    pub key_package: Vec<u8>,
    /// Made for this knock: the answer's queue and seal derive from it.
    #[cbor(n(6), with = "minicbor::bytes")]
    pub answer: [u8; 32],
}

impl Drop for KnockContent {
    fn drop(&mut self) {
        self.answer.zeroize();
    }
}

impl std::fmt::Debug for KnockContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnockContent").field("persona", &self.persona).finish_non_exhaustive()
    }
}

impl Wire for KnockContent {
    const MAX: usize = KNOCK_BYTES;

    fn within_limits(&self) -> bool {
        let name = !self.name.is_empty() && self.name.len() <= NAME_BYTES_MAX;
        name && self.introduction.len() <= REASON_MAX && (1..=OP_MAX).contains(&self.key_package.len())
    }
}

/// A knock as it travels.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct SignedKnock {
    /// Encoding of a [`KnockContent`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub content: Vec<u8>,
    /// Ed25519 by the persona: see [`knock_message`].
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl std::fmt::Debug for SignedKnock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedKnock").finish_non_exhaustive()
    }
}

impl Wire for SignedKnock {
    const MAX: usize = KNOCK_BYTES;

    fn within_limits(&self) -> bool {
        true
    }
}

impl SignedKnock {
    /// Its name among members.
    #[must_use]
    pub fn id(&self) -> KnockId {
        KnockId(hash(&[&cbor::to_vec(self)]))
    }

    /// Reads the content; the signature is checked elsewhere.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn open(&self) -> Result<KnockContent, DecodeError> {
        cbor::read(&self.content)
    }
}

/// The bytes that a knock's persona signs.
#[must_use]
pub fn knock_message(content: &[u8]) -> Vec<u8> {
    [KNOCK_LABEL, content].concat()
}

/// What comes back.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and short-lived")]
pub enum KnockAnswer {
    /// Come in.
    #[n(0)]
    Admitted {
        /// MLSMessage of a Welcome, its ratchet tree inside.
        #[cbor(n(0), with = "minicbor::bytes")]
        welcome: Vec<u8>,
        /// As behind an open link, of the node that the Welcome opens, which stands for the GroupInfo: that is empty.
        #[n(1)]
        door: DoorBody,
    },
    /// Not this time.
    #[n(1)]
    Declined,
}

impl Wire for KnockAnswer {
    const MAX: usize = OBJECT_MAX;

    fn within_limits(&self) -> bool {
        match self {
            Self::Admitted { welcome, door } => !welcome.is_empty() && door.within_limits(),
            Self::Declined => true,
        }
    }
}
