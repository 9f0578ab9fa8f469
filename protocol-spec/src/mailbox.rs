//! `/hearth/mailbox/1`: queues and slots at a relay. Each frame is a 4-byte big-endian length and one value.
//!
//! The relay speaks first, with [`Greeting`]. Every signature covers the relay's key and that session's
//! nonce, so nothing can be replayed to another relay or in another session.

use minicbor::{Decode, Encode};

use crate::{
    cbor::{self, Wire},
    id::{QueueId, SlotId, hash},
    limits::{
        FRAME_LARGE, FRAME_SMALL, GET_MAX, MAILBOX_FRAME_MAX, POW_BITS_MAX, REQUEST_MAX, SLOT_BODY_MAX, SLOT_KEEPS,
    },
};

/// libp2p protocol name.
pub const MAILBOX_PROTOCOL: &str = "/hearth/mailbox/1";
/// What a request's signature covers: this label, relay key, nonce, then the encoding of the [`Action`].
pub const REQUEST_LABEL: &[u8] = b"hearth mailbox request/1";

/// The relay's first frame.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Greeting {
    /// Names this relay in derivations and signatures: see [`relay_key`].
    #[cbor(n(0), with = "minicbor::bytes")]
    pub relay_key: [u8; 32],
    /// Fresh for this session.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub nonce: [u8; 32],
    /// Leading zero bits asked of [`Action::Create`]'s proof of work.
    #[n(2)]
    pub pow_bits: u8,
}

impl Wire for Greeting {
    const MAX: usize = 128;

    fn within_limits(&self) -> bool {
        self.pow_bits <= POW_BITS_MAX
    }
}

/// A relay's key from its libp2p PeerId in text form.
#[must_use]
pub fn relay_key(peer_id: &str) -> [u8; 32] {
    hash(&[b"hearth relay/1", peer_id.as_bytes()])
}

/// What a queue is for; part of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum QueueKind {
    /// One day of messages; kept 30 days.
    #[n(0)]
    Daily,
    /// A network's control queue; kept 120 days, own quota.
    #[n(1)]
    Control,
}

/// A queue's id covers its keys and kind, so the relay needs no register of owners.
#[must_use]
pub fn queue_id(write_pk: &[u8; 32], read_pk: &[u8; 32], kind: QueueKind) -> QueueId {
    QueueId(hash(&[b"hearth queue/1", write_pk, read_pk, &[kind as u8]]))
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Action {
    /// Makes a queue; making an existing one again is fine.
    #[n(0)]
    Create {
        /// Key that signs PUT.
        #[cbor(n(0), with = "minicbor::bytes")]
        write_pk: [u8; 32],
        /// Key that signs GET and SUBSCRIBE.
        #[cbor(n(1), with = "minicbor::bytes")]
        read_pk: [u8; 32],
        /// Kind.
        #[n(2)]
        kind: QueueKind,
        /// See [`pow_ok`].
        #[n(3)]
        pow: u64,
    },
    /// Appends a blob of exactly 4,096 or 16,384 bytes. Signed by the write key.
    #[n(1)]
    Put {
        /// Queue.
        #[n(0)]
        queue: QueueId,
        /// Blob.
        #[cbor(n(1), with = "minicbor::bytes")]
        blob: Vec<u8>,
    },
    /// Reads blobs after a cursor. Signed by the read key.
    #[n(2)]
    Get {
        /// Queue.
        #[n(0)]
        queue: QueueId,
        /// Last sequence number already had; 0 for all.
        #[n(1)]
        after: u64,
        /// At most [`crate::limits::GET_MAX`].
        #[n(2)]
        max: u16,
    },
    /// As `Get`, and pushes what comes later on this session. Signed by the read key.
    #[n(3)]
    Subscribe {
        /// Queue.
        #[n(0)]
        queue: QueueId,
        /// Last sequence number already had.
        #[n(1)]
        after: u64,
    },
    /// Writes the next body of a slot; the first write binds the slot to `write_pk`. Signed by it.
    #[n(4)]
    SlotPut {
        /// Slot.
        #[n(0)]
        slot: SlotId,
        /// The slot's key.
        #[cbor(n(1), with = "minicbor::bytes")]
        write_pk: [u8; 32],
        /// Exactly one more than stored; 1 for the first.
        #[n(2)]
        version: u64,
        /// Body, at most [`crate::limits::SLOT_BODY_MAX`].
        #[cbor(n(3), with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// Hands a slot to a new key. Signed by the old one.
    #[n(5)]
    SlotRotate {
        /// Slot.
        #[n(0)]
        slot: SlotId,
        /// The new key.
        #[cbor(n(1), with = "minicbor::bytes")]
        write_pk: [u8; 32],
    },
    /// Reads a slot. Its id is the capability; no signature.
    #[n(6)]
    SlotGet {
        /// Slot.
        #[n(0)]
        slot: SlotId,
    },
}

/// A request: answered by the [`Frame::Reply`] of the same id.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Request {
    /// Chosen by the client, unique within the session.
    #[n(0)]
    pub id: u64,
    /// What is asked.
    #[n(1)]
    pub action: Action,
    /// Ed25519 by the key the action names; all zero for `Create` and `SlotGet`.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

/// Sizes of blobs and bodies are the relay's to refuse, with an answer: [`Refusal::Size`].
impl Wire for Request {
    const MAX: usize = REQUEST_MAX;

    fn within_limits(&self) -> bool {
        true
    }
}

/// The bytes that a request's key signs.
#[must_use]
pub fn request_message(relay_key: &[u8; 32], nonce: &[u8; 32], action: &Action) -> Vec<u8> {
    [REQUEST_LABEL, relay_key, nonce, &cbor::to_vec(action)].concat()
}

/// One blob of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Blob {
    /// From 1, without gaps.
    #[n(0)]
    pub seq: u64,
    /// The bytes.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub bytes: Vec<u8>,
}

impl Blob {
    fn sized(&self) -> bool {
        self.seq > 0 && (self.bytes.len() == FRAME_SMALL || self.bytes.len() == FRAME_LARGE)
    }
}

/// What the relay answers.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// The queue exists.
    #[n(0)]
    Created,
    /// The blob is on disk, after fsync.
    #[n(1)]
    Stored {
        /// Its sequence number.
        #[n(0)]
        seq: u64,
    },
    /// Blobs, oldest first; `more` says that another GET will find some.
    #[n(2)]
    Blobs {
        /// The blobs.
        #[n(0)]
        blobs: Vec<Blob>,
        /// Whether there are more.
        #[n(1)]
        more: bool,
    },
    /// The slot holds the body, after fsync; also the answer to a rotation.
    #[n(3)]
    SlotStored,
    /// The bodies kept, newest first, with the version of the newest.
    #[n(4)]
    Slot {
        /// Version of the newest.
        #[n(0)]
        version: u64,
        /// The key that may write.
        #[cbor(n(1), with = "minicbor::bytes")]
        write_pk: [u8; 32],
        /// The bodies.
        #[n(2)]
        bodies: Vec<minicbor::bytes::ByteVec>,
    },
    /// Refused.
    #[n(5)]
    Refused(#[n(0)] Refusal),
}

/// Why a relay refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// No such queue or slot.
    #[n(0)]
    NotFound,
    /// Quota of the queue or of the disk.
    #[n(1)]
    Full,
    /// Wrong signature.
    #[n(2)]
    Signature,
    /// Too little proof of work: greet again.
    #[n(3)]
    Work,
    /// Too many requests: wait.
    #[n(4)]
    Busy,
    /// Not a size that is stored.
    #[n(5)]
    Size,
    /// Another version is stored: read the slot again.
    #[n(6)]
    Version,
    /// Not understood.
    #[n(7)]
    Invalid,
}

