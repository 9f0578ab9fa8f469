//! What a node's rows allow when part of them is gone, and what a sleeper needs to catch up.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use hearth_crypto::{
    mls::{Binding, CommitPlan, Mls as _, MlsError, MlsNode as _, OwnCommit, Suite},
    openmls_port::{OpenMls, OpenMlsNode},
    persona::DeviceKeys,
};
use hearth_protocol::id::{NodeId, OpId};
use openmls::prelude::{tls_codec::DeserializeBytes as _, *};
use openmls_rust_crypto::OpenMlsRustCrypto;
use openmls_traits::signatures::{Signer, SignerError};

/// The key of the row that marks a node which only reads: see `openmls_port::store`.
const ONLY_READS: u8 = 48;

fn device(n: u8) -> DeviceKeys {
    DeviceKeys::from_seed(&[n; 64])
}

fn binding(n: u8) -> Binding {
    let network = (n > 0).then_some(NodeId([9; 32]));
    let (heads, roster_root) = (vec![OpId([n; 32])], [n; 32]);
    Binding { heads, roster_root, network, first_day: 20_000, generation: 0, began: 0, epoch: 0 }
}

fn commit(node: &OpenMlsNode, by: &DeviceKeys, plan: &CommitPlan) -> OwnCommit<OpenMlsNode> {
    node.commit(by, plan, &mut rand::rng()).unwrap()
}

fn add(package: Vec<u8>, n: u8) -> CommitPlan {
    CommitPlan { adds: vec![package], removes: vec![], binding: Some(binding(n)) }
}

/// Founder, a joiner from outside, a third by Welcome.
fn three(mls: &OpenMls, suite: Suite) -> [(DeviceKeys, OpenMlsNode); 3] {
    let (a, b, c) = (device(1), device(2), device(3));
    let root = mls.create(&a, &[5; 32], suite, &binding(0)).unwrap();
    let (joined, at_b) = mls.join_external(&b, &root.group_info(&a).unwrap(), b"a Join").unwrap();
    let (package, private) = mls.key_package(&c, suite).unwrap();
    let made = commit(&root.apply(&joined).unwrap().1, &a, &add(package, 1));
    let at_b = at_b.apply(&made.commit).unwrap().1;
    let at_c = mls.join_welcome(&c, &private, &made.welcome.unwrap()).unwrap();
    [(a, made.child), (b, at_b), (c, at_c)]
}

