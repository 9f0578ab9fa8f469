//! The rows of one node, as OpenMLS reads and writes them.
//!
//! One store holds one node of one group, so group-level rows need no group id in their key: a tag is enough.
//! Values are CBOR, because OpenMLS's types only load from a self-describing format.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
};

use minicbor::{Decoder, Encoder, data::Type};
use openmls::group::GroupContext;
use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroize;

use crate::mls::{MlsError, RowChanges, Rows};

/// Version of OpenMLS's storage interface.
const V: u16 = CURRENT_VERSION;

/// What a row holds: the first byte of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    Tree = 1,
    Context = 2,
    InterimTranscriptHash = 3,
    Confirmation = 4,
    Config = 16,
    GroupState = 17,
    MessageSecrets = 18,
    ResumptionPsks = 19,
    OwnLeafIndex = 20,
    EpochSecrets = 21,
    EpochKeyPairs = 22,
    KeyPackage = 32,
    EncryptionKeyPair = 33,
    SignatureKeyPair = 34,
    Psk = 35,
    Proposal = 36,
    OwnLeafNode = 37,
    /// A mark of our own: the node only reads.
    OnlyReads = 48,
}

impl Tag {
    /// Rows that need no secret: what a node rebuilt from public data has.
    const PUBLIC: [Self; 4] = [Self::Tree, Self::Context, Self::InterimTranscriptHash, Self::Confirmation];
    /// Rows that grow with the group and that OpenMLS writes whenever it makes a child.
    const REWRITTEN: [Self; 2] = [Self::Tree, Self::MessageSecrets];
    /// Rows that serve a single operation and have no place in a finished node.
    const PASSING: [Self; 6] = [
        Self::KeyPackage,
        Self::EncryptionKeyPair,
        Self::SignatureKeyPair,
        Self::Psk,
        Self::Proposal,
        Self::OwnLeafNode,
    ];
}

/// Why a row could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum StoreError {
    #[error("a value does not encode")]
    Encode,
    #[error("a row does not decode")]
    Decode,
}

impl From<minicbor::decode::Error> for StoreError {
    fn from(_: minicbor::decode::Error) -> Self {
        Self::Decode
    }
}

impl From<minicbor::encode::Error<Infallible>> for StoreError {
    fn from(_: minicbor::encode::Error<Infallible>) -> Self {
        Self::Encode
    }
}

/// Rows of one node and which of them changed.
#[derive(Default)]
pub(super) struct NodeStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    rows: Rows,
    changed: BTreeSet<Vec<u8>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.rows.iter_mut().filter(|(key, _)| !is_public(key)).for_each(|(_, value)| value.zeroize());
    }
}

impl NodeStore {
    /// A store of these rows, nothing changed.
    pub(super) fn new(rows: Rows) -> Self {
        Self { inner: Mutex::new(Inner { rows, changed: BTreeSet::new() }) }
    }

    /// A copy for a child to grow in, without the large rows that every child writes anew.
    pub(super) fn fork(&self) -> Self {
        self.fork_where(|key| Tag::REWRITTEN.iter().all(|tag| key.first() != Some(&(*tag as u8))))
    }

    /// A copy without secrets.
    pub(super) fn fork_public(&self) -> Self {
        self.fork_where(is_public)
    }

    fn fork_where(&self, keep: impl Fn(&[u8]) -> bool) -> Self {
        let inner = self.lock();
        let rows = inner.rows.iter().filter(|(key, _)| keep(key)).map(|(k, v)| (k.clone(), v.clone()));
        Self::new(rows.collect())
    }

    /// A copy of every row.
    pub(super) fn rows(&self) -> Rows {
        self.lock().rows.clone()
    }

    /// Ends the making of a node: drops what only served the making, and counts as unchanged from here.
    pub(super) fn settle(&self) {
        for tag in Tag::PASSING {
            self.delete_all(tag);
        }
        self.lock().changed.clear();
    }

    /// Rows changed since the last call.
    pub(super) fn take_changes(&self) -> RowChanges {
        let mut inner = self.lock();
        let changed = std::mem::take(&mut inner.changed);
        changed.into_iter().map(|key| (key.clone(), inner.rows.get(&key).cloned())).collect()
    }

