//! Worlds, states, steps and properties of the signing rule.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hearth_crypto::select::{
    Class, NodeInfo, NodePolicy, Revocation, Revoked, SelectionInput, may_abstain, may_sign, select, to_sign,
};
use hearth_protocol::id::{FrameId, NodeId, OpId, PersonaId};
use stateright::{Checker as _, Model, Property};

/// A fixed tree of commits and the people who may sign it.
#[derive(Clone)]
pub(crate) struct World {
    /// Parent of node k+1. Node 0 is the base; of siblings the lower number is the lesser.
    parents: Vec<usize>,
    /// Who decides, by node.
    policies: Vec<Arc<NodePolicy>>,
    /// Signers; the first are facilitators.
    people: usize,
    equivocator: Option<usize>,
    silent: Option<usize>,
    leaves: usize,
    name: String,
}

fn person(n: usize) -> PersonaId {
    PersonaId([n as u8; 32])
}

fn node(n: usize) -> NodeId {
    NodeId([n as u8; 32])
}

fn number(node: &NodeId) -> usize {
    usize::from(node.0[0])
}

/// Whether a node's bit is among these.
fn has(bits: u16, n: usize) -> bool {
    bits & (1 << n) != 0
}

fn policy(facilitators: usize, people: usize) -> Arc<NodePolicy> {
    let members = (0..people).map(person).collect();
    Arc::new(NodePolicy { facilitators: (0..facilitators).map(person).collect(), members, ..NodePolicy::default() })
}

impl World {
    /// Rival children of the base.
    pub(crate) fn fork(facilitators: usize, members: usize, rivals: usize) -> Self {
        Self::tree(facilitators, facilitators + members, &vec![0; rivals])
    }

    /// A tree, by parents, of a group with this many people in all (at least its facilitators).
    pub(crate) fn tree(facilitators: usize, people: usize, parents: &[usize]) -> Self {
        let people = people.max(facilitators);
        let policy = policy(facilitators, people);
        let name = format!("{facilitators} facilitators of {people}, commits on {parents:?}");
        let policies = vec![policy; parents.len() + 1];
        Self { parents: parents.to_vec(), policies, people, equivocator: None, silent: None, leaves: 0, name }
    }

    /// From this node on, this many are facilitators.
    pub(crate) fn deciding_after(mut self, from: usize, facilitators: usize) -> Self {
        let below: Vec<_> = (0..self.policies.len()).filter(|n| has(self.ancestry(*n), from)).collect();
        for n in below {
            self.policies[n] = policy(facilitators, self.people);
        }
        self.name = format!("{}, {facilitators} facilitators from node {from} on", self.name);
        self
    }

    /// This node takes somebody out.
    pub(crate) fn taking_out(mut self, node: usize, who: usize) -> Self {
        let below: Vec<_> = (0..self.policies.len()).filter(|n| has(self.ancestry(*n), node)).collect();
        for n in below {
            let policy = Arc::make_mut(&mut self.policies[n]);
            policy.facilitators.remove(&person(who));
            policy.members.remove(&person(who));
        }
        self.name = format!("{}, node {node} takes {who} out", self.name);
        self
    }

    pub(crate) fn with_equivocator(mut self, who: usize) -> Self {
        self.equivocator = Some(who);
        self.name = format!("{}, {who} equivocates", self.name);
        self
    }

    /// Somebody who never signs.
    pub(crate) fn with_silent(mut self, who: usize) -> Self {
        self.silent = Some(who);
        self.name = format!("{}, {who} is silent", self.name);
        self
    }

    /// At most this many leave.
    pub(crate) fn with_leaves(mut self, leaves: usize) -> Self {
        self.leaves = leaves;
        self.name = format!("{}, up to {leaves} leave", self.name);
        self
    }

    fn nodes(&self) -> usize {
        self.policies.len()
    }

    /// Bits of a node and its ancestors, without the base.
    fn ancestry(&self, mut n: usize) -> u16 {
        let mut bits = 0;
        while n != 0 {
            bits |= 1 << n;
            n = self.parents[n - 1];
        }
        bits
    }

    /// The nodes of these bits.
    fn of(&self, bits: u16) -> impl Iterator<Item = usize> + use<> {
        (1..self.nodes()).filter(move |n| has(bits, *n))
    }

    /// Roles of a person in every policy: people alike are interchangeable.
    fn role(&self, who: usize) -> (bool, bool, Vec<(bool, bool)>) {
        let role = |p: &Arc<NodePolicy>| (p.facilitators.contains(&person(who)), p.members.contains(&person(who)));
        (self.equivocator == Some(who), self.silent == Some(who), self.policies.iter().map(role).collect())
    }

