use super::*;

/// Drawings of DAGs with their tip. Person 0 is the most senior; person 100 and up are members.
#[test]
fn hand_made_dags_have_their_expected_tips() {
    use Class::{External, Member, Update};
    let new = || Drawing::new(3, 2);
    let fork = || new().by(1, 0, 0).by(2, 0, 1);
    let table: Vec<(&str, Drawing, u8)> = vec![
        ("nothing but the base", new(), 0),
        ("a chain", new().by(1, 0, 0).by(2, 1, 1).by(3, 2, 0), 3),
        ("the senior's child", fork(), 1),
        ("class before rank", new().node(1, 0, 0, Member).by(2, 0, 2), 2),
        ("a member's realisation before an update", new().node(1, 0, 101, Update).node(2, 0, 100, Member), 2),
        (
            "a facilitator counts among those who signed its own update",
            new().node(1, 0, 0, Update).node(2, 0, 100, Member),
            1,
        ),
        ("an update before a join", new().node(1, 0, 50, External).node(2, 0, 101, Update), 2),
        ("depth of the rival does not count", fork().by(3, 2, 1).by(4, 3, 1).by(5, 4, 2), 1),
        (
            "seniority where ranks are equal",
            {
                let same = |info: &mut NodeInfo| info.rank = 3;
                new().node(1, 0, 101, Member).node(2, 0, 100, Member).change(1, same).change(2, same)
            },
            2,
        ),
        (
            "of equal joins the lower slot",
            {
                let slot = |n: u32| move |i: &mut NodeInfo| (i.slot, i.rank, i.seniority) = (Some(n), 3, (u64::MAX, 0));
                new().node(1, 0, 60, External).node(2, 0, 61, External).change(1, slot(4)).change(2, slot(3))
            },
            2,
        ),
        ("hash settles an author's own equivocation", new().by(2, 0, 0).by(1, 0, 0), 1),
        ("more facilitators' signatures", fork().signed(2, &[2]), 2),
        (
            "signatures below count for the child",
            fork().by(3, 2, 1).by(4, 3, 1).signed(4, &[1, 100]).signed(3, &[1]),
            1,
        ),
        ("members' signatures do not count among three", fork().signed(2, &[100, 101]), 1),
        ("the author counts once", fork().signed(2, &[1]), 1),
        ("a certificate is final", fork().by(3, 1, 0).signed(2, &[1, 2]), 2),
        ("a certificate below is final for its ancestors", fork().by(3, 2, 2).signed(3, &[1, 2]), 3),
        ("a signature on an invalid node is nothing", fork().signed(2, &[1, 2]).change(2, |i| i.valid = false), 1),
        ("what builds on an invalid node is nothing", new().by(1, 0, 0).change(1, |i| i.valid = false).by(2, 1, 0), 0),
        ("a removed author's child loses", fork().removed(9, 0, 0), 2),
        ("a removed author's child stands when alone", new().by(1, 0, 0).removed(9, 0, 0), 1),
        ("a removal that knew of the child is no matter", fork().removed(9, 0, 1), 1),
        ("nor one that knew of a node below it", fork().by(3, 1, 0).removed(9, 0, 3), 3),
        ("another facilitator's signature saves it", fork().removed(9, 0, 0).realising(1, 9).signed(1, &[2]), 1),
        ("a demotion counts against class 0", fork().revoked(9, 0, Revoked::Role, 0), 2),
        (
            "and not against an update",
            { new().node(1, 0, 0, Update).node(2, 0, 1, Update).revoked(9, 0, Revoked::Role, 0) },
            1,
        ),
        ("the author's own leave does not count against it", fork().revoked(9, 0, Revoked::Left, 0), 1),
        ("a leave is a signature where it was said", fork().revoked(9, 2, Revoked::Left, 2), 2),
        ("a known removal that is realised wins", fork().removed(9, 100, 0).realising(2, 9), 2),
        ("one known on the other side only does not count", fork().removed(9, 100, 2).realising(2, 9), 1),
        (
            "one realised above does not count again",
            { new().by(5, 0, 0).realising(5, 9).by(1, 5, 0).by(2, 5, 1).realising(2, 9).removed(9, 100, 0) },
            1,
        ),
        (
            "who was removed and admitted anew commits again",
            { new().by(5, 0, 1).realising(5, 9).by(1, 5, 0).by(2, 5, 2).removed(9, 0, 0) },
            1,
        ),
        ("a removal outweighs signatures", fork().removed(9, 100, 0).realising(2, 9).signed(1, &[2]), 2),
        ("a frame that most others cannot open is void", fork().nacked(1, &[1, 2]), 2),
        ("half of the others are not more than half", fork().nacked(1, &[1]), 1),
        ("the author's own Nack does not count", fork().nacked(1, &[0, 1]), 1),
        ("members' Nacks do not count", fork().nacked(1, &[1, 100, 101]), 1),
        ("what builds on a void node falls with it", fork().by(3, 1, 0).nacked(1, &[1, 2]), 2),
        ("a certified node is not void", fork().signed(1, &[0, 1]).nacked(1, &[1, 2]), 1),
        (
            "a node with another frame is not void",
            { fork().nacked(1, &[1, 2]).change(1, |i| i.frames = [frame(1), frame(77)].into()) },
            1,
        ),
        ("a Nack is refuted by its signer's signature", fork().nacked(1, &[1, 2]).signed(1, &[2]).by(3, 2, 2), 1),
        ("or by its building on the frame", new().by(1, 0, 0).by(3, 1, 2).nacked(1, &[1, 2]), 3),
        (
            "conflicting certificates are ignored",
            { Drawing::new(3, 0).by(1, 0, 0).by(2, 0, 1).signed(1, &[0, 2]).signed(2, &[1, 2]) },
            1,
        ),
        ("an unknown parent is passed over", new().by(1, 0, 0).by(3, 9, 0), 1),
        ("a loop above the base is passed over", new().by(0, 1, 0).by(1, 0, 0), 1),
        ("a loop beside it too", new().by(1, 0, 0).by(3, 4, 0).by(4, 3, 0), 1),
        (
            "a revocation at a settled node is known",
            {
                let mut drawing = fork().removed(9, 100, 200).realising(2, 9);
                drawing.input.settled.insert(node(200));
                drawing
            },
            2,
        ),
    ];
    for (what, drawing, tip) in table {
        assert_eq!(drawing.tip(), tip, "{what}");
    }
}

