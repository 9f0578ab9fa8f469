use hearth_crypto::model::ModelNode;

use super::*;

fn offer(alone: &mut Alone, frame: &CommitFrame) -> Offered {
    alone.dag.offer(&alone.mls, &mut alone.log, frame.clone())
}

/// A frame on a node that nobody has. Nobody can tell what its commit is worth.
fn adrift(number: usize, size: usize) -> CommitFrame {
    let mut parent = [0xee; 32];
    parent[..8].copy_from_slice(&number.to_be_bytes());
    CommitFrame { parent: NodeId(parent), commit: vec![0; size] }
}

fn waiting(alone: &Alone) -> Vec<FrameId> {
    alone.dag.waiting().map(|(id, _)| id).collect()
}

fn ids(frames: &[CommitFrame]) -> Vec<FrameId> {
    frames.iter().map(CommitFrame::id).collect()
}

#[test]
fn of_too_many_frames_that_wait_the_oldest_gives_way() {
    let mut alone = Alone::new();
    let frames: Vec<_> = (0..=WAITING).map(|n| adrift(n, 1)).collect();
    for frame in &frames {
        assert_eq!(offer(&mut alone, frame), Offered::Waiting);
    }
    assert_eq!(waiting(&alone), ids(&frames[1..]));
    assert_eq!(offer(&mut alone, &frames[WAITING]), Offered::Waiting);
    assert_eq!(waiting(&alone), ids(&frames[1..]), "a copy takes nobody's place");
}

#[test]
fn of_frames_that_wait_and_weigh_too_much_the_oldest_give_way() {
    let mut alone = Alone::new();
    let frames: Vec<_> = (0..8).map(|n| adrift(n, WAITING_BYTES / 8)).collect();
    for frame in &frames {
        assert_eq!(offer(&mut alone, frame), Offered::Waiting);
    }
    assert_eq!(waiting(&alone), ids(&frames), "there is room for all of them");
    let last = adrift(8, WAITING_BYTES / 8 + 1);
    assert_eq!(offer(&mut alone, &last), Offered::Waiting);
    assert_eq!(waiting(&alone), ids(&[&frames[2..], &[last]].concat()));
}

#[test]
fn refused_frames_are_remembered_while_there_is_room() {
    let mut alone = Alone::new();
    let parent = alone.dag.base;
    let junk = |n: usize| CommitFrame { parent, commit: n.to_be_bytes().to_vec() };
    for n in 0..REFUSED {
        assert_eq!(offer(&mut alone, &junk(n)), Offered::Refused);
    }
    assert_eq!(offer(&mut alone, &junk(0)), Offered::Known);
    assert_eq!(offer(&mut alone, &junk(REFUSED)), Offered::Refused);
    assert_eq!(alone.dag.refused.len(), REFUSED);
    assert_eq!(offer(&mut alone, &junk(1)), Offered::Known);
    assert_eq!(offer(&mut alone, &junk(0)), Offered::Refused, "it was forgotten");
    assert_eq!((alone.dag.refused.len(), alone.dag.is_waiting()), (REFUSED, false));
}

/// A commit comes with other membership tags, which nobody here can check, before it comes as its author made it.
#[test]
fn a_frame_that_opens_takes_the_place_of_one_that_did_not() {
    let mut author = Alone::new();
    let good = author.commit(0);
    let node = author.dag.tip;
    let opened = author.dag.nodes[&node].state.as_ref().unwrap().rows();
    let opened = || author.mls.load(opened.clone()).unwrap();
    let base = author.dag.nodes[&author.dag.base].state.as_ref().unwrap();
    let (commit, _) = base.check(&good.commit).unwrap();
    let unopened = || base.check(&good.commit).unwrap().1;
    let judged = author.dag.judge(&author.log, &good.parent, &commit, unopened().facts()).unwrap();
    let changed = |n: u8| CommitFrame { commit: [good.commit.as_slice(), &[n]].concat(), ..good.clone() };

    let root = author.mls.open_group_info(&author.dag.origin.info).unwrap();
    let mut dag = Dag::new(root, author.dag.origin.clone(), &author.log);
    let insert = |dag: &mut Dag<ModelNode>, frame: &CommitFrame, child: ModelNode| {
        assert_eq!(dag.insert(frame.clone(), (commit.clone(), judged.clone()), child), node);
        let made = dag.nodes[&node].made.as_ref().unwrap().frame;
        assert_eq!(dag.frames.keys().collect::<Vec<_>>(), [&made], "one frame of a node");
        made
    };
    assert_eq!(insert(&mut dag, &changed(1), unopened()), changed(1).id());
    dag.nacks.unopened.insert(changed(1).id());
    let came = dag.came();
    assert_eq!(insert(&mut dag, &changed(2), unopened()), changed(1).id(), "it is worth no more than the first");
    assert_eq!(insert(&mut dag, &good, opened()), good.id());
    assert!(dag.nodes[&node].state.as_ref().unwrap().has_secrets());
    assert!(dag.nacks.unopened.is_empty(), "nothing is left to complain about");
    assert_eq!(insert(&mut dag, &changed(3), opened()), good.id(), "what opened stays");
    assert_eq!((dag.frame(&good.id()), dag.node_of(&changed(1).id())), (Some(&good), None));
    assert_eq!(dag.came(), came, "no new node came");
}
