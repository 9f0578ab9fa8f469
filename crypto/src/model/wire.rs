//! What the model sends: one kind byte, then deterministic CBOR.

use hearth_protocol::{
    cbor,
    id::{DeviceId, PersonaId, hash},
};
use minicbor::{Decode, Encode, bytes::ByteVec};

use super::symbol::{Key, Sealed, credential, public, sign};
use crate::{
    mls::{AddedLeaf, Binding, MlsError, Suite},
    persona::DeviceKeys,
};

/// The longest message that is read at all, in bytes.
pub(super) const MAX: usize = hearth_protocol::limits::OBJECT_MAX;
/// Kind bytes.
pub(super) const COMMIT: u8 = 1;
pub(super) const MESSAGE: u8 = 2;
pub(super) const WELCOME: u8 = 3;
pub(super) const GROUP_INFO: u8 = 4;

/// Writes a message of one kind.
pub(super) fn write<T: Encode<()>>(kind: u8, value: &T) -> Vec<u8> {
    let mut out = vec![kind];
    // Writing to a Vec cannot fail.
    let _ = minicbor::encode(value, &mut out);
    out
}

/// Reads a message of one kind, whole.
pub(super) fn read<T: for<'b> Decode<'b, ()> + Encode<()>>(kind: u8, bytes: &[u8]) -> Result<T, MlsError> {
    match bytes.split_first() {
        Some((first, rest)) if *first == kind => cbor::from_slice(rest, MAX).map_err(|_| MlsError::NotForThisNode),
        _ => Err(MlsError::NotForThisNode),
    }
}

/// A leaf with its credential.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub(super) struct Leaf {
    #[n(0)]
    pub(super) persona: PersonaId,
    #[n(1)]
    pub(super) device: DeviceId,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) credential: Key,
    /// Public key that paths are sealed to.
    #[cbor(n(3), with = "minicbor::bytes")]
    pub(super) key: Key,
}

impl Leaf {
    pub(super) fn new(device: &DeviceKeys, private: &Key) -> Self {
        let (persona, id) = (device.persona(), device.device());
        Self { persona, device: id, credential: credential(persona, id), key: public(private) }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.credential == credential(self.persona, self.device)
    }
}

/// Sealed bytes as CBOR bytes.
#[derive(Clone, Encode, Decode)]
#[cbor(transparent)]
pub(super) struct SealedBytes(#[cbor(n(0), with = "minicbor::bytes")] pub(super) Sealed);

impl From<Sealed> for SealedBytes {
    fn from(sealed: Sealed) -> Self {
        Self(sealed)
    }
}

/// The new secret for one leaf.
#[derive(Clone, Encode, Decode)]
pub(super) struct PathEntry {
    #[n(0)]
    pub(super) leaf: u32,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) sealed: Sealed,
}

/// What a commit's author signs.
#[derive(Clone, Encode, Decode)]
pub(super) struct Content {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) group: [u8; 32],
    #[n(1)]
    pub(super) epoch: u64,
    /// `None` from outside.
    #[n(2)]
    pub(super) sender: Option<u32>,
    #[n(3)]
    pub(super) aad: ByteVec,
    #[n(4)]
    pub(super) adds: Vec<ByteVec>,
    #[n(5)]
    pub(super) removes: Vec<u32>,
    #[n(6)]
    pub(super) binding: Option<Binding>,
    #[n(7)]
    pub(super) leaf: Leaf,
    /// The init secret of an external commit.
    #[n(8)]
    pub(super) external: Option<SealedBytes>,
    #[n(9)]
    pub(super) path: Vec<PathEntry>,
}

/// A commit as sent.
#[derive(Encode, Decode)]
pub(super) struct Commit {
    #[n(0)]
    pub(super) content: Content,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) signature: Key,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) tag: Key,
}

/// A leaf and where it stands.
#[derive(Clone, Encode, Decode)]
pub(super) struct PlacedLeaf {
    #[n(0)]
    pub(super) index: u32,
    #[n(1)]
    pub(super) leaf: Leaf,
}

