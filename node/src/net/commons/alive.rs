//! Notices a peer that vanished without a word: a byte every few seconds, echoed.
//!
//! Who depends on a connection watches it: the commons its kept peers, a relay session its relay. A relay pays nothing
//! for its thousands of guests but an echo.

use std::time::Duration;

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::{PeerId, StreamProtocol, swarm::ConnectionId};
use libp2p_stream::{Control, OpenStreamError};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

/// libp2p protocol name.
pub(in crate::net) const ALIVE: StreamProtocol = StreamProtocol::new("/hearth/alive/1");

const EVERY: Duration = Duration::from_secs(3);
/// How long a peer that is there may take for the byte.
pub(in crate::net) const PATIENCE: Duration = Duration::from_secs(4);
/// A guest that has not asked for so long is not watching any more.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Watches one connection; sends its id when the peer does not answer.
pub(in crate::net) async fn watch(
    mut control: Control,
    peer: PeerId,
    connection: ConnectionId,
    (patience, dead): (Duration, mpsc::Sender<ConnectionId>),
) {
    match timeout(patience * 2, control.open_stream(peer, ALIVE)).await {
        // A peer that does not know this protocol cannot be watched.
        Ok(Err(OpenStreamError::UnsupportedProtocol(_))) => return,
        Ok(Ok(mut stream)) => loop {
            if !matches!(timeout(patience, beat(&mut stream)).await, Ok(Ok(()))) {
                break;
            }
            sleep(EVERY).await;
        },
        Ok(Err(_)) | Err(_) => {}
    }
    // Closing a connection that is already gone does nothing.
    let _ = dead.send(connection).await;
}

async fn beat<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> std::io::Result<()> {
    stream.write_all(&[0]).await?;
    stream.flush().await?;
    stream.read_exact(&mut [0]).await
}

/// Echoes until the other side is done.
pub(super) async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut byte = [0];
    while matches!(timeout(FORGOTTEN, stream.read_exact(&mut byte)).await, Ok(Ok(()))) {
        let answered = timeout(PATIENCE, async {
            stream.write_all(&byte).await?;
            stream.flush().await
        });
        if !matches!(answered.await, Ok(Ok(()))) {
            return;
        }
    }
}
