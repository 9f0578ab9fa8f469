//! One test per rule: facts are written by hand, as if MLS had read them from a commit.

mod devices;

use hearth_protocol::{id::hash, op::Role};

use super::*;
use crate::mls::AddedLeaf;
use crate::policy::tests::{Group, add, charter, id, invite, keys, remove, set_role, shield};

/// A node of a group: leaf `n` belongs to person `leaves[n]`.
struct Node {
    group: Group,
    leaves: Vec<Leaf>,
    binding: Binding,
    network: NodeId,
    joins: Vec<OpId>,
    light_nodes: usize,
}

const NODE: NodeId = NodeId([7; 32]);
const EPOCH: u64 = 12;
const NETWORK: NodeId = NodeId([6; 32]);

fn leaf(index: u32, who: u8) -> Leaf {
    Leaf { index, persona: id(who), device: keys(who).device() }
}

fn added(who: u8) -> AddedLeaf {
    AddedLeaf { persona: id(who), device: keys(who).device(), key_package_hash: hash(&[&[who; 4]]) }
}

impl Node {
    /// Facilitators 0 and 1, members 2 and 3, all with leaves.
    fn new() -> Self {
        let group = Group::new(2, 2);
        let leaves = (0..4).map(|who| leaf(u32::from(who), who)).collect();
        let binding = Binding {
            heads: group.heads(),
            roster_root: group.state().roster_root(&group.seniority),
            network: Some(NETWORK),
            first_day: 100,
            generation: 0,
            began: 0,
            epoch: EPOCH,
        };
        Self { group, leaves, binding, network: NETWORK, joins: vec![], light_nodes: 0 }
    }

    fn heads(&self) -> Vec<OpId> {
        [self.binding.heads.as_slice(), &self.joins].concat()
    }

    /// An extension that binds everything known, beginning a network or not.
    fn bind(&self, begins: bool) -> Binding {
        self.bind_heads(&self.group.heads(), begins)
    }

    fn bind_heads(&self, heads: &[OpId], begins: bool) -> Binding {
        let state = self.group.log.state_at(heads, &self.group.seniority);
        let network = if begins { None } else { Some(NETWORK) };
        Binding {
            heads: heads.to_vec(),
            roster_root: state.roster_root(&self.group.seniority),
            network,
            epoch: EPOCH + 1,
            ..self.binding.clone()
        }
    }

    fn facts(&self, who: u8, adds: &[u8], removes: &[u8]) -> CommitFacts {
        let of = |who: &u8| self.leaves.iter().copied().find(|l| l.persona == id(*who)).unwrap();
        CommitFacts {
            author: leaf(u32::from(who), who),
            external: false,
            adds: adds.iter().map(|who| added(*who)).collect(),
            removes: removes.iter().map(of).collect(),
            changes_binding: true,
            aad: vec![],
        }
    }

    fn update(&self, who: u8) -> CommitFacts {
        CommitFacts { changes_binding: false, ..self.facts(who, &[], &[]) }
    }

    fn external(&self, who: u8, op: &OpId) -> CommitFacts {
        let aad = cbor::to_vec(self.group.log.get(op).unwrap());
        CommitFacts { external: true, aad, author: leaf(9, who), ..self.update(who) }
    }

    fn parent<'a>(&'a self, state: &'a PolicyState) -> Parent<'a> {
        Parent {
            node: NODE,
            epoch: EPOCH,
            binding: &self.binding,
            network: self.network,
            leaves: &self.leaves,
            state,
            seniority: &self.group.seniority,
            light_nodes: self.light_nodes,
        }
    }

    fn judge(&self, facts: &CommitFacts, child: &Binding) -> Result<Judgement, PolicyViolation> {
        let state = self.group.log.state_at(&self.heads(), &self.group.seniority);
        commit(&self.group.log, &self.parent(&state), facts, child)
    }
}

#[test]
fn class_0_is_a_committers_class_1_any_members_class_2_an_update() {
    let mut node = Node::new();
    node.group.say(0, charter("new"));
    let child = node.bind(false);
    for (who, class) in [(0, Class::Committer), (1, Class::Committer), (2, Class::Member), (3, Class::Member)] {
        assert_eq!(node.judge(&node.facts(who, &[], &[]), &child).unwrap().class, class);
    }
    let update = node.judge(&node.update(3), &node.binding).unwrap();
    assert_eq!((update.class, update.heads), (Class::Update, node.binding.heads.clone()));
}

