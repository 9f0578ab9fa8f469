//! Who slept for long, and who leaves.

use std::collections::BTreeSet;

use hearth_integration_tests::sim::{Act, Scene};
use hearth_node::app::{Command, Kind, Notice, Secret};

use super::model;

/// Nothing is left at the relay of what a sleeper could follow: it comes back by a link, as who it was, and gets what
/// was said.
#[test]
fn who_slept_too_long_comes_back_by_a_link() {
    const DAY: u64 = 24 * 3_600_000;
    let mut scene = Scene::new(4, 2, model).unwrap();
    scene.say(3);
    scene.soon();
    scene.sleep(3);
    for n in 0..10 {
        (0..3).for_each(|node| scene.sleep(node));
        scene.wait(20 * DAY);
        (0..3).for_each(|node| scene.wake(node));
        scene.soon();
        scene.act(Act::Charter(n % 2));
        scene.say(2);
        scene.soon();
    }
    let persona = scene.persona(3);
    scene.wake(3);
    scene.soon();
    scene.soon();
    assert_ne!(scene.tip(3), scene.tip(0), "it found the way alone");
    let link = scene.invite(1, 86_400).unwrap();
    assert_eq!(scene.try_link(3, &link), None);
    scene.soon();
    assert_eq!(scene.tip(3), scene.tip(0));
    assert!(scene.is_member(3) && scene.roster(0).contains_key(&persona) && scene.roster(0).len() == 4);
    scene.say(3);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(scene.messages(3).len(), 12);
    assert_eq!(scene.try_link(3, &link), Some(Kind::Conflict), "it is in already");
}

/// The same, with everybody else asleep: it is told how much is missing, of who was there before it and of who came meanwhile,
/// until somebody hands it over. Whoever comes in is told of no past that is not its own.
#[test]
fn who_comes_back_is_shown_what_is_missing_and_a_newcomer_is_not() {
    const DAY: u64 = 24 * 3_600_000;
    let mut scene = Scene::with_stranger((5, false), 2, model).unwrap();
    let missing = |scene: &Scene<_>, node: usize| {
        let gap = |n: &Notice| match n {
            Notice::GapFound { persona, missing, .. } => Some((*persona, *missing)),
            _ => None,
        };
        scene.notices(node).iter().filter_map(gap).collect::<BTreeSet<_>>()
    };
    scene.soon();
    scene.sleep(3);
    (0..3).for_each(|_| scene.say(2));
    assert!(scene.join(4));
    scene.say(2);
    scene.soon();
    assert_eq!((scene.messages(4).len(), missing(&scene, 4)), (1, BTreeSet::new()), "a newcomer");
    let others = [0, 1, 2, 4];
    for n in 0..10 {
        others.iter().for_each(|node| scene.sleep(*node));
        scene.wait(20 * DAY);
        others.iter().for_each(|node| scene.wake(*node));
        scene.soon();
        scene.act(Act::Charter(n % 2));
        scene.say(4);
        scene.soon();
    }
    let link = scene.invite(1, 86_400).unwrap();
    others.iter().for_each(|node| scene.sleep(*node));
    scene.wake(3);
    scene.soon();
    assert_eq!(scene.try_link(3, &link), None);
    scene.soon();
    assert_eq!((scene.messages(3).len(), missing(&scene, 3)), (0, BTreeSet::new()), "nothing is here that shows it");
    scene.sleep(3);
    others.iter().for_each(|node| scene.wake(*node));
    scene.soon();
    others[2..].iter().for_each(|node| scene.say(*node));
    scene.soon();
    others.iter().for_each(|node| scene.sleep(*node));
    // What it knows of its absence outlasts a start.
    scene.wake(3);
    scene.soon();
    assert_eq!(scene.messages(3).len(), 2);
    assert_eq!(missing(&scene, 3), BTreeSet::from([(scene.persona(2), 4), (scene.persona(4), 10)]));
    assert_eq!(missing(&scene, 4), BTreeSet::new());
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(scene.messages(3).len(), 16);
}

/// Who leaves while the relay is away, and looks at a link to the same group in the next moment, has left all the same.
#[test]
fn a_look_at_a_link_does_not_undo_a_leave() {
    let mut scene = Scene::new(3, 1, model).unwrap();
    let (persona, group, link) = (scene.persona(2), scene.group(), scene.link().unwrap());
    (0..2).for_each(|node| scene.sleep(node));
    scene.act(Act::Partition { side: 1 << 2, one_way: false });
    assert!(scene.query(2, Command::GroupLeave { group }).is_some());
    scene.query(2, Command::InviteInspect { link: Secret::new(link.text) });
    scene.wait(1_000);
    scene.act(Act::Mend);
    scene.soon();
    scene.sleep(2);
    (0..2).for_each(|node| scene.wake(node));
    scene.soon();
    assert!(!scene.roster(0).contains_key(&persona), "nobody heard that it left");
}

/// Two facilitators decide ten things on each of sixty days, and take one out; all the while a member sleeps, and everybody
/// does when it wakes. It follows them commit by commit through every network, and has all that was said.
#[test]
fn sixty_days_and_six_hundred_commits_later_a_sleeper_follows() {
    let mut scene = Scene::new(4, 2, model).unwrap();
    (0..3).for_each(|node| scene.say(node));
    scene.soon();
    scene.sleep(2);
    let before = scene.depth(0);
    for day in 0..60 {
        (0..2).for_each(|node| scene.wake(node));
        scene.wait(60_000);
        for n in 0..10 {
            scene.act(Act::Charter(n % 2));
            scene.wait(20_000);
        }
        scene.say(day % 2);
        if day == 30 {
            scene.remove(&[0], 3);
        }
        scene.soon();
        (0..2).for_each(|node| scene.sleep(node));
        scene.wait(24 * 3_600_000);
    }
    scene.wake(2);
    scene.soon();
    // Relays keep what is said for thirty days. That earlier messages are missing is shown; others have them.
    let told = scene.messages(2).len();
    assert!((32..=34).contains(&told), "{told} messages with nobody else awake");
    assert!(scene.notices(2).iter().any(|n| matches!(n, Notice::GapFound { .. })));
    scene.say(2);
    scene.agree().unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(scene.messages(2).len(), 64);
    assert!(scene.depth(2) >= before + 600, "{} commits", scene.depth(2) - before);
}
