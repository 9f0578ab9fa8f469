//! `hearth-node doctor`: looks at settings, store and reachability, and says what to do. Changes nothing.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use crate::{
    builder::Mode,
    cli::{Failure, NodeArgs, NodeSettings, say, tcp_target},
};

/// How long a relay may take to accept a connection.
const REACHED: Duration = Duration::from_secs(5);
/// The vault's file is exactly this long.
const VAULT_BYTES: u64 = 4_096;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// What was found.
    pub finding: Finding,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// As it should be; with a remark.
    Good(&'static str),
    /// It works, but: what to do.
    Care(&'static str),
    /// It does not work: what to do.
    Wrong(&'static str),
}

/// Checks and prints, one line each.
///
/// # Errors
/// Usage for settings that cannot be followed; failure when something is wrong.
pub fn run(args: &NodeArgs) -> Result<(), Failure> {
    let settings = NodeSettings::read(args)?;
    let checks = examine(&settings);
    for check in &checks {
        let (word, remark) = match check.finding {
            Finding::Good(remark) => ("ok", remark),
            Finding::Care(remark) => ("care", remark),
            Finding::Wrong(remark) => ("WRONG", remark),
        };
        say(&format!("{word:<6}{}: {remark}", check.what))?;
    }
    let wrong = checks.iter().filter(|check| matches!(check.finding, Finding::Wrong(_))).count();
    if wrong == 0 { Ok(()) } else { Err(Failure::failed(format!("{wrong} of {} checks failed", checks.len()))) }
}

/// Looks at everything that can be seen without the passphrase.
#[must_use]
pub fn examine(settings: &NodeSettings) -> Vec<Check> {
    let mode = match settings.mode {
        Mode::Direct => "can be followed; mode direct hides no address",
        Mode::Relayed => "can be followed; mode relayed hides your address from members",
        Mode::Tor(_) => "can be followed; mode tor hides your address from members and relays",
    };
    let mut checks = vec![Check { what: "settings", finding: Finding::Good(mode) }];
    checks.push(Check { what: "home", finding: home(&settings.home) });
    checks.push(Check { what: "vault", finding: vault(&settings.home) });
    let listened = settings.listen.iter().filter(|_| settings.mode == Mode::Direct);
    checks.extend(listened.map(|address| Check { what: "listen", finding: listen(address) }));
    if settings.relays.is_empty() {
        let remark = "none is set: groups created here work only while members are online at the same time";
        checks.push(Check { what: "relay", finding: Finding::Care(remark) });
    }
    // Relays that are named here are those that one goes through in relayed mode; in tor mode none is touched.
    match settings.mode {
        Mode::Tor(socks) => checks.push(Check { what: "tor", finding: tor(socks) }),
        Mode::Direct | Mode::Relayed => {
            checks.extend(settings.relays.iter().map(|address| Check { what: "relay", finding: relay(address) }));
        }
    }
    checks
}

fn home(home: &Path) -> Finding {
    let Ok(about) = fs::metadata(home) else {
        return Finding::Good("nothing is here yet: it is made at the first start");
    };
    if !about.is_dir() {
        return Finding::Wrong("it is a file: name a directory, or another name");
    }
    let probe = home.join(format!(".doctor-{}", std::process::id()));
    let written = fs::write(&probe, [0; 4_096]).and_then(|()| fs::File::open(&probe)?.sync_all());
    let removed = fs::remove_file(&probe);
    if written.and(removed).is_err() {
        return Finding::Wrong("it cannot be written: free some space, or make it yours (chown, chmod u+rwx)");
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Finding::Care("others on this computer can look into it: chmod 700");
    }
    Finding::Good("can be written, and is yours alone")
}

fn vault(home: &Path) -> Finding {
    match fs::metadata(home.join("vault")) {
        Err(_) => Finding::Good("none yet: vault.create makes it"),
        Ok(about) if about.len() == VAULT_BYTES => Finding::Good("is there, and whole in size"),
        Ok(_) => Finding::Wrong("its file has the wrong size, so it is damaged: bring it back from a copy of the home"),
    }
}

fn listen(address: &str) -> Finding {
    let bound = tcp_target(address).map(|(host, port)| TcpListener::bind((host.as_str(), port)));
    match bound {
        Some(Ok(_)) => Finding::Good("is free"),
        Some(Err(e)) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::Care("is taken, perhaps by this node itself: a free port is used instead")
        }
        _ => Finding::Wrong("is no address of this computer: use /ip4/0.0.0.0/tcp/PORT"),
    }
}

fn tor(socks: SocketAddr) -> Finding {
    match TcpStream::connect_timeout(&socks, REACHED) {
        Ok(_) => Finding::Good("its port answers"),
        Err(_) => Finding::Wrong(
            "its port does not answer: start Tor, or name its port with --tor-socks; nothing is sent until then",
        ),
    }
}

fn relay(address: &str) -> Finding {
    let Some(target) = tcp_target(address) else {
        return Finding::Wrong("its address is not of the form /ip4/ADDRESS/tcp/PORT/p2p/IDENTITY");
    };
    let Ok(places) = (target.0.as_str(), target.1).to_socket_addrs() else {
        return Finding::Wrong("its name is not known: check the spelling and your connection");
    };
    let reached = places.into_iter().any(|place| TcpStream::connect_timeout(&place, REACHED).is_ok());
    if reached {
        Finding::Good("answers")
    } else {
        Finding::Wrong("does not answer: check your connection, or ask its operator; messages wait here until then")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(settings: &NodeSettings, what: &str) -> Vec<Finding> {
        examine(settings).into_iter().filter(|check| check.what == what).map(|check| check.finding).collect()
    }

    #[test]
    fn says_what_is_wrong_and_what_is_not() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = open.local_addr().unwrap().port();
        let mut settings = NodeSettings {
            home: home.path().into(),
            mode: Mode::Direct,
            listen: vec![format!("/ip4/127.0.0.1/tcp/{taken}"), "/ip4/127.0.0.1/tcp/0".into()],
            relays: vec![format!("/ip4/127.0.0.1/tcp/{taken}/p2p/x")],
        };
        assert!(matches!(findings(&settings, "home")[..], [Finding::Good(_)]));
        assert!(matches!(findings(&settings, "vault")[..], [Finding::Good(_)]));
        assert!(matches!(findings(&settings, "listen")[..], [Finding::Care(_), Finding::Good(_)]));
        assert!(matches!(findings(&settings, "relay")[..], [Finding::Good(_)]));
        drop(open);
        assert!(matches!(findings(&settings, "relay")[..], [Finding::Wrong(_)]));
        settings.relays.clear();
        assert!(matches!(findings(&settings, "relay")[..], [Finding::Care(_)]));

        fs::write(home.path().join("vault"), b"short").unwrap();
        assert!(matches!(findings(&settings, "vault")[..], [Finding::Wrong(_)]));
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(findings(&settings, "home")[..], [Finding::Care(_)]));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "nothing was left behind");
    }
}
