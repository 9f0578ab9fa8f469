use hearth_protocol::{
    door::{Elder, Link, NetworkKeys},
    frame::Nack,
    id::{FrameId, GroupId, PersonaId},
};

use super::*;

/// What is changed, and how.
type Change = (&'static str, fn(&mut DoorBody));

fn op(n: u8) -> SignedOp {
    SignedOp { content: vec![n], sig: [n; 64], attached: None }
}

fn frame(n: u8) -> CommitFrame {
    CommitFrame { parent: NodeId([n; 32]), commit: vec![n] }
}

fn keys(n: u8) -> NetworkKeys {
    NetworkKeys { network: NodeId([n; 32]), day: Day(1), secret: [n; 32], control: [n; 32] }
}

fn door() -> DoorBody {
    DoorBody {
        group: GroupId([1; 32]),
        node: NodeId([2; 32]),
        group_info: vec![3],
        base: NodeId([4; 32]),
        base_info: vec![5],
        frames: vec![frame(6), frame(7)],
        ops: vec![op(8), op(9)],
        signatures: Vec::new(),
        keys: keys(10),
        elders: vec![Elder { persona: PersonaId([11; 32]), depth: 1, leaf: 0 }],
        chain: vec![Link { context: vec![12], signatures: Vec::new() }],
        nacks: Vec::new(),
    }
}

/// Another member's door of the same node is as good: its GroupInfo is signed by another, and signatures and Nacks come by and by.
#[test]
fn a_door_by_another_hand_leads_alike() {
    let nack = Nack { frame: FrameId([1; 32]), persona: PersonaId([2; 32]), sig: [3; 64] };
    let other = DoorBody {
        group_info: vec![30],
        base_info: vec![50],
        frames: vec![frame(7), frame(6)],
        ops: vec![op(9), op(8)],
        nacks: vec![nack],
        ..door()
    };
    assert!(leads_alike(&door(), &other) && leads_alike(&other, &door()));
}

/// A joiner who finds one of these would begin elsewhere, or lack what it needs to go on.
#[test]
fn a_door_that_lacks_or_adds_something_does_not() {
    let changes: [Change; 9] = [
        ("another base", |d| d.base = NodeId([40; 32])),
        ("another network", |d| d.keys = keys(100)),
        ("a later day's key", |d| d.keys.day = Day(2)),
        ("other elders", |d| d.elders[0].depth = 2),
        ("no chain", |d| d.chain.clear()),
        ("a commit less", |d| drop(d.frames.pop())),
        ("another commit", |d| d.frames[0] = frame(60)),
        ("an op less", |d| drop(d.ops.pop())),
        ("an op more", |d| d.ops.push(op(90))),
    ];
    for (what, change) in changes {
        let mut other = door();
        change(&mut other);
        assert!(!leads_alike(&door(), &other), "{what}");
        assert!(!leads_alike(&other, &door()), "{what}, the other way round");
    }
}
