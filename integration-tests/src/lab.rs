//! A temporary directory with a home for every process.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{Desktop, Member, Relay, netns::Host, process::Place};

/// Where everything of one test lies; gone with it, unless `HEARTH_KEEP` is set.
pub struct Lab {
    dir: TempDir,
}

impl Lab {
    /// An empty one.
    ///
    /// # Errors
    /// When no temporary directory can be made.
    pub fn new() -> Result<Self> {
        let mut dir = tempfile::Builder::new().prefix("hearth-lab-").tempdir().context("a temporary directory")?;
        dir.disable_cleanup(std::env::var_os("HEARTH_KEEP").is_some());
        Ok(Self { dir })
    }

    /// Its directory: homes, and beside each the log of its process.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The home of this name.
    #[must_use]
    pub fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A relay on a free port.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn relay(&self, name: &str) -> Result<Relay> {
        self.relay_beside(name, &[])
    }

    /// The same, in one table with others.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn relay_beside(&self, name: &str, peers: &[&str]) -> Result<Relay> {
        Relay::start(&self.home(name), Place::LOOPBACK, peers)
    }

    /// A relay on a host of a network of its own, in one table with `peers`.
    ///
    /// # Errors
    /// When it does not become ready.
    pub fn relay_on(&self, host: &Host, peers: &[&str]) -> Result<Relay> {
        Relay::start(&self.home(&format!("{}-relay", host.name())), host.place(), peers)
    }

    /// A screen of its own for windows.
    ///
    /// # Errors
    /// When the X server does not start.
    pub fn desktop(&self, name: &str) -> Result<Desktop> {
        Desktop::open(&self.home(name))
    }

    /// A member with an open vault, on a free port, whose new groups use these relays.
    ///
    /// # Errors
    /// When it does not start.
    pub fn member(&self, name: &str, relays: &[&str]) -> Result<Member> {
        let mut member = self.newcomer(name, relays)?;
        member.create_vault()?;
        Ok(member)
    }

    /// A member that has no vault yet.
    ///
    /// # Errors
    /// When it does not start.
    pub fn newcomer(&self, name: &str, relays: &[&str]) -> Result<Member> {
        Member::start(&self.home(name), Place::LOOPBACK, ("direct", relays))
    }

    /// A member in relayed mode, with an open vault.
    ///
    /// # Errors
    /// When it does not start.
    pub fn relayed(&self, name: &str, relays: &[&str]) -> Result<Member> {
        let mut member = Member::start(&self.home(name), Place::LOOPBACK, ("relayed", relays))?;
        member.create_vault()?;
        Ok(member)
    }

    /// A member with an open vault on a host of a network of its own, whose name it bears, in `direct`, `relayed`, or `tor`
    /// with the port of Tor after it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn member_on(&self, host: &Host, mode: &str, relays: &[&str]) -> Result<Member> {
        self.named_member_on(host.name(), host, mode, relays)
    }

    /// The same of one of several on a host.
    ///
    /// # Errors
    /// When it does not start.
    pub fn named_member_on(&self, name: &str, host: &Host, mode: &str, relays: &[&str]) -> Result<Member> {
        let mut member = Member::start(&self.home(name), host.place(), (mode, relays))?;
        member.create_vault()?;
        Ok(member)
    }
}
