//! Attacks that must fail: a member, or somebody with a link, who has software of its own. Everybody else runs the real
//! engine. Each attack runs over the model MLS, whose every run is the same, and over OpenMLS.

#![allow(clippy::unwrap_used, clippy::panic, reason = "test code outside of test functions")]

use std::collections::BTreeMap;

use hearth_crypto::{mls::Mls, model::ModelMls, openmls_port::OpenMls};
use hearth_integration_tests::sim::{Scene, Villain};
use hearth_node::app::{Notice, RoleName};
use hearth_protocol::{
    frame::Control,
    id::{NodeId, PersonaId},
};

#[path = "attacks/forks.rs"]
mod forks;
#[path = "attacks/history.rs"]
mod history;
#[path = "attacks/joins.rs"]
mod joins;
#[path = "attacks/liars.rs"]
mod liars;
#[path = "attacks/rights.rs"]
mod rights;

const MINUTE_MS: u64 = 60_000;
const DAY_S: u64 = 86_400;

fn model(seed: u64) -> ModelMls {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    ModelMls::new(bytes)
}

fn openmls(_: u64) -> OpenMls {
    OpenMls::default()
}

/// Makes a test of each attack, over either MLS.
macro_rules! attacks {
    ($($room:ident: $($attack:ident),*;)*) => {
        mod over_the_model {
            $($(#[test] fn $attack() { super::$room::$attack(super::model); })*)*
        }
        mod over_openmls {
            $($(#[test] fn $attack() { super::$room::$attack(super::openmls); })*)*
        }
    };
}

attacks![
    forks:
        fork_grinding_by_a_removed_member,
        a_long_private_branch,
        a_withheld_commit,
        a_drip_of_withheld_commits,
        an_epoch_flood,
        twins_without_end,
        a_twin_that_somebody_built_on,
        equivocation_by_a_facilitator,
        equivocation_by_a_member,
        replay_of_any_frame;
    rights:
        a_removal_by_one_who_was_removed,
        an_op_dated_before_its_authors_demotion,
        a_sock_puppet_promotion,
        recover_by_link_holders,
        requests_for_a_leaf_without_end,
        an_op_without_what_lies_beside_it,
        a_counter_pushed_to_its_maximum;
    joins:
        a_duplicate_signature_key,
        external_joins_that_no_link_allows,
        an_expired_link_and_a_clock_put_back,
        stale_and_poisoned_key_packages,
        an_invalid_welcome,
        a_welcome_into_a_forged_group;
    history:
        rollback_by_an_old_copy_of_the_disk,
        two_copies_of_one_vault,
        forged_moved_back_dated_and_reordered_history;
];

/// The tip of whom everybody else agrees with.
pub(crate) fn agreed<M: Mls + 'static>(scene: &mut Scene<M>) -> NodeId {
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    scene.tip(0).unwrap()
}

/// What the founder's node has, as its disk shows it.
pub(crate) fn seen<M: Mls + 'static>(scene: &mut Scene<M>) -> Villain<M> {
    scene.spy(0).unwrap()
}

pub(crate) fn post_all<M: Mls + 'static>(
    scene: &mut Scene<M>,
    villain: &Villain<M>,
    controls: impl IntoIterator<Item = Control>,
) {
    for control in controls {
        scene.post(villain, &villain.network(&villain.tip), control);
    }
}

pub(crate) fn warned<M: Mls + 'static>(scene: &Scene<M>, node: usize) -> bool {
    scene.notices(node).iter().any(|notice| matches!(notice, Notice::Warning { .. }))
}

pub(crate) fn facilitators(roster: &BTreeMap<PersonaId, RoleName>) -> Vec<PersonaId> {
    roster.iter().filter(|(_, role)| **role == RoleName::Facilitator).map(|(persona, _)| *persona).collect()
}
