//! What every group of Hearth sets alike, and the adapters that OpenMLS asks for.

use std::sync::Arc;

use openmls::{
    extensions::{Extension, ExtensionType, Extensions, RequiredCapabilitiesExtension, UnknownExtension},
    group::{GroupContext, MlsGroupJoinConfig, PURE_PLAINTEXT_WIRE_FORMAT_POLICY},
    prelude::{
        BasicCredential, Capabilities, Ciphersuite, CredentialType, CredentialWithKey, Lifetime, ProtocolVersion,
        SenderRatchetConfiguration, SignatureScheme,
    },
};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::{
    OpenMlsProvider,
    signatures::{Signer, SignerError},
};

use super::store::NodeStore;
use crate::{
    mls::{Binding, MlsError, Suite},
    persona::DeviceKeys,
};

/// Extension type of [`Binding`] in the GroupContext.
pub(super) const BINDING: u16 = 0xf0a1;
/// Keys kept for messages that come late within one sender's ratchet.
const OUT_OF_ORDER: u32 = 128;
/// How far one sender's ratchet may jump ahead.
const FORWARD: u32 = 4_096;

/// Crypto, randomness and the rows of one node.
pub(super) struct Provider<'a> {
    pub(super) crypto: &'a RustCrypto,
    pub(super) store: &'a NodeStore,
}

impl OpenMlsProvider for Provider<'_> {
    type CryptoProvider = RustCrypto;
    type RandProvider = RustCrypto;
    type StorageProvider = NodeStore;

    fn storage(&self) -> &NodeStore {
        self.store
    }

    fn crypto(&self) -> &RustCrypto {
        self.crypto
    }

    fn rand(&self) -> &RustCrypto {
        self.crypto
    }
}

/// Shared by all nodes of one [`super::OpenMls`].
pub(super) type Crypto = Arc<RustCrypto>;

/// Signs with the device's key; the key is already expanded, unlike in OpenMLS's own signer.
pub(super) struct DeviceSigner<'a>(pub(super) &'a DeviceKeys);

impl Signer for DeviceSigner<'_> {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign_as_device(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// The credential and signature key of a device's leaf.
pub(super) fn credential(device: &DeviceKeys) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(device.credential()).into(),
        signature_key: device.device().0.to_vec().into(),
    }
}

/// OpenMLS's name of a suite.
pub(super) fn ciphersuite(suite: Suite) -> Ciphersuite {
    match suite {
        Suite::Classic => Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        Suite::Hybrid => Ciphersuite::MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519,
    }
}

/// What every leaf says it can do.
pub(super) fn capabilities() -> Capabilities {
    Capabilities::builder()
        .versions(vec![ProtocolVersion::Mls10])
        .ciphersuites(vec![ciphersuite(Suite::Classic), ciphersuite(Suite::Hybrid)])
        .extensions(vec![ExtensionType::Unknown(BINDING)])
        .proposals(Vec::new())
        .credentials(vec![CredentialType::Basic])
        .build()
}

/// A lifetime that no clock ends: OpenMLS checks Adds of old commits against today's clock, which would shut out
/// whoever catches up. KeyPackages expire by their owner's own signed date instead.
pub(super) fn endless() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

/// The RequiredCapabilities of every group.
pub(super) fn required_capabilities() -> RequiredCapabilitiesExtension {
    RequiredCapabilitiesExtension::new(&[ExtensionType::Unknown(BINDING)], &[], &[CredentialType::Basic])
}

/// The GroupContext extensions of a node with this binding.
pub(super) fn context_extensions(binding: &Binding) -> Result<Extensions<GroupContext>, MlsError> {
    let bytes = hearth_protocol::cbor::to_vec(binding);
    Extensions::from_vec(vec![
        Extension::RequiredCapabilities(required_capabilities()),
        Extension::Unknown(BINDING, UnknownExtension(bytes)),
    ])
    .map_err(|_| MlsError::Library)
}

/// Handshakes in the open (the outer seal hides them), so that anybody can check a rival branch without its secrets;
/// no past epochs, because each node is kept by itself.
pub(super) fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(0)
        .number_of_resumption_psks(0)
        .padding_size(0)
        .sender_ratchet_configuration(ratchets())
        .build()
}

/// Bounds of every sender's ratchet.
pub(super) fn ratchets() -> SenderRatchetConfiguration {
    SenderRatchetConfiguration::new(OUT_OF_ORDER, FORWARD)
}
