//! What follows when the tip moves: roster, networks, lanes, and messages that must be said again.

use hearth_crypto::{
    mls::{Mls, MlsNode},
    policy::RevocationKind,
    schedule::Network,
};
use hearth_protocol::{id::NodeId, time::Timestamp};

use super::{Group, NETWORKS, rows};
use crate::{
    app::{GroupState, Notice},
    engine::{
        ctx::Ctx,
        lane::{LaneCommand, LaneKey},
        names,
    },
    store::Table,
};

/// Who was removed reads on this long: about as long as what was written in a lost fork can be read.
const LISTEN_MS: u64 = 14 * 24 * 3_600_000;

/// What secrets were last let go by, and when to look again.
pub(super) type Faded = (Option<(NodeId, NodeId, bool)>, Option<Timestamp>);

impl<M: Mls> Group<M> {
    /// The tip moved from `from` (or is looked at the first time).
    pub(super) fn follow(&mut self, from: NodeId, ctx: &mut Ctx<'_, M>) {
        let first = self.view.heads.is_empty();
        let sideways = !self.dag.descends(&self.dag.tip, &from);
        self.refresh_view(ctx);
        self.check_standing(ctx);
        if !self.is_joined() {
            return;
        }
        self.enter_networks(ctx);
        self.forget_link();
        self.move_base(ctx);
        if sideways {
            ctx.notice(Notice::ForkResolved { group: self.id });
        }
        if !first {
            self.say_again(ctx);
        }
        self.doors.touch(self.dag.tip, ctx.now);
        self.save_group(ctx);
    }

    /// Once the own join is final nobody can take its seat any more.
    fn forget_link(&mut self) {
        let device = self.keys.device();
        let last = self.dag.entry(&self.dag.certified);
        if last.is_some_and(|e| e.facts.leaves.iter().any(|l| l.device == device)) {
            self.link_secret = None;
        }
    }

    /// Lets go of secrets that nothing needs any more, whenever something may have become final, and as time passes.
    pub(super) fn fade_if_due(&mut self, ctx: &mut Ctx<'_, M>) {
        let (seen, due) = self.faded;
        let takes_part = self.is_awake();
        let now = (self.dag.tip, self.dag.certified, takes_part);
        if seen == Some(now) && due.is_none_or(|due| due > ctx.now) {
            if let Some(due) = due {
                ctx.wake_at(due);
            }
            return;
        }
        let faded = self.dag.fade(takes_part, ctx.now);
        self.faded = (Some(now), faded.due);
        for (node, since) in &faded.since {
            ctx.write(self.id, Table::State, &rows::superseded_key(node), since.map(|s| s.0.to_be_bytes().to_vec()));
        }
        for node in &faded.readers {
            self.save_changes(node, ctx);
        }
        for node in &faded.gone {
            self.drop_node_rows(node, ctx);
            ctx.write(self.id, Table::State, &rows::superseded_key(node), None);
        }
        if let Some(due) = faded.due {
            ctx.wake_at(due);
        }
    }

    /// Leaves behind what is final and no longer needed, once what is kept weighs too much.
    fn move_base(&mut self, ctx: &mut Ctx<'_, M>) {
        if self.dag.weight() <= ctx.dag_bytes {
            return;
        }
        if let Some(left) = self.dag.move_base((ctx.mls, &self.id, &self.log), &self.keys) {
            self.drop_rows(left, ctx);
        }
    }

    /// Reads the policy again, and tells what changed in the roster.
    pub(super) fn refresh_view(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some(tip) = self.dag.tip_entry() else { return };
        let above = self.heads_above();
        let mut view = self.log.state_at(&above, &tip.elders);
        // Whoever shows a name cleans it; what is decided goes by the log, never by this view's names.
        view.settings.name = names::shown(&view.settings.name);
        view.members.values_mut().for_each(|m| m.name = names::shown(&m.name));
        let old = std::mem::replace(&mut self.view, view);
        if old.heads.is_empty() {
            self.use_relays(ctx);
            return;
        }
        let mut changed: Vec<_> =
            self.view.members.iter().filter(|(p, m)| old.role_of(p) != Some(m.role)).map(|(p, _)| *p).collect();
        changed.extend(old.members.keys().filter(|p| !self.view.members.contains_key(p)));
        for persona in changed {
            ctx.notice(Notice::MemberChanged { group: self.id, persona });
        }
        if old.settings.relays != self.view.settings.relays {
            self.use_relays(ctx);
            self.doors.touch(self.dag.tip, ctx.now);
        }
        let role = |view: &hearth_crypto::policy::PolicyState| view.role_of(&self.keys.persona());
        if old.invites.len() != self.view.invites.len() || role(&old) != role(&self.view) {
            self.look_for_knocks();
        }
        if old.settings.shield != self.view.settings.shield || old.invites != self.view.invites {
            self.doors.touch(self.dag.tip, ctx.now);
        }
        ctx.notice(Notice::GroupChanged { group: self.id });
    }

    /// Asks the shell to keep sessions with the relays of the group.
    pub(crate) fn use_relays(&mut self, ctx: &mut Ctx<'_, M>) {
        let addresses = self.mailboxes();
        self.desk.sessions.retain(|a, _| addresses.contains(a));
        for address in &addresses {
            self.desk.sessions.entry(address.clone()).or_default();
        }
        ctx.send(LaneCommand::Relays { group: self.id, addresses });
    }

