//! Our port, as the engine uses it: a child beside its parent, facts and rows included, every commit judged by policy.

use std::collections::BTreeMap;

use hearth_crypto::{
    mls::{Binding, CommitFacts, CommitPlan, Leaf, Mls as _, MlsNode, NodeFacts, OwnCommit, Rows, Suite},
    openmls_port::{OpenMls, OpenMlsNode},
    persona::DeviceKeys,
    policy::{At, PolicyLog, genesis, judge},
};
use hearth_protocol::{
    id::{NodeId, OpId, PersonaId},
    op::{JoinMode, OpBody, Role},
};

use crate::{Bench, TEXT, Tree, device, table};

/// A group of which two members are at hand, as rows.
struct Lab {
    mls: OpenMls,
    keys: DeviceKeys,
    log: PolicyLog,
    elders: BTreeMap<PersonaId, (u64, u32)>,
    founder: Rows,
    second: Rows,
    /// A KeyPackage, the rows that open a Welcome to it, and the binding that its Add gives.
    newcomer: (Vec<u8>, Rows, Binding),
    /// The leaf of a member who is removed, and the binding that its Remove gives.
    leaver: (Leaf, Binding),
}

/// What a node binds whose policy heads are these.
fn bind(
    (log, elders): (&PolicyLog, &BTreeMap<PersonaId, (u64, u32)>),
    heads: &[OpId],
    network: Option<NodeId>,
    epoch: u64,
) -> Binding {
    let roster_root = log.state_at(heads, elders).roster_root(elders);
    Binding { heads: heads.to_vec(), roster_root, network, first_day: 20_000, generation: 0, began: 0, epoch }
}

/// The op's id, which is the only head after it.
fn say(log: &mut PolicyLog, heads: &[OpId], node: NodeId, body: OpBody) -> [OpId; 1] {
    let op = log.make(&device(0), At { heads, node }, body).unwrap();
    let id = op.id();
    log.insert(op).unwrap();
    [id]
}

fn add(package: &[u8], who: &DeviceKeys) -> OpBody {
    OpBody::Add {
        subject: who.persona(),
        name: "Quiet Heron".to_owned(),
        role: Role::Member,
        key_package: package.to_vec().into(),
    }
}

/// Everybody comes in from outside, as by a link, the two at hand last.
fn come(mls: &OpenMls, first: OpenMlsNode, members: usize) -> (OpenMlsNode, OpenMlsNode) {
    let (mut at, mut last) = (first, 2);
    for n in (3..members).chain([0]) {
        let door = at.group_info(&device(last)).unwrap();
        (at, last) = (mls.join_external(&device(n), &door, b"a Join").unwrap().1, n);
    }
    let door = at.group_info(&device(0)).unwrap();
    let (join, second) = mls.join_external(&device(1), &door, b"a Join").unwrap();
    (at.apply(&join).unwrap().1, second)
}

/// What `by` commits, with the Welcome.
fn commit(at: &OpenMlsNode, by: &DeviceKeys, plan: &CommitPlan) -> OwnCommit<OpenMlsNode> {
    at.commit(by, plan, &mut rand::rng()).unwrap()
}

impl Lab {
    fn new(suite: Suite, members: usize, tree: Tree) -> Self {
        let mls = OpenMls::new();
        let founder = device(0);
        let mut log = PolicyLog::new();
        let body = OpBody::Genesis {
            name: "Circle".to_owned(),
            charter: String::new().into(),
            template: None,
            join: JoinMode::Open,
            history_days: 7,
            suite: suite.code(),
            relays: vec![],
            founder: "Warm Lamp".to_owned(),
            salt: [1; 16],
        };
        let first = genesis(&founder, body);
        let mut heads = [first.id()];
        log.insert(first).unwrap();
        let mut elders = BTreeMap::from([(founder.persona(), (0, 0))]);
        let creator = device(if tree == Tree::Full { 2 } else { 0 });
        let root = mls.create(&creator, &[5; 32], suite, &bind((&log, &elders), &heads, None, 0)).unwrap();
        let network = root.facts().node;
        let mut packages = Vec::new();
        for n in 1..members {
            let keys = device(n);
            let (package, rows) = mls.key_package(&keys, suite).unwrap();
            heads = say(&mut log, &heads, network, add(&package, &keys));
            elders.insert(keys.persona(), (1, n as u32));
            packages.push((package, rows));
        }
        let binding = Some(bind((&log, &elders), &heads, Some(network), 1));
        let (at, second) = match tree {
            Tree::Full => {
                let first = commit(&root, &creator, &CommitPlan { adds: vec![], removes: vec![], binding });
                come(&mls, first.child, members)
            }
            Tree::Blank => {
                let adds = packages.iter().map(|(package, _)| package.clone()).collect();
                let made = commit(&root, &creator, &CommitPlan { adds, removes: vec![], binding });
                let welcome = made.welcome.unwrap();
                table::size("Welcome of everybody", (suite, members, tree), welcome.len());
                let second = mls.join_welcome(&device(1), &packages[0].1, &welcome).unwrap();
                (made.child, second)
            }
        };
        let gone = device(members - 1);
        let leaf = *at.facts().leaves.iter().find(|leaf| leaf.device == gone.device()).unwrap();
        let remove = OpBody::Remove { subject: gone.persona(), reason: String::new(), last: vec![] };
        let less = say(&mut log, &heads, network, remove);
        let leaver = (leaf, bind((&log, &elders), &less, None, at.facts().epoch + 1));
        let keys = device(members);
        let (package, private) = mls.key_package(&keys, suite).unwrap();
        let more = say(&mut log, &heads, network, add(&package, &keys));
        let newcomer = (package, private, bind((&log, &elders), &more, Some(network), at.facts().epoch + 1));
        let (founder, second) = (at.rows(), second.rows());
        Self { mls, keys: device(0), log, elders, founder, second, newcomer, leaver }
    }

