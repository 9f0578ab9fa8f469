use hearth_crypto::{
    chain::mls_group_id,
    mls::{Binding, CommitPlan, MlsNode, Suite},
    model::{ModelMls, ModelNode},
    persona::DeviceKeys,
    policy::{self, At, PolicyLog},
};
use hearth_protocol::{
    frame::{CommitFrame, NodeSignature, signature_message},
    op::{JoinMode, OpBody},
};
use rand::SeedableRng;

use super::*;
use crate::engine::dag::Offered;

/// A founder's DAG, and the log that it realises.
pub(in crate::engine) struct Alone {
    pub(in crate::engine) mls: ModelMls,
    pub(in crate::engine) keys: DeviceKeys,
    pub(in crate::engine) group: GroupId,
    pub(in crate::engine) log: PolicyLog,
    pub(in crate::engine) dag: Dag<ModelNode>,
}

fn charter(n: usize) -> OpBody {
    let charter = Some(format!("number {n}").into());
    OpBody::SetPolicy { charter, history_days: None, slow_mode_s: None, shield: None, relays: None, successors: None }
}

impl Alone {
    pub(in crate::engine) fn new() -> Self {
        let (mls, keys) = (ModelMls::new([1; 32]), DeviceKeys::from_seed(&[7; 64]));
        let body = OpBody::Genesis {
            name: "Tuesday".into(),
            charter: String::new().into(),
            template: None,
            join: JoinMode::Open,
            history_days: 0,
            suite: Suite::Classic.code(),
            relays: Vec::new(),
            founder: "Ada".into(),
            salt: [0; 16],
        };
        let genesis = policy::genesis(&keys, body);
        let group = GroupId(genesis.id().0);
        let mut log = PolicyLog::for_group(group);
        log.insert(genesis.clone()).unwrap();
        let roster_root = log.state_at(&log.heads(), &()).roster_root(&());
        let heads = log.heads();
        let binding = Binding { heads, roster_root, network: None, first_day: 0, generation: 0, began: 0, epoch: 0 };
        let root = mls.create(&keys, &mls_group_id(&genesis, 0), Suite::Classic, &binding).unwrap();
        let info = root.group_info(&keys).unwrap();
        let dag = Dag::new(root, Origin { info, ..Origin::default() }, &log);
        Self { mls, keys, group, log, dag }
    }

    /// A commit that writes a new charter in. Returns its frame.
    pub(in crate::engine) fn commit(&mut self, n: usize) -> CommitFrame {
        let (frame, child) = self.make(self.dag.tip, n);
        let Offered::Accepted(node) = self.dag.offer(&self.mls, &mut self.log, frame.clone()) else {
            panic!("refused")
        };
        self.dag.nodes.get_mut(&node).unwrap().state = Some(child);
        self.dag.reselect(&self.log);
        frame
    }

    /// The same on any node, and not taken in.
    pub(in crate::engine::dag) fn make(&mut self, at: NodeId, n: usize) -> (CommitFrame, ModelNode) {
        let op = self.log.make(&self.keys, At { heads: &self.log.heads(), node: at }, charter(n)).unwrap();
        self.log.insert(op).unwrap();
        let entry = &self.dag.nodes[&at];
        let elders = &entry.elders;
        let roster_root = self.log.state_at(&self.log.heads(), elders).roster_root(elders);
        let network = Some(entry.network);
        let (heads, epoch) = (self.log.heads(), entry.facts.epoch + 1);
        let binding = Binding { heads, roster_root, network, first_day: 0, generation: 0, began: 0, epoch };
        let plan = CommitPlan { binding: Some(binding), ..CommitPlan::default() };
        let mut rng = rand_chacha::ChaCha20Rng::from_seed([9; 32]);
        let own = entry.state.as_ref().unwrap().commit(&self.keys, &plan, &mut rng).unwrap();
        (CommitFrame { parent: at, commit: own.commit }, own.child)
    }

    /// Signs the tip.
    pub(in crate::engine) fn sign(&mut self) {
        let (node, persona) = (self.dag.tip, self.keys.persona());
        let sig = self.keys.sign_as_persona(&signature_message(&self.group, &node));
        assert!(self.dag.offer_signature(&self.group, &NodeSignature { node, persona, sig }));
        self.dag.reselect(&self.log);
    }

    fn later_base(&self) -> Option<NodeId> {
        self.dag.later_base((&self.mls, &self.group, &self.log), &self.keys).map(|(node, _)| node)
    }

    fn move_base(&mut self) -> Option<Left> {
        self.dag.move_base((&self.mls, &self.group, &self.log), &self.keys)
    }
}

#[test]
fn only_what_was_signed_itself_can_be_shown_to_be_final() {
    let mut alone = Alone::new();
    assert_eq!(alone.later_base(), None);
    alone.commit(0);
    assert_eq!(alone.later_base(), None, "nobody signed it");
    alone.sign();
    let signed = alone.dag.tip;
    assert_eq!(alone.later_base(), Some(signed));
    alone.commit(1);
    assert_eq!(alone.later_base(), Some(signed));
}

#[test]
fn the_base_moves_when_what_is_left_is_far_above_and_the_rest_stays() {
    let mut alone = Alone::new();
    let first = alone.commit(0);
    let early = alone.dag.tip;
    alone.sign();
    alone.commit(1);
    for n in 2..RETAIN as usize {
        assert!(alone.move_base().is_none(), "{n}");
        alone.commit(n);
    }
    assert!(alone.move_base().is_none());
    alone.commit(RETAIN as usize);
    let (tip, genesis, weight) = (alone.dag.tip, alone.dag.base, alone.dag.weight());
    let left = alone.move_base().unwrap();
    assert_eq!((left.nodes, left.frames), (vec![genesis], vec![(1, first.id())]));
    assert_eq!((alone.dag.base, alone.dag.base_depth(), alone.dag.tip), (early, 1, tip));
    assert!(alone.dag.weight() < weight);
    assert_eq!(alone.dag.frames_in_order().len(), RETAIN as usize);
    alone.dag.reselect(&alone.log);
    assert_eq!((alone.dag.tip, alone.dag.certified), (tip, early), "the same tip from a later base");
    // What was left behind comes again, and changes nothing.
    let came = alone.dag.came();
    assert_eq!(alone.dag.offer(&alone.mls, &mut alone.log, first), Offered::Known);
    assert_eq!((alone.dag.is_waiting(), alone.dag.came()), (false, came));
    // It goes on from there.
    alone.commit(99);
    alone.sign();
    assert_eq!(alone.later_base(), Some(alone.dag.tip));
}

#[test]
fn what_is_of_a_time_after_the_base_waits_for_its_parent() {
    let (mut one, mut other) = (Alone::new(), Alone::new());
    one.commit(0);
    let second = one.commit(1);
    assert_eq!(other.dag.offer(&other.mls, &mut other.log, second), Offered::Waiting);
}