    /// Notices that one was removed, or that one's join lost and must be offered again; and that a removal turned out to be
    /// on the losing side of a fork.
    pub(super) fn check_standing(&mut self, ctx: &mut Ctx<'_, M>) {
        if !self.is_joined() && !self.listens() {
            return;
        }
        let Some(tip) = self.dag.tip_entry() else { return };
        let device = self.keys.device();
        let present = tip.facts.leaves.iter().any(|l| l.device == device);
        let secrets = tip.state.as_ref().is_some_and(MlsNode::has_secrets);
        let me = self.me();
        let revoked = self.view.revocations.iter().find(|r| r.subject == me && r.kind != RevocationKind::Demote);
        let revoked = revoked.map(|r| r.kind);
        if self.listens() && (present || revoked.is_none()) {
            self.come_home(ctx);
        }
        if present && secrets {
            (self.stranded, self.stranded_since) = (false, None);
            return;
        }
        match revoked {
            Some(kind) if !present && self.is_joined() => self.go(kind, ctx),
            Some(_) => {}
            None => {
                self.stranded = true;
                self.stranded_since.get_or_insert(ctx.now);
            }
        }
    }

    /// Takes no part any more. Who was removed goes on reading what decides the roster for a while: the removal may be void,
    /// or lose.
    fn go(&mut self, kind: RevocationKind, ctx: &mut Ctx<'_, M>) {
        match kind {
            RevocationKind::Leave => {
                self.standing = GroupState::Left;
                self.close_lanes(ctx);
            }
            _ => {
                self.standing = GroupState::Removed;
                self.removed_at = Some(ctx.now);
                self.keep_lanes(&[], ctx);
                self.desk.only_control();
                ctx.wake_at(ctx.now.plus_ms(LISTEN_MS));
            }
        }
        self.save_group(ctx);
        ctx.notice(Notice::GroupRemoved { group: self.id, state: self.standing });
    }

    /// The removal lost: it is a member as if nothing had been.
    fn come_home(&mut self, ctx: &mut Ctx<'_, M>) {
        self.standing = GroupState::Joined;
        self.removed_at = None;
        for address in self.desk.sessions.keys().cloned().collect::<Vec<_>>() {
            self.want_queues(&address, ctx);
        }
        self.seek(ctx);
        self.save_group(ctx);
        ctx.notice(Notice::GroupChanged { group: self.id });
    }

    /// Nothing has come for so long that the removal stands.
    pub(super) fn give_up_if_due(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some(due) = self.removed_at.map(|at| at.plus_ms(LISTEN_MS)) else { return };
        if due > ctx.now {
            return ctx.wake_at(due);
        }
        self.removed_at = None;
        self.close_lanes(ctx);
        self.save_group(ctx);
    }

    /// Makes sure that the tip's network is known, and every one begun since the last final node: what the other
    /// side of a fork did lies in a network that the tip never was in. Opens the lanes that are needed, and closes those
    /// that are not.
    pub(crate) fn enter_networks(&mut self, ctx: &mut Ctx<'_, M>) {
        let Some(tip) = self.dag.tip_entry().map(|e| e.network) else { return };
        let begun = self.dag.nodes.iter().filter(|(node, e)| e.network == **node).map(|(node, _)| *node);
        let begun = begun.filter(|node| *node != tip && self.dag.descends(node, &self.dag.certified));
        let mut wanted: Vec<_> = begun.collect();
        wanted.push(tip);
        let known = self.networks.len();
        for id in &wanted {
            if self.network_of(id).is_none()
                && let Some(network) = self.dag.secret_state(id).and_then(|n| Network::begin(n).ok())
            {
                self.networks.push(network);
            }
        }
        // What is given up is the oldest, and never the one that is written in.
        self.networks.sort_by_key(|n| n.id() == tip);
        let grown = self.networks.len() > known;
        for old in self.networks.drain(..self.networks.len().saturating_sub(NETWORKS)).collect::<Vec<_>>() {
            self.close_lane(old.id(), ctx);
        }
        if grown {
            let sessions: Vec<_> = self.desk.sessions.keys().cloned().collect();
            sessions.iter().for_each(|a| self.want_queues(a, ctx));
        }
        self.keep_lanes(&wanted, ctx);
    }

    /// Opens the lanes of these networks, and of the last final node's. Without relays the older ones stay too: who slept
    /// crosses there.
    fn keep_lanes(&mut self, wanted: &[NodeId], ctx: &mut Ctx<'_, M>) {
        let last = self.dag.entry(&self.dag.certified).map(|e| e.network);
        let crossing = self.relays().is_empty();
        let takes_part = !self.listens();
        for id in self.networks.iter().map(Network::id).collect::<Vec<_>>() {
            match crossing || takes_part && (Some(id) == last || wanted.contains(&id)) {
                true => self.open_lane(id, ctx),
                false => self.close_lane(id, ctx),
            }
        }
    }

    pub(super) fn close_lane(&mut self, network: NodeId, ctx: &mut Ctx<'_, M>) {
        if self.links.lanes.remove(&network).is_some() {
            self.links.links.retain(|_, l| l.network != network);
            ctx.send(LaneCommand::Close { lane: LaneKey { group: self.id, network } });
        }
    }

    /// Closes everything that this group has open.
    pub(crate) fn close_lanes(&mut self, ctx: &mut Ctx<'_, M>) {
        for network in self.links.lanes.keys().copied().collect::<Vec<_>>() {
            self.close_lane(network, ctx);
        }
        self.desk.sessions.clear();
        self.desk.asked.clear();
        ctx.send(LaneCommand::Relays { group: self.id, addresses: Vec::new() });
    }
}
