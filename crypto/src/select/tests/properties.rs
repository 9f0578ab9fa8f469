use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

/// A random, partly hostile DAG: parents may be unknown, invalid, or in a loop; anybody signs and nacks anything.
#[derive(Clone, Debug)]
struct Parts {
    nodes: Vec<(u8, u8, u8, u8)>,
    signatures: Vec<(u8, u8)>,
    nacks: Vec<(u8, u8)>,
    revocations: Vec<(u8, u8, u8, u8)>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let nodes = prop::collection::vec((0..24u8, 0..26u8, 0..5u8, any::<u8>()), 0..24);
    let pairs = || prop::collection::vec((0..24u8, 0..5u8), 0..24);
    let revocations = prop::collection::vec((200..204u8, 0..5u8, 0..3u8, 0..24u8), 0..5);
    (nodes, pairs(), pairs(), revocations).prop_map(|(nodes, signatures, nacks, revocations)| Parts {
        nodes,
        signatures,
        nacks,
        revocations,
    })
}

fn draw(parts: &Parts) -> Drawing {
    let mut drawing = Drawing::new(3, 2);
    for (id, parent, author, kind) in &parts.nodes {
        if drawing.input.nodes.contains_key(&node(*id)) {
            continue;
        }
        let class = [Class::Committer, Class::Member, Class::Update, Class::External][usize::from(kind % 4)];
        drawing = drawing.node(*id, *parent, *author, class);
        drawing = drawing.change(*id, |info| info.valid = kind % 16 != 0);
        if kind & 32 != 0 {
            drawing = drawing.realising(*id, 200 + (kind >> 6));
        }
    }
    for (op, subject, kind, at) in &parts.revocations {
        let kind = [Revoked::Membership, Revoked::Left, Revoked::Role][usize::from(*kind)];
        drawing = drawing.revoked(*op, *subject, kind, *at);
    }
    for (id, who) in &parts.signatures {
        drawing = drawing.signed(*id, &[*who]);
    }
    for (id, who) in &parts.nacks {
        drawing = drawing.nacked(*id, &[*who]);
    }
    drawing
}