/// What the signer of a GroupInfo signs: the node's public side.
#[derive(Encode, Decode)]
pub(super) struct GroupInfoTbs {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) group: [u8; 32],
    #[n(1)]
    pub(super) suite: u16,
    #[n(2)]
    pub(super) epoch: u64,
    #[n(3)]
    pub(super) binding: Binding,
    #[n(4)]
    pub(super) leaves: Vec<PlacedLeaf>,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(super) confirmed: Key,
    #[cbor(n(6), with = "minicbor::bytes")]
    pub(super) tag: Key,
    #[cbor(n(7), with = "minicbor::bytes")]
    pub(super) external: Key,
    #[n(8)]
    pub(super) signer: u32,
}

/// A signed GroupInfo.
#[derive(Encode, Decode)]
pub(super) struct GroupInfo {
    #[n(0)]
    pub(super) tbs: GroupInfoTbs,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) signature: Key,
}

/// Context of a GroupInfo's and a KeyPackage's signature.
const NO_CONTEXT: [u8; 32] = [0; 32];

impl GroupInfo {
    pub(super) fn new(device: &DeviceKeys, tbs: GroupInfoTbs) -> Self {
        let signature = sign(device.device(), &NO_CONTEXT, &cbor::to_vec(&tbs));
        Self { tbs, signature }
    }

    pub(super) fn is_signed_by(&self, device: DeviceId) -> bool {
        self.signature == sign(device, &NO_CONTEXT, &cbor::to_vec(&self.tbs))
    }
}

/// One newcomer's part of a Welcome.
#[derive(Encode, Decode)]
pub(super) struct Joiner {
    /// SHA-256 of its KeyPackage.
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) package: [u8; 32],
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) sealed: Sealed,
}

/// A Welcome as sent.
#[derive(Encode, Decode)]
pub(super) struct Welcome {
    #[n(0)]
    pub(super) joiners: Vec<Joiner>,
    #[n(1)]
    pub(super) info: ByteVec,
}

/// Private part of a KeyPackage.
#[derive(Encode, Decode)]
pub(super) struct PrivateKeys {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) init: Key,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) leaf: Key,
}

/// Row key of a KeyPackage's private part.
pub(super) fn key_package_row(package: &[u8; 32]) -> Vec<u8> {
    [b"k".as_slice(), package].concat()
}

/// A KeyPackage as sent.
#[derive(Encode, Decode)]
pub(super) struct KeyPackage {
    #[n(0)]
    pub(super) suite: u16,
    #[n(1)]
    pub(super) leaf: Leaf,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(super) init: Key,
    #[cbor(n(3), with = "minicbor::bytes")]
    signature: Key,
}

impl KeyPackage {
    pub(super) fn new(device: &DeviceKeys, suite: Suite, keys: &PrivateKeys) -> Self {
        let (leaf, init) = (Leaf::new(device, &keys.leaf), public(&keys.init));
        let mut package = Self { suite: suite.code(), leaf, init, signature: [0; 32] };
        package.signature = package.expected();
        package
    }

    fn expected(&self) -> Key {
        sign(self.leaf.device, &NO_CONTEXT, &cbor::to_vec(&(self.suite, &self.leaf, ByteVec::from(self.init.to_vec()))))
    }

    /// A KeyPackage that checks.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let package: Self = cbor::from_slice(bytes, 1_024).ok()?;
        let good = package.leaf.is_valid() && package.signature == package.expected();
        (good && Suite::from_code(package.suite).is_some()).then_some(package)
    }

    /// Whose it is.
    pub(super) fn added(&self, bytes: &[u8]) -> AddedLeaf {
        AddedLeaf { persona: self.leaf.persona, device: self.leaf.device, key_package_hash: hash(&[bytes]) }
    }
}

/// An application message as sent.
#[derive(Encode, Decode)]
pub(super) struct Message {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) group: [u8; 32],
    #[n(1)]
    pub(super) epoch: u64,
    #[n(2)]
    pub(super) sender: u32,
    #[n(3)]
    pub(super) generation: u32,
    #[n(4)]
    pub(super) body: ByteVec,
}
