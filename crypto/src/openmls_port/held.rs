//! The loaded group of a node, which its child may take over.
//!
//! OpenMLS groups cannot be copied, only written and read again, and reading a tree of a thousand members takes longer
//! than processing a commit on it. Nearly every node gets one child and is not looked at again, so the child grows in
//! its parent's group. The parent keeps its rows, which say the same, and reads them when it is asked for something.

use std::sync::{Mutex, MutexGuard, PoisonError};

use openmls::group::{GroupId, MlsGroup, PublicGroup};

use super::store::NodeStore;
use crate::mls::MlsError;

/// A group that rows hold in full.
pub(super) trait Group: Sized {
    /// Reads it.
    fn from_rows(store: &NodeStore) -> Result<Self, MlsError>;
}

/// Rows do not say their group in their keys, so any id loads them.
fn any_group() -> GroupId {
    GroupId::from_slice(&[])
}

impl Group for MlsGroup {
    fn from_rows(store: &NodeStore) -> Result<Self, MlsError> {
        Self::load(store, &any_group()).ok().flatten().ok_or(MlsError::State)
    }
}

impl Group for PublicGroup {
    fn from_rows(store: &NodeStore) -> Result<Self, MlsError> {
        Self::load(store, &any_group()).ok().flatten().ok_or(MlsError::State)
    }
}

/// A group in memory, or nothing while only its rows are.
pub(super) struct Held<G>(Mutex<Option<Box<G>>>);

impl<G: Group> Held<G> {
    pub(super) fn new(group: G) -> Self {
        Self(Mutex::new(Some(Box::new(group))))
    }

    /// One whose rows have changed by themselves: it is read from them when it is next asked for something.
    pub(super) fn unread() -> Self {
        Self(Mutex::new(None))
    }

    /// The group, for good. What is done to it and to a copy of `store` leaves this node as it was.
    pub(super) fn take(&self, store: &NodeStore) -> Result<Box<G>, MlsError> {
        self.lock().take().map_or_else(|| G::from_rows(store).map(Box::new), Ok)
    }

    /// Looks at the group.
    pub(super) fn look<T>(&self, store: &NodeStore, look: impl FnOnce(&G) -> T) -> Result<T, MlsError> {
        let mut held = self.lock();
        Ok(look(read(&mut held, store)?))
    }

    /// The group, to be moved on together with `store`.
    pub(super) fn get(&mut self, store: &NodeStore) -> Result<&mut G, MlsError> {
        read(self.0.get_mut().unwrap_or_else(PoisonError::into_inner), store)
    }

    /// There is a whole group in it or none, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Option<Box<G>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read<'a, G: Group>(held: &'a mut Option<Box<G>>, store: &NodeStore) -> Result<&'a mut G, MlsError> {
    let group = match held.take() {
        Some(group) => group,
        None => Box::new(G::from_rows(store)?),
    };
    Ok(held.insert(group))
}
