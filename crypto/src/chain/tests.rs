use hearth_protocol::op::{JoinMode, OpBody, Role};

use super::*;
use crate::{
    mls::{Binding, CommitPlan, MlsNode, Suite},
    model::{ModelMls, ModelNode, suite::rng},
    persona::DeviceKeys,
    policy::{At, genesis},
};

fn keys(who: u8) -> DeviceKeys {
    let mut seed = [who; 64];
    seed[32..].fill(who ^ 0x80);
    DeviceKeys::from_seed(&seed)
}

/// A group whose nodes are all made by person 0. Nobody else has a leaf: a chain looks at no tree.
struct World {
    mls: ModelMls,
    group: GroupId,
    log: PolicyLog,
    places: Places,
    /// Those who decided about a Recover that is realised.
    settled: BTreeMap<NodeId, Arc<NodePolicy>>,
    node: ModelNode,
}

impl World {
    fn new() -> Self {
        let body = OpBody::Genesis {
            name: "Night watch".into(),
            charter: String::new().into(),
            template: None,
            join: JoinMode::Open,
            history_days: 0,
            suite: Suite::Classic.code(),
            relays: Vec::new(),
            founder: "Ada".into(),
            salt: [0; 16],
        };
        let first = genesis(&keys(0), body);
        let group = GroupId(first.id().0);
        let mut log = PolicyLog::for_group(group);
        log.insert(first.clone()).unwrap();
        let mls = ModelMls::new([1; 32]);
        let roster_root = log.state_at(&log.heads(), &()).roster_root(&());
        let heads = log.heads();
        let binding = Binding { heads, roster_root, network: None, first_day: 1, generation: 0, began: 0, epoch: 0 };
        let node = mls.create(&keys(0), &mls_group_id(&first, 0), Suite::Classic, &binding).unwrap();
        let places = (0..4).map(|who| (keys(who).persona(), (u64::from(who), u32::from(who)))).collect();
        Self { mls, group, log, places, settled: BTreeMap::new(), node }
    }

    fn say(&mut self, who: u8, body: OpBody) {
        let heads = self.log.heads();
        let op = self.log.make(&keys(who), At { heads: &heads, node: self.node.facts().node }, body).unwrap();
        self.log.insert(op).unwrap();
    }

    /// Person 0 brings these in and makes each a facilitator, by the word of as many as it takes.
    fn promote(&mut self, who: &[u8]) {
        for who in who {
            let (subject, name) = (keys(*who).persona(), format!("p{who}"));
            let key_package = vec![*who; 4].into();
            self.say(0, OpBody::Add { subject, name, role: Role::Member, key_package });
            for signer in 0..*who {
                self.say(signer, OpBody::SetRole { subject, role: Role::Facilitator });
            }
        }
    }

    /// A commit that writes every op in, and its link with these people's signatures.
    fn commit(&mut self, signers: &[u8]) -> Link {
        let heads = self.log.heads();
        let epoch = self.node.facts().epoch + 1;
        let places: Places =
            self.places.iter().filter(|(_, (depth, _))| *depth < epoch).map(|(p, at)| (*p, *at)).collect();
        let elders = Elders { places: Arc::new(places), last: None, settled: self.settled.clone() };
        let roster_root = self.log.state_at(&heads, &elders).roster_root(&elders);
        let network = Some(self.node.facts().binding.network.unwrap_or(self.node.facts().node));
        let binding = Binding { heads, roster_root, network, first_day: 1, generation: 0, began: 0, epoch };
        let plan = CommitPlan { binding: Some(binding), ..CommitPlan::default() };
        self.node = self.node.commit(&keys(0), &plan, &mut rng(7)).unwrap().child;
        self.link(signers)
    }

    fn link(&self, signers: &[u8]) -> Link {
        let message = signature_message(&self.group, &self.node.facts().node);
        let sign =
            |who: &u8| LinkSignature { persona: keys(*who).persona(), sig: keys(*who).sign_as_persona(&message) };
        Link { context: self.node.context().unwrap(), signatures: signers.iter().map(sign).collect() }
    }

    fn ground(&self) -> Ground<'_, ModelMls> {
        Ground { mls: &self.mls, group: &self.group, log: &self.log, places: &self.places }
    }

    fn leads_to(&self, chain: &[Link]) -> Option<NodeId> {
        self.ground().verify(chain).and_then(|v| v.node)
    }
}

fn charter(words: &str) -> OpBody {
    OpBody::SetPolicy {
        charter: Some(words.into()),
        history_days: None,
        slow_mode_s: None,
        shield: None,
        relays: None,
        successors: None,
    }
}