    /// The GroupContext of the node.
    pub(super) fn context(&self) -> Result<GroupContext, MlsError> {
        self.get(&plain_key(Tag::Context)).ok().flatten().ok_or(MlsError::State)
    }

    /// Whether the rows are a member's.
    pub(super) fn has_secrets(&self) -> bool {
        self.lock().rows.contains_key(&plain_key(Tag::OwnLeafIndex))
    }

    /// Whether the rows are those of a node that only reads.
    pub(super) fn only_reads(&self) -> bool {
        self.lock().rows.contains_key(&plain_key(Tag::OnlyReads))
    }

    /// Destroys what later nodes follow from: the key pairs of the path, and the values of the epoch's secrets. Their shape
    /// stays, or OpenMLS would not load the node; message secrets are a row of their own.
    pub(super) fn only_read(&self) -> Result<(), MlsError> {
        self.delete_all(Tag::EpochKeyPairs);
        let key = plain_key(Tag::EpochSecrets);
        let mut inner = self.lock();
        let row = inner.rows.get(&key).ok_or(MlsError::State)?;
        let blank = blank(row).map_err(|_| MlsError::State)?;
        for (key, value) in [(key, blank), (plain_key(Tag::OnlyReads), Vec::new())] {
            inner.changed.insert(key.clone());
            if let Some(mut old) = inner.rows.insert(key, value) {
                old.zeroize();
            }
        }
        Ok(())
    }

    /// Every method leaves the rows consistent, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, key: Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<(), StoreError> {
        let bytes = encode(value)?;
        let mut inner = self.lock();
        inner.changed.insert(key.clone());
        if let Some(mut old) = inner.rows.insert(key, bytes) {
            old.zeroize();
        }
        Ok(())
    }

    fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        let inner = self.lock();
        inner.rows.get(key).map(|bytes| decode(bytes)).transpose()
    }

    fn delete(&self, key: &[u8]) {
        let mut inner = self.lock();
        if let Some(mut old) = inner.rows.remove(key) {
            old.zeroize();
            inner.changed.insert(key.to_vec());
        }
    }

    fn keys(&self, tag: Tag) -> Vec<Vec<u8>> {
        self.lock().rows.range(plain_key(tag)..vec![tag as u8 + 1]).map(|(key, _)| key.clone()).collect()
    }

    fn delete_all(&self, tag: Tag) {
        for key in self.keys(tag) {
            self.delete(&key);
        }
    }

    fn get_all<T: DeserializeOwned>(&self, tag: Tag) -> Result<Vec<T>, StoreError> {
        let inner = self.lock();
        inner.rows.range(plain_key(tag)..vec![tag as u8 + 1]).map(|(_, bytes)| decode(bytes)).collect()
    }
}

/// Where a row grows. Serde sees most of OpenMLS's byte strings as sequences of numbers, so it grows byte by byte.
struct Row(Vec<u8>);

impl minicbor::encode::Write for Row {
    type Error = Infallible;

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        match bytes {
            [byte] => self.0.push(*byte),
            _ => self.0.extend_from_slice(bytes),
        }
        Ok(())
    }
}

fn encode(value: &(impl Serialize + ?Sized)) -> Result<Vec<u8>, StoreError> {
    let mut row = minicbor_serde::Serializer::new(Row(Vec::new()));
    value.serialize(&mut row).map_err(|_| StoreError::Encode)?;
    let row = row.into_encoder().into_writer().0;
    // Homes hold rows that ciborium wrote.
    #[cfg(test)]
    assert_eq!(row, ciborium_writes(value));
    Ok(row)
}

#[cfg(test)]
fn ciborium_writes(value: &(impl Serialize + ?Sized)) -> Vec<u8> {
    let mut row = Vec::new();
    ciborium::into_writer(value, &mut row).unwrap();
    row
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    minicbor_serde::from_slice(bytes).map_err(|_| StoreError::Decode)
}

/// The same row with zeros for numbers and bytes.
fn blank(row: &[u8]) -> Result<Vec<u8>, StoreError> {
    let mut blank = Encoder::new(Vec::new());
    blank_next(&mut Decoder::new(row), &mut blank)?;
    Ok(blank.into_writer())
}

