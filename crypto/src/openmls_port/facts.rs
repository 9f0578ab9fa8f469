//! Reading a node and a commit: who is in it, what it does, and whether its form is allowed.

use hearth_protocol::{
    cbor,
    id::{DeviceId, NodeId, PersonaId, hash},
};
use openmls::{
    extensions::Extension,
    group::{GroupContext, PublicGroup, StagedCommit},
    prelude::{
        ConfirmationTag, CredentialType, KeyPackage, LeafNode, ProcessedMessage, ProcessedMessageContent, Proposal,
        ProposalOrRefType, Sender,
        tls_codec::{DeserializeBytes as _, Serialize as _},
    },
};

use super::settings::{BINDING, endless, required_capabilities};
use crate::{
    mls::{AddedLeaf, Binding, CommitFacts, Leaf, MlsError, NodeContext, NodeFacts, Suite},
    persona::{LeafCredential, verify_credential},
    policy::judge::HEADS_MAX,
};

/// Begins what a NodeId hashes.
const NODE_LABEL: &[u8] = b"hearth node/2";
/// The longest encoding of a [`Binding`].
const BINDING_MAX: usize = HEADS_MAX * 34 + 128;
/// The longest encoding of a [`LeafCredential`].
const CREDENTIAL_MAX: usize = 256;

/// Persona and device of a leaf, if its credential is a persona's word for exactly this signature key.
pub(super) fn identify(leaf: &LeafNode) -> Result<(PersonaId, DeviceId), MlsError> {
    if leaf.credential().credential_type() != CredentialType::Basic {
        return Err(MlsError::Invalid);
    }
    let credential = leaf.credential().serialized_content();
    verify_credential(credential, leaf.signature_key().as_slice()).ok_or(MlsError::Invalid)
}

/// Facts of a node of which nothing was checked before: every credential is verified.
pub(super) fn verified(group: &PublicGroup) -> Result<NodeFacts, MlsError> {
    assemble(group, |_, leaf| identify(leaf))
}

/// Facts of a node from own rows: its credentials were verified when it was made.
pub(super) fn trusted(group: &PublicGroup) -> Result<NodeFacts, MlsError> {
    assemble(group, |_, leaf| {
        let credential: LeafCredential =
            cbor::from_slice(leaf.credential().serialized_content(), CREDENTIAL_MAX).map_err(|_| MlsError::State)?;
        Ok((credential.persona, device_of(leaf).ok_or(MlsError::State)?))
    })
}

/// Facts of a child: leaves that the commit brought are in `new` and verified there, the others are the parent's.
pub(super) fn of_child(
    child: &PublicGroup,
    parent: &NodeFacts,
    new: &[(PersonaId, DeviceId)],
) -> Result<NodeFacts, MlsError> {
    assemble(child, |index, leaf| {
        let device = device_of(leaf).ok_or(MlsError::Invalid)?;
        if let Some(found) = new.iter().find(|(_, d)| *d == device) {
            return Ok(*found);
        }
        let old = leaf_at(parent, index).filter(|old| old.device == device).ok_or(MlsError::Invalid)?;
        Ok((old.persona, old.device))
    })
}

fn assemble(
    group: &PublicGroup,
    identify: impl Fn(u32, &LeafNode) -> Result<(PersonaId, DeviceId), MlsError>,
) -> Result<NodeFacts, MlsError> {
    let context = group.group_context();
    let suite = Suite::from_code(context.ciphersuite().into()).ok_or(MlsError::Invalid)?;
    let binding = binding_of(context).ok_or(MlsError::Invalid)?;
    let leaves = group
        .treesync()
        .full_leaves()
        .map(|(index, leaf)| {
            let (persona, device) = identify(index.u32(), leaf)?;
            Ok(Leaf { index: index.u32(), persona, device })
        })
        .collect::<Result<Vec<_>, MlsError>>()?;
    let node = node_id(&context_bytes(group)?);
    let mls_group_id = context.group_id().as_slice().try_into().map_err(|_| MlsError::Invalid)?;
    Ok(NodeFacts { node, mls_group_id, epoch: context.epoch().as_u64(), suite, binding, leaves })
}

/// The GroupContext and the confirmation tag. The tag is in no signature, and the NodeIds of all descendants rest on it:
/// with another tag it is another node.
pub(super) fn context_bytes(group: &PublicGroup) -> Result<Vec<u8>, MlsError> {
    encode(group.group_context(), group.confirmation_tag())
}

fn encode(context: &GroupContext, tag: &ConfirmationTag) -> Result<Vec<u8>, MlsError> {
    let mut bytes = context.tls_serialize_detached().map_err(|_| MlsError::Library)?;
    bytes.extend(tag.tls_serialize_detached().map_err(|_| MlsError::Library)?);
    Ok(bytes)
}

fn node_id(context: &[u8]) -> NodeId {
    NodeId(hash(&[NODE_LABEL, context]))
}

/// What a GroupContext and its confirmation tag say, if it is one of ours.
pub(super) fn read_context(bytes: &[u8]) -> Option<NodeContext> {
    let (context, rest) = GroupContext::tls_deserialize_bytes(bytes).ok()?;
    let tag = ConfirmationTag::tls_deserialize_exact_bytes(rest).ok()?;
    let suite = Suite::from_code(context.ciphersuite().into())?;
    let mls_group_id = context.group_id().as_slice().try_into().ok()?;
    let (node, epoch, binding) = (node_id(bytes), context.epoch().as_u64(), binding_of(&context)?);
    // The NodeId is of these bytes: nothing that reads alike and is written otherwise may pass for the same node.
    let same = encode(&context, &tag).is_ok_and(|again| again == bytes);
    same.then_some(NodeContext { node, mls_group_id, suite, epoch, binding })
}

