//! Cutting a plan that breaks an invariant down to what is needed to break the same one.

use super::{Failure, Plan};

/// Worlds that are tried at most.
const TRIES: usize = 200;

/// The smallest plan found, and how it fails. `fails` runs a plan; the one given is known to fail as `failure` says.
pub fn shrink(plan: &Plan, failure: Failure, fails: impl Fn(&Plan) -> Option<Failure>) -> (Plan, Failure) {
    let (mut least, mut how) = (plan.clone(), failure);
    let mut tries = 0;
    'smaller: loop {
        for plan in least.smaller() {
            if tries == TRIES {
                break 'smaller;
            }
            tries += 1;
            if let Some(failure) = fails(&plan).filter(|f| f.invariant == how.invariant) {
                (least, how) = (plan, failure);
                continue 'smaller;
            }
        }
        break;
    }
    (least, how)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Act;

    #[test]
    fn what_is_left_is_what_is_needed() {
        let says = |plan: &Plan| plan.acts.iter().filter(|(_, act)| matches!(act, Act::Say(_))).count();
        let fails =
            |plan: &Plan| (says(plan) >= 2 && plan.nodes >= 3).then(|| Failure::new(1, format!("{} said", says(plan))));
        let plan = Plan::new(5);
        let first = fails(&plan).unwrap();
        let (least, how) = shrink(&plan, first, fails);
        assert_eq!((least.acts.len(), least.nodes, least.relays), (2, 3, 1));
        assert_eq!(how.what, "2 said");
        assert_eq!(least.faults.drop, 0.0);
    }
}
