use super::*;
use crate::{
    mls::{CommitPlan, MlsNode as _},
    model::suite::{self, run_suite},
};

mod classic {
    use super::*;
    run_suite!(ModelMls::new([1; 32]), Suite::Classic);
}

mod hybrid {
    use super::*;
    run_suite!(ModelMls::new([1; 32]), Suite::Hybrid);
}

#[test]
fn one_seed_gives_the_same_bytes() {
    let story = |seed| {
        let mls = ModelMls::new([seed; 32]);
        let [(a, mut at_a), (b, at_b), (c, _)] = suite::three(&mls, Suite::Hybrid);
        let own = suite::commit(&at_b, &b, &CommitPlan::default());
        let info = at_a.group_info(&a).unwrap();
        (at_a.encrypt(&a, b"x").unwrap(), own.commit, info, mls.key_package(&c, Suite::Hybrid).unwrap())
    };
    assert_eq!(story(1), story(1));
    assert_ne!(story(1), story(2));
}

#[test]
fn a_commit_can_shut_out_some() {
    let mls = ModelMls::new([1; 32]);
    let [(a, at_a), (_, at_b), (_, at_c)] = suite::three(&mls, Suite::Hybrid);
    let own = at_a.commit_unopenable(&a, &CommitPlan::default(), &[1], &mut suite::rng(1)).unwrap();
    assert_eq!(at_b.apply(&own.commit).err(), Some(MlsError::CannotOpen));
    assert_eq!(at_b.check(&own.commit).unwrap().1.facts(), own.child.facts());
    assert_eq!(at_c.apply(&own.commit).unwrap().1.authenticator(), own.child.authenticator());
}
