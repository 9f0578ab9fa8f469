//! Message keys: each opens once, late ones within a window, early ones up to a bound.

use std::collections::{BTreeMap, BTreeSet};

use hearth_protocol::id::hash;
use minicbor::{Decode, Encode};

use super::symbol::Key;
use crate::mls::MlsError;

/// As over OpenMLS: keys kept for late messages, and how far a sender may jump ahead.
const OUT_OF_ORDER: u32 = 128;
const FORWARD: u32 = 4_096;

/// All senders' ratchets of one node.
#[derive(Clone, Debug, Default, Encode, Decode)]
pub(super) struct Ratchets {
    /// Generation of the next own message.
    #[n(0)]
    own: u32,
    #[n(1)]
    others: BTreeMap<u32, Ratchet>,
}

#[derive(Clone, Debug, Default, Encode, Decode)]
struct Ratchet {
    /// The next generation.
    #[n(0)]
    head: u32,
    /// Earlier ones that have not come yet.
    #[n(1)]
    missing: BTreeSet<u32>,
}

/// What the keys of an epoch's messages follow from, and nothing else does.
pub(super) fn message_root(epoch: &Key) -> Key {
    hash(&[b"model messages", epoch])
}

/// The key of one message.
pub(super) fn message_key(root: &Key, sender: u32, generation: u32) -> Key {
    hash(&[b"model message", root, &sender.to_be_bytes(), &generation.to_be_bytes()])
}

impl Ratchets {
    /// The generation of a new own message.
    pub(super) fn next_own(&mut self) -> Result<u32, MlsError> {
        let generation = self.own;
        self.own = generation.checked_add(1).ok_or(MlsError::Library)?;
        Ok(generation)
    }

    /// Whether the key of a message is still there.
    pub(super) fn peek(&self, sender: u32, generation: u32) -> Result<(), MlsError> {
        let (head, waiting) = match self.others.get(&sender) {
            Some(ratchet) => (ratchet.head, ratchet.missing.contains(&generation)),
            None => (0, false),
        };
        match generation.checked_sub(head) {
            Some(ahead) if ahead > FORWARD || generation == u32::MAX => Err(MlsError::Invalid),
            Some(_) => Ok(()),
            None if waiting => Ok(()),
            None => Err(MlsError::AlreadyUsed),
        }
    }

    /// Deletes the key of a message that opened.
    pub(super) fn spend(&mut self, sender: u32, generation: u32) {
        let ratchet = self.others.entry(sender).or_default();
        if generation < ratchet.head {
            ratchet.missing.remove(&generation);
            return;
        }
        let oldest = (generation + 1).saturating_sub(OUT_OF_ORDER);
        ratchet.missing = ratchet.missing.split_off(&oldest);
        ratchet.missing.extend(ratchet.head.max(oldest)..generation);
        ratchet.head = generation + 1;
    }
}