#[test]
fn without_facilitators_members_void_what_nobody_can_open() {
    let alone = Drawing::new(1, 3).by(1, 0, 0).node(2, 0, 100, Class::Member);
    assert_eq!(alone.clone().nacked(1, &[100]).tip(), 1);
    assert_eq!(alone.nacked(1, &[100, 101]).tip(), 2);
}

#[test]
fn a_lone_facilitators_signature_is_a_certificate() {
    let selection = select(&Drawing::new(1, 2).by(1, 0, 0).by(2, 1, 0).signed(2, &[0]).input);
    assert_eq!(selection.last_certified, node(2));
    assert_eq!(selection.certified, [node(1), node(2)].into());
}

#[test]
fn of_two_facilitators_one_needs_more_than_half_of_the_other_members() {
    let two = |members| Drawing::new(2, members).by(1, 0, 0);
    let certified = |d: Drawing| !select(&d.input).certified.is_empty();
    assert!(certified(two(0).signed(1, &[0, 1])));
    assert!(!certified(two(0).signed(1, &[0])));
    assert!(!certified(two(4).signed(1, &[0, 100, 101])));
    assert!(certified(two(4).signed(1, &[1, 100, 101, 102])));
    assert!(!certified(two(4).signed(1, &[100, 101, 102, 103])));
}

