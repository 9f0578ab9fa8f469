//! Commits that RFC 9420 allows or OpenMLS makes, and that Hearth refuses; and commits that only some can open.

use openmls::{
    extensions::{
        ApplicationIdExtension, Extension, ExtensionType, Extensions, ExternalSender, RequiredCapabilitiesExtension,
        UnknownExtension,
    },
    group::{GroupContext, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY},
    prelude::{
        BasicCredential, CommitBuilder, CredentialWithKey, Initial, LeafNodeIndex, Lifetime, PreSharedKeyProposal,
        Proposal,
    },
    schedule::PreSharedKeyId,
};

use super::{
    super::settings::{self, BINDING},
    spoiler::Spoiler,
    *,
};
use crate::{
    mls::{CommitPlan, MlsNode as _},
    model::suite::{binding, commit, create, device, pair, remove, rng, three},
    persona::DeviceKeys,
};

type Builder<'a> = CommitBuilder<'a, Initial, &'a mut MlsGroup>;

/// OpenMLS itself on a copy of a node, without the port's care.
struct Loose {
    store: NodeStore,
    group: MlsGroup,
    crypto: RustCrypto,
}

impl Loose {
    fn new(node: &OpenMlsNode) -> Self {
        let store = NodeStore::new(node.rows());
        let group = MlsGroup::load(&store, &GroupId::from_slice(&[])).unwrap().unwrap();
        Self { store, group, crypto: RustCrypto::default() }
    }

    fn provider(&self) -> Provider<'_> {
        Provider { crypto: &self.crypto, store: &self.store }
    }

    /// A commit of any form.
    fn commit(mut self, by: &DeviceKeys, shape: impl FnOnce(Builder<'_>) -> Builder<'_>) -> Vec<u8> {
        let provider = Provider { crypto: &self.crypto, store: &self.store };
        let bundle = shape(self.group.commit_builder())
            .load_psks(&self.store)
            .unwrap()
            .build(&self.crypto, &self.crypto, &DeviceSigner(by), |_| true)
            .unwrap()
            .stage_commit(&provider)
            .unwrap();
        bundle.into_commit().to_bytes().unwrap()
    }
}

/// Refused alike with and without secrets.
fn refused(node: &OpenMlsNode, commit: &[u8]) -> MlsError {
    let error = node.check(commit).err().unwrap();
    assert_eq!(node.apply(commit).err(), Some(error));
    error
}

fn setup() -> (DeviceKeys, OpenMlsNode, DeviceKeys, OpenMlsNode) {
    pair(&OpenMls::new(), Suite::Classic)
}

fn context(extensions: Vec<Extension>) -> Extensions<GroupContext> {
    Extensions::from_vec(extensions).unwrap()
}

fn our_binding() -> Extension {
    Extension::Unknown(BINDING, UnknownExtension(hearth_protocol::cbor::to_vec(&binding(3))))
}

#[test]
fn the_group_context_changes_in_our_extension_only() {
    let (_, at_a, b, at_b) = setup();
    let required = || Extension::RequiredCapabilities(settings::required_capabilities());
    let weaker = RequiredCapabilitiesExtension::new(&[ExtensionType::Unknown(BINDING)], &[], &[]);
    let sender = ExternalSender::new(b.device().0.to_vec().into(), BasicCredential::new(b.credential()).into());
    let shapes = [
        vec![required()],
        vec![Extension::RequiredCapabilities(weaker), our_binding()],
        vec![required(), our_binding(), Extension::ExternalSenders(vec![sender])],
        vec![required(), Extension::Unknown(BINDING, UnknownExtension(b"no binding".to_vec()))],
    ];
    for shape in shapes {
        let commit =
            Loose::new(&at_b).commit(&b, |builder| builder.propose_group_context_extensions(context(shape)).unwrap());
        assert_eq!(refused(&at_a, &commit), MlsError::Forbidden);
    }
    let good = context(vec![our_binding(), required()]);
    let commit = Loose::new(&at_b).commit(&b, |builder| builder.propose_group_context_extensions(good).unwrap());
    assert_eq!(at_a.apply(&commit).unwrap().1.facts().binding, binding(3));
}

#[test]
fn proposals_come_inline() {
    let (_, at_a, b, at_b) = setup();
    let mut loose = Loose::new(&at_b);
    let provider = Provider { crypto: &loose.crypto, store: &loose.store };
    let (proposal, _) = loose.group.propose_remove_member(&provider, &DeviceSigner(&b), LeafNodeIndex::new(0)).unwrap();
    // A proposal by itself is nothing.
    assert_eq!(refused(&at_a, &proposal.to_bytes().unwrap()), MlsError::NotForThisNode);
    assert_eq!(refused(&at_a, &loose.commit(&b, |builder| builder)), MlsError::Forbidden);
}

