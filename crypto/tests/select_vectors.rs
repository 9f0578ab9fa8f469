//! The published commit DAGs have the tips that `select` finds, and no file was changed by hand.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

#[path = "select_vectors/draw.rs"]
mod draw;

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

fn cases() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol-spec/vectors/select.json");
    let read: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(read["about"], draw::ABOUT);
    read["cases"].as_array().unwrap().clone()
}

#[test]
fn every_tip_follows_from_its_dag() {
    let cases = cases();
    assert_eq!(cases.len() as u64, draw::CASES, "run the generator");
    for (case, n) in cases.iter().zip(0..) {
        assert_eq!(case["in"], draw::draw(n), "{}: run the generator", case["name"]);
        assert_eq!(draw::compute(&case["in"]).as_ref(), Some(&case["out"]), "{}", case["name"]);
    }
}

/// Lists are sets: another order is the same input.
#[test]
fn the_order_of_the_lists_decides_nothing() {
    for case in cases() {
        let mut turned = case["in"].clone();
        for list in ["nodes", "revocations", "signatures", "nacks"] {
            turned[list].as_array_mut().unwrap().reverse();
        }
        assert_eq!(draw::compute(&turned).as_ref(), Some(&case["out"]), "{}", case["name"]);
    }
}

/// A vector that no rule decides shows nothing: the set as a whole meets forks, certificates, conflicts and Nacks.
#[test]
fn the_dags_meet_every_kind_of_decision() {
    let cases = cases();
    let with = |what: &dyn Fn(&Value) -> bool| cases.iter().filter(|c| what(c)).count();
    let some = |list: &Value| !list.as_array().unwrap().is_empty();
    assert!(with(&|c| some(&c["out"]["certified"])) >= 10);
    assert!(with(&|c| some(&c["out"]["conflicts"])) >= 1);
    assert!(with(&|c| some(&c["out"]["void"])) >= 1);
    let forked = |c: &Value| {
        let parents: Vec<_> = c["in"]["nodes"].as_array().unwrap().iter().map(|n| n["parent"].to_string()).collect();
        parents.len() > parents.iter().collect::<BTreeSet<_>>().len()
    };
    assert!(with(&forked) >= 50);
    for without in ["signatures", "revocations", "nacks"] {
        let changed = with(&|c| {
            let mut other = c["in"].clone();
            other[without] = Value::Array(Vec::new());
            draw::compute(&other).unwrap()["tip"] != c["out"]["tip"]
        });
        assert!(changed >= 2, "{without} decide in {changed} of them");
    }
}
