//! The invariants, checked after everything has healed.

use std::collections::{BTreeMap, BTreeSet};

use hearth_crypto::mls::Mls;
use hearth_node::app::{Answer, Command, MessageRow, Notice};
use hearth_protocol::id::{NodeId, PersonaId};

use super::{Node, World, script::Story};

/// A broken invariant.
#[derive(Clone, Debug, thiserror::Error)]
#[error("({invariant}) {what}")]
pub struct Failure {
    /// Its number on the list in [`World::check`]; 0 when a world did not even begin.
    pub invariant: u8,
    /// How it is broken.
    pub what: String,
}

impl Failure {
    pub(crate) fn new(invariant: u8, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

type Rows = BTreeMap<usize, Vec<MessageRow>>;

impl<M: Mls> World<M> {
    /// The invariants that can be seen from outside once all has healed:
    /// (1) no saved message is lost, nor one that a relay holds; (2) none is told twice, across restarts too;
    /// (3) all share tip, roster and epoch authenticator; (4) who was removed reads nothing from those who processed
    /// it, who joined nothing from before; (5) an author's order is kept, and all show the same; (6) nobody is in or
    /// out but by a decision, and changes are shown.
    ///
    /// While the world runs, [`World::unbroken`] watches (8), no queue grows without bound, and (9), no readable text
    /// leaves a node. (7), secrets outside their window are gone, takes weeks: it has a test of its own.
    pub(crate) fn check(&mut self, story: &Story) -> Result<(), Failure> {
        self.check_agreed(story)?;
        self.check_final(story)
    }

    /// The same, except that the common tip need not be final yet.
    pub(crate) fn check_agreed(&mut self, story: &Story) -> Result<(), Failure> {
        let members: Vec<usize> = (0..self.nodes.len()).filter(|n| !story.removed.contains(n)).collect();
        let here: Vec<usize> = members.iter().copied().filter(|n| story.gone != Some(*n)).collect();
        self.check_membership(story, &here)?;
        self.check_tips(story, &here)?;
        self.check_roster(story, &here)?;
        let rows: Rows = here.iter().map(|n| (*n, self.all_rows(*n, story))).collect();
        self.check_complete(story, &rows)?;
        for (node, at) in self.nodes.iter().enumerate() {
            if let Some((_, times)) = at.announced.iter().find(|(_, times)| **times > 1) {
                return Err(Failure::new(2, format!("node {node} was told of one message {times} times")));
            }
        }
        self.check_secrecy(story, &rows)?;
        self.check_order(story, &rows)
    }

    /// Whether everybody who is up has everything, while the world is still rough.
    pub(crate) fn check_now(&mut self, story: &Story) -> Result<(), Failure> {
        let up: Vec<usize> = (0..self.nodes.len()).filter(|n| self.is_up(*n)).collect();
        let rows: Rows = up.iter().map(|n| (*n, self.all_rows(*n, story))).collect();
        self.check_complete(story, &rows)
    }

    fn check_membership(&mut self, story: &Story, here: &[usize]) -> Result<(), Failure> {
        for node in here {
            if story.persona.get(*node).is_none_or(|p| p.is_none()) {
                return Err(Failure::new(6, format!("node {node} never came in")));
            }
            if !self.is_member(story, *node) {
                return Err(Failure::new(6, format!("node {node} is out, and nobody removed it")));
            }
        }
        for node in story.removed.iter().filter(|n| story.gone != Some(**n)) {
            if self.is_member(story, *node) {
                return Err(Failure::new(6, format!("node {node} was removed and does not know")));
            }
        }
        Ok(())
    }

    fn check_tips(&mut self, story: &Story, here: &[usize]) -> Result<(), Failure> {
        let rivals = |n: &Node<M>| n.engine.as_ref().map_or(0, |e| e.rival_certificates());
        if self.nodes.iter().any(|n| rivals(n) > 0) {
            return Err(Failure::new(3, "rival nodes are final, and nobody broke the signing rule"));
        }
        let mut tips = BTreeMap::new();
        for node in here {
            let Some(Answer::Tip { node: tip, epoch, authenticator_hash, members_hash, policy_heads }) =
                self.query(*node, Command::DebugTip { group: story.group })
            else {
                return Err(Failure::new(3, format!("node {node} has no tip")));
            };
            tips.insert(*node, (tip, epoch, authenticator_hash, members_hash, policy_heads));
        }
        if tips.values().collect::<BTreeSet<_>>().len() == 1 {
            return self.check_realised(story, here);
        }
        let show = |(n, t): (&usize, &(_, u64, String, String, Vec<_>))| {
            let short = |text: &str| text.chars().take(6).collect::<String>();
            format!("{n}: {:?} epoch {} auth {} roster {} heads {}", t.0, t.1, short(&t.2), short(&t.3), t.4.len())
        };
        Err(Failure::new(3, format!("tips differ: {}", tips.iter().map(show).collect::<Vec<_>>().join("; "))))
    }

    /// What was decided is in force where everybody is.
    fn check_realised(&self, story: &Story, here: &[usize]) -> Result<(), Failure> {
        let engine = |node: &usize| self.nodes.get(*node)?.engine.as_ref();
        let open = here.iter().find(|node| engine(node).is_some_and(|e| e.unrealised(&story.group) > 0));
        match open {
            Some(node) => Err(Failure::new(3, format!("node {node} waits in vain for a commit by what was decided"))),
            None => Ok(()),
        }
    }

    fn check_final(&mut self, story: &Story) -> Result<(), Failure> {
        let stays = |n: &usize| !story.removed.contains(n) && story.gone.is_none();
        for node in (0..self.nodes.len()).filter(stays) {
            let tip = self.query(node, Command::DebugTip { group: story.group });
            let certified = self.nodes.get(node).and_then(|n| n.engine.as_ref()?.certified(&story.group));
            if let Some(Answer::Tip { node: tip, .. }) = tip
                && certified != Some(tip)
            {
                return Err(Failure::new(3, format!("the tip of node {node} is not final")));
            }
        }
        Ok(())
    }

    fn check_roster(&mut self, story: &Story, here: &[usize]) -> Result<(), Failure> {
        // Whose join was lost with a fork offers it again, unless it is gone.
        let engine = here.first().and_then(|n| self.nodes.get(*n)?.engine.as_ref());
        let lost = |tip: NodeId| engine.is_some_and(|e| !e.is_on_the_way(&story.group, &tip));
        let outside = story.gone.filter(|_| story.gone_at.is_none_or(lost));
        let stays = |n: &usize| !story.removed.contains(n) && outside != Some(*n);
        let personas = (0..self.nodes.len()).filter(stays).filter_map(|n| story.persona.get(n).copied().flatten());
        let expected: BTreeSet<_> = personas.chain(story.guests.iter().copied()).collect();
        for node in here {
            let Some(Answer::Group { members, .. }) = self.query(*node, Command::GroupShow { group: story.group })
            else {
                return Err(Failure::new(6, format!("node {node} shows no group")));
            };
            let shown: BTreeSet<_> = members.iter().map(|m| m.persona).collect();
            // A member who is gone for good may have come in without anybody having noted it.
            if !expected.is_subset(&shown) || shown.len() > expected.len() + usize::from(story.gone.is_some()) {
                let what = format!("node {node} shows {} members instead of {}", shown.len(), expected.len());
                return Err(Failure::new(6, what));
            }
        }
        if self.nodes.first().is_none_or(|n| n.life > 1) {
            // A notice may be lost with a process: the list is read anew at the next start.
            return Ok(());
        }
        let told: BTreeSet<_> = self.nodes.first().into_iter().flat_map(|n| &n.notices).filter_map(changed).collect();
        let untold = |persona: &PersonaId| !told.contains(persona);
        let came = story.persona.iter().skip(1).flatten().copied();
        match came.filter(untold).count() {
            0 => Ok(()),
            n => Err(Failure::new(6, format!("the founder was never told of {n} members"))),
        }
    }

    /// Who was in where a message was said has it, whoever wrote it; an author's own is on the author's disk. Of an
    /// author who is gone, what a relay has is owed, and what only members have, unless one of them was removed.
    fn check_complete(&self, story: &Story, rows: &Rows) -> Result<(), Failure> {
        for (node, have) in rows {
            let have: BTreeSet<_> = have.iter().map(|m| m.message).collect();
            let since = story.since.get(*node).copied().unwrap_or(u64::MAX);
            for (at, said) in story.said.iter().enumerate() {
                let at_relay = self.nodes.get(said.author).and_then(|n| n.held.get(&said.message));
                let held = at_relay.is_some_and(|relay| *relay || story.removed.is_empty());
                let left = rows.contains_key(&said.author) || (story.gone == Some(said.author) && held);
                let was_in = said.depth >= since && !said.outside.contains(node);
                let owed = said.author == *node || (was_in && left);
                if owed && !have.contains(&said.message) {
                    let (have, all) = (have.len(), story.said.len());
                    let what = format!("node {node} lacks message {at} of node {} (has {have} of {all})", said.author);
                    return Err(Failure::new(1, what));
                }
            }
        }
        Ok(())
    }

    fn check_secrecy(&mut self, story: &Story, rows: &Rows) -> Result<(), Failure> {
        for node in &story.removed {
            let have: BTreeSet<_> = self.all_rows(*node, story).iter().map(|m| m.message).collect();
            if let Some(said) = story.said.iter().find(|s| s.without.contains(node) && have.contains(&s.message)) {
                let what = format!("node {node} was removed and reads what node {} said after it", said.author);
                return Err(Failure::new(4, what));
            }
        }
        let forked = |n: &Notice| matches!(n, Notice::ForkResolved { .. });
        if self.nodes.iter().flat_map(|n| &n.notices).any(forked) {
            // Epochs of two branches do not compare.
            return Ok(());
        }
        for (node, have) in rows {
            let have: BTreeSet<_> = have.iter().map(|m| m.message).collect();
            let entered = self.nodes.get(*node).and_then(|n| n.entered).unwrap_or(0);
            if story.said.iter().any(|s| s.depth < entered && have.contains(&s.message)) {
                return Err(Failure::new(4, format!("node {node} reads what was said before it came in")));
            }
        }
        Ok(())
    }

    fn check_order(&self, story: &Story, rows: &Rows) -> Result<(), Failure> {
        let shape = |r: &MessageRow| (r.message, r.text.clone(), r.edited, r.retracted, format!("{:?}", r.reactions));
        for (node, have) in rows {
            let place: BTreeMap<_, _> = have.iter().enumerate().map(|(i, m)| (m.message, i)).collect();
            // Of an author who is gone, what lies between two messages may be lost, and with it what comes first where
            // clocks are days apart.
            for author in (0..self.nodes.len()).filter(|n| story.gone != Some(*n)) {
                let own = story.said.iter().filter(|s| s.author == author);
                let places: Vec<_> = own.filter_map(|s| place.get(&s.message)).collect();
                if !places.is_sorted() {
                    return Err(Failure::new(5, format!("node {node} shows node {author}'s messages out of order")));
                }
            }
        }
        for (a, of_a) in rows {
            for (b, of_b) in rows.range(a + 1..) {
                let in_a: BTreeSet<_> = of_a.iter().map(|r| r.message).collect();
                let in_b: BTreeSet<_> = of_b.iter().map(|r| r.message).collect();
                let differs = of_a.iter().map(shape).zip(of_b.iter().map(shape)).find(|(a, b)| a != b);
                if let Some((at_a, at_b)) = differs.filter(|_| in_a == in_b) {
                    let what = format!("nodes {a} and {b} show the same messages differently: {at_a:?} and {at_b:?}");
                    return Err(Failure::new(5, what));
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

fn changed(notice: &Notice) -> Option<PersonaId> {
    match notice {
        Notice::MemberChanged { persona, .. } => Some(*persona),
        _ => None,
    }
}