#[test]
fn a_leaf_keeps_its_key_and_its_persona() {
    let (_, at_a, b, at_b) = setup();
    let stranger = device(9);
    // Another device of any persona: a new signature key.
    let mut loose = Loose::new(&at_b);
    let provider = Provider { crypto: &loose.crypto, store: &loose.store };
    let new = openmls::prelude::NewSignerBundle {
        signer: &DeviceSigner(&stranger),
        credential_with_key: settings::credential(&stranger),
    };
    let bundle = loose
        .group
        .self_update_with_new_signer(&provider, &DeviceSigner(&b), new, LeafNodeParameters::default())
        .unwrap();
    assert_eq!(refused(&at_a, &bundle.into_commit().to_bytes().unwrap()), MlsError::Forbidden);
    // The same key under another credential, even one that verifies: a second persona of the same device.
    let mut seed = *stranger.seed();
    seed[32..].copy_from_slice(&b.seed()[32..]);
    let twin = DeviceKeys::from_seed(&seed);
    assert_eq!(twin.device(), b.device());
    let leaf = LeafNodeParameters::builder().with_credential_with_key(settings::credential(&twin)).build();
    let commit = Loose::new(&at_b).commit(&b, |builder| builder.leaf_node_parameters(leaf));
    assert_eq!(refused(&at_a, &commit), MlsError::Forbidden);
    // Nor may a leaf carry anything else.
    let extra = Extension::ApplicationId(ApplicationIdExtension::new(b"tracking"));
    let leaf = LeafNodeParameters::builder()
        .with_capabilities(settings::capabilities())
        .with_extensions(Extensions::single(extra).unwrap())
        .build();
    let commit = Loose::new(&at_b).commit(&b, |builder| builder.leaf_node_parameters(leaf));
    assert_eq!(refused(&at_a, &commit), MlsError::Forbidden);
}

#[test]
fn every_commit_has_a_path_and_members_send_no_extra_data() {
    let (_, at_a, b, at_b) = setup();
    let mls = OpenMls::new();
    let package = mls.key_package(&device(3), Suite::Classic).unwrap().0;
    let (package, _) = key_package_in(&mls.crypto, &package).unwrap();
    let added = package.clone();
    let commit = Loose::new(&at_b).commit(&b, |builder| builder.force_self_update(false).propose_adds([added]));
    assert_eq!(refused(&at_a, &commit), MlsError::Forbidden);
    let commit = Loose::new(&at_b).commit(&b, |builder| builder.force_self_update(true).propose_adds([package]));
    assert!(at_a.apply(&commit).is_ok());
    let mut loose = Loose::new(&at_b);
    loose.group.set_aad(b"a Join that a member slips in".to_vec());
    assert_eq!(refused(&at_a, &loose.commit(&b, |builder| builder.force_self_update(true))), MlsError::Forbidden);
}

#[test]
fn no_psk_and_no_sealed_handshake() {
    let (_, mut at_a, b, at_b) = setup();
    let loose = Loose::new(&at_b);
    let id = PreSharedKeyId::external(b"psk".to_vec(), vec![0; 32]);
    id.store(&loose.provider(), &[1; 32]).unwrap();
    let proposal = Proposal::PreSharedKey(Box::new(PreSharedKeyProposal::new(id)));
    let commit = loose.commit(&b, |builder| builder.add_proposal(proposal).force_self_update(true));
    assert_eq!(refused(&at_a, &commit), MlsError::Forbidden);
    let mut loose = Loose::new(&at_b);
    let sealed = MlsGroupJoinConfig::builder().wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY).build();
    loose.group.set_configuration(&loose.store, &sealed).unwrap();
    let commit = loose.commit(&b, |builder| builder.force_self_update(true));
    assert_eq!(refused(&at_a, &commit), MlsError::NotForThisNode);
    assert_eq!(at_a.decrypt(&commit), Err(MlsError::NotForThisNode));
}

/// A KeyPackage that OpenMLS finds good.
fn odd_key_package(signer: &DeviceKeys, credential: CredentialWithKey, lifetime: Lifetime) -> KeyPackage {
    let (store, crypto) = (NodeStore::default(), RustCrypto::default());
    let provider = Provider { crypto: &crypto, store: &store };
    let bundle = KeyPackage::builder()
        .key_package_lifetime(lifetime)
        .leaf_node_capabilities(settings::capabilities())
        .build(settings::ciphersuite(Suite::Classic), &provider, &DeviceSigner(signer), credential);
    bundle.unwrap().into_key_package()
}

