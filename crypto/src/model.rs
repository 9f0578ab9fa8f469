//! A symbolic MLS: the port's behaviour without its cryptography, fast and deterministic from a seed.
//!
//! For long simulations. Epochs, NodeIds, leaves, who can open what, ratchets and errors are as over OpenMLS, and the
//! same tests run on both. What stands in for cryptography is SHA-256 alone:
//! - a signature is a hash of the device's id and the message, a credential one of persona and device: anybody could
//!   compute them, and no adversary of the simulator does;
//! - sealing to a public key hides nothing from who knows that key; opening asks for the private one;
//! - a path seals the new secret to each remaining leaf by itself, so a commit is linear in the members.
//!
//! Never for real groups.

mod node;
mod public;
mod ratchet;
mod symbol;
mod wire;

#[cfg(test)]
pub(crate) mod suite;
#[cfg(test)]
mod tests;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use hearth_protocol::{
    cbor,
    id::{DeviceId, hash},
};

pub use node::ModelNode;
use node::Secret;
use public::{Authoring, Public};
use symbol::Key;
use wire::{Content, GroupInfo, KeyPackage, PrivateKeys, Welcome};

use crate::{
    mls::{AddedLeaf, Binding, Mls, MlsError, NodeContext, Place, Rows, Suite},
    persona::DeviceKeys,
};

/// Makes symbolic nodes. One seed and one order of calls give the same bytes every time.
#[derive(Clone)]
pub struct ModelMls {
    source: Arc<Source>,
}

/// All randomness that no caller brings.
struct Source {
    seed: [u8; 32],
    drawn: AtomicU64,
}

impl ModelMls {
    /// All its randomness comes from `seed`, and from the generators that callers pass.
    #[must_use]
    pub fn new(seed: [u8; 32]) -> Self {
        Self { source: Arc::new(Source { seed, drawn: AtomicU64::new(0) }) }
    }

    fn draw(&self, device: DeviceId) -> Key {
        let drawn = self.source.drawn.fetch_add(1, Ordering::Relaxed);
        hash(&[b"model draw", &self.source.seed, &device.0, &drawn.to_be_bytes()])
    }
}

impl Mls for ModelMls {
    type Node = ModelNode;

    fn create(
        &self,
        device: &DeviceKeys,
        mls_group_id: &[u8; 32],
        suite: Suite,
        binding: &Binding,
    ) -> Result<ModelNode, MlsError> {
        let leaf_key = self.draw(device.device());
        let public = Public::first(device, mls_group_id, suite, binding, &leaf_key);
        Ok(ModelNode::new(public, Some(Secret { epoch: self.draw(device.device()), leaf_key, own: 0 })))
    }

    fn load(&self, rows: Rows) -> Result<ModelNode, MlsError> {
        ModelNode::load(&rows)
    }

    fn open_group_info(&self, group_info: &[u8]) -> Result<ModelNode, MlsError> {
        let info: GroupInfo = wire::read(wire::GROUP_INFO, group_info).map_err(|_| MlsError::Invalid)?;
        Ok(ModelNode::new(Public::from_info(&info)?, None))
    }

    fn read_context(&self, context: &[u8]) -> Result<NodeContext, MlsError> {
        let confirmed: public::Confirmed = cbor::from_slice(context, wire::MAX).map_err(|_| MlsError::Invalid)?;
        let (node, context) = (confirmed.node(), confirmed.context);
        let suite = Suite::from_code(context.suite).ok_or(MlsError::Invalid)?;
        Ok(NodeContext { node, mls_group_id: context.group, suite, epoch: context.epoch, binding: context.binding })
    }

    fn place_of(&self, message: &[u8]) -> Option<Place> {
        let commit = wire::read::<wire::Commit>(wire::COMMIT, message).map(|c| (c.content.group, c.content.epoch));
        let either =
            commit.or_else(|_| wire::read::<wire::Message>(wire::MESSAGE, message).map(|m| (m.group, m.epoch)));
        either.ok().map(|(mls_group_id, epoch)| Place { mls_group_id, epoch })
    }

    fn join_external(
        &self,
        device: &DeviceKeys,
        group_info: &[u8],
        aad: &[u8],
    ) -> Result<(Vec<u8>, ModelNode), MlsError> {
        let info: GroupInfo = wire::read(wire::GROUP_INFO, group_info).map_err(|_| MlsError::Invalid)?;
        let parent = Public::from_info(&info)?;
        let draw = || self.draw(device.device());
        let (init, leaf_key, commit_secret) = (draw(), draw(), draw());
        let removes = parent.index_of(device.device()).into_iter().collect();
        let content = Content {
            group: parent.group,
            epoch: parent.facts.epoch,
            sender: None,
            aad: aad.to_vec().into(),
            adds: vec![],
            removes,
            binding: None,
            leaf: wire::Leaf::new(device, &leaf_key),
            external: Some(symbol::seal(&info.tbs.external, draw(), &init).into()),
            path: vec![],
        };
        let own = parent.author(device, content, Authoring { init, leaf_key, commit_secret }, &mut || draw())?;
        Ok((own.commit, own.child))
    }

    fn key_package(&self, device: &DeviceKeys, suite: Suite) -> Result<(Vec<u8>, Rows), MlsError> {
        let keys = PrivateKeys { init: self.draw(device.device()), leaf: self.draw(device.device()) };
        let bytes = cbor::to_vec(&KeyPackage::new(device, suite, &keys));
        let row = (wire::key_package_row(&hash(&[&bytes])), cbor::to_vec(&keys));
        Ok((bytes, Rows::from([row])))
    }

    fn inspect_key_package(&self, key_package: &[u8], suite: Suite) -> Result<AddedLeaf, MlsError> {
        let package = KeyPackage::read(key_package).filter(|package| package.suite == suite.code());
        package.map(|package| package.added(key_package)).ok_or(MlsError::Invalid)
    }

    fn join_welcome(&self, device: &DeviceKeys, private: &Rows, welcome: &[u8]) -> Result<ModelNode, MlsError> {
        let welcome: Welcome = wire::read(wire::WELCOME, welcome)?;
        let mine = welcome.joiners.iter().find_map(|joiner| {
            let row = private.get(&wire::key_package_row(&joiner.package))?;
            cbor::from_slice::<PrivateKeys>(row, 256).ok().map(|keys| (joiner, keys))
        });
        let (joiner, keys) = mine.ok_or(MlsError::NotForThisNode)?;
        let secret = symbol::open(&keys.init, &joiner.sealed).ok_or(MlsError::Invalid)?;
        let info = symbol::unwrap(&secret, &welcome.info).ok_or(MlsError::Invalid)?;
        let info: GroupInfo = cbor::from_slice(&info, wire::MAX).map_err(|_| MlsError::Invalid)?;
        let public = Public::from_info(&info)?;
        let own = public.index_of(device.device()).ok_or(MlsError::NotForThisNode)?;
        let epoch = symbol::epoch_secret(&secret);
        if info.tbs.tag != symbol::confirmation(&epoch, &info.tbs.confirmed) {
            return Err(MlsError::Invalid);
        }
        Ok(ModelNode::new(public, Some(Secret { epoch, leaf_key: keys.leaf, own })))
    }
}
