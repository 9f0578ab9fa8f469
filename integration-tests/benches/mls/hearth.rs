//! Our port, as the engine uses it: a child beside its parent, facts and rows included, every commit judged by policy.

use std::collections::BTreeMap;

use hearth_crypto::{
    mls::{Binding, CommitFacts, CommitPlan, Mls as _, MlsNode, NodeFacts, Rows, Suite},
    openmls_port::{OpenMls, OpenMlsNode},
    persona::DeviceKeys,
    policy::{At, PolicyLog, genesis, judge},
};
use hearth_protocol::{
    id::{NodeId, PersonaId},
    op::{JoinMode, OpBody, Role},
};

use crate::{Bench, TEXT, device, table};

/// A group whose founder added everybody in one commit.
struct Lab {
    mls: OpenMls,
    suite: Suite,
    log: PolicyLog,
    elders: BTreeMap<PersonaId, (u64, u32)>,
    /// The founder's node, and the second member's.
    founder: OpenMlsNode,
    second: OpenMlsNode,
    /// A binding that the policy log gives after one more Add, and that Add's KeyPackage.
    grown: (Binding, Vec<u8>),
    /// The same after the last member's Remove.
    shrunk: Binding,
}

fn bind(log: &PolicyLog, elders: &BTreeMap<PersonaId, (u64, u32)>, network: Option<NodeId>) -> Binding {
    let heads = log.heads();
    let roster_root = log.state_at(&heads, elders).roster_root(elders);
    Binding { heads, roster_root, network, first_day: 20_000, generation: 0 }
}

fn say(log: &mut PolicyLog, by: &DeviceKeys, node: NodeId, body: OpBody) {
    let op = log.make(by, At { heads: &log.heads(), node }, body).unwrap();
    log.insert(op).unwrap();
}

fn add(package: &[u8], who: &DeviceKeys) -> OpBody {
    OpBody::Add {
        subject: who.persona(),
        name: "Quiet Heron".to_owned(),
        role: Role::Member,
        key_package: package.to_vec(),
    }
}

impl Lab {
    fn new(suite: Suite, members: usize) -> Self {
        let mls = OpenMls::new();
        let founder = device(0);
        let mut log = PolicyLog::new();
        let body = OpBody::Genesis {
            name: "Circle".to_owned(),
            charter: String::new(),
            template: None,
            join: JoinMode::Open,
            history_days: 7,
            suite: suite.code(),
            relays: vec![],
            founder: "Warm Lamp".to_owned(),
            salt: [1; 16],
        };
        log.insert(genesis(&founder, body)).unwrap();
        let mut elders = BTreeMap::from([(founder.persona(), (0, 0))]);
        let root = mls.create(&founder, &[5; 32], suite, &bind(&log, &elders, None)).unwrap();
        let network = root.facts().node;
        let mut adds = Vec::new();
        let mut private = Rows::new();
        for n in 1..members {
            let keys = device(n);
            let (package, rows) = mls.key_package(&keys, suite).unwrap();
            say(&mut log, &founder, network, add(&package, &keys));
            elders.insert(keys.persona(), (1, n as u32));
            if n == 1 {
                private = rows;
            }
            adds.push(package);
        }
        let binding = bind(&log, &elders, Some(network));
        let plan = CommitPlan { adds, removes: vec![], binding: Some(binding) };
        let made = root.commit(&founder, &plan, &mut rand::rng()).unwrap();
        let welcome = made.welcome.unwrap();
        table::size("Welcome of everybody", suite, members, welcome.len());
        let second = mls.join_welcome(&device(1), &private, &welcome).unwrap();
        let keys = device(members);
        let package = mls.key_package(&keys, suite).unwrap().0;
        let mut more = log.clone();
        say(&mut more, &founder, network, add(&package, &keys));
        let grown = (bind(&more, &elders, Some(network)), package);
        let mut less = log.clone();
        let gone = OpBody::Remove { subject: device(members - 1).persona(), reason: String::new(), last: vec![] };
        say(&mut less, &founder, network, gone);
        let shrunk = bind(&less, &elders, None);
        Self { mls, suite, log, elders, founder: made.child, second, grown, shrunk }
    }

