use super::*;

const RELAY: &str = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooW";

fn args(home: &Path) -> NodeArgs {
    NodeArgs { home: home.into(), config: None, mode: None, tor_socks: None, listen: vec![], relay: vec![] }
}

fn relay_args(home: &Path) -> RelayArgs {
    RelayArgs {
        home: home.into(),
        config: None,
        listen: vec![],
        metrics: None,
        peer: vec![],
        check_config: false,
        print_identity: false,
    }
}

#[test]
fn what_is_given_comes_before_the_file_and_the_file_before_defaults() {
    let home = tempfile::tempdir().unwrap();
    let plain = NodeSettings::read(&args(home.path())).unwrap();
    assert_eq!((plain.mode, plain.listen.len(), plain.relays.len()), (Mode::Direct, 0, 0));

    let text = format!("listen = ['/ip4/0.0.0.0/tcp/7']\nrelay = ['{RELAY}']\nmode = 'direct'");
    fs::write(home.path().join("hearth.toml"), text).unwrap();
    let filed = NodeSettings::read(&args(home.path())).unwrap();
    assert_eq!((filed.listen, filed.relays), (vec!["/ip4/0.0.0.0/tcp/7".into()], vec![RELAY.into()]));

    let given = NodeArgs { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..args(home.path()) };
    let given = NodeSettings::read(&given).unwrap();
    assert_eq!((given.listen, given.relays), (vec!["/ip4/127.0.0.1/tcp/0".into()], vec![RELAY.into()]));
}

#[test]
fn modes_that_do_not_exist_are_usage_errors_wherever_they_are_named() {
    let home = tempfile::tempdir().unwrap();
    for mode in ["onion", "sideways"] {
        let named = NodeArgs { mode: Some(mode.into()), ..args(home.path()) };
        let failure = NodeSettings::read(&named).unwrap_err();
        assert!(failure == Failure::usage(failure.to_string()) && failure.to_string().contains(mode));
    }
    fs::write(home.path().join("hearth.toml"), "mode = 'none'").unwrap();
    NodeSettings::read(&args(home.path())).unwrap_err();
    let tor = Mode::Tor(([127, 0, 0, 1], 9050).into());
    for (mode, read) in [("direct", Mode::Direct), ("relayed", Mode::Relayed), ("tor", tor)] {
        let named = NodeArgs { mode: Some(mode.into()), ..args(home.path()) };
        assert_eq!(NodeSettings::read(&named).unwrap().mode, read);
    }
}

#[test]
fn tor_is_on_this_computer() {
    let home = tempfile::tempdir().unwrap();
    let with = |socks: &str| {
        NodeSettings::read(&NodeArgs { mode: Some("tor".into()), tor_socks: Some(socks.into()), ..args(home.path()) })
    };
    assert_eq!(with("127.0.0.1:9150").unwrap().mode, Mode::Tor(([127, 0, 0, 1], 9150).into()));
    for bad in ["203.0.113.7:9050", "9050", "localhost:9050"] {
        let failure = with(bad).unwrap_err();
        assert!(failure == Failure::usage(failure.to_string()) && failure.to_string().contains("tor_socks"));
    }
}

/// What a volunteer is given says what happens without it.
#[test]
fn the_packaged_file_holds_every_default() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("relay.toml");
    fs::write(&path, include_str!("../../../packaging/relay.toml")).unwrap();
    let plain = RelaySettings::read(&relay_args(home.path())).unwrap();
    let named = RelayArgs { config: Some(path.clone()), ..relay_args(home.path()) };
    assert_eq!(RelaySettings::read(&named).unwrap(), plain);
    // Every limit is named, and none that does not exist.
    let named: toml::Table = toml::from_str(include_str!("../../../packaging/relay.toml")).unwrap();
    let limits = format!("{:?}", plain.limits);
    let fields = named["limits"].as_table().unwrap().keys();
    assert_eq!(fields.filter(|name| limits.contains(&format!("{name}: "))).count(), limits.matches(": ").count());
}

#[test]
fn files_with_mistakes_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("relay.toml");
    for text in
        ["listne = []", "listen = 5", "listen = ['nonsense']", "metrics = '0.0.0.0:1'", "peer = ['/ip4/1.2.3.4/tcp/5']"]
    {
        fs::write(&path, text).unwrap();
        let named = RelayArgs { config: Some(path.clone()), ..relay_args(home.path()) };
        RelaySettings::read(&named).unwrap_err();
    }
    let absent = RelayArgs { config: Some(home.path().join("absent.toml")), ..relay_args(home.path()) };
    RelaySettings::read(&absent).unwrap_err();
}

#[test]
fn a_relay_has_defaults_and_takes_port_zero() {
    let home = tempfile::tempdir().unwrap();
    let plain = RelaySettings::read(&relay_args(home.path())).unwrap();
    assert_eq!((plain.listen.len(), plain.metrics), (2, RELAY_METRICS));
    let given = RelayArgs { metrics: Some("127.0.0.1:0".into()), peer: vec![RELAY.into()], ..relay_args(home.path()) };
    let given = RelaySettings::read(&given).unwrap();
    assert_eq!((given.metrics.port(), given.peers), (0, vec![RELAY.to_owned()]));
}

#[test]
fn targets_are_read_from_addresses() {
    assert_eq!(tcp_target(RELAY), Some(("127.0.0.1".into(), 1)));
    assert_eq!(tcp_target("/ip6/::1/tcp/9"), Some(("::1".into(), 9)));
    for bad in [
        "",
        "/",
        "/dns/relay.example/tcp/4101",
        "127.0.0.1:1",
        "/ip4/1.2.3/tcp/1",
        "/ip4/1.2.3.4/udp/1",
        "/ip4/1.2.3.4/tcp/99999",
        "/ip4/1.2.3.4",
    ] {
        assert_eq!(tcp_target(bad), None, "{bad}");
    }
}