#[test]
fn leavers_are_not_counted_among_the_facilitators() {
    let four = Drawing::new(4, 0).by(1, 0, 0).by(2, 1, 0).signed(2, &[0, 1]);
    let left = |draw: &Drawing, who, at| draw.clone().revoked(50 + who, who, Revoked::Left, at);
    assert!(select(&four.input).certified.is_empty());
    assert_eq!(select(&left(&four, 3, 0).input).last_certified, node(2));
    let all = [0, 1, 2, 3].iter().fold(four, |draw, who| left(&draw, *who, 0));
    assert!(select(&all.input).certified.is_empty());
}

#[test]
fn a_leave_is_a_last_signature_where_it_was_said() {
    let four = Drawing::new(4, 0).by(1, 0, 0).by(2, 1, 0).signed(1, &[0, 1]).signed(2, &[0]);
    let left = four.revoked(53, 3, Revoked::Left, 1);
    // Three of four signed node 1; below it three decide, and two of them have to sign.
    assert_eq!(select(&left.input).last_certified, node(1));
    assert_eq!(select(&left.signed(2, &[1]).input).last_certified, node(2));
}

#[test]
fn what_leavers_signed_stays_final() {
    let five = Drawing::new(5, 0).by(1, 0, 0).by(2, 0, 1).signed(2, &[2, 3, 4]);
    assert_eq!(select(&five.input).last_certified, node(2));
    let left = five.revoked(53, 3, Revoked::Left, 2).revoked(54, 4, Revoked::Left, 2).signed(1, &[0, 1]);
    assert_eq!(select(&left.input).last_certified, node(2));
}

#[test]
fn a_leave_that_is_realised_is_past() {
    let draw = Drawing::new(4, 0).by(1, 0, 0).by(2, 1, 0).by(3, 2, 0).realising(2, 53).signed(3, &[0, 1]);
    let left = draw.revoked(53, 3, Revoked::Left, 0);
    // Whoever is a facilitator of node 2 although a Leave was realised there came back.
    assert_eq!(select(&left.input).last_certified, node(2));
    assert_eq!(select(&left.signed(3, &[3]).input).last_certified, node(3));
}

#[test]
fn each_certificate_is_by_the_facilitators_of_the_one_before() {
    // Node 1 makes persons 3 and 4 facilitators: for its child three of five must sign.
    let draw = || Drawing::new(3, 0).by(1, 0, 0).by(2, 1, 0).change(1, |i| i.policy = policy(5, 0));
    assert_eq!(select(&draw().signed(2, &[0, 1]).input).last_certified, node(1));
    assert_eq!(select(&draw().signed(2, &[0, 1, 3]).input).last_certified, node(2));
    assert_eq!(select(&draw().signed(2, &[3, 4]).input).last_certified, node(0));
}

#[test]
fn equivocators_are_shown_with_both_branches() {
    let draw = Drawing::new(3, 0).by(1, 0, 0).by(2, 0, 1).by(3, 2, 1);
    let selection = select(&draw.signed(1, &[0, 2]).signed(3, &[1, 2]).input);
    let conflict = Conflict { ancestor: node(0), certified: [node(1), node(2)].into(), signers: [person(2)].into() };
    assert_eq!(selection.conflicts, vec![conflict]);
    assert!(selection.certified.is_empty());
}

#[test]
fn refuted_nacks_are_shown() {
    let selection = select(&Drawing::new(3, 0).by(1, 0, 0).nacked(1, &[1, 2]).signed(1, &[2]).input);
    assert_eq!(selection.refuted, [(frame(1), person(2))].into());
    assert!(selection.void.is_empty());
}

