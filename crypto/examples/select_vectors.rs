//! Writes `protocol-spec/vectors/select.json`. Run it when the selection rule changes, and read the difference before
//! you commit it: `cargo run --release -p hearth-crypto --example select_vectors`.

#[path = "../tests/select_vectors/draw.rs"]
mod draw;

use std::{fs, io, path::Path};

use serde_json::json;

fn main() -> io::Result<()> {
    let mut cases = Vec::new();
    for n in 0..draw::CASES {
        let input = draw::draw(n);
        let out = draw::compute(&input).ok_or_else(|| io::Error::other(format!("case {n} is not of this form")))?;
        cases.push(json!({ "name": format!("dag {n}"), "kind": "select", "in": input, "out": out }));
    }
    // One case a line: the differences stay readable.
    let lines: Vec<String> = cases.iter().map(|case| format!("    {case}")).collect();
    let about = json!(draw::ABOUT);
    let text = format!("{{\n  \"about\": {about},\n  \"cases\": [\n{}\n  ]\n}}\n", lines.join(",\n"));
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol-spec/vectors/select.json"), text)
}