/// A DAG without loops: each node builds on an earlier one.
fn grown(parts: &Parts) -> Drawing {
    let mut parts = parts.clone();
    let mut unique: Vec<(u8, u8, u8, u8)> = Vec::new();
    for (n, (_, parent, author, kind)) in parts.nodes.iter().enumerate() {
        let id = n as u8 + 1;
        unique.push((id, parent % id, *author, kind | 1));
    }
    parts.nodes = unique;
    draw(&parts)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512, failure_persistence: None, rng_seed: RngSeed::Fixed(11), ..ProptestConfig::default()
    })]

    #[test]
    fn it_ends_and_the_tip_descends_from_the_base(parts in parts()) {
        let drawing = draw(&parts);
        let selection = select(&drawing.input);
        prop_assert_eq!(selection.path.first(), Some(&node(0)));
        prop_assert_eq!(selection.path.last(), Some(&selection.tip));
        for pair in selection.path.windows(2) {
            let info = &drawing.input.nodes[&pair[1]];
            prop_assert!(info.parent == pair[0] && info.valid && !selection.void.contains(&pair[1]));
        }
        prop_assert!(selection.certified.iter().all(|c| selection.path.contains(c)), "certified is final");
        let _ = may_sign(&drawing.input, &person(0), &selection.tip);
    }

    #[test]
    fn among_an_authors_siblings_of_whom_nobody_spoke_the_first_by_themselves_wins(parts in parts()) {
        let drawing = grown(&parts);
        let (input, selection) = (&drawing.input, select(&drawing.input));
        let below = |at: &NodeId, top: &NodeId| {
            std::iter::successors(Some(*at), |n| input.nodes.get(n).map(|i| i.parent)).any(|n| n == *top)
        };
        let signed = input.signatures.iter().map(|(node, _)| node);
        let spoken: Vec<_> = signed.chain(input.revocations.iter().flat_map(|r| &r.at_nodes)).collect();
        for pair in selection.path.windows(2) {
            let picked = &input.nodes[&pair[1]];
            let twin = |info: &NodeInfo| {
                (info.parent, info.author, info.class) == (picked.parent, picked.author, picked.class)
            };
            let twins = input.nodes.iter().filter(|(id, info)| twin(info) && info.valid && !selection.void.contains(id));
            let silent: Vec<_> =
                twins.map(|(id, _)| *id).filter(|id| !spoken.iter().any(|at| below(at, id))).collect();
            if silent.contains(&pair[1]) {
                prop_assert_eq!(by_themselves(input, &pair[0], &silent).first().copied(), Some(pair[1]));
            }
        }
    }

    #[test]
    fn order_and_repetition_of_arrival_change_nothing(parts in parts(), by in any::<u64>()) {
        let expected = select(&draw(&parts).input);
        let drawn = draw(&parts).input;
        let mut nodes: Vec<_> = drawn.nodes.iter().chain(&drawn.nodes).collect();
        let key = |bytes: &[u8]| hearth_protocol::id::hash(&[&by.to_be_bytes(), bytes]);
        nodes.sort_by_key(|(id, _)| key(&id.0));
        let mut again = SelectionInput::new(drawn.base, Arc::clone(&drawn.base_policy));
        for (id, info) in nodes {
            again.add(*id, info.clone());
        }
        let mut signatures: Vec<_> = drawn.signatures.iter().chain(&drawn.signatures).collect();
        signatures.sort_by_key(|(id, who)| key(&[id.0, who.0].concat()));
        again.signatures.extend(signatures);
        again.nacks.extend(drawn.nacks.iter().rev());
        again.revocations.extend(drawn.revocations.iter().rev().cloned());
        prop_assert_eq!(select(&again), expected);
    }

    #[test]
    fn what_does_not_descend_from_the_base_changes_nothing(parts in parts(), strays in parts()) {
        let plain = grown(&parts);
        let mut more = plain.clone();
        for (n, (_, _, author, _)) in strays.nodes.iter().enumerate() {
            let id = 100 + n as u8;
            more = more.by(id, if n % 2 == 0 { 99 } else { id }, *author).signed(id, &[0, 1, 2]);
        }
        prop_assert_eq!(select(&more.input).path, select(&plain.input).path);
    }

    #[test]
    fn no_length_of_a_losing_branch_wins(parts in parts(), length in 1..40u8, author in 0..5u8) {
        let drawing = grown(&parts);
        let before = select(&drawing.input);
        // Any child that lost at the first fork on the path grows a long branch by one author without signatures.
        let lost = drawing.input.nodes.iter().find(|(id, info)| {
            info.parent == before.path[0] && before.path.len() > 1 && **id != before.path[1]
        });
        let Some((lost, _)) = lost else { return Ok(()) };
        let mut longer = drawing.clone();
        let mut parent = lost.0[0];
        for n in 0..length {
            longer = longer.by(100 + n, parent, author);
            parent = 100 + n;
        }
        let after = select(&longer.input);
        // Building on a frame takes back one's own Nack of it: nothing else may change.
        if after.refuted == before.refuted {
            prop_assert_eq!(after.path, before.path);
        }
    }

    #[test]
    fn the_certified_path_needs_nothing_but_what_was_signed(parts in parts(), drop in 1..24u8) {
        let whole = grown(&parts);
        let selection = select(&whole.input);
        let dag = Dag::new(&whole.input);
        let mut part = whole.clone();
        part.input.nodes.retain(|id, _| dag.signers(id).count() > 0 || id.0[0] % drop != 0);
        part.input.nacks.clear();
        let found = select(&part.input);
        prop_assert_eq!(&found.certified, &selection.certified);
        prop_assert_eq!(&found.path[..=found.certified.len()], &selection.path[..=selection.certified.len()]);
    }

    #[test]
    fn a_removed_author_never_undoes_its_removal(rivals in prop::collection::vec((1..40u8, 0..3u8), 1..20)) {
        // Person 0, the most senior, is removed at the base; person 1 realises it. Person 0 writes as much as it likes.
        let mut drawing = Drawing::new(3, 2).by(200, 0, 1).realising(200, 9).removed(9, 0, 0);
        for (id, parent) in rivals {
            if !drawing.input.nodes.contains_key(&node(id)) {
                drawing = drawing.by(id, if parent == 0 { 0 } else { id - 1 }, 0).signed(id, &[0]);
            }
        }
        prop_assert_eq!(drawing.tip(), 200);
    }
}
