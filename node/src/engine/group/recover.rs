//! New facilitators for a group whose own have been silent for a season.

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    id::PersonaId,
    op::{OpBody, Role},
};

use super::{Group, ask::motion};
use crate::{
    app::{Answer, Kind, Refusal},
    engine::ctx::Ctx,
};

/// For so many days nothing that a facilitator signed has come.
const SILENT_DAYS: u64 = 90;

const STILL_HERE: Refusal = Refusal::new(
    Kind::NotPermitted,
    "a facilitator was here less than 90 days ago: until then only facilitators name others",
);
const OUT_OF_TOUCH: Refusal =
    Refusal::new(Kind::Offline, "nobody can be reached: a facilitator may have been here meanwhile. Try again later");
const NO_MORE: Refusal = Refusal::new(Kind::NotPermitted, "this group has recovered too often: begin a new one");

impl<M: Mls> Group<M> {
    /// Signs that these are the facilitators from now on. No rule of the log knows of a clock, so each device keeps
    /// its own: it signs only after a season in which it heard of no facilitator.
    pub(crate) fn recover(
        &mut self,
        mut facilitators: Vec<PersonaId>,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<Answer, Refusal> {
        self.must_be_joined()?;
        let facilitates = self.view.role_of(&self.me()) == Some(Role::Facilitator);
        if facilitates || ctx.today().0.saturating_sub(self.facilitated.0) < SILENT_DAYS {
            return Err(STILL_HERE);
        }
        // Who was away itself hears first what others did.
        if !self.is_in_touch() || self.is_catching_up(ctx) {
            return Err(OUT_OF_TOUCH);
        }
        facilitators.sort_unstable();
        facilitators.dedup();
        let (base, roll) = self.dag.tip_entry().and_then(|tip| tip.elders.last.clone()).ok_or(NO_MORE)?;
        let (_, standing) = self.decide(OpBody::Recover { base, facilitators }, ctx)?;
        Ok(motion(standing, roll.members.len() / 2 + 1))
    }

    /// Somebody signed something that was not here yet.
    pub(super) fn heard_from(&mut self, persona: &PersonaId, ctx: &mut Ctx<'_, M>) {
        if self.facilitated < ctx.today() && self.view.role_of(persona) == Some(Role::Facilitator) {
            self.facilitated = ctx.today();
            self.save_group(ctx);
        }
    }
}
