//! Personas and devices: who somebody is in one group, and the leaf that stands for them in its MLS tree.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use hearth_protocol::{
    cbor,
    id::{DeviceId, PersonaId},
};
use minicbor::{Decode, Encode};
use rand::CryptoRng;
use zeroize::Zeroizing;

use crate::memo;

/// What the persona signs to make a device its own: this label, then the device's key.
pub const DEVICE_LABEL: &[u8] = b"hearth device/1";

/// The keys of a persona on one device. Made for one group alone; nothing links two groups.
#[derive(Clone)]
pub struct DeviceKeys {
    persona: SigningKey,
    device: SigningKey,
}

/// What a leaf's BasicCredential holds.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeafCredential {
    /// The persona.
    #[n(0)]
    pub persona: PersonaId,
    /// Ed25519 by the persona over [`DEVICE_LABEL`] and the leaf's signature key.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub sig: [u8; 64],
}

impl std::fmt::Debug for DeviceKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKeys(…)")
    }
}

impl DeviceKeys {
    /// Fresh keys.
    pub fn generate(rng: &mut dyn CryptoRng) -> Self {
        let mut seed = Zeroizing::new([0u8; 64]);
        rng.fill_bytes(seed.as_mut());
        Self::from_seed(&seed)
    }

    /// The keys of a stored seed: persona seed, then device seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 64]) -> Self {
        let half = |i: usize| {
            let mut s = Zeroizing::new([0u8; 32]);
            s.copy_from_slice(&seed[i * 32..][..32]);
            SigningKey::from_bytes(&s)
        };
        Self { persona: half(0), device: half(1) }
    }

    /// What [`Self::from_seed`] takes; for sealed storage only.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 64]> {
        let mut seed = Zeroizing::new([0u8; 64]);
        seed[..32].copy_from_slice(self.persona.as_bytes());
        seed[32..].copy_from_slice(self.device.as_bytes());
        seed
    }

    /// The persona's id.
    #[must_use]
    pub fn persona(&self) -> PersonaId {
        PersonaId(self.persona.verifying_key().to_bytes())
    }

    /// The device's id: its MLS signature key.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        DeviceId(self.device.verifying_key().to_bytes())
    }

    /// Signs with the persona's key: ops, node signatures, Nacks.
    #[must_use]
    pub fn sign_as_persona(&self, message: &[u8]) -> [u8; 64] {
        sign_with(&self.persona, message)
    }

    /// Signs with the device's key: envelopes, cards, MLS.
    #[must_use]
    pub fn sign_as_device(&self, message: &[u8]) -> [u8; 64] {
        sign_with(&self.device, message)
    }

    /// The credential of this device's leaf, encoded.
    #[must_use]
    pub fn credential(&self) -> Vec<u8> {
        let device = self.device();
        let sig = self.sign_as_persona(&[DEVICE_LABEL, &device.0].concat());
        cbor::to_vec(&LeafCredential { persona: self.persona(), sig })
    }
}

/// The persona behind a leaf, if its credential is a persona's word for exactly this signature key.
#[must_use]
pub fn verify_credential(credential: &[u8], signature_key: &[u8]) -> Option<(PersonaId, DeviceId)> {
    let device = DeviceId(signature_key.try_into().ok()?);
    let credential: LeafCredential = cbor::from_slice(credential, 256).ok()?;
    let message = [DEVICE_LABEL, &device.0].concat();
    verify(&credential.persona.0, &message, &credential.sig).then_some((credential.persona, device))
}

/// Signs with a derived key: requests to a relay, DHT records.
#[must_use]
pub fn sign_with(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    let sig = key.sign(message).to_bytes();
    memo::signed(key.verifying_key().as_bytes(), message, &sig);
    sig
}

/// Ed25519 verification, strict (no small-order keys, no malleable signatures).
#[must_use]
pub fn verify(public_key: &[u8; 32], message: &[u8], sig: &[u8; 64]) -> bool {
    memo::verify((public_key, message, sig), || {
        let Ok(key) = VerifyingKey::from_bytes(public_key) else { return false };
        key.verify_strict(message, &ed25519_dalek::Signature::from_bytes(sig)).is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_speaks_for_one_device_only() {
        let mut rng = rand::rng();
        let (a, b) = (DeviceKeys::generate(&mut rng), DeviceKeys::generate(&mut rng));
        assert_eq!(verify_credential(&a.credential(), &a.device().0), Some((a.persona(), a.device())));
        assert_eq!(verify_credential(&a.credential(), &b.device().0), None);
        assert_eq!(verify_credential(b"", &a.device().0), None);
    }

    #[test]
    fn keys_survive_storage_and_hide_from_debug() {
        let keys = DeviceKeys::generate(&mut rand::rng());
        assert_eq!(DeviceKeys::from_seed(&keys.seed()).device(), keys.device());
        assert_eq!(format!("{keys:?}"), "DeviceKeys(…)");
    }
}
