//! A JSON-RPC client over a child's pipes: a thread reads, everybody else waits for what it found.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    process::{ChildStdin, ChildStdout},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

/// Events that are kept for a later wait; the oldest go first.
const EVENTS_KEPT: usize = 100_000;

/// A request whose answer is still to come.
#[derive(Debug)]
pub struct Ticket {
    id: u64,
    method: &'static str,
}

/// An error reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// JSON-RPC code.
    pub code: i64,
    /// `data.kind`, for application errors.
    pub kind: Option<String>,
    /// What it says.
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused ({}, {:?}): {}", self.code, self.kind, self.message)
    }
}

impl std::error::Error for Refused {}

#[derive(Default)]
struct Found {
    replies: HashMap<u64, Value>,
    /// Replies whose id is null: errors of lines that are no requests.
    nameless: VecDeque<Value>,
    events: VecDeque<(Instant, Value)>,
    noise: Vec<String>,
    ended: bool,
}

#[derive(Default)]
struct Shared {
    found: Mutex<Found>,
    news: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something; looks again at every line that arrives.
    fn wait<T>(&self, limit: Duration, mut look: impl FnMut(&mut Found) -> Option<T>) -> Option<T> {
        let started = Instant::now();
        let mut found = self.lock();
        loop {
            if let Some(value) = look(&mut found) {
                return Some(value);
            }
            let left = limit.checked_sub(started.elapsed())?;
            if found.ended {
                return None;
            }
            found = self.news.wait_timeout(found, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The program's end of an agent.
pub struct Client {
    stdin: Option<ChildStdin>,
    shared: Arc<Shared>,
    next: u64,
}

impl Client {
    /// Takes over the pipes of a child.
    #[must_use]
    pub fn new(stdin: ChildStdin, stdout: ChildStdout) -> Self {
        let shared = Arc::new(Shared::default());
        let reader = Arc::clone(&shared);
        thread::spawn(move || read(stdout, &reader));
        Self { stdin: Some(stdin), shared, next: 1 }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the process does not take them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the input is closed")?;
        stdin.write_all(bytes).and_then(|()| stdin.flush()).context("the process takes no input")
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the process does not take it.
    pub fn ask(&mut self, method: &'static str, params: &Value) -> Result<Ticket> {
        let id = self.next;
        self.next += 1;
        let mut line = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string();
        line.push('\n');
        self.write(line.as_bytes())?;
        Ok(Ticket { id, method })
    }

    /// Waits for an answer.
    ///
    /// # Errors
    /// [`Refused`] for an error reply; otherwise when none comes in time or the process has ended.
    pub fn answer(&self, ticket: &Ticket, limit: Duration) -> Result<Value> {
        let Some(mut reply) = self.shared.wait(limit, |found| found.replies.remove(&ticket.id)) else {
            let state = if self.shared.lock().ended { "the process closed its output" } else { "nothing came" };
            bail!("no answer to {} within {limit:?}: {state}", ticket.method);
        };
        match reply.get("error") {
            None => Ok(reply.get_mut("result").map(Value::take).context("a reply without result or error")?),
            Some(error) => Err(refused(error).into()),
        }
    }

    /// Waits for an error reply without an id.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn nameless(&self, limit: Duration) -> Result<Refused> {
        let reply = self.shared.wait(limit, |found| found.nameless.pop_front());
        let reply = reply.with_context(|| format!("no error reply without id within {limit:?}"))?;
        Ok(refused(reply.get("error").context("a reply without id is an error")?))
    }

    /// Waits for an event of this type that `fits`, and takes it out. Others stay.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn event(&self, kind: &str, limit: Duration, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.event_at(kind, limit, fits).map(|(_, event)| event)
    }

    /// The same, with the moment at which its line was read.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn event_at(&self, kind: &str, limit: Duration, fits: impl Fn(&Value) -> bool) -> Result<(Instant, Value)> {
        let event = self.shared.wait(limit, |found| {
            let at = found.events.iter().position(|(_, event)| event["type"] == kind && fits(event))?;
            found.events.remove(at)
        });
        event.with_context(|| format!("no fitting event {kind} within {limit:?}"))
    }

    /// Waits for any line at all, at most `limit`: the pause between two looks at a condition.
    pub fn any_news(&self, limit: Duration) {
        let count = |found: &Found| found.events.len() + found.replies.len() + found.nameless.len();
        let before = count(&self.shared.lock());
        let _news = self.shared.wait(limit, |found| (count(found) != before).then_some(()));
    }

    /// Lines on standard output that are no JSON-RPC: there must be none.
    #[must_use]
    pub fn noise(&self) -> Vec<String> {
        self.shared.lock().noise.clone()
    }

    /// Closes the input.
    pub fn close(&mut self) {
        self.stdin = None;
    }
}

fn refused(error: &Value) -> Refused {
    Refused {
        code: error["code"].as_i64().unwrap_or_default(),
        kind: error["data"]["kind"].as_str().map(str::to_owned),
        message: error["message"].as_str().unwrap_or_default().to_owned(),
    }
}

fn read(stdout: ChildStdout, shared: &Shared) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        let mut found = shared.lock();
        match serde_json::from_str::<Value>(&line) {
            Ok(mut value) if value["method"] == "event" => {
                if found.events.len() == EVENTS_KEPT {
                    found.events.pop_front();
                }
                found.events.push_back((Instant::now(), value["params"].take()));
            }
            Ok(value) if value["jsonrpc"] == "2.0" && value["id"].is_null() => found.nameless.push_back(value),
            Ok(value) if value["jsonrpc"] == "2.0" && value["id"].is_u64() => {
                let id = value["id"].as_u64().unwrap_or_default();
                found.replies.insert(id, value);
            }
            _ => found.noise.push(line),
        }
        drop(found);
        shared.news.notify_all();
    }
    shared.lock().ended = true;
    shared.news.notify_all();
}