#[test]
fn only_members_with_a_leaf_commit() {
    let mut node = Node::new();
    node.group.say(0, add(20, Role::Member));
    assert_eq!(node.judge(&node.facts(20, &[], &[]), &node.bind(false)), Err(PolicyViolation::Author));
    let mut facts = node.update(2);
    facts.author.index = 3;
    assert_eq!(node.judge(&facts, &node.binding), Err(PolicyViolation::Author));
}

#[test]
fn a_self_update_changes_nothing_else() {
    let mut node = Node::new();
    node.group.say(0, charter("new"));
    assert_eq!(node.judge(&node.update(2), &node.bind(false)), Err(PolicyViolation::Proposal));
    let facts = CommitFacts { aad: vec![1], ..node.update(2) };
    assert_eq!(node.judge(&facts, &node.binding), Err(PolicyViolation::AuthenticatedData));
    node.light_nodes = LIGHT_NODES_MAX;
    assert_eq!(node.judge(&node.update(2), &node.binding), Err(PolicyViolation::TooManyLightNodes));
}

#[test]
fn a_commit_that_realises_nothing_or_binds_nothing_is_refused() {
    let mut node = Node::new();
    assert_eq!(node.judge(&node.facts(0, &[], &[]), &node.binding), Err(PolicyViolation::Binding));
    node.group.say(0, remove(3));
    let facts = CommitFacts { changes_binding: false, ..node.facts(0, &[], &[3]) };
    assert_eq!(node.judge(&facts, &node.bind(true)), Err(PolicyViolation::Binding));
}

#[test]
fn an_aged_network_may_be_followed_by_a_new_one_without_any_op() {
    let node = Node::new();
    let child = Binding { first_day: 131, ..node.bind(true) };
    assert!(node.judge(&node.facts(0, &[], &[]), &child).unwrap().begins_network);
}

/// Or anybody could move the tip at will, and every network with it.
#[test]
fn members_realise_what_somebody_had_a_right_to_say_and_nothing_else() {
    let mut node = Node::new();
    assert_eq!(node.judge(&node.facts(2, &[], &[]), &node.bind(true)), Err(PolicyViolation::Binding));
    node.group.say(2, remove(3));
    assert_eq!(node.judge(&node.facts(2, &[], &[]), &node.bind(false)), Err(PolicyViolation::Binding));
    node.group.say(0, charter("new"));
    assert!(node.judge(&node.facts(2, &[], &[]), &node.bind(false)).is_ok());
    assert_eq!(node.judge(&node.facts(2, &[], &[]), &node.bind(true)), Err(PolicyViolation::Network));
    assert!(node.judge(&node.facts(0, &[], &[]), &node.bind(true)).is_ok());
    node.light_nodes = LIGHT_NODES_MAX;
    assert_eq!(node.judge(&node.facts(2, &[], &[]), &node.bind(false)), Err(PolicyViolation::TooManyLightNodes));
    assert!(node.judge(&node.facts(0, &[], &[]), &node.bind(false)).is_ok());
}

#[test]
fn heads_are_known_sorted_and_never_go_back() {
    let mut node = Node::new();
    let old = node.binding.heads.clone();
    node.group.say_on(0, &old, charter("a"));
    node.group.say_on(1, &old, charter("b"));
    let facts = node.facts(0, &[], &[]);
    let good = node.bind(false);
    assert!(node.judge(&facts, &good).is_ok());
    let with = |heads: Vec<OpId>| Binding { heads, ..good.clone() };
    let reversed = good.heads.iter().rev().copied().collect();
    assert_eq!(node.judge(&facts, &with(vec![OpId([9; 32])])), Err(PolicyViolation::UnknownHeads));
    // These may be refused for good: nothing that comes later puts them in order.
    for heads in [reversed, vec![], vec![OpId([9; 32]); HEADS_MAX + 1]] {
        assert_eq!(node.judge(&facts, &with(heads)), Err(PolicyViolation::Binding));
    }
    node.binding.heads = good.heads.clone();
    let back = node.bind_heads(&good.heads[..1], false);
    assert_eq!(node.judge(&facts, &back), Err(PolicyViolation::HeadsGoBack));
}

#[test]
fn the_roster_root_is_that_of_the_heads() {
    let mut node = Node::new();
    node.group.say(0, set_role(3, Role::Reader));
    let child = Binding { roster_root: node.binding.roster_root, ..node.bind(false) };
    assert_eq!(node.judge(&node.facts(0, &[], &[]), &child), Err(PolicyViolation::RosterRoot));
}

