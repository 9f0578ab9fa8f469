//! The MLS port over OpenMLS 0.9.
//!
//! OpenMLS thinks of a group as one state that moves forward. Here each node of the commit DAG is a state of its own:
//! a [`OpenMlsNode`] holds its rows and a loaded group, and a child is made in a copy of both.

mod errors;
mod facts;
mod held;
mod node;
mod settings;
mod store;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use openmls::{
    group::{GroupId, MlsGroup, ProposalStore, PublicGroup, StagedWelcome},
    prelude::{
        KeyPackage, KeyPackageIn, LeafNodeParameters, MlsMessageBodyIn, ProtocolMessage, ProtocolVersion,
        tls_codec::{DeserializeBytes as _, Serialize as _},
    },
};
use openmls_rust_crypto::RustCrypto;

pub use node::OpenMlsNode;
use settings::{Crypto, DeviceSigner, Provider};
use store::NodeStore;

use crate::{
    mls::{AddedLeaf, Binding, Mls, MlsError, NodeContext, Place, Rows, Suite},
    persona::DeviceKeys,
};

/// The longest KeyPackage, in bytes: it must fit an op.
const KEY_PACKAGE_MAX: usize = hearth_protocol::limits::OP_MAX;

/// Makes nodes over OpenMLS. Cheap to clone; nodes of one `OpenMls` share its random generator.
#[derive(Clone, Default)]
pub struct OpenMls {
    crypto: Crypto,
}

impl OpenMls {
    /// Seeds its random generator from the operating system.
    #[must_use]
    pub fn new() -> Self {
        Self { crypto: Arc::new(RustCrypto::default()) }
    }
}

/// A checked KeyPackage and whose it is.
fn key_package_in(crypto: &RustCrypto, bytes: &[u8]) -> Result<(KeyPackage, AddedLeaf), MlsError> {
    if bytes.len() > KEY_PACKAGE_MAX {
        return Err(MlsError::Invalid);
    }
    let package = KeyPackageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| MlsError::Invalid)?;
    let package = package.validate(crypto, ProtocolVersion::Mls10).map_err(|_| MlsError::Invalid)?;
    let leaf = facts::added(&package).map_err(|_| MlsError::Invalid)?;
    // The commit carries the same structure again; its hash must be the op's.
    let same = package.tls_serialize_detached().is_ok_and(|again| again == bytes);
    if same { Ok((package, leaf)) } else { Err(MlsError::Invalid) }
}

impl Mls for OpenMls {
    type Node = OpenMlsNode;

    fn create(
        &self,
        device: &DeviceKeys,
        mls_group_id: &[u8; 32],
        suite: Suite,
        binding: &Binding,
    ) -> Result<OpenMlsNode, MlsError> {
        let store = NodeStore::default();
        let group = MlsGroup::builder()
            .with_group_id(GroupId::from_slice(mls_group_id))
            .ciphersuite(settings::ciphersuite(suite))
            .with_wire_format_policy(settings::join_config().wire_format_policy())
            .use_ratchet_tree_extension(true)
            .max_past_epochs(0)
            .number_of_resumption_psks(0)
            .padding_size(0)
            .sender_ratchet_configuration(settings::ratchets())
            .lifetime(settings::endless())
            .with_capabilities(settings::capabilities())
            .with_group_context_extensions(settings::context_extensions(binding)?)
            .build(
                &Provider { crypto: &self.crypto, store: &store },
                &DeviceSigner(device),
                settings::credential(device),
            )
            .map_err(|_| MlsError::Library)?;
        let facts = facts::verified(group.public_group()).map_err(|_| MlsError::Library)?;
        Ok(OpenMlsNode::member(self.crypto.clone(), store, group, facts))
    }

    fn load(&self, rows: Rows) -> Result<OpenMlsNode, MlsError> {
        OpenMlsNode::load(self.crypto.clone(), rows)
    }

    fn open_group_info(&self, group_info: &[u8]) -> Result<OpenMlsNode, MlsError> {
        let Ok(MlsMessageBodyIn::GroupInfo(info)) = node::read(group_info) else { return Err(MlsError::Invalid) };
        let tree = info.extensions().ratchet_tree().ok_or(MlsError::Invalid)?.ratchet_tree().clone();
        let store = NodeStore::default();
        let (group, _) = PublicGroup::from_external(&*self.crypto, &store, tree, info, ProposalStore::new())
            .map_err(|_| MlsError::Invalid)?;
        let facts = facts::verified(&group)?;
        Ok(OpenMlsNode::public_only(self.crypto.clone(), store, group, facts))
    }

