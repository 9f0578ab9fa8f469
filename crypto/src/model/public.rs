//! A node's public side: what anybody can read, check and derive.

use hearth_protocol::{
    cbor,
    id::{DeviceId, NodeId, PersonaId, hash},
};
use minicbor::{Decode, Encode, bytes::ByteVec};

use super::{
    node::{ModelNode, Secret},
    symbol::{self, Key},
    wire::{self, Commit, Content, GroupInfo, GroupInfoTbs, Joiner, KeyPackage, PathEntry, PlacedLeaf, Welcome},
};
use crate::{
    mls::{AddedLeaf, Binding, CommitFacts, Leaf, MlsError, NodeFacts, OwnCommit, Suite},
    persona::DeviceKeys,
};

/// A node's public side.
#[derive(Clone)]
pub(super) struct Public {
    pub(super) group: [u8; 32],
    suite: Suite,
    pub(super) facts: NodeFacts,
    /// Keys of the leaves, in their order.
    keys: Vec<Key>,
    pub(super) confirmed: Key,
    tag: Key,
    /// Hash of the tree.
    tree: Key,
}

/// What a NodeId hashes.
#[derive(Encode, Decode)]
pub(super) struct Context {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) group: [u8; 32],
    #[n(1)]
    pub(super) suite: u16,
    #[n(2)]
    pub(super) epoch: u64,
    #[cbor(n(3), with = "minicbor::bytes")]
    tree: Key,
    #[cbor(n(4), with = "minicbor::bytes")]
    confirmed: Key,
    #[n(5)]
    pub(super) binding: Binding,
}

/// A node's context and confirmation tag.
#[derive(Encode, Decode)]
pub(super) struct Confirmed {
    #[n(0)]
    pub(super) context: Context,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) tag: Key,
}

impl Confirmed {
    pub(super) fn node(&self) -> NodeId {
        NodeId(hash(&[b"hearth node/2", &cbor::to_vec(self)]))
    }
}

/// A node's public side as a row.
#[derive(Encode, Decode)]
pub(super) struct PublicRow {
    #[cbor(n(0), with = "minicbor::bytes")]
    group: [u8; 32],
    #[n(1)]
    suite: u16,
    #[n(2)]
    epoch: u64,
    #[n(3)]
    binding: Binding,
    #[n(4)]
    leaves: Vec<PlacedLeaf>,
    #[cbor(n(5), with = "minicbor::bytes")]
    confirmed: Key,
    #[cbor(n(6), with = "minicbor::bytes")]
    tag: Key,
}

/// Secrets that an author draws.
pub(super) struct Authoring {
    pub(super) init: Key,
    pub(super) leaf_key: Key,
    pub(super) commit_secret: Key,
}

impl Public {
    pub(super) fn first(
        device: &DeviceKeys,
        group: &[u8; 32],
        suite: Suite,
        binding: &Binding,
        leaf_key: &Key,
    ) -> Self {
        let leaf = wire::Leaf::new(device, leaf_key);
        let leaves = vec![Leaf { index: 0, persona: leaf.persona, device: leaf.device }];
        // The first epoch's secret is random, so the first NodeId takes the leaf's fresh key for its nonce, as in MLS.
        Self::assemble((*group, suite, 0), binding.clone(), (leaves, vec![leaf.key]), ([0; 32], [0; 32]))
    }

    fn assemble(
        (group, suite, epoch): ([u8; 32], Suite, u64),
        binding: Binding,
        (leaves, keys): (Vec<Leaf>, Vec<Key>),
        (confirmed, tag): (Key, Key),
    ) -> Self {
        let mut tree = Vec::with_capacity(leaves.len() * 100);
        for (leaf, key) in leaves.iter().zip(&keys) {
            tree.extend(leaf.index.to_be_bytes());
            tree.extend(leaf.persona.0);
            tree.extend(leaf.device.0);
            tree.extend(key);
        }
        let tree = hash(&[&tree]);
        let facts = NodeFacts { node: NodeId([0; 32]), mls_group_id: group, epoch, suite, binding, leaves };
        let mut public = Self { group, suite, facts, keys, confirmed, tag, tree };
        public.confirm(tag);
        public
    }

