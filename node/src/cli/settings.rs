//! Settings: flag, else environment (both through clap), else TOML file, else default.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use serde::{Deserialize, de::DeserializeOwned};

use super::{Failure, NodeArgs, RelayArgs};
use crate::{builder::Mode, engine::commands::is_relay_address, relay::RelayLimits};

/// Where a relay listens when nobody says otherwise.
const RELAY_LISTEN: [&str; 2] = ["/ip4/0.0.0.0/tcp/4101", "/ip6/::/tcp/4101"];
/// Where a relay shows its metrics when nobody says otherwise.
const RELAY_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);

/// Where Tor listens when nobody says otherwise.
const TOR_SOCKS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9050);

/// `hearth.toml` of a member's home.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeFile {
    /// How others are reached.
    pub mode: Option<String>,
    /// The SOCKS port of Tor.
    pub tor_socks: Option<String>,
    /// Where to listen.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Relays of groups created here.
    #[serde(default)]
    pub relay: Vec<String>,
}

/// `relay.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RelayFile {
    /// Where to listen.
    #[serde(default)]
    pub listen: Vec<String>,
    /// Where metrics are served.
    pub metrics: Option<String>,
    /// Other relays.
    #[serde(default)]
    pub peer: Vec<String>,
    /// Who runs it; a relay without one is its own operator.
    pub operator: Option<String>,
    /// Limits.
    #[serde(default)]
    pub limits: RelayLimits,
}

/// What a member's node is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Where everything lies.
    pub home: PathBuf,
    /// How others are reached.
    pub mode: Mode,
    /// Where to listen; empty: every interface, a free port.
    pub listen: Vec<String>,
    /// Relays of groups created here, at most three.
    pub relays: Vec<String>,
}

/// What a relay is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySettings {
    /// Where everything lies.
    pub home: PathBuf,
    /// Where to listen.
    pub listen: Vec<String>,
    /// Where metrics are served; port 0 is a free one.
    pub metrics: SocketAddr,
    /// Other relays.
    pub peers: Vec<String>,
    /// Who runs it.
    pub operator: Option<String>,
    /// Limits.
    pub limits: RelayLimits,
}

impl NodeSettings {
    /// Reads what is given.
    ///
    /// # Errors
    /// Usage: a setting that cannot be followed.
    pub fn read(args: &NodeArgs) -> Result<Self, Failure> {
        let home = home(&args.home)?;
        let file: NodeFile = match &args.config {
            Some(path) => read_file(path)?.ok_or_else(|| missing(path))?,
            None => read_file(&home.join("hearth.toml"))?.unwrap_or_default(),
        };
        let given = |arg: &Option<String>, file: Option<String>| arg.clone().filter(|text| !text.is_empty()).or(file);
        let mode = mode(given(&args.mode, file.mode).as_deref(), given(&args.tor_socks, file.tor_socks).as_deref())?;
        let listen = list(&args.listen, file.listen);
        let mut relays = list(&args.relay, file.relay);
        relays.truncate(hearth_protocol::limits::RELAYS_MAX);
        check_listen(&listen)?;
        check_peers(&relays, "relay")?;
        Ok(Self { home, mode, listen, relays })
    }
}

impl RelaySettings {
    /// Reads what is given.
    ///
    /// # Errors
    /// Usage: a setting that cannot be followed.
    pub fn read(args: &RelayArgs) -> Result<Self, Failure> {
        let home = home(&args.home)?;
        let file: RelayFile = match &args.config {
            Some(path) => read_file(path)?.ok_or_else(|| missing(path))?,
            None => RelayFile::default(),
        };
        let mut listen = list(&args.listen, file.listen);
        if listen.is_empty() {
            listen = RELAY_LISTEN.map(str::to_owned).to_vec();
        }
        check_listen(&listen)?;
        let peers = list(&args.peer, file.peer);
        check_peers(&peers, "peer")?;
        let metrics = args.metrics.clone().filter(|text| !text.is_empty()).or(file.metrics);
        let metrics = metrics.map_or(Ok(RELAY_METRICS), |text| {
            text.parse().map_err(|_| Failure::usage(format!("metrics: '{text}' is not ADDRESS:PORT")))
        })?;
        if !metrics.ip().is_loopback() {
            return Err(Failure::usage("metrics are served on loopback only: use 127.0.0.1:PORT"));
        }
        file.limits.check().map_err(|e| Failure::usage(e.to_string()))?;
        Ok(Self { home, listen, metrics, peers, operator: file.operator, limits: file.limits })
    }
}