#[test]
fn removes_are_exactly_what_the_heads_demand() {
    let mut node = Node::new();
    assert_eq!(
        node.judge(&node.facts(0, &[], &[2]), &Binding { first_day: 101, ..node.bind(true) }),
        Err(PolicyViolation::Removes),
        "nobody asked"
    );
    node.group.say(0, remove(2));
    let child = node.bind(true);
    for removes in [&[][..], &[3], &[2, 3], &[2, 2]] {
        assert_eq!(node.judge(&node.facts(0, &[], removes), &child), Err(PolicyViolation::Removes));
    }
    for who in [0, 3] {
        let judgement = node.judge(&node.facts(who, &[], &[2]), &child).unwrap();
        assert_eq!(judgement.left, BTreeSet::from([id(2)]));
        assert_eq!(judgement.realised.len(), 1);
        assert!(judgement.begins_network);
    }
}

#[test]
fn a_leave_is_realised_like_a_removal() {
    let mut node = Node::new();
    node.group.say(3, hearth_protocol::op::OpBody::Leave);
    let judgement = node.judge(&node.facts(2, &[], &[3]), &node.bind(true)).unwrap();
    assert_eq!((judgement.class, judgement.left), (Class::Member, BTreeSet::from([id(3)])));
}

#[test]
fn adds_are_any_part_of_what_is_demanded_and_may_come_later() {
    let mut node = Node::new();
    node.group.say(0, add(20, Role::Member));
    node.group.say(0, add(21, Role::Member));
    let child = node.bind(false);
    for adds in [&[][..], &[20], &[21], &[20, 21]] {
        let judgement = node.judge(&node.facts(3, adds, &[]), &child).unwrap();
        assert_eq!(judgement.joined, adds.iter().map(|who| id(*who)).collect());
    }
    node.binding = child.clone();
    let later = node.judge(&node.facts(3, &[20], &[]), &child).unwrap();
    assert_eq!(later.joined, BTreeSet::from([id(20)]));
}

#[test]
fn an_add_that_no_op_demands_is_refused() {
    let mut node = Node::new();
    node.group.say(0, add(20, Role::Member));
    node.group.say(2, add(21, Role::Member));
    let child = node.bind(false);
    let poisoned = AddedLeaf { key_package_hash: [0; 32], ..added(20) };
    let stolen = AddedLeaf { persona: id(22), ..added(20) };
    for adds in [
        vec![added(21)],
        vec![poisoned],
        vec![stolen],
        vec![added(20), AddedLeaf { device: keys(30).device(), ..added(20) }],
    ] {
        let facts = CommitFacts { adds, ..node.facts(0, &[], &[]) };
        assert_eq!(node.judge(&facts, &child), Err(PolicyViolation::Adds));
    }
}

#[test]
fn no_signature_key_is_in_two_leaves() {
    let mut node = Node::new();
    node.group.say(0, add(20, Role::Member));
    node.group.say(0, add(21, Role::Member));
    let child = node.bind(false);
    let taken = AddedLeaf { device: keys(3).device(), ..added(20) };
    let twice = AddedLeaf { device: keys(20).device(), ..added(21) };
    for adds in [vec![taken], vec![added(20), twice]] {
        let facts = CommitFacts { adds, ..node.facts(0, &[], &[]) };
        assert_eq!(node.judge(&facts, &child), Err(PolicyViolation::DuplicateKey));
    }
}

#[test]
fn who_was_removed_and_admitted_anew_gets_a_new_leaf() {
    let mut node = Node::new();
    node.group.say(0, remove(3));
    node.group.say(
        0,
        hearth_protocol::op::OpBody::Add {
            subject: id(3),
            name: "Again".into(),
            role: Role::Member,
            key_package: vec![3; 4].into(),
        },
    );
    let child = node.bind(true);
    let fresh = AddedLeaf { device: keys(40).device(), ..added(3) };
    let facts = CommitFacts { adds: vec![fresh.clone()], ..node.facts(0, &[], &[3]) };
    let judgement = node.judge(&facts, &child).unwrap();
    assert!(judgement.joined.is_empty() && judgement.left.is_empty() && judgement.begins_network);
    assert_eq!(node.judge(&node.facts(0, &[], &[]), &child), Err(PolicyViolation::Removes));
}