fn blank_next(row: &mut Decoder<'_>, blank: &mut Encoder<Vec<u8>>) -> Result<(), StoreError> {
    match row.datatype()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::I8 | Type::I16 | Type::I32 | Type::I64 | Type::Int => {
            row.skip()?;
            blank.u8(0)?;
        }
        Type::Bytes => {
            blank.bytes(&vec![0; row.bytes()?.len()])?;
        }
        Type::String => {
            blank.str(row.str()?)?;
        }
        Type::Array => {
            let items = row.array()?.ok_or(StoreError::Decode)?;
            blank.array(items)?;
            (0..items).try_for_each(|_| blank_next(row, blank))?;
        }
        Type::Map => {
            let pairs = row.map()?.ok_or(StoreError::Decode)?;
            blank.map(pairs)?;
            (0..2 * pairs).try_for_each(|_| blank_next(row, blank))?;
        }
        _ => return Err(StoreError::Decode),
    }
    Ok(())
}

fn is_public(key: &[u8]) -> bool {
    Tag::PUBLIC.iter().any(|tag| key.first() == Some(&(*tag as u8)))
}

fn plain_key(tag: Tag) -> Vec<u8> {
    vec![tag as u8]
}

fn key(tag: Tag, discriminator: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    let mut key = plain_key(tag);
    key.extend(encode(discriminator)?);
    Ok(key)
}

/// Write, read and delete of a row of which a group has one.
macro_rules! one_per_group {
    ($($tag:ident: $write:ident, $read:ident, $delete:ident, $entity:ident;)*) => {$(
        fn $write<G: traits::GroupId<V>, E: traits::$entity<V>>(&self, _: &G, value: &E) -> Result<(), StoreError> {
            self.put(plain_key(Tag::$tag), value)
        }
        fn $read<G: traits::GroupId<V>, E: traits::$entity<V>>(&self, _: &G) -> Result<Option<E>, StoreError> {
            self.get(&plain_key(Tag::$tag))
        }
        fn $delete<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), StoreError> {
            self.delete(&plain_key(Tag::$tag));
            Ok(())
        }
    )*};
}

/// Write, read and delete of a row with a key of its own.
macro_rules! keyed {
    ($($tag:ident: $write:ident, $read:ident, $delete:ident, $key:ident, $entity:ident;)*) => {$(
        fn $write<K: traits::$key<V>, E: traits::$entity<V>>(&self, at: &K, value: &E) -> Result<(), StoreError> {
            self.put(key(Tag::$tag, at)?, value)
        }
        fn $delete<K: traits::$key<V>>(&self, at: &K) -> Result<(), StoreError> {
            self.delete(&key(Tag::$tag, at)?);
            Ok(())
        }
        keyed!(@read $tag $read $key $entity);
    )*};
    // The order of the type parameters differs from one getter to the next.
    (@read EncryptionKeyPair $read:ident $key:ident $entity:ident) => { keyed!(@entity_first EncryptionKeyPair $read $key $entity); };
    (@read Psk $read:ident $key:ident $entity:ident) => { keyed!(@entity_first Psk $read $key $entity); };
    (@read $tag:ident $read:ident $key:ident $entity:ident) => {
        fn $read<K: traits::$key<V>, E: traits::$entity<V>>(&self, at: &K) -> Result<Option<E>, StoreError> {
            self.get(&key(Tag::$tag, at)?)
        }
    };
    (@entity_first $tag:ident $read:ident $key:ident $entity:ident) => {
        fn $read<E: traits::$entity<V>, K: traits::$key<V>>(&self, at: &K) -> Result<Option<E>, StoreError> {
            self.get(&key(Tag::$tag, at)?)
        }
    };
}

impl StorageProvider<V> for NodeStore {
    type Error = StoreError;

    one_per_group! {
        Tree: write_tree, tree, delete_tree, TreeSync;
        Context: write_context, group_context, delete_context, GroupContext;
        InterimTranscriptHash: write_interim_transcript_hash, interim_transcript_hash, delete_interim_transcript_hash,
            InterimTranscriptHash;
        Confirmation: write_confirmation_tag, confirmation_tag, delete_confirmation_tag, ConfirmationTag;
        Config: write_mls_join_config, mls_group_join_config, delete_group_config, MlsGroupJoinConfig;
        MessageSecrets: write_message_secrets, message_secrets, delete_message_secrets, MessageSecrets;
        ResumptionPsks: write_resumption_psk_store, resumption_psk_store, delete_all_resumption_psk_secrets,
            ResumptionPskStore;
        OwnLeafIndex: write_own_leaf_index, own_leaf_index, delete_own_leaf_index, LeafNodeIndex;
        EpochSecrets: write_group_epoch_secrets, group_epoch_secrets, delete_group_epoch_secrets, GroupEpochSecrets;
    }

