use std::{
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use hearth_protocol::id::{GroupId, NodeId};

use super::*;
use crate::{
    app::{App, Events, Secret, channel},
    builder::{self, Config, Mode, Running, StartError, spawn_with},
    engine::lane::LaneKey,
    store::{Bucket, Table, VALUE_MAX, Write},
};

const PASSPHRASE: &str = "a long enough passphrase";

/// An engine that keeps drafts: enough to see order, batching and restoring.
struct Fake {
    drafts: Vec<Row>,
    settled: Arc<AtomicBool>,
}

fn bucket(group: GroupId) -> Bucket {
    Bucket { group: Some(group), expires: None }
}

fn lane() -> LaneKey {
    LaneKey { group: GroupId([9; 32]), network: NodeId([9; 32]) }
}

impl Core for Fake {
    fn handle(&mut self, input: Input, now: Timestamp) -> Effects {
        let mut effects = Effects::default();
        match input {
            Input::Command { id, command } => {
                let result = match command {
                    Command::DraftSet { group, text } => {
                        let value = match text.expose() {
                            "too large" => vec![0; VALUE_MAX + 1],
                            text => text.as_bytes().to_vec(),
                        };
                        let (bucket, table, key) = (bucket(group), Table::Draft, b"draft".to_vec());
                        self.drafts.retain(|row| row.bucket != bucket);
                        self.drafts.push(Row { bucket, table, key: key.clone(), value: value.clone() });
                        effects.persist.push(Write { bucket, table, key, value: Some(value) });
                        effects.send.push(LaneCommand::DhtGet { key: group.0 });
                        Ok(Answer::Done {})
                    }
                    Command::DraftGet { group } => {
                        let row = self.drafts.iter().find(|row| row.bucket == bucket(group));
                        let text = row.map_or_else(String::new, |r| String::from_utf8(r.value.clone()).unwrap());
                        Ok(Answer::Draft { text: Secret::new(text) })
                    }
                    Command::Status {} => Ok(Answer::Status {
                        locked: true,
                        exists: false,
                        mode: "",
                        version: "",
                        groups: self.drafts.len(),
                        peers: 3,
                        relays: Vec::new(),
                        store_bytes: 0,
                    }),
                    // Answered by the next tick.
                    Command::NetworkSync { .. } => {
                        effects.wake_at = Some(now.plus_ms(30));
                        return effects;
                    }
                    _ => Err(Refusal::new(Kind::Invalid, "not in this test")),
                };
                effects.emit.push(Event::Reply { command: id, result });
            }
            Input::Lane(_) => effects.emit.push(Event::Notice(Notice::Warning { text: "heard" })),
            Input::Closing => {}
            Input::Tick => effects.emit.push(Event::Notice(Notice::Warning { text: "ticked" })),
        }
        effects
    }

    fn settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }
}

struct Bench {
    home: tempfile::TempDir,
    app: App,
    events: Events,
    running: Running,
    commands: Arc<Mutex<mpsc::Receiver<LaneCommand>>>,
    lanes: mpsc::Sender<LaneEvent>,
    settled: Arc<AtomicBool>,
}

fn config(home: &Path) -> Config {
    Config {
        home: home.to_owned(),
        mode: Mode::Direct,
        listen: Vec::new(),
        relays: Vec::new(),
        vault: VaultParams::with_mib(64),
    }
}

fn factory(settled: &Arc<AtomicBool>) -> Factory {
    let settled = Arc::clone(settled);
    Box::new(move |_, drafts, _| {
        let gate = zeroize::Zeroizing::new([0; 32]);
        let open = LaneCommand::Open { lane: lane(), gate, topics: Vec::new(), members: 2 };
        let effects = Effects { send: vec![open], ..Effects::default() };
        Ok((Box::new(Fake { drafts, settled: Arc::clone(&settled) }), effects))
    })
}

fn bench_in(home: tempfile::TempDir, line: usize) -> Bench {
    let (commands_tx, commands) = mpsc::channel(line);
    let (lanes, lanes_rx) = mpsc::channel(64);
    let commands = Arc::new(Mutex::new(commands));
    let settled = Arc::new(AtomicBool::new(true));
    let wake = Arc::new(|| {});
    let lines = Lines { commands: commands_tx, events: lanes_rx };
    let (app, events, running) = spawn_with(&config(home.path()), wake, factory(&settled), lines).unwrap();
    Bench { home, app, events, running, commands, lanes, settled }
}

