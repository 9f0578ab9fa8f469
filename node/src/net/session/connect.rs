//! From an address to a greeted stream.

use std::time::Duration;

use hearth_protocol::mailbox::{Greeting, MAILBOX_PROTOCOL, relay_key};
use libp2p::{Multiaddr, PeerId, StreamProtocol};
use tokio::time::timeout;

use super::wire::Wire;
use crate::{
    engine::lane::{MEMBER_RELAY, RelayFailure},
    net::{
        dial::{Dialled, Path, open},
        framing::{FrameError, Framed},
    },
    relay::{MailboxService, MailboxSession, Party},
};

const PROTOCOL: StreamProtocol = StreamProtocol::new(MAILBOX_PROTOCOL);

/// Where a session goes.
#[derive(Clone, Debug)]
pub(in crate::net) enum Target {
    /// Over the network.
    Relay {
        /// IP and port, or an onion service.
        address: Multiaddr,
        /// Who must be there; a member's own mailbox has a new PeerId at every start, and none in its address.
        peer: Option<PeerId>,
        /// On which path.
        path: Path,
    },
    /// To the mailbox of this process.
    Own(MailboxService),
}

impl Target {
    /// How long a connection may take.
    pub(super) fn connect_within(&self) -> Duration {
        match self {
            Self::Relay { path, .. } => path.within(),
            Self::Own(_) => Path::Straight.within(),
        }
    }
}

/// The key that a greeting must show.
fn expected_key(peer: Option<PeerId>) -> [u8; 32] {
    relay_key(&peer.map_or_else(|| MEMBER_RELAY.to_owned(), |peer| peer.to_string()))
}

/// A session that has been greeted. Dropping it closes the connection.
pub(super) struct Connected {
    pub(super) wire: Wire,
    pub(super) greeting: Greeting,
}

/// Dials, opens the mailbox stream and reads the greeting.
///
/// # Errors
/// `Unreachable` when there is no relay at the address, `Misbehaved` when what is there greets wrongly or not
/// within `greet_within`.
pub(super) async fn connect(target: &Target, greet_within: Duration) -> Result<Connected, RelayFailure> {
    let (address, peer, path) = match target {
        Target::Relay { address, peer, path } => (address, *peer, path.clone()),
        Target::Own(mailbox) => return own(mailbox).await,
    };
    let opened = timeout(target.connect_within(), open(address, peer, PROTOCOL, path)).await;
    let Dialled { stream, driver } = opened.ok().flatten().ok_or(RelayFailure::Unreachable)?;
    let mut framed = Framed::new(stream);
    let greeting: Greeting = match timeout(greet_within, framed.recv()).await {
        Ok(Ok(greeting)) => greeting,
        Ok(Err(error)) if is_garbage(&error) => return Err(RelayFailure::Misbehaved),
        Ok(Err(_)) => return Err(RelayFailure::Unreachable),
        Err(_) => return Err(RelayFailure::Misbehaved),
    };
    if greeting.relay_key != expected_key(peer) {
        return Err(RelayFailure::Misbehaved);
    }
    Ok(Connected { wire: Wire::start(framed, driver), greeting })
}

async fn own(mailbox: &MailboxService) -> Result<Connected, RelayFailure> {
    let opened = mailbox.open(Party::Owner).await.map_err(|_| RelayFailure::Unreachable)?;
    let MailboxSession { mut greeting, asker, answers } = opened;
    // The owner pays no proof of work.
    greeting.pow_bits = 0;
    Ok(Connected { wire: Wire::own(asker, answers), greeting })
}

/// Whether the other side, and not the line, is to blame.
pub(super) fn is_garbage(error: &FrameError) -> bool {
    matches!(error, FrameError::TooLong { .. } | FrameError::Decode(_) | FrameError::Stalled)
}
