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
    group::Group,
    join::{Attempt, Entered, Next, Purpose},
    knock::{Knocking, Outcome},
    lane::{LaneCommand, LaneEvent},
};
use crate::app::{Answer, CommandId, Event, GroupState, Kind, Notice, Refusal, Secret};

/// How long `invite.create` waits for a relay to hold the door: its answer comes within ten seconds.
pub(super) const HELD_MS: u64 = 9_500;
/// How long `group.join` waits in all, from its first step to a relay that holds the join.
const STORED_MS: u64 = 43_000;

/// How long a join that is stored waits for its door to be written.
const DOOR_MS: u64 = 1_500;

/// A reply that waits for a relay.
pub(super) enum Waiting {
    /// `invite.create`: until a relay holds the door.
    Door { group: GroupId, invite: OpId, link: String },
    /// `group.join`: until a relay or a member has stored the join, since when it has.
    Stored { group: GroupId, since: Option<Timestamp> },
    /// `group.join` where a facilitator admits: until a mailbox has stored the knock.
    Knocked { group: GroupId },
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
            // Members' own addresses, which a private mode never dials, whatever they look like.
            Ok(link) if self.config.covered => InviteLink { bootstrap: Vec::new(), ..link },
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
        if let Some(knocking) = self.knocking.get(&id).filter(|k| k.waits()) {
            return Some(match purpose {
                Purpose::Join { .. } | Purpose::Return { .. } => {
                    Err(Refusal::new(Kind::Conflict, "you have knocked already: wait for the answer"))
                }
                Purpose::Inspect => Ok(knocking.inspected()),
            });
        }
        if self.attempts.contains_key(&id) {
            return Some(Err(Refusal::new(Kind::Conflict, "this link is being tried already: wait for the answer")));
        }
        let behind = self.with(&id, now, fx, |group, ctx| group.may_be_behind(ctx.today())) == Some(true);
        let purpose = match (purpose, self.groups.get(&id)) {
            (Purpose::Join { .. }, Some(group)) if joined && behind => Purpose::Return { keys: group.keys.clone() },
            (purpose, _) => purpose,
        };
        if joined && !matches!(purpose, Purpose::Return { .. }) {
            return Some(match purpose {
                Purpose::Join { .. } | Purpose::Return { .. } => {
                    Err(Refusal::new(Kind::Conflict, "you are in this group already"))
                }
                Purpose::Inspect => self.group(&id).and_then(|g| g.inspect(&link, now)),
            });
        }
        // Whoever listens on outside of the group leaves its sessions to the attempt.
        self.with(&id, now, fx, |group, ctx| group.close_lanes(ctx));
        self.outside(&id, now, fx, |knocking, ctx| {
            knocking.rest(ctx);
            Outcome::Wait
        });
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
                fx.send.push(LaneCommand::Relays { group: *id, addresses: Vec::new() });
                self.with(id, now, fx, |group, ctx| {
                    if group.is_awake() {
                        group.wake(ctx);
                    }
                });
            }
            Next::Knocked(knocking) => {
                let Some(attempt) = self.attempts.remove(id) else { return };
                let waiting = Waiting::Knocked { group: *id };
                self.waiting.insert(attempt.command, (waiting, attempt.since.plus_ms(STORED_MS)));
                self.knocking.insert(*id, *knocking);
                self.outside(id, now, fx, |knocking, ctx| {
                    knocking.save(ctx);
                    knocking.wake(ctx);
                    Outcome::Wait
                });
                self.bootstrap(fx);
            }
            Next::Back(door) => {
                let Some(attempt) = self.attempts.remove(id) else { return };
                fx.send.push(LaneCommand::Relays { group: *id, addresses: Vec::new() });
                self.remember(attempt.link.bootstrap.clone(), fx);
                let answer = self.with(id, now, fx, |group, ctx| {
                    let answer = group.return_by(&attempt.link, &door, ctx);
                    group.wake(ctx);
                    answer
                });
                let result = answer.unwrap_or(Err(super::NO_GROUP));
                fx.emit.push(Event::Reply { command: attempt.command, result });
            }
            Next::In(entered) => {
                let Some(attempt) = self.attempts.remove(id) else { return };
                self.enter(attempt, *entered, now, fx);
            }
        }
    }

    /// Runs `f` on a knock.
    pub(super) fn outside(
        &mut self,
        id: &GroupId,
        now: Timestamp,
        fx: &mut Effects,
        f: impl FnOnce(&mut Knocking, &mut Ctx<'_, M>) -> Outcome<M>,
    ) {
        let Some(knocking) = self.knocking.get_mut(id) else { return };
        let mut ctx = self.shared.ctx(now, fx);
        match f(knocking, &mut ctx) {
            Outcome::Wait => {}
            Outcome::Declined => ctx.notice(Notice::GroupChanged { group: *id }),
            Outcome::In(group) => {
                knocking.forget(&mut ctx);
                self.let_in(id, *group, now, fx);
            }
        }
    }

    /// A facilitator said yes: the group is on disk, and nothing of the knock.
    fn let_in(&mut self, id: &GroupId, mut group: Group<M>, now: Timestamp, fx: &mut Effects) {
        let Some(knocking) = self.knocking.remove(id) else { return };
        self.remember(knocking.bootstrap().to_vec(), fx);
        group.guests = knocking.bootstrap().to_vec();
        let persona = group.me();
        self.replace(*id, group, now, fx);
        self.with(id, now, fx, |group, ctx| {
            group.save_all(ctx);
            group.refresh(ctx);
            for (address, key) in knocking.mailboxes() {
                group.on_lane(LaneEvent::RelayUp { group: *id, address: address.clone(), relay_key: *key }, ctx);
            }
        });
        self.bootstrap(fx);
        fx.emit.push(Event::Notice(Notice::GroupJoined { group: *id, persona }));
    }

    /// The user waits no more.
    pub(super) fn stop_knocking(&mut self, id: &GroupId, now: Timestamp, fx: &mut Effects) {
        let Some(knocking) = self.knocking.remove(id) else { return };
        let mut ctx = self.shared.ctx(now, fx);
        knocking.forget(&mut ctx);
        ctx.send(LaneCommand::Relays { group: *id, addresses: Vec::new() });
        ctx.notice(Notice::GroupRemoved { group: *id, state: GroupState::Left });
    }

    /// Puts a group in. One that was left or removed before goes: this is a new persona.
    fn replace(&mut self, id: GroupId, group: Group<M>, now: Timestamp, fx: &mut Effects) {
        if self.groups.contains_key(&id) {
            self.forget(&id, now, fx);
        }
        self.groups.insert(id, group);
    }

    /// A door was passed: the group is on disk before its commit leaves.
    fn enter(&mut self, attempt: Attempt, entered: Entered<M>, now: Timestamp, fx: &mut Effects) {
        let Entered { mut group, frame, network } = entered;
        let id = group.id;
        // Whoever let this member in may be the only way back into the DHT.
        self.remember(attempt.link.bootstrap.clone(), fx);
        group.guest_of(&attempt);
        if let Some(knocking) = self.knocking.remove(&id) {
            knocking.forget(&mut self.shared.ctx(now, fx));
        }
        self.replace(id, group, now, fx);
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
        self.waiting
            .insert(attempt.command, (Waiting::Stored { group: id, since: None }, attempt.since.plus_ms(STORED_MS)));
    }

    pub(super) fn answer_waiting(&mut self, now: Timestamp, fx: &mut Effects) {
        let mut done = Vec::new();
        for (command, (waiting, deadline)) in &mut self.waiting {
            let late = *deadline <= now;
            let result = match waiting {
                Waiting::Knocked { group } => match self.knocking.get(group) {
                    Some(k) if k.is_stored() => {
                        Some(Ok(Answer::Joined { group: *group, state: k.standing(), persona: k.persona() }))
                    }
                    Some(_) if late => {
                        Some(Err(Refusal::new(Kind::Offline, "no relay or member took the knock: try again later")))
                    }
                    Some(_) => None,
                    // Answered, or taken back, before anybody said that it lies there.
                    None => Some(match self.groups.get(group) {
                        Some(g) => Ok(Answer::Joined { group: *group, state: g.standing, persona: g.me() }),
                        None => Err(Refusal::new(Kind::Conflict, "you left before the knock was put")),
                    }),
                },
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
                Waiting::Stored { group, since } => {
                    let stored = self.groups.get(group).filter(|g| g.join_is_stored());
                    match stored {
                        // Whoever comes next should find this use taken: that takes a moment more.
                        Some(g) if !g.door_is_current() && now.since(*since.get_or_insert(now)) < DOOR_MS => {
                            fx.wake_at = Some(fx.wake_at.map_or(now.plus_ms(DOOR_MS), |w| w.min(now.plus_ms(DOOR_MS))));
                            None
                        }
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
                (Ok(Answer::Joined { group, .. }), Some((Waiting::Knocked { .. }, _))) => {
                    fx.emit.push(Event::Notice(Notice::GroupWaiting { group: *group }));
                }
                (Err(_), Some((Waiting::Knocked { group }, _))) => self.stop_knocking(&group, now, fx),
                (Ok(Answer::Joined { group, persona, .. }), _) => {
                    fx.emit.push(Event::Notice(Notice::GroupJoined { group: *group, persona: *persona }));
                }
                (Err(_), Some((Waiting::Stored { group, .. }, _))) => self.forget(&group, now, fx),
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
