//! One symbolic node.

use hearth_protocol::{cbor, id::hash};
use minicbor::{Decode, Encode, bytes::ByteVec};
use rand::CryptoRng;

use super::{
    public::{Authoring, Public, PublicRow},
    ratchet::{Ratchets, message_key, message_root},
    symbol::{self, Key},
    wire::{self, Content, Message, PathEntry},
};
use crate::{
    mls::{CommitFacts, CommitPlan, MlsError, MlsNode, NodeFacts, Opened, OwnCommit, RowChanges, Rows},
    persona::DeviceKeys,
};

/// Row keys.
const PUBLIC_ROW: &[u8] = b"p";
const SECRET_ROW: &[u8] = b"s";
const MESSAGES_ROW: &[u8] = b"m";
const READER_ROW: &[u8] = b"r";

/// What a member holds of a node.
#[derive(Clone, Encode, Decode)]
pub(super) struct Secret {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(super) epoch: Key,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(super) leaf_key: Key,
    #[n(2)]
    pub(super) own: u32,
}

/// What opens messages of a node, and nothing else.
#[derive(Clone, Encode, Decode)]
struct Reader {
    #[cbor(n(0), with = "minicbor::bytes")]
    root: Key,
    #[n(1)]
    own: u32,
}

/// A node over the symbolic MLS.
pub struct ModelNode {
    public: Public,
    secret: Option<Secret>,
    /// In place of the secrets, once it only reads.
    reader: Option<Reader>,
    /// It only reads since its changes were last taken.
    ceased: bool,
    messages: Ratchets,
    changed: bool,
}

impl std::fmt::Debug for ModelNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ModelNode").field("node", &self.public.facts.node).finish_non_exhaustive()
    }
}

impl ModelNode {
    pub(super) fn new(public: Public, secret: Option<Secret>) -> Self {
        Self { public, secret, reader: None, ceased: false, messages: Ratchets::default(), changed: false }
    }

    pub(super) fn load(rows: &Rows) -> Result<Self, MlsError> {
        let stored: PublicRow = row(rows, PUBLIC_ROW)?.ok_or(MlsError::State)?;
        let public = Public::from_parts(&stored).ok_or(MlsError::State)?;
        let secret: Option<Secret> = row(rows, SECRET_ROW)?;
        let reader: Option<Reader> = row(rows, READER_ROW)?;
        let messages: Option<Ratchets> = row(rows, MESSAGES_ROW)?;
        if (secret.is_some() || reader.is_some()) != messages.is_some() {
            return Err(MlsError::State);
        }
        let messages = messages.unwrap_or_default();
        Ok(Self { public, secret, reader, ceased: false, messages, changed: false })
    }

    /// What opens messages here.
    fn reader(&self) -> Result<Reader, MlsError> {
        let full = self.secret.as_ref().map(|s| Reader { root: message_root(&s.epoch), own: s.own });
        full.or(self.reader.clone()).ok_or(MlsError::NoSecrets)
    }

    fn secret(&self) -> Result<&Secret, MlsError> {
        self.secret.as_ref().ok_or(MlsError::NoSecrets)
    }

    fn own(&self, device: &DeviceKeys) -> Result<&Secret, MlsError> {
        let secret = self.secret()?;
        let leaf = self.public.leaf_at(secret.own);
        if leaf.is_some_and(|leaf| leaf.device == device.device()) { Ok(secret) } else { Err(MlsError::NoSecrets) }
    }

    /// An own commit that is publicly fine and that the leaves in `victims` cannot open: an attack to simulate.
    ///
    /// # Errors
    /// As [`MlsNode::commit`].
    pub fn commit_unopenable(
        &self,
        device: &DeviceKeys,
        plan: &CommitPlan,
        victims: &[u32],
        rng: &mut dyn CryptoRng,
    ) -> Result<OwnCommit<Self>, MlsError> {
        let secret = self.own(device)?;
        let mut draw = || {
            let mut key = [0; 32];
            rng.fill_bytes(&mut key);
            key
        };
        let leaf_key = draw();
        let broken = |leaf: &u32| PathEntry { leaf: *leaf, sealed: [0; 96] };
        let content = Content {
            group: self.public.group,
            epoch: self.public.facts.epoch,
            sender: Some(secret.own),
            aad: ByteVec::from(vec![]),
            adds: plan.adds.iter().cloned().map(ByteVec::from).collect(),
            removes: plan.removes.clone(),
            binding: plan.binding.clone(),
            leaf: wire::Leaf::new(device, &leaf_key),
            external: None,
            path: victims.iter().map(broken).collect(),
        };
        let secrets = Authoring { init: symbol::init_secret(&secret.epoch), leaf_key, commit_secret: draw() };
        // Whatever is wrong with an own commit, it is the plan.
        self.public.author(device, content, secrets, &mut draw).map_err(|_| MlsError::Invalid)
    }
}

fn row<T: for<'b> Decode<'b, ()> + Encode<()>>(rows: &Rows, key: &[u8]) -> Result<Option<T>, MlsError> {
    rows.get(key).map(|bytes| cbor::from_slice(bytes, wire::MAX).map_err(|_| MlsError::State)).transpose()
}

impl MlsNode for ModelNode {
    fn facts(&self) -> &NodeFacts {
        &self.public.facts
    }

    fn context(&self) -> Result<Vec<u8>, MlsError> {
        Ok(cbor::to_vec(&self.public.context()))
    }

