use hearth_crypto::persona::DeviceKeys;

use super::*;
use crate::engine::dag::base::tests::Alone;

fn word(keys: &DeviceKeys, group: &GroupId, frame: FrameId) -> Nack {
    Nack { frame, persona: keys.persona(), sig: keys.sign_as_persona(&nack_message(group, &frame)) }
}

#[test]
fn only_a_members_own_word_about_this_group_and_frame_counts() {
    let mut alone = Alone::new();
    let (frame, other) = (alone.commit(0).id(), alone.commit(1).id());
    let (keys, group) = (alone.keys.clone(), alone.group);
    let stranger = DeviceKeys::from_seed(&[8; 64]);
    let elsewhere = word(&keys, &GroupId([9; 32]), frame);
    let moved = Nack { frame, ..word(&keys, &group, other) };
    let in_their_name = Nack { persona: keys.persona(), ..word(&stranger, &group, frame) };
    for bad in [elsewhere, moved, in_their_name, word(&stranger, &group, frame)] {
        assert!(!alone.dag.offer_nack(&group, &bad), "{bad:?}");
    }
    assert_eq!(alone.dag.nacks().count(), 0);
    let good = word(&keys, &group, frame);
    assert!(alone.dag.offer_nack(&group, &good));
    assert!(!alone.dag.offer_nack(&group, &good), "a copy is no news");
    assert_eq!(alone.dag.nack(&frame, &keys.persona()), Some(good));
    // Its own author's word voids nothing: it has signed and built on it.
    let tip = alone.dag.tip;
    alone.dag.reselect(&alone.log);
    assert_eq!(alone.dag.tip, tip);
}

#[test]
fn what_waits_for_its_frame_is_bounded_and_counts_once_it_is_here() {
    let (mut alone, mut ahead) = (Alone::new(), Alone::new());
    let frame = ahead.commit(0);
    let (keys, group) = (alone.keys.clone(), alone.group);
    let early = word(&keys, &group, frame.id());
    for n in 0..EARLY as u64 {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        assert!(!alone.dag.offer_nack(&group, &Nack { frame: FrameId(id), persona: keys.persona(), sig: [0; 64] }));
    }
    assert!(!alone.dag.offer_nack(&group, &early));
    assert_eq!(alone.dag.early_nacks().count(), EARLY);
    assert_eq!(alone.dag.retry_nacks(&group), []);
    assert_eq!(alone.commit(0).id(), frame.id(), "the same seeds make the same frame");
    assert_eq!(alone.dag.retry_nacks(&group), [early]);
    assert_eq!(alone.dag.early_nacks().count(), EARLY - 1);
}
