use hearth_crypto::{
    envelope::{self, CheckedEnvelope},
    persona::DeviceKeys,
};
use hearth_protocol::{
    content::Content,
    envelope::EnvelopeContent,
    time::{Day, Minute},
};

use super::*;
use crate::engine::{
    group::tests::{Lone, NOW},
    timeline::Timeline,
};

const DAY_MINUTES: u64 = 24 * 60;

/// A group with a relay, and the first node's depth known or not of an envelope that a member handed over.
fn handed_over(node: Option<NodeId>, sent_at: Minute) -> (Lone, EnvelopeId) {
    let mut lone = Lone::new(1);
    let group = &mut lone.group;
    group.view.settings.relays = vec!["/ip4/127.0.0.1/tcp/1".into()];
    let author = DeviceKeys::from_seed(&[8; 64]);
    let content = EnvelopeContent {
        v: 1,
        persona: author.persona(),
        device: author.device(),
        node: node.unwrap_or(NodeId([0xee; 32])),
        seq: 1,
        prev: EnvelopeId([0; 32]),
        parents: Vec::new(),
        sent_at,
        body: Content::text([1; 16], "from one who is gone").encode(),
    };
    let checked: CheckedEnvelope = envelope::check(&group.id, envelope::sign(&author, &group.id, &content)).unwrap();
    group.timeline.insert(checked.id, Timeline::read(&group.id, &checked).unwrap());
    (lone, checked.id)
}

/// Packets of content that are carried once an envelope was handed over.
fn carried(lone: &mut Lone, id: EnvelopeId) -> usize {
    lone.act(|group, ctx| group.carry_shared(id, ctx));
    let carry = &lone.group.carry;
    assert_eq!(carry.packets.len(), carry.shared.values().map(Vec::len).sum::<usize>());
    carry.packets.len()
}

fn first_node() -> NodeId {
    Lone::new(0).group.dag.tip
}

///
#[test]
fn what_a_member_handed_over_is_carried_until_a_relay_has_it() {
    let (mut lone, id) = handed_over(Some(first_node()), NOW.minute());
    assert_eq!(carried(&mut lone, id), 1);
    let packet = lone.group.carry.packets.values().next().unwrap();
    let Ok(Packet::Shared { node, .. }) = cbor::read(&packet.packet) else { panic!("not as history is") };
    assert_eq!((node, packet.control), (lone.group.dag.tip, false), "everybody at the tip can open it");
    assert!(packet.due >= NOW.plus_ms(CARRY_MS), "its author has a minute");
    // A member says it once more: that helps nobody at the relays.
    lone.act(|group, ctx| group.seen(&id, ctx));
    assert_eq!(lone.group.carry.packets.len(), 1);
    lone.group.carry.from_relay = true;
    lone.act(|group, ctx| group.seen(&id, ctx));
    assert!(lone.group.carry.packets.is_empty() && lone.group.carry.shared.is_empty());
}

/// What lies at a relay under the tip's key is for everybody there.
#[test]
fn what_somebody_at_the_tip_may_not_have_is_not_carried() {
    let (mut lone, id) = handed_over(None, NOW.minute());
    assert_eq!(carried(&mut lone, id), 0, "nobody knows whether all were in");
    lone.group.view.settings.history_days = 1;
    assert_eq!(carried(&mut lone, id), 1, "it lies in the window");
    let (mut lone, id) = handed_over(Some(first_node()), NOW.minute());
    lone.group.view.members.clear();
    assert_eq!(carried(&mut lone, id), 0, "somebody's removal is known");
}

#[test]
fn what_is_old_or_has_nowhere_to_go_is_not_carried() {
    for days in [SKEW_DAYS, SKEW_DAYS + 1] {
        let minute = Minute(NOW.minute().0 - days * DAY_MINUTES);
        let (mut lone, id) = handed_over(Some(first_node()), minute);
        assert_eq!(carried(&mut lone, id), usize::from(days == SKEW_DAYS), "{:?}", Day(days));
    }
    let (mut lone, id) = handed_over(Some(first_node()), NOW.minute());
    lone.group.view.settings.relays.clear();
    assert_eq!(carried(&mut lone, id), 0, "there is no relay");
}