    /// The tag decides the node.
    fn confirm(&mut self, tag: Key) {
        self.tag = tag;
        self.facts.node = self.context().node();
    }

    pub(super) fn context(&self) -> Confirmed {
        let context = Context {
            group: self.group,
            suite: self.suite.code(),
            epoch: self.facts.epoch,
            tree: self.tree,
            confirmed: self.confirmed,
            binding: self.facts.binding.clone(),
        };
        Confirmed { context, tag: self.tag }
    }

    /// What a commit's secrets rest on, before there is a tag.
    pub(super) fn unconfirmed(&self) -> Key {
        hash(&[b"model context", &cbor::to_vec(&self.context().context)])
    }

    pub(super) fn from_parts(row: &PublicRow) -> Option<Self> {
        let suite = Suite::from_code(row.suite)?;
        let sorted = row.leaves.is_sorted_by(|a, b| a.index < b.index);
        let mut devices: Vec<_> = row.leaves.iter().map(|placed| placed.leaf.device).collect();
        devices.sort_unstable();
        let unique = devices.is_sorted_by(|a, b| a < b);
        if !sorted || !unique || !row.leaves.iter().all(|placed| placed.leaf.is_valid()) {
            return None;
        }
        let leaf = |placed: &PlacedLeaf| Leaf {
            index: placed.index,
            persona: placed.leaf.persona,
            device: placed.leaf.device,
        };
        let tree = (row.leaves.iter().map(leaf).collect(), row.leaves.iter().map(|placed| placed.leaf.key).collect());
        Some(Self::assemble((row.group, suite, row.epoch), row.binding.clone(), tree, (row.confirmed, row.tag)))
    }

    pub(super) fn from_info(info: &GroupInfo) -> Result<Self, MlsError> {
        let tbs = &info.tbs;
        let public = Self::from_parts(&PublicRow {
            group: tbs.group,
            suite: tbs.suite,
            epoch: tbs.epoch,
            binding: tbs.binding.clone(),
            leaves: tbs.leaves.clone(),
            confirmed: tbs.confirmed,
            tag: tbs.tag,
        });
        let public = public.ok_or(MlsError::Invalid)?;
        let signer = public.leaf_at(tbs.signer).ok_or(MlsError::Invalid)?;
        if info.is_signed_by(signer.device) { Ok(public) } else { Err(MlsError::Invalid) }
    }

    fn placed(&self) -> Vec<PlacedLeaf> {
        let place = |(leaf, key): (&Leaf, &Key)| PlacedLeaf {
            index: leaf.index,
            leaf: wire::Leaf {
                persona: leaf.persona,
                device: leaf.device,
                credential: symbol::credential(leaf.persona, leaf.device),
                key: *key,
            },
        };
        self.facts.leaves.iter().zip(&self.keys).map(place).collect()
    }

    pub(super) fn row(&self) -> PublicRow {
        PublicRow {
            group: self.group,
            suite: self.suite.code(),
            epoch: self.facts.epoch,
            binding: self.facts.binding.clone(),
            leaves: self.placed(),
            confirmed: self.confirmed,
            tag: self.tag,
        }
    }

    pub(super) fn leaf_at(&self, index: u32) -> Option<&Leaf> {
        let at = self.facts.leaves.binary_search_by_key(&index, |leaf| leaf.index).ok()?;
        self.facts.leaves.get(at)
    }

    pub(super) fn index_of(&self, device: DeviceId) -> Option<u32> {
        self.facts.leaves.iter().find(|leaf| leaf.device == device).map(|leaf| leaf.index)
    }

    pub(super) fn info(&self, device: &DeviceKeys, signer: u32, epoch: &Key) -> GroupInfo {
        let tbs = GroupInfoTbs {
            group: self.group,
            suite: self.suite.code(),
            epoch: self.facts.epoch,
            binding: self.facts.binding.clone(),
            leaves: self.placed(),
            confirmed: self.confirmed,
            tag: self.tag,
            external: symbol::public(&symbol::external_key(epoch)),
            signer,
        };
        GroupInfo::new(device, tbs)
    }

