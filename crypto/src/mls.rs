//! The MLS port: what the engine needs of an MLS library, node by node.
//!
//! Two implementations: [`crate::openmls_port::OpenMls`] (the real one) and [`crate::model::ModelMls`] (a symbolic
//! one, deterministic from a seed, for long simulations).
//!
//! A [`MlsNode`] is the state of one node of the commit DAG. It is never changed into another node: a commit
//! makes a *child*, and the parent stays as it was (OpenMLS alone would delete it, key its key pairs by the
//! integer epoch, and refuse to process an own commit again). Rollback is moving a pointer.
//! A node with `has_secrets() == false` was rebuilt from public data: it validates children, nothing else.

use hearth_protocol::id::{DeviceId, NodeId, OpId, PersonaId};
use minicbor::{Decode, Encode};
use rand::CryptoRng;

use crate::persona::DeviceKeys;

/// Rows of one node's state, as written to disk: key → value, both opaque, values without plaintext names.
pub type Rows = std::collections::BTreeMap<Vec<u8>, Vec<u8>>;

/// What changed in a node's rows since they were last taken: `None` deletes.
pub type RowChanges = std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// MLS ciphersuite code points that a group may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    /// 0x0003: X25519, ChaCha20-Poly1305, SHA-256, Ed25519.
    Classic,
    /// 0x004F (provisional): ML-KEM-768 + X25519, AES-128-GCM, SHA-256, Ed25519.
    Hybrid,
}

impl Suite {
    /// The code point.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Classic => 0x0003,
            Self::Hybrid => 0x004f,
        }
    }

    /// The suite of a code point, if a group may use it.
    #[must_use]
    pub fn from_code(code: u16) -> Option<Self> {
        match code {
            0x0003 => Some(Self::Classic),
            0x004f => Some(Self::Hybrid),
            _ => None,
        }
    }
}

/// The GroupContext extension 0xF0A1: binds policy and network into the key schedule.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Binding {
    /// Heads of the policy log that this node realises, sorted.
    #[n(0)]
    pub heads: Vec<OpId>,
    /// Root of the roster and roles that those heads give, and of seniority at the parent: `PolicyState::roster_root`.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub roster_root: [u8; 32],
    /// The node that began the network; `None` in that node itself.
    #[n(2)]
    pub network: Option<NodeId>,
    /// First day of the network (days since 1970-01-01 UTC).
    #[n(3)]
    pub first_day: u64,
    /// MLS generation: 0, then one more with every Restart.
    #[n(4)]
    pub generation: u32,
    /// Depth in the commit DAG of the generation's first node: MLS epochs count from there.
    #[n(5)]
    pub began: u64,
    /// MLS epoch of the node that wrote this extension: self-updates and commits from outside keep it as it was.
    #[n(6)]
    pub epoch: u64,
}

/// A leaf of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Leaf {
    /// Index in the tree.
    pub index: u32,
    /// Whose it is.
    pub persona: PersonaId,
    /// Its signature key.
    pub device: DeviceId,
}

/// What anybody can read of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its id.
    pub node: NodeId,
    /// The MLS group's id.
    pub mls_group_id: [u8; 32],
    /// MLS epoch; ambiguous in forks, so only ever shown, never used as an address.
    pub epoch: u64,
    /// The MLS group's ciphersuite.
    pub suite: Suite,
    /// The extension.
    pub binding: Binding,
    /// Every leaf, by index.
    pub leaves: Vec<Leaf>,
}

impl NodeFacts {
    /// Nodes above it, over all generations.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.binding.began.saturating_add(self.epoch)
    }
}

/// What a GroupContext and its confirmation tag say, read without the tree: of any node, checked by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeContext {
    /// The node that it makes.
    pub node: NodeId,
    /// The MLS group's id.
    pub mls_group_id: [u8; 32],
    /// Its ciphersuite.
    pub suite: Suite,
    /// MLS epoch.
    pub epoch: u64,
    /// The extension.
    pub binding: Binding,
}

impl NodeContext {
    /// Nodes above it, over all generations.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.binding.began.saturating_add(self.epoch)
    }
}

/// Where a message says that it belongs, in clear in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The MLS group's id.
    pub mls_group_id: [u8; 32],
    /// MLS epoch.
    pub epoch: u64,
}

