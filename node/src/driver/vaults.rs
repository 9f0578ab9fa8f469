//! The vault's commands. Deriving a key takes a second, so it happens on a thread beside the driver; one at a time, in
//! the order of asking.

use std::future::pending;

use hearth_protocol::time::Day;
use tokio::task::JoinHandle;

use super::{BUSY, DISK, Driver, LOCKED, VAULT_QUEUE, session};
use crate::{
    app::{Answer, Ask, Command, Refusal},
    engine::Input,
    store::{Expiry, Store, StoreError, VaultError, vault},
};

pub(super) const JUMPED: &str = "this computer's clock jumped by more than a year: nothing expires until it is right";

/// What came of deriving a key.
pub(super) enum Outcome {
    /// The vault was made or opened.
    Opened(Result<(Box<Store>, Expiry), StoreError>),
    /// Only the passphrase was checked or changed.
    Checked(Result<(), VaultError>),
    /// The thread died.
    Lost,
}

pub(super) type Job = JoinHandle<Outcome>;

/// Waits for the job, if there is one; takes it away when it is done.
pub(super) async fn finished(job: &mut Option<(Ask, Job)>) -> (Ask, Outcome) {
    let Some((_, handle)) = job.as_mut() else { return pending().await };
    let outcome = handle.await.unwrap_or(Outcome::Lost);
    match job.take() {
        Some((ask, _)) => (ask, outcome),
        None => pending().await,
    }
}

pub(super) fn is_vault(command: &Command) -> bool {
    matches!(
        command,
        Command::VaultCreate { .. }
            | Command::VaultUnlock { .. }
            | Command::VaultLock {}
            | Command::VaultChangePassphrase { .. }
    )
}

/// What a fresh unlock does before anything is read: expired and overwritten rows become unreadable.
fn tidy(mut store: Store, today: Day) -> Result<(Box<Store>, Expiry), StoreError> {
    if store.is_damaged() {
        return Ok((Box::new(store), Expiry::Erased(0)));
    }
    let expiry = store.expire(today, false).and_then(|expiry| store.wipe(true).map(|_| expiry));
    match expiry {
        Ok(expiry) => Ok((Box::new(store), expiry)),
        // A full disk must not keep anyone from reading.
        Err(_) => store.reopen().map(|()| (Box::new(store), Expiry::Erased(0))),
    }
}

impl Driver {
    pub(super) async fn vault_queue_push(&mut self, ask: Ask) {
        if self.vault_queue.len() >= VAULT_QUEUE {
            return session::reply(&self.backend, ask.id, ask.reply, Err(BUSY));
        }
        self.vault_queue.push_back(ask);
        self.next_vault().await;
    }

    /// Begins the next vault command, unless one is under way.
    pub(super) async fn next_vault(&mut self) {
        while self.job.is_none() {
            let Some(ask) = self.vault_queue.pop_front() else { return };
            let home = self.setup.home.clone();
            let params = self.setup.vault;
            let today = (self.setup.clock)().day();
            let work: Box<dyn FnOnce() -> Outcome + Send> = match &ask.command {
                Command::VaultCreate { passphrase } => {
                    let passphrase = passphrase.clone();
                    Box::new(move || {
                        let made = Store::create(&home, passphrase.expose(), params);
                        Outcome::Opened(made.and_then(|store| tidy(store, today)))
                    })
                }
                Command::VaultUnlock { passphrase } if self.store.is_some() => {
                    let passphrase = passphrase.clone();
                    Box::new(move || Outcome::Checked(vault::verify(&home, passphrase.expose())))
                }
                Command::VaultUnlock { passphrase } => {
                    let passphrase = passphrase.clone();
                    Box::new(move || {
                        let opened = Store::unlock(&home, passphrase.expose(), params);
                        Outcome::Opened(opened.and_then(|store| tidy(store, today)))
                    })
                }
                Command::VaultChangePassphrase { old, new } => {
                    let (old, new) = (old.clone(), new.clone());
                    Box::new(move || Outcome::Checked(vault::change(&home, old.expose(), new.expose(), params)))
                }
                _ => {
                    // What only waits for cover is on disk, or under way, before the secrets go.
                    self.input(Input::Closing).await;
                    self.close(LOCKED).await;
                    session::reply(&self.backend, ask.id, ask.reply, Ok(Answer::Done {}));
                    continue;
                }
            };
            self.job = Some((ask, tokio::task::spawn_blocking(work)));
        }
    }

    /// Takes the outcome over and replies, for an opened vault after the engine's first effects.
    pub(super) async fn vault_done(&mut self, ask: Ask, outcome: Outcome) {
        let result = match outcome {
            Outcome::Lost => Err(DISK),
            Outcome::Checked(result) => result.map_err(Refusal::from),
            Outcome::Opened(Err(e)) => Err(Refusal::from(e)),
            Outcome::Opened(Ok((store, expiry))) => {
                self.store = Some(*store);
                if expiry == Expiry::ClockJumped {
                    self.warn(JUMPED);
                }
                let started = self.start_core().await;
                if let Err(refusal) = &started {
                    self.close(refusal.clone()).await;
                }
                started
            }
        };
        session::reply(&self.backend, ask.id, ask.reply, result.map(|()| Answer::Done {}));
    }
}