#[test]
fn a_rejoin_swaps_the_members_own_leaf_and_needs_no_new_network() {
    let mut node = Node::new();
    node.group.say(3, hearth_protocol::op::OpBody::RejoinRequest { key_package: vec![3; 4].into() });
    let child = node.bind(false);
    let fresh = AddedLeaf { device: keys(40).device(), ..added(3) };
    let swap = CommitFacts { adds: vec![fresh.clone()], ..node.facts(0, &[], &[3]) };
    let judgement = node.judge(&swap, &child).unwrap();
    assert!(judgement.joined.is_empty() && judgement.left.is_empty() && !judgement.begins_network);
    let other = CommitFacts { adds: vec![AddedLeaf { persona: id(2), ..fresh.clone() }], ..node.facts(0, &[], &[2]) };
    assert_eq!(node.judge(&other, &child), Err(PolicyViolation::Adds));
    let half = CommitFacts { adds: vec![fresh.clone()], ..node.facts(0, &[], &[]) };
    assert_eq!(node.judge(&half, &child), Err(PolicyViolation::Removes));
    assert_eq!(node.judge(&node.facts(0, &[], &[3]), &child), Err(PolicyViolation::Removes));
    node.binding = child.clone();
    let again = Binding { first_day: 140, ..node.bind(true) };
    assert_eq!(node.judge(&swap, &again), Err(PolicyViolation::Adds), "a request is realised once");
}

#[test]
fn a_removal_begins_a_network_and_others_follow_their_parents() {
    let mut node = Node::new();
    node.group.say(0, charter("new"));
    let facts = node.facts(0, &[], &[]);
    let good = node.bind(false);
    let wrong = [
        Binding { network: Some(NODE), ..good.clone() },
        Binding { first_day: 101, ..good.clone() },
        Binding { generation: 1, ..good.clone() },
        Binding { began: 1, ..good.clone() },
        Binding { epoch: EPOCH, ..good.clone() },
    ];
    for child in wrong {
        assert_eq!(node.judge(&facts, &child), Err(PolicyViolation::Network));
    }
    // The parent began the network, or keeps the extension of one that did.
    node.binding.network = None;
    for began in [NODE, NodeId([0x66; 32])] {
        node.network = began;
        for (named, verdict) in [(began, true), (NodeId([0x67; 32]), false), (NETWORK, false)] {
            let child = Binding { network: Some(named), ..good.clone() };
            assert_eq!(node.judge(&facts, &child).is_ok(), verdict, "a node of {began:?} named {named:?}");
        }
    }
    node.group.say(0, remove(3));
    let child = Binding { network: Some(NODE), ..node.bind(false) };
    assert_eq!(node.judge(&node.facts(0, &[], &[3]), &child), Err(PolicyViolation::Network));
}

/// An invite with two uses, realised here.
fn inviting() -> (Node, OpId) {
    let mut node = Node::new();
    let open = node.group.say(0, invite(1, 2));
    node.binding = node.bind(false);
    (node, open)
}

#[test]
fn a_join_takes_its_slot_once() {
    let (mut node, open) = inviting();
    let at = node.heads();
    let join = node.group.join_on(50, &at, 1, (open, 0));
    let judgement = node.judge(&node.external(50, &join), &node.binding).unwrap();
    assert_eq!((judgement.class, judgement.slot, judgement.joined), (Class::External, Some(0), [id(50)].into()));
    assert_eq!(judgement.heads, vec![join]);

    let rival = node.group.join_on(51, &at, 1, (open, 0));
    assert!(node.judge(&node.external(51, &rival), &node.binding).is_ok(), "valid beside it");
    node.joins.push(join);
    node.leaves.push(leaf(4, 50));
    assert_eq!(node.judge(&node.external(51, &rival), &node.binding), Err(PolicyViolation::JoinRefused));
    assert_eq!(node.judge(&node.external(50, &join), &node.binding), Err(PolicyViolation::ExternalOp), "replayed");
    let second = node.group.join_on(51, &at, 1, (open, 1));
    assert!(node.judge(&node.external(51, &second), &node.binding).is_ok());
}

#[test]
fn the_next_commit_writes_joins_in_and_no_other_join() {
    let (mut node, open) = inviting();
    let at = node.heads();
    let join = node.group.join_on(50, &at, 1, (open, 0));
    let child = node.bind(false);
    assert_eq!(node.judge(&node.facts(0, &[], &[]), &child), Err(PolicyViolation::UnrealisedJoin));
    node.joins.push(join);
    node.leaves.push(leaf(4, 50));
    assert!(node.judge(&node.facts(0, &[], &[]), &child).is_ok());
    node.group.say_on(0, &at, charter("without it"));
    let heads: Vec<_> = node.group.heads().into_iter().filter(|h| *h != join).collect();
    let back = node.bind_heads(&heads, false);
    assert_eq!(node.judge(&node.facts(0, &[], &[]), &back), Err(PolicyViolation::HeadsGoBack));
}

