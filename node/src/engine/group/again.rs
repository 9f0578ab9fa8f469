//! Own decisions that a fork took along: they are said again, as far as they are still meant.

use std::collections::BTreeSet;

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    id::OpId,
    op::{OpBody, OpContent},
};

use super::Group;
use crate::engine::ctx::Ctx;

/// Own decisions are said again this long after they were lost with a fork: the join that they rest on may come back.
const DECIDE_AGAIN_MS: u64 = 30_000;

impl<M: Mls> Group<M> {
    /// Says own decisions again that rest on a join which lost its fork: no commit can write them, and nobody else knows
    /// that they are missing. Links are not made again: they name the op that is lost.
    pub(super) fn decide_again(&mut self, ctx: &mut Ctx<'_, M>) {
        // Who has no leaf is refused, and would not try again.
        if self.unrealised.outside == 0 || self.stranded {
            return;
        }
        let due = self.unrealised.since.plus_ms(DECIDE_AGAIN_MS);
        if due > ctx.now {
            return ctx.wake_at(due);
        }
        let known: BTreeSet<_> = self.log.closure(&self.unrealised.above).into_iter().collect();
        let me = self.me();
        let lost = self.log.ops_in_order().map(|(id, _)| id).filter(|id| !known.contains(id));
        let lost: Vec<_> = lost.filter_map(|id| Some((id, self.log.content(&id)?))).collect();
        let own = lost.into_iter().filter(|(id, op)| op.persona == me && !self.decided_again.contains(id));
        let own: Vec<_> = own.map(|(id, op)| (id, self.still_meant(op, &known))).collect();
        for (id, body) in own {
            self.decided_again.insert(id);
            if let Some(body) = body {
                // What has no effect any more is refused, and that is that.
                let _ = self.decide(body, ctx);
            }
        }
    }

    /// Own ops that are not said again after a start: those of a past that is final, or that is known no more. (Whoever
    /// stopped right after a fork healed has not said again what it lost.)
    pub(super) fn decided_for_good(&self) -> BTreeSet<OpId> {
        let own = self.log.ops_in_order().map(|(id, _)| id).filter(|id| {
            self.log.content(id).is_some_and(|op| {
                let (at, last) = (&op.at_node, &self.dag.certified);
                let is_past = at != last && self.dag.descends(last, at);
                op.persona == self.me() && (is_past || self.dag.entry(at).is_none())
            })
        });
        own.collect()
    }

    /// What an op of those that are decisions says, without what has been decided about the same since, be it by somebody
    /// who did not know of it.
    fn still_meant(&self, op: &OpContent, known: &BTreeSet<OpId>) -> Option<OpBody> {
        let since = known.iter().filter_map(|id| self.log.content(id)).filter(|c| c.lamport >= op.lamport);
        let since: Vec<_> = since.collect();
        match &op.body {
            OpBody::SetPolicy { .. } => Some(without_what_was_set(&op.body, &since)),
            OpBody::Remove { .. } | OpBody::SetRole { .. } | OpBody::Add { .. } | OpBody::InviteRevoke { .. } => {
                (!since.iter().any(|later| is_overtaken(op, later))).then(|| op.body.clone())
            }
            _ => None,
        }
    }
}

/// Whether a later decision takes the place of an earlier one, which is then not said again. Another's signature of the same
/// motion does not: it takes several.
fn is_overtaken(op: &OpContent, later: &OpContent) -> bool {
    let own = later.persona == op.persona;
    match (&op.body, &later.body) {
        (OpBody::Remove { subject, .. }, OpBody::Remove { subject: other, .. }) => own && subject == other,
        (OpBody::Remove { subject, .. }, OpBody::Add { subject: other, .. }) => subject == other,
        (OpBody::SetRole { subject, role }, OpBody::SetRole { subject: other, role: given }) => {
            subject == other && (own || role != given)
        }
        (OpBody::Add { subject, .. }, OpBody::Add { subject: other, .. })
        | (OpBody::Add { subject, .. } | OpBody::SetRole { subject, .. }, OpBody::Remove { subject: other, .. }) => {
            subject == other
        }
        (OpBody::Add { subject, .. }, OpBody::Join { .. } | OpBody::Leave) => *subject == later.persona,
        _ => false,
    }
}

/// Settings without those that have been set since.
fn without_what_was_set(settings: &OpBody, since: &[&OpContent]) -> OpBody {
    let OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors } = settings else {
        return settings.clone();
    };
    let set = |field: fn(&OpBody) -> bool| since.iter().any(|c| field(&c.body));
    macro_rules! kept {
        ($field:ident) => {
            $field.clone().filter(|_| !set(|body| matches!(body, OpBody::SetPolicy { $field: Some(_), .. })))
        };
    }
    OpBody::SetPolicy {
        charter: kept!(charter),
        history_days: kept!(history_days),
        slow_mode_s: kept!(slow_mode_s),
        shield: kept!(shield),
        relays: kept!(relays),
        successors: kept!(successors),
    }
}

#[cfg(test)]
mod tests {
    use hearth_protocol::{
        id::{DeviceId, GroupId, NodeId, PersonaId},
        op::Role,
    };

    use super::*;

    fn op(persona: u8, body: OpBody) -> OpContent {
        let (group, at_node, device) = (GroupId([0; 32]), NodeId([0; 32]), DeviceId([persona; 32]));
        OpContent { group, prev: vec![], lamport: 1, persona: PersonaId([persona; 32]), device, at_node, body }
    }

    fn settings(charter: Option<&str>, slow_mode_s: Option<u32>, shield: Option<bool>) -> OpBody {
        let (history_days, relays, successors) = (None, None, None);
        OpBody::SetPolicy { charter: charter.map(Into::into), history_days, slow_mode_s, shield, relays, successors }
    }

    #[test]
    fn settings_are_said_again_without_those_that_were_set_since() {
        let said = settings(Some("mine"), Some(60), None);
        let others = [op(2, settings(Some("theirs"), None, Some(true))), op(3, OpBody::Leave)];
        let since: Vec<_> = others.iter().collect();
        assert_eq!(without_what_was_set(&said, &since), settings(None, Some(60), None));
        assert_eq!(without_what_was_set(&said, &[]), said);
    }

    #[test]
    fn what_was_decided_about_somebody_since_stands() {
        let subject = PersonaId([9; 32]);
        let remove = || OpBody::Remove { subject, reason: String::new(), last: vec![] };
        let add = || OpBody::Add { subject, name: String::new(), role: Role::Member, key_package: vec![].into() };
        let role = |role| OpBody::SetRole { subject, role };
        let overtaken = |said: OpBody, by: u8, later: OpBody| is_overtaken(&op(1, said), &op(by, later));
        assert!(overtaken(remove(), 1, remove()), "said again already");
        assert!(!overtaken(remove(), 2, remove()), "another's signature of the same motion");
        assert!(overtaken(remove(), 2, add()));
        assert!(!overtaken(remove(), 9, OpBody::Leave));
        assert!(overtaken(add(), 2, remove()) && overtaken(add(), 2, add()) && overtaken(add(), 9, OpBody::Leave));
        assert!(!overtaken(add(), 8, OpBody::Leave), "somebody else left");
        assert!(overtaken(role(Role::Facilitator), 2, remove()));
        assert!(overtaken(role(Role::Facilitator), 2, role(Role::Member)));
        assert!(!overtaken(role(Role::Facilitator), 2, role(Role::Facilitator)));
        let other = OpBody::Remove { subject: PersonaId([8; 32]), reason: String::new(), last: vec![] };
        assert!(!overtaken(role(Role::Facilitator), 2, other));
    }
}
