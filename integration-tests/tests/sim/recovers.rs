//! New facilitators for a group whose own are gone.

use hearth_crypto::{mls::Mls, model::ModelMls, openmls_port::OpenMls};
use hearth_integration_tests::sim::{Act, Plan, Scene};
use hearth_node::app::{Answer, Kind, MotionState, Refusal, RoleName};

use super::{calm, model};

const DAY_MS: u64 = 86_400_000;

/// Six who came by one link, and some who have not; the founder knows three of them, and is gone since.
fn without_a_founder<M: Mls + 'static>(late: usize, make: fn(u64) -> M) -> Scene<M> {
    let plan = Plan { late, dag_bytes: Some(1), ..calm(6 + late, Vec::new()) };
    let mut scene = Scene::of(&plan, 1, make).unwrap();
    for node in 1..=3 {
        scene.set_role(0, node, RoleName::Cofacilitator);
    }
    scene.soon();
    scene.sleep(0);
    scene
}

/// Everybody sleeps.
fn rest<M: Mls + 'static>(scene: &mut Scene<M>, days: u64) {
    (1..6).for_each(|node| scene.sleep(node));
    scene.wait(days * DAY_MS);
    (1..6).for_each(|node| scene.wake(node));
    scene.soon();
}

fn facilitators<M: Mls + 'static>(scene: &mut Scene<M>, node: usize) -> Vec<usize> {
    let roster = scene.roster(node);
    (0..8).filter(|n| roster.get(&scene.persona(*n)) == Some(&RoleName::Facilitator)).collect()
}

/// How they were answered, in short.
fn answered<M: Mls + 'static>(scene: &mut Scene<M>, by: &[usize]) -> Vec<Result<MotionState, Kind>> {
    let state = |answer: Result<Answer, Refusal>| match answer {
        Ok(Answer::Motion { state, .. }) => Ok(state),
        Ok(_) => Err(Kind::Invalid),
        Err(refusal) => Err(refusal.kind),
    };
    scene.recover(by, &[1, 2]).into_iter().map(state).collect()
}

/// Nobody names others while a facilitator may be there. After a season most of the members do, and most of those
/// whom the founder knew; the new ones make it final, and let others in.
fn recovering<M: Mls + 'static>(make: fn(u64) -> M) {
    let mut scene = without_a_founder(2, make);
    rest(&mut scene, 89);
    assert_eq!(answered(&mut scene, &[1, 2, 3, 4]), [Err(Kind::NotPermitted); 4], "a day too early");
    rest(&mut scene, 2);
    // Three of six, of whom the founder knew one.
    assert_eq!(answered(&mut scene, &[4, 5, 3, 4]), [Ok(MotionState::Pending); 4]);
    scene.soon();
    assert_eq!(facilitators(&mut scene, 4), [0]);
    assert_eq!(answered(&mut scene, &[2]), [Ok(MotionState::Done)]);
    scene.wait(20 * 60_000);
    for node in 1..6 {
        assert_eq!(facilitators(&mut scene, node), [1, 2]);
        assert!(scene.is_final(node), "nothing is final for node {node}");
    }
    let link = scene.invite_by(1, 2, 86_400).unwrap();
    assert_eq!(scene.come_in(6, &link), Ok(()), "a newcomer finds no way in");
    scene.say(6);
    scene.soon();
    assert_eq!(scene.roster(4).len(), 7);
    goes_on(&mut scene);
}

/// Bases move past it, one begins there anew, one comes in there, and the founder comes back to a group that has others.
fn goes_on<M: Mls + 'static>(scene: &mut Scene<M>) {
    let before = scene.base(2);
    for turn in 0..40 {
        scene.wait(6_000);
        scene.act(Act::Charter(1 + turn % 2));
        scene.say(turn % 5 + 1);
    }
    scene.soon();
    assert!(scene.base(2) > before, "no base moves past a Recover: {before:?}, {:?}", scene.base(2));
    scene.sleep(2);
    scene.wait(5_000);
    scene.wake(2);
    let link = scene.invite_by(2, 2, 86_400).unwrap();
    assert_eq!(scene.come_in(7, &link), Ok(()), "a newcomer finds no way in past a Recover");
    scene.say(7);
    scene.wake(0);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!((scene.roster(7).len(), facilitators(scene, 0)), (8, vec![1, 2]));
    assert_eq!(scene.roster(0).get(&scene.persona(0)), Some(&RoleName::Member));
}

#[test]
fn most_of_the_members_name_new_facilitators() {
    recovering::<ModelMls>(model);
}

#[test]
fn most_of_the_members_name_new_facilitators_with_openmls() {
    recovering::<OpenMls>(|_| OpenMls::default());
}

/// While the founder so much as signs, nobody names others.
#[test]
fn who_is_there_is_not_replaced() {
    let mut scene = without_a_founder(0, model);
    for _ in 0..3 {
        rest(&mut scene, 60);
        scene.wake(0);
        scene.act(Act::Charter(0));
        scene.soon();
        scene.sleep(0);
    }
    assert_eq!(answered(&mut scene, &[1, 2, 3, 4]), [Err(Kind::NotPermitted); 4]);
    scene.wake(0);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(facilitators(&mut scene, 4), [0]);
}