    fn above(&self, n: usize) -> NodeId {
        node(self.parents[n - 1])
    }

    /// Whom a node takes out cannot open it.
    fn can_open(&self, who: usize, n: usize) -> bool {
        self.policies[n].members.contains(&person(who))
    }

    /// Nodes that take somebody out.
    fn takes_out(&self, who: usize) -> impl Iterator<Item = usize> + '_ {
        let out = move |n: &usize| self.can_open(who, self.parents[n - 1]) && !self.can_open(who, *n);
        (1..self.nodes()).filter(out)
    }

    fn honest(&self, who: usize) -> bool {
        self.equivocator != Some(who)
    }

    /// What `select` and the signing rule are given.
    fn input(&self, facts: &State) -> SelectionInput {
        let mut input = SelectionInput::new(node(0), Arc::clone(&self.policies[0]));
        for (n, parent) in (1..).zip(&self.parents) {
            let info = NodeInfo {
                parent: node(*parent),
                author: PersonaId([0xff; 32]),
                class: Class::Committer,
                rank: n as u32,
                seniority: (0, 0),
                slot: None,
                frames: BTreeSet::from([FrameId([n as u8; 32])]),
                valid: true,
                realises: BTreeSet::new(),
                policy: Arc::clone(&self.policies[n]),
                recovered: None,
            };
            input.add(node(n), info);
        }
        for (who, of) in facts.0.iter().enumerate() {
            input.signatures.extend(self.of(of.signed).map(|n| (node(n), person(who))));
            input.nacks.extend(self.of(of.nacked).map(|n| (FrameId([n as u8; 32]), person(who))));
            if let Some(at) = of.left {
                let (ops, at_nodes) = ([OpId([who as u8; 32])].into(), [node(at.into())].into());
                input.revocations.insert(Revocation { ops, subject: person(who), kind: Revoked::Left, at_nodes });
            }
        }
        input
    }
}

/// What one person did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Acts {
    /// Bits of nodes, ancestors included.
    signed: u16,
    /// Where it left.
    left: Option<u8>,
    /// Bits of the nodes by whose Nack it abstained.
    nacked: u16,
}

/// What everybody did.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State(Vec<Acts>);

/// One signature, one Leave, or one Nack of what takes its author out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Sign { who: usize, node: usize },
    Leave { who: usize, node: usize },
    Abstain { who: usize, node: usize },
}

/// How a run is judged.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bounds {
    /// States from which no certificate can come are noted instead of refused.
    pub(crate) may_wait: bool,
    /// Judges by this instead of the engine's rule: to see that the checker finds what is wrong with another.
    pub(crate) rule: Option<Rule>,
}

/// The shape of [`may_sign`].
pub(crate) type Rule = fn(&SelectionInput, &PersonaId, &NodeId) -> bool;

/// What a run saw.
pub(crate) struct Found {
    /// Somebody honest signed on both sides of certificates that exclude each other.
    pub(crate) innocent_on_both_sides: bool,
    /// A state from which the honest ones alone come to no certificate.
    pub(crate) waits: bool,
    /// Names of the properties that were broken, with the steps that break them.
    pub(crate) broken: BTreeMap<&'static str, String>,
}

struct Signing {
    world: World,
    may_wait: bool,
    rule: Rule,
    /// Whether some view of these facts lets a signer sign a node.
    allowed: Mutex<HashMap<(State, usize, usize), bool>>,
    innocent: AtomicBool,
    waits: AtomicBool,
}

/// Explores a world to its end and asserts every property.
pub(crate) fn explore(world: &World, bounds: Bounds) -> Found {
    let found = look(world, bounds);
    assert!(found.broken.is_empty(), "{}: {:#?}", world.name, found.broken);
    found
}

/// Explores a world to its end.
pub(crate) fn look(world: &World, bounds: Bounds) -> Found {
    let model = Signing {
        world: world.clone(),
        may_wait: bounds.may_wait,
        rule: bounds.rule.unwrap_or(may_sign),
        allowed: Mutex::default(),
        innocent: AtomicBool::new(false),
        waits: AtomicBool::new(false),
    };
    let checker = model.checker().threads(2).spawn_bfs().join();
    let broken: BTreeMap<_, _> =
        checker.discoveries().into_iter().map(|(name, path)| (name, format!("{:?}", path.into_actions()))).collect();
    assert!(checker.is_done(), "{}: not explored to the end", world.name);
    println!("{}: {} states, depth {}", world.name, checker.unique_state_count(), checker.max_depth());
    Found {
        innocent_on_both_sides: checker.model().innocent.load(Ordering::Relaxed),
        waits: checker.model().waits.load(Ordering::Relaxed),
        broken,
    }
}

