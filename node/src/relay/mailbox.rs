//! PURE: the rules of a mailbox. No clock, randomness, disk or async: the caller passes `now` and nonces.
//!
//! # Contract
//! [`Mailbox::handle`] answers one request. When [`Outcome::wrote`] is set, the caller makes the store durable with
//! [`Mailbox::sync`] before it hands out that answer, its push, *or any later answer*: a cursor given out for a blob
//! that is then lost would hide the next blob of that number for ever. Many requests may share one sync.

mod quota;
mod store;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ed25519_dalek::{Signature, VerifyingKey};
use hearth_protocol::{
    id::{QueueId, SlotId},
    limits::{FRAME_LARGE, FRAME_SMALL, GET_MAX, SLOT_BODY_MAX},
    mailbox::{Action, Answer, Blob, Greeting, QueueKind, Refusal, Request, pow_ok, queue_id, request_message},
    time::Timestamp,
};

use quota::{Allowance, CreateLoad};
pub use quota::{Quotas, Rate};
pub use store::{MailboxStore, MemoryStore, NewBlob, QueueRow, SlotRow, StoreError};

/// Names a session; chosen by the caller, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Who may make queues and slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// A relay: everybody who pays the proof of work.
    Open,
    /// A member's own mailbox: its owner alone. Others use what is there.
    Own,
}

/// Who speaks in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// Somebody on the network.
    Remote,
    /// The member whose mailbox it is, inside the same process: pays no proof of work and no rates.
    Owner,
}

/// A blob for those who subscribed to its queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// To whom.
    pub sessions: Vec<SessionId>,
    /// Queue.
    pub queue: QueueId,
    /// Blob.
    pub blob: Blob,
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub answer: Answer,
    /// A blob to hand to subscribers, after the answer.
    pub push: Option<Push>,
    /// Whether the store must be synced first.
    pub wrote: bool,
}

/// How full it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Queues.
    pub queues: u64,
    /// Slots.
    pub slots: u64,
    /// Bytes of everything, as counted against the quota.
    pub bytes: u64,
    /// Of these, bytes of slots.
    pub slot_bytes: u64,
}

/// What a queue or slot counts for besides its content.
const ROW_COST: u64 = 1_024;
/// What a blob counts for besides its bytes.
const BLOB_COST: u64 = 64;
/// Rows looked at in one step of a sweep.
const SWEEP_STEP: usize = 256;

struct Session {
    nonce: [u8; 32],
    party: Party,
    requests: Allowance,
    new_slots: Allowance,
    queues: BTreeSet<QueueId>,
}

/// A mailbox: queues, slots and who is listening.
pub struct Mailbox<S> {
    store: S,
    relay_key: [u8; 32],
    verify: Verify,
    policy: Policy,
    quotas: Quotas,
    usage: Usage,
    load: CreateLoad,
    sessions: HashMap<SessionId, Session>,
    subscribers: HashMap<QueueId, BTreeSet<SessionId>>,
    puts: BTreeMap<QueueId, Allowance>,
}

/// Whether a signature is this key's of a message.
pub type Verify = fn(key: &[u8; 32], message: &[u8], sig: &[u8; 64]) -> bool;

