use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// A random history: each step one person says something about another, knowing a random part of the log.
fn history(steps: &[(u8, u8, u8, u8)]) -> Group {
    let mut group = Group::new(3, 3);
    for (who, subject, what, seen) in steps {
        let ids: Vec<_> = group.log.ops_in_order().map(|(id, _)| id).collect();
        let at = match seen % 4 {
            0 | 1 => group.heads(),
            2 => vec![ids[usize::from(*seen) % ids.len()]],
            _ => vec![ids[ids.len() - 1 - usize::from(*seen) % 4]],
        };
        let (who, subject) = (who % 7, subject % 8);
        let body = match what % 11 {
            0 => add(subject, Role::Member),
            1 | 2 => remove(subject),
            3 => OpBody::Leave,
            4 => set_role(subject, Role::Facilitator),
            5 => set_role(subject, Role::Member),
            6 => set_role(subject, Role::Reader),
            7 => policy(Some("words"), Some(*seen > 128)),
            8 => invite(*what, 2),
            9 => OpBody::RejoinRequest { key_package: vec![*seen] },
            _ => {
                let invites: Vec<_> = group.state().invites.keys().copied().collect();
                match invites.first() {
                    Some(open) if group.log.covers(&at, &[*open]) => OpBody::InviteRevoke { invite: *open },
                    _ => continue,
                }
            }
        };
        let op = group.log.make(&keys(who), At { heads: &at, node: NodeId([7; 32]) }, body).unwrap();
        // The same words on the same causes are the same op.
        group.log.insert(op).unwrap();
    }
    group
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() })]

    #[test]
    fn order_and_repetition_of_arrival_change_nothing(
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..24),
        shuffle in any::<u64>(),
    ) {
        let group = history(&steps);
        let mut ops: Vec<_> = group.log.ops_in_order().map(|(_, op)| op.clone()).collect();
        ops.extend(ops.clone());
        ops.sort_by_key(|op| hearth_protocol::id::hash(&[&shuffle.to_be_bytes(), &op.id().0]));
        let mut log = PolicyLog::for_group(group.log.group().unwrap());
        for (n, op) in ops.into_iter().enumerate() {
            log.restore(op).unwrap();
            if n % 5 == 0 {
                // Asking in between must leave no trace.
                let _ = log.state_at(&log.heads(), &group.seniority);
            }
        }
        prop_assert_eq!(log.heads(), group.log.heads());
        prop_assert_eq!(log.state_at(&log.heads(), &group.seniority), group.state());
    }

    #[test]
    fn what_a_closure_says_does_not_depend_on_what_else_is_known(
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 1..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let group = history(&steps);
        let ids: Vec<_> = group.log.ops_in_order().map(|(id, _)| id).collect();
        let head = ids[cut.index(ids.len())];
        let mut alone = PolicyLog::for_group(group.log.group().unwrap());
        for id in group.log.closure(&[head]) {
            alone.restore(group.log.get(&id).unwrap().clone()).unwrap();
        }
        prop_assert_eq!(alone.state_at(&[head], &group.seniority), group.log.state_at(&[head], &group.seniority));
    }

    #[test]
    fn a_group_never_loses_its_last_facilitator_but_by_leaving(
        steps in prop::collection::vec(any::<(u8, u8, u8, u8)>(), 0..24),
    ) {
        let without_leaves: Vec<_> = steps.into_iter().filter(|(_, _, what, _)| what % 11 != 3).collect();
        let group = history(&without_leaves);
        prop_assert!(!group.state().facilitators().is_empty());
    }
}