impl Signing {
    /// The same facts with people alike in a fixed order.
    fn canonical(&self, state: &State) -> State {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for who in 0..self.world.people {
            groups.entry(self.world.role(who)).or_default().push(who);
        }
        let mut out = state.clone();
        for alike in groups.values() {
            let mut acts: Vec<_> = alike.iter().map(|who| state.0[*who]).collect();
            acts.sort_unstable();
            for (who, acts) in alike.iter().zip(acts) {
                out.0[*who] = acts;
            }
        }
        out
    }

    /// Every state with one fact less, of somebody other than `spare`.
    fn one_less<'a>(&'a self, state: &'a State, spare: Option<usize>) -> impl Iterator<Item = State> + 'a {
        let people = (0..self.world.people).filter(move |who| Some(*who) != spare);
        people.flat_map(move |who| {
            let acts = state.0[who];
            // Only a node with nothing signed below it: the facts stay closed upwards.
            let last = move |n: &usize| !self.world.of(acts.signed).any(|m| m != *n && has(self.world.ancestry(m), *n));
            let unsigned = self.world.of(acts.signed).filter(last);
            let unsigned = unsigned.map(move |n| Acts { signed: acts.signed & !(1 << n), ..acts });
            let stayed = acts.left.map(|_| Acts { left: None, ..acts });
            let votes = self.world.of(acts.nacked).map(move |n| Acts { nacked: acts.nacked & !(1 << n), ..acts });
            unsigned.chain(stayed).chain(votes).map(move |less| {
                let mut out = state.clone();
                out.0[who] = less;
                out
            })
        })
    }

    /// Whether the signer may sign the node in some view of these facts; its own it always knows.
    fn allowed(&self, facts: &State, who: usize, target: usize) -> bool {
        let key = (facts.clone(), who, target);
        if let Some(known) = self.allowed.lock().unwrap().get(&key) {
            return *known;
        }
        let whole = (self.rule)(&self.world.input(facts), &person(who), &node(target));
        let answer = whole || self.one_less(facts, Some(who)).any(|part| self.allowed(&part, who, target));
        self.allowed.lock().unwrap().insert(key, answer);
        answer
    }

    /// Final nodes of what is known.
    fn certified(&self, facts: &State) -> BTreeSet<NodeId> {
        select(&self.world.input(facts)).certified
    }

    /// Whether the equivocator stands on two branches, or signed elsewhere than above its Leave. Before it does, it may
    /// as well be honest, and nothing may go wrong.
    fn equivocated(&self, state: &State) -> bool {
        let Some(who) = self.world.equivocator else { return false };
        let acts = state.0[who];
        let all = acts.signed | acts.left.map_or(0, |at| self.world.ancestry(at.into()));
        let one_branch = (0..self.world.nodes()).any(|n| self.world.ancestry(n) == all);
        let broke_word = self
            .world
            .of(acts.nacked)
            .any(|n| self.world.of(acts.signed).any(|c| self.world.parents[c - 1] == self.world.parents[n - 1]));
        !one_branch || broke_word || acts.left.is_some_and(|at| self.world.ancestry(at.into()) != all)
    }

    /// Views: everything, and everything less any one fact, and less every part of the Leaves and abstentions.
    fn views(&self, state: &State) -> Vec<State> {
        let mut views: Vec<_> = self.one_less(state, None).collect();
        let people = 0..self.world.people;
        let left = people.clone().filter(|who| state.0[*who].left.is_some()).map(|who| (who, None));
        let abstained = people.flat_map(|who| self.world.of(state.0[who].nacked).map(move |n| (who, Some(n))));
        let words: Vec<_> = left.chain(abstained).collect();
        for unknown in 1..1 << words.len() {
            let mut view = state.clone();
            for (_, (who, word)) in words.iter().enumerate().filter(|(bit, _)| unknown & (1 << bit) != 0) {
                match word {
                    None => view.0[*who].left = None,
                    Some(n) => view.0[*who].nacked &= !(1 << n),
                }
            }
            views.push(view);
        }
        views
    }

    /// No two views hold nodes final that exclude each other, and what is final in one is final in the whole.
    fn one_finality(&self, state: &State) -> bool {
        let whole = select(&self.world.input(state));
        if let Some(conflict) = whole.conflicts.first() {
            let innocent = conflict
                .signers
                .iter()
                .any(|who| (0..self.world.people).any(|n| person(n) == *who && self.world.honest(n)));
            self.innocent.fetch_or(innocent, Ordering::Relaxed);
            let shown = self.world.equivocator.is_some_and(|who| conflict.signers.contains(&person(who)));
            return shown && self.equivocated(state);
        }
        self.equivocated(state) || self.views(state).iter().all(|view| self.certified(view).is_subset(&whole.certified))
    }

