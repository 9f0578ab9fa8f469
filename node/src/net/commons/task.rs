//! The one task that owns the swarm.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    identify, kad,
    kad::{GetRecordOk, InboundRequest, PutRecordOk, QueryId, QueryResult, Quorum, store::RecordStore},
    swarm::{
        ConnectionId, DialError, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant as TokioInstant, sleep_until},
};

use super::{
    Ask, CommonsConfig, CommonsError, CommonsEvent, alive,
    dialer::{Dialer, without_peer},
    guests,
    swarm::{Behaviour, BehaviourEvent, KAD, build, endpoint, listen},
};
use crate::{
    net::{
        dht::{RECORD_TTL, check_record},
        entry::{ENTRY, Table, meet},
    },
    relay::{Clock, Metrics},
};

/// Own records kept for later peers.
const OWN_MAX: usize = 4_096;
/// Own records handed to one new peer at once.
const OWN_TO_ONE: usize = 256;
/// Lookups that are asked again when a peer comes.
const ASKED_MAX: usize = 256;
const ASKED_FOR: Duration = Duration::from_secs(30);
/// A record that reached nobody is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);
/// Queries under way; more are kept for the next retry.
const QUERIES: usize = 256;
/// Changes of addresses are gathered for so long.
const SETTLE: Duration = Duration::from_millis(50);
/// Peers told as worth remembering.
const PEERS: usize = 32;
/// Relays asked at once who runs them.
const MEETS: usize = 64;
/// Addresses taken from one peer.
const ADDRESSES: usize = 8;
const FOREVER: Duration = Duration::from_secs(3_600);

/// A record this node publishes.
struct Own {
    value: Vec<u8>,
    until: Instant,
    /// Whether some other node has it.
    held: bool,
}

/// A relay on its way into the table.
enum Met {
    /// It came, and is dialled where it says that it listens.
    Dialled,
    /// It answered there. Whether the settings name it.
    At(SocketAddr, bool),
}

pub(super) struct Task {
    swarm: Swarm<Behaviour>,
    asks: mpsc::Receiver<Ask>,
    events: mpsc::Sender<CommonsEvent>,
    clock: Clock,
    metrics: Metrics,
    dialer: Dialer,
    dead: (mpsc::Sender<ConnectionId>, mpsc::Receiver<ConnectionId>),
    watches: JoinSet<()>,
    _guests: JoinSet<()>,
    /// Relays that this one carries to.
    table: Option<Table>,
    /// Relays that are dialled, or asked who runs them.
    meeting: BTreeMap<PeerId, Met>,
    meets: JoinSet<(PeerId, Option<String>)>,
    listening: BTreeSet<Multiaddr>,
    endpoints: HashMap<ConnectionId, ConnectedPoint>,
    peers: BTreeMap<PeerId, Vec<Multiaddr>>,
    own: BTreeMap<[u8; 32], Own>,
    asked: BTreeMap<[u8; 32], Instant>,
    putting: HashMap<QueryId, [u8; 32]>,
    /// Ports that were taken, addresses and peers: what is still to be told.
    untold: Untold,
    retry_at: Option<Instant>,
}

#[derive(Default)]
struct Untold {
    taken: Vec<u16>,
    listening: bool,
    peers: bool,
    at: Option<Instant>,
}

