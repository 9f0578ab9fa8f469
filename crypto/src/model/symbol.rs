//! What stands in for cryptography: SHA-256 under labels.

use hearth_protocol::id::{DeviceId, PersonaId, hash};

/// Any secret, public key or tag of the model.
pub(super) type Key = [u8; 32];
/// Nonce, hidden secret, tag.
pub(super) type Sealed = [u8; 96];

/// The public key of a private one.
pub(super) fn public(private: &Key) -> Key {
    hash(&[b"model public", private])
}

/// A device's word for a message in a context.
pub(super) fn sign(device: DeviceId, context: &[u8; 32], message: &[u8]) -> Key {
    hash(&[b"model signature", &device.0, context, message])
}

/// A persona's word for a device.
pub(super) fn credential(persona: PersonaId, device: DeviceId) -> Key {
    hash(&[b"model credential", &persona.0, &device.0])
}

/// Seals a secret to a public key.
pub(super) fn seal(to: &Key, nonce: Key, secret: &Key) -> Sealed {
    let mut sealed = [0; 96];
    let (head, tag) = sealed.split_at_mut(64);
    let (first, body) = head.split_at_mut(32);
    first.copy_from_slice(&nonce);
    body.copy_from_slice(&xor(secret, &hash(&[b"model seal", to, &nonce])));
    tag.copy_from_slice(&hash(&[b"model seal tag", to, &nonce, secret]));
    sealed
}

/// Opens with the private key.
pub(super) fn open(private: &Key, sealed: &Sealed) -> Option<Key> {
    let to = public(private);
    let (nonce, rest) = sealed.split_first_chunk::<32>()?;
    let (body, tag) = rest.split_first_chunk::<32>()?;
    let secret = xor(body, &hash(&[b"model seal", &to, nonce]));
    (hash(&[b"model seal tag", &to, nonce, &secret]) == tag).then_some(secret)
}

fn xor(a: &Key, b: &Key) -> Key {
    std::array::from_fn(|i| a[i] ^ b[i])
}

/// Hides bytes under a one-time key; the tag follows them.
pub(super) fn wrap(key: &Key, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    out.extend_from_slice(bytes);
    stream(key, &mut out);
    let tag = hash(&[b"model wrap tag", key, &out]);
    out.extend(tag);
    out
}

/// Undoes [`wrap`].
pub(super) fn unwrap(key: &Key, wrapped: &[u8]) -> Option<Vec<u8>> {
    let (body, tag) = wrapped.split_last_chunk::<32>()?;
    if hash(&[b"model wrap tag", key, body]) != *tag {
        return None;
    }
    let mut out = body.to_vec();
    stream(key, &mut out);
    Some(out)
}

fn stream(key: &Key, bytes: &mut [u8]) {
    for (block, number) in bytes.chunks_mut(32).zip(0u64..) {
        let pad = hash(&[b"model stream", key, &number.to_be_bytes()]);
        block.iter_mut().zip(pad).for_each(|(byte, pad)| *byte ^= pad);
    }
}

/// What the next epoch takes from this one.
pub(super) fn init_secret(epoch: &Key) -> Key {
    hash(&[b"model init", epoch])
}

/// The private key that an external commit's init secret is sealed to.
pub(super) fn external_key(epoch: &Key) -> Key {
    hash(&[b"model external", epoch])
}

/// What a Welcome carries.
pub(super) fn joiner_secret(init: &Key, commit: &Key, context: &Key) -> Key {
    hash(&[b"model joiner", init, commit, context])
}

/// The secret of an epoch.
pub(super) fn epoch_secret(joiner: &Key) -> Key {
    hash(&[b"model epoch", joiner])
}

/// Shows that the author holds the new epoch's secret.
pub(super) fn confirmation(epoch: &Key, confirmed: &Key) -> Key {
    hash(&[b"model confirmation", epoch, confirmed])
}