    /// Reads a commit for this group and epoch.
    pub(super) fn read(&self, commit: &[u8]) -> Result<Commit, MlsError> {
        let commit: Commit = wire::read(wire::COMMIT, commit)?;
        let here = commit.content.group == self.group && commit.content.epoch == self.facts.epoch;
        if here { Ok(commit) } else { Err(MlsError::NotForThisNode) }
    }

    /// Verifies a commit; the same checks in the same order as over OpenMLS, then the child.
    pub(super) fn check(&self, commit: &Commit) -> Result<(CommitFacts, Self), MlsError> {
        let content = &commit.content;
        let old = content.sender.map(|index| self.leaf_at(index).ok_or(MlsError::Invalid)).transpose()?;
        let signer = old.map_or(content.leaf.device, |leaf| leaf.device);
        if !content.leaf.is_valid()
            || commit.signature != symbol::sign(signer, &self.facts.node.0, &cbor::to_vec(content))
        {
            return Err(MlsError::Invalid);
        }
        let external = old.is_none();
        let path = (content.leaf.persona, content.leaf.device);
        let forbidden = match old {
            Some(old) => path != (old.persona, old.device) || !content.aad.is_empty() || content.external.is_some(),
            None => !content.adds.is_empty() || content.binding.is_some() || content.external.is_none(),
        };
        if forbidden {
            return Err(MlsError::Forbidden);
        }
        let (mut facts, packages) = self.proposals(content)?;
        if external && (facts.removes.len() > 1 || facts.removes.iter().any(|leaf| leaf.persona != path.0)) {
            return Err(MlsError::Forbidden);
        }
        let (child, author) = self.child(content, &packages, commit)?;
        facts.author = author;
        Ok((facts, child))
    }

    /// Reads the proposals; the author's index in the result is not final for an external commit.
    fn proposals(&self, content: &Content) -> Result<(CommitFacts, Vec<KeyPackage>), MlsError> {
        let mut removes = Vec::with_capacity(content.removes.len());
        for index in &content.removes {
            let leaf = *self.leaf_at(*index).ok_or(MlsError::Invalid)?;
            if content.sender == Some(*index) || removes.contains(&leaf) {
                return Err(MlsError::Invalid);
            }
            removes.push(leaf);
        }
        let mut packages = Vec::with_capacity(content.adds.len());
        let mut adds: Vec<AddedLeaf> = Vec::with_capacity(content.adds.len());
        let stays = |device: DeviceId| {
            self.facts.leaves.iter().any(|leaf| leaf.device == device && !removes.iter().any(|gone| gone == leaf))
        };
        for bytes in &content.adds {
            let package = KeyPackage::read(bytes).filter(|package| package.suite == self.suite.code());
            let package = package.ok_or(MlsError::Invalid)?;
            let add = package.added(bytes);
            if stays(add.device) || adds.iter().any(|other| other.device == add.device) {
                return Err(MlsError::Forbidden);
            }
            adds.push(add);
            packages.push(package);
        }
        if content.sender.is_none() && stays(content.leaf.device) {
            return Err(MlsError::Forbidden);
        }
        let author = Leaf {
            index: content.sender.unwrap_or_default(),
            persona: content.leaf.persona,
            device: content.leaf.device,
        };
        let changes_binding = content.binding.is_some();
        let external = content.sender.is_none();
        Ok((CommitFacts { author, external, adds, removes, changes_binding, aad: content.aad.to_vec() }, packages))
    }