#[test]
fn without_epoch_secrets_and_key_pairs_a_node_still_reads_and_cannot_follow() {
    for suite in [Suite::Classic, Suite::Hybrid] {
        let mls = OpenMls::new();
        let [(a, mut at_a), (b, mut at_b), (_, at_c)] = three(&mls, suite);
        let early = at_a.encrypt(&a, b"before").unwrap();
        let next = commit(&at_b, &b, &CommitPlan::default()).commit;
        assert!(at_c.apply(&next).is_ok());
        let mut reader = mls.load(at_c.rows()).unwrap();
        reader.only_read();
        let mut rows = at_c.rows();
        for (key, value) in reader.take_changes() {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        assert_eq!(rows, reader.rows(), "what is written says all of it");
        let late = at_b.encrypt(&b, b"after").unwrap();
        for (said, text) in [(&late, &b"after"[..]), (&early, b"before")] {
            assert_eq!(reader.decrypt(said).unwrap().plaintext, text);
            assert_eq!(reader.decrypt(said), Err(MlsError::AlreadyUsed));
        }
        assert!(reader.can_read() && !reader.has_secrets());
        assert_eq!(reader.apply(&next).err(), Some(MlsError::NoSecrets));
        assert_eq!(reader.export("hearth net/1", b"").err(), Some(MlsError::NoSecrets));
        // Whoever takes the disk has no more than that: for OpenMLS alone it is a node like any other, and the next epoch is
        // out of its reach, by the path, because the key pairs are gone, and by the init secret.
        rows.remove([ONLY_READS].as_slice());
        let thief = mls.load(rows).unwrap();
        assert_eq!(thief.apply(&next).err(), Some(MlsError::CannotOpen));
        for label in ["hearth net/1", "hearth door/1"] {
            assert_ne!(thief.export(label, b"").unwrap(), at_c.export(label, b"").unwrap());
        }
        assert_ne!(thief.authenticator().unwrap(), at_c.authenticator().unwrap());
        // It still validates without secrets, and survives being written once more.
        assert_eq!(reader.check(&next).unwrap().1.facts(), at_c.check(&next).unwrap().1.facts());
        let mut again = mls.load(reader.rows()).unwrap();
        assert!(again.can_read() && !again.has_secrets());
        let third = at_a.encrypt(&a, b"third").unwrap();
        assert_eq!(again.decrypt(&third).unwrap().plaintext, b"third");
    }
}

/// Sixty days at ten commits a day: Adds, Removes, updates, joins from outside. The sleeper's rows and the frames, in
/// order, are all it takes; and what was said on the way is read as well.
#[test]
fn a_sleeper_replays_six_hundred_commits() {
    const COMMITS: u8 = 200;
    const ROUNDS: u8 = 3;
    let mls = OpenMls::new();
    let [(a, mut at_a), (b, mut at_b), (_, at_c)] = three(&mls, Suite::Classic);
    let asleep = at_c.rows();
    let mut frames = Vec::new();
    let mut said = Vec::new();
    let guest = |n: u8, round: u8| {
        let mut seed = [n; 64];
        seed[0] = round;
        seed[32] = round;
        // Nobody of the three above.
        (seed[1], seed[33]) = (0xff, 0xff);
        DeviceKeys::from_seed(&seed)
    };
    for round in 0..ROUNDS {
        for n in 0..COMMITS {
            let guests: Vec<u32> =
                at_a.facts().leaves.iter().map(|leaf| leaf.index).filter(|index| *index > 2).collect();
            let made = match n % 5 {
                0 => {
                    let package = mls.key_package(&guest(n, round), Suite::Classic).unwrap().0;
                    commit(&at_a, &a, &add(package, n))
                }
                1 if !guests.is_empty() => {
                    commit(&at_a, &a, &CommitPlan { removes: vec![guests[0]], binding: Some(binding(n)), adds: vec![] })
                }
                2 => {
                    let door = at_b.group_info(&b).unwrap();
                    let (frame, _) = mls.join_external(&guest(n, round), &door, b"a Join").unwrap();
                    at_a = at_a.apply(&frame).unwrap().1;
                    at_b = at_b.apply(&frame).unwrap().1;
                    frames.push(frame);
                    continue;
                }
                3 if !guests.is_empty() => {
                    commit(&at_a, &a, &CommitPlan { removes: guests, binding: Some(binding(n)), adds: vec![] })
                }
                _ => commit(&at_a, &a, &CommitPlan::default()),
            };
            at_a = made.child;
            at_b = at_b.apply(&made.commit).unwrap().1;
            if n % 20 == 4 {
                said.push((frames.len(), at_b.encrypt(&b, &[n, round]).unwrap(), [n, round]));
            }
            frames.push(made.commit);
        }
    }
    assert_eq!(frames.len(), 600);
    let mut at_c = mls.load(asleep).unwrap();
    let mut said = said.into_iter().peekable();
    for (number, frame) in frames.iter().enumerate() {
        at_c = at_c.apply(frame).unwrap().1;
        if let Some((_, message, text)) = said.next_if(|(after, ..)| *after == number) {
            assert_eq!(at_c.decrypt(&message).unwrap().plaintext, text);
        }
    }
    assert!(said.next().is_none());
    assert_eq!(at_c.facts(), at_a.facts());
    assert_eq!(at_c.authenticator().unwrap(), at_a.authenticator().unwrap());
}

/// Signs with the device's key.
struct Signs(DeviceKeys);

impl Signer for Signs {
    fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, SignerError> {
        Ok(self.0.sign_as_device(payload).to_vec())
    }

    fn signature_scheme(&self) -> SignatureScheme {
        SignatureScheme::ED25519
    }
}

fn credential(keys: &DeviceKeys) -> CredentialWithKey {
    let signature_key = keys.device().0.to_vec().into();
    CredentialWithKey { credential: BasicCredential::new(keys.credential()).into(), signature_key }
}

fn package(provider: &OpenMlsRustCrypto, keys: &DeviceKeys, lifetime: Lifetime) -> KeyPackage {
    let suite = Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519;
    let builder = KeyPackage::builder().key_package_lifetime(lifetime);
    builder.build(suite, provider, &Signs(keys.clone()), credential(keys)).unwrap().into_key_package()
}

fn message(bytes: &[u8]) -> ProtocolMessage {
    MlsMessageIn::tls_deserialize_exact_bytes(bytes).unwrap().try_into_protocol_message().unwrap()
}

/// Why lifetimes inside MLS have no end: OpenMLS checks a commit against the clock of the day on which it is read. A
/// KeyPackage that was good on the day of its Add, and is over when the sleeper wakes, would shut the sleeper out.
#[test]
fn a_lifetime_that_ended_since_would_shut_a_sleeper_out() {
    let (a, b, c) = (device(1), device(2), device(3));
    let endless = Lifetime::init(0, u64::MAX);
    let outcomes = [Lifetime::init(1, 1_000_000_000), endless].map(|lifetime| {
        let (at_a, at_b, at_c) =
            (OpenMlsRustCrypto::default(), OpenMlsRustCrypto::default(), OpenMlsRustCrypto::default());
        let mut group = MlsGroup::builder()
            .ciphersuite(Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519)
            .with_wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY)
            .use_ratchet_tree_extension(true)
            .build(&at_a, &Signs(a.clone()), credential(&a))
            .unwrap();
        let (_, welcome, _) = group.add_members(&at_a, &Signs(a.clone()), &[package(&at_b, &b, endless)]).unwrap();
        group.merge_pending_commit(&at_a).unwrap();
        let welcome = MlsMessageIn::tls_deserialize_exact_bytes(&welcome.to_bytes().unwrap()).unwrap();
        let MlsMessageBodyIn::Welcome(welcome) = welcome.extract() else { return None };
        let config = MlsGroupJoinConfig::builder().wire_format_policy(PURE_PLAINTEXT_WIRE_FORMAT_POLICY).build();
        let staged = StagedWelcome::build_from_welcome(&at_b, &config, welcome).unwrap().build().unwrap();
        let mut sleeper = staged.into_group(&at_b).unwrap();
        let built = group
            .commit_builder()
            .propose_adds([package(&at_c, &c, lifetime)])
            .load_psks(at_a.storage())
            .unwrap()
            .build(at_a.rand(), at_a.crypto(), &Signs(a.clone()), |_| true)
            .ok()?;
        let frame = built.stage_commit(&at_a).unwrap().into_commit().to_bytes().unwrap();
        Some(sleeper.process_message(&at_b, message(&frame)).is_ok())
    });
    assert_ne!(outcomes[0], Some(true), "then the lifetimes could have ends again");
    assert_eq!(outcomes[1], Some(true));
}