fn device_of(leaf: &LeafNode) -> Option<DeviceId> {
    leaf.signature_key().as_slice().try_into().ok().map(DeviceId)
}

/// The leaf at an index.
pub(super) fn leaf_at(facts: &NodeFacts, index: u32) -> Option<&Leaf> {
    facts.leaves.binary_search_by_key(&index, |leaf| leaf.index).ok().and_then(|at| facts.leaves.get(at))
}

/// The binding, if the GroupContext's extensions are exactly it and our RequiredCapabilities.
fn binding_of(context: &GroupContext) -> Option<Binding> {
    let mut binding = None;
    let mut required = false;
    for extension in context.extensions().iter() {
        match extension {
            Extension::RequiredCapabilities(found) if *found == required_capabilities() => required = true,
            Extension::Unknown(BINDING, bytes) => binding = cbor::from_slice(&bytes.0, BINDING_MAX).ok(),
            _ => return None,
        }
    }
    binding.filter(|_| required)
}

/// Whose a KeyPackage is, and its hash; refuses what no Add of ours carries.
pub(super) fn added(key_package: &KeyPackage) -> Result<AddedLeaf, MlsError> {
    let lifetime = *key_package.life_time() == endless();
    let plain = is_empty(key_package.leaf_node()) && key_package.extensions().iter().next().is_none();
    if !lifetime || !plain || Suite::from_code(key_package.ciphersuite().into()).is_none() {
        return Err(MlsError::Forbidden);
    }
    let (persona, device) = identify(key_package.leaf_node())?;
    let bytes = key_package.tls_serialize_detached().map_err(|_| MlsError::Library)?;
    Ok(AddedLeaf { persona, device, key_package_hash: hash(&[&bytes]) })
}

fn is_empty(leaf: &LeafNode) -> bool {
    leaf.extensions().iter().next().is_none()
}

/// A commit that checks and whose form is allowed.
pub(super) struct Judged {
    pub(super) facts: CommitFacts,
    pub(super) staged: Box<StagedCommit>,
}

impl Judged {
    /// Leaves that the commit brings.
    pub(super) fn new_leaves(&self) -> Vec<(PersonaId, DeviceId)> {
        let author = self.facts.external.then_some((self.facts.author.persona, self.facts.author.device));
        self.facts.adds.iter().map(|add| (add.persona, add.device)).chain(author).collect()
    }
}

/// Reads a commit that OpenMLS found valid on `parent`, and refuses every form that Hearth does not use.
pub(super) fn judge(parent: &PublicGroup, facts: &NodeFacts, processed: ProcessedMessage) -> Result<Judged, MlsError> {
    let sender = processed.sender().clone();
    let aad = processed.aad().to_vec();
    let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else {
        return Err(MlsError::NotForThisNode);
    };
    // Every commit brings a fresh path: it heals, and a removed member never shares the child's secret.
    let path = staged.update_path_leaf_node().filter(|leaf| is_empty(leaf)).ok_or(MlsError::Forbidden)?;
    binding_of(staged.group_context()).ok_or(MlsError::Forbidden)?;
    let (author, external) = match sender {
        Sender::Member(index) => {
            let old = parent.leaf(index).ok_or(MlsError::Invalid)?;
            let same = old.signature_key() == path.signature_key() && old.credential() == path.credential();
            if !same || !aad.is_empty() {
                return Err(MlsError::Forbidden);
            }
            (*leaf_at(facts, index.u32()).ok_or(MlsError::Invalid)?, false)
        }
        Sender::NewMemberCommit => {
            let (persona, device) = identify(path)?;
            let index = parent.ext_commit_sender_index(&staged).map_err(|_| MlsError::Invalid)?.u32();
            (Leaf { index, persona, device }, true)
        }
        _ => return Err(MlsError::Forbidden),
    };
    let mut judged = CommitFacts { author, external, adds: vec![], removes: vec![], changes_binding: false, aad };
    read_proposals(&staged, facts, &mut judged)?;
    if external {
        // OpenMLS compares only Adds with the tree, and leaves the Remove of an external commit to the application.
        let own = |leaf: &Leaf| leaf.persona == author.persona;
        let gone = |leaf: &Leaf| judged.removes.iter().any(|removed| removed.index == leaf.index);
        let twice = facts.leaves.iter().any(|leaf| leaf.device == author.device && !gone(leaf));
        if twice || judged.removes.len() > 1 || !judged.removes.iter().all(own) {
            return Err(MlsError::Forbidden);
        }
    }
    Ok(Judged { facts: judged, staged })
}

fn read_proposals(staged: &StagedCommit, facts: &NodeFacts, out: &mut CommitFacts) -> Result<(), MlsError> {
    for queued in staged.queued_proposals() {
        if queued.proposal_or_ref_type() != ProposalOrRefType::Proposal {
            return Err(MlsError::Forbidden);
        }
        match (queued.proposal(), out.external) {
            (Proposal::Add(add), false) => out.adds.push(added(add.key_package())?),
            (Proposal::Remove(remove), _) => {
                out.removes.push(*leaf_at(facts, remove.removed().u32()).ok_or(MlsError::Invalid)?);
            }
            (Proposal::GroupContextExtensions(_), false) if !out.changes_binding => out.changes_binding = true,
            (Proposal::ExternalInit(_), true) => {}
            _ => return Err(MlsError::Forbidden),
        }
    }
    Ok(())
}
