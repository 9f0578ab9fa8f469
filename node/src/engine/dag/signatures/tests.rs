use hearth_crypto::{
    mls::{Binding, Mls, MlsNode, Suite},
    model::ModelMls,
    persona::DeviceKeys,
    policy::{self, PolicyLog},
};
use hearth_protocol::{
    frame::{NodeSignature, signature_message},
    id::{GroupId, NodeId},
    op::{JoinMode, OpBody},
};

use super::{
    super::{Dag, Origin},
    EARLY,
};

type Model = <ModelMls as Mls>::Node;

fn founded() -> (DeviceKeys, GroupId, PolicyLog, Dag<Model>) {
    let mls = ModelMls::new([1; 32]);
    let keys = DeviceKeys::from_seed(&[7; 64]);
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
    log.insert(genesis).unwrap();
    let (heads, state) = (log.heads(), log.state_at(&log.heads(), &()));
    let roster_root = state.roster_root(&());
    let binding = Binding { heads, roster_root, network: None, first_day: 0, generation: 0, began: 0, epoch: 0 };
    let root = mls.create(&keys, &[3; 32], Suite::Classic, &binding).unwrap();
    let info = root.group_info(&keys).unwrap();
    let dag = Dag::new(root, Origin { info, ..Origin::default() }, &log);
    (keys, group, log, dag)
}

fn sign(keys: &DeviceKeys, group: &GroupId, node: NodeId) -> NodeSignature {
    NodeSignature { node, persona: keys.persona(), sig: keys.sign_as_persona(&signature_message(group, &node)) }
}

#[test]
fn only_a_members_own_word_about_this_group_and_node_counts() {
    let (keys, group, _, mut dag) = founded();
    let good = sign(&keys, &group, dag.base);
    let stranger = DeviceKeys::from_seed(&[8; 64]);
    let elsewhere = sign(&keys, &GroupId([9; 32]), dag.base);
    let other_node = NodeSignature { node: dag.base, ..sign(&keys, &group, NodeId([9; 32])) };
    let in_their_name = NodeSignature { persona: keys.persona(), ..sign(&stranger, &group, dag.base) };
    for bad in [elsewhere, other_node, in_their_name, sign(&stranger, &group, dag.base)] {
        assert!(!dag.offer_signature(&group, &bad), "{bad:?}");
    }
    assert_eq!(dag.came(), (1, 0));
    assert!(dag.offer_signature(&group, &good));
    assert!(!dag.offer_signature(&group, &good), "a copy is no news");
    assert_eq!(dag.telling_signatures(), [good]);
}

#[test]
fn what_waits_for_its_node_is_bounded_and_nothing_counts_before_it_is_here() {
    let (keys, group, _, mut dag) = founded();
    for n in 0..=EARLY {
        let mut node = [0; 32];
        node[..8].copy_from_slice(&(n as u64 + 1).to_be_bytes());
        assert!(
            !dag.offer_signature(&group, &NodeSignature { node: NodeId(node), persona: keys.persona(), sig: [0; 64] })
        );
    }
    assert_eq!(dag.early_signatures().count(), EARLY);
    assert_eq!(dag.retry_signatures(&group), []);
    assert_eq!((dag.came(), dag.early_signatures().count()), ((1, 0), EARLY));
}

#[test]
fn nobody_signs_the_first_node_which_is_final_by_itself() {
    let (keys, _, log, mut dag) = founded();
    dag.reselect(&log);
    assert_eq!((dag.certified, dag.tip), (dag.base, dag.base));
    assert_eq!(dag.to_sign(&log, &keys.persona()), None);
    assert_eq!(dag.decides(&keys.persona()), Some(true));
    assert_eq!(dag.decides(&DeviceKeys::from_seed(&[8; 64]).persona()), None);
    assert_eq!(dag.leaves_at(&log, &keys.persona()), dag.base);
}
