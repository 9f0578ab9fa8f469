//! The network's front: one task that takes the engine's commands and hands each to the task it concerns.
//!
//! Lanes, relay sessions and the commons each run in a task of their own, so that none can hold up another. Each
//! takes commands at all times, also while the engine is slow to read events: the two never wait for each other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use hearth_protocol::{id::GroupId, mailbox::relay_key};
use libp2p::Multiaddr;
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, timeout_at},
};

use super::{
    address::{self, BadAddress},
    commons::{Commons, CommonsConfig, CommonsError, CommonsEvent, CommonsHandle, CommonsLimits, Identity},
    lane::{self, LaneSetup},
    outbox::Outbox,
    reach::{Reach, Way},
    session::{self, Request, SessionSetup, Target},
};
use crate::{
    engine::lane::{LaneCommand, LaneEvent, LaneKey, MEMBER_RELAY, OWN_MAILBOX, RelayFailure},
    relay::{
        Clock, MailboxService, Metrics,
        mailbox::{Mailbox, MemoryStore, Policy, Quotas},
    },
};

/// Commands of the engine that wait. When they are more, [`NetHandle::send`] says so: the engine is to read events.
const COMMANDS: usize = 4_096;
/// Events that wait for the engine; then the network's tasks stop reading from their peers.
const EVENTS: usize = 256;
/// Commands that wait for one lane or session. They are taken at all times, so this is never full for long.
const TASK_COMMANDS: usize = 256;
/// Relays one group may have: its own three, and members' mailboxes.
const RELAYS_OF_GROUP: usize = 64;
/// In a private mode sessions do not begin at one time, or a relay could tell that they belong together: what begins within
/// this time of another, or after a loss, waits up to as long.
const STAGGER: Duration = Duration::from_secs(5);
/// How long tasks have to end when the handle is gone.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// What the network needs to start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetConfig {
    /// How others are reached.
    pub reach: Reach,
    /// Where the commons listens: `/ip4/…/tcp/…` or `/ip6/…/tcp/…`. Lanes use the same interfaces on free ports.
    /// Empty: every IPv4 interface, a free port.
    pub listen: Vec<String>,
    /// How long a link may be without `Accept`: ten seconds, but in tests.
    pub accept_within: Duration,
    /// How long a relay may take for an answer: ten seconds, but in tests.
    pub answer_within: Duration,
    /// Where the own mailbox and the DHT read the time.
    pub clock: Clock,
}

impl NetConfig {
    /// The protocol's own time limits.
    #[must_use]
    pub fn new(listen: Vec<String>, clock: Clock) -> Self {
        let ten = Duration::from_secs(10);
        Self { reach: Reach::Direct, listen, accept_within: ten, answer_within: ten, clock }
    }
}

