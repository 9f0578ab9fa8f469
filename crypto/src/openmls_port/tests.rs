use super::*;
use crate::model::suite::run_suite;

mod hostile;
mod spoiler;

mod classic {
    use super::*;
    run_suite!(OpenMls::new(), Suite::Classic);
}

mod hybrid {
    use super::*;
    run_suite!(OpenMls::new(), Suite::Hybrid);
}

#[test]
fn a_parent_is_whole_after_its_child_took_its_group() {
    use crate::{
        mls::{CommitPlan, MlsNode as _},
        model::suite::{commit, pair},
    };

    let mls = OpenMls::new();
    let (a, mut at_a, b, mut at_b) = pair(&mls, Suite::Classic);
    let (rows, context, exported) = (at_b.rows(), at_b.context().unwrap(), at_b.export("test", b"").unwrap());
    // Two rival children on either side: the second one of each grows in a group that is read anew.
    for _ in 0..2 {
        let own = commit(&at_a, &a, &CommitPlan::default());
        let child = at_b.apply(&own.commit).unwrap().1;
        assert_eq!(child.authenticator().unwrap(), own.child.authenticator().unwrap());
        assert_eq!((at_b.rows(), at_b.context().unwrap()), (rows.clone(), context.clone()));
        let (_, public) = at_b.check(&own.commit).unwrap();
        assert_eq!(public.facts(), child.facts());
        let next = commit(&own.child, &a, &CommitPlan::default()).commit;
        assert_eq!(public.check(&next).unwrap().1.facts(), public.check(&next).unwrap().1.facts());
    }
    assert_eq!(at_b.export("test", b"").unwrap(), exported);
    let own = commit(&at_b, &b, &CommitPlan::default());
    assert_eq!(at_a.apply(&own.commit).unwrap().1.facts(), own.child.facts());
    let said = at_a.encrypt(&a, b"late").unwrap();
    assert_eq!(at_b.decrypt(&said).unwrap().plaintext, b"late");
    assert_eq!(at_b.decrypt(&said), Err(MlsError::AlreadyUsed));
}
