//! One node over OpenMLS. Its children grow in copies of its rows, so the node itself never moves.

use openmls::framing::ContentType;
use openmls::{
    group::{MlsGroup, PublicGroup},
    prelude::{
        LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage, Sender,
        tls_codec::DeserializeBytes as _,
    },
};
use rand::CryptoRng;

use super::{
    errors, facts,
    held::{Group as _, Held},
    settings::{Crypto, DeviceSigner, Provider, context_extensions},
    store::NodeStore,
};
use crate::{
    mls::{CommitFacts, CommitPlan, MlsError, MlsNode, NodeFacts, Opened, OwnCommit, RowChanges, Rows},
    persona::DeviceKeys,
};

/// The longest message that is read at all, in bytes.
const MESSAGE_MAX: usize = hearth_protocol::limits::OBJECT_MAX;

/// One node of the commit DAG over OpenMLS.
pub struct OpenMlsNode {
    crypto: Crypto,
    store: NodeStore,
    state: State,
    facts: NodeFacts,
}

enum State {
    Member(Held<MlsGroup>),
    /// A member's that only reads: what OpenMLS takes for its secrets are zeros.
    Reader(Held<MlsGroup>),
    Public(Held<PublicGroup>),
}

impl std::fmt::Debug for OpenMlsNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenMlsNode").field("node", &self.facts.node).finish_non_exhaustive()
    }
}

/// Reads an MLSMessage: exactly one, nothing after it.
pub(super) fn read(bytes: &[u8]) -> Result<MlsMessageBodyIn, MlsError> {
    if bytes.len() > MESSAGE_MAX {
        return Err(MlsError::NotForThisNode);
    }
    MlsMessageIn::tls_deserialize_exact_bytes(bytes).map(MlsMessageIn::extract).map_err(|_| MlsError::NotForThisNode)
}

fn repeats<T: Ord>(items: impl Iterator<Item = T>) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    !items.into_iter().all(|item| seen.insert(item))
}

impl OpenMlsNode {
    /// A member's node that OpenMLS has just written to `store`.
    pub(super) fn member(crypto: Crypto, store: NodeStore, group: MlsGroup, facts: NodeFacts) -> Self {
        store.settle();
        Self { crypto, store, state: State::Member(Held::new(group)), facts }
    }

    /// A public node that OpenMLS has just written to `store`.
    pub(super) fn public_only(crypto: Crypto, store: NodeStore, group: PublicGroup, facts: NodeFacts) -> Self {
        store.settle();
        Self { crypto, store, state: State::Public(Held::new(group)), facts }
    }

    /// A node from its rows.
    pub(super) fn load(crypto: Crypto, rows: Rows) -> Result<Self, MlsError> {
        let store = NodeStore::new(rows);
        if store.has_secrets() {
            let group = MlsGroup::from_rows(&store)?;
            let facts = facts::trusted(group.public_group()).map_err(|_| MlsError::State)?;
            if store.only_reads() {
                return Ok(Self { crypto, store, state: State::Reader(Held::new(group)), facts });
            }
            return Ok(Self::member(crypto, store, group, facts));
        }
        let group = PublicGroup::from_rows(&store)?;
        let facts = facts::trusted(&group).map_err(|_| MlsError::State)?;
        Ok(Self::public_only(crypto, store, group, facts))
    }

    fn held(&self) -> Result<&Held<MlsGroup>, MlsError> {
        match &self.state {
            State::Member(group) => Ok(group),
            State::Reader(_) | State::Public(_) => Err(MlsError::NoSecrets),
        }
    }

    /// Looks at what anybody can see of the group.
    fn public<T>(&self, look: impl FnOnce(&PublicGroup) -> T) -> Result<T, MlsError> {
        match &self.state {
            State::Member(group) | State::Reader(group) => group.look(&self.store, |group| look(group.public_group())),
            State::Public(group) => group.look(&self.store, look),
        }
    }

    /// Looks at this member's group.
    fn group<T>(&self, look: impl FnOnce(&MlsGroup) -> T) -> Result<T, MlsError> {
        self.held()?.look(&self.store, look)
    }

    /// Refuses a device that is not this member's leaf: OpenMLS would sign for a leaf with another's key.
    fn own(&self, device: &DeviceKeys) -> Result<(), MlsError> {
        let own = self.group(|group| group.own_leaf_index())?;
        let leaf = facts::leaf_at(&self.facts, own.u32());
        if leaf.is_some_and(|leaf| leaf.device == device.device()) { Ok(()) } else { Err(MlsError::NoSecrets) }
    }

