//! What takes longer than one input: looking behind a link, and replies that wait for a relay.

use hearth_crypto::mls::Mls;
use hearth_protocol::{
    frame::Control,
    id::{GroupId, OpId},
    link::{InviteLink, LinkError},
    time::Timestamp,
};

use super::{
    Effects, Engine,
    ctx::Ctx,
    join::{Attempt, Entered, Next, Purpose},
    lane::{LaneCommand, LaneEvent},
};
use crate::app::{Answer, CommandId, Event, GroupState, Kind, Notice, Refusal, Secret};

/// How long `invite.create` waits for a relay to hold the door: its answer comes within ten seconds.
pub(super) const HELD_MS: u64 = 9_500;
/// How long `group.join` waits in all, from its first step to a relay that holds the join.
const STORED_MS: u64 = 43_000;

/// A reply that waits for a relay.
pub(super) enum Waiting {
    /// `invite.create`: until a relay holds the door.
    Door { group: GroupId, invite: OpId, link: String },
    /// `group.join`: until a relay or a member has stored the join.
    Stored { group: GroupId },
}

impl<M: Mls> Engine<M> {
    /// Begins to look behind a link.
    pub(super) fn begin(
        &mut self,
        link: &Secret,
        purpose: Purpose,
        command: CommandId,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Option<Result<Answer, Refusal>> {
        let link = match InviteLink::parse(link.expose()) {
            Ok(link) => link,
            Err(LinkError::Checksum) => {
                return Some(Err(Refusal::new(Kind::Invalid, "the link is damaged: copy it again, whole")));
            }
            Err(_) => return Some(Err(Refusal::new(Kind::Invalid, "this is not a Hearth invite link"))),
        };
        if link.expires <= now.second() {
            return Some(Err(Refusal::new(Kind::Expired, "this link has expired: ask for a new one")));
        }
        let id = link.group;
        let joined =
            self.groups.get(&id).is_some_and(|g| matches!(g.standing, GroupState::Joined | GroupState::Waiting));
        if self.attempts.contains_key(&id) {
            return Some(Err(Refusal::new(Kind::Conflict, "this link is being tried already: wait for the answer")));
        }
        if joined {
            return Some(match purpose {
                Purpose::Join { .. } => Err(Refusal::new(Kind::Conflict, "you are in this group already")),
                Purpose::Inspect => self.group(&id).and_then(|g| g.inspect(&link, now)),
            });
        }
        let attempt = Attempt::new(link, purpose, command, now);
        self.attempts.insert(id, attempt);
        self.bootstrap(fx);
        self.attempt(&id, now, fx, |attempt, ctx| {
            attempt.begin(ctx);
            Next::Wait
        });
        None
    }

    pub(super) fn attempt(
        &mut self,
        id: &GroupId,
        now: Timestamp,
        fx: &mut Effects,
        f: impl FnOnce(&mut Attempt, &mut Ctx<'_, M>) -> Next<M>,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        let mut ctx = self.shared.ctx(now, fx);
        match f(attempt, &mut ctx) {
            Next::Wait => {}
            Next::Reply(result) => {
                ctx.reply(attempt.command, result);
                self.attempts.remove(id);
                match self.groups.contains_key(id) {
                    // Only looked at a group that one is in: its own sessions go on.
                    true => {
                        self.with(id, now, fx, |group, ctx| group.use_relays(ctx));
                    }
                    false => fx.send.push(LaneCommand::Relays { group: *id, addresses: Vec::new() }),
                }
            }
            Next::In(entered) => {
                let Some(attempt) = self.attempts.remove(id) else { return };
                self.enter(attempt, *entered, now, fx);
            }
        }
    }

    /// A door was passed: the group is on disk before its commit leaves.
    fn enter(&mut self, attempt: Attempt, entered: Entered<M>, now: Timestamp, fx: &mut Effects) {
        let Entered { mut group, frame, network } = entered;
        let id = group.id;
        // Whoever let this member in may be the only way back into the DHT.
        self.remember(attempt.link.bootstrap.clone(), fx);
        group.guest_of(&attempt);
        if self.groups.contains_key(&id) {
            // Left or removed before: this link made a new persona, and the old one's rows go.
            self.forget(&id, now, fx);
        }
        self.groups.insert(id, group);
        self.with(&id, now, fx, |group, ctx| {
            group.save_all(ctx);
            group.refresh(ctx);
            for (address, key) in attempt.mailboxes {
                if let Some(key) = key {
                    group.on_lane(LaneEvent::RelayUp { group: id, address, relay_key: key }, ctx);
                }
            }
            group.publish_control(Control::Commit(frame), network, ctx);
        });
        self.bootstrap(fx);
        self.waiting.insert(attempt.command, (Waiting::Stored { group: id }, attempt.since.plus_ms(STORED_MS)));
    }

    pub(super) fn answer_waiting(&mut self, now: Timestamp, fx: &mut Effects) {
        let mut done = Vec::new();
        for (command, (waiting, deadline)) in &self.waiting {
            let late = *deadline <= now;
            let result = match waiting {
                Waiting::Door { group, invite, link } => {
                    let held = self.groups.get(group).is_some_and(|g| g.doors.held.contains(invite));
                    // Without relays the link works as soon as the door stands at home.
                    let home = self
                        .groups
                        .get(group)
                        .is_some_and(|g| g.relays().is_empty() && g.doors.at_home.contains(invite));
                    (held || home || late)
                        .then(|| Ok(Answer::Invite { invite: *invite, link: Secret::new(link.clone()), held }))
                }
                Waiting::Stored { group } => {
                    let stored = self.groups.get(group).filter(|g| g.join_is_stored());
                    match stored {
                        Some(g) => Some(Ok(Answer::Joined { group: *group, state: g.standing, persona: g.me() })),
                        None if late => Some(Err(Refusal::new(
                            Kind::Offline,
                            "no relay or member could store the join: try again later",
                        ))),
                        None => None,
                    }
                }
            };
            match result {
                Some(result) => done.push((*command, result)),
                None => fx.wake_at = Some(fx.wake_at.map_or(*deadline, |w| w.min(*deadline))),
            }
        }
        for (command, result) in done {
            let waiting = self.waiting.remove(&command);
            match (&result, waiting) {
                (Ok(Answer::Joined { group, persona, .. }), _) => {
                    fx.emit.push(Event::Notice(Notice::GroupJoined { group: *group, persona: *persona }));
                }
                (Err(_), Some((Waiting::Stored { group }, _))) => self.forget(&group, now, fx),
                _ => {}
            }
            fx.emit.push(Event::Reply { command, result });
        }
    }

    /// Takes back a join that nobody stored: nothing of it stays.
    pub(super) fn forget(&mut self, id: &GroupId, now: Timestamp, fx: &mut Effects) {
        self.with(id, now, fx, |group, ctx| {
            group.close_lanes(ctx);
            group.delete_rows(ctx);
        });
        self.groups.remove(id);
    }
}
