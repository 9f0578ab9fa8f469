//! Devices of a persona: taken in by itself, out by itself or by a facilitator, and never back.

use hearth_protocol::{
    id::DeviceId,
    limits::{DEVICES_GONE_MAX, DEVICES_MAX},
    op::LastSeen,
};

use super::*;

pub(crate) fn device_add(device: u8) -> OpBody {
    OpBody::DeviceAdd { device: keys(device).device(), key_package: vec![device; 4].into() }
}

pub(crate) fn device_revoke(device: u8) -> OpBody {
    OpBody::DeviceRevoke { last: LastSeen { device: keys(device).device(), seq: 0, hash: [0; 32] } }
}

pub(crate) fn evict(subject: u8, device: u8) -> OpBody {
    OpBody::Evict { subject: id(subject), device: keys(device).device() }
}

fn devices(group: &Group, who: u8) -> Vec<DeviceId> {
    group.state().members.get(&id(who)).map(|m| m.devices.keys().copied().collect()).unwrap_or_default()
}

#[test]
fn every_member_takes_devices_in_and_out_and_nobody_else_does() {
    let mut group = Group::new(1, 1);
    group.say(1, device_add(41));
    assert_eq!(devices(&group, 1), vec![keys(41).device()]);
    let stranger = group.say(9, device_add(42));
    assert_eq!(group.refusal(&stranger), Some(Refusal::NotMember));
    group.say(1, device_revoke(41));
    assert_eq!(devices(&group, 1), vec![]);
    assert_eq!(group.state().gone, [(id(1), keys(41).device())].into());
    assert_eq!(group.role(1), Some(Role::Member), "the persona stays");
}

#[test]
fn a_device_that_was_taken_out_never_comes_back_not_even_concurrently_or_after_a_removal() {
    let mut group = Group::new(1, 1);
    let at = group.heads();
    group.say_on(1, &at, device_revoke(41));
    group.say_on(1, &at, device_add(41));
    assert_eq!(devices(&group, 1), vec![]);
    let again = group.say(1, device_add(41));
    assert_eq!(group.refusal(&again), Some(Refusal::Device));
    group.say(0, remove(1));
    group.say(0, add(1, Role::Member));
    let again = group.say(1, device_add(41));
    assert_eq!(group.refusal(&again), Some(Refusal::Device));
}

#[test]
fn a_new_membership_begins_without_the_devices_of_an_earlier_one() {
    let mut group = Group::new(1, 1);
    group.say(1, device_add(41));
    group.say(0, remove(1));
    group.say(0, add(1, Role::Member));
    assert_eq!(devices(&group, 1), vec![]);
    group.say(1, device_add(42));
    assert_eq!(devices(&group, 1), vec![keys(42).device()]);
}

#[test]
fn a_removal_voids_devices_that_it_did_not_know_and_a_demotion_does_not() {
    for (by, stays) in [(remove(1), false), (set_role(1, Role::Member), true)] {
        let mut group = Group::new(2, 0);
        let at = group.heads();
        group.say_on(0, &at, by);
        let added = group.say_on(1, &at, device_add(41));
        assert_eq!(group.refusal(&added).is_none(), stays);
        assert_eq!(devices(&group, 1).len(), usize::from(stays));
    }
}

#[test]
fn a_facilitator_evicts_a_silent_leaf_and_no_facilitators() {
    let mut group = Group::new(2, 2);
    let by_member = group.say(2, evict(3, 3));
    assert_eq!(group.refusal(&by_member), Some(Refusal::NotFacilitator));
    let of_facilitator = group.say(0, evict(1, 1));
    assert_eq!(group.refusal(&of_facilitator), Some(Refusal::StillFacilitator));
    let of_stranger = group.say(0, evict(9, 9));
    assert_eq!(group.refusal(&of_stranger), Some(Refusal::NoSuchMember));
    group.say(0, evict(3, 3));
    assert_eq!((group.role(3), group.state().gone), (Some(Role::Member), [(id(3), keys(3).device())].into()));
    let twice = group.say(1, evict(3, 3));
    assert_eq!(group.refusal(&twice), Some(Refusal::NothingChanges));
}

#[test]
fn an_eviction_by_a_demoted_facilitator_that_the_demotion_did_not_know_is_void() {
    let mut group = Group::new(2, 1);
    let at = group.heads();
    group.say_on(0, &at, set_role(1, Role::Member));
    let void = group.say_on(1, &at, evict(2, 2));
    assert_eq!(group.refusal(&void), Some(Refusal::Voided));
    assert!(group.state().gone.is_empty());
}

#[test]
fn devices_are_bounded_at_a_time_and_altogether() {
    let mut group = Group::new(1, 1);
    let named = |n: u64| {
        let mut device = [0; 32];
        device[..8].copy_from_slice(&n.to_be_bytes());
        DeviceId(device)
    };
    for n in 0..DEVICES_MAX as u64 {
        group.say(1, OpBody::DeviceAdd { device: named(n), key_package: vec![].into() });
    }
    let above = group.say(1, OpBody::DeviceAdd { device: named(99), key_package: vec![].into() });
    assert_eq!(group.refusal(&above), Some(Refusal::Device));
    for n in 0..DEVICES_GONE_MAX as u64 {
        group.say(1, OpBody::DeviceRevoke { last: LastSeen { device: named(n), seq: 0, hash: [0; 32] } });
    }
    let above = group.say(1, device_revoke(41));
    assert_eq!(group.refusal(&above), Some(Refusal::NothingChanges));
    assert_eq!(group.state().gone.len(), DEVICES_GONE_MAX);
}
