//! What tests of the mailbox share: a client that signs.

use ed25519_dalek::{Signer, SigningKey};
use hearth_protocol::{
    id::{QueueId, SlotId},
    limits::FRAME_SMALL,
    mailbox::{Action, Greeting, QueueKind, Request, pow_solve, queue_id, request_message},
};

/// The keys of one queue, and a session to use them in.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) greeting: Greeting,
    pub(crate) write: SigningKey,
    pub(crate) read: SigningKey,
    pub(crate) kind: QueueKind,
}

impl Client {
    pub(crate) fn new(greeting: Greeting, seed: u8) -> Self {
        let write = SigningKey::from_bytes(&[seed; 32]);
        let read = SigningKey::from_bytes(&[seed ^ 0x80; 32]);
        Self { greeting, write, read, kind: QueueKind::Daily }
    }

    pub(crate) fn queue(&self) -> QueueId {
        queue_id(&self.write_pk(), &self.read_pk(), self.kind)
    }

    pub(crate) fn write_pk(&self) -> [u8; 32] {
        self.write.verifying_key().to_bytes()
    }

    pub(crate) fn read_pk(&self) -> [u8; 32] {
        self.read.verifying_key().to_bytes()
    }

    /// A request signed by `key`, or not at all.
    pub(crate) fn ask(&self, action: Action, key: Option<&SigningKey>) -> Request {
        let message = request_message(&self.greeting.relay_key, &self.greeting.nonce, &action);
        let sig = key.map_or([0; 64], |key| key.sign(&message).to_bytes());
        Request { id: 1, action, sig }
    }

    pub(crate) fn create(&self) -> Request {
        self.create_with_bits(self.greeting.pow_bits)
    }

    pub(crate) fn create_with_bits(&self, bits: u8) -> Request {
        let pow = pow_solve(&self.greeting.relay_key, &self.greeting.nonce, &self.queue(), bits);
        let (write_pk, read_pk, kind) = (self.write_pk(), self.read_pk(), self.kind);
        self.ask(Action::Create { write_pk, read_pk, kind, pow }, None)
    }

    pub(crate) fn put(&self, blob: Vec<u8>) -> Request {
        self.ask(Action::Put { queue: self.queue(), blob }, Some(&self.write))
    }

    pub(crate) fn get(&self, after: u64, max: u16) -> Request {
        self.ask(Action::Get { queue: self.queue(), after, max }, Some(&self.read))
    }

    pub(crate) fn subscribe(&self, after: u64) -> Request {
        self.ask(Action::Subscribe { queue: self.queue(), after }, Some(&self.read))
    }

    pub(crate) fn slot_put(&self, slot: SlotId, version: u64, body: Vec<u8>) -> Request {
        let write_pk = self.write_pk();
        self.ask(Action::SlotPut { slot, write_pk, version, body }, Some(&self.write))
    }

    pub(crate) fn slot_get(&self, slot: SlotId) -> Request {
        self.ask(Action::SlotGet { slot }, None)
    }
}

/// A small blob filled with `byte`.
pub(crate) fn blob(byte: u8) -> Vec<u8> {
    vec![byte; FRAME_SMALL]
}
