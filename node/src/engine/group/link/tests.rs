use std::sync::Arc;

use hearth_crypto::{
    envelope::{self, CheckedEnvelope},
    persona::DeviceKeys,
};
use hearth_protocol::{card::CardContent, content::Content, envelope::EnvelopeContent, time::Minute};

use super::*;
use crate::engine::{
    Effects,
    group::tests::{Lone, NOW},
    timeline::Timeline,
};

/// What is not so, and how it is said.
type Lie = (&'static str, fn(&mut CardContent));

const LINK: LinkId = LinkId(1);
const PEER: &[u8] = b"a peer";

fn stranger() -> DeviceKeys {
    DeviceKeys::from_seed(&[8; 64])
}

/// What the founder said at the first node.
fn said(lone: &mut Lone) -> EnvelopeId {
    let group = &mut lone.group;
    let content = EnvelopeContent {
        v: 1,
        persona: group.me(),
        device: group.keys.device(),
        node: group.dag.tip,
        seq: 1,
        prev: EnvelopeId([0; 32]),
        parents: Vec::new(),
        sent_at: NOW.minute(),
        body: Content::text([1; 16], "among us").encode(),
    };
    let signed = envelope::sign(&group.keys, &group.id, &content);
    let checked: CheckedEnvelope = envelope::check(&group.id, signed).unwrap();
    group.timeline.insert(checked.id, Timeline::read(&group.id, &checked).unwrap());
    checked.id
}

/// Somebody calls, at the tip's network, and shows this card, signed by these keys.
fn greeted(lone: &mut Lone, keys: &DeviceKeys, change: impl FnOnce(&mut CardContent)) -> Effects {
    let group = &mut lone.group;
    let network = group.networks[0].id();
    let card = CardContent {
        persona: keys.persona(),
        device: keys.device(),
        peer: PEER.to_vec(),
        addresses: Vec::new(),
        network,
        made: NOW.minute(),
        expires: Minute(NOW.minute().0 + 60),
    };
    let mut shown = card;
    change(&mut shown);
    let card = envelope::sign_card(keys, &group.id, &shown);
    let hello = cbor::to_vec(&SyncMessage::Hello { card, base: 0 });
    let lane = LaneKey { group: group.id, network };
    group.links.lanes.insert(network, Lane { own: Some((b"own".to_vec(), Vec::new())) });
    lone.act(|group, ctx| {
        group.link_up(lane, LINK, (PEER.to_vec(), false), ctx);
        group.link_message(LINK, &hello, ctx);
    })
    .1
}

fn is_hung_up(lone: &Lone, effects: &Effects) -> bool {
    let hangs_up = effects.send.iter().any(|c| matches!(c, LaneCommand::Hangup { link: LINK, .. }));
    assert_eq!(hangs_up, !lone.group.links.links.contains_key(&LINK));
    hangs_up
}

/// A card is its device's own word about where it is, and about nobody else.
#[test]
fn a_card_that_is_not_of_who_calls_ends_the_link() {
    let lies: [Lie; 4] = [
        ("another's device", |c| c.device = DeviceId([9; 32])),
        ("another peer", |c| c.peer = b"somebody else".to_vec()),
        ("another network", |c| c.network = NodeId([9; 32])),
        ("long expired", |c| c.expires = Minute(1)),
    ];
    for (what, lie) in lies {
        let mut lone = Lone::new(0);
        let effects = greeted(&mut lone, &stranger(), lie);
        assert!(is_hung_up(&lone, &effects), "{what}");
    }
    let mut lone = Lone::new(0);
    let effects = greeted(&mut lone, &stranger(), |_| ());
    assert!(!is_hung_up(&lone, &effects));
}

/// A device may sign a card that names a persona which is not its own. Whose device it is, the tree says: neither a
/// member's name nor a member's device alone opens what was said.
#[test]
fn a_card_in_a_members_name_is_given_nothing() {
    let mut lone = Lone::new(0);
    let (id, member) = (said(&mut lone), lone.group.me());
    greeted(&mut lone, &stranger(), |card| card.persona = member);
    assert_eq!(lone.group.links.links[&LINK].member, Some((member, stranger().device())));
    let given = |lone: &mut Lone| lone.act(|group, ctx| group.shared_packets(LINK, &[id.0], ctx)).0.len();
    assert_eq!(given(&mut lone), 0);
    // Had the tree that device for that persona, it would be given.
    let device = lone.group.keys.device();
    lone.group.links.links.get_mut(&LINK).unwrap().member = Some((member, device));
    assert_eq!(given(&mut lone), 1);
    // Another member's name over this device.
    let (other, tip) = (stranger().persona(), lone.group.dag.tip);
    let entry = lone.group.dag.nodes.get_mut(&tip).unwrap();
    Arc::make_mut(&mut entry.elders.places).insert(other, (0, 1));
    let like = lone.group.view.members[&member].clone();
    lone.group.view.members.insert(other, like);
    lone.group.links.links.get_mut(&LINK).unwrap().member = Some((other, device));
    assert_eq!(given(&mut lone), 0);
}
