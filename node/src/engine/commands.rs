//! Commands of the user.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use hearth_crypto::{
    chain::mls_group_id,
    mls::{Binding, Mls, MlsNode, Suite},
    persona::DeviceKeys,
    policy::{self, PolicyLog},
    schedule::Network,
};
use hearth_protocol::{
    id::GroupId,
    limits, name,
    op::{Attachment, JoinMode, OpBody, Template},
    time::Timestamp,
};

use super::{
    Effects, Engine, NO_GROUP,
    dag::{Dag, Origin},
    group::{
        Group, Start,
        ask::{Draft, Page, page_size},
    },
    join::Purpose,
    names,
    waiting::{HELD_MS, Waiting},
};
use crate::app::{
    Answer, Command, CommandId, Event, GroupRow, Join, Kind, PersonaChoice, Refusal, RelayRow, Secret, TemplateName,
};

const NO_SUITE: Refusal = Refusal::new(Kind::Invalid, "a group uses suite 3 or 79");
/// Groups of one vault.
const GROUPS: usize = 256;

impl<M: Mls> Engine<M> {
    pub(super) fn command(&mut self, id: CommandId, command: Command, now: Timestamp, fx: &mut Effects) {
        if let Some(result) = self.run(id, command, now, fx) {
            fx.emit.push(Event::Reply { command: id, result });
        }
    }

