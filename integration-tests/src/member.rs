//! A member: an agent process and what people do with it.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};

use crate::{
    Client, PATIENCE, Refused, Ticket,
    process::{Place, Process},
};

/// The passphrase of every member that does not choose another.
pub const PASSPHRASE: &str = "four quiet herons at dawn";

/// A message that was acknowledged as durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its id.
    pub message: String,
    /// Its text.
    pub text: String,
}

/// An agent with a client.
pub struct Member {
    /// For messages of failures.
    pub name: String,
    /// Where it lives.
    pub home: PathBuf,
    /// Of its vault.
    pub passphrase: String,
    args: Vec<String>,
    place: Place,
    process: Process,
    client: Client,
}

impl Member {
    /// In `direct`, `relayed`, or `tor` with the port of Tor after it.
    pub(crate) fn start(home: &Path, place: Place, (mode, relays): (&str, &[&str])) -> Result<Self> {
        let mut args = vec!["agent".into(), "--home".into(), home.display().to_string()];
        match mode {
            "direct" => args.extend(["--listen".into(), place.any_port()]),
            mode => args.extend(mode.split(' ').enumerate().flat_map(|(at, word)| {
                let flag = if at == 0 { "--mode" } else { "--tor-socks" };
                [flag.to_owned(), word.to_owned()]
            })),
        }
        for relay in relays {
            args.extend(["--relay".into(), (*relay).to_owned()]);
        }
        let name = home.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (process, client) = spawn(&place, &args, home)?;
        Ok(Self { name, home: home.to_owned(), passphrase: PASSPHRASE.into(), args, place, process, client })
    }

    /// Where its log lies: beside its home, so that it can be searched too.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        log(&self.home)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Its client, for what has no word of its own here.
    pub fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Whether the process runs.
    pub fn alive(&mut self) -> bool {
        self.process.alive()
    }

    /// Asks and waits.
    ///
    /// # Errors
    /// With the method, the refusal or the reason, and the end of the log.
    pub fn call(&mut self, method: &'static str, params: Value) -> Result<Value> {
        let ticket = self.ask(method, &params)?;
        self.answer(&ticket)
    }

    /// Asks without waiting.
    ///
    /// # Errors
    /// When the process does not take it.
    pub fn ask(&mut self, method: &'static str, params: &Value) -> Result<Ticket> {
        self.client.ask(method, params).with_context(|| format!("{}: {method}", self.name))
    }

    /// Waits for what was asked.
    ///
    /// # Errors
    /// As [`Member::call`].
    pub fn answer(&mut self, ticket: &Ticket) -> Result<Value> {
        self.client.answer(ticket, PATIENCE).map_err(|e| {
            // A refusal is an answer: its log says nothing more.
            let log = if e.is::<Refused>() { String::new() } else { format!("; log:\n{}", self.process.log_tail()) };
            e.context(format!("{}: {ticket:?}{log}", self.name))
        })
    }

    /// Asks for something that must be refused, and returns the refusal.
    ///
    /// # Errors
    /// When it is not refused, or not answered.
    pub fn refusal(&mut self, method: &'static str, params: Value) -> Result<Refused> {
        match self.call(method, params) {
            Ok(_) => bail!("{}: {method} was not refused", self.name),
            Err(e) => e.downcast::<Refused>(),
        }
    }

    /// Waits for an event of this type that fits.
    ///
    /// # Errors
    /// When none comes in time.
    pub fn event(&mut self, kind: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let event = self.client.event(kind, PATIENCE, fits);
        event.with_context(|| format!("{}; log:\n{}", self.name, self.process.log_tail()))
    }

    /// Looks until there is something to see: again at every event, and ten times a second.
    ///
    /// # Errors
    /// When `look` fails, or nothing is seen in time.
    pub fn until<T>(&mut self, what: &str, mut look: impl FnMut(&mut Self) -> Result<Option<T>>) -> Result<T> {
        let started = Instant::now();
        loop {
            if let Some(seen) = look(self)? {
                return Ok(seen);
            }
            if started.elapsed() > PATIENCE {
                bail!("{}: not within {PATIENCE:?}: {what}; log:\n{}", self.name, self.process.log_tail());
            }
            self.client.any_news(Duration::from_millis(100));
        }
    }

    /// Makes the vault.
    ///
    /// # Errors
    /// When it is refused.
    pub fn create_vault(&mut self) -> Result<()> {
        let params = json!({"passphrase": self.passphrase});
        self.call("vault.create", params).map(drop)
    }

    /// Opens the vault.
    ///
    /// # Errors
    /// When it is refused.
    pub fn unlock(&mut self) -> Result<()> {
        let params = json!({"passphrase": self.passphrase});
        self.call("vault.unlock", params).map(drop)
    }

    /// Founds an open group under a name of one's own.
    ///
    /// # Errors
    /// When it is refused.
    pub fn found(&mut self, group_name: &str, own_name: &str) -> Result<String> {
        let params = json!({"name": group_name, "join": "open", "persona": {"name": own_name}});
        let created = self.call("group.create", params)?;
        text(&created, "group")
    }