/// Host and port of an address that is reached by TCP: `/ip4/…/tcp/…`, `/ip6/…/tcp/…`. No names: nothing is looked up.
#[must_use]
pub fn tcp_target(address: &str) -> Option<(String, u16)> {
    let mut parts = address.strip_prefix('/')?.split('/');
    let (kind, host, tcp, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let fits = match kind {
        "ip4" => host.parse::<Ipv4Addr>().is_ok(),
        "ip6" => host.parse::<std::net::Ipv6Addr>().is_ok(),
        _ => false,
    };
    (fits && tcp == "tcp").then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn home(home: &Path) -> Result<PathBuf, Failure> {
    if home.as_os_str().is_empty() {
        return Err(Failure::usage("--home names no directory"));
    }
    Ok(home.to_owned())
}

fn mode(text: Option<&str>, socks: Option<&str>) -> Result<Mode, Failure> {
    match text {
        None | Some("direct") => Ok(Mode::Direct),
        Some("relayed") => Ok(Mode::Relayed),
        Some("tor") => tor_port(socks).map(Mode::Tor).map_err(Failure::usage),
        Some(other) => {
            Err(Failure::usage(format!("mode '{other}' does not exist: there are 'direct', 'relayed' and 'tor'")))
        }
    }
}

/// Where Tor's SOCKS port is: on this computer, for whoever runs it sees where everything goes.
///
/// # Errors
/// What is wrong with the text.
pub fn tor_port(text: Option<&str>) -> Result<SocketAddr, String> {
    let Some(text) = text else { return Ok(TOR_SOCKS) };
    match text.parse::<SocketAddr>() {
        Ok(at) if at.ip().is_loopback() => Ok(at),
        Ok(_) => Err("tor_socks: only a Tor on this computer is used: 127.0.0.1:PORT".into()),
        Err(_) => Err(format!("tor_socks: '{text}' is not ADDRESS:PORT, as 127.0.0.1:9050")),
    }
}

/// Flags and variables as a whole come before the file as a whole: lists are not mixed.
fn list(given: &[String], file: Vec<String>) -> Vec<String> {
    let given: Vec<String> = given.iter().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()).collect();
    if given.is_empty() { file } else { given }
}

fn check_listen(addresses: &[String]) -> Result<(), Failure> {
    for address in addresses {
        if tcp_target(address).is_none() {
            return Err(Failure::usage(format!("listen: '{address}' is not of the form /ip4/0.0.0.0/tcp/PORT")));
        }
    }
    Ok(())
}

fn check_peers(addresses: &[String], name: &str) -> Result<(), Failure> {
    for address in addresses {
        if !is_relay_address(address) {
            return Err(Failure::usage(format!(
                "{name}: '{address}' is not of the form /ip4/ADDRESS/tcp/PORT/p2p/IDENTITY, as the relay prints it"
            )));
        }
    }
    Ok(())
}

fn read_file<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let parsed = toml::from_str(&text);
            parsed.map(Some).map_err(|e| Failure::usage(format!("{}: {}", path.display(), e.message())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure::usage(format!("{} cannot be read: {}", path.display(), e.kind()))),
    }
}

fn missing(path: &Path) -> Failure {
    Failure::usage(format!("{} does not exist", path.display()))
}

#[cfg(test)]
mod tests;
