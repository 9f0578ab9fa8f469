//! Finding the binaries, starting them, and ending them for certain.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

/// The `hearth-node` that belongs to this build: beside the test's own target directory, built when it is missing.
/// `HEARTH_NODE_BIN` names another.
///
/// # Errors
/// When it is neither there nor can be built.
pub fn binary() -> Result<PathBuf> {
    match std::env::var_os("HEARTH_NODE_BIN") {
        Some(path) => Ok(path.into()),
        None => built("hearth-node", "hearth-node"),
    }
}

/// The desktop app that belongs to this build. `HEARTH_BIN` names another.
///
/// # Errors
/// As [`binary`].
pub fn window_binary() -> Result<PathBuf> {
    match std::env::var_os("HEARTH_BIN") {
        Some(path) => Ok(path.into()),
        None => built("hearth", "hearth"),
    }
}

fn built(package: &str, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("where this test lies")?;
    let profile = own
        .ancestors()
        .skip(1)
        .find(|dir| dir.file_name().is_some_and(|name| name != "deps" && name != "examples"))
        .context("the test lies in no target directory")?;
    let path = profile.join(name);
    if !path.is_file() {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--package", package, "--bin", name])
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .status()
            .context("cargo cannot be started")?;
        ensure!(built.success() && path.is_file(), "{name} is missing and could not be built");
    }
    Ok(path)
}

/// Where a process runs: on this computer's loopback, or in a network namespace of its own.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) namespace: Option<String>,
    pub(crate) ip: Ipv4Addr,
}

impl Place {
    pub(crate) const LOOPBACK: Self = Self { namespace: None, ip: Ipv4Addr::LOCALHOST };

    /// A free port of its address.
    pub(crate) fn any_port(&self) -> String {
        format!("/ip4/{}/tcp/0", self.ip)
    }

    /// `ip netns exec` becomes the program: signals and pipes are the program's own.
    pub(crate) fn command(&self, program: PathBuf) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

/// A child process whose standard error goes to a file; killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `hearth-node` with these arguments.
    pub(crate) fn start(place: &Place, args: &[String], log: &Path, stdin: Stdio) -> Result<Self> {
        let mut command = place.command(binary()?);
        command.args(args).stdin(stdin);
        Self::run(command, log)
    }

    /// The first line it writes. What follows is read and dropped, so that it never waits for us.
    pub(crate) fn first_line(&mut self, within: Duration) -> Result<String> {
        let stdout = self.child.stdout.take().context("no standard output")?;
        let (tx, rx) = mpsc::sync_channel(1);
        thread::spawn(move || {
            let mut line = String::new();
            let mut reader = BufReader::new(stdout);
            let _sent = reader.read_line(&mut line).map(|_| tx.send(line));
            let _end = std::io::copy(&mut reader, &mut std::io::sink());
        });
        let line = rx.recv_timeout(within);
        line.with_context(|| format!("no first line within {within:?}; its log:\n{}", self.log_tail()))
    }

    /// Starts a command with a clean `HEARTH_*` environment and a cheap key derivation.
    pub(crate) fn run(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).open(log).context("the log file")?;
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("HEARTH_") && name != "HEARTH_LOG" {
                command.env_remove(name);
            }
        }
        let child = command
            .env("HEARTH_ARGON2_MIB", "64")
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().context("kill")?;
        self.child.wait().context("wait")?;
        Ok(())
    }

    /// `kill -TERM` or another, through the shell's own command: nothing else is needed on the machine.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.pid())]).status()?;
        ensure!(status.success(), "the process cannot be signalled");
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if started.elapsed() > limit {
                bail!("the process has not ended after {limit:?}; its log:\n{}", self.log_tail());
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The last lines of its log, for the message of a failure.
    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}
