//! Commands about one group.

use hearth_crypto::{
    hpke,
    mls::{Mls, MlsNode},
    policy::{At, InviteKeys, Motion, Standing},
};
use hearth_protocol::{
    content::{Content, Expiration},
    frame::Control,
    id::{MessageId, NodeId, OpId, PersonaId, hash},
    limits,
    link::InviteLink,
    op::{JoinMode, LastSeen, OpBody, Role, Template},
    time::{Second, Timestamp},
};

use super::Group;
use crate::{
    app::{
        Answer, GroupRow, GroupState, Join, Kind, MemberRow, MotionState, Notice, PolicyRow, Reaction, Refusal,
        RelayRow, RoleName, Secret, TemplateName, Utc,
    },
    engine::{ctx::Ctx, join::closed, timeline::reaction_word},
};

type Result<T> = std::result::Result<T, Refusal>;

/// An invite lasts this long unless said otherwise.
const INVITE_S: u64 = 7 * 24 * 3_600;
/// And admits this many.
const INVITE_USES: u32 = 1;
/// Rows of one page, unless asked, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 500;

/// Nothing can be decided from outside.
pub(super) const COMES_BACK: Refusal = Refusal::new(
    Kind::Conflict,
    "you are being brought back into the group: try again in a moment, or ask for a new link if it goes on",
);
const NOT_HERE: Refusal = Refusal::new(Kind::NotFound, "there is no such message in this group");
const TOO_LONG: Refusal = Refusal::new(Kind::TooLarge, "a message holds at most 64 KiB: send it in parts");

/// What `message.send` asks.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) text: String,
    pub(crate) topic: Option<String>,
    pub(crate) reply_to: Option<MessageId>,
    pub(crate) content_note: Option<String>,
    pub(crate) expires_in_s: Option<u32>,
    pub(crate) library_consent: Option<bool>,
}

/// What `message.list` asks.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) topic: Option<String>,
    pub(crate) before: Option<MessageId>,
    pub(crate) after: Option<MessageId>,
    pub(crate) limit: Option<u32>,
    pub(crate) newest: bool,
}

impl<M: Mls> Group<M> {
    pub(crate) fn row(&self) -> GroupRow {
        let role = self.view.role_of(&self.me()).unwrap_or(Role::Reader);
        GroupRow {
            group: self.id,
            name: self.view.settings.name.clone(),
            role: role.into(),
            unread: self.unread(),
            state: self.standing,
        }
    }

    /// Messages of others after the place that was seen last.
    fn unread(&self) -> u64 {
        let me = self.me();
        let rows = self.timeline.rows_between(self.seen, None);
        rows.filter(|m| {
            self.timeline.envelope_of(m).and_then(|e| self.timeline.get(&e)).is_some_and(|k| k.persona != me)
        })
        .count() as u64
    }

    pub(crate) fn show(&self) -> Result<Answer> {
        let tip =
            self.dag.tip_entry().ok_or(Refusal::new(Kind::Storage, "the group's state is damaged: join again"))?;
        let settings = &self.view.settings;
        let mut members: Vec<_> = self.view.members.iter().collect();
        members.sort_by_key(|(_, m)| (m.role, m.seniority));
        let member = |(persona, m): (&PersonaId, &hearth_crypto::policy::Member)| MemberRow {
            persona: *persona,
            name: m.name.clone(),
            role: m.role.into(),
            you: *persona == self.me(),
            unconfirmed: self.is_unconfirmed(persona),
        };
        Ok(Answer::Group {
            group: self.id,
            name: settings.name.clone(),
            charter: settings.charter.text().unwrap_or_default().to_owned(),
            epoch: tip.facts.epoch,
            node: self.dag.tip,
            members: members.into_iter().map(member).collect(),
            policy: PolicyRow {
                join: if settings.join == JoinMode::Open { Join::Open } else { Join::Knock },
                history_days: settings.history_days,
                slow_mode_s: settings.slow_mode_s,
                shield: settings.shield,
                template: settings.template.map(template_name),
                suite: tip.facts.suite.code(),
            },
            relays: self.relay_rows(),
            state: self.standing,
        })
    }

    pub(crate) fn relay_rows(&self) -> Vec<RelayRow> {
        let states = self.relay_states();
        let row = |address: &String| {
            let state =
                states.iter().find(|(a, _)| a == address).map_or(crate::app::RelayState::Unreachable, |(_, s)| *s);
            let held = self.desk.sessions.get(address).map_or(0, |s| s.held);
            RelayRow { address: address.clone(), state, held, sees_address: false }
        };
        self.relays().iter().map(row).collect()
    }

