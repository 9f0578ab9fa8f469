use super::*;
use crate::engine::{
    dag::Alone,
    group::tests::{Lone, first_network},
};

/// The door of a node that lies one below the first, on a way of its own, and that the founder made final.
fn rival_door() -> DoorBody {
    let mut rival = Alone::new();
    rival.commit(99);
    rival.sign();
    let (node, origin) = rival.dag.later_base((&rival.mls, &rival.group, &rival.log), &rival.keys).unwrap();
    DoorBody {
        group: rival.group,
        node,
        group_info: origin.info.clone(),
        base: node,
        base_info: Vec::new(),
        frames: Vec::new(),
        ops: rival.log.ops_in_order().map(|(_, op)| op.clone()).collect(),
        signatures: Vec::new(),
        keys: first_network(&rival.dag).keys_from(Day(0)),
        elders: origin.told_elders(),
        chain: origin.chain,
        nacks: Vec::new(),
    }
}

/// A group with this many nodes below the first, of which so many are final.
fn group(commits: usize, signed: usize) -> Lone {
    let mut alone = Alone::new();
    for n in 0..commits {
        alone.commit(n);
        if n < signed {
            alone.sign();
        }
    }
    Lone::of(alone)
}

/// A chain holds, and leads nowhere: it is that of an old door, or of a founder who was removed since.
#[test]
fn nobody_begins_anew_at_what_does_not_follow_from_what_is_final() {
    let door = rival_door();
    for (commits, signed) in [(1, 1), (2, 2), (3, 1)] {
        let mut lone = group(commits, signed);
        let (base, tip, certified) = (lone.group.dag.base, lone.group.dag.tip, lone.group.dag.certified);
        assert_ne!(certified, base);
        let (holds, _) = lone.act(|group, ctx| {
            door.ops.iter().for_each(|op| drop(group.log.insert(op.clone())));
            begin_dag(ctx.mls, &group.id, &group.log, &door).is_some()
        });
        assert!(holds, "a newcomer would begin there");
        let (taken, effects) = lone.act(|group, ctx| group.take_body(&door, ctx));
        assert!(!taken, "{commits} commits");
        let dag = &lone.group.dag;
        assert_eq!((dag.base, dag.tip, dag.certified), (base, tip, certified));
        assert!(dag.entry(&door.base).is_none());
        assert!(effects.persist.iter().all(|w| w.table == crate::store::Table::Op), "ops stay, and nothing goes");
    }
}

/// The same door, where nothing is final yet that it would leave out.
#[test]
fn who_knows_nothing_later_that_is_final_begins_anew() {
    let door = rival_door();
    let mut lone = group(3, 0);
    let (taken, _) = lone.act(|group, ctx| group.take_body(&door, ctx));
    assert!(taken);
    let dag = &lone.group.dag;
    assert_eq!((dag.base, dag.base_depth()), (door.base, 1));
}
