use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf},
    sync::oneshot,
};

use super::*;
use crate::app::{Ask, Backend, Notice, channel};

/// A node that answers `status` at once, `network.sync` never, and counts the rest.
async fn node(mut backend: Backend, mut stop: oneshot::Receiver<()>) {
    let mut never = Vec::new();
    loop {
        let Ask { command, reply, .. } = tokio::select! {
            Some(ask) = backend.asks.recv() => ask,
            _ = &mut stop => return,
        };
        let Some(reply) = reply else { continue };
        match command {
            Command::Status {} => {
                backend.emit(Event::Notice(Notice::Warning { text: "asked" }));
                let _ = reply.send(Ok(Answer::Done {}));
            }
            Command::NetworkSync { .. } => never.push(reply),
            _ => {
                let _ = reply.send(Err(Refusal::new(Kind::Locked, "unlock first")));
            }
        }
    }
}

struct Peer {
    write: WriteHalf<DuplexStream>,
    read: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    session: tokio::task::JoinHandle<()>,
}

impl Peer {
    fn start() -> Self {
        let (app, events, backend) = channel(Arc::new(|| {}));
        let (stop, stopped) = oneshot::channel();
        let node = tokio::spawn(node(backend, stopped));
        let (near, far) = tokio::io::duplex(256 * 1024);
        let (input, output) = tokio::io::split(far);
        let session = tokio::spawn(async move {
            let shutdown = async move {
                let _ = stop.send(());
                node.await.unwrap();
            };
            Session { app, events, input, output }.run(std::future::pending(), shutdown).await;
        });
        let (read, write) = tokio::io::split(near);
        Self { write, read: BufReader::new(read).lines(), session }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.write.write_all(bytes).await.unwrap();
        self.write.write_all(b"\n").await.unwrap();
    }

    async fn ask(&mut self, id: u64, method: &str, params: Value) {
        let line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.send(line.to_string().as_bytes()).await;
    }

    /// The next line that is no event.
    async fn reply(&mut self) -> Value {
        loop {
            let line = self.read.next_line().await.unwrap().expect("the session ended");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value.get("method").is_none() {
                return value;
            }
        }
    }

    /// Ends the input and returns the replies that still came.
    async fn end(mut self) -> Vec<Value> {
        self.write.shutdown().await.unwrap();
        let mut rest = Vec::new();
        while let Some(line) = self.read.next_line().await.unwrap() {
            rest.push(serde_json::from_str(&line).unwrap());
        }
        self.session.await.unwrap();
        rest
    }
}

fn code(value: &Value) -> i64 {
    value["error"]["code"].as_i64().unwrap()
}

#[tokio::test]
async fn a_waiting_request_delays_no_other_and_is_answered_at_the_end() {
    let mut peer = Peer::start();
    peer.ask(1, "network.sync", json!({})).await;
    peer.ask(2, "status", json!({})).await;
    assert_eq!(peer.reply().await, json!({"jsonrpc": "2.0", "id": 2, "result": {}}));
    let rest = peer.end().await;
    let last = rest.last().unwrap();
    assert_eq!((&last["id"], &last["error"]["data"]["kind"]), (&json!(1), &json!("offline")));
}

#[tokio::test]
async fn events_are_notifications() {
    let mut peer = Peer::start();
    peer.ask(1, "status", json!({})).await;
    // Reply and event leave by queues of their own: either may come first.
    let lines = [peer.read.next_line().await.unwrap().unwrap(), peer.read.next_line().await.unwrap().unwrap()];
    let event = r#"{"jsonrpc":"2.0","method":"event","params":{"type":"warning","text":"asked"}}"#;
    assert!(lines.iter().any(|line| line == event), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains(r#""id":1"#)), "{lines:?}");
    assert_eq!(peer.end().await, Vec::<Value>::new());
}

#[tokio::test]
async fn bad_lines_cost_one_error_each() {
    let mut peer = Peer::start();
    peer.send(b"nonsense").await;
    assert_eq!(code(&peer.reply().await), -32_700);
    peer.send(b"[]").await;
    assert_eq!(code(&peer.reply().await), -32_600);
    peer.ask(3, "no.such", json!({})).await;
    assert_eq!(code(&peer.reply().await), -32_601);
    peer.ask(4, "group.show", json!({})).await;
    assert_eq!(code(&peer.reply().await), -32_602);
    peer.ask(5, "group.list", json!({})).await;
    assert_eq!(peer.reply().await["error"]["data"]["kind"], "locked");
}

#[tokio::test]
async fn five_megabytes_are_too_large_and_seventeen_are_skipped() {
    let mut peer = Peer::start();
    let group = "0".repeat(64);
    let text = "x".repeat(5 * 1024 * 1024);
    peer.ask(1, "message.send", json!({"group": group, "text": text})).await;
    let reply = peer.reply().await;
    assert_eq!((&reply["id"], &reply["error"]["data"]["kind"]), (&json!(1), &json!("too_large")));
    peer.send(&vec![b' '; 17 * 1024 * 1024]).await;
    let reply = peer.reply().await;
    assert_eq!((&reply["id"], code(&reply)), (&Value::Null, -32_600));
    peer.ask(2, "status", json!({})).await;
    assert_eq!(peer.reply().await["id"], 2);
}

#[tokio::test]
async fn garbage_gives_an_error_for_each_line_even_when_nobody_reads() {
    // Deterministic garbage: every byte value, NULs and invalid UTF-8 included, with many line ends.
    let garbage: Vec<u8> = (0..200_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let lines = garbage.iter().filter(|&&byte| byte == b'\n').count() + 1;
    assert!(lines > 500);
    let mut peer = Peer::start();
    peer.send(&garbage).await;
    for _ in 0..lines {
        assert!([-32_700, -32_600].contains(&code(&peer.reply().await)));
    }
    peer.ask(2, "status", json!({})).await;
    assert_eq!(peer.reply().await["id"], 2);
}

#[tokio::test]
async fn a_burst_waits_instead_of_being_refused() {
    let mut peer = Peer::start();
    for id in 0..2_000 {
        peer.ask(id, "status", json!({})).await;
    }
    for _ in 0..2_000 {
        let reply = peer.reply().await;
        assert_eq!(reply["result"], json!({}), "{reply}");
    }
}

#[tokio::test]
async fn notifications_are_followed_without_a_reply() {
    let mut peer = Peer::start();
    peer.send(br#"{"jsonrpc":"2.0","method":"status"}"#).await;
    peer.send(br#"{"jsonrpc":"2.0","method":"no.such"}"#).await;
    peer.ask(9, "status", json!({})).await;
    assert_eq!(peer.reply().await["id"], 9);
}

#[tokio::test]
async fn the_session_ends_when_nobody_reads_and_nothing_stops() {
    let (app, events, backend) = channel(Arc::new(|| {}));
    let (near, far) = tokio::io::duplex(16);
    let (input, output) = tokio::io::split(far);
    let (read, mut write) = tokio::io::split(near);
    let short = Duration::from_millis(20);
    let patience = Patience { answers: short, stopped: 2 * short, flushed: short };
    let session = tokio::spawn(async move {
        let never = std::future::pending::<()>;
        Session { app, events, input, output }.run_with(patience, never(), never()).await;
    });
    write.write_all(b"bad\nbad\nbad\nbad").await.unwrap();
    write.shutdown().await.unwrap();
    session.await.unwrap();
    drop((backend, read));
}