/// A chain of two links: the founder made persons 1 and 2 facilitators, then 1 and 2 made a later node final.
fn two_links() -> (World, Vec<Link>) {
    let mut world = World::new();
    world.promote(&[1, 2]);
    let first = world.commit(&[0]);
    let chain = world.ground().extend(&[], first).unwrap();
    world.say(1, charter("Be kind"));
    let second = world.commit(&[1, 2]);
    let chain = world.ground().extend(&chain, second).unwrap();
    (world, chain)
}

#[test]
fn a_chain_leads_from_genesis_over_whoever_decides() {
    let (world, chain) = two_links();
    assert_eq!(chain.len(), 2);
    assert_eq!(world.leads_to(&chain), Some(world.node.facts().node));
    assert_eq!(world.ground().verify(&[]).unwrap().node, None);
    assert!(world.ground().verify(&chain[1..]).is_none(), "the founder alone decided at first");
}

#[test]
fn links_that_are_not_needed_are_left_out() {
    let (mut world, chain) = two_links();
    world.say(2, charter("Be kinder"));
    let third = world.commit(&[0, 1]);
    let longer = world.ground().extend(&chain, third).unwrap();
    assert_eq!(longer.len(), 1, "the founder signed it, and decided at Genesis");
    world.say(2, charter("Be kindest"));
    let fourth = world.commit(&[1, 2]);
    let chain = world.ground().extend(&chain, fourth).unwrap();
    assert_eq!((chain.len(), world.leads_to(&chain)), (2, Some(world.node.facts().node)));
}

#[test]
fn no_quorum_no_link() {
    let (mut world, chain) = two_links();
    world.say(0, charter("mine alone"));
    for signers in [&[][..], &[1], &[2], &[3], &[2, 3]] {
        let link = world.commit(signers);
        assert!(world.ground().extend(&chain, link).is_none(), "{signers:?}");
    }
}

#[test]
fn who_left_no_longer_decides_and_who_came_back_does() {
    let mut world = World::new();
    world.promote(&[1, 2]);
    let first = world.commit(&[0]);
    let chain = world.ground().extend(&[], first).unwrap();
    world.say(2, OpBody::Leave);
    let alone = world.commit(&[1]);
    assert!(world.ground().extend(&chain, alone).is_none(), "one of the two who are left, and no other member");
    let both = world.commit(&[1, 0]);
    assert!(world.ground().extend(&chain, both).is_some());
}

#[test]
fn a_forged_link_proves_nothing() {
    let (world, chain) = two_links();
    let spoiled = |change: &dyn Fn(&mut Vec<Link>)| {
        let mut chain = chain.clone();
        change(&mut chain);
        world.leads_to(&chain)
    };
    assert!(spoiled(&|_| ()).is_some());
    assert_eq!(spoiled(&|c| c[1].signatures[0].sig[5] ^= 1), None);
    assert_eq!(spoiled(&|c| c[1].signatures[0].persona = keys(3).persona()), None);
    assert_eq!(spoiled(&|c| c[1].signatures[0] = c[1].signatures[1].clone()), None);
    assert_eq!(spoiled(&|c| c[0].signatures.clear()), None);
    assert_eq!(spoiled(&|c| c.swap(0, 1)), None);
    assert_eq!(spoiled(&|c| c[1] = c[0].clone()), None);
    for at in 0..chain[1].context.len() {
        assert_eq!(spoiled(&|c| c[1].context[at] ^= 1), None, "byte {at}");
        assert_eq!(spoiled(&|c| c[1].context.truncate(at)), None, "up to {at}");
    }
}

#[test]
fn who_came_first_is_what_the_node_bound() {
    let (mut world, chain) = two_links();
    let mut swapped = world.places.clone();
    swapped.insert(keys(0).persona(), (1, 1));
    swapped.insert(keys(1).persona(), (0, 0));
    for places in [Places::new(), swapped] {
        let ground = Ground { places: &places, ..world.ground() };
        assert!(ground.verify(&chain).is_none());
    }
    // Who came after a link is no matter to it.
    world.places.insert(keys(3).persona(), (9, 3));
    assert!(world.leads_to(&chain).is_some());
}

/// A node that a joiner made keeps the binding of an earlier one, which does not say that the joiner is in.
#[test]
fn a_link_is_where_its_binding_was_written() {
    let (mut world, chain) = two_links();
    let info = world.node.group_info(&keys(0)).unwrap();
    let (_, joined) = world.mls.join_external(&keys(3), &info, b"a join").unwrap();
    world.node = joined;
    assert_eq!(world.node.facts().binding.epoch + 1, world.node.facts().epoch);
    let link = world.link(&[0, 1, 2]);
    assert!(world.ground().extend(&chain, link.clone()).is_none());
    assert_eq!(world.leads_to(&[link]), None);
}

