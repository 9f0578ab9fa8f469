use proptest::{prelude::*, test_runner::RngSeed};

use super::*;
use crate::policy::InviteStatus;

pub(super) const BASE: NodeId = NodeId([0xce; 32]);

/// A random history: each step one person says something about another, knowing a random part of the log.
fn history(steps: &[(u8, u8, u8, u8)]) -> Group {
    let mut group = Group::new(3, 3);
    group.ask_on(BASE);
    let floor = group.log.ops_in_order().map(|(id, _)| vec![id]).collect();
    go_on(&mut group, steps, floor);
    group
}

/// Says more; nobody knows less than one of `floor`.
pub(super) fn go_on(group: &mut Group, steps: &[(u8, u8, u8, u8)], mut places: Vec<Vec<OpId>>) {
    for (who, subject, what, seen) in steps {
        let back = usize::from(*seen);
        let at = match seen % 4 {
            0 | 1 => group.heads(),
            2 => places[back % places.len()].clone(),
            _ => places[places.len() - 1 - back % places.len().min(4)].clone(),
        };
        let (who, subject) = (who % 7, subject % 8);
        let invites: Vec<_> = group.state().invites.keys().copied().collect();
        let known = invites.iter().find(|open| group.log.covers(&at, &[**open]));
        let body = match what % 20 {
            0 => add(subject, Role::Member),
            1 | 2 => remove(subject),
            3 => OpBody::Leave,
            4 => set_role(subject, Role::Facilitator),
            5 => set_role(subject, Role::Member),
            6 => set_role(subject, Role::Reader),
            7 => policy(Some("words"), Some(*seen > 200)),
            8 => policy(Some("other words"), None),
            9 => invite(*what, 2),
            10 => OpBody::RejoinRequest { key_package: vec![*seen].into() },
            11 => super::devices::device_add(who + 100),
            12 => super::devices::device_revoke(who + 100),
            13 => super::devices::evict(subject, subject),
            14 | 15 => OpBody::Recover { base: BASE, facilitators: vec![id(subject % 3 + 3)] },
            16 => OpBody::Restart { generation: 1 + u32::from(seen % 2), suite: 3, at_node: BASE },
            17 => match known {
                Some(open) => OpBody::InviteRevoke { invite: *open },
                None => continue,
            },
            _ => {
                // A Join of what is closed where it is written is never realised, and nothing that rests on it.
                let there = group.log.state_at(&at, &group.seniority);
                let admits = there.invites.iter().find(|(_, invite)| invite.status == InviteStatus::Open);
                let open = admits.and_then(|(open, _)| Some((*open, secret_of(group, open)?)));
                let Some((open, secret)) = open else { continue };
                let op = group.sign_join(who, &at, secret, (open, u32::from(seen % 2)));
                places.push(vec![op.id()]);
                group.log.insert(op).unwrap();
                continue;
            }
        };
        let op = group.log.make(&keys(who), At { heads: &at, node: NodeId([7; 32]) }, body).unwrap();
        places.push(vec![op.id()]);
        // The same words on the same causes are the same op.
        group.log.insert(op).unwrap();
    }
}

/// Invites of a random history have secrets of one repeated byte.
fn secret_of(group: &Group, open: &OpId) -> Option<u8> {
    let OpBody::Invite { join_pk, .. } = &group.log.content(open)?.body else { return None };
    (0..=255).find(|secret| InviteKeys::from_secret(&[*secret; 32]).join_pk() == *join_pk)
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
        let without_leaves: Vec<_> = steps.into_iter().filter(|(_, _, what, _)| what % 20 != 3).collect();
        let group = history(&without_leaves);
        prop_assert!(!group.state().facilitators().is_empty());
    }
}
