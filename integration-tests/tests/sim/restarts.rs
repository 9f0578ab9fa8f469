//! A fresh MLS group for the same people.

use hearth_crypto::mls::Suite;
use hearth_integration_tests::sim::{Act, Plan};

use super::{calm, with_model, with_openmls};

/// Two facilitators move the group to a fresh MLS group while one is asleep and one has not come in yet; then they take
/// one out. Everybody has one roster and one conversation all the while.
pub(crate) fn restarting(suite: Option<u16>, knock: bool) -> Plan {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (20_000, Act::Say(3)),
        (5_000, Act::Sleep(3)),
        (200, Act::Restart(0, suite)),
        (200, Act::Charter(0)),
        (10_000, Act::Restart(1, None)),
        (200, Act::Say(2)),
        (60_000, Act::Say(4)),
        (200, Act::Say(0)),
        (60_000, Act::Join(5)),
        (60_000, Act::Say(5)),
        (200, Act::Wake(0)),
        (60_000, Act::Say(3)),
        (5_000, Act::Expel(0, 4)),
        (20_000, Act::Say(1)),
        (60_000, Act::Agree),
    ];
    Plan { knock, relays: 1, late: 1, ..calm(6, acts) }
}

#[test]
fn a_restart_moves_the_roster_and_the_conversation_goes_on() {
    for seed in 0..20 {
        let plan = Plan { seed, ..restarting(None, seed % 2 == 0) };
        let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!((report.members, report.removed), (5, 1), "{plan}");
        let generations: Vec<_> = (0..6).filter(|n| *n != 4).map(|n| report.generations[n]).collect();
        assert_eq!(generations, [Some(1); 5], "{plan}");
    }
}

/// Whoever makes the first node is gone before anybody else is in: the others begin once more.
#[test]
fn a_restart_goes_on_without_who_began_it() {
    let acts = vec![
        (200, Act::Promote(1, true)),
        (20_000, Act::Promote(2, true)),
        (1_000, Act::Second(1, 2)),
        (20_000, Act::Restart(2, None)),
        (2_000, Act::Restart(1, None)),
        (150, Act::Sleep(0)),
        (60_000, Act::Restart(1, None)),
        (2_000, Act::Restart(2, None)),
        (120_000, Act::Say(3)),
        (60_000, Act::Say(1)),
        (200, Act::Wake(0)),
        (120_000, Act::Say(0)),
        (60_000, Act::Agree),
    ];
    let plan = calm(4, acts);
    let report = with_model(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
    assert_eq!((report.members, report.generations), (4, vec![Some(2); 4]), "{plan}");
}

#[test]
fn a_restart_changes_the_suite() {
    for knock in [false, true] {
        let plan = restarting(Some(Suite::Hybrid.code()), knock);
        let report = with_openmls(&plan).unwrap_or_else(|failure| panic!("{plan}{failure}"));
        assert_eq!(report.members, 5, "{plan}");
        assert_eq!(report.generations[3], Some(1), "{plan}");
    }
}
