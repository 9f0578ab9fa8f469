//! mls-rs. It writes its state only when asked. Commits are measured without that, to its advantage, because its store
//! keeps one line of epochs per group; messages with it, since a used key must not come back.

use mls_rs::{Client, Group, MlsMessage, client_builder::MlsConfig, group::CommitOutput};

use crate::{Bench, TEXT, Tree, device, peer};

pub(crate) fn run(bench: &mut Bench<'_>) {
    let clients: Vec<_> = (0..2).map(|n| peer::client(&device(n))).collect();
    measure(bench, &clients);
}

/// The two at hand. As in our own group, they come last from outside, or all are added at once.
fn found<C: MlsConfig>(bench: &Bench<'_>, clients: &[Client<C>]) -> (Group<C>, Group<C>) {
    let none = mls_rs::ExtensionList::new;
    let create = |client: &Client<C>| client.create_group(none(), none(), None).unwrap();
    if bench.tree == Tree::Blank {
        let mut founder = create(&clients[0]);
        let mut packages = vec![peer::key_package(&clients[1]).unwrap()];
        packages.extend((2..bench.members).map(|n| peer::key_package(&peer::client(&device(n))).unwrap()));
        let made = peer::commit(&mut founder, &packages, &[], None).unwrap();
        let second = peer::join(&clients[1], &made.welcome_messages()[0].to_bytes().unwrap()).unwrap();
        return (founder, second);
    }
    let creator = peer::client(&device(2));
    let mut door = peer::group_info(&creator.create_group(none(), none(), None).unwrap()).unwrap();
    for n in 3..bench.members {
        let (group, _) = peer::join_external(&peer::client(&device(n)), &door, b"a Join", None).unwrap();
        door = peer::group_info(&group).unwrap();
    }
    let (mut founder, _) = peer::join_external(&clients[0], &door, b"a Join", None).unwrap();
    let door = peer::group_info(&founder).unwrap();
    let (second, join) = peer::join_external(&clients[1], &door, b"a Join", None).unwrap();
    peer::receive(&mut founder, &join).unwrap();
    (founder, second)
}

fn step<C: MlsConfig>(mut group: Group<C>, adds: &[Vec<u8>], removes: &[u32]) -> (Vec<u8>, CommitOutput, Group<C>) {
    let made = peer::commit(&mut group, adds, removes, None).unwrap();
    (made.commit_message().to_bytes().unwrap(), made, group)
}

fn process<C: MlsConfig>(mut group: Group<C>, frame: &[u8]) -> Group<C> {
    peer::receive(&mut group, frame).unwrap();
    group
}

fn measure<C: MlsConfig>(bench: &mut Bench<'_>, clients: &[Client<C>]) {
    let (founder, second) = found(bench, clients);
    let frame = step(founder.clone(), &[], &[]).0;
    bench.time("self-update", || founder.clone(), |group| step(group, &[], &[]));
    bench.time("process a self-update", || second.clone(), |group| process(group, &frame));
    if bench.tree == Tree::Blank {
        return;
    }
    let joiner = peer::client(&device(bench.members));
    let newcomer = vec![peer::key_package(&joiner).unwrap()];
    let last = [bench.members as u32 - 3];
    let (added, made, _) = step(founder.clone(), &newcomer, &[]);
    let welcome = made.welcome_messages()[0].to_bytes().unwrap();
    bench.time("add", || founder.clone(), |group| step(group, &newcomer, &[]));
    bench.time("remove", || founder.clone(), |group| step(group, &[], &last));
    bench.time("process an add", || second.clone(), |group| process(group, &added));
    bench.time("join by Welcome", || (), |()| peer::join(&joiner, &welcome).unwrap());
    let door = peer::group_info(&founder).unwrap();
    bench.time("external join", || (), |()| peer::join_external(&joiner, &door, b"a Join", None).unwrap());
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