/// A leaf key under the word of a persona for another key.
fn foreign(own: &DeviceKeys, other: &DeviceKeys) -> CredentialWithKey {
    CredentialWithKey { signature_key: own.device().0.to_vec().into(), ..settings::credential(other) }
}

#[test]
fn an_add_is_of_a_lasting_leaf_with_its_own_credential() {
    let (a, at_a, b, at_b) = setup();
    let c = device(3);
    let lies = odd_key_package(&c, foreign(&c, &a), settings::endless());
    let ends = odd_key_package(&c, settings::credential(&c), Lifetime::new(3_600));
    for (package, error) in [(lies, MlsError::Invalid), (ends, MlsError::Forbidden)] {
        let bytes = package.tls_serialize_detached().unwrap();
        assert_eq!(OpenMls::new().inspect_key_package(&bytes, Suite::Classic), Err(MlsError::Invalid));
        let plan = CommitPlan { adds: vec![bytes], removes: vec![], binding: Some(binding(1)) };
        assert_eq!(at_b.commit(&b, &plan, &mut rng(1)).err(), Some(MlsError::Invalid));
        let commit = Loose::new(&at_b).commit(&b, |builder| builder.force_self_update(true).propose_adds([package]));
        assert_eq!(refused(&at_a, &commit), error);
    }
}

/// An external commit of any form.
fn join(info: &[u8], by: &DeviceKeys, credential: CredentialWithKey, keep_old_leaf: bool) -> Option<Vec<u8>> {
    let (store, crypto) = (NodeStore::default(), RustCrypto::default());
    let provider = Provider { crypto: &crypto, store: &store };
    let Ok(MlsMessageBodyIn::GroupInfo(info)) = node::read(info) else { return None };
    let built = MlsGroup::external_commit_builder()
        .with_config(settings::join_config())
        .build_group(&provider, info, credential)
        .ok()?
        .leaf_node_parameters(LeafNodeParameters::builder().with_capabilities(settings::capabilities()).build())
        .load_psks(&store)
        .ok()?
        .build(&crypto, &crypto, &DeviceSigner(by), |queued| {
            !keep_old_leaf || !matches!(queued.proposal(), Proposal::Remove(_))
        })
        .ok()?;
    let (_, bundle) = built.finalize(&provider).ok()?;
    bundle.into_commit().to_bytes().ok()
}

#[test]
fn a_joiner_shows_its_own_credential() {
    let (a, at_a, _, _) = setup();
    let c = device(3);
    let info = at_a.group_info(&a).unwrap();
    let commit = join(&info, &c, foreign(&c, &a), false).unwrap();
    assert_eq!(refused(&at_a, &commit), MlsError::Invalid);
    assert!(at_a.apply(&join(&info, &c, settings::credential(&c), false).unwrap()).is_ok());
}

#[test]
fn a_joiner_displaces_nobody_else() {
    let (a, at_a, b, _) = setup();
    let info = at_a.group_info(&a).unwrap();
    // A leaf with b's key but of another persona, which takes b's place.
    let mut seed = *device(9).seed();
    seed[32..].copy_from_slice(&b.seed()[32..]);
    let twin = DeviceKeys::from_seed(&seed);
    let commit = join(&info, &twin, settings::credential(&twin), false).unwrap();
    assert_eq!(refused(&at_a, &commit), MlsError::Forbidden);
}

#[test]
fn a_joiner_has_one_leaf() {
    // A free place before c's, so that c can take it without giving up its own.
    let [(a, at_a), _, (c, _)] = three(&OpenMls::new(), Suite::Classic);
    let at_a = commit(&at_a, &a, &remove(1, 2)).child;
    let info = at_a.group_info(&a).unwrap();
    let twice = join(&info, &c, settings::credential(&c), true).unwrap();
    assert_eq!(refused(&at_a, &twice), MlsError::Forbidden);
    let moved = join(&info, &c, settings::credential(&c), false).unwrap();
    assert_eq!(at_a.apply(&moved).unwrap().1.facts().leaves.len(), 2);
}

