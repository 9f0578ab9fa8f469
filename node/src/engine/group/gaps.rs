//! Gaps: envelopes of an author that must exist, as later ones are here. Most close by themselves; what gossip lost is
//! asked of linked members; what stays open is shown.

use std::collections::BTreeMap;

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    id::PersonaId,
    time::{Day, Timestamp},
};

use super::Group;
use crate::{
    app::Notice,
    engine::{ctx::Ctx, timeline::Kept},
};

/// Relays keep what is said this long ([R-82]).
const KEPT_DAYS: u64 = 30;

/// How long a gap may be before it is shown.
const SHOW_MS: u64 = 30_000;
/// And before linked members are asked; then again after twice as long each time, while nothing changes.
const ASK_MS: u64 = 3_000;
/// The longest wait between two questions: [`ASK_MS`] doubled so often.
const DOUBLINGS: u32 = 8;
/// Members asked at once.
const ASKED: usize = 2;

/// Gaps that are open.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Missing envelopes of each author, and since when so many.
    open: BTreeMap<PersonaId, (u64, Timestamp)>,
    shown: BTreeMap<PersonaId, u64>,
    /// What was unknown when linked members were asked last, how often they were asked about it, and when next.
    unknown: usize,
    asked: u32,
    ask_at: Timestamp,
    /// The last day before it was away for longer than relays keep what is said, the first time.
    pub(super) away: Option<Day>,
}

/// Whether what lies before the first envelope of an author that is here, said on a day, ought to be here: the author came
/// when this member was in (each by the depth of its first leaf); or else nobody can tell, and this member was away.
fn is_owed(came: Option<u64>, since: Option<u64>, said: Day, away: Option<Day>) -> bool {
    let came_later = came.zip(since).is_some_and(|(came, since)| came >= since);
    came_later || away.is_some_and(|away| said >= away)
}

impl<M: Mls> Group<M> {
    /// Relays are read again, for the first time since `synced`.
    pub(super) fn note_absence(&mut self, today: Day) {
        if today.0.saturating_sub(self.synced.0) > KEPT_DAYS {
            self.gaps.away.get_or_insert(self.synced);
        }
    }

    /// Shows gaps that stay.
    pub(super) fn show_gaps(&mut self, ctx: &mut Ctx<'_, M>) {
        let mut open: BTreeMap<PersonaId, u64> = BTreeMap::new();
        let elders = self.dag.tip_entry().map(|tip| &tip.elders);
        let came = |persona: &PersonaId| elders.and_then(|e| e.places.get(persona)).map(|(depth, _)| *depth);
        let (since, away) = (came(&self.me()), self.gaps.away);
        let whole = |first: &Kept| is_owed(came(&first.persona), since, first.sent_at.start().day(), away);
        for (persona, missing) in self.timeline.gaps(whole) {
            let sum = open.entry(persona).or_default();
            *sum = sum.saturating_add(missing);
        }
        let gaps = &mut self.gaps;
        gaps.open.retain(|p, _| open.contains_key(p));
        gaps.shown.retain(|p, _| open.contains_key(p));
        for (persona, missing) in open {
            let (count, since) = *gaps.open.entry(persona).or_insert((missing, ctx.now));
            if count != missing {
                gaps.open.insert(persona, (missing, ctx.now));
            } else if ctx.now.since(since) < SHOW_MS {
                ctx.wake_at(since.plus_ms(SHOW_MS));
            } else if gaps.shown.insert(persona, missing) != Some(missing) {
                ctx.notice(Notice::GapFound { group: self.id, persona, missing });
            }
        }
    }

    /// Asks linked members for what is missing. What is from before this member came stays so: it is asked about less
    /// and less.
    pub(super) fn ask_about_gaps(&mut self, ctx: &mut Ctx<'_, M>) {
        let unknown = self.timeline.unknown();
        if unknown != self.gaps.unknown {
            self.gaps.unknown = unknown;
            self.gaps.asked = 0;
            let soon = ctx.now.plus_ms(ASK_MS);
            if self.gaps.ask_at < ctx.now || self.gaps.ask_at > soon {
                self.gaps.ask_at = soon;
            }
        }
        if unknown == 0 {
            return;
        }
        if self.gaps.ask_at <= ctx.now {
            let linked: Vec<_> = self.links.greeted().collect();
            let turn = (self.gaps.asked as usize).wrapping_mul(ASKED);
            for link in linked.iter().cycle().skip(turn % linked.len().max(1)).take(ASKED.min(linked.len())) {
                self.sync_with(*link, ctx);
            }
            self.gaps.asked = self.gaps.asked.saturating_add(1);
            self.gaps.ask_at = ctx.now.plus_ms(ASK_MS << self.gaps.asked.min(DOUBLINGS));
        }
        ctx.wake_at(self.gaps.ask_at);
    }
}

#[cfg(test)]
mod tests;