/// What a commit does, read and verified (signature, membership, tree) but not yet judged by policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitFacts {
    /// Committer as a leaf: for an external commit the new leaf.
    pub author: Leaf,
    /// Whether it came from outside (RFC 9420 §12.4.3.2).
    pub external: bool,
    /// Inline Adds.
    pub adds: Vec<AddedLeaf>,
    /// Inline Removes, as leaves of the parent.
    pub removes: Vec<Leaf>,
    /// Whether it carries a GroupContextExtensions proposal. That it changes our extension only is already checked.
    pub changes_binding: bool,
    /// Authenticated data: the encoding of the SignedOp of a Join or RejoinRequest in an external commit, else empty.
    pub aad: Vec<u8>,
}

/// An inline Add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedLeaf {
    /// Whose.
    pub persona: PersonaId,
    /// Its signature key.
    pub device: DeviceId,
    /// SHA-256 of the KeyPackage as the Add op carried it.
    pub key_package_hash: [u8; 32],
}

/// What a member asks for in an own commit. An empty plan is a self-update.
#[derive(Clone, Debug, Default)]
pub struct CommitPlan {
    /// KeyPackages to add.
    pub adds: Vec<Vec<u8>>,
    /// Leaf indexes to remove.
    pub removes: Vec<u32>,
    /// New extension; always given when there are adds or removes.
    pub binding: Option<Binding>,
}

/// An own commit: a child that already exists, and the bytes that let others follow.
pub struct OwnCommit<N> {
    /// MLSMessage of the PublicMessage.
    pub commit: Vec<u8>,
    /// MLSMessage of the Welcome with its ratchet tree, if anybody was added.
    pub welcome: Option<Vec<u8>>,
    /// The child.
    pub child: N,
}

/// A decrypted application message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it.
    pub sender: Leaf,
    /// The plaintext.
    pub plaintext: Vec<u8>,
}

/// Why MLS refused. No variant carries bytes, keys or ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MlsError {
    /// Not an MLS message of the expected kind, or of another group or epoch.
    #[error("not a message for this node")]
    NotForThisNode,
    /// A signature, tag, tree or proposal did not check.
    #[error("the message does not check")]
    Invalid,
    /// A rule of Hearth forbids it whatever the policy says (by-reference proposal, changed leaf key, foreign
    /// extension, external sender, duplicate signature key).
    #[error("the commit is of a forbidden form")]
    Forbidden,
    /// It is publicly fine, and this member cannot open it: grounds for a Nack.
    #[error("the commit cannot be opened here")]
    CannotOpen,
    /// The message was opened before, or its key is gone.
    #[error("the message's key was already used")]
    AlreadyUsed,
    /// The node's secrets are not held.
    #[error("this node's secrets are not held here")]
    NoSecrets,
    /// State rows do not load.
    #[error("stored MLS state does not load")]
    State,
    /// The library failed in a way that input cannot cause.
    #[error("MLS library error")]
    Library,
}