    /// This member's state, to grow into a child: the rows stay here and are copied, the group goes.
    fn fork(&self) -> Result<(NodeStore, Box<MlsGroup>), MlsError> {
        Ok((self.store.fork(), self.held()?.take(&self.store)?))
    }

    /// A commit in the open for this group and epoch.
    fn read_commit(&self, commit: &[u8]) -> Result<ProtocolMessage, MlsError> {
        let MlsMessageBodyIn::PublicMessage(message) = read(commit)? else { return Err(MlsError::NotForThisNode) };
        let message = ProtocolMessage::from(message);
        let context = self.store.context()?;
        let here = message.group_id() == context.group_id() && message.epoch() == context.epoch();
        if here && message.content_type() == ContentType::Commit { Ok(message) } else { Err(MlsError::NotForThisNode) }
    }

    fn apply_in(
        &self,
        store: NodeStore,
        mut group: Box<MlsGroup>,
        message: ProtocolMessage,
    ) -> Result<(CommitFacts, Self), Failed> {
        let provider = Provider { crypto: &self.crypto, store: &store };
        let processed = group.process_message(&provider, message).map_err(|error| match error {
            error if errors::is_own_commit(&error) => Failed::As(MlsError::NoSecrets),
            error if errors::is_tampered(&error) => Failed::As(MlsError::Invalid),
            _ => Failed::Unclear,
        })?;
        let judged = facts::judge(group.public_group(), &self.facts, processed).map_err(Failed::As)?;
        if judged.staged.self_removed() {
            return Err(Failed::As(MlsError::NoSecrets));
        }
        let new = judged.new_leaves();
        group.merge_staged_commit(&provider, *judged.staged).map_err(|_| Failed::Unclear)?;
        let child = facts::of_child(group.public_group(), &self.facts, &new).map_err(Failed::As)?;
        Ok((judged.facts, Self::member(self.crypto.clone(), store, *group, child)))
    }
}

/// How applying failed: clear, or to be told apart by the public check.
enum Failed {
    As(MlsError),
    Unclear,
}

impl MlsNode for OpenMlsNode {
    fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    fn context(&self) -> Result<Vec<u8>, MlsError> {
        self.public(facts::context_bytes)?
    }

    fn has_secrets(&self) -> bool {
        matches!(self.state, State::Member(_))
    }

    fn can_read(&self) -> bool {
        matches!(self.state, State::Member(_) | State::Reader(_))
    }

    fn only_read(&mut self) {
        if !matches!(self.state, State::Member(_)) {
            return;
        }
        // What cannot be emptied does not stay.
        self.state = match self.store.only_read() {
            Ok(()) => State::Reader(Held::unread()),
            Err(_) => State::Public(Held::unread()),
        };
    }