    /// A member as the engine has it: the tip is in memory, since its parent's child was made there.
    fn load(&self, rows: &Rows) -> OpenMlsNode {
        self.mls.load(rows.clone()).unwrap()
    }

    /// What the engine does with every commit, own or received, before it believes it.
    fn judge(&self, facts: &CommitFacts, parent: &NodeFacts, child: &NodeFacts) {
        let state = self.log.state_at(&parent.binding.heads, &self.elders);
        let on = judge::Parent {
            node: parent.node,
            epoch: parent.epoch,
            binding: &parent.binding,
            network: parent.binding.network.unwrap_or(parent.node),
            leaves: &parent.leaves,
            state: &state,
            seniority: &self.elders,
            light_nodes: 0,
        };
        judge::commit(&self.log, &on, facts, &child.binding).unwrap();
    }

    /// An own commit, until its rows can be written and its bytes sent; the parent's end is not timed.
    fn commit(&self, at: OpenMlsNode, plan: &CommitPlan) -> (OwnCommit<OpenMlsNode>, Rows, OpenMlsNode) {
        let made = commit(&at, &self.keys, plan);
        let added = |package: &Vec<u8>| self.mls.inspect_key_package(package, at.facts().suite).unwrap();
        let leaves = &at.facts().leaves;
        let facts = CommitFacts {
            author: *leaves.iter().find(|leaf| leaf.device == self.keys.device()).unwrap(),
            external: false,
            adds: plan.adds.iter().map(added).collect(),
            removes: leaves.iter().filter(|leaf| plan.removes.contains(&leaf.index)).copied().collect(),
            changes_binding: plan.binding.is_some(),
            aad: vec![],
        };
        self.judge(&facts, at.facts(), made.child.facts());
        let rows = made.child.rows();
        (made, rows, at)
    }

    /// Another's commit, until the child's rows can be written.
    fn apply(&self, at: OpenMlsNode, frame: &[u8]) -> (OpenMlsNode, Rows, OpenMlsNode) {
        let (facts, child) = at.apply(frame).unwrap();
        self.judge(&facts, at.facts(), child.facts());
        let rows = child.rows();
        (child, rows, at)
    }

    fn add_plan(&self) -> CommitPlan {
        let (package, _, binding) = self.newcomer.clone();
        CommitPlan { adds: vec![package], removes: vec![], binding: Some(binding) }
    }

    fn remove_plan(&self) -> CommitPlan {
        let (leaf, binding) = self.leaver.clone();
        CommitPlan { adds: vec![], removes: vec![leaf.index], binding: Some(binding) }
    }
}

fn bytes(rows: &Rows) -> usize {
    rows.iter().map(|(key, value)| key.len() + value.len()).sum()
}

pub(crate) fn run(bench: &mut Bench<'_>) {
    let lab = Lab::new(bench.suite, bench.members, bench.tree);
    let of = (bench.suite, bench.members, bench.tree);
    let founder = || lab.load(&lab.founder);
    let second = || lab.load(&lab.second);
    let update = commit(&founder(), &lab.keys, &CommitPlan::default());
    table::size("self-update", of, update.commit.len());
    let added = commit(&founder(), &lab.keys, &lab.add_plan());
    table::size("commit that adds one", of, added.commit.len());
    table::size("commit that removes one", of, commit(&founder(), &lab.keys, &lab.remove_plan()).commit.len());
    let welcome = added.welcome.unwrap();
    table::size("Welcome of one", of, welcome.len());
    let door = founder().group_info(&device(0)).unwrap();
    table::size("GroupInfo of a door", of, door.len());
    let joiner = device(bench.members);
    let (join, _) = lab.mls.join_external(&joiner, &door, b"a Join").unwrap();
    table::size("external join", of, join.len());
    table::size("rows of a node", of, bytes(&second().apply(&update.commit).unwrap().1.rows()));
    table::window(of, second(), founder());

    if bench.sizes_only {
        return;
    }
    bench.time("self-update", founder, |at| lab.commit(at, &CommitPlan::default()));
    bench.time("process a self-update", second, |at| lab.apply(at, &update.commit));
    if bench.tree == Tree::Blank {
        return;
    }
    bench.time("add", || (founder(), lab.add_plan()), |(at, plan)| lab.commit(at, &plan));
    bench.time("remove", || (founder(), lab.remove_plan()), |(at, plan)| lab.commit(at, &plan));
    bench.time("process an add", second, |at| lab.apply(at, &added.commit));
    let private = &lab.newcomer.1;
    bench.time("join by Welcome", || (), |()| lab.mls.join_welcome(&joiner, private, &welcome).unwrap());
    bench.time("external join", || (), |()| lab.mls.join_external(&joiner, &door, b"a Join").unwrap());
    bench.time("load from rows", || lab.second.clone(), |rows| lab.mls.load(rows).unwrap());

    let mut at_a = founder();
    bench.time(
        "encrypt 1 KiB",
        || (),
        |()| {
            let sealed = at_a.encrypt(&lab.keys, &TEXT).unwrap();
            (sealed, at_a.take_changes())
        },
    );
    let (mut at_a, mut at_b) = (founder(), second());
    let mut written = 0;
    bench.time(
        "decrypt 1 KiB",
        || at_a.encrypt(&lab.keys, &TEXT).unwrap(),
        |sealed| {
            let opened = at_b.decrypt(&sealed).unwrap();
            let changes = at_b.take_changes();
            written = changes.values().flatten().map(Vec::len).sum();
            opened
        },
    );
    table::size("rows written per message read", of, written);
}