    pub(crate) fn debug_tip(&self) -> Result<Answer> {
        let tip = self.dag.tip_entry().ok_or(NOT_HERE)?;
        let authenticator = tip.state.as_ref().and_then(|s| s.authenticator().ok()).unwrap_or_default();
        let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(&hash(&[bytes]));
        let roster: std::collections::BTreeSet<_> = tip.facts.leaves.iter().map(|l| l.persona).collect();
        let roster: Vec<u8> = roster.iter().flat_map(|p| p.0).collect();
        Ok(Answer::Tip {
            node: self.dag.tip,
            epoch: tip.facts.epoch,
            authenticator_hash: hex(&authenticator),
            members_hash: hex(&roster),
            policy_heads: self.view.heads.clone(),
        })
    }

    /// Writes an op, after asking whether it would have any effect.
    pub(crate) fn decide(&mut self, body: OpBody, ctx: &mut Ctx<'_, M>) -> Result<(OpId, Standing)> {
        self.decide_on(&self.heads_above(), body, ctx)
    }

    /// The same on these heads.
    pub(super) fn decide_on(&mut self, heads: &[OpId], body: OpBody, ctx: &mut Ctx<'_, M>) -> Result<(OpId, Standing)> {
        self.must_be_joined()?;
        if self.stranded && !matches!(body, OpBody::Restart { .. }) {
            return Err(COMES_BACK);
        }
        let tip = self.dag.tip_entry().ok_or(NOT_HERE)?;
        let last = || self.sending_node().and_then(|node| self.dag.entry(&node));
        let known = |network: &NodeId| self.network_of(network).is_some();
        let network = Some(tip.network).filter(known).or_else(|| Some(last()?.network)).unwrap_or(tip.network);
        let standing = self.log.check(heads, &self.me(), &body, &tip.elders).map_err(refusal)?;
        let node = match body {
            OpBody::Leave => self.dag.leaves_at(&self.log, &self.me()),
            _ => self.dag.tip,
        };
        let at = At { heads, node };
        let op = self
            .log
            .make(&self.keys, at, body)
            .map_err(|_| Refusal::new(Kind::Invalid, "this cannot be decided here"))?;
        let id = op.id();
        self.log
            .insert(op.clone())
            .map_err(|_| Refusal::new(Kind::Invalid, "this cannot be decided: check its length"))?;
        self.save_ops(ctx);
        self.publish_control(Control::Op(op), network, ctx);
        Ok((id, standing))
    }

    pub(crate) fn set_policy(&mut self, body: OpBody, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        self.decide(body, ctx)?;
        Ok(Answer::Done {})
    }

    pub(crate) fn add_relay(&mut self, address: String, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        if self.relays().contains(&address) {
            return Err(Refusal::new(Kind::Conflict, "the group uses this relay already"));
        }
        let relays = self.relays().iter().cloned().chain([address]).collect();
        self.set_relays(relays, ctx)
    }

    pub(crate) fn remove_relay(&mut self, address: &str, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        if !self.is_relay(address) {
            return Err(Refusal::new(Kind::NotFound, "the group does not use this relay"));
        }
        let relays = self.relays().iter().filter(|a| *a != address).cloned().collect();
        self.set_relays(relays, ctx)
    }