    fn check(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError> {
        let message = self.read_commit(commit)?;
        let judged = self.public(|group| {
            let processed = group.process_message(&*self.crypto, message).map_err(|e| errors::public(&e))?;
            facts::judge(group, &self.facts, processed)
        })??;
        let new = judged.new_leaves();
        let store = self.store.fork_public();
        let mut child = match &self.state {
            State::Public(group) => group.take(&self.store)?,
            State::Member(_) | State::Reader(_) => Box::new(PublicGroup::from_rows(&store)?),
        };
        child.merge_commit(&store, *judged.staged).map_err(|_| MlsError::Library)?;
        let facts = facts::of_child(&child, &self.facts, &new)?;
        Ok((judged.facts, Self::public_only(self.crypto.clone(), store, *child, facts)))
    }

    fn apply(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError> {
        let message = self.read_commit(commit)?;
        let (store, group) = self.fork()?;
        self.apply_in(store, group, message).or_else(|failed| {
            // Only what is publicly fine gives grounds for a Nack, so the public check has the last word.
            self.check(commit)?;
            Err(match failed {
                Failed::As(error) => error,
                Failed::Unclear => MlsError::CannotOpen,
            })
        })
    }

    fn commit(
        &self,
        device: &DeviceKeys,
        plan: &CommitPlan,
        _: &mut dyn CryptoRng,
    ) -> Result<OwnCommit<Self>, MlsError> {
        self.own(device)?;
        let packages = plan.adds.iter().map(|bytes| super::key_package_in(&self.crypto, bytes));
        let packages = packages.collect::<Result<Vec<_>, _>>()?;
        let new: Vec<_> = packages.iter().map(|(_, leaf)| (leaf.persona, leaf.device)).collect();
        // OpenMLS drops a repeated proposal silently; a plan that says a thing twice is a mistake.
        if repeats(new.iter().map(|(_, device)| device)) || repeats(plan.removes.iter()) {
            return Err(MlsError::Invalid);
        }
        let (store, mut group) = self.fork()?;
        let provider = Provider { crypto: &self.crypto, store: &store };
        let mut builder = group
            .commit_builder()
            .consume_proposal_store(false)
            .force_self_update(true)
            .propose_adds(packages.into_iter().map(|(package, _)| package))
            .propose_removals(plan.removes.iter().copied().map(LeafNodeIndex::new));
        if let Some(binding) = &plan.binding {
            builder = builder
                .propose_group_context_extensions(context_extensions(binding)?)
                .map_err(|e| errors::create(&e))?;
        }
        let welcome = !plan.adds.is_empty();
        let bundle = builder
            .load_psks(&store)
            .map_err(|e| errors::create(&e))?
            .create_group_info(welcome)
            .use_ratchet_tree_extension(welcome)
            .build(&*self.crypto, &*self.crypto, &DeviceSigner(device), |_| true)
            .map_err(|e| errors::create(&e))?
            .stage_commit(&provider)
            .map_err(|_| MlsError::Library)?;
        group.merge_pending_commit(&provider).map_err(|_| MlsError::Library)?;
        let child = facts::of_child(group.public_group(), &self.facts, &new)?;
        let (commit, welcome, _) = bundle.into_messages();
        let commit = commit.to_bytes().map_err(|_| MlsError::Library)?;
        let welcome = welcome.map(|w| w.to_bytes()).transpose().map_err(|_| MlsError::Library)?;
        Ok(OwnCommit { commit, welcome, child: Self::member(self.crypto.clone(), store, *group, child) })
    }

    fn encrypt(&mut self, device: &DeviceKeys, plaintext: &[u8]) -> Result<Vec<u8>, MlsError> {
        self.own(device)?;
        let State::Member(group) = &mut self.state else { return Err(MlsError::NoSecrets) };
        let group = group.get(&self.store)?;
        let provider = Provider { crypto: &self.crypto, store: &self.store };
        let message = group.create_message(&provider, &DeviceSigner(device), plaintext);
        message.map_err(|_| MlsError::Library)?.to_bytes().map_err(|_| MlsError::Library)
    }

    fn decrypt(&mut self, message: &[u8]) -> Result<Opened, MlsError> {
        let (State::Member(group) | State::Reader(group)) = &mut self.state else { return Err(MlsError::NoSecrets) };
        let MlsMessageBodyIn::PrivateMessage(message) = read(message)? else { return Err(MlsError::NotForThisNode) };
        let message = ProtocolMessage::from(message);
        if message.content_type() != ContentType::Application {
            return Err(MlsError::NotForThisNode);
        }
        let group = group.get(&self.store)?;
        let provider = Provider { crypto: &self.crypto, store: &self.store };
        let processed = group.process_message(&provider, message).map_err(|e| errors::message(&e))?;
        let Sender::Member(index) = *processed.sender() else { return Err(MlsError::Invalid) };
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(plaintext) => {
                let sender = *facts::leaf_at(&self.facts, index.u32()).ok_or(MlsError::Invalid)?;
                Ok(Opened { sender, plaintext: plaintext.into_bytes() })
            }
            // A sender's own ratchet forgets each key as it is used.
            ProcessedMessageContent::OwnPrivateMessage => Err(MlsError::AlreadyUsed),
            _ => Err(MlsError::NotForThisNode),
        }
    }

    fn export(&self, label: &str, context: &[u8]) -> Result<[u8; 32], MlsError> {
        let secret = self.group(|group| group.export_secret(&*self.crypto, label, context, 32))?;
        let secret = secret.map_err(|_| MlsError::Library)?;
        let secret = zeroize::Zeroizing::new(secret);
        secret.as_slice().try_into().map_err(|_| MlsError::Library)
    }

    fn authenticator(&self) -> Result<Vec<u8>, MlsError> {
        self.group(|group| group.epoch_authenticator().as_slice().to_vec())
    }

    fn group_info(&self, device: &DeviceKeys) -> Result<Vec<u8>, MlsError> {
        self.own(device)?;
        let info = self.group(|group| group.export_group_info(&*self.crypto, &DeviceSigner(device), true))?;
        info.map_err(|_| MlsError::Library)?.to_bytes().map_err(|_| MlsError::Library)
    }

    fn rows(&self) -> Rows {
        self.store.rows()
    }

    fn take_changes(&mut self) -> RowChanges {
        self.store.take_changes()
    }
}
