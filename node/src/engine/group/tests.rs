//! A group of one, for tests of what lies under `handle`.

use hearth_crypto::model::ModelMls;

use super::*;
use crate::engine::{Effects, EngineConfig, ctx::Shared, dag::Alone};

/// When everything happens: 2026-01-01T00:00:00Z.
pub(super) const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// A founder alone in its group.
pub(super) struct Lone {
    pub(super) group: Group<ModelMls>,
    shared: Shared<ModelMls>,
}

impl Lone {
    /// The group around a DAG.
    pub(super) fn of(alone: Alone) -> Self {
        let Alone { mls, keys, group: id, log, dag } = alone;
        let networks = vec![first_network(&dag)];
        let mut group = Group::new(Start { id, keys, log, dag, networks }, NOW.day());
        let mut shared =
            Shared::new(mls, [3; 32], &EngineConfig { dag_bytes: Some(usize::MAX), ..EngineConfig::default() });
        let mut effects = Effects::default();
        group.refresh_view(&mut shared.ctx(NOW, &mut effects));
        Self { group, shared }
    }

    /// A group in which so many commits were made.
    pub(super) fn new(commits: usize) -> Self {
        let mut alone = Alone::new();
        (0..commits).for_each(|n| drop(alone.commit(n)));
        Self::of(alone)
    }

    /// Does something, and tells what it led to.
    pub(super) fn act<T>(
        &mut self,
        act: impl FnOnce(&mut Group<ModelMls>, &mut Ctx<'_, ModelMls>) -> T,
    ) -> (T, Effects) {
        let mut effects = Effects::default();
        let done = act(&mut self.group, &mut self.shared.ctx(NOW, &mut effects));
        (done, effects)
    }
}

/// The network that the first node began.
pub(super) fn first_network<N: MlsNode>(dag: &Dag<N>) -> Network {
    let first = dag.nodes.values().find(|e| e.depth == 0).and_then(|e| e.state.as_ref());
    Network::begin(first.expect("its author holds it")).unwrap()
}
