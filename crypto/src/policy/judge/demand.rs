//! What a class 0 or 1 commit has to do, and what it may do: one answer for who makes commits and who judges them.

use std::collections::BTreeSet;

use hearth_protocol::{
    id::{DeviceId, OpId, PersonaId},
    op::OpBody,
};

use super::{Leaf, Parent, PolicyLog, PolicyState};

/// What signed ops ask of a commit on some node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Leaves that go, whatever else the commit does: of who is no member any more or was admitted anew, and devices
    /// that were revoked or evicted. A commit with any of these begins a network.
    pub removes: Vec<Leaf>,
    /// Leaves that may come. A commit takes any part of these, and skips a KeyPackage that does not check, or that is
    /// of a device in [`PolicyState::gone`].
    pub adds: Vec<AskedAdd>,
}

/// A leaf that may come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedAdd {
    /// The Add, DeviceAdd or RejoinRequest that carries the KeyPackage.
    pub op: OpId,
    /// Whose leaf.
    pub persona: PersonaId,
    /// Its key, where the op names it.
    pub device: Option<DeviceId>,
    /// SHA-256 of the KeyPackage.
    pub key_package_hash: [u8; 32],
    /// The leaf that goes if this one comes.
    pub replaces: Option<Leaf>,
}

/// Reads what a commit on `parent` that binds `heads` has to do.
#[must_use]
pub fn demand(log: &PolicyLog, parent: &Parent<'_>, heads: &[OpId]) -> Demand {
    let known: BTreeSet<_> = log.closure(&parent.state.heads).into_iter().collect();
    let fresh = log.closure(heads).into_iter().filter(|id| !known.contains(id)).collect();
    read(log, parent, &log.state_at(heads, parent.seniority), &fresh)
}

/// `fresh`: ops that the parent does not realise.
pub(super) fn read(log: &PolicyLog, parent: &Parent<'_>, state: &PolicyState, fresh: &BTreeSet<OpId>) -> Demand {
    let goes = |leaf: &&Leaf| {
        !continues(parent.state, state, &leaf.persona) || state.gone.contains(&(leaf.persona, leaf.device))
    };
    let removes: Vec<_> = parent.leaves.iter().filter(goes).copied().collect();
    let mut adds = Vec::new();
    let mut ask = |id: &OpId, persona: PersonaId, device: Option<DeviceId>, replaces: Option<Leaf>| {
        let key_package = match log.content(id).map(|op| &op.body) {
            Some(
                OpBody::Add { key_package, .. }
                | OpBody::DeviceAdd { key_package, .. }
                | OpBody::RejoinRequest { key_package },
            ) => key_package,
            _ => return,
        };
        adds.push(AskedAdd { op: *id, persona, device, key_package_hash: key_package.hash(), replaces });
    };
    for (persona, member) in &state.members {
        let has_leaf = parent.leaves.iter().any(|leaf| leaf.persona == *persona);
        if !(has_leaf && continues(parent.state, state, persona)) {
            member.adds.iter().for_each(|id| ask(id, *persona, None, None));
        }
        for (device, id) in &member.devices {
            if !parent.leaves.iter().any(|leaf| leaf.device == *device) {
                ask(id, *persona, Some(*device), None);
            }
        }
    }
    for id in state.rejoins.iter().filter(|id| fresh.contains(id)) {
        let Some(op) = log.content(id) else { continue };
        // The leaf of the device that asks, where it has one; else the only leaf of its persona.
        let own: Vec<_> =
            parent.leaves.iter().filter(|leaf| leaf.persona == op.persona && !removes.contains(leaf)).collect();
        let only = if own.len() == 1 { own.first() } else { None };
        let replaces = own.iter().find(|leaf| leaf.device == op.device).or(only);
        ask(id, op.persona, None, replaces.map(|leaf| **leaf));
    }
    Demand { removes, adds }
}

/// Whether the membership that the parent knew is still in force: who was removed and admitted anew gets a new leaf.
fn continues(before: &PolicyState, after: &PolicyState, persona: &PersonaId) -> bool {
    let (Some(before), Some(after)) = (before.members.get(persona), after.members.get(persona)) else {
        return false;
    };
    before.adds.iter().any(|add| after.adds.contains(add))
}
