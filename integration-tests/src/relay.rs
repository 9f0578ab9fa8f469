//! A volunteer's relay.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process::{Place, Process};

/// How soon a relay must be ready, also after `kill -9`.
const READY: Duration = Duration::from_secs(10);

/// A running relay.
pub struct Relay {
    /// Where it lives.
    pub home: PathBuf,
    /// Its first line.
    pub ready: Value,
    peers: Vec<String>,
    place: Place,
    process: Process,
    address: String,
}

impl Relay {
    /// Beside other relays, if some are given.
    pub(crate) fn start(home: &Path, place: Place, peers: &[&str]) -> Result<Self> {
        let peers: Vec<String> = peers.iter().map(|peer| (*peer).to_owned()).collect();
        let (process, ready) = spawn(&place, home, &place.any_port(), &peers)?;
        let address = address(&ready)?;
        Ok(Self { home: home.to_owned(), ready, peers, place, process, address })
    }

    /// Its dialable address, the same after every restart.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its TCP port.
    ///
    /// # Errors
    /// When its address names none.
    pub fn port(&self) -> Result<u16> {
        port(&self.address)
    }

    /// Its identity.
    #[must_use]
    pub fn peer_id(&self) -> &str {
        self.ready["peer_id"].as_str().unwrap_or_default()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether the process runs.
    pub fn alive(&mut self) -> bool {
        self.process.alive()
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When the process cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// `kill -TERM`, and how it ended.
    ///
    /// # Errors
    /// When it has not ended in time.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.process.signal("TERM")?;
        self.process.ended(READY)
    }

    /// Starts it again on the same home and port.
    ///
    /// # Errors
    /// When it is not ready in time, or has another identity or address.
    pub fn restart(&mut self) -> Result<()> {
        let _dead = self.process.kill();
        let listen = format!("/ip4/{}/tcp/{}", self.place.ip, self.port()?);
        let (process, ready) = spawn(&self.place, &self.home, &listen, &self.peers)?;
        self.process = process;
        let now = address(&ready)?;
        ensure!(now == self.address, "the relay was {} and is {now}", self.address);
        self.ready = ready;
        Ok(())
    }

    /// What its metrics endpoint shows.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn metrics(&self) -> Result<String> {
        let address = self.ready["metrics"].as_str().context("a ready line without metrics")?;
        let mut stream = TcpStream::connect(address).context("the metrics endpoint")?;
        stream.set_read_timeout(Some(READY))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text).context("the metrics endpoint")?;
        ensure!(text.starts_with("HTTP/1.1 200"), "the metrics endpoint does not say 200");
        let (_, body) = text.split_once("\r\n\r\n").context("an answer without a body")?;
        Ok(body.to_owned())
    }
}

fn spawn(place: &Place, home: &Path, listen: &str, peers: &[String]) -> Result<(Process, Value)> {
    let home_text = home.display().to_string();
    let args = ["relay", "--home", &home_text, "--listen", listen, "--metrics", "127.0.0.1:0"].map(str::to_owned);
    let peers = peers.iter().flat_map(|peer| ["--peer".to_owned(), peer.clone()]);
    let args: Vec<String> = args.into_iter().chain(peers).collect();
    // Its standard input is ended at once: a relay must not care.
    let mut process = Process::start(place, &args, &home.with_extension("log"), Stdio::null())?;
    let line = process.first_line(READY).context("the relay")?;
    let ready: Value = serde_json::from_str(&line)
        .with_context(|| format!("the relay's first line is no JSON: {line:?}; its log:\n{}", process.log_tail()))?;
    ensure!(ready["event"] == "ready", "the relay's first line is not the ready event");
    Ok((process, ready))
}

fn address(ready: &Value) -> Result<String> {
    let address = ready["addresses"][0].as_str().context("a ready line without addresses")?;
    ensure!(address.contains("/p2p/") && port(address)? != 0, "{address} cannot be dialled");
    Ok(address.to_owned())
}

fn port(address: &str) -> Result<u16> {
    let (_, rest) = address.split_once("/tcp/").context("an address without /tcp/")?;
    rest.split('/').next().unwrap_or_default().parse().context("an address without a port")
}
