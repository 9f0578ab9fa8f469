//! Crypto of an attacker who seals garbage to one chosen key.

use openmls::prelude::tls_codec::SecretVLBytes;
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    crypto::OpenMlsCrypto,
    types::{
        AeadType, Ciphersuite, CryptoError, ExporterSecret, HashType, HpkeCiphertext, HpkeConfig, HpkeKeyPair,
        KemOutput, SignatureScheme,
    },
};

type Outcome<T> = Result<T, CryptoError>;

pub(super) struct Spoiler {
    pub(super) inner: RustCrypto,
    pub(super) victim: Vec<u8>,
}

impl OpenMlsCrypto for Spoiler {
    fn hpke_seal(&self, c: HpkeConfig, to: &[u8], info: &[u8], aad: &[u8], text: &[u8]) -> Outcome<HpkeCiphertext> {
        let garbage = vec![0x55; text.len()];
        self.inner.hpke_seal(c, to, info, aad, if to == self.victim { &garbage } else { text })
    }

    fn supports(&self, suite: Ciphersuite) -> Outcome<()> {
        self.inner.supports(suite)
    }

    fn supported_ciphersuites(&self) -> Vec<Ciphersuite> {
        self.inner.supported_ciphersuites()
    }

    fn hkdf_extract(&self, h: HashType, salt: &[u8], ikm: &[u8]) -> Outcome<SecretVLBytes> {
        self.inner.hkdf_extract(h, salt, ikm)
    }

    fn hmac(&self, h: HashType, key: &[u8], message: &[u8]) -> Outcome<SecretVLBytes> {
        self.inner.hmac(h, key, message)
    }

    fn hkdf_expand(&self, h: HashType, prk: &[u8], info: &[u8], len: usize) -> Outcome<SecretVLBytes> {
        self.inner.hkdf_expand(h, prk, info, len)
    }

    fn hash(&self, h: HashType, data: &[u8]) -> Outcome<Vec<u8>> {
        self.inner.hash(h, data)
    }

    fn aead_encrypt(&self, a: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Outcome<Vec<u8>> {
        self.inner.aead_encrypt(a, key, data, nonce, aad)
    }

    fn aead_decrypt(&self, a: AeadType, key: &[u8], data: &[u8], nonce: &[u8], aad: &[u8]) -> Outcome<Vec<u8>> {
        self.inner.aead_decrypt(a, key, data, nonce, aad)
    }

    fn signature_key_gen(&self, scheme: SignatureScheme) -> Outcome<(Vec<u8>, Vec<u8>)> {
        self.inner.signature_key_gen(scheme)
    }

    fn verify_signature(&self, s: SignatureScheme, data: &[u8], key: &[u8], signature: &[u8]) -> Outcome<()> {
        self.inner.verify_signature(s, data, key, signature)
    }

    fn sign(&self, scheme: SignatureScheme, data: &[u8], key: &[u8]) -> Outcome<Vec<u8>> {
        self.inner.sign(scheme, data, key)
    }

    fn hpke_open(&self, c: HpkeConfig, i: &HpkeCiphertext, key: &[u8], info: &[u8], aad: &[u8]) -> Outcome<Vec<u8>> {
        self.inner.hpke_open(c, i, key, info, aad)
    }

    fn hpke_setup_sender_and_export(
        &self,
        c: HpkeConfig,
        to: &[u8],
        info: &[u8],
        context: &[u8],
        len: usize,
    ) -> Outcome<(KemOutput, ExporterSecret)> {
        self.inner.hpke_setup_sender_and_export(c, to, info, context, len)
    }

    fn hpke_setup_receiver_and_export(
        &self,
        c: HpkeConfig,
        enc: &[u8],
        key: &[u8],
        info: &[u8],
        context: &[u8],
        len: usize,
    ) -> Outcome<ExporterSecret> {
        self.inner.hpke_setup_receiver_and_export(c, enc, key, info, context, len)
    }

    fn derive_hpke_keypair(&self, c: HpkeConfig, ikm: &[u8]) -> Outcome<HpkeKeyPair> {
        self.inner.derive_hpke_keypair(c, ikm)
    }
}