    /// The child that a commit makes, and its author's leaf there.
    fn child(&self, content: &Content, packages: &[KeyPackage], commit: &Commit) -> Result<(Self, Leaf), MlsError> {
        let mut leaves: Vec<(Leaf, Key)> = self
            .facts
            .leaves
            .iter()
            .copied()
            .zip(self.keys.iter().copied())
            .filter(|(leaf, _)| !content.removes.contains(&leaf.index))
            .collect();
        let recipients = leaves.iter().map(|(leaf, _)| leaf.index).filter(|index| Some(*index) != content.sender);
        if !recipients.eq(content.path.iter().map(|entry| entry.leaf)) {
            return Err(MlsError::Invalid);
        }
        if let Some((_, key)) = leaves.iter_mut().find(|(leaf, _)| Some(leaf.index) == content.sender) {
            *key = content.leaf.key;
        }
        for package in packages {
            place(&mut leaves, (package.leaf.persona, package.leaf.device), package.leaf.key);
        }
        let author = match content.sender {
            Some(index) => Leaf { index, persona: content.leaf.persona, device: content.leaf.device },
            None => place(&mut leaves, (content.leaf.persona, content.leaf.device), content.leaf.key),
        };
        let interim = hash(&[b"model interim", &self.confirmed, &self.tag]);
        let confirmed = hash(&[b"model confirmed", &interim, &commit.signature, &cbor::to_vec(content)]);
        let epoch = self.facts.epoch.checked_add(1).ok_or(MlsError::Invalid)?;
        let binding = content.binding.clone().unwrap_or_else(|| self.facts.binding.clone());
        let at = (self.group, self.suite, epoch);
        Ok((Self::assemble(at, binding, leaves.into_iter().unzip(), (confirmed, commit.tag)), author))
    }

    /// Finishes a commit: path, signature, tag, Welcome and child.
    pub(super) fn author(
        &self,
        device: &DeviceKeys,
        mut content: Content,
        secrets: Authoring,
        draw: &mut dyn FnMut() -> Key,
    ) -> Result<OwnCommit<ModelNode>, MlsError> {
        let Authoring { init, leaf_key, commit_secret } = secrets;
        let recipients = self
            .facts
            .leaves
            .iter()
            .zip(&self.keys)
            .filter(|(leaf, _)| Some(leaf.index) != content.sender && !content.removes.contains(&leaf.index));
        // An author who broke the path beforehand keeps it so.
        let broken: Vec<u32> = content.path.iter().map(|entry| entry.leaf).collect();
        content.path = recipients
            .map(|(leaf, key)| {
                let mut sealed = symbol::seal(key, draw(), &commit_secret);
                if broken.contains(&leaf.index) {
                    sealed[95] ^= 1;
                }
                PathEntry { leaf: leaf.index, sealed }
            })
            .collect();
        let signature = symbol::sign(device.device(), &self.facts.node.0, &cbor::to_vec(&content));
        let mut commit = Commit { content, signature, tag: [0; 32] };
        let (facts, mut child) = self.check(&commit)?;
        let joiner = symbol::joiner_secret(&init, &commit_secret, &child.unconfirmed());
        let epoch = symbol::epoch_secret(&joiner);
        commit.tag = symbol::confirmation(&epoch, &child.confirmed);
        child.confirm(commit.tag);
        let own = facts.author.index;
        let welcome = (!facts.adds.is_empty()).then(|| {
            let info = child.info(device, own, &epoch);
            let joiners = commit.content.adds.iter().zip(&facts.adds).filter_map(|(bytes, add)| {
                let sealed = symbol::seal(&KeyPackage::read(bytes)?.init, draw(), &joiner);
                Some(Joiner { package: add.key_package_hash, sealed })
            });
            let joiners = joiners.collect();
            let info = ByteVec::from(symbol::wrap(&joiner, &cbor::to_vec(&info)));
            wire::write(wire::WELCOME, &Welcome { joiners, info })
        });
        let node = ModelNode::new(child, Some(Secret { epoch, leaf_key, own }));
        Ok(OwnCommit { commit: wire::write(wire::COMMIT, &commit), welcome, child: node })
    }
}

/// Puts a leaf at the leftmost free index.
fn place(leaves: &mut Vec<(Leaf, Key)>, (persona, device): (PersonaId, DeviceId), key: Key) -> Leaf {
    let free = leaves.iter().zip(0u32..).position(|((leaf, _), expected)| leaf.index != expected);
    let at = free.unwrap_or(leaves.len());
    let leaf = Leaf { index: u32::try_from(at).unwrap_or(u32::MAX), persona, device };
    leaves.insert(at, (leaf, key));
    leaf
}
