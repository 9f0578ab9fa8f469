//! Hosts on a network of their own: network namespaces on one switch, with lines that can be cut, heal, or lose packets
//! in one direction only. Needs root, Linux, iproute2 and nftables; the computer's own network is not touched.
//!
//! The switch is a bridge in a namespace of its own; each host is a namespace with one line to it. What a line drops are
//! rules of the switch, so neither end is told: packets are gone without a word, as on a real line.
//!
//! Everything goes when [`Network`] is dropped, also after a panic. What a run left that was killed is taken away when the
//! next network is made: names hold the process that made them.

mod tools;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::Ipv4Addr,
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Result, ensure};

use self::tools::{end, ip, nft, nft_list, own_prefix, sweep};
use crate::process::Place;

/// Hosts of one network; their addresses end in 1 to 250.
const HOSTS_MAX: usize = 250;
const SWITCH: &str = "sw0";
const WATCH: &str = r#"
table bridge watch {
    set sent { typeof ip saddr . ip daddr . ip protocol; size 65535; flags dynamic; }
    set sent6 { typeof iifname . ip6 daddr . meta l4proto; size 65535; flags dynamic; }
    chain noted {
        type filter hook prerouting priority 0; policy accept;
        ether type ip update @sent { ip saddr . ip daddr . ip protocol }
        ether type ip6 meta l4proto { tcp, udp } update @sent6 { iifname . ip6 daddr . meta l4proto }
    }
}
"#;

static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// A host: an address, and room for processes.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    namespace: String,
    number: u8,
}

impl Host {
    /// Its name, which its process bears too.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    #[must_use]
    pub fn ip(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.number)
    }

    /// A program, to be run on this host.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        self.place().command(program.into())
    }

    pub(crate) fn place(&self) -> Place {
        Place { namespace: Some(self.namespace.clone()), ip: self.ip() }
    }

    /// Its end of the line at the switch.
    fn port(&self) -> String {
        format!("h{}", self.number)
    }
}

/// A switch and the hosts on it.
pub struct Network {
    prefix: String,
    namespaces: Vec<String>,
    /// Packets of a hundred that are lost, by the ports that they come from and go to.
    lost: BTreeMap<(String, String), u8>,
}

impl Network {
    /// A switch without hosts.
    ///
    /// # Errors
    /// Without root, iproute2 or nftables.
    pub fn new() -> Result<Self> {
        sweep()?;
        let prefix = format!("{}{}", own_prefix()?, NETWORKS.fetch_add(1, Ordering::Relaxed));
        let mut network = Self { prefix, namespaces: Vec::new(), lost: BTreeMap::new() };
        let switch = network.namespace("switch")?;
        ip(&["-n", &switch, "link", "add", SWITCH, "type", "bridge", "stp_state", "0", "forward_delay", "0"])?;
        ip(&["-n", &switch, "link", "set", SWITCH, "up"])?;
        Ok(network)
    }

    fn namespace(&mut self, name: &str) -> Result<String> {
        let namespace = format!("{}-{name}", self.prefix);
        ip(&["netns", "add", &namespace])?;
        self.namespaces.push(namespace.clone());
        ip(&["-n", &namespace, "link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    /// Adds a host, with an unhindered line to every other one.
    ///
    /// # Errors
    /// When there is a host of that name, or the system refuses.
    pub fn host(&mut self, name: &str) -> Result<Host> {
        let number = self.namespaces.len();
        ensure!(number <= HOSTS_MAX, "a network has at most {HOSTS_MAX} hosts");
        let (name, namespace) = (name.to_owned(), self.namespace(name)?);
        let host = Host { name, namespace, number: u8::try_from(number)? };
        let (switch, port) = (self.switch(), host.port());
        ip(&[
            "link",
            "add",
            "eth0",
            "netns",
            &host.namespace,
            "type",
            "veth",
            "peer",
            "name",
            &port,
            "netns",
            &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", &port, "master", SWITCH, "up"])?;
        ip(&["-n", &host.namespace, "addr", "add", &format!("{}/24", host.ip()), "dev", "eth0"])?;
        ip(&["-n", &host.namespace, "link", "set", "eth0", "up"])?;
        Ok(host)
    }

    /// Nothing passes between these and those any more, in either direction.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn cut(&mut self, these: &[&Host], those: &[&Host]) -> Result<()> {
        self.lose(these, those, 100)?;
        self.lose(those, these, 100)
    }

    /// Loses so many packets of a hundred on the way from these to those; the way back stays as it is.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn lose(&mut self, these: &[&Host], those: &[&Host], percent: u8) -> Result<()> {
        let pairs = these.iter().flat_map(|from| those.iter().map(|to| (from.port(), to.port())));
        self.lost.extend(pairs.map(|pair| (pair, percent.min(100))));
        self.apply()
    }

    /// Every line is as good as new.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn heal(&mut self) -> Result<()> {
        self.lost.clear();
        self.apply()
    }

    /// From now on the switch notes who sends to whom: [`Network::sent`].
    ///
    /// # Errors
    /// When the system refuses.
    pub fn watch(&self) -> Result<()> {
        nft(&self.switch(), WATCH)
    }

    /// What a host has sent since the watch began, as "address protocol"; of IPv6 what is more than the kernel's own
    /// neighbour discovery.
    ///
    /// # Errors
    /// When nothing is watched.
    pub fn sent(&self, from: &Host) -> Result<BTreeSet<String>> {
        let (ip, port) = (from.ip().to_string(), from.port());
        let mut found = BTreeSet::new();
        for (set, from) in [("sent", ip), ("sent6", format!("\"{port}\""))] {
            let listed = nft_list(&self.switch(), &["list", "set", "bridge", "watch", set])?;
            let elements =
                listed.split_once("elements = {").map_or("", |(_, rest)| rest.split('}').next().unwrap_or(""));
            let pairs = elements.split(',').map(|element| element.split(" . ").map(str::trim).collect::<Vec<_>>());
            found.extend(
                pairs.filter(|p| p.first() == Some(&from.as_str())).map(|p| p.get(1..).unwrap_or(&[]).join(" ")),
            );
        }
        Ok(found)
    }

    /// Puts the rules in place of the old ones, all at once.
    fn apply(&self) -> Result<()> {
        let mut rules = String::from("table bridge lab\ndelete table bridge lab\ntable bridge lab {\nchain lines {\n");
        rules.push_str("type filter hook forward priority 0; policy accept;\n");
        for ((from, to), percent) in &self.lost {
            let some = if *percent == 100 { String::new() } else { format!("numgen random mod 100 < {percent} ") };
            writeln!(rules, "iifname \"{from}\" oifname \"{to}\" {some}drop")?;
        }
        rules.push_str("}\n}\n");
        nft(&self.switch(), &rules)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in self.namespaces.iter().rev() {
            let _gone = end(namespace);
        }
    }
}
