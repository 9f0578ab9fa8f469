//! The streams of member links as a libp2p behaviour: at most one inbound and one outbound per connection.
//!
//! Of two members, the one with the smaller PeerId opens the stream, whoever dialled: two members who dial each
//! other at the same moment have two connections, and still one stream. An inbound stream reaches the lane as a
//! swarm event and is never dropped for want of a listener, which `libp2p-stream` does when its accept loop
//! lags, as it would when a whole group comes online together.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use hearth_protocol::sync::SYNC_PROTOCOL;
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{Endpoint, transport::PortUse, upgrade::ReadyUpgrade},
    swarm::{
        ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour,
        NotifyHandler, SubstreamProtocol, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

const PROTOCOL: StreamProtocol = StreamProtocol::new(SYNC_PROTOCOL);

/// What became of a stream.
#[derive(Debug)]
pub(in crate::net) enum StreamEvent {
    /// The other side opened one.
    Inbound(Stream),
    /// Ours is open.
    Outbound(Stream),
    /// Ours was refused, or timed out.
    Failed,
}

/// The behaviour.
#[derive(Debug, Default)]
pub(in crate::net) struct Streams {
    actions: VecDeque<ToSwarm<(PeerId, StreamEvent), Open>>,
}

/// Asks a connection for a stream.
#[derive(Clone, Copy, Debug)]
pub(in crate::net) struct Open;

impl Streams {
    /// Opens a stream on this connection; a [`StreamEvent`] follows unless the connection closes first.
    pub(in crate::net) fn open(&mut self, peer_id: PeerId, connection: ConnectionId) {
        self.actions.push_back(ToSwarm::NotifyHandler {
            peer_id,
            handler: NotifyHandler::One(connection),
            event: Open,
        });
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = (PeerId, StreamEvent);

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        self.actions.push_back(ToSwarm::GenerateEvent((peer, event)));
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.actions.pop_front() {
            Some(action) => Poll::Ready(action),
            // The swarm polls again after every event and every call from outside, so no waker is kept.
            None => Poll::Pending,
        }
    }
}

/// One connection's side.
#[derive(Debug, Default)]
pub(in crate::net) struct Handler {
    wanted: bool,
    /// A connection carries one inbound stream; more are closed unread.
    inbound_seen: bool,
    events: VecDeque<StreamEvent>,
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = StreamEvent;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ())
    }

    fn poll(
        &mut self,
        _: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(event));
        }
        if std::mem::take(&mut self.wanted) {
            let protocol = SubstreamProtocol::new(ReadyUpgrade::new(PROTOCOL), ());
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, _: Open) {
        self.wanted = true;
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. })
                if !std::mem::replace(&mut self.inbound_seen, true) =>
            {
                self.events.push_back(StreamEvent::Inbound(protocol));
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, .. }) => {
                self.events.push_back(StreamEvent::Outbound(protocol));
            }
            ConnectionEvent::DialUpgradeError(_) => self.events.push_back(StreamEvent::Failed),
            _ => {}
        }
    }
}
