//! Writes `vectors/*.json`. Run it when the wire format changes, and read the difference before you commit it:
//! `cargo run --release -p hearth-protocol --example vectors`.

#[path = "../tests/vectors/compute.rs"]
mod compute;
#[path = "../tests/vectors/inputs.rs"]
mod inputs;

use std::{fs, io, path::Path};

use serde_json::json;

fn main() -> io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors");
    fs::create_dir_all(&folder)?;
    for file in inputs::files() {
        let mut cases = Vec::new();
        for (name, kind, input) in file.cases {
            let out = compute::compute(kind, &input)
                .ok_or_else(|| io::Error::other(format!("{}: {name}: inputs of another kind", file.name)))?;
            cases.push(json!({ "name": name, "kind": kind, "in": input, "out": out }));
        }
        let text = serde_json::to_string_pretty(&json!({ "about": file.about, "cases": cases }))?;
        fs::write(folder.join(format!("{}.json", file.name)), text + "\n")?;
    }
    Ok(())
}
