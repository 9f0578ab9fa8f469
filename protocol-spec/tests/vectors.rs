//! The published vectors hold: every output follows from its inputs, and no file was changed by hand.

#[path = "vectors/compute.rs"]
mod compute;
#[path = "vectors/inputs.rs"]
mod inputs;

use serde_json::Value;

fn read(name: &str) -> std::io::Result<Value> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(format!("{name}.json"));
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

fn holds(case: &Value) -> bool {
    let Some(kind) = case["kind"].as_str() else { return false };
    compute::compute(kind, &case["in"]).as_ref() == case.get("out")
}

#[test]
fn every_output_follows_from_its_inputs() {
    for file in inputs::files() {
        let vectors = read(file.name).unwrap();
        assert_eq!(vectors["about"], file.about);
        let cases = vectors["cases"].as_array().unwrap();
        assert_eq!(cases.len(), file.cases.len(), "{}: run the generator", file.name);
        for (case, (name, kind, input)) in cases.iter().zip(&file.cases) {
            assert!(holds(case), "{}: {}", file.name, case["name"]);
            assert_eq!((&case["name"], &case["kind"], &case["in"]), (&(*name).into(), &(*kind).into(), input));
            assert!(
                case["out"].as_object().unwrap().values().all(|v| v != &Value::Bool(false)),
                "{}: {name}: its bytes do not read back",
                file.name
            );
        }
    }
}

/// Changes the first letter or digit of every text, every number and every truth value, one at a time.
fn alterations(value: &Value) -> Vec<Value> {
    match value {
        Value::String(text) if !text.is_empty() => {
            let first = if text.starts_with('0') { "1" } else { "0" };
            vec![Value::String(format!("{first}{}", text.chars().skip(1).collect::<String>()))]
        }
        Value::Number(number) => number.as_u64().map(|n| Value::from(n ^ 1)).into_iter().collect(),
        Value::Bool(yes) => vec![Value::Bool(!yes)],
        Value::Array(items) => each(items.iter().enumerate(), |i, altered| {
            let mut items = items.clone();
            items[i] = altered;
            Value::Array(items)
        }),
        Value::Object(fields) => each(fields.iter(), |key, altered| {
            let mut fields = fields.clone();
            fields.insert(key.clone(), altered);
            Value::Object(fields)
        }),
        _ => vec![],
    }
}

fn each<'a, K>(items: impl Iterator<Item = (K, &'a Value)>, put: impl Fn(K, Value) -> Value) -> Vec<Value>
where
    K: Clone,
{
    items
        .flat_map(|(key, value)| alterations(value).into_iter().map(|v| put(key.clone(), v)).collect::<Vec<_>>())
        .collect()
}

#[test]
fn an_altered_output_is_noticed() {
    let mut tried = 0;
    for file in inputs::files() {
        for case in read(file.name).unwrap()["cases"].as_array().unwrap() {
            for altered in alterations(&case["out"]) {
                let mut changed = case.clone();
                changed["out"] = altered;
                assert!(!holds(&changed), "{}: {}", file.name, case["name"]);
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn an_altered_input_is_noticed() {
    for file in inputs::files().into_iter().filter(|f| f.name != "refused") {
        for case in read(file.name).unwrap()["cases"].as_array().unwrap() {
            for altered in alterations(&case["in"]) {
                let mut changed = case.clone();
                changed["in"] = altered;
                assert!(!holds(&changed), "{}: {}: {}", file.name, case["name"], changed["in"]);
            }
        }
    }
}
