//! A malicious MLS library: one commit of a run is publicly fine, and some or all of those it is for cannot open it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hearth_crypto::{
    mls::{
        AddedLeaf, Binding, CommitFacts, CommitPlan, Mls, MlsError, MlsNode, NodeContext, NodeFacts, Opened, OwnCommit,
        Place, RowChanges, Rows, Suite,
    },
    model::{ModelMls, ModelNode},
    persona::DeviceKeys,
};
use rand::CryptoRng;

/// Which commit is spoiled, and for whom.
#[derive(Clone, Debug)]
pub struct Spoil {
    /// Counted over all members from the beginning; joins from outside do not count.
    pub commit: usize,
    /// Leaves that cannot open it; `None`: all but its author's.
    pub leaves: Option<Vec<u32>>,
    made: Arc<AtomicUsize>,
    asked: Arc<AtomicUsize>,
}

impl Spoil {
    /// Spoils commit number `commit`.
    #[must_use]
    pub fn new(commit: usize, leaves: Option<Vec<u32>>) -> Self {
        Self { commit, leaves, made: Arc::default(), asked: Arc::default() }
    }

    /// Commits made so far.
    #[must_use]
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// How often somebody who was in asked for a fresh leaf. (Who comes in by an open link needs no KeyPackage.)
    #[must_use]
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The model MLS, and a spoiler.
#[derive(Clone)]
pub struct SpoiledMls {
    mls: ModelMls,
    spoil: Spoil,
}

impl SpoiledMls {
    /// Over a model with this seed.
    #[must_use]
    pub fn new(seed: [u8; 32], spoil: Spoil) -> Self {
        Self { mls: ModelMls::new(seed), spoil }
    }

    fn node(&self, node: ModelNode) -> SpoiledNode {
        SpoiledNode { node, spoil: self.spoil.clone() }
    }
}

/// A node of it.
pub struct SpoiledNode {
    node: ModelNode,
    spoil: Spoil,
}

impl SpoiledNode {
    fn child(&self, node: ModelNode) -> Self {
        Self { node, spoil: self.spoil.clone() }
    }
}

impl MlsNode for SpoiledNode {
    fn facts(&self) -> &NodeFacts {
        self.node.facts()
    }

    fn context(&self) -> Result<Vec<u8>, MlsError> {
        self.node.context()
    }

    fn has_secrets(&self) -> bool {
        self.node.has_secrets()
    }

    fn can_read(&self) -> bool {
        self.node.can_read()
    }

    fn only_read(&mut self) {
        self.node.only_read()
    }

    fn check(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError> {
        self.node.check(commit).map(|(facts, child)| (facts, self.child(child)))
    }

    fn apply(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError> {
        self.node.apply(commit).map(|(facts, child)| (facts, self.child(child)))
    }

    fn commit(
        &self,
        device: &DeviceKeys,
        plan: &CommitPlan,
        rng: &mut dyn CryptoRng,
    ) -> Result<OwnCommit<Self>, MlsError> {
        let own = match self.spoil.made.fetch_add(1, Ordering::Relaxed) == self.spoil.commit {
            true => {
                let all = || self.facts().leaves.iter().map(|l| l.index).collect();
                let victims = self.spoil.leaves.clone().unwrap_or_else(all);
                self.node.commit_unopenable(device, plan, &victims, rng)
            }
            false => self.node.commit(device, plan, rng),
        }?;
        let OwnCommit { commit, welcome, child } = own;
        Ok(OwnCommit { commit, welcome, child: self.child(child) })
    }

    fn encrypt(&mut self, device: &DeviceKeys, plaintext: &[u8]) -> Result<Vec<u8>, MlsError> {
        self.node.encrypt(device, plaintext)
    }

    fn decrypt(&mut self, message: &[u8]) -> Result<Opened, MlsError> {
        self.node.decrypt(message)
    }

    fn export(&self, label: &str, context: &[u8]) -> Result<[u8; 32], MlsError> {
        self.node.export(label, context)
    }

    fn authenticator(&self) -> Result<Vec<u8>, MlsError> {
        self.node.authenticator()
    }

    fn group_info(&self, device: &DeviceKeys) -> Result<Vec<u8>, MlsError> {
        self.node.group_info(device)
    }

    fn rows(&self) -> Rows {
        self.node.rows()
    }

    fn take_changes(&mut self) -> RowChanges {
        self.node.take_changes()
    }
}

impl Mls for SpoiledMls {
    type Node = SpoiledNode;

    fn create(
        &self,
        device: &DeviceKeys,
        mls_group_id: &[u8; 32],
        suite: Suite,
        binding: &Binding,
    ) -> Result<SpoiledNode, MlsError> {
        self.mls.create(device, mls_group_id, suite, binding).map(|n| self.node(n))
    }

    fn load(&self, rows: Rows) -> Result<SpoiledNode, MlsError> {
        self.mls.load(rows).map(|n| self.node(n))
    }

    fn open_group_info(&self, group_info: &[u8]) -> Result<SpoiledNode, MlsError> {
        self.mls.open_group_info(group_info).map(|n| self.node(n))
    }

    fn read_context(&self, context: &[u8]) -> Result<NodeContext, MlsError> {
        self.mls.read_context(context)
    }

    fn place_of(&self, message: &[u8]) -> Option<Place> {
        self.mls.place_of(message)
    }

    fn join_external(
        &self,
        device: &DeviceKeys,
        group_info: &[u8],
        aad: &[u8],
    ) -> Result<(Vec<u8>, SpoiledNode), MlsError> {
        self.mls.join_external(device, group_info, aad).map(|(commit, n)| (commit, self.node(n)))
    }

    fn key_package(&self, device: &DeviceKeys, suite: Suite) -> Result<(Vec<u8>, Rows), MlsError> {
        self.spoil.asked.fetch_add(1, Ordering::Relaxed);
        self.mls.key_package(device, suite)
    }

    fn inspect_key_package(&self, key_package: &[u8], suite: Suite) -> Result<AddedLeaf, MlsError> {
        self.mls.inspect_key_package(key_package, suite)
    }

    fn join_welcome(&self, device: &DeviceKeys, private: &Rows, welcome: &[u8]) -> Result<SpoiledNode, MlsError> {
        self.mls.join_welcome(device, private, welcome).map(|n| self.node(n))
    }
}
