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