fn ed25519(key: &[u8; 32], message: &[u8], sig: &[u8; 64]) -> bool {
    let signature = Signature::from_bytes(sig);
    VerifyingKey::from_bytes(key).is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

type Handled = Result<Result<Outcome, Refusal>, StoreError>;

impl<S: MailboxStore> Mailbox<S> {
    /// A mailbox over what the store already holds, which is counted once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn new(store: S, relay_key: [u8; 32], policy: Policy, quotas: Quotas) -> Result<Self, StoreError> {
        let mut mailbox = Self {
            store,
            relay_key,
            verify: ed25519,
            policy,
            quotas,
            usage: Usage::default(),
            load: CreateLoad::default(),
            sessions: HashMap::new(),
            subscribers: HashMap::new(),
            puts: BTreeMap::new(),
        };
        mailbox.count()?;
        Ok(mailbox)
    }

    /// The same, with another word for what a signature is: for simulations, whose members sign accordingly.
    #[must_use]
    pub fn verified_by(self, verify: Verify) -> Self {
        Self { verify, ..self }
    }

    /// Ends it: what its store holds stays.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    fn count(&mut self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.store.queues(after.as_ref(), SWEEP_STEP)?;
            for (_, row) in &page {
                self.usage.queues += 1;
                self.usage.bytes += ROW_COST + row.bytes + row.blobs() * BLOB_COST;
            }
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
        }
        let mut after = None;
        loop {
            let page = self.store.slots(after.as_ref(), SWEEP_STEP)?;
            for (_, row) in &page {
                self.usage.slots += 1;
                self.grow_slots(ROW_COST + row.bytes());
            }
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
        }
        Ok(())
    }

    /// Begins a session with a fresh random nonce and tells what to greet with.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when too many are open.
    pub fn open(
        &mut self,
        session: SessionId,
        nonce: [u8; 32],
        party: Party,
        now: Timestamp,
    ) -> Result<Greeting, Refusal> {
        if self.sessions.len() >= self.quotas.sessions && party == Party::Remote {
            return Err(Refusal::Busy);
        }
        let state = Session {
            nonce,
            party,
            requests: Allowance::full(self.quotas.requests, now),
            new_slots: Allowance::full(self.quotas.new_slots, now),
            queues: BTreeSet::new(),
        };
        self.sessions.insert(session, state);
        let pow_bits = self.pow_bits(now);
        Ok(Greeting { relay_key: self.relay_key, nonce, pow_bits })
    }

    /// Ends a session and its subscriptions.
    pub fn close(&mut self, session: SessionId) {
        let Some(state) = self.sessions.remove(&session) else { return };
        for queue in state.queues {
            if let Some(listeners) = self.subscribers.get_mut(&queue) {
                listeners.remove(&session);
                if listeners.is_empty() {
                    self.subscribers.remove(&queue);
                }
            }
        }
    }

    /// Answers one request: see the contract above.
    ///
    /// # Errors
    /// [`StoreError`]: the mailbox must not be used any more.
    pub fn handle(&mut self, session: SessionId, request: &Request, now: Timestamp) -> Result<Outcome, StoreError> {
        let handled = match self.admit(session, now) {
            Err(refusal) => Err(refusal),
            Ok((nonce, party)) => {
                let asked = Asked { session, nonce, party, request, now };
                match &request.action {
                    Action::Create { write_pk, read_pk, kind, pow } => {
                        self.create(&asked, (write_pk, read_pk, *kind), *pow)?
                    }
                    Action::Put { queue, blob } => self.put(&asked, queue, blob)?,
                    Action::Get { queue, after, max } => self.get(&asked, queue, *after, usize::from(*max))?,
                    Action::Subscribe { queue, after } => self.subscribe(&asked, queue, *after)?,
                    Action::SlotPut { slot, write_pk, version, body } => {
                        self.slot_put(&asked, slot, (write_pk, *version), body)?
                    }
                    Action::SlotRotate { slot, write_pk } => self.slot_rotate(&asked, slot, write_pk)?,
                    Action::SlotGet { slot } => self.slot_get(slot)?,
                }
            }
        };
        Ok(handled.unwrap_or_else(|refusal| read(Answer::Refused(refusal))))
    }

    fn admit(&mut self, session: SessionId, now: Timestamp) -> Result<([u8; 32], Party), Refusal> {
        let rate = self.quotas.requests;
        let state = self.sessions.get_mut(&session).ok_or(Refusal::Invalid)?;
        if state.party == Party::Remote && !state.requests.take(rate, now) {
            return Err(Refusal::Busy);
        }
        Ok((state.nonce, state.party))
    }

    /// Whether nothing of this id may be made by this party.
    fn closed_to(&self, party: Party) -> bool {
        self.policy == Policy::Own && party == Party::Remote
    }

    fn signed(&self, asked: &Asked<'_>, key: &[u8; 32]) -> bool {
        let message = request_message(&self.relay_key, &asked.nonce, &asked.request.action);
        (self.verify)(key, &message, &asked.request.sig)
    }

    fn create(&mut self, asked: &Asked<'_>, queue: (&[u8; 32], &[u8; 32], QueueKind), pow: u64) -> Handled {
        let (write_pk, read_pk, kind) = queue;
        let id = queue_id(write_pk, read_pk, kind);
        if self.store.queue(&id)?.is_some() {
            return Ok(Ok(read(Answer::Created)));
        }
        if self.closed_to(asked.party) {
            return Ok(Err(Refusal::NotFound));
        }
        if asked.party == Party::Remote {
            // One bit of grace, so that a rise between greeting and request does not turn everybody away.
            let bits = self.pow_bits(asked.now).saturating_sub(1).max(self.quotas.pow_bits);
            if !pow_ok(&self.relay_key, &asked.nonce, &id, pow, bits) {
                return Ok(Err(Refusal::Work));
            }
        }
        if self.usage.bytes + ROW_COST > self.quotas.total_bytes / 10 * 9 {
            return Ok(Err(Refusal::Full));
        }
        let (write_pk, read_pk) = (*write_pk, *read_pk);
        let row = QueueRow { write_pk, read_pk, kind, first: 1, last: 0, bytes: 0, touched: asked.now };
        self.store.put_queue(&id, &row, None)?;
        self.load.created(asked.now);
        self.usage.queues += 1;
        self.usage.bytes += ROW_COST;
        Ok(Ok(wrote(Answer::Created)))
    }

    fn put(&mut self, asked: &Asked<'_>, id: &QueueId, blob: &[u8]) -> Handled {
        if blob.len() != FRAME_SMALL && blob.len() != FRAME_LARGE {
            return Ok(Err(Refusal::Size));
        }
        let Some(mut row) = self.store.queue(id)? else { return Ok(Err(Refusal::NotFound)) };
        if !self.signed(asked, &row.write_pk) {
            return Ok(Err(Refusal::Signature));
        }
        let rate = self.quotas.put;
        let allowance = self.puts.entry(*id).or_insert_with(|| Allowance::full(rate, asked.now));
        if asked.party == Party::Remote && !allowance.take(rate, asked.now) {
            return Ok(Err(Refusal::Busy));
        }
        let size = blob.len() as u64;
        let (bytes, blobs) = self.quotas.queue(row.kind);
        let full = row.bytes + size > bytes || row.blobs() >= blobs;
        if full || self.usage.bytes + size + BLOB_COST > self.quotas.total_bytes {
            return Ok(Err(Refusal::Full));
        }
        row.last += 1;
        row.bytes += size;
        row.touched = asked.now;
        self.store.put_queue(id, &row, Some(NewBlob { at: asked.now, bytes: blob }))?;
        self.usage.bytes += size + BLOB_COST;
        let push = self.subscribers.get(id).map(|listeners| Push {
            sessions: listeners.iter().copied().collect(),
            queue: *id,
            blob: Blob { seq: row.last, bytes: blob.to_vec() },
        });
        Ok(Ok(Outcome { answer: Answer::Stored { seq: row.last }, push, wrote: true }))
    }

    fn get(&mut self, asked: &Asked<'_>, id: &QueueId, after: u64, max: usize) -> Handled {
        let Some(row) = self.store.queue(id)? else { return Ok(Err(Refusal::NotFound)) };
        if !self.signed(asked, &row.read_pk) {
            return Ok(Err(Refusal::Signature));
        }
        let blobs = self.store.blobs(id, after, max.clamp(1, GET_MAX))?;
        let more = blobs.last().is_some_and(|blob| blob.seq < row.last);
        Ok(Ok(read(Answer::Blobs { blobs, more })))
    }

    fn subscribe(&mut self, asked: &Asked<'_>, id: &QueueId, after: u64) -> Handled {
        let answer = match self.get(asked, id, after, GET_MAX)? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let Some(state) = self.sessions.get_mut(&asked.session) else { return Ok(Err(Refusal::Invalid)) };
        let room = state.queues.len() < self.quotas.subscriptions || state.party == Party::Owner;
        if !room && !state.queues.contains(id) {
            return Ok(Err(Refusal::Busy));
        }
        state.queues.insert(*id);
        self.subscribers.entry(*id).or_default().insert(asked.session);
        Ok(Ok(answer))
    }

    fn slot_put(&mut self, asked: &Asked<'_>, id: &SlotId, next: (&[u8; 32], u64), body: &[u8]) -> Handled {
        let (write_pk, version) = next;
        if body.len() > SLOT_BODY_MAX {
            return Ok(Err(Refusal::Size));
        }
        let stored = self.store.slot(id)?;
        if stored.is_none() && self.closed_to(asked.party) {
            return Ok(Err(Refusal::NotFound));
        }
        let bound_to_another = stored.as_ref().is_some_and(|row| row.write_pk != *write_pk);
        if bound_to_another || !self.signed(asked, write_pk) {
            return Ok(Err(Refusal::Signature));
        }
        if stored.as_ref().map_or(0, |row| row.version).checked_add(1) != Some(version) {
            return Ok(Err(Refusal::Version));
        }
        let is_new = stored.is_none();
        if is_new && asked.party == Party::Remote {
            let rate = self.quotas.new_slots;
            let state = self.sessions.get_mut(&asked.session);
            if !state.is_some_and(|state| state.new_slots.take(rate, asked.now)) {
                return Ok(Err(Refusal::Busy));
            }
        }
        let before = stored.as_ref().map_or(0, |row| ROW_COST + row.bytes());
        let row = stored
            .unwrap_or(SlotRow { write_pk: *write_pk, version: 0, sizes: Vec::new(), touched: asked.now })
            .next(body.len(), asked.now);
        let after = ROW_COST + row.bytes();
        // Slots cost no proof of work: a rush of them must not take the place of messages.
        let grown = after.saturating_sub(before);
        let over = self.usage.slot_bytes + grown > self.quotas.total_bytes / 4
            || self.usage.bytes + grown > self.quotas.total_bytes;
        if grown > 0 && over {
            return Ok(Err(Refusal::Full));
        }
        self.store.put_slot(id, &row, Some(body))?;
        self.usage.slots += u64::from(is_new);
        self.shrink_slots(before);
        self.grow_slots(after);
        Ok(Ok(wrote(Answer::SlotStored)))
    }

    fn slot_rotate(&mut self, asked: &Asked<'_>, id: &SlotId, write_pk: &[u8; 32]) -> Handled {
        let Some(mut row) = self.store.slot(id)? else { return Ok(Err(Refusal::NotFound)) };
        if !self.signed(asked, &row.write_pk) {
            return Ok(Err(Refusal::Signature));
        }
        row.write_pk = *write_pk;
        row.touched = asked.now;
        self.store.put_slot(id, &row, None)?;
        Ok(Ok(wrote(Answer::SlotStored)))
    }

    fn slot_get(&mut self, id: &SlotId) -> Handled {
        let Some(row) = self.store.slot(id)? else { return Ok(Err(Refusal::NotFound)) };
        let bodies = self.store.bodies(id, &row)?.into_iter().map(Into::into).collect();
        Ok(Ok(read(Answer::Slot { version: row.version, write_pk: row.write_pk, bodies })))
    }

    fn grow_slots(&mut self, bytes: u64) {
        self.usage.slot_bytes += bytes;
        self.usage.bytes += bytes;
    }

    fn shrink_slots(&mut self, bytes: u64) {
        self.usage.slot_bytes = self.usage.slot_bytes.saturating_sub(bytes);
        self.usage.bytes = self.usage.bytes.saturating_sub(bytes);
    }

    /// Makes everything handled so far survive a crash.
    ///
    /// # Errors
    /// [`StoreError`]: nothing may be acknowledged any more.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.store.sync()
    }

    /// Drops what has outlived its time, and says how many blobs and slots went. Sync afterwards.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn sweep(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        let mut after = None;
        loop {
            let page = self.store.queues(after.as_ref(), SWEEP_STEP)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, row) in page {
                gone += self.sweep_queue(&id, row, now)?;
            }
        }
        let mut after = None;
        loop {
            let page = self.store.slots(after.as_ref(), SWEEP_STEP)?;
            let Some((last, _)) = page.last() else { break };
            after = Some(*last);
            for (id, row) in page {
                if now.since(row.touched) > self.quotas.control_ttl_ms {
                    self.store.drop_slot(&id, &row)?;
                    self.shrink_slots(ROW_COST + row.bytes());
                    self.usage.slots = self.usage.slots.saturating_sub(1);
                    gone += 1;
                }
            }
        }
        let rate = self.quotas.put;
        self.puts.retain(|_, allowance| !allowance.is_full(rate, now));
        Ok(gone)
    }

    fn sweep_queue(&mut self, id: &QueueId, mut row: QueueRow, now: Timestamp) -> Result<u64, StoreError> {
        let ttl = self.quotas.ttl_ms(row.kind);
        let from = row.first;
        while let Some((at, size)) = self.store.blob_age(id, row.first)? {
            if now.since(at) <= ttl {
                break;
            }
            row.first += 1;
            row.bytes = row.bytes.saturating_sub(size);
            self.usage.bytes = self.usage.bytes.saturating_sub(size + BLOB_COST);
        }
        let gone = row.first - from;
        if row.blobs() == 0 && now.since(row.touched) > ttl {
            self.store.drop_blobs(id, from, None)?;
            self.usage.queues = self.usage.queues.saturating_sub(1);
            self.usage.bytes = self.usage.bytes.saturating_sub(ROW_COST);
        } else if gone > 0 {
            self.store.drop_blobs(id, from, Some(&row))?;
        }
        Ok(gone)
    }

    /// Leading zero bits now asked of a proof of work.
    pub fn pow_bits(&mut self, now: Timestamp) -> u8 {
        self.load.bits(&self.quotas, now)
    }

    /// How full it is.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Sessions open.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }
}

/// One request with what its session knows.
struct Asked<'a> {
    session: SessionId,
    nonce: [u8; 32],
    party: Party,
    request: &'a Request,
    now: Timestamp,
}

fn read(answer: Answer) -> Outcome {
    Outcome { answer, push: None, wrote: false }
}

fn wrote(answer: Answer) -> Outcome {
    Outcome { answer, push: None, wrote: true }
}

#[cfg(test)]
pub(crate) mod kit;
#[cfg(test)]
mod tests;