fn bench() -> Bench {
    bench_in(tempfile::tempdir().unwrap(), 64)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

impl Bench {
    async fn kind(&self, command: Command) -> Result<Answer, Kind> {
        self.app.call(command).await.map_err(|refusal| refusal.kind)
    }

    async fn create(&self) {
        assert_eq!(self.kind(Command::VaultCreate { passphrase: secret(PASSPHRASE) }).await, Ok(Answer::Done {}));
    }

    async fn set(&self, group: u8, text: &str) -> Result<Answer, Kind> {
        self.kind(Command::DraftSet { group: GroupId([group; 32]), text: secret(text) }).await
    }

    async fn get(&self, group: u8) -> String {
        match self.kind(Command::DraftGet { group: GroupId([group; 32]) }).await.unwrap() {
            Answer::Draft { text } => text.expose().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn sent(&self) -> Vec<LaneCommand> {
        let mut line = self.commands.lock().unwrap();
        std::iter::from_fn(|| line.try_recv().ok()).collect()
    }

    async fn warning(&mut self) -> &'static str {
        match tokio::time::timeout(Duration::from_secs(10), self.events.recv()).await.unwrap() {
            Some(Event::Notice(Notice::Warning { text })) => text,
            other => panic!("{other:?}"),
        }
    }

    async fn end(self) -> tempfile::TempDir {
        self.running.shutdown().await;
        assert_eq!(self.app.call(Command::Status {}).await.unwrap_err().kind, Kind::Offline);
        self.home
    }
}

#[tokio::test]
async fn the_vault_gates_everything() {
    let bench = bench();
    let unlock = |text: &str| Command::VaultUnlock { passphrase: secret(text) };
    assert_eq!(bench.set(1, "early").await, Err(Kind::Locked));
    assert_eq!(bench.kind(unlock("x")).await, Err(Kind::NotFound));
    assert_eq!(bench.kind(Command::VaultCreate { passphrase: secret("") }).await, Err(Kind::Invalid));
    assert!(matches!(
        bench.kind(Command::Status {}).await,
        Ok(Answer::Status { locked: true, exists: false, mode: "direct", .. })
    ));
    bench.create().await;
    assert_eq!(bench.kind(Command::VaultCreate { passphrase: secret("again") }).await, Err(Kind::Conflict));
    assert_eq!(bench.set(1, "kept").await, Ok(Answer::Done {}));
    let status = bench.kind(Command::Status {}).await.unwrap();
    assert!(
        matches!(status, Answer::Status { locked: false, exists: true, groups: 1, peers: 3, store_bytes, .. } if store_bytes > 4_096)
    );
    // Open or not, a wrong passphrase is a wrong passphrase.
    assert_eq!(bench.kind(unlock("wrong")).await, Err(Kind::BadPassphrase));
    assert_eq!(bench.kind(unlock(PASSPHRASE)).await, Ok(Answer::Done {}));
    let change = |old: &str, new: &str| Command::VaultChangePassphrase { old: secret(old), new: secret(new) };
    assert_eq!(bench.kind(change("wrong", "new")).await, Err(Kind::BadPassphrase));
    assert_eq!(bench.kind(change(PASSPHRASE, "new")).await, Ok(Answer::Done {}));

    bench.sent();
    assert_eq!(bench.kind(Command::VaultLock {}).await, Ok(Answer::Done {}));
    assert!(matches!(&bench.sent()[..], [LaneCommand::Close { lane: closed }] if *closed == lane()));
    assert_eq!(bench.set(1, "late").await, Err(Kind::Locked));
    assert!(matches!(bench.kind(Command::Status {}).await, Ok(Answer::Status { locked: true, exists: true, .. })));
    assert_eq!(bench.kind(unlock(PASSPHRASE)).await, Err(Kind::BadPassphrase));
    // What is asked while the vault opens follows it.
    let (opened, text) = tokio::join!(bench.kind(unlock("new")), bench.get(1));
    assert_eq!((opened, text.as_str()), (Ok(Answer::Done {}), "kept"));
    bench.end().await;
}

#[tokio::test]
async fn persist_then_send_then_emit() {
    let bench = bench_in(tempfile::tempdir().unwrap(), 1);
    bench.create().await;
    let anchor = || std::fs::read(bench.home.path().join("anchor")).unwrap();
    let before = anchor();
    // The lane's opening fills the line, so the driver cannot send.
    let asked = bench.app.send(Command::DraftSet { group: GroupId([1; 32]), text: secret("text") }).unwrap();
    let mut waited = 0;
    while anchor() == before {
        tokio::time::sleep(Duration::from_millis(5)).await;
        waited += 1;
        assert!(waited < 2_000, "never persisted while sending is held up");
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let Bench { mut events, commands, running, .. } = bench;
    assert!(events.try_recv().is_none(), "no reply before it was sent");
    assert!(matches!(commands.lock().unwrap().try_recv(), Ok(LaneCommand::Open { .. })));
    let reply = events.recv().await;
    assert!(matches!(reply, Some(Event::Reply { command, result: Ok(_) }) if command == asked));
    let sent = commands.lock().unwrap().try_recv();
    assert!(matches!(sent, Ok(LaneCommand::DhtGet { .. })), "sent before the reply");
    running.shutdown().await;
}

#[tokio::test]
async fn a_failed_write_sends_and_says_nothing_and_the_engine_comes_back() {
    let mut bench = bench();
    bench.create().await;
    assert_eq!(bench.set(1, "first").await, Ok(Answer::Done {}));
    bench.sent();
    // A folder where the ring's next version must lie: no key for a new group can be written.
    let obstacle = bench.home.path().join("ring.new");
    std::fs::create_dir(&obstacle).unwrap();
    assert_eq!(bench.set(2, "lost").await, Err(Kind::Storage));
    assert_eq!(bench.warning().await, "the disk refused a write: what was just done did not happen");
    assert_eq!(bench.get(2).await, "", "the engine is again what the disk says");
    assert_eq!(bench.get(1).await, "first");
    let sent = bench.sent();
    assert!(matches!(&sent[..], [LaneCommand::Close { .. }, LaneCommand::Open { .. }]), "{sent:?}");
    std::fs::remove_dir(&obstacle).unwrap();
    assert_eq!(bench.set(2, "kept").await, Ok(Answer::Done {}));
    assert_eq!(bench.set(3, "too large").await, Err(Kind::TooLarge));
    assert_eq!((bench.get(2).await, bench.get(3).await), ("kept".to_owned(), String::new()));
    bench.end().await;
}

#[tokio::test]
async fn a_burst_shares_one_commit() {
    let bench = bench_in(tempfile::tempdir().unwrap(), 1);
    bench.create().await;
    // The full line holds the driver up while the burst gathers.
    let calls: Vec<_> = (0..60)
        .map(|n| bench.app.send(Command::DraftSet { group: GroupId([n; 32]), text: secret("text") }).unwrap())
        .collect();
    let commands = Arc::clone(&bench.commands);
    let drain = tokio::spawn(async move {
        loop {
            while commands.lock().unwrap().try_recv().is_ok() {}
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    let mut bench = bench;
    for asked in calls {
        let reply = bench.events.recv().await;
        assert!(matches!(reply, Some(Event::Reply { command, result: Ok(_) }) if command == asked), "in order");
    }
    let home = bench.end().await;
    drain.abort();
    let mut store = Store::unlock(home.path(), PASSPHRASE, VaultParams::with_mib(64).unwrap()).unwrap();
    assert_eq!(store.load_all().unwrap().len(), 60);
    assert!(store.generation() <= 5, "60 rows in {} batches", store.generation());
}

#[tokio::test]
async fn events_and_time_reach_the_engine_only_while_open() {
    let mut bench = bench();
    let event = || LaneEvent::CommonsPeers { addresses: Vec::new() };
    bench.lanes.send(event()).await.unwrap();
    bench.create().await;
    assert!(bench.events.try_recv().is_none(), "what came before the vault was open is gone");
    bench.lanes.send(event()).await.unwrap();
    assert_eq!(bench.warning().await, "heard");
    let waiting = bench.app.send(Command::NetworkSync { group: None }).unwrap();
    assert_eq!(bench.warning().await, "ticked");
    assert_eq!(bench.kind(Command::VaultLock {}).await, Ok(Answer::Done {}));
    let reply = bench.events.recv().await;
    assert!(
        matches!(reply, Some(Event::Reply { command, result: Err(r) }) if command == waiting && r.kind == Kind::Locked),
        "whoever still waits is told"
    );
    bench.lanes.send(event()).await.unwrap();
    assert!(matches!(bench.kind(Command::Status {}).await, Ok(Answer::Status { locked: true, .. })));
    assert!(bench.events.try_recv().is_none());
    bench.end().await;
}

#[tokio::test]
async fn a_damaged_store_shows_what_is_there_and_stays_silent() {
    let bench = bench();
    bench.create().await;
    assert_eq!(bench.set(1, "kept").await, Ok(Answer::Done {}));
    assert_eq!(bench.set(2, "kept too").await, Ok(Answer::Done {}));
    let home = bench.end().await;
    // The anchor of a later state: as if the rows were an older copy.
    let mut store = Store::unlock(home.path(), PASSPHRASE, VaultParams::with_mib(64).unwrap()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(home.path().join("db")).unwrap().map(Result::unwrap) {
        if file.file_type().unwrap().is_file() {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    let bucket = bucket(GroupId([3; 32]));
    store.commit(&[Write { bucket, table: Table::Draft, key: vec![1], value: Some(vec![1]) }]).unwrap();
    store.close();
    std::fs::remove_dir_all(home.path().join("db")).unwrap();
    std::fs::create_dir(home.path().join("db")).unwrap();
    for file in std::fs::read_dir(copy.path()).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), home.path().join("db").join(file.file_name())).unwrap();
    }

    let mut bench = bench_in(home, 64);
    let passphrase = secret(PASSPHRASE);
    assert_eq!(bench.kind(Command::VaultUnlock { passphrase }).await, Ok(Answer::Done {}));
    assert!(bench.warning().await.contains("damaged"));
    assert_eq!(bench.get(1).await, "kept");
    assert_eq!(bench.set(1, "new").await, Err(Kind::Storage));
    assert_eq!(bench.get(1).await, "kept");
    bench.lanes.send(LaneEvent::CommonsPeers { addresses: Vec::new() }).await.unwrap();
    assert_eq!(bench.get(2).await, "kept too");
    assert!(bench.events.try_recv().is_none() && bench.sent().is_empty());
    bench.end().await;
}

#[tokio::test]
async fn the_end_offers_the_outbox_and_frees_the_home() {
    let bench = bench();
    bench.create().await;
    bench.settled.store(false, Ordering::Relaxed);
    let second = spawn_with(&config(bench.home.path()), Arc::new(|| {}), factory(&bench.settled), {
        let (commands, _) = mpsc::channel(1);
        Lines { commands, events: mpsc::channel(1).1 }
    });
    assert_eq!(second.err(), Some(StartError::InUse));

    let Bench { home, app, running, mut events, commands, lanes, settled, .. } = bench;
    commands.lock().unwrap().try_recv().unwrap();
    let shutdown = tokio::spawn(running.shutdown());
    // Something is still undelivered: the engine goes on hearing the network.
    lanes.send(LaneEvent::CommonsPeers { addresses: Vec::new() }).await.unwrap();
    assert!(matches!(events.recv().await, Some(Event::Notice(Notice::Warning { text: "heard" }))));
    assert!(!shutdown.is_finished());
    settled.store(true, Ordering::Relaxed);
    lanes.send(LaneEvent::CommonsPeers { addresses: Vec::new() }).await.unwrap();
    shutdown.await.unwrap();
    assert!(matches!(commands.lock().unwrap().try_recv(), Ok(LaneCommand::Close { .. })));
    assert!(app.call(Command::Status {}).await.is_err());
    let again = bench_in(home, 64);
    // Dropping the last handle ends it as well.
    let Bench { app, mut events, running, .. } = again;
    drop(app);
    while events.recv().await.is_some() {}
    running.shutdown().await;
}

const CHILD: &str = "HEARTH_TEST_SECOND_PROCESS";

#[test]
fn a_second_process_is_refused() {
    let settled = Arc::new(AtomicBool::new(true));
    let lines = || Lines { commands: mpsc::channel(1).0, events: mpsc::channel(1).1 };
    if let Some(home) = std::env::var_os(CHILD) {
        let started = spawn_with(&config(Path::new(&home)), Arc::new(|| {}), factory(&settled), lines());
        println!("second: {:?}", started.err());
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let second = || {
        let out = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["driver::tests::a_second_process_is_refused", "--exact", "--nocapture"])
            .env(CHILD, home.path())
            .output()
            .unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(second().contains("second: None"), "control: an unused home is free");
    let (_app, _events, _running) =
        spawn_with(&config(home.path()), Arc::new(|| {}), factory(&settled), lines()).unwrap();
    assert!(second().contains("second: Some(InUse)"));
}

#[tokio::test]
async fn chores_run_with_the_clock_that_is_given() {
    let home = tempfile::tempdir().unwrap();
    let now = Arc::new(AtomicU64::new(20_000 * 86_400_000));
    let spawn = |now: &Arc<AtomicU64>| {
        let (app, events, backend) = channel(Arc::new(|| {}));
        let now = Arc::clone(now);
        let setup = Setup {
            home: home.path().to_owned(),
            lock: File::create(home.path().join("lock")).unwrap(),
            engine: EngineConfig::default(),
            vault: VaultParams::with_mib(64).unwrap(),
            mode: "direct",
            clock: Arc::new(move || Timestamp(now.load(Ordering::SeqCst))),
        };
        let lines = Lines { commands: mpsc::channel(1).0, events: mpsc::channel(1).1 };
        let driver = Driver::new(setup, backend, factory(&Arc::new(AtomicBool::new(true))), lines);
        (app, events, builder::start(driver, None).unwrap())
    };
    let (app, _events, running) = spawn(&now);
    app.call(Command::VaultCreate { passphrase: secret(PASSPHRASE) }).await.unwrap();
    running.shutdown().await;
    now.fetch_add(3_650 * 86_400_000, Ordering::SeqCst);
    let (app, mut events, running) = spawn(&now);
    app.call(Command::VaultUnlock { passphrase: secret(PASSPHRASE) }).await.unwrap();
    let warned = events.try_recv();
    assert!(matches!(warned, Some(Event::Notice(Notice::Warning { text })) if text == vaults::JUMPED));
    running.shutdown().await;
}