/// Whoever decided once, and does not any more, leads nobody on who knows better.
#[test]
fn a_chain_leads_on_by_those_who_decide_where_one_stands() {
    let (mut world, _) = two_links();
    let decided = |policy: &[u8]| {
        let facilitators = policy.iter().map(|who| keys(*who).persona()).collect();
        let members = (0..4).map(|who| keys(who).persona()).collect();
        Arc::new(NodePolicy { facilitators, members, ..NodePolicy::default() })
    };
    let at = world.node.facts().depth();
    let state = world.log.state_at(&world.node.facts().binding.heads, &world.places);
    world.say(1, charter("Later"));
    let by_two = world.commit(&[0, 1]);
    let leads_on = |policy: &[u8], depth, chain: &[Link]| {
        let elders = Elders { places: Arc::new(world.places.clone()), ..Elders::default() };
        world.ground().leads_on(&Anchor { policy: &decided(policy), depth, state: &state, elders: &elders }, chain)
    };
    assert!(leads_on(&[0, 1, 2], at, std::slice::from_ref(&by_two)));
    assert!(!leads_on(&[1, 2, 3], at, std::slice::from_ref(&by_two)), "one of three");
    assert!(!leads_on(&[0, 1, 2], at + 1, std::slice::from_ref(&by_two)), "nothing later");
    assert!(!leads_on(&[0, 1, 2], at, &[]));
    // A founder who was removed since still leads from Genesis.
    let alone = world.link(&[0]);
    assert!(world.leads_to(std::slice::from_ref(&alone)).is_some());
    assert!(!leads_on(&[1, 2], at, &[alone]));
}

#[test]
fn a_chain_of_another_group_leads_nowhere() {
    let (world, chain) = two_links();
    let other = World { mls: ModelMls::new([2; 32]), ..World::new() };
    assert!(other.ground().verify(&chain).is_none(), "the same Genesis, and ops that are not here");
    let elsewhere = GroupId([9; 32]);
    assert!(Ground { group: &elsewhere, ..world.ground() }.verify(&chain).is_none());
}

/// The founder let three in by name and is gone; they name two of them on its last commit.
#[test]
fn a_recover_is_shown_by_the_node_that_it_is_about() {
    let mut world = World::new();
    for who in 1..=3 {
        let (subject, name) = (keys(who).persona(), format!("p{who}"));
        world.say(0, OpBody::Add { subject, name, role: Role::Member, key_package: vec![who; 4].into() });
    }
    let about = world.commit(&[0]);
    let (base, policy) = (world.node.facts().node, {
        let state = world.log.state_at(&world.log.heads(), &world.places);
        Arc::new(state.node_policy())
    });
    let state = world.log.state_at(&world.log.heads(), &world.places);
    let mut facilitators = vec![keys(1).persona(), keys(2).persona()];
    facilitators.sort_unstable();
    world.settled.insert(base, Arc::clone(&policy));
    let heads = world.log.heads();
    for who in 1..=3 {
        let body = OpBody::Recover { base, facilitators: facilitators.clone() };
        let at = At { heads: &world.log.heads(), node: base };
        let op = world.log.make(&keys(who), at, body).unwrap();
        world.log.insert(op).unwrap();
    }
    let by_one = world.commit(&[1]);
    let named = world.link(&[1, 2]);
    let depth = world.node.facts().depth();

    let short = world.ground().extend(&[], about.clone()).unwrap();
    assert!(world.ground().extend(&[], named.clone()).is_none(), "nothing tells whose roster decided");
    assert!(world.ground().extend(&short, by_one).is_none(), "one of the two, and no other member");
    let chain = world.ground().extend(&short, named.clone()).unwrap();
    assert_eq!((chain.len(), world.leads_to(&chain)), (2, Some(world.node.facts().node)));
    assert_eq!(world.leads_to(&[named]), None);
    let elders = world.ground().verify(&chain).unwrap().elders(Arc::new(world.places.clone()));
    assert_eq!(elders.settled.keys().collect::<Vec<_>>(), [&base]);

    // What shows it stays, whoever signs later.
    world.say(1, charter("Ours"));
    let later = world.commit(&[0, 1, 2]);
    let longer = world.ground().extend(&chain, later).unwrap();
    assert_eq!(longer.len(), 3);
    assert!(world.leads_to(&longer).is_some());
    // Who was there when they were asked is led on; who knows of no such roster is not.
    let last = |last| Elders { places: Arc::new(world.places.clone()), last, ..Elders::default() };
    let leads_on = |elders: &Elders| {
        world.ground().leads_on(&Anchor { policy: &policy, depth: depth - 1, state: &state, elders }, &chain)
    };
    assert_eq!(state.heads, heads);
    assert!(leads_on(&last(Some((base, Arc::clone(&policy))))));
    assert!(!leads_on(&last(None)));
}