/// Why the network did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// An address to listen on is not one.
    #[error(transparent)]
    Listen(#[from] BadAddress),
    /// The member's own mailbox did not start.
    #[error("the own mailbox did not start")]
    Mailbox,
    /// The swarm of no group did not start.
    #[error(transparent)]
    Commons(#[from] CommonsError),
}

/// Too many commands wait: read events, then send again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the network is busy")]
pub struct Full;

/// Where the engine's commands go. When the last handle is dropped, the network closes.
#[derive(Clone, Debug)]
pub struct NetHandle {
    commands: mpsc::Sender<LaneCommand>,
}

impl NetHandle {
    /// The channel itself, for a caller that waits.
    #[must_use]
    pub fn commands(&self) -> mpsc::Sender<LaneCommand> {
        self.commands.clone()
    }

    /// Hands a command over without waiting.
    ///
    /// # Errors
    /// [`Full`]: the command was not taken. Also when the network has ended, which it does only with its runtime.
    pub fn send(&self, command: LaneCommand) -> Result<(), Full> {
        self.commands.try_send(command).map_err(|_| Full)
    }
}

/// A session with a relay, or with the own mailbox, and the way it takes.
struct Session {
    running: Running<Request>,
    way: Option<Way>,
}

/// A running task and the way to it. Dropping `commands` ends the task; `ended` tells when.
struct Running<T> {
    commands: mpsc::Sender<T>,
    ended: JoinHandle<()>,
}

/// The network.
pub struct Net {
    config: NetConfig,
    listen: Vec<Multiaddr>,
    events: mpsc::Sender<LaneEvent>,
    outbox: Outbox,
    lanes: HashMap<LaneKey, Running<LaneCommand>>,
    sessions: BTreeMap<(GroupId, String), Session>,
    /// Sessions that are closing; a new one of the same name waits for its predecessor's last event.
    closing: BTreeMap<(GroupId, String), JoinHandle<()>>,
    /// When a session began last.
    begun: Option<Instant>,
    ids: Arc<AtomicU64>,
    /// This member's mailbox, for its groups without relays: served to others by the commons.
    mailbox: MailboxService,
    /// In a private mode there is none: it would be seen by everybody in it.
    commons: Option<CommonsHandle>,
}

/// The member's own mailbox: in memory, and only this member makes queues in it.
fn own_mailbox(clock: Clock) -> Result<MailboxService, NetError> {
    let key = relay_key(MEMBER_RELAY);
    let mailbox = Mailbox::new(MemoryStore::default(), key, Policy::Own, Quotas::member());
    let mailbox = mailbox.map_err(|_| NetError::Mailbox)?;
    // How it ended is of no use: it has no disk to fail, and ends with the network.
    let (service, _) = MailboxService::spawn(mailbox, clock, Metrics::default()).map_err(|_| NetError::Mailbox)?;
    Ok(service)
}

impl Net {
    /// Starts the network; to be called inside a tokio runtime.
    ///
    /// # Errors
    /// [`NetError`].
    pub fn spawn(config: NetConfig) -> Result<(NetHandle, mpsc::Receiver<LaneEvent>), NetError> {
        let listen = address::lane_addresses(&config.listen)?;
        let mailbox = own_mailbox(config.clock)?;
        let (commons, told) = match config.reach.is_private() {
            true => (None, None),
            false => Commons::spawn(CommonsConfig {
                // Fresh at every start: nothing joins this run with the last.
                identity: Identity::random()?,
                listen: config.listen.clone(),
                mailbox: mailbox.clone(),
                entry: None,
                limits: CommonsLimits::member(),
                clock: config.clock,
                metrics: Metrics::default(),
            })
            .map(|(handle, told)| (Some(handle), Some(told)))?,
        };
        let (commands, inbox) = mpsc::channel(COMMANDS);
        let (events, receiver) = mpsc::channel(EVENTS);
        let net = Self {
            config,
            listen,
            outbox: Outbox::new(events.clone()),
            events,
            lanes: HashMap::new(),
            sessions: BTreeMap::new(),
            closing: BTreeMap::new(),
            begun: None,
            ids: Arc::new(AtomicU64::new(1)),
            mailbox,
            commons,
        };
        tokio::spawn(net.run(inbox, told));
        Ok((NetHandle { commands }, receiver))
    }

    async fn run(mut self, mut inbox: mpsc::Receiver<LaneCommand>, mut told: Option<mpsc::Receiver<CommonsEvent>>) {
        loop {
            tokio::select! {
                command = inbox.recv(), if self.outbox.takes_commands() => match command {
                    Some(command) => self.obey(command).await,
                    None => break,
                },
                () = self.outbox.flush(), if !self.outbox.is_empty() => {}
                // A commons that has ended is no longer asked: the pattern disables the branch.
                Some(event) = heard(&mut told), if self.outbox.has_room() => self.on_commons(event),
            }
        }
        self.shut_down().await;
    }

    fn on_commons(&mut self, event: CommonsEvent) {
        let event = match event {
            CommonsEvent::Listening { addresses } => {
                let parsed: Vec<Multiaddr> = addresses.iter().filter_map(|text| text.parse().ok()).collect();
                LaneEvent::CommonsListening { addresses: address::reachable(&parsed) }
            }
            CommonsEvent::Peers { addresses } => LaneEvent::CommonsPeers { addresses },
            CommonsEvent::Found { key, value } => LaneEvent::DhtFound { key, value },
            CommonsEvent::PortTaken { port } => {
                tracing::warn!(port, "the port is taken: listening on a free one");
                return;
            }
        };
        self.outbox.push(event);
    }

    async fn shut_down(self) {
        let deadline = Instant::now() + SHUTDOWN;
        let lanes = self.lanes.into_values().map(|lane| lane.ended);
        let sessions = self.sessions.into_values().map(|session| session.running.ended);
        // Their command channels are dropped here, which is what ends them.
        let ended: Vec<JoinHandle<()>> = lanes.chain(sessions).chain(self.closing.into_values()).collect();
        for task in ended {
            let abort = task.abort_handle();
            if timeout_at(deadline, task).await.is_err() {
                abort.abort();
            }
        }
    }

    async fn obey(&mut self, command: LaneCommand) {
        match command {
            // A lane is a swarm that members dial: there is none in a private mode, whatever is asked.
            LaneCommand::Open { .. } if self.config.reach.is_private() => {}
            LaneCommand::Open { lane, gate, topics, members } if !self.lanes.contains_key(&lane) => {
                let setup = LaneSetup {
                    lane,
                    gate,
                    topics,
                    members,
                    listen: self.listen.clone(),
                    accept_within: self.config.accept_within,
                    ids: Arc::clone(&self.ids),
                };
                let (commands, inbox) = mpsc::channel(TASK_COMMANDS);
                let ended = tokio::spawn(lane::run(setup, inbox, Outbox::new(self.events.clone())));
                self.lanes.insert(lane, Running { commands, ended });
            }
            LaneCommand::Close { lane } => {
                self.lanes.remove(&lane);
            }
            LaneCommand::Open { lane, .. }
            | LaneCommand::Topics { lane, .. }
            | LaneCommand::Publish { lane, .. }
            | LaneCommand::Verdict { lane, .. }
            | LaneCommand::Dial { lane, .. }
            | LaneCommand::Send { lane, .. }
            | LaneCommand::Accept { lane, .. }
            | LaneCommand::Hangup { lane, .. } => {
                if let Some(running) = self.lanes.get(&lane) {
                    // A lane that has closed meanwhile needs no command.
                    let _ = running.commands.send(command).await;
                }
            }
            LaneCommand::Relays { group, addresses } => self.relays(group, addresses),
            LaneCommand::Relay { group, address, ticket, action, signer } => {
                let request = Request { ticket, action, signer };
                let unsent = match self.sessions.get(&(group, address)) {
                    Some(session) => session.running.commands.send(request).await.is_err(),
                    None => true,
                };
                if unsent {
                    let answer = Err(RelayFailure::Unreachable);
                    self.outbox.push(LaneEvent::RelayAnswer { group, ticket, answer });
                }
            }
            LaneCommand::DhtBootstrap { addresses } => self.ask(|commons| commons.bootstrap(addresses)),
            LaneCommand::DhtPut { key, value } => self.ask(|commons| commons.put(key, value)),
            LaneCommand::DhtGet { key } => self.ask(|commons| commons.get(key)),
        }
    }

    /// The engine looks records up and stores them again and again: one lost ask delays, and loses nothing.
    fn ask(&self, ask: impl FnOnce(&CommonsHandle) -> Result<(), CommonsError>) {
        if let Some(Err(error)) = self.commons.as_ref().map(ask) {
            tracing::debug!(%error, "the commons refused an ask");
        }
    }

    /// How long a session waits before it begins, and at most before it begins again.
    fn waits(&mut self) -> (Duration, Duration) {
        if !self.config.reach.is_private() {
            return (Duration::ZERO, Duration::ZERO);
        }
        let now = Instant::now();
        let close = self.begun.is_some_and(|at| now.duration_since(at) < STAGGER);
        self.begun = Some(now);
        let chance = f64::from(rand::random::<u16>()) / f64::from(u16::MAX);
        (if close { STAGGER.mul_f64(chance) } else { Duration::ZERO }, STAGGER)
    }

    /// Tells whether a relay sees this computer's address: from now on, whether or not it answers.
    fn tell_path(&mut self, (group, address): &(GroupId, String), sees_address: bool) {
        self.outbox.push(LaneEvent::RelayPath { group: *group, address: address.clone(), sees_address });
    }

    /// Keeps sessions of `group` with exactly `addresses`, each on the way that these leave it.
    fn relays(&mut self, group: GroupId, addresses: Vec<String>) {
        self.closing.retain(|_, ended| !ended.is_finished());
        let wanted: BTreeSet<String> = addresses.into_iter().take(RELAYS_OF_GROUP).collect();
        let way = |address: &str| self.config.reach.way(address, &wanted);
        let of_group = self.sessions.iter().filter(|((of, _), _)| *of == group);
        let gone = of_group.filter(|((_, name), session)| !wanted.contains(name) || session.way != way(name));
        for name in gone.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            if let Some(session) = self.sessions.remove(&name) {
                self.tell_path(&name, false);
                self.closing.insert(name, session.running.ended);
            }
        }
        for address in &wanted {
            let name = (group, address.clone());
            if self.sessions.contains_key(&name) {
                continue;
            }
            let waits = if address == OWN_MAILBOX { Default::default() } else { self.waits() };
            let way = self.config.reach.way(address, &wanted);
            let target = match &way {
                _ if address == OWN_MAILBOX => Target::Own(self.mailbox.clone()),
                Some(way) => way.target(),
                None => {
                    tracing::warn!("an address is not dialled in this mode");
                    continue;
                }
            };
            let setup = SessionSetup {
                group,
                address: name.1.clone(),
                target,
                answer_within: self.config.answer_within,
                waits,
                after: self.closing.remove(&name),
            };
            self.tell_path(&name, way.as_ref().is_some_and(Way::is_seen));
            let (commands, inbox) = mpsc::channel(TASK_COMMANDS);
            let ended = tokio::spawn(session::run(setup, inbox, Outbox::new(self.events.clone())));
            self.sessions.insert(name, Session { running: Running { commands, ended }, way });
        }
    }
}

/// The next event of a commons that may not be there.
async fn heard(told: &mut Option<mpsc::Receiver<CommonsEvent>>) -> Option<CommonsEvent> {
    match told {
        Some(told) => told.recv().await,
        None => std::future::pending().await,
    }
}
