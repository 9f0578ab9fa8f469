//! The invariants, checked after everything has healed.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::mls::Mls;
use hearth_node::app::{Answer, Command, MessageRow};

use super::{World, script::Story};

/// A broken invariant.
#[derive(Clone, Debug, thiserror::Error)]
#[error("seed {seed}: {what}")]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// Which invariant, and how.
    pub what: String,
}

impl Failure {
    pub(crate) fn new(seed: u64, what: impl Into<String>) -> Self {
        Self { seed, what: what.into() }
    }
}

impl<M: Mls> World<M> {
    /// Invariants 1, 2, 3, 4, 5 and 6 of the quality page.
    pub(crate) fn check(&mut self, seed: u64, story: &Story) -> Result<(), Failure> {
        let fail = |what: String| Err(Failure::new(seed, what));
        let members: Vec<usize> = (0..self.nodes.len()).filter(|n| !story.removed.contains(n)).collect();
        for node in &members {
            if story.persona.get(*node).is_none_or(|p| p.is_none()) {
                return fail(format!("(0) node {node} never came in"));
            }
            if !self.is_member(story, *node) {
                return fail(format!("(6) node {node} is out, and nobody removed it"));
            }
        }
        for node in &story.removed {
            if self.is_member(story, *node) {
                return fail(format!("(6) node {node} was removed and does not know"));
            }
        }
        let mut tips = BTreeMap::new();
        for node in &members {
            let Some(Answer::Tip { node: tip, epoch, authenticator_hash, members_hash, policy_heads }) =
                self.query(*node, Command::DebugTip { group: story.group })
            else {
                return fail(format!("(3) node {node} has no tip"));
            };
            tips.insert(*node, (tip, epoch, authenticator_hash, members_hash, policy_heads));
        }
        let distinct: BTreeSet<_> = tips.values().collect();
        if distinct.len() != 1 {
            let show: Vec<_> = tips
                .iter()
                .map(|(n, t)| {
                    format!("{n}: {:?} epoch {} auth {} roster {} heads {}", t.0, t.1, &t.2[..6], &t.3[..6], t.4.len())
                })
                .collect();
            return fail(format!("(3) tips differ: {}", show.join("; ")));
        }
        let rows: BTreeMap<usize, Vec<MessageRow>> = members.iter().map(|n| (*n, self.all_rows(*n, story))).collect();
        let total: usize = story.said.len();
        for said in &story.said {
            let own = rows.get(&said.author).is_some_and(|r| r.iter().any(|m| m.message == said.message));
            if members.contains(&said.author) && !own {
                return fail(format!("(1) a message of node {} is gone from its own disk ({total} said)", said.author));
            }
        }
        self.check_complete(seed, story, &rows)?;
        for (node, at) in self.nodes.iter().enumerate() {
            if let Some((_, times)) = at.announced.iter().find(|(_, times)| **times > 1) {
                return fail(format!("(2) node {node} was told of one message {times} times"));
            }
        }
        self.check_order(seed, &rows)
    }

    /// (1) Whoever was in where a message was said has it, whoever wrote it.
    fn check_complete(&self, seed: u64, story: &Story, rows: &BTreeMap<usize, Vec<MessageRow>>) -> Result<(), Failure> {
        for (node, have) in rows {
            let have: BTreeSet<_> = have.iter().map(|m| m.message).collect();
            let since = story.since.get(*node).copied().unwrap_or(u64::MAX);
            for (at, said) in story.said.iter().enumerate() {
                let owed = said.epoch >= since && rows.contains_key(&said.author);
                if owed && !have.contains(&said.message) {
                    let what = format!(
                        "(1) node {node} lacks message {at} of node {} (has {} of {})",
                        said.author,
                        have.len(),
                        story.said.len()
                    );
                    return Err(Failure::new(seed, what));
                }
            }
        }
        Ok(())
    }

    /// (5) Common messages stand in the same order, with the same content, everywhere.
    fn check_order(&self, seed: u64, rows: &BTreeMap<usize, Vec<MessageRow>>) -> Result<(), Failure> {
        let shape = |r: &MessageRow| (r.message, r.text.clone(), r.edited, r.retracted, format!("{:?}", r.reactions));
        for (a, of_a) in rows {
            for (b, of_b) in rows {
                let in_a: BTreeSet<_> = of_a.iter().map(|r| r.message).collect();
                let in_b: BTreeSet<_> = of_b.iter().map(|r| r.message).collect();
                if in_a != in_b {
                    continue;
                }
                let left: Vec<_> = of_a.iter().map(shape).collect();
                let right: Vec<_> = of_b.iter().map(shape).collect();
                if left != right {
                    return Err(Failure::new(
                        seed,
                        format!("(5) nodes {a} and {b} show the same messages differently"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn all_rows(&mut self, node: usize, story: &Story) -> Vec<MessageRow> {
        let command = Command::MessageList {
            group: story.group,
            topic: None,
            before: None,
            after: None,
            limit: Some(500),
            newest: None,
        };
        match self.query(node, command) {
            Some(Answer::Messages { messages }) => messages,
            _ => Vec::new(),
        }
    }
}
