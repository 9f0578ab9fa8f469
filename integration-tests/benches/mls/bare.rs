//! OpenMLS as it comes: its own provider, in-memory storage and group type; the settings of our groups.

use hearth_crypto::{mls::Suite, persona::DeviceKeys};
use openmls::prelude::{tls_codec::DeserializeBytes as _, *};
use openmls_rust_crypto::{OpenMlsRustCrypto, RustCrypto};
use openmls_traits::{
    OpenMlsProvider,
    signatures::{Signer, SignerError},
};

use crate::{Bench, TEXT, Tree, device};

/// Signs with the expanded key, as our port does, so that the comparison is not about that.
struct Signs(DeviceKeys);

impl Signer for Signs {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign_as_device(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

/// One member.
struct Member {
    provider: OpenMlsRustCrypto,
    group: MlsGroup,
    signs: Signs,
}

fn ciphersuite(suite: Suite) -> Ciphersuite {
    Ciphersuite::try_from(suite.code()).unwrap()
}

fn credential(keys: &DeviceKeys) -> CredentialWithKey {
    let signature_key = keys.device().0.to_vec().into();
    CredentialWithKey { credential: BasicCredential::new(keys.credential()).into(), signature_key }
}

fn capabilities(suite: Suite) -> Capabilities {
    Capabilities::builder().ciphersuites(vec![ciphersuite(suite)]).build()
}

fn package(provider: &OpenMlsRustCrypto, suite: Suite, keys: &DeviceKeys) -> KeyPackage {
    let made = KeyPackage::builder().leaf_node_capabilities(capabilities(suite)).build(
        ciphersuite(suite),
        provider,
        &Signs(keys.clone()),
        credential(keys),
    );
    made.unwrap().into_key_package()
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .max_past_epochs(0)
        .build()
}

/// A copy of a storage: the real one is moved on by every step.
fn copy(provider: &OpenMlsRustCrypto) -> OpenMlsRustCrypto {
    let copy = OpenMlsRustCrypto::default();
    let rows = provider.storage().values.read().unwrap().clone();
    *copy.storage().values.write().unwrap() = rows;
    copy
}

impl Member {
    /// The same state again, as it was written.
    fn again(&self) -> Self {
        let provider = copy(&self.provider);
        let group = MlsGroup::load(provider.storage(), self.group.group_id()).unwrap().unwrap();
        Self { provider, group, signs: Signs(self.signs.0.clone()) }
    }

    fn commit(mut self, adds: Vec<KeyPackage>, removes: Vec<LeafNodeIndex>) -> (Vec<u8>, Option<Vec<u8>>, Self) {
        let welcome = !adds.is_empty();
        let bundle = self
            .group
            .commit_builder()
            .force_self_update(true)
            .propose_adds(adds)
            .propose_removals(removes)
            .load_psks(self.provider.storage())
            .unwrap()
            .create_group_info(welcome)
            .use_ratchet_tree_extension(welcome)
            .build(self.provider.rand(), self.provider.crypto(), &self.signs, |_| true)
            .unwrap()
            .stage_commit(&self.provider)
            .unwrap();
        self.group.merge_pending_commit(&self.provider).unwrap();
        let (commit, welcome, _) = bundle.into_messages();
        (commit.to_bytes().unwrap(), welcome.map(|w| w.to_bytes().unwrap()), self)
    }

    fn process(mut self, frame: &[u8]) -> Self {
        let message = read(frame).try_into_protocol_message().unwrap();
        let processed = self.group.process_message(&self.provider, message).unwrap();
        let ProcessedMessageContent::StagedCommitMessage(staged) = processed.into_content() else { return self };
        self.group.merge_staged_commit(&self.provider, *staged).unwrap();
        self
    }

    fn door(&self) -> Vec<u8> {
        let info = self.group.export_group_info(self.provider.crypto(), &self.signs, true).unwrap();
        info.to_bytes().unwrap()
    }

    fn encrypt(&mut self) -> Vec<u8> {
        self.group.create_message(&self.provider, &self.signs, &TEXT).unwrap().to_bytes().unwrap()
    }
}

fn read(bytes: &[u8]) -> MlsMessageIn {
    MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap()
}

fn create(suite: Suite, keys: DeviceKeys) -> Member {
    let provider = OpenMlsRustCrypto::default();
    let group = MlsGroup::builder()
        .ciphersuite(ciphersuite(suite))
        .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
        .use_ratchet_tree_extension(true)
        .with_capabilities(capabilities(suite))
        .build(&provider, &Signs(keys.clone()), credential(&keys))
        .unwrap();
    Member { provider, group, signs: Signs(keys) }
}

fn join(provider: OpenMlsRustCrypto, welcome: &[u8], keys: DeviceKeys) -> Member {
    let MlsMessageBodyIn::Welcome(welcome) = read(welcome).extract() else { unreachable_here() };
    let staged = StagedWelcome::build_from_welcome(&provider, &join_config(), welcome).unwrap().build().unwrap();
    let group = staged.into_group(&provider).unwrap();
    Member { provider, group, signs: Signs(keys) }
}

fn join_external(suite: Suite, info: &[u8], keys: DeviceKeys) -> (Vec<u8>, Member) {
    let MlsMessageBodyIn::GroupInfo(info) = read(info).extract() else { unreachable_here() };
    let (provider, crypto, signs) = (OpenMlsRustCrypto::default(), RustCrypto::default(), Signs(keys));
    let leaf = LeafNodeParameters::builder().with_capabilities(capabilities(suite)).build();
    let built = MlsGroup::external_commit_builder()
        .with_config(join_config())
        .build_group(&provider, info, credential(&signs.0))
        .unwrap()
        .leaf_node_parameters(leaf)
        .load_psks(provider.storage())
        .unwrap()
        .build(&crypto, &crypto, &signs, |_| true)
        .unwrap();
    let (group, bundle) = built.finalize(&provider).unwrap();
    (bundle.into_commit().to_bytes().unwrap(), Member { provider, group, signs })
}

/// The two at hand. As in our own group, they come last from outside, or all are added at once.
fn found(bench: &Bench<'_>) -> (Member, Member) {
    let suite = bench.suite;
    if bench.tree == Tree::Blank {
        let (second, others) = (OpenMlsRustCrypto::default(), OpenMlsRustCrypto::default());
        let package = |n| package(if n == 1 { &second } else { &others }, suite, &device(n));
        let adds = (1..bench.members).map(package).collect();
        let (_, welcome, founder) = create(suite, device(0)).commit(adds, vec![]);
        return (founder, join(second, &welcome.unwrap(), device(1)));
    }
    let mut at = create(suite, device(2));
    for n in (3..bench.members).chain([0]) {
        at = join_external(suite, &at.door(), device(n)).1;
    }
    let (commit, second) = join_external(suite, &at.door(), device(1));
    (at.process(&commit), second)
}

fn unreachable_here() -> ! {
    std::process::abort()
}

pub(crate) fn run(bench: &mut Bench<'_>) {
    let (suite, members) = (bench.suite, bench.members);
    let (founder, second) = found(bench);
    let frame = founder.again().commit(vec![], vec![]).0;
    bench.time("self-update", || founder.again(), |m| m.commit(vec![], vec![]));
    bench.time("process a self-update", || second.again(), |m| m.process(&frame));
    if bench.tree == Tree::Blank {
        return;
    }
    let private = OpenMlsRustCrypto::default();
    let newcomer = package(&private, suite, &device(members));
    let last = LeafNodeIndex::new(members as u32 - 3);
    let (added, welcome, _) = founder.again().commit(vec![newcomer.clone()], vec![]);
    let welcome = welcome.unwrap();
    bench.time("add", || (founder.again(), newcomer.clone()), |(m, package)| m.commit(vec![package], vec![]));
    bench.time("remove", || founder.again(), |m| m.commit(vec![], vec![last]));
    bench.time("process an add", || second.again(), |m| m.process(&added));
    let keys = device(members);
    bench.time("join by Welcome", || copy(&private), |provider| join(provider, &welcome, keys.clone()));
    let door = founder.door();
    bench.time("external join", || (), |()| join_external(suite, &door, keys.clone()));
    bench.time(
        "load from rows",
        || (),
        |()| MlsGroup::load(second.provider.storage(), second.group.group_id()).unwrap(),
    );
    let mut at_a = founder.again();
    bench.time("encrypt 1 KiB", || (), |()| at_a.encrypt());
    let (mut at_a, mut at_b) = (founder.again(), second.again());
    bench.time(
        "decrypt 1 KiB",
        || at_a.encrypt(),
        |sealed| {
            let message = read(&sealed).try_into_protocol_message().unwrap();
            at_b.group.process_message(&at_b.provider, message).unwrap()
        },
    );
}
