//! mls-rs. It writes its state only when asked. Commits are measured without that, to its advantage, because its store
//! keeps one line of epochs per group; messages with it, since a used key must not come back.

use mls_rs::{Client, Group, MlsMessage, client_builder::MlsConfig};

use crate::{Bench, TEXT, device, peer};

pub(crate) fn run(bench: &mut Bench<'_>) {
    let clients: Vec<_> = (0..2).map(|n| peer::client(&device(n))).collect();
    measure(bench, &clients);
}

fn measure<C: MlsConfig>(bench: &mut Bench<'_>, clients: &[Client<C>]) {
    let members = bench.members;
    let mut founder =
        clients[0].create_group(mls_rs::ExtensionList::new(), mls_rs::ExtensionList::new(), None).unwrap();
    let mut packages = vec![peer::key_package(&clients[1]).unwrap()];
    packages.extend((2..members).map(|n| peer::key_package(&peer::client(&device(n))).unwrap()));
    let made = peer::commit(&mut founder, &packages, &[], None).unwrap();
    let second = peer::join(&clients[1], &made.welcome_messages()[0].to_bytes().unwrap()).unwrap();
    let newcomer = vec![peer::key_package(&peer::client(&device(members))).unwrap()];
    let last = [members as u32 - 1];

    let step = |mut group: Group<C>, adds: &[Vec<u8>], removes: &[u32]| {
        let made = peer::commit(&mut group, adds, removes, None).unwrap();
        (made.commit_message().to_bytes().unwrap(), group)
    };
    bench.time("self-update", || founder.clone(), |group| step(group, &[], &[]));
    bench.time("add", || founder.clone(), |group| step(group, &newcomer, &[]));
    bench.time("remove", || founder.clone(), |group| step(group, &[], &last));
    let (frame, _) = step(founder.clone(), &[], &[]);
    bench.time(
        "process a self-update",
        || second.clone(),
        |mut group| {
            peer::receive(&mut group, &frame).unwrap();
            group
        },
    );
    let door = peer::group_info(&founder).unwrap();
    let joiner = peer::client(&device(members));
    bench.time(
        "external join",
        || (),
        |()| {
            let (group, commit) = peer::join_external(&joiner, &door, b"a Join", None).unwrap();
            (group, commit)
        },
    );
    let mut at_a = founder.clone();
    bench.time(
        "encrypt 1 KiB",
        || (),
        |()| {
            let sealed = at_a.encrypt_application_message(&TEXT, vec![]).unwrap().to_bytes().unwrap();
            at_a.write_to_storage().unwrap();
            sealed
        },
    );
    let (mut at_a, mut at_b) = (founder, second);
    let mut seal = || at_a.encrypt_application_message(&TEXT, vec![]).unwrap().to_bytes().unwrap();
    bench.time("decrypt 1 KiB", &mut seal, |sealed| {
        let opened = at_b.process_incoming_message(MlsMessage::from_bytes(&sealed).unwrap()).unwrap();
        at_b.write_to_storage().unwrap();
        opened
    });
}