    fn read_context(&self, context: &[u8]) -> Result<NodeContext, MlsError> {
        facts::read_context(context).ok_or(MlsError::Invalid)
    }

    fn place_of(&self, message: &[u8]) -> Option<Place> {
        let message = match node::read(message).ok()? {
            MlsMessageBodyIn::PublicMessage(message) => ProtocolMessage::from(message),
            MlsMessageBodyIn::PrivateMessage(message) => ProtocolMessage::from(message),
            _ => return None,
        };
        let mls_group_id = message.group_id().as_slice().try_into().ok()?;
        Some(Place { mls_group_id, epoch: message.epoch().as_u64() })
    }

    fn join_external(
        &self,
        device: &DeviceKeys,
        group_info: &[u8],
        aad: &[u8],
    ) -> Result<(Vec<u8>, OpenMlsNode), MlsError> {
        let Ok(MlsMessageBodyIn::GroupInfo(info)) = node::read(group_info) else { return Err(MlsError::Invalid) };
        let store = NodeStore::default();
        let provider = Provider { crypto: &self.crypto, store: &store };
        let leaf = LeafNodeParameters::builder().with_capabilities(settings::capabilities()).build();
        let (group, bundle) = MlsGroup::external_commit_builder()
            .with_config(settings::join_config())
            .with_aad(aad.to_vec())
            .skip_lifetime_validation()
            .build_group(&provider, info, settings::credential(device))
            .map_err(|_| MlsError::Invalid)?
            .leaf_node_parameters(leaf)
            .load_psks(&store)
            .map_err(|e| errors::create(&e))?
            .create_group_info(false)
            .build(&*self.crypto, &*self.crypto, &DeviceSigner(device), |_| true)
            .map_err(|e| errors::create(&e))?
            .finalize(&provider)
            .map_err(|_| MlsError::Invalid)?;
        let facts = facts::verified(group.public_group())?;
        let commit = bundle.into_commit().to_bytes().map_err(|_| MlsError::Library)?;
        Ok((commit, OpenMlsNode::member(self.crypto.clone(), store, group, facts)))
    }

    fn key_package(&self, device: &DeviceKeys, suite: Suite) -> Result<(Vec<u8>, Rows), MlsError> {
        let store = NodeStore::default();
        let bundle = KeyPackage::builder()
            .key_package_lifetime(settings::endless())
            .leaf_node_capabilities(settings::capabilities())
            .build(
                settings::ciphersuite(suite),
                &Provider { crypto: &self.crypto, store: &store },
                &DeviceSigner(device),
                settings::credential(device),
            )
            .map_err(|_| MlsError::Library)?;
        let bytes = bundle.key_package().tls_serialize_detached().map_err(|_| MlsError::Library)?;
        Ok((bytes, store.rows()))
    }

    fn inspect_key_package(&self, key_package: &[u8], suite: Suite) -> Result<AddedLeaf, MlsError> {
        let (package, leaf) = key_package_in(&self.crypto, key_package)?;
        if package.ciphersuite() == settings::ciphersuite(suite) { Ok(leaf) } else { Err(MlsError::Invalid) }
    }

    fn join_welcome(&self, device: &DeviceKeys, private: &Rows, welcome: &[u8]) -> Result<OpenMlsNode, MlsError> {
        let MlsMessageBodyIn::Welcome(welcome) = node::read(welcome)? else { return Err(MlsError::NotForThisNode) };
        let store = NodeStore::new(private.clone());
        let provider = Provider { crypto: &self.crypto, store: &store };
        let staged = StagedWelcome::build_from_welcome(&provider, &settings::join_config(), welcome)
            .map_err(|e| errors::welcome(&e))?
            .skip_lifetime_validation()
            .build()
            .map_err(|e| errors::welcome(&e))?;
        let group = staged.into_group(&provider).map_err(|e| errors::welcome(&e))?;
        let facts = facts::verified(group.public_group())?;
        let own = facts::leaf_at(&facts, group.own_leaf_index().u32());
        if own.is_none_or(|leaf| leaf.device != device.device()) {
            return Err(MlsError::NotForThisNode);
        }
        Ok(OpenMlsNode::member(self.crypto.clone(), store, group, facts))
    }
}