impl Task {
    pub(super) fn start(
        config: CommonsConfig,
        asks: mpsc::Receiver<Ask>,
        events: mpsc::Sender<CommonsEvent>,
    ) -> Result<Self, CommonsError> {
        let mut swarm = build(&config)?;
        let mut control = swarm.behaviour().streams.new_control();
        let entry = config.entry.map(|entry| (Table::new(entry.operator.clone(), *swarm.local_peer_id()), entry));
        let table = entry.as_ref().map(|(table, _)| table.clone());
        let guests = guests::accept(&mut control, config.mailbox, entry, config.metrics.clone());
        let guests = guests.map_err(|_| CommonsError::Swarm)?;
        let taken = listen(&mut swarm, &config.listen)?;
        let at = (!taken.is_empty()).then(Instant::now);
        Ok(Self {
            swarm,
            asks,
            events,
            clock: config.clock,
            metrics: config.metrics,
            dialer: Dialer::default(),
            dead: mpsc::channel(64),
            watches: JoinSet::new(),
            _guests: guests,
            table,
            meeting: BTreeMap::new(),
            meets: JoinSet::new(),
            listening: BTreeSet::new(),
            endpoints: HashMap::new(),
            peers: BTreeMap::new(),
            own: BTreeMap::new(),
            asked: BTreeMap::new(),
            putting: HashMap::new(),
            untold: Untold { taken, at, ..Untold::default() },
            retry_at: None,
        })
    }

    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.on_time(now);
            let wake = [self.dialer.next(), self.untold.at, self.retry_at].into_iter().flatten().min();
            let wake = TokioInstant::from_std(wake.unwrap_or(now + FOREVER));
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_swarm(event),
                ask = self.asks.recv() => match ask {
                    Some(ask) => self.on_ask(ask),
                    None => return,
                },
                Some(connection) = self.dead.1.recv() => {
                    self.swarm.close_connection(connection);
                }
                Some(_) = self.watches.join_next() => {}
                Some(met) = self.meets.join_next() => if let Ok((peer, operator)) = met {
                    self.met(peer, operator);
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn on_time(&mut self, now: Instant) {
        for opts in self.dialer.due(now) {
            let connection = opts.connection_id();
            if let Err(error) = self.swarm.dial(opts) {
                let own = matches!(error, DialError::LocalPeerId { .. });
                self.dialer.failed(connection, own, now);
            }
        }
        if self.untold.at.is_some_and(|at| at <= now) {
            self.tell(now);
        }
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry(now);
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        let now = Instant::now();
        match ask {
            Ask::Bootstrap(addresses) => {
                self.dialer.add(addresses.into_iter().filter(|address| endpoint(address).is_ok()), now);
            }
            Ask::Put { key, value } => self.put(key, value, now),
            Ask::Get { key } => {
                if self.asked.len() >= ASKED_MAX {
                    self.asked.retain(|_, at| now.duration_since(*at) < ASKED_FOR);
                }
                if self.asked.len() < ASKED_MAX {
                    self.asked.insert(key, now);
                }
                self.swarm.behaviour_mut().kad.get_record(kad::RecordKey::new(&key));
            }
        }
    }

    fn put(&mut self, key: [u8; 32], value: Vec<u8>, now: Instant) {
        if check_record(&key, &value, (self.clock)()).is_err() {
            tracing::warn!("own record refused");
            return;
        }
        self.own.retain(|_, own| own.until > now);
        if self.own.len() < OWN_MAX || self.own.contains_key(&key) {
            self.own.insert(key, Own { value, until: now + RECORD_TTL, held: false });
        }
        self.publish(key);
        self.retry_at.get_or_insert(now + RETRY);
    }

    fn publish(&mut self, key: [u8; 32]) {
        let Some(own) = self.own.get(&key) else { return };
        if self.putting.len() >= QUERIES {
            return;
        }
        let record = kad::Record::new(key.to_vec(), own.value.clone());
        if let Ok(query) = self.swarm.behaviour_mut().kad.put_record(record, Quorum::One) {
            self.putting.insert(query, key);
        }
    }

    /// Publishes again what reached nobody.
    fn retry(&mut self, now: Instant) {
        self.own.retain(|_, own| own.until > now);
        let alone: Vec<_> = self.own.iter().filter(|(_, own)| !own.held).map(|(key, _)| *key).collect();
        self.retry_at = (!alone.is_empty()).then_some(now + RETRY);
        let busy: BTreeSet<_> = self.putting.values().copied().collect();
        if !self.peers.is_empty() {
            alone.into_iter().filter(|key| !busy.contains(key)).for_each(|key| self.publish(key));
        }
    }

    fn on_swarm(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.listening.insert(address);
                self.untold.listening = true;
                self.untold.at.get_or_insert(now + SETTLE);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.listening.remove(&address);
                self.untold.listening = true;
                self.untold.at.get_or_insert(now + SETTLE);
            }
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.metrics.connections.inc();
                self.endpoints.insert(connection_id, endpoint);
                if self.dialer.up(connection_id) {
                    let control = self.swarm.behaviour().streams.new_control();
                    self.watches.spawn(alive::watch(
                        control,
                        peer_id,
                        connection_id,
                        (alive::PATIENCE, self.dead.0.clone()),
                    ));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.metrics.connections.dec();
                self.endpoints.remove(&connection_id);
                self.dialer.down(connection_id, now);
                if num_established == 0 {
                    if let Some(table) = &self.table {
                        table.left(&peer_id);
                    }
                    self.meeting.remove(&peer_id);
                    self.peers.remove(&peer_id);
                }
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, peer_id, .. } => {
                if let Some(peer) = peer_id.filter(|peer| matches!(self.meeting.get(peer), Some(Met::Dialled))) {
                    self.meeting.remove(&peer);
                }
                let own = matches!(error, DialError::LocalPeerId { .. });
                self.dialer.failed(connection_id, own, now);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            })) => self.on_identified(connection_id, peer_id, &info),
            SwarmEvent::Behaviour(BehaviourEvent::Kad(event)) => self.on_kad(event),
            _ => {}
        }
    }

    /// A peer that runs the DHT enters the table with the addresses it can surely be reached at: the one that was
    /// dialled, or those it listens on at the very host it came from.
    fn on_identified(&mut self, connection: ConnectionId, peer: PeerId, info: &identify::Info) {
        let Some(point) = self.endpoints.get(&connection) else { return };
        if !info.protocols.contains(&KAD) {
            return;
        }
        let addresses: Vec<Multiaddr> = match point {
            ConnectedPoint::Dialer { address, .. } => vec![without_peer(address)],
            ConnectedPoint::Listener { send_back_addr, .. } => {
                let host = send_back_addr.iter().next();
                let claimed = info.listen_addrs.iter().map(without_peer);
                claimed
                    .filter(|address| address.iter().next() == host && endpoint(address).is_ok())
                    .take(ADDRESSES)
                    .collect()
            }
        };
        if info.protocols.contains(&ENTRY) {
            self.meet(connection, peer, &addresses);
        }
        for address in &addresses {
            self.swarm.behaviour_mut().kad.add_address(&peer, address.clone());
        }
        let is_new = self.peers.insert(peer, addresses.clone()) != Some(addresses);
        if !is_new {
            return;
        }
        let now = Instant::now();
        self.untold.peers = true;
        self.untold.at.get_or_insert(now + SETTLE);
        self.hand_over(peer, now);
        self.asked.retain(|_, at| now.duration_since(*at) < ASKED_FOR);
        for key in self.asked.keys() {
            self.swarm.behaviour_mut().kad.get_record(kad::RecordKey::new(key));
        }
    }

    /// Another relay. One that came is dialled first, for it may claim any address.
    fn meet(&mut self, connection: ConnectionId, peer: PeerId, addresses: &[Multiaddr]) {
        let Some(table) = &self.table else { return };
        let room = self.meeting.len() < MEETS;
        match self.endpoints.get(&connection) {
            Some(ConnectedPoint::Dialer { .. }) if room || self.meeting.contains_key(&peer) => {
                let Some(address) = addresses.iter().find_map(|address| endpoint(address).ok()) else { return };
                let kept = self.dialer.keeps(connection);
                self.meeting.insert(peer, Met::At(address.into(), kept));
                self.meets.spawn(meet(self.swarm.behaviour().streams.new_control(), peer));
            }
            Some(ConnectedPoint::Listener { .. }) if room && !table.knows(&peer) && !addresses.is_empty() => {
                if self.meeting.contains_key(&peer) {
                    return;
                }
                let to = DialOpts::peer_id(peer).addresses(addresses.to_vec());
                let to = to.condition(PeerCondition::Always).allocate_new_port().build();
                if self.swarm.dial(to).is_ok() {
                    self.meeting.insert(peer, Met::Dialled);
                }
            }
            _ => {}
        }
    }

    /// A relay told who runs it: it is carried to from now on, unless it has left meanwhile.
    fn met(&mut self, peer: PeerId, operator: Option<String>) {
        let met = self.meeting.remove(&peer);
        if let (Some(table), Some(Met::At(address, kept)), Some(operator)) = (&self.table, met, operator)
            && (kept || self.swarm.is_connected(&peer))
        {
            table.enter(peer, address, operator, kept);
        }
    }

    /// Gives own records to a new peer: with few peers everybody holds everything.
    fn hand_over(&mut self, peer: PeerId, now: Instant) {
        self.own.retain(|_, own| own.until > now);
        for (key, own) in self.own.iter().take(OWN_TO_ONE) {
            let mut record = kad::Record::new(key.to_vec(), own.value.clone());
            record.expires = Some(own.until);
            let kad = &mut self.swarm.behaviour_mut().kad;
            let query = kad.put_record_to(record, std::iter::once(peer), Quorum::One);
            self.putting.insert(query, *key);
        }
    }

    fn on_kad(&mut self, event: kad::Event) {
        match event {
            kad::Event::InboundRequest { request: InboundRequest::PutRecord { record: Some(record), .. } } => {
                let kept = self.swarm.behaviour_mut().kad.store_mut().put(record);
                let count = if kept.is_ok() { &self.metrics.records_stored } else { &self.metrics.records_refused };
                count.inc();
            }
            kad::Event::OutboundQueryProgressed { id, result, step, .. } => {
                match result {
                    QueryResult::GetRecord(Ok(GetRecordOk::FoundRecord(found))) => self.found(&found.record),
                    QueryResult::PutRecord(result) => self.on_put(id, result.is_ok_and(|PutRecordOk { .. }| true)),
                    _ => {}
                }
                if step.last {
                    self.putting.remove(&id);
                }
            }
            // A provider record would name a peer: `InboundRequest::AddProvider` is left unanswered and unstored.
            _ => {}
        }
    }

    fn on_put(&mut self, query: QueryId, held: bool) {
        let Some(key) = self.putting.remove(&query) else { return };
        if let Some(own) = self.own.get_mut(&key) {
            own.held |= held;
        }
    }

    fn found(&mut self, record: &kad::Record) {
        let Ok(key) = <[u8; 32]>::try_from(record.key.as_ref()) else { return };
        if check_record(&key, &record.value, (self.clock)()).is_err() {
            return;
        }
        let _ = self.events.try_send(CommonsEvent::Found { key, value: record.value.clone() });
    }

    /// Tells what is untold; what finds no room is told at the next turn.
    fn tell(&mut self, now: Instant) {
        self.untold.at = None;
        let told = self.try_tell();
        if told.is_err() {
            self.untold.at = Some(now + SETTLE);
        }
    }

    fn try_tell(&mut self) -> Result<(), mpsc::error::TrySendError<CommonsEvent>> {
        while let Some(port) = self.untold.taken.last() {
            self.events.try_send(CommonsEvent::PortTaken { port: *port })?;
            self.untold.taken.pop();
        }
        if self.untold.listening {
            let mut addresses: Vec<_> = self.listening.iter().filter(|address| can_be_dialled(address)).collect();
            addresses.sort_by_key(|address| endpoint(address).is_ok_and(|(ip, _)| ip.is_loopback()));
            let addresses = addresses.into_iter().map(ToString::to_string).collect();
            self.events.try_send(CommonsEvent::Listening { addresses })?;
            self.untold.listening = false;
        }
        if self.untold.peers {
            let all: BTreeSet<_> = self.peers.values().flatten().collect();
            let addresses: Vec<_> = all.into_iter().take(PEERS).map(ToString::to_string).collect();
            if !addresses.is_empty() {
                self.events.try_send(CommonsEvent::Peers { addresses })?;
            }
            self.untold.peers = false;
        }
        Ok(())
    }
}

/// Whether an address means the same to another machine as here: a link-local one does not name the link.
fn can_be_dialled(address: &Multiaddr) -> bool {
    endpoint(address).is_ok_and(|(ip, _)| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_local_addresses_are_not_told() {
        let told = |address: &str| can_be_dialled(&address.parse().unwrap());
        assert!(told("/ip4/127.0.0.1/tcp/1") && told("/ip6/fd00::2/tcp/1"));
        assert!(!told("/ip6/fe80::1/tcp/1") && !told("/ip4/169.254.1.1/tcp/1"));
    }
}