/// One node of the commit DAG.
pub trait MlsNode: Sized {
    /// What anybody can read of it.
    fn facts(&self) -> &NodeFacts;
    /// TLS encodings of its GroupContext and its confirmation tag, which its NodeId hashes.
    ///
    /// # Errors
    /// [`MlsError::Library`].
    fn context(&self) -> Result<Vec<u8>, MlsError>;
    /// Whether this member can read, write and commit here.
    fn has_secrets(&self) -> bool;
    /// Whether messages of this node can be opened here: with its secrets, or since [`Self::only_read`].
    fn can_read(&self) -> bool;
    /// Gives up, for good, everything but what opens messages that are still to come. From here nothing follows any more:
    /// what was said at later nodes, and forgotten there, cannot be found out from this one.
    fn only_read(&mut self);
    /// Verifies a commit on this node without its secrets; returns what it does and the child's public side.
    ///
    /// # Errors
    /// [`MlsError::NotForThisNode`], [`MlsError::Invalid`], [`MlsError::Forbidden`].
    fn check(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError>;
    /// Processes a commit with this node's secrets: as `check`, and the child has secrets too.
    /// A commit that removes this member, or that this member's own leaf made elsewhere, gives
    /// [`MlsError::NoSecrets`] (use `check`).
    ///
    /// # Errors
    /// As `check`, and [`MlsError::CannotOpen`] when only the secret part fails.
    fn apply(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError>;
    /// Makes an own commit; this node stays as it is.
    ///
    /// # Errors
    /// [`MlsError::NoSecrets`], [`MlsError::Invalid`] for a KeyPackage that does not check.
    fn commit(
        &self,
        device: &DeviceKeys,
        plan: &CommitPlan,
        rng: &mut dyn CryptoRng,
    ) -> Result<OwnCommit<Self>, MlsError>;
    /// Encrypts; advances the own ratchet.
    ///
    /// # Errors
    /// [`MlsError::NoSecrets`].
    fn encrypt(&mut self, device: &DeviceKeys, plaintext: &[u8]) -> Result<Vec<u8>, MlsError>;
    /// Decrypts; deletes the used key.
    ///
    /// # Errors
    /// [`MlsError::Invalid`], [`MlsError::AlreadyUsed`], [`MlsError::NoSecrets`] where it cannot be read.
    fn decrypt(&mut self, message: &[u8]) -> Result<Opened, MlsError>;
    /// MLS exporter (RFC 9420 §8.5), 32 bytes.
    ///
    /// # Errors
    /// [`MlsError::NoSecrets`].
    fn export(&self, label: &str, context: &[u8]) -> Result<[u8; 32], MlsError>;
    /// Epoch authenticator: equal on all members of this node.
    ///
    /// # Errors
    /// [`MlsError::NoSecrets`].
    fn authenticator(&self) -> Result<Vec<u8>, MlsError>;
    /// MLSMessage of a signed GroupInfo with ratchet tree and external public key.
    ///
    /// # Errors
    /// [`MlsError::NoSecrets`].
    fn group_info(&self, device: &DeviceKeys) -> Result<Vec<u8>, MlsError>;
    /// All rows, for writing a node the first time.
    fn rows(&self) -> Rows;
    /// Rows changed since creation, load or the last call.
    fn take_changes(&mut self) -> RowChanges;
}

/// Makes nodes.
pub trait Mls {
    /// One node's state.
    type Node: MlsNode;
    /// The first node of a group, with the creator as its only leaf.
    ///
    /// # Errors
    /// [`MlsError::Library`].
    fn create(
        &self,
        device: &DeviceKeys,
        mls_group_id: &[u8; 32],
        suite: Suite,
        binding: &Binding,
    ) -> Result<Self::Node, MlsError>;
    /// A node from its rows.
    ///
    /// # Errors
    /// [`MlsError::State`].
    fn load(&self, rows: Rows) -> Result<Self::Node, MlsError>;
    /// The public side of a node from its GroupInfo (signature, tree and parent hashes checked).
    ///
    /// # Errors
    /// [`MlsError::Invalid`].
    fn open_group_info(&self, group_info: &[u8]) -> Result<Self::Node, MlsError>;
    /// Reads what [`MlsNode::context`] gives.
    ///
    /// # Errors
    /// [`MlsError::Invalid`].
    fn read_context(&self, context: &[u8]) -> Result<NodeContext, MlsError>;
    /// Where a commit or application message claims to belong; `None` if it is neither.
    fn place_of(&self, message: &[u8]) -> Option<Place>;
    /// Joins from outside on the node of `group_info`: the child, and the commit to send. `aad` carries the Join.
    ///
    /// # Errors
    /// [`MlsError::Invalid`].
    fn join_external(
        &self,
        device: &DeviceKeys,
        group_info: &[u8],
        aad: &[u8],
    ) -> Result<(Vec<u8>, Self::Node), MlsError>;
    /// A KeyPackage of this device, and the rows of its private part.
    ///
    /// # Errors
    /// [`MlsError::Library`].
    fn key_package(&self, device: &DeviceKeys, suite: Suite) -> Result<(Vec<u8>, Rows), MlsError>;
    /// Reads whose KeyPackage it is, after checking it and that it is of this suite.
    ///
    /// # Errors
    /// [`MlsError::Invalid`].
    fn inspect_key_package(&self, key_package: &[u8], suite: Suite) -> Result<AddedLeaf, MlsError>;
    /// Opens a Welcome with a KeyPackage's private rows, which stay usable until the caller drops them.
    ///
    /// # Errors
    /// [`MlsError::Invalid`], [`MlsError::NotForThisNode`].
    fn join_welcome(&self, device: &DeviceKeys, private: &Rows, welcome: &[u8]) -> Result<Self::Node, MlsError>;
}