    /// What the engine does with every commit, own or received, before it believes it.
    fn judge(&self, facts: &CommitFacts, parent: &NodeFacts, child: &NodeFacts) {
        let state = self.log.state_at(&parent.binding.heads, &self.elders);
        let on = judge::Parent {
            node: parent.node,
            binding: &parent.binding,
            leaves: &parent.leaves,
            state: &state,
            seniority: &self.elders,
            settled: &[],
            light_nodes: 0,
        };
        judge::commit(&self.log, &on, facts, &child.binding).unwrap();
    }

    fn commit(&self, plan: &CommitPlan) -> (Vec<u8>, OpenMlsNode) {
        let made = self.founder.commit(&device(0), plan, &mut rand::rng()).unwrap();
        (made.commit, made.child)
    }

    fn add_plan(&self) -> CommitPlan {
        let (binding, package) = self.grown.clone();
        CommitPlan { adds: vec![package], removes: vec![], binding: Some(binding) }
    }

    fn remove_plan(&self) -> CommitPlan {
        let last = self.founder.facts().leaves.last().unwrap().index;
        CommitPlan { adds: vec![], removes: vec![last], binding: Some(self.shrunk.clone()) }
    }
}

fn bytes(rows: &Rows) -> usize {
    rows.iter().map(|(key, value)| key.len() + value.len()).sum()
}

pub(crate) fn run(bench: &mut Bench<'_>) {
    let lab = Lab::new(bench.suite, bench.members);
    let (suite, members) = (bench.suite, bench.members);
    bench.time("self-update", || (), |()| lab.commit(&CommitPlan::default()));
    bench.time("add", || lab.add_plan(), |plan| lab.commit(&plan));
    bench.time("remove", || lab.remove_plan(), |plan| lab.commit(&plan));

    let (frame, child) = lab.commit(&CommitPlan::default());
    table::size("self-update", suite, members, frame.len());
    table::size("add", suite, members, lab.commit(&lab.add_plan()).0.len());
    table::size("rows of a node", suite, members, bytes(&child.rows()));
    bench.time(
        "process a self-update",
        || (),
        |()| {
            let (facts, child) = lab.second.apply(&frame).unwrap();
            lab.judge(&facts, lab.second.facts(), child.facts());
            child
        },
    );
    let door = lab.founder.group_info(&device(0)).unwrap();
    table::size("GroupInfo of a door", suite, members, door.len());
    let joiner = device(members);
    bench.time("external join", || (), |()| lab.mls.join_external(&joiner, &door, b"a Join").unwrap());
    let (join, _) = lab.mls.join_external(&joiner, &door, b"a Join").unwrap();
    table::size("external join", suite, members, join.len());

    // Deriving keys is no part of a message.
    let keys = device(0);
    let mut at_a = lab.mls.load(lab.founder.rows()).unwrap();
    bench.time(
        "encrypt 1 KiB",
        || (),
        |()| {
            let sealed = at_a.encrypt(&keys, &TEXT).unwrap();
            (sealed, at_a.take_changes())
        },
    );
    let mut at_a = lab.mls.load(lab.founder.rows()).unwrap();
    let mut at_b = lab.mls.load(lab.second.rows()).unwrap();
    let mut written = 0;
    bench.time(
        "decrypt 1 KiB",
        || at_a.encrypt(&keys, &TEXT).unwrap(),
        |sealed| {
            let opened = at_b.decrypt(&sealed).unwrap();
            let changes = at_b.take_changes();
            written = changes.values().flatten().map(Vec::len).sum();
            opened
        },
    );
    table::size("rows written per message read", suite, members, written);
    table::window(lab.suite, members, &lab.second, &lab.founder);
}