/// Or the junior of two facilitators, whom the senior takes out, would undo that for ever.
#[test]
fn whom_a_commit_takes_out_has_no_say_about_it() {
    let draw = || Drawing::new(2, 2).by(1, 0, 0).change(1, |i| i.policy = policy(1, 2));
    assert_eq!(draw().nacked(1, &[1]).tip(), 1);
    assert_eq!(draw().nacked(1, &[1, 100]).tip(), 1, "one of two members");
    assert_eq!(draw().nacked(1, &[100, 101]).tip(), 0, "the members judge it");
    // Two are in, one takes the other out: nobody is left who could say.
    let alone = Drawing::new(1, 1).by(1, 0, 0).change(1, |i| i.policy = policy(1, 0)).nacked(1, &[100]);
    assert_eq!(alone.tip(), 1);
}

#[test]
fn the_path_leads_from_base_to_tip() {
    let selection = select(&Drawing::new(3, 0).by(1, 0, 0).by(2, 1, 1).by(3, 1, 0).input);
    assert_eq!(selection.path, vec![node(0), node(1), node(3)]);
}

/// Members 100 and 101 are named by a node that a member made; then 100 commits as a facilitator.
#[test]
fn whom_a_recover_names_decides_about_it_and_what_is_above() {
    let named = |p: &Arc<NodePolicy>| {
        let facilitators = BTreeSet::from([person(100), person(101)]);
        Arc::new(NodePolicy { facilitators, ..p.as_ref().clone() })
    };
    let draw = Drawing::new(3, 3).node(1, 0, 102, Class::Update).node(2, 1, 100, Class::Member);
    let draw = draw.change(2, |i| (i.policy, i.recovered) = (named(&i.policy), Some(named(&i.policy))));
    let draw = draw.by(3, 2, 100).change(3, |i| i.policy = named(&i.policy)).by(4, 0, 0);
    let last = |draw: &Drawing| select(&draw.input).last_certified.0[0];
    assert_eq!((draw.tip(), last(&draw)), (4, 0), "a facilitator of before is of a better class");
    assert_eq!(last(&draw.clone().signed(2, &[100])), 0);
    assert_eq!(last(&draw.clone().signed(1, &[100, 101])), 0, "the Recover is not yet there");
    let final_now = draw.clone().signed(2, &[100]).signed(3, &[101]);
    assert_eq!((final_now.tip(), last(&final_now)), (3, 2));
    assert_eq!(last(&final_now.clone().signed(3, &[100])), 3, "from there on they decide alone");
    let rivals = select(&final_now.signed(4, &[0, 1]).input);
    assert_eq!((rivals.conflicts.len(), rivals.last_certified), (1, node(0)), "those of before were there after all");
    assert_eq!(draw.clone().signed(2, &[100]).nacked(2, &[0, 1, 2]).tip(), 4);
    let alone = |draw: Drawing| select(&draw.input).void;
    assert!(alone(draw.clone().nacked(2, &[0, 1, 2])).is_empty(), "those who are gone cannot judge it");
    assert_eq!(alone(draw.nacked(2, &[101])), BTreeSet::from([node(2)]));
}

#[test]
fn an_authors_siblings_compare_by_what_they_leave_undone_and_then_by_themselves() {
    let ids = [node(1), node(2), node(3), node(4)];
    let siblings = ids.iter().fold(Drawing::new(3, 2), |d, id| d.by(id.0[0], 0, 1)).removed(9, 101, 0);
    assert_eq!(by_themselves(&siblings.input, &node(0), &ids), ids);
    let some = siblings.realising(2, 9).realising(4, 9);
    assert_eq!(by_themselves(&some.input, &node(0), &ids), [node(2), node(4), node(1), node(3)]);
    assert_eq!(some.tip(), 2);
    // What somebody signed is another matter.
    assert_eq!(some.clone().signed(4, &[2]).tip(), 4);
    // Below a node that realises it, it is past.
    let below = some.by(12, 2, 1).by(11, 2, 1).realising(12, 9);
    assert_eq!(by_themselves(&below.input, &node(2), &[node(12), node(11)]), [node(11), node(12)]);
}
