//! Who may say what, and what becomes of statements that contradict each other.

mod conflicts;
pub(crate) mod devices;
mod log;
mod model;
pub(crate) mod order;
mod quorum;
mod recover;
mod reference;
mod rights;
mod sentences;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hearth_protocol::{
    id::{NodeId, OpId, PersonaId},
    op::{JoinMode, OpBody, OpContent, Role, SignedOp, Template},
    time::Second,
};

use super::{At, InviteKeys, PolicyLog, PolicyState, Refusal, Seat, Seniority, genesis};
use crate::{persona::DeviceKeys, select::NodePolicy};

/// A group whose people are numbers; seniority follows the number.
pub(crate) struct Group {
    pub(crate) log: PolicyLog,
    pub(crate) seniority: Place,
}

/// Where a log is read: who came when, and who decides about a Recover on which node.
#[derive(Default)]
pub(crate) struct Place {
    pub(crate) elders: BTreeMap<PersonaId, (u64, u32)>,
    pub(crate) rolls: BTreeMap<NodeId, Arc<NodePolicy>>,
}

impl Seniority for Place {
    fn of(&self, persona: &PersonaId) -> Option<(u64, u32)> {
        self.elders.get(persona).copied()
    }

    fn all(&self) -> Vec<(PersonaId, (u64, u32))> {
        self.elders.all()
    }

    fn roll(&self, base: &NodeId) -> Option<Arc<NodePolicy>> {
        self.rolls.get(base).cloned()
    }
}

pub(crate) fn keys(who: u8) -> DeviceKeys {
    let mut seed = [who; 64];
    seed[32..].fill(who ^ 0x80);
    DeviceKeys::from_seed(&seed)
}

pub(crate) fn signed(who: u8, content: &OpContent) -> SignedOp {
    SignedOp::new(content, |message| keys(who).sign_as_persona(message))
}

pub(crate) fn id(who: u8) -> PersonaId {
    keys(who).persona()
}

pub(crate) fn founding(template: Option<Template>) -> OpBody {
    OpBody::Genesis {
        name: "Night watch".into(),
        charter: "Be kind".into(),
        template,
        join: JoinMode::Open,
        history_days: 7,
        suite: 3,
        relays: vec![],
        founder: "Founder".into(),
        salt: [1; 16],
    }
}

pub(crate) fn add(subject: u8, role: Role) -> OpBody {
    OpBody::Add { subject: id(subject), name: format!("Person {subject}"), role, key_package: vec![subject; 4].into() }
}

pub(crate) fn remove(subject: u8) -> OpBody {
    OpBody::Remove { subject: id(subject), reason: String::new(), last: vec![] }
}

pub(crate) fn set_role(subject: u8, role: Role) -> OpBody {
    OpBody::SetRole { subject: id(subject), role }
}

pub(crate) fn invite(secret: u8, uses: u32) -> OpBody {
    OpBody::Invite {
        join_pk: InviteKeys::from_secret(&[secret; 32]).join_pk(),
        door_pk: [9; 32],
        uses,
        role: Role::Member,
        expires: Second(1_000),
        mode: JoinMode::Open,
    }
}

pub(crate) fn charter(text: &str) -> OpBody {
    policy(Some(text), None)
}

pub(crate) fn shield(on: bool) -> OpBody {
    policy(None, Some(on))
}

fn policy(charter: Option<&str>, shield: Option<bool>) -> OpBody {
    OpBody::SetPolicy {
        charter: charter.map(Into::into),
        history_days: None,
        slow_mode_s: None,
        shield,
        relays: None,
        successors: None,
    }
}

impl Group {
    /// Facilitators 0, 1, … and then ordinary members, each added and promoted in turn.
    pub(crate) fn new(facilitators: u8, members: u8) -> Self {
        Self::with(facilitators, members, None)
    }

    /// Those who are here now decide about a Recover on `base`.
    pub(crate) fn ask_on(&mut self, base: NodeId) {
        let policy = Arc::new(self.state().node_policy());
        self.seniority.rolls.insert(base, policy);
    }

    pub(crate) fn with(facilitators: u8, members: u8, template: Option<Template>) -> Self {
        let mut log = PolicyLog::new();
        log.insert(genesis(&keys(0), founding(template))).unwrap();
        let elders = (0..100).map(|who| (id(who), (u64::from(who), u32::from(who)))).collect();
        let mut group = Self { log, seniority: Place { elders, ..Place::default() } };
        for who in 1..facilitators + members {
            group.say(0, add(who, Role::Member));
        }
        for who in 1..facilitators {
            for signer in 0..group.state().quorum() {
                group.say(signer as u8, set_role(who, Role::Facilitator));
            }
        }
        group
    }

    /// Says it knowing everything.
    pub(crate) fn say(&mut self, who: u8, body: OpBody) -> OpId {
        let heads = self.log.heads();
        self.say_on(who, &heads, body)
    }

    /// Says it knowing only what `heads` rest on.
    pub(crate) fn say_on(&mut self, who: u8, heads: &[OpId], body: OpBody) -> OpId {
        let op = self.log.make(&keys(who), At { heads, node: NodeId([7; 32]) }, body).unwrap();
        self.insert(op)
    }

    pub(crate) fn join_on(&mut self, who: u8, heads: &[OpId], secret: u8, seat: (OpId, u32)) -> OpId {
        let op = self.sign_join(who, heads, secret, seat);
        self.insert(op)
    }

    pub(crate) fn sign_join(&self, who: u8, heads: &[OpId], secret: u8, seat: (OpId, u32)) -> SignedOp {
        let seat = Seat { invite: seat.0, slot: seat.1, name: format!("Person {who}") };
        let invite = InviteKeys::from_secret(&[secret; 32]);
        self.log.make_join(&keys(who), &invite, At { heads, node: NodeId([7; 32]) }, seat).unwrap()
    }

    pub(crate) fn insert(&mut self, op: SignedOp) -> OpId {
        let id = op.id();
        assert!(self.log.insert(op).unwrap().accepted.contains(&id));
        id
    }

    pub(crate) fn heads(&self) -> Vec<OpId> {
        self.log.heads()
    }

    pub(crate) fn state(&self) -> PolicyState {
        self.log.state_at(&self.log.heads(), &self.seniority)
    }

    pub(crate) fn role(&self, who: u8) -> Option<Role> {
        self.state().role_of(&id(who))
    }

    pub(crate) fn refusal(&self, op: &OpId) -> Option<Refusal> {
        self.state().without_effect.get(op).copied()
    }
}