/// What the relay sends after its greeting.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Frame {
    /// Answers a request.
    #[n(0)]
    Reply {
        /// The request's id.
        #[n(0)]
        id: u64,
        /// The answer.
        #[n(1)]
        answer: Answer,
    },
    /// A new blob of a subscribed queue.
    #[n(1)]
    Push {
        /// Queue.
        #[n(0)]
        queue: QueueId,
        /// Blob.
        #[n(1)]
        blob: Blob,
    },
}

impl Wire for Frame {
    const MAX: usize = MAILBOX_FRAME_MAX;

    fn within_limits(&self) -> bool {
        match self {
            Self::Reply { answer: Answer::Blobs { blobs, .. }, .. } => {
                blobs.len() <= GET_MAX && blobs.iter().all(Blob::sized) && blobs.is_sorted_by(|a, b| a.seq < b.seq)
            }
            Self::Reply { answer: Answer::Slot { bodies, .. }, .. } => {
                bodies.len() <= SLOT_KEEPS && bodies.iter().all(|body| body.len() <= SLOT_BODY_MAX)
            }
            Self::Reply { .. } => true,
            Self::Push { blob, .. } => blob.sized(),
        }
    }
}

/// Whether `pow` has `bits` leading zero bits for this queue at this relay, in this session.
#[must_use]
pub fn pow_ok(relay_key: &[u8; 32], nonce: &[u8; 32], queue: &QueueId, pow: u64, bits: u8) -> bool {
    let digest = hash(&[b"hearth pow/1", relay_key, nonce, &queue.0, &pow.to_be_bytes()]);
    let mut zeros = 0u32;
    for byte in digest {
        zeros += byte.leading_zeros();
        if byte != 0 {
            break;
        }
    }
    zeros >= u32::from(bits)
}

/// Finds a proof of work. About 2^`bits` hashes.
#[must_use]
pub fn pow_solve(relay_key: &[u8; 32], nonce: &[u8; 32], queue: &QueueId, bits: u8) -> u64 {
    (0u64..).find(|pow| pow_ok(relay_key, nonce, queue, *pow, bits)).unwrap_or(0)
}
