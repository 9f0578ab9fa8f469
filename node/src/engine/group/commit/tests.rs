use hearth_protocol::{id::PersonaId, op::Role, time::Second};

use super::*;

const DAY_S: u64 = 24 * 3_600;
const BEGAN: u64 = 20_000;

/// A policy with one invite that has a use left.
fn with(mode: JoinMode, status: InviteStatus, expires: u64) -> PolicyState {
    let invite = Invite {
        author: PersonaId([1; 32]),
        join_pk: [2; 32],
        door_pk: [3; 32],
        uses: 2,
        taken: Default::default(),
        role: Role::Member,
        expires: Second(expires),
        mode,
        status,
    };
    PolicyState { invites: [(OpId([4; 32]), invite)].into(), ..PolicyState::default() }
}

fn spent(before: &PolicyState, after: &PolicyState, days: u64) -> bool {
    is_spent(BEGAN, (before, after), Day(BEGAN + days))
}

#[test]
fn a_network_lasts_thirty_days() {
    let nothing = PolicyState::default();
    assert!(!spent(&nothing, &nothing, 29));
    assert!(spent(&nothing, &nothing, 30));
    // A clock that is behind does not make it older than it is.
    assert!(!is_spent(BEGAN, (&nothing, &nothing), Day(BEGAN - 1)));
}

#[test]
fn a_network_ends_with_an_open_link_that_was_revoked_with_uses_left() {
    let never = u64::MAX;
    let open = with(JoinMode::Open, InviteStatus::Open, never);
    assert!(!spent(&open, &open, 1), "it still admits");
    assert!(spent(&open, &with(JoinMode::Open, InviteStatus::Revoked, never), 1));
    assert!(!spent(&open, &with(JoinMode::Open, InviteStatus::Exhausted, never), 1), "all who had it came in");
    let knock = with(JoinMode::Knock, InviteStatus::Open, never);
    assert!(!spent(&knock, &with(JoinMode::Knock, InviteStatus::Revoked, never), 1), "its door holds no keys");
    let revoked = with(JoinMode::Open, InviteStatus::Revoked, never);
    assert!(!spent(&revoked, &revoked, 1), "that was seen to when it was revoked");
}

#[test]
fn a_network_ends_once_with_an_open_link_that_expired_with_uses_left() {
    let expired = |day: u64| {
        let link = with(JoinMode::Open, InviteStatus::Open, (BEGAN + day) * DAY_S + 60);
        spent(&link, &link, 5)
    };
    assert!(expired(0) && expired(4));
    assert!(!expired(5), "only tomorrow, so that it ends no more than one");
    assert!(!expired(9));
    let earlier = with(JoinMode::Open, InviteStatus::Open, BEGAN * DAY_S - 1);
    assert!(!spent(&earlier, &earlier, 5), "that was before this network");
}