#[test]
fn a_join_is_refused_where_the_invite_is_closed() {
    for close in [remove(3), shield(true)] {
        let (mut node, open) = inviting();
        let at = node.heads();
        let join = node.group.join_on(50, &at, 1, (open, 0));
        let closing = node.group.say_on(0, &at, close);
        node.binding = node.bind_heads(&[closing], false);
        assert_eq!(node.judge(&node.external(50, &join), &node.binding), Err(PolicyViolation::JoinRefused));
    }
}

#[test]
fn a_join_rests_on_nothing_that_its_parent_does_not_realise() {
    let (mut node, open) = inviting();
    let at = node.heads();
    let ahead = node.group.say_on(0, &at, remove(3));
    let unseen = node.group.say_on(0, &at, invite(2, 1));
    let _ = (ahead, open);
    let join = node.group.join_on(50, &[unseen], 2, (unseen, 0));
    assert_eq!(node.judge(&node.external(50, &join), &node.binding), Err(PolicyViolation::OpAhead));
}

#[test]
fn an_external_leaf_is_the_authors_and_its_key_is_new() {
    let (mut node, open) = inviting();
    let at = node.heads();
    let join = node.group.join_on(50, &at, 1, (open, 0));
    let good = node.external(50, &join);
    let mut other = good.clone();
    other.author.persona = id(51);
    assert_eq!(node.judge(&other, &node.binding), Err(PolicyViolation::ForeignLeaf));
    let mut other = good.clone();
    other.author.device = keys(51).device();
    assert_eq!(node.judge(&other, &node.binding), Err(PolicyViolation::ForeignLeaf));
    node.leaves.push(Leaf { index: 4, persona: id(2), device: keys(50).device() });
    assert_eq!(node.judge(&good, &node.binding), Err(PolicyViolation::DuplicateKey));
}

#[test]
fn an_external_commit_carries_only_its_own() {
    let (mut node, open) = inviting();
    let at = node.heads();
    let join = node.group.join_on(50, &at, 1, (open, 0));
    let good = node.external(50, &join);
    let removes = CommitFacts { removes: vec![leaf(3, 3)], ..good.clone() };
    let adds = CommitFacts { adds: vec![added(20)], ..good.clone() };
    let binds = CommitFacts { changes_binding: true, ..good.clone() };
    for facts in [removes, adds, binds] {
        assert_eq!(node.judge(&facts, &node.binding), Err(PolicyViolation::Proposal));
    }
    let empty = CommitFacts { aad: vec![], ..good.clone() };
    assert_eq!(node.judge(&empty, &node.binding), Err(PolicyViolation::AuthenticatedData));
    let words = node.group.say_on(0, &at, charter("no join"));
    let mut facts = node.external(0, &words);
    facts.author.device = keys(0).device();
    node.leaves.remove(0);
    assert_eq!(node.judge(&facts, &node.binding), Err(PolicyViolation::ExternalOp));
    node.light_nodes = LIGHT_NODES_MAX;
    assert_eq!(node.judge(&good, &node.binding), Err(PolicyViolation::TooManyLightNodes));
}

#[test]
fn an_external_op_must_be_in_the_log() {
    let (node, open) = inviting();
    let op = node.group.sign_join(50, &node.heads(), 1, (open, 0));
    let facts = CommitFacts { external: true, aad: cbor::to_vec(&op), author: leaf(9, 50), ..node.update(50) };
    assert_eq!(external_op(&facts), Some(op));
    assert_eq!(node.judge(&facts, &node.binding), Err(PolicyViolation::ExternalOp));
}

#[test]
fn an_external_rejoin_removes_the_own_leaf_and_no_other() {
    let mut node = Node::new();
    let at = node.heads();
    // The device that asks is a new one: its key is in no leaf yet.
    node.leaves[3].device = keys(60).device();
    let op = node.group.say_on(3, &at, hearth_protocol::op::OpBody::RejoinRequest { key_package: vec![3; 4].into() });
    let facts = |removes: Vec<Leaf>| CommitFacts { removes, ..node.external(3, &op) };
    let judgement = node.judge(&facts(vec![node.leaves[3]]), &node.binding).unwrap();
    assert_eq!((judgement.class, judgement.slot), (Class::External, None));
    assert!(judgement.joined.is_empty());
    for removes in [vec![], vec![node.leaves[2]], vec![node.leaves[2], node.leaves[3]]] {
        assert_eq!(node.judge(&facts(removes), &node.binding), Err(PolicyViolation::Removes));
    }
}