    /// What the engine signs is allowed.
    fn offers_are_allowed(&self, state: &State) -> bool {
        let input = self.world.input(state);
        (0..self.world.people).all(|who| {
            let next = to_sign(&input, &person(who), |n| self.world.can_open(who, number(n)));
            next.is_none_or(|n| (self.rule)(&input, &person(who), &n))
        })
    }

    /// Once everybody honest knows everything, signing by turns ends with a leaf of the tree final.
    fn becomes_final(&self, state: &State) -> bool {
        if self.may_wait && self.waits.load(Ordering::Relaxed) || self.equivocated(state) {
            return true;
        }
        let backwards: Vec<usize> = (0..self.world.people).rev().collect();
        let forwards: Vec<usize> = (0..self.world.people).collect();
        let fine = [forwards, backwards].iter().all(|turns| self.settles(state.clone(), turns));
        if !fine && self.may_wait {
            self.waits.store(true, Ordering::Relaxed);
            return true;
        }
        fine
    }

    /// By turns everybody signs what it holds; who is out at the tip abstains as well.
    fn settles(&self, mut state: State, turns: &[usize]) -> bool {
        let acts = |who: &usize| self.world.silent != Some(*who);
        loop {
            let mut moved = false;
            for who in turns.iter().copied().filter(acts) {
                let input = self.world.input(&state);
                if let Some(n) = to_sign(&input, &person(who), |n| self.world.can_open(who, number(n))) {
                    state.0[who].signed |= self.world.ancestry(number(&n));
                    moved = true;
                } else if let Some(n) = self.abstains(&state, &input, who) {
                    state.0[who].nacked |= 1 << n;
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        let last = number(&select(&self.world.input(&state)).last_certified);
        // Where every facilitator left, there is nobody whose signature would count.
        let decides = |who: &usize| self.world.policies[last].facilitators.contains(&person(*who));
        let nobody = (0..self.world.people).filter(decides).all(|who| state.0[who].left.is_some());
        nobody || !self.world.parents.contains(&last)
    }

    /// What takes it out on the way to the tip, unless it abstained already.
    fn abstains(&self, state: &State, input: &SelectionInput, who: usize) -> Option<usize> {
        let path = select(input).path;
        let n = self.world.takes_out(who).find(|n| path.contains(&node(*n)))?;
        let may = may_abstain(input, &person(who), &self.world.above(n));
        (!has(state.0[who].nacked, n) && may).then_some(n)
    }
}

impl Model for Signing {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State(vec![Acts::default(); self.world.people])]
    }

    fn actions(&self, state: &State, out: &mut Vec<Step>) {
        let left = state.0.iter().filter(|a| a.left.is_some()).count();
        for who in 0..self.world.people {
            let acts = state.0[who];
            if self.world.silent == Some(who) || (acts.left.is_some() && self.world.honest(who)) {
                continue;
            }
            let may = |n: usize| !self.world.honest(who) || self.allowed(state, who, n);
            for n in 1..self.world.nodes() {
                let opens = self.world.can_open(who, n) || !self.world.honest(who);
                if !has(acts.signed, n) && opens && may(n) {
                    out.push(Step::Sign { who, node: n });
                }
            }
            let input = self.world.input(state);
            let new = |n: &usize| !has(acts.nacked, *n);
            let unsigned =
                |n: &usize| !self.world.honest(who) || may_abstain(&input, &person(who), &self.world.above(*n));
            let nacks = self.world.takes_out(who).filter(new).filter(unsigned);
            out.extend(nacks.map(|n| Step::Abstain { who, node: n }));
            if left < self.world.leaves && acts.left.is_none() {
                // Where everything it signed is above; an equivocator anywhere.
                let extends = |n: usize| self.world.ancestry(n) & acts.signed == acts.signed;
                let last = |n: usize| {
                    !self.world.honest(who) || (extends(n) && (self.world.ancestry(n) == acts.signed || may(n)))
                };
                let at = (0..self.world.nodes()).filter(|n| last(*n));
                out.extend(at.map(|n| Step::Leave { who, node: n }));
            }
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Sign { who, node } => next.0[who].signed |= self.world.ancestry(node),
            Step::Leave { who, node } => next.0[who].left = Some(node as u8),
            Step::Abstain { who, node } => next.0[who].nacked |= 1 << node,
        }
        Some(self.canonical(&next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(
                "rival certificates show an equivocator, and what is final stays final",
                Self::one_finality,
            ),
            Property::always("the engine's next signature is allowed", Self::offers_are_allowed),
            Property::always("a certificate is always possible again", Self::becomes_final),
        ]
    }
}