    fn set_relays(&mut self, relays: Vec<String>, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        crate::engine::commands::check_relays(&relays)?;
        let (charter, history_days, slow_mode_s, shield, successors) = (None, None, None, None, None);
        self.set_policy(
            OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays: Some(relays), successors },
            ctx,
        )
    }

    /// What a link to a group that one is in would show.
    pub(crate) fn inspect(&self, link: &InviteLink, now: Timestamp) -> Result<Answer> {
        if let Some(reason) = self.closed_reason(&link.invite, now) {
            return Err(closed(reason));
        }
        let settings = &self.view.settings;
        Ok(Answer::Inspected {
            group_name: settings.name.clone(),
            charter: settings.charter.text().unwrap_or_default().to_owned(),
            join: if settings.join == JoinMode::Open { Join::Open } else { Join::Knock },
            history_days: settings.history_days,
            expires_at: Utc(link.expires.start()),
            members_hint: Some(self.view.members.len()),
        })
    }

    pub(crate) fn leave(&mut self, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        self.decide(OpBody::Leave, ctx)?;
        self.standing = GroupState::Left;
        self.save_group(ctx);
        ctx.notice(Notice::GroupRemoved { group: self.id, state: self.standing });
        Ok(Answer::Done {})
    }

    /// Makes an invite; the link is complete at once, `held` follows when a relay has its door.
    pub(crate) fn invite(
        &mut self,
        uses: Option<u32>,
        expires_in_s: Option<u64>,
        role: Option<RoleName>,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<(OpId, String)> {
        let uses = uses.unwrap_or(INVITE_USES);
        if !(1..=limits::INVITE_USES_MAX).contains(&uses) {
            return Err(Refusal::new(Kind::Invalid, "an invite has 1 to 1000 uses"));
        }
        let seconds = expires_in_s.unwrap_or(INVITE_S);
        let role: Role = role.unwrap_or(RoleName::Member).into();
        if role < Role::Member {
            return Err(Refusal::new(Kind::Invalid, "an invite makes members at most: promote them later"));
        }
        if self.view.settings.shield {
            return Err(Refusal::new(Kind::NotPermitted, "the shield is on: no invites until it is off"));
        }
        let expires = Second::after(ctx.now, seconds);
        let secret: [u8; 32] = ctx.random();
        let keys = InviteKeys::from_secret(&secret);
        let door_pk = hpke::public_key(keys.door_seed())
            .map_err(|_| Refusal::new(Kind::Invalid, "no invite could be made: try again"))?;
        let mode = self.view.settings.join;
        let body = OpBody::Invite { join_pk: keys.join_pk(), door_pk, uses, role, expires, mode };
        let (invite, _) = self.decide(body, ctx)?;
        let bootstrap = ctx.commons.iter().take(limits::BOOTSTRAP_MAX).cloned().collect();
        let link =
            InviteLink { v: 1, secret, group: self.id, invite, relays: self.relays().to_vec(), bootstrap, expires };
        Ok((invite, link.to_text()))
    }

    pub(crate) fn revoke(&mut self, invite: OpId, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        if !self.view.invites.contains_key(&invite) {
            return Err(Refusal::new(Kind::NotFound, "there is no such invite in this group"));
        }
        self.decide(OpBody::InviteRevoke { invite }, ctx)?;
        Ok(Answer::Done {})
    }

    pub(crate) fn set_role(&mut self, subject: PersonaId, role: RoleName, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        let role = Role::from(role);
        self.known_member(&subject)?;
        let needed = self.needed(&subject, Motion::SetRole(role));
        let (_, standing) = self.decide(OpBody::SetRole { subject, role }, ctx)?;
        Ok(motion(standing, needed))
    }

    pub(crate) fn remove(
        &mut self,
        subject: PersonaId,
        reason: Option<String>,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<Answer> {
        self.known_member(&subject)?;
        let reason = reason.unwrap_or_default();
        if reason.len() > limits::REASON_MAX {
            return Err(Refusal::new(Kind::TooLarge, "a reason holds at most 2 KiB"));
        }
        let ends = self.timeline.ends_of(&subject).into_iter().take(limits::LAST_SEEN_MAX);
        let last = ends.map(|(device, seq, id)| LastSeen { device, seq, hash: id.0 }).collect();
        let needed = self.needed(&subject, Motion::Remove);
        let (_, standing) = self.decide(OpBody::Remove { subject, reason, last }, ctx)?;
        Ok(motion(standing, needed))
    }

    /// Signatures that a motion needs: one, unless it makes or unmakes a facilitator.
    fn needed(&self, subject: &PersonaId, motion: Motion) -> usize {
        let unmakes = self.view.role_of(subject) == Some(Role::Facilitator);
        let decides = unmakes || motion == Motion::SetRole(Role::Facilitator);
        if decides { self.view.motion_status(subject, motion).needed } else { 1 }
    }

    fn known_member(&self, persona: &PersonaId) -> Result<()> {
        self.must_be_joined()?;
        let known = self.view.members.contains_key(persona);
        known.then_some(()).ok_or(Refusal::new(Kind::NotFound, "there is no such member in this group"))
    }

    pub(crate) fn send_message(&mut self, draft: Draft, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        check_text(&draft.text)?;
        let mut content = Content::text(ctx.random(), &draft.text);
        if let Some(topic) = draft.topic {
            let bytes = data_encoding::HEXLOWER.decode(topic.as_bytes()).ok().filter(|b| (1..=64).contains(&b.len()));
            content =
                content.topic(&bytes.ok_or(Refusal::new(Kind::NotFound, "there is no such topic in this group"))?);
        }
        if let Some(target) = draft.reply_to {
            self.timeline.row(&target).ok_or(NOT_HERE)?;
            content = content.reply_to(target);
        }
        if let Some(note) = draft.content_note.filter(|n| !n.trim().is_empty()) {
            if note.chars().count() > limits::CONTENT_NOTE_CHARS_MAX {
                return Err(Refusal::new(Kind::TooLarge, "a content note holds at most 64 characters"));
            }
            content = content.note(&note);
        }
        if draft.expires_in_s == Some(0) {
            return Err(Refusal::new(
                Kind::Invalid,
                "a message stays for a second at least: leave the expiry out, or say more",
            ));
        }
        if let Some(seconds) = draft.expires_in_s {
            let end = (ctx.now.0 / 1000).saturating_add(u64::from(seconds));
            content.expires = Some(Expiration { relative: false, time: u32::try_from(end).unwrap_or(u32::MAX) });
        }
        if let Some(consent) = draft.library_consent {
            content = content.library(consent);
        }
        self.slow_mode(ctx)?;
        Ok(Answer::Message { message: self.say(&content, ctx)? })
    }

    /// Slow mode binds members; facilitators are exempt.
    fn slow_mode(&self, ctx: &Ctx<'_, M>) -> Result<()> {
        let pause = u64::from(self.view.settings.slow_mode_s) * 1000;
        let exempt = self.view.role_of(&self.me()).is_some_and(|r| r <= Role::Cofacilitator);
        let (_, last) = self.timeline.chain_end(&self.keys.device());
        let since = self.timeline.get(&last).map(|k| ctx.now.since(k.sent_at.start()));
        if pause > 0 && !exempt && since.is_some_and(|s| s < pause) {
            return Err(Refusal::new(Kind::NotPermitted, "slow mode is on: wait a little before the next message"));
        }
        Ok(())
    }

    /// A message of one's own that is still there.
    fn own_message(&self, message: &MessageId) -> Result<()> {
        let row = self.timeline.row(message).ok_or(NOT_HERE)?;
        if row.persona != self.me() {
            return Err(Refusal::new(Kind::NotPermitted, "only the author can change a message"));
        }
        if row.retracted { Err(Refusal::new(Kind::Conflict, "the message was taken back")) } else { Ok(()) }
    }

    pub(crate) fn edit(&mut self, message: MessageId, text: &str, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        check_text(text)?;
        self.own_message(&message)?;
        let content = Content::edit(ctx.random(), message, text);
        self.say(&content, ctx)?;
        Ok(Answer::Message { message })
    }

    pub(crate) fn retract(&mut self, message: MessageId, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        self.own_message(&message)?;
        let content = Content::retraction(ctx.random(), message);
        self.say(&content, ctx)?;
        Ok(Answer::Message { message })
    }

    pub(crate) fn react(
        &mut self,
        message: MessageId,
        reaction: Reaction,
        on: bool,
        ctx: &mut Ctx<'_, M>,
    ) -> Result<Answer> {
        let row = self.timeline.row(&message).ok_or(NOT_HERE)?;
        if row.retracted {
            return Err(Refusal::new(Kind::Conflict, "the message was taken back"));
        }
        let word = reaction_word(reaction);
        let active = self.timeline.active_reaction(&message, &self.me(), word);
        match (on, active) {
            (true, None) => {
                let content = Content::reaction(ctx.random(), message, word);
                self.say(&content, ctx)?;
            }
            (false, Some(mine)) => {
                let content = Content::unreaction(ctx.random(), message, mine);
                self.say(&content, ctx)?;
            }
            (true, Some(_)) | (false, None) => self.must_be_joined()?,
        }
        Ok(Answer::Done {})
    }

    pub(crate) fn list(&self, page: &Page) -> Result<Answer> {
        let limit = page_size(page.limit);
        let place = |m: &Option<MessageId>| m.as_ref().map(|m| self.timeline.place_of(m).ok_or(NOT_HERE)).transpose();
        let (before, after) = (place(&page.before)?, place(&page.after)?);
        let rows = self.timeline.rows_between(after, before).filter_map(|m| self.message_row(&m));
        let rows = rows.filter(|r| page.topic.is_none() || r.topic == page.topic);
        // A page before a message, or the newest page, is counted from its end.
        let messages = if page.newest || (before.is_some() && after.is_none()) {
            let wanted =
                |m: &MessageId| page.topic.is_none() || self.message_row(m).is_some_and(|r| r.topic == page.topic);
            let mut last: Vec<_> = self.timeline.rows_between(after, before).rev().filter(wanted).take(limit).collect();
            last.reverse();
            last.iter().filter_map(|m| self.message_row(m)).collect()
        } else {
            rows.take(limit).collect()
        };
        Ok(Answer::Messages { messages })
    }

    pub(crate) fn status(&self, message: &MessageId) -> Result<Answer> {
        let row = self.timeline.row(message).ok_or(NOT_HERE)?;
        let (state, relays, members_reached, members_total) = self.delivery(&row.envelope);
        Ok(Answer::MessageStatus { state, relays, members_reached, members_total })
    }

    pub(crate) fn mark_seen(&mut self, ctx: &mut Ctx<'_, M>) -> Answer {
        let last = self.timeline.last_place();
        if last > self.seen {
            self.seen = last;
            self.save_group(ctx);
        }
        Answer::Done {}
    }

    pub(crate) fn set_draft(&mut self, text: &Secret, ctx: &mut Ctx<'_, M>) -> Result<Answer> {
        if text.expose().len() > limits::TEXT_MAX {
            return Err(TOO_LONG);
        }
        text.expose().clone_into(&mut self.draft);
        self.save_group(ctx);
        Ok(Answer::Done {})
    }
}

/// Rows of a page: what was asked, within bounds.
pub(crate) fn page_size(limit: Option<u32>) -> usize {
    limit.map_or(PAGE, |l| usize::try_from(l).unwrap_or(PAGE_MAX)).min(PAGE_MAX)
}

fn check_text(text: &str) -> Result<()> {
    if text.len() > limits::TEXT_MAX {
        return Err(TOO_LONG);
    }
    if text.trim().is_empty() { Err(Refusal::new(Kind::Invalid, "an empty message cannot be sent")) } else { Ok(()) }
}

pub(super) fn motion(standing: Standing, needed: usize) -> Answer {
    match standing {
        Standing::Effective => Answer::Motion { state: MotionState::Done, signatures: needed, needed },
        Standing::Motion { signatures, needed } => Answer::Motion { state: MotionState::Pending, signatures, needed },
    }
}

pub(crate) fn template_name(template: Template) -> TemplateName {
    match template {
        Template::Recovery => TemplateName::Recovery,
        Template::Illness => TemplateName::Illness,
        Template::Caregivers => TemplateName::Caregivers,
        Template::Grief => TemplateName::Grief,
        Template::Open => TemplateName::Open,
    }
}

/// A policy refusal in the façade's words.
fn refusal(refusal: hearth_crypto::policy::Refusal) -> Refusal {
    use hearth_crypto::policy::Refusal as P;
    match refusal {
        P::NotMember => Refusal::new(Kind::Removed, "you are no longer a member of this group"),
        P::NotFacilitator => Refusal::new(Kind::NotPermitted, "only facilitators may do this"),
        P::OnlySenior => Refusal::new(Kind::NotPermitted, "of two facilitators only the senior may do this"),
        P::AboutOneself => Refusal::new(Kind::NotPermitted, "nobody decides about themselves: leave the group instead"),
        P::NoSuchMember => Refusal::new(Kind::NotFound, "there is no such member in this group"),
        P::NoSuchInvite => Refusal::new(Kind::NotFound, "there is no such invite in this group"),
        P::AlreadyMember => Refusal::new(Kind::Conflict, "they are a member already"),
        P::NothingChanges => Refusal::new(Kind::Conflict, "that is so already"),
        P::InviteClosed => Refusal::new(Kind::Expired, "the invite admits nobody any more"),
        P::Generation => Refusal::new(Kind::Conflict, "the group restarts already: try again in a moment"),
        P::NotElector => {
            Refusal::new(Kind::NotPermitted, "only who was here at the facilitators' last commit decides, or is named")
        }
        P::NobodyVouched => Refusal::new(
            Kind::NotPermitted,
            "no facilitator let anybody in by name: a link alone cannot show who may decide. Begin a new group",
        ),
        P::SlotTaken => Refusal::new(Kind::Exhausted, "every use of the invite is taken"),
        _ => Refusal::new(Kind::NotPermitted, "the group's rules do not allow this"),
    }
}
