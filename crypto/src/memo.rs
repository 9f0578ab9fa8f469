//! Remembers what pure functions of keys said: for simulations, where one thread plays every member, and all of them derive
//! the same keys and check the same signatures.
//!
//! Only a thread that asked for it remembers anything. Every result is the one that would be worked out anew: what did not
//! verify is never remembered, and what verified is found again by a hash of key, signature and message alone.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

use hearth_protocol::id::hash;

use crate::schedule::{Key, Signer};

/// Most entries of either kind; beyond, all is forgotten.
const ENTRIES: usize = 1 << 16;

#[derive(Default)]
struct Memo {
    verified: HashSet<[u8; 32]>,
    signers: HashMap<[u8; 32], Signer>,
}

thread_local! {
    static MEMO: RefCell<Option<Memo>> = const { RefCell::new(None) };
}

/// From now on this thread remembers, beginning with nothing.
pub fn begin() {
    MEMO.set(Some(Memo::default()));
}

fn with<T>(f: impl FnOnce(&mut Memo) -> T) -> Option<T> {
    MEMO.with_borrow_mut(|memo| memo.as_mut().map(f))
}

fn is_on() -> bool {
    with(|_| ()).is_some()
}

/// Key and signature have one length each, so no two triples are hashed as the same bytes.
fn id(public_key: &[u8; 32], message: &[u8], sig: &[u8; 64]) -> [u8; 32] {
    hash(&[b"memo", public_key, sig, message])
}

fn note(id: [u8; 32]) {
    with(|memo| {
        if memo.verified.len() >= ENTRIES {
            memo.verified.clear();
        }
        memo.verified.insert(id);
    });
}

/// A signature was made with the private key: it verifies.
pub(crate) fn signed(public_key: &[u8; 32], message: &[u8], sig: &[u8; 64]) {
    if is_on() {
        note(id(public_key, message, sig));
    }
}

/// Whether a signature verifies.
pub(crate) fn verify((public_key, message, sig): (&[u8; 32], &[u8], &[u8; 64]), verify: impl FnOnce() -> bool) -> bool {
    if !is_on() {
        return verify();
    }
    let id = id(public_key, message, sig);
    if with(|memo| memo.verified.contains(&id)) == Some(true) {
        return true;
    }
    let verifies = verify();
    if verifies {
        note(id);
    }
    verifies
}

/// The key pair of a seed.
pub(crate) fn signer(seed: &Key, derive: impl FnOnce() -> Signer) -> Signer {
    let known = with(|memo| {
        if memo.signers.len() >= ENTRIES {
            memo.signers.clear();
        }
        memo.signers.get(&**seed).cloned()
    });
    match known {
        None => derive(),
        Some(Some(signer)) => signer,
        Some(None) => {
            let signer = derive();
            with(|memo| memo.signers.insert(**seed, Signer::clone(&signer)));
            signer
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persona::{DeviceKeys, verify};

    #[test]
    fn what_is_remembered_is_what_would_be_worked_out() {
        let keys = DeviceKeys::generate(&mut rand::rng());
        let (key, before) = (keys.persona().0, keys.sign_as_persona(b"before"));
        begin();
        let after = keys.sign_as_persona(b"after");
        for _ in 0..2 {
            assert!(verify(&key, b"before", &before) && verify(&key, b"after", &after));
            assert!(!verify(&key, b"after", &before) && !verify(&keys.device().0, b"after", &after));
            assert!(!verify(&key, b"before", &[0; 64]));
        }
        assert_eq!(with(|memo| memo.verified.len()), Some(2));
        begin();
        assert_eq!(with(|memo| memo.verified.len()), Some(0));
        assert!(verify(&key, b"after", &after));
    }
}