    /// A link for up to 50 people, held by the group's relays if it has any.
    ///
    /// # Errors
    /// When it is refused.
    pub fn invite(&mut self, group: &str) -> Result<String> {
        let invite = self.call("invite.create", json!({"group": group, "uses": 50}))?;
        text(&invite, "link")
    }

    /// Joins an open group.
    ///
    /// # Errors
    /// When it is refused, or the state is not `joined`.
    pub fn join(&mut self, link: &str, own_name: &str) -> Result<String> {
        let params = json!({"link": link, "persona": {"name": own_name}, "accept_charter": true});
        let joined = self.call("group.join", params)?;
        ensure!(joined["state"] == "joined", "{}: joining an open group gave {}", self.name, joined["state"]);
        text(&joined, "group")
    }

    /// Says something.
    ///
    /// # Errors
    /// When it is refused.
    pub fn say(&mut self, group: &str, words: &str) -> Result<Said> {
        let sent = self.call("message.send", json!({"group": group, "text": words}))?;
        Ok(Said { message: text(&sent, "message")?, text: words.to_owned() })
    }

    /// Every message of a group, oldest first, page by page.
    ///
    /// # Errors
    /// When a page is refused.
    pub fn messages(&mut self, group: &str) -> Result<Vec<Value>> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let mut params = json!({"group": group, "limit": 500});
            if let (Some(last), Some(params)) = (all.last(), params.as_object_mut()) {
                params.insert("after".into(), last["message"].clone());
            }
            let mut page = self.call("message.list", params)?;
            let Some(rows) = page["messages"].as_array_mut() else { bail!("message.list without messages") };
            let full = rows.len() == 500;
            all.append(rows);
            if !full {
                return Ok(all);
            }
        }
    }

    /// The texts of a group in the order in which everybody sees them.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn texts(&mut self, group: &str) -> Result<Vec<String>> {
        Ok(self.messages(group)?.iter().map(|row| row["text"].as_str().unwrap_or_default().to_owned()).collect())
    }

    /// Waits until all of these are there.
    ///
    /// # Errors
    /// When one does not come in time.
    pub fn sees(&mut self, group: &str, words: &[&str]) -> Result<()> {
        self.until(&format!("{} texts in the list", words.len()), |member| {
            let texts = member.texts(group)?;
            Ok(words.iter().all(|word| texts.iter().any(|text| text == word)).then_some(()))
        })
    }

    /// Waits until the roster shows exactly these names.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn roster(&mut self, group: &str, names: &[&str]) -> Result<()> {
        let mut want: Vec<&str> = names.to_vec();
        want.sort_unstable();
        self.until(&format!("a roster of {} names", want.len()), |member| {
            let shown = member.call("group.show", json!({"group": group}))?;
            let members = shown["members"].as_array().context("group.show without members")?;
            let mut have: Vec<&str> = members.iter().filter_map(|row| row["name"].as_str()).collect();
            have.sort_unstable();
            Ok((have == want).then_some(()))
        })
    }

    /// Waits until a message's delivery fits.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn delivered(&mut self, group: &str, said: &Said, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.until("a delivery state", |member| {
            let status = member.call("message.status", json!({"group": group, "message": said.message}))?;
            Ok(fits(&status).then_some(status))
        })
    }

    /// Where the group stands, equal at all members that have converged.
    ///
    /// # Errors
    /// When it is refused.
    pub fn tip(&mut self, group: &str) -> Result<Value> {
        self.call("debug.tip", json!({"group": group}))
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops it in the middle of whatever it does: its connections stay open, and nothing says so.
    ///
    /// # Errors
    /// When the process cannot be stopped.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// When the process cannot be signalled.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// Ends it as the end of its input does, and returns how it ended.
    ///
    /// # Errors
    /// When it has not ended after five seconds, or wrote something that is no JSON-RPC.
    pub fn quit(&mut self) -> Result<ExitStatus> {
        self.client.close();
        let status = self.process.ended(Duration::from_secs(5))?;
        let noise = self.client.noise();
        ensure!(noise.is_empty(), "{}: not JSON-RPC on standard output: {noise:?}", self.name);
        Ok(status)
    }

    /// Starts it again on the same home and opens the vault.
    ///
    /// # Errors
    /// When it does not start.
    pub fn wake(&mut self) -> Result<()> {
        let _dead = self.process.kill();
        (self.process, self.client) = spawn(&self.place, &self.args, &self.home)?;
        self.unlock()
    }
}

fn spawn(place: &Place, args: &[String], home: &Path) -> Result<(Process, Client)> {
    let mut process = Process::start(place, args, &log(home), Stdio::piped())?;
    let stdin = process.child.stdin.take().context("no standard input")?;
    let stdout = process.child.stdout.take().context("no standard output")?;
    Ok((process, Client::new(stdin, stdout)))
}

fn log(home: &Path) -> PathBuf {
    home.with_extension("log")
}

fn text(value: &Value, key: &str) -> Result<String> {
    value[key].as_str().map(str::to_owned).with_context(|| format!("an answer without {key}"))
}