    fn has_secrets(&self) -> bool {
        self.secret.is_some()
    }

    fn can_read(&self) -> bool {
        self.secret.is_some() || self.reader.is_some()
    }

    fn only_read(&mut self) {
        if let Some(secret) = self.secret.take() {
            self.reader = Some(Reader { root: message_root(&secret.epoch), own: secret.own });
            self.ceased = true;
        }
    }

    fn check(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError> {
        let (facts, child) = self.public.check(&self.public.read(commit)?)?;
        Ok((facts, Self::new(child, None)))
    }

    fn apply(&self, commit: &[u8]) -> Result<(CommitFacts, Self), MlsError> {
        let commit = self.public.read(commit)?;
        let secret = self.secret()?;
        let (facts, child) = self.public.check(&commit)?;
        let content = &commit.content;
        if content.sender == Some(secret.own) || content.removes.contains(&secret.own) {
            return Err(MlsError::NoSecrets);
        }
        let entry = content.path.iter().find(|entry| entry.leaf == secret.own);
        let commit_secret = entry.and_then(|entry| symbol::open(&secret.leaf_key, &entry.sealed));
        let init = match &content.external {
            Some(sealed) => symbol::open(&symbol::external_key(&secret.epoch), &sealed.0),
            None => Some(symbol::init_secret(&secret.epoch)),
        };
        let (Some(commit_secret), Some(init)) = (commit_secret, init) else { return Err(MlsError::CannotOpen) };
        let epoch = symbol::epoch_secret(&symbol::joiner_secret(&init, &commit_secret, &child.unconfirmed()));
        if commit.tag != symbol::confirmation(&epoch, &child.confirmed) {
            return Err(MlsError::CannotOpen);
        }
        Ok((facts, Self::new(child, Some(Secret { epoch, ..secret.clone() }))))
    }

    fn commit(
        &self,
        device: &DeviceKeys,
        plan: &CommitPlan,
        rng: &mut dyn CryptoRng,
    ) -> Result<OwnCommit<Self>, MlsError> {
        self.commit_unopenable(device, plan, &[], rng)
    }

    fn encrypt(&mut self, device: &DeviceKeys, plaintext: &[u8]) -> Result<Vec<u8>, MlsError> {
        let (epoch, sender) = self.own(device).map(|secret| (secret.epoch, secret.own))?;
        let generation = self.messages.next_own()?;
        self.changed = true;
        let body = symbol::wrap(&message_key(&message_root(&epoch), sender, generation), plaintext).into();
        let message = Message { group: self.public.group, epoch: self.public.facts.epoch, sender, generation, body };
        Ok(wire::write(wire::MESSAGE, &message))
    }

    fn decrypt(&mut self, message: &[u8]) -> Result<Opened, MlsError> {
        let Reader { root, own } = self.reader()?;
        let message: Message = wire::read(wire::MESSAGE, message)?;
        if message.group != self.public.group || message.epoch != self.public.facts.epoch {
            return Err(MlsError::NotForThisNode);
        }
        if message.sender == own {
            return Err(MlsError::AlreadyUsed);
        }
        let sender = *self.public.leaf_at(message.sender).ok_or(MlsError::Invalid)?;
        self.messages.peek(message.sender, message.generation)?;
        let key = message_key(&root, message.sender, message.generation);
        let plaintext = symbol::unwrap(&key, &message.body).ok_or(MlsError::Invalid)?;
        self.messages.spend(message.sender, message.generation);
        self.changed = true;
        Ok(Opened { sender, plaintext })
    }

    fn export(&self, label: &str, context: &[u8]) -> Result<[u8; 32], MlsError> {
        let length = (label.len() as u64).to_be_bytes();
        Ok(hash(&[b"model export", &self.secret()?.epoch, &length, label.as_bytes(), context]))
    }

    fn authenticator(&self) -> Result<Vec<u8>, MlsError> {
        Ok(hash(&[b"model authenticator", &self.secret()?.epoch]).to_vec())
    }

    fn group_info(&self, device: &DeviceKeys) -> Result<Vec<u8>, MlsError> {
        let secret = self.own(device)?;
        Ok(wire::write(wire::GROUP_INFO, &self.public.info(device, secret.own, &secret.epoch)))
    }

    fn rows(&self) -> Rows {
        let mut rows = Rows::from([(PUBLIC_ROW.to_vec(), cbor::to_vec(&self.public.row()))]);
        if let Some(secret) = &self.secret {
            rows.insert(SECRET_ROW.to_vec(), cbor::to_vec(secret));
        }
        if let Some(reader) = &self.reader {
            rows.insert(READER_ROW.to_vec(), cbor::to_vec(reader));
        }
        if self.can_read() {
            rows.insert(MESSAGES_ROW.to_vec(), cbor::to_vec(&self.messages));
        }
        rows
    }

    fn take_changes(&mut self) -> RowChanges {
        let changed =
            std::mem::take(&mut self.changed).then(|| (MESSAGES_ROW.to_vec(), Some(cbor::to_vec(&self.messages))));
        let mut changed: RowChanges = changed.into_iter().collect();
        if std::mem::take(&mut self.ceased) {
            changed.insert(SECRET_ROW.to_vec(), None);
            changed.insert(READER_ROW.to_vec(), self.reader.as_ref().map(cbor::to_vec));
        }
        changed
    }
}