    /// Runs a command; `None` when its reply comes later.
    fn run(
        &mut self,
        id: CommandId,
        command: Command,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Option<Result<Answer, Refusal>> {
        macro_rules! on {
            ($group:expr, |$g:ident, $ctx:ident| $body:expr) => {
                Some(self.with(&$group, now, fx, |$g, $ctx| $body).unwrap_or_else(|| Err(self.no_group(&$group))))
            };
        }
        match command {
            Command::VaultCreate { .. }
            | Command::VaultUnlock { .. }
            | Command::VaultLock {}
            | Command::VaultChangePassphrase { .. } => {
                Some(Err(Refusal::new(Kind::Conflict, "the vault is open already")))
            }
            Command::Status {} => Some(Ok(self.status())),
            Command::GroupCreate { name, template, join, history_days, persona } => {
                Some(self.create((name, template, join), history_days, persona, now, fx))
            }
            Command::GroupList {} => Some(Ok(Answer::Groups { groups: self.group_rows().into_values().collect() })),
            Command::GroupPage { limit, before, after } => Some(self.group_page(limit, before, after)),
            Command::GroupShow { group } => {
                let shown = match self.knocking.get(&group) {
                    Some(knocking) => Ok(knocking.show()),
                    None => self.group(&group).and_then(Group::show),
                };
                Some(shown.map(|mut answer| {
                    if let Answer::Group { relays, .. } = &mut answer {
                        *relays = self.with_paths(&group, std::mem::take(relays));
                    }
                    answer
                }))
            }
            Command::GroupSet { group, charter, history_days, slow_mode_s, shield, relays } => {
                let charter = charter.map(Into::into);
                let body = OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors: None };
                on!(group, |g, ctx| check_policy(&body).and_then(|()| g.set_policy(body, ctx)))
            }
            Command::GroupRestart { group, suite } => {
                let known = suite.map(|code| Suite::from_code(code).ok_or(NO_SUITE)).transpose();
                on!(group, |g, ctx| known.and_then(|suite| g.restart(suite, ctx)))
            }
            Command::GroupRecover { group, facilitators } => on!(group, |g, ctx| g.recover(facilitators, ctx)),
            Command::GroupLeave { group } if self.knocking.contains_key(&group) => {
                self.stop_knocking(&group, now, fx);
                Some(Ok(Answer::Done {}))
            }
            Command::GroupLeave { group } => on!(group, |g, ctx| g.leave(ctx)),
            Command::InviteCreate { group, uses, expires_in_s, role } => {
                let made = self.with(&group, now, fx, |g, ctx| g.invite(uses, expires_in_s, role, ctx));
                match made.unwrap_or_else(|| Err(self.no_group(&group))) {
                    Err(refusal) => Some(Err(refusal)),
                    Ok((invite, link)) => {
                        self.waiting.insert(id, (Waiting::Door { group, invite, link }, now.plus_ms(HELD_MS)));
                        None
                    }
                }
            }
            Command::InviteInspect { link } => self.begin(&link, Purpose::Inspect, id, now, fx),
            Command::InviteRevoke { group, invite } => on!(group, |g, ctx| g.revoke(invite, ctx)),
            Command::GroupJoin { link, persona, introduction, accept_charter } => {
                if !accept_charter {
                    return Some(Err(Refusal::new(Kind::Invalid, "read the charter and accept it first")));
                }
                let name = match self.persona_name(persona) {
                    Ok(name) => name,
                    Err(refusal) => return Some(Err(refusal)),
                };
                let introduction = introduction.unwrap_or_default();
                if introduction.len() > limits::REASON_MAX {
                    return Some(Err(Refusal::new(Kind::TooLarge, "an introduction holds at most 2 KiB")));
                }
                let keys = DeviceKeys::generate(&mut self.shared.rng);
                self.begin(&link, Purpose::Join { keys, name, introduction }, id, now, fx)
            }
            Command::KnockList { group } => Some(self.group(&group).and_then(Group::knock_rows)),
            Command::KnockAdmit { group, persona } => on!(group, |g, ctx| g.admit(persona, ctx)),
            Command::KnockDecline { group, persona } => on!(group, |g, ctx| g.decline(persona, ctx)),
            Command::MemberSetRole { group, persona, role } => on!(group, |g, ctx| g.set_role(persona, role, ctx)),
            Command::MemberRemove { group, persona, reason } => on!(group, |g, ctx| g.remove(persona, reason, ctx)),
            Command::MessageSend { group, text, topic, reply_to, content_note, expires_in_s, library_consent } => {
                let draft = Draft { text, topic, reply_to, content_note, expires_in_s, library_consent };
                on!(group, |g, ctx| g.send_message(draft, ctx))
            }
            Command::MessageEdit { group, message, text } => on!(group, |g, ctx| g.edit(message, &text, ctx)),
            Command::MessageRetract { group, message } => on!(group, |g, ctx| g.retract(message, ctx)),
            Command::MessageReact { group, message, reaction, on } => {
                on!(group, |g, ctx| g.react(message, reaction, on, ctx))
            }
            Command::MessageList { group, topic, before, after, limit, newest } => {
                let page = Page { topic, before, after, limit, newest: newest.unwrap_or(false) };
                Some(self.group(&group).and_then(|g| g.list(&page)))
            }
            Command::MessageStatus { group, message } => Some(self.group(&group).and_then(|g| g.status(&message))),
            Command::RelayAdd { group, address } => on!(group, |g, ctx| g.add_relay(address, ctx)),
            Command::RelayRemove { group, address } => on!(group, |g, ctx| g.remove_relay(&address, ctx)),
            Command::RelayList { group } => {
                Some(self.group(&group).map(|g| Answer::Relays { relays: self.with_paths(&group, g.relay_rows()) }))
            }
            Command::NetworkSync { group } => {
                let ids: Vec<_> = self.groups.keys().filter(|g| group.is_none_or(|w| w == **g)).copied().collect();
                if ids.is_empty() && group.is_some() {
                    return Some(Err(NO_GROUP));
                }
                for id in ids {
                    self.with(&id, now, fx, |g, ctx| g.sync_now(ctx));
                }
                Some(Ok(Answer::Done {}))
            }
            Command::DebugTip { group } => Some(self.group(&group).and_then(Group::debug_tip)),
            Command::GroupSeen { group } => on!(group, |g, ctx| Ok(g.mark_seen(ctx))),
            Command::DraftSet { group, text } => on!(group, |g, ctx| g.set_draft(&text, ctx)),
            Command::DraftGet { group } => {
                Some(self.group(&group).map(|g| Answer::Draft { text: Secret::new(g.draft.clone()) }))
            }
            Command::SettingsSet { look, zoom_percent, still } => {
                Some(self.settings.set(look, zoom_percent, still, fx))
            }
            Command::SettingsGet {} => Some(Ok(self.settings.answer())),
        }
    }

