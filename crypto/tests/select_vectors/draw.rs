//! Random commit DAGs as JSON, the same on every machine, and what `select` must find in them. The generator and the
//! checker share it.

use std::{collections::BTreeSet, sync::Arc};

use hearth_crypto::select::{Class, NodeInfo, NodePolicy, Revocation, Revoked, SelectionInput, select};
use hearth_protocol::id::{FrameId, NodeId, OpId, PersonaId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

pub(crate) const ABOUT: &str = "commit DAGs and the tip that the selection rule picks. Ids are one byte, repeated 32 times. `base` is the last \
    certified node; a node without `policy` has that of the base; `rank`, `seniority` and `realises` are what its commit was judged to be";

/// How many there are.
pub(crate) const CASES: u64 = 64;

/// The inputs of case `n`.
pub(crate) fn draw(n: u64) -> Value {
    let mut rng = ChaCha8Rng::seed_from_u64(n);
    let facilitators = rng.random_range(1..=4u8);
    let members = rng.random_range(0..=3u8);
    let everybody: Vec<u8> = (0..facilitators).chain(0x80..0x80 + members).collect();
    let count = rng.random_range(3..=10u8);
    let revocations = (0..rng.random_range(0..=2u8)).map(|r| {
        let kind = ["membership", "left", "role"][rng.random_range(0..3)];
        let at = rng.random_range(0..=count / 2);
        json!({ "ops": [0xa0 + r], "subject": everybody[rng.random_range(0..everybody.len())], "kind": kind, "at_nodes": [at] })
    });
    let revocations: Vec<Value> = revocations.collect();
    let mut nodes = Vec::new();
    for id in 1..=count {
        // Mostly near the end, so that there are branches and not only a fan.
        let parent = id - 1 - rng.random_range(0..=(id - 1).min(2));
        let author = everybody[rng.random_range(0..everybody.len())];
        let facilitator = author < facilitators;
        let class = match rng.random_range(0..6u8) {
            0 => 2,
            1 => 3,
            _ => u8::from(!facilitator),
        };
        let rank = if facilitator { author } else { facilitators };
        let mut frames = vec![id];
        if rng.random_ratio(1, 8) {
            frames.push(0x40 + id);
        }
        let realises: Vec<u8> =
            (0..revocations.len() as u8).map(|r| 0xa0 + r).filter(|_| rng.random_ratio(1, 4)).collect();
        let mut node = json!({ "id": id, "parent": parent, "author": author, "class": class, "rank": rank,
            "seniority": [u64::from(author), u32::from(author)], "frames": frames, "valid": !rng.random_ratio(1, 10), "realises": realises });
        if class == 3 {
            node["slot"] = rng.random_range(0..3u32).into();
        }
        if facilitators > 1 && rng.random_ratio(1, 6) {
            // Here one facilitator fewer decides.
            let fewer: Vec<u8> = (0..facilitators - 1).collect();
            node["policy"] = json!({ "facilitators": fewer, "members": everybody });
        }
        nodes.push(node);
    }
    let mut pairs = |max: u8| -> Vec<Value> {
        (0..rng.random_range(0..=max))
            .map(|_| json!([rng.random_range(1..=count), everybody[rng.random_range(0..everybody.len())]]))
            .collect()
    };
    let (signatures, nacks) =
        (pairs(if n.is_multiple_of(2) { 2 } else { 7 }), pairs(if n.is_multiple_of(3) { 6 } else { 0 }));
    json!({ "base": 0, "base_policy": { "facilitators": (0..facilitators).collect::<Vec<u8>>(), "members": everybody },
        "nodes": nodes, "revocations": revocations, "signatures": signatures, "nacks": nacks })
}

/// What `select` finds; `None` when the inputs are not of this form.
pub(crate) fn compute(input: &Value) -> Option<Value> {
    let base_policy = policy(input.get("base_policy")?)?;
    let mut set = SelectionInput::new(NodeId(id(input.get("base")?)?), Arc::clone(&base_policy));
    for node in input.get("nodes")?.as_array()? {
        let info = NodeInfo {
            parent: NodeId(id(node.get("parent")?)?),
            author: PersonaId(id(node.get("author")?)?),
            class: [Class::Committer, Class::Member, Class::Update, Class::External]
                [usize::try_from(node.get("class")?.as_u64()?).ok().filter(|c| *c < 4)?],
            rank: u32::try_from(node.get("rank")?.as_u64()?).ok()?,
            seniority: (node["seniority"][0].as_u64()?, u32::try_from(node["seniority"][1].as_u64()?).ok()?),
            slot: node.get("slot").and_then(Value::as_u64).and_then(|slot| u32::try_from(slot).ok()),
            frames: ids(node.get("frames")?, FrameId)?,
            valid: node.get("valid")?.as_bool()?,
            realises: ids(node.get("realises")?, OpId)?,
            recovered: None,
            policy: match node.get("policy") {
                Some(own) => policy(own)?,
                None => Arc::clone(&base_policy),
            },
        };
        set.add(NodeId(id(node.get("id")?)?), info);
    }
    for revocation in input.get("revocations")?.as_array()? {
        set.revocations.insert(Revocation {
            ops: ids(revocation.get("ops")?, OpId)?,
            subject: PersonaId(id(revocation.get("subject")?)?),
            kind: match revocation.get("kind")?.as_str()? {
                "membership" => Revoked::Membership,
                "left" => Revoked::Left,
                "role" => Revoked::Role,
                _ => return None,
            },
            at_nodes: ids(revocation.get("at_nodes")?, NodeId)?,
        });
    }
    for pair in input.get("signatures")?.as_array()? {
        set.signatures.insert((NodeId(id(&pair[0])?), PersonaId(id(&pair[1])?)));
    }
    for pair in input.get("nacks")?.as_array()? {
        set.nacks.insert((FrameId(id(&pair[0])?), PersonaId(id(&pair[1])?)));
    }
    let found = select(&set);
    let bytes = |nodes: &mut dyn Iterator<Item = &NodeId>| nodes.map(|n| n.0[0]).collect::<Vec<u8>>();
    Some(json!({
        "tip": found.tip.0[0],
        "path": bytes(&mut found.path.iter()),
        "last_certified": found.last_certified.0[0],
        "certified": bytes(&mut found.certified.iter()),
        "void": bytes(&mut found.void.iter()),
        "conflicts": found.conflicts.iter().map(|c| c.ancestor.0[0]).collect::<Vec<u8>>(),
    }))
}

fn id(value: &Value) -> Option<[u8; 32]> {
    Some([u8::try_from(value.as_u64()?).ok()?; 32])
}

fn ids<T: Ord>(value: &Value, of: impl Fn([u8; 32]) -> T) -> Option<BTreeSet<T>> {
    value.as_array()?.iter().map(|v| id(v).map(&of)).collect()
}

fn policy(value: &Value) -> Option<Arc<NodePolicy>> {
    let (facilitators, members) = (ids(value.get("facilitators")?, PersonaId)?, ids(value.get("members")?, PersonaId)?);
    Some(Arc::new(NodePolicy { facilitators, members, ..NodePolicy::default() }))
}
