//! The tables at the end: medians and ratios of this run, sizes, and what a window of nodes costs.

use std::{collections::BTreeMap, fs, path::Path, sync::Mutex};

use hearth_crypto::{
    mls::{CommitPlan, MlsNode as _, Suite},
    openmls_port::OpenMlsNode,
};

use crate::{Tree, device};

/// Nodes of a window that is measured.
const WINDOW: usize = 16;

/// Suite, members, tree.
type Group = (Suite, usize, Tree);

static SIZES: Mutex<Vec<(String, String, usize, usize)>> = Mutex::new(Vec::new());

pub(crate) fn kind(suite: Suite, tree: Tree) -> String {
    let tree = match tree {
        Tree::Full => "full tree",
        Tree::Blank => "blank tree",
    };
    format!("{:#06x}, {tree}", suite.code())
}

/// Notes how many bytes something has.
pub(crate) fn size(what: &str, (suite, members, tree): Group, bytes: usize) {
    SIZES.lock().unwrap().push((what.to_owned(), kind(suite, tree), members, bytes));
}

/// `VmRSS` in bytes.
fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
}

/// What a member holds who followed a chain of self-updates of another.
pub(crate) fn window(of: Group, follower: OpenMlsNode, mut author: OpenMlsNode) {
    let before = resident();
    let mut kept = vec![follower];
    let mut rows = 0;
    for _ in 0..WINDOW {
        let made = author.commit(&device(0), &CommitPlan::default(), &mut rand::rng()).unwrap();
        let child = kept.last().unwrap().apply(&made.commit).unwrap().1;
        rows += child.rows().values().map(Vec::len).sum::<usize>();
        kept.push(child);
        author = made.child;
    }
    size("window of 16 nodes: rows", of, rows);
    size("window of 16 nodes: memory", of, resident().saturating_sub(before));
}

/// Median of a benchmark of this run, in nanoseconds.
fn median(folder: &Path) -> Option<f64> {
    let text = fs::read_to_string(folder.join("new/estimates.json")).ok()?;
    serde_json::from_str::<serde_json::Value>(&text).ok()?["median"]["point_estimate"].as_f64()
}

/// Every figure that criterion left in its folder, by step and members, then by library.
fn figures() -> BTreeMap<(String, usize), BTreeMap<String, f64>> {
    let root = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), std::path::PathBuf::from);
    let mut out: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    let list =
        |path: &Path| -> Vec<_> { fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect() };
    let name = |path: &Path| path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    for step in list(&root.join("criterion")) {
        for who in list(&step) {
            for size in list(&who) {
                let (Ok(members), Some(time)) = (name(&size).parse(), median(&size)) else { continue };
                out.entry((name(&step), members)).or_default().insert(name(&who), time);
            }
        }
    }
    out
}

/// Prints the tables in Markdown.
pub(crate) fn print() {
    println!(
        "\n| step, group | members | hearth ms | openmls ms | mls-rs ms | ÷ openmls | ÷ mls-rs |\n|---|---|---|---|---|---|---|"
    );
    for ((step, members), by) in figures() {
        let Some(ours) = by.get("hearth") else { continue };
        let millis = |who: &str| by.get(who).map_or_else(|| "–".to_owned(), |t| format!("{:.2}", t / 1_000_000.0));
        let ratio = |who: &str| by.get(who).map_or_else(|| "–".to_owned(), |t| format!("{:.2}", ours / t));
        let (openmls, mls_rs) = (millis("openmls"), millis("mls-rs"));
        let ours = millis("hearth");
        println!("| {step} | {members} | {ours} | {openmls} | {mls_rs} | {} | {} |", ratio("openmls"), ratio("mls-rs"));
    }
    println!("\n| size | group | members | bytes |\n|---|---|---|---|");
    for (what, group, members, bytes) in SIZES.lock().unwrap().iter() {
        println!("| {what} | {group} | {members} | {bytes} |");
    }
}