    /// Every group's row; where one stands outside, that says more than what was before.
    fn group_rows(&self) -> BTreeMap<GroupId, GroupRow> {
        let groups = self.groups.iter().map(|(id, group)| (*id, group.row()));
        groups.chain(self.knocking.iter().map(|(id, knocking)| (*id, knocking.list_row()))).collect()
    }

    /// Groups by id; `before` and `after` are exclusive.
    fn group_page(
        &self,
        limit: Option<u32>,
        before: Option<GroupId>,
        after: Option<GroupId>,
    ) -> Result<Answer, Refusal> {
        let all = self.group_rows();
        if !before.iter().chain(&after).all(|named| all.contains_key(named)) {
            return Err(NO_GROUP);
        }
        let limit = page_size(limit);
        let inside = |id: &GroupId| before.is_none_or(|b| *id < b) && after.is_none_or(|a| *id > a);
        let rows = all.into_iter().filter(|(id, _)| inside(id)).map(|(_, row)| row);
        // A page before a group is counted from its end.
        let mut groups: Vec<_> = match (before, after) {
            (Some(_), None) => rows.rev().take(limit).collect(),
            _ => rows.take(limit).collect(),
        };
        groups.sort_by_key(|row| row.group);
        Ok(Answer::Groups { groups })
    }

    fn status(&self) -> Answer {
        let joined = || self.groups.values().filter(|g| g.is_joined());
        let mut relays: BTreeMap<String, RelayRow> = BTreeMap::new();
        for row in joined().flat_map(|group| self.with_paths(&group.id, group.relay_rows())) {
            let known = relays.entry(row.address.clone()).or_insert_with(|| RelayRow { held: 0, ..row.clone() });
            known.held += row.held;
            known.sees_address |= row.sees_address;
        }
        Answer::Status {
            locked: false,
            exists: true,
            mode: "direct",
            version: env!("CARGO_PKG_VERSION"),
            groups: joined().count(),
            peers: joined().map(|g| g.links.members()).sum(),
            relays: relays.into_values().collect(),
            store_bytes: 0,
        }
    }

    /// Which of a group's relays see this computer's address.
    fn with_paths(&self, group: &GroupId, mut rows: Vec<RelayRow>) -> Vec<RelayRow> {
        for row in &mut rows {
            row.sees_address = self.seen_by.contains(&(*group, row.address.clone()));
        }
        rows
    }

    fn persona_name(&mut self, choice: Option<PersonaChoice>) -> Result<String, Refusal> {
        match choice.and_then(|c| c.name) {
            None => Ok(names::generate(&mut self.shared.rng)),
            Some(given) => {
                name::clean(&given).ok_or(Refusal::new(Kind::Invalid, "a name has 1 to 64 visible characters"))
            }
        }
    }

    fn create(
        &mut self,
        (name, template, join): (String, Option<TemplateName>, Join),
        history_days: Option<u16>,
        persona: Option<PersonaChoice>,
        now: Timestamp,
        fx: &mut Effects,
    ) -> Result<Answer, Refusal> {
        if self.groups.len() >= GROUPS {
            return Err(Refusal::new(Kind::TooLarge, "this vault holds as many groups as it can: leave one first"));
        }
        let name =
            name::clean(&name).ok_or(Refusal::new(Kind::Invalid, "a group's name has 1 to 64 visible characters"))?;
        let history_days = history_days.unwrap_or(0);
        check_history(history_days)?;
        let founder = self.persona_name(persona)?;
        let keys = DeviceKeys::generate(&mut self.shared.rng);
        let mut salt = [0; 16];
        rand::Rng::fill_bytes(&mut self.shared.rng, &mut salt);
        let suite = self.config.suite.unwrap_or(Suite::Hybrid);
        let body = OpBody::Genesis {
            name,
            charter: super::charters::charter(template).into(),
            template: template.map(template_of),
            join: if join == Join::Open { JoinMode::Open } else { JoinMode::Knock },
            history_days,
            suite: suite.code(),
            relays: self.config.relays.iter().take(limits::RELAYS_MAX).cloned().collect(),
            founder,
            salt,
        };
        let failed = Refusal::new(Kind::Invalid, "the group could not be made: shorten its name");
        let genesis = policy::genesis(&keys, body);
        let id = GroupId(genesis.id().0);
        let mut log = PolicyLog::for_group(id);
        log.insert(genesis.clone()).map_err(|_| failed.clone())?;
        let heads = log.heads();
        let state = log.state_at(&heads, &());
        let roster_root = state.roster_root(&());
        let first_day = now.day().0;
        let binding = Binding { heads, roster_root, network: None, first_day, generation: 0, began: 0, epoch: 0 };
        let root =
            self.shared.mls.create(&keys, &mls_group_id(&genesis, 0), suite, &binding).map_err(|_| failed.clone())?;
        let info = root.group_info(&keys).map_err(|_| failed.clone())?;
        let networks = vec![Network::begin(&root).map_err(|_| failed)?];
        let dag = Dag::new(root, Origin { info, ..Origin::default() }, &log);
        let persona = keys.persona();
        self.groups.insert(id, Group::new(Start { id, keys, log, dag, networks }, now.day()));
        self.with(&id, now, fx, |group, ctx| {
            group.save_all(ctx);
            group.wake(ctx);
        });
        self.bootstrap(fx);
        Ok(Answer::GroupCreated { group: id, persona })
    }
}

