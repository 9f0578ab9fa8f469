mod properties;
mod signing;
mod table;

use super::*;

/// A person, a node, a frame, an op: by number.
fn person(n: u8) -> PersonaId {
    PersonaId([n; 32])
}

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn frame(n: u8) -> FrameId {
    FrameId([n; 32])
}

fn policy(facilitators: u8, members: u8) -> Arc<NodePolicy> {
    let facilitators: BTreeSet<_> = (0..facilitators).map(person).collect();
    let members = facilitators.iter().copied().chain((100..100 + members).map(person)).collect();
    Arc::new(NodePolicy { facilitators, members, ..NodePolicy::default() })
}

/// A DAG being drawn: node 0 is the base; each node's frame has its number.
#[derive(Clone)]
struct Drawing {
    input: SelectionInput,
    policy: Arc<NodePolicy>,
}

impl Drawing {
    fn new(facilitators: u8, members: u8) -> Self {
        let policy = policy(facilitators, members);
        Self { input: SelectionInput::new(node(0), Arc::clone(&policy)), policy }
    }

    fn node(mut self, id: u8, parent: u8, author: u8, class: Class) -> Self {
        let info = NodeInfo {
            parent: node(parent),
            author: person(author),
            class,
            rank: u32::from(author),
            seniority: (u64::from(author), 0),
            slot: None,
            frames: BTreeSet::from([frame(id)]),
            valid: true,
            realises: BTreeSet::new(),
            policy: Arc::clone(&self.policy),
            recovered: None,
        };
        self.input.add(node(id), info);
        self
    }

    fn by(self, id: u8, parent: u8, author: u8) -> Self {
        self.node(id, parent, author, Class::Committer)
    }

    fn change(mut self, id: u8, change: impl FnOnce(&mut NodeInfo)) -> Self {
        change(self.input.nodes.get_mut(&node(id)).unwrap());
        self
    }

    fn realising(self, id: u8, op: u8) -> Self {
        self.change(id, |info| info.realises = BTreeSet::from([OpId([op; 32])]))
    }

    fn signed(mut self, id: u8, signers: &[u8]) -> Self {
        self.input.signatures.extend(signers.iter().map(|s| (node(id), person(*s))));
        self
    }

    fn nacked(mut self, id: u8, signers: &[u8]) -> Self {
        self.input.nacks.extend(signers.iter().map(|s| (frame(id), person(*s))));
        self
    }

    fn revoked(mut self, op: u8, subject: u8, kind: Revoked, at: u8) -> Self {
        let (ops, at_nodes) = (BTreeSet::from([OpId([op; 32])]), BTreeSet::from([node(at)]));
        self.input.revocations.insert(Revocation { ops, subject: person(subject), kind, at_nodes });
        self
    }

    fn removed(self, op: u8, subject: u8, at: u8) -> Self {
        self.revoked(op, subject, Revoked::Membership, at)
    }

    fn tip(&self) -> u8 {
        select(&self.input).tip.0[0]
    }
}