#[test]
fn a_node_without_the_binding_is_not_ours() {
    let (store, crypto) = (NodeStore::default(), RustCrypto::default());
    let provider = Provider { crypto: &crypto, store: &store };
    let a = device(1);
    let group = MlsGroup::builder()
        .ciphersuite(settings::ciphersuite(Suite::Classic))
        .with_capabilities(settings::capabilities())
        .lifetime(settings::endless())
        .build(&provider, &DeviceSigner(&a), settings::credential(&a))
        .unwrap();
    let info = group.export_group_info(&crypto, &DeviceSigner(&a), true).unwrap().to_bytes().unwrap();
    assert_eq!(OpenMls::new().open_group_info(&info).err(), Some(MlsError::Invalid));
    assert_eq!(OpenMls::new().join_external(&device(2), &info, b"").err(), Some(MlsError::Invalid));
}

#[test]
fn what_only_a_member_finds_wrong_cannot_be_opened() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let [(a, at_a), (b, at_b), (_, at_c)] = three(&OpenMls::new(), suite);
        // A path that seals garbage to one member.
        let mut loose = Loose::new(&at_a);
        let victim = loose.group.member_at(LeafNodeIndex::new(1)).unwrap().encryption_key;
        let spoiler = Spoiler { inner: RustCrypto::default(), victim };
        let provider = Provider { crypto: &loose.crypto, store: &loose.store };
        let spoiled = loose.group.commit_builder().force_self_update(true).load_psks(&loose.store).unwrap();
        let spoiled = spoiled.build(&spoiler.inner, &spoiler, &DeviceSigner(&a), |_| true).unwrap();
        let spoiled = spoiled.stage_commit(&provider).unwrap().into_commit().to_bytes().unwrap();
        let (facts, public) = at_b.check(&spoiled).unwrap();
        assert_eq!(at_b.apply(&spoiled).err(), Some(MlsError::CannotOpen));
        let (also, secret) = at_c.apply(&spoiled).unwrap();
        assert_eq!((facts, public.facts()), (also, secret.facts()));
        // Who changes a tag of somebody else's commit breaks the membership tag, which is last: no grounds for a Nack.
        let good = commit(&at_b, &b, &CommitPlan::default()).commit;
        for at in [good.len() - 1, good.len() - 33 - 1] {
            let mut changed = good.clone();
            changed[at] ^= 1;
            assert!(at_a.check(&changed).is_ok());
            assert_eq!(at_a.apply(&changed).err(), Some(MlsError::Invalid));
            assert_eq!(at_c.apply(&changed).err(), Some(MlsError::Invalid));
        }
    }
}

#[test]
fn the_node_id_is_the_hash_of_the_group_context_and_the_confirmation_tag() {
    let a = device(1);
    let node = create(&OpenMls::new(), &a, Suite::Hybrid);
    let loose = Loose::new(&node);
    let group = loose.group.public_group();
    let context = group.group_context().tls_serialize_detached().unwrap();
    let tag = group.confirmation_tag().tls_serialize_detached().unwrap();
    assert_eq!(node.facts().node.0, hearth_protocol::id::hash(&[b"hearth node/2", &context, &tag]));
}

/// The tag is in no signature, and whoever follows in the open cannot check it. The ids of all that comes later rest on it.
#[test]
fn with_another_confirmation_tag_it_is_another_node() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let [(a, at_a), (b, at_b), (_, at_c)] = three(&OpenMls::new(), suite);
        let good = commit(&at_b, &b, &CommitPlan::default());
        let mut changed = good.commit.clone();
        // Last is the membership tag of 32 bytes and its length, before it the confirmation tag.
        let at = changed.len() - 33 - 1;
        changed[at] ^= 1;
        let (_, other) = at_a.check(&changed).unwrap();
        assert_ne!(other.facts().node, good.child.facts().node);
        let (_, child) = at_c.apply(&good.commit).unwrap();
        assert_eq!(child.facts(), good.child.facts());
        // Nor does what follows on the one follow on the other.
        let next = commit(&at_a.apply(&good.commit).unwrap().1, &a, &CommitPlan::default());
        assert_eq!(child.check(&next.commit).unwrap().1.facts(), next.child.facts());
        assert!(
            other.check(&next.commit).is_err_and(|e| e == MlsError::Invalid)
                || other.check(&next.commit).unwrap().1.facts() != next.child.facts()
        );
    }
}

#[test]
fn nothing_secret_is_shown() {
    let a = device(1);
    let node = create(&OpenMls::new(), &a, Suite::Classic);
    let shown = format!("{node:?}");
    assert!(shown.starts_with("OpenMlsNode { node: NodeId(") && shown.len() < 60, "{shown}");
}