fn check_history(days: u16) -> Result<(), Refusal> {
    let known = matches!(days, 0 | 7 | 30 | 90);
    known.then_some(()).ok_or(Refusal::new(Kind::Invalid, "the history window is 0, 7, 30 or 90 days"))
}

fn check_policy(body: &OpBody) -> Result<(), Refusal> {
    let OpBody::SetPolicy { charter, history_days, relays, .. } = body else { return Ok(()) };
    if charter.as_ref().and_then(Attachment::bytes).is_some_and(|c| c.len() > limits::CHARTER_MAX) {
        return Err(Refusal::new(Kind::TooLarge, "a charter holds at most 16 KiB"));
    }
    if let Some(relays) = relays {
        check_relays(relays)?;
    }
    history_days.map_or(Ok(()), check_history)
}

/// Relays are named by an address that ends in their identity.
pub(crate) fn check_relays(relays: &[String]) -> Result<(), Refusal> {
    if relays.len() > limits::RELAYS_MAX {
        return Err(Refusal::new(Kind::TooLarge, "a group has at most three relays"));
    }
    if (1..relays.len()).any(|at| relays[..at].contains(&relays[at])) {
        return Err(Refusal::new(Kind::Invalid, "a relay is named twice"));
    }
    if relays.iter().all(|a| a.len() <= limits::ADDRESS_MAX && is_relay_address(a)) {
        Ok(())
    } else {
        Err(Refusal::new(
            Kind::Invalid,
            "a relay's address is /ip4/ADDRESS/tcp/PORT/p2p/IDENTITY, as the relay prints it",
        ))
    }
}

/// Host, port, identity: whether somebody answers there is seen when it is tried. No names: nothing is looked up.
pub(crate) fn is_relay_address(address: &str) -> bool {
    let parts: Vec<&str> = address.split('/').collect();
    let (host, port, identity) = match parts.as_slice() {
        ["", "ip4", host, "tcp", port, "p2p", identity] => (host.parse::<Ipv4Addr>().is_ok(), *port, identity),
        ["", "ip6", host, "tcp", port, "p2p", identity] => (host.parse::<Ipv6Addr>().is_ok(), *port, identity),
        // An onion service, which members in tor mode reach.
        ["", "onion3", at, "p2p", identity] => match at.split_once(':') {
            Some((host, port)) => (is_onion(host), port, identity),
            None => return false,
        },
        _ => return false,
    };
    host && port.parse::<u16>().is_ok_and(|port| port != 0) && !identity.is_empty()
}

/// Version 3: 35 bytes in base 32.
fn is_onion(host: &str) -> bool {
    host.len() == 56 && host.bytes().all(|b| b.is_ascii_lowercase() || (b'2'..=b'7').contains(&b))
}

fn template_of(name: TemplateName) -> Template {
    match name {
        TemplateName::Recovery => Template::Recovery,
        TemplateName::Illness => Template::Illness,
        TemplateName::Caregivers => Template::Caregivers,
        TemplateName::Grief => Template::Grief,
        TemplateName::Open => Template::Open,
    }
}
