//! A member that runs mls-rs, with the settings that Hearth asks of every leaf.

use std::time::Duration;

use hearth_crypto::{mls::Binding, persona::DeviceKeys};
use hearth_protocol::cbor;
use mls_rs::{
    CipherSuite, Client, Extension, ExtensionList, Group, MlsMessage,
    client_builder::MlsConfig,
    crypto::SignatureSecretKey,
    error::MlsError,
    extension::{ExtensionType, built_in::RequiredCapabilitiesExt},
    group::{CommitOutput, ReceivedMessage},
    identity::{
        CredentialType, SigningIdentity,
        basic::{BasicCredential, BasicIdentityProvider},
    },
    mls_rules::{CommitOptions, DefaultMlsRules},
    time::MlsTime,
};
use mls_rs_crypto_rustcrypto::RustCryptoProvider;

/// Hearth's extension of the GroupContext.
pub(crate) const BINDING: ExtensionType = ExtensionType::new(0xf0a1);
/// X25519, ChaCha20-Poly1305, SHA-256, Ed25519: 0x0003.
const SUITE: CipherSuite = CipherSuite::CURVE25519_CHACHA;
/// From here a lifetime of all seconds there are has no end.
const BEGINNING: u64 = 0;

/// An mls-rs client with these keys.
pub(crate) fn client(keys: &DeviceKeys) -> Client<impl MlsConfig + use<>> {
    let mut pair = keys.seed()[32..].to_vec();
    pair.extend(keys.device().0);
    let credential = BasicCredential::new(keys.credential()).into_credential();
    let identity = SigningIdentity::new(credential, keys.device().0.to_vec().into());
    let options = CommitOptions::new()
        .with_path_required(true)
        .with_ratchet_tree_extension(true)
        .with_single_welcome_message(true)
        .with_allow_external_commit(false);
    Client::builder()
        .identity_provider(BasicIdentityProvider)
        .crypto_provider(RustCryptoProvider::new())
        .mls_rules(DefaultMlsRules::new().with_commit_options(options))
        .extension_type(BINDING)
        .key_package_lifetime(Duration::from_secs(u64::MAX))
        .signing_identity(identity, SignatureSecretKey::new(pair), SUITE)
        .build()
}

/// The GroupContext extensions of a node.
pub(crate) fn context(binding: &Binding) -> Result<ExtensionList, MlsError> {
    let mut list = ExtensionList::new();
    list.set_from(RequiredCapabilitiesExt::new(vec![BINDING], vec![], vec![CredentialType::BASIC]))?;
    list.set(Extension::new(BINDING, cbor::to_vec(binding)));
    Ok(list)
}

/// A new group.
pub(crate) fn create<C: MlsConfig>(client: &Client<C>, id: &[u8], binding: &Binding) -> Result<Group<C>, MlsError> {
    client.create_group_with_id(id.to_vec(), context(binding)?, ExtensionList::new(), Some(MlsTime::from(BEGINNING)))
}

/// A bare KeyPackage, as an Add op carries it: without the header of an MLSMessage.
pub(crate) fn key_package<C: MlsConfig>(client: &Client<C>) -> Result<Vec<u8>, MlsError> {
    let none = ExtensionList::new;
    let message = client.generate_key_package_message(none(), none(), Some(MlsTime::from(BEGINNING)))?.to_bytes()?;
    Ok(message[4..].to_vec())
}

/// A KeyPackage with its header.
pub(crate) fn key_package_message(bytes: &[u8]) -> Result<MlsMessage, MlsError> {
    MlsMessage::from_bytes(&[&[0, 1, 0, 5], bytes].concat())
}

/// Joins by a Welcome.
pub(crate) fn join<C: MlsConfig>(client: &Client<C>, welcome: &[u8]) -> Result<Group<C>, MlsError> {
    Ok(client.join_group(None, &MlsMessage::from_bytes(welcome)?, None)?.0)
}

/// Joins from outside. `old` is the leaf that gives way.
pub(crate) fn join_external<C: MlsConfig>(
    client: &Client<C>,
    group_info: &[u8],
    aad: &[u8],
    old: Option<u32>,
) -> Result<(Group<C>, Vec<u8>), MlsError> {
    let mut builder = client.external_commit_builder()?.with_authenticated_data(aad.to_vec());
    if let Some(old) = old {
        builder = builder.with_removal(old);
    }
    let (group, commit) = builder.build(MlsMessage::from_bytes(group_info)?)?;
    Ok((group, commit.to_bytes()?))
}

/// The door of a node.
pub(crate) fn group_info<C: MlsConfig>(group: &Group<C>) -> Result<Vec<u8>, MlsError> {
    group.group_info_message_allowing_ext_commit(true)?.to_bytes()
}

/// An own commit; empty it is a self-update. The group moves on.
pub(crate) fn commit<C: MlsConfig>(
    group: &mut Group<C>,
    adds: &[Vec<u8>],
    removes: &[u32],
    binding: Option<&Binding>,
) -> Result<CommitOutput, MlsError> {
    let mut builder = group.commit_builder();
    for package in adds {
        builder = builder.add_member(key_package_message(package)?)?;
    }
    for leaf in removes {
        builder = builder.remove_member(*leaf)?;
    }
    if let Some(binding) = binding {
        builder = builder.set_group_context_ext(context(binding)?)?;
    }
    let out = builder.build()?;
    group.apply_pending_commit()?;
    Ok(out)
}

/// Processes what came.
pub(crate) fn receive<C: MlsConfig>(group: &mut Group<C>, message: &[u8]) -> Result<ReceivedMessage, MlsError> {
    group.process_incoming_message(MlsMessage::from_bytes(message)?)
}