    keyed! {
        SignatureKeyPair: write_signature_key_pair, signature_key_pair, delete_signature_key_pair, SignaturePublicKey,
            SignatureKeyPair;
        EncryptionKeyPair: write_encryption_key_pair, encryption_key_pair, delete_encryption_key_pair, EncryptionKey,
            HpkeKeyPair;
        KeyPackage: write_key_package, key_package, delete_key_package, HashReference, KeyPackage;
        Psk: write_psk, psk, delete_psk, PskId, PskBundle;
    }

    fn write_group_state<S: traits::GroupState<V>, G: traits::GroupId<V>>(
        &self,
        _: &G,
        state: &S,
    ) -> Result<(), StoreError> {
        self.put(plain_key(Tag::GroupState), state)
    }

    fn group_state<S: traits::GroupState<V>, G: traits::GroupId<V>>(&self, _: &G) -> Result<Option<S>, StoreError> {
        self.get(&plain_key(Tag::GroupState))
    }

    fn delete_group_state<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), StoreError> {
        self.delete(&plain_key(Tag::GroupState));
        Ok(())
    }

    fn write_encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>, P: traits::HpkeKeyPair<V>>(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[P],
    ) -> Result<(), StoreError> {
        self.put(key(Tag::EpochKeyPairs, &(epoch, leaf_index))?, key_pairs)
    }

    fn encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>, P: traits::HpkeKeyPair<V>>(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<P>, StoreError> {
        Ok(self.get(&key(Tag::EpochKeyPairs, &(epoch, leaf_index))?)?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<G: traits::GroupId<V>, E: traits::EpochKey<V>>(
        &self,
        _: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<(), StoreError> {
        self.delete(&key(Tag::EpochKeyPairs, &(epoch, leaf_index))?);
        Ok(())
    }

    fn append_own_leaf_node<G: traits::GroupId<V>, L: traits::LeafNode<V>>(
        &self,
        _: &G,
        leaf_node: &L,
    ) -> Result<(), StoreError> {
        let mut at = plain_key(Tag::OwnLeafNode);
        at.extend((self.keys(Tag::OwnLeafNode).len() as u64).to_be_bytes());
        self.put(at, leaf_node)
    }

    fn own_leaf_nodes<G: traits::GroupId<V>, L: traits::LeafNode<V>>(&self, _: &G) -> Result<Vec<L>, StoreError> {
        self.get_all(Tag::OwnLeafNode)
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<V>>(&self, _: &G) -> Result<(), StoreError> {
        self.delete_all(Tag::OwnLeafNode);
        Ok(())
    }

    fn queue_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>, Q: traits::QueuedProposal<V>>(
        &self,
        _: &G,
        reference: &R,
        proposal: &Q,
    ) -> Result<(), StoreError> {
        self.put(key(Tag::Proposal, reference)?, &(reference, proposal))
    }

    fn queued_proposals<G: traits::GroupId<V>, R: traits::ProposalRef<V>, Q: traits::QueuedProposal<V>>(
        &self,
        _: &G,
    ) -> Result<Vec<(R, Q)>, StoreError> {
        self.get_all(Tag::Proposal)
    }

    fn queued_proposal_refs<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        _: &G,
    ) -> Result<Vec<R>, StoreError> {
        // A key is its tag and the reference.
        self.keys(Tag::Proposal).iter().map(|key| decode(key.get(1..).unwrap_or_default())).collect()
    }

    fn remove_proposal<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(
        &self,
        _: &G,
        reference: &R,
    ) -> Result<(), StoreError> {
        self.delete(&key(Tag::Proposal, reference)?);
        Ok(())
    }

    fn clear_proposal_queue<G: traits::GroupId<V>, R: traits::ProposalRef<V>>(&self, _: &G) -> Result<(), StoreError> {
        self.delete_all(Tag::Proposal);
        Ok(())
    }
}
