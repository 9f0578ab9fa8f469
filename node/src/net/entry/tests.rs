use super::*;

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn a_full_table_keeps_the_relays_that_it_was_given() {
    let table = Table::new(None, PeerId::random());
    let own: Vec<PeerId> = (0..2).map(|_| PeerId::random()).collect();
    table.enter(own[0], at(1), "Ada".into(), true);
    for host in 0..100 {
        table.enter(PeerId::random(), ([10, 0, 0, host], 1).into(), "somebody".into(), false);
    }
    assert_eq!(table.greeting().relays.len(), ENTRY_RELAYS_MAX);
    table.enter(own[1], at(2), "Ben".into(), true);
    assert_eq!(table.greeting().relays.len(), ENTRY_RELAYS_MAX);
    for (peer, port) in own.iter().zip([1, 2]) {
        assert_eq!(table.address(&peer.to_bytes()), Some(at(port)));
        table.left(peer);
        assert!(table.address(&peer.to_bytes()).is_some(), "it is dialled again");
    }
}

#[test]
fn a_host_that_was_not_named_has_one_place() {
    let table = Table::new(None, PeerId::random());
    let (first, second) = (PeerId::random(), PeerId::random());
    table.enter(first, at(1), "Ada".into(), false);
    table.enter(second, at(2), "Ada".into(), false);
    assert!(table.knows(&first) && !table.knows(&second));
    table.enter(second, at(2), "Ada".into(), true);
    assert!(table.knows(&second), "this one is named");
}

#[test]
fn a_pace_lets_a_burst_pass_and_then_so_much_a_second() {
    let (pace, now) = (Pace::new(1_000, 4_000), Instant::now());
    let waits: Vec<Duration> = (0..10).map(|_| pace.when(now, 1_000).saturating_duration_since(now)).collect();
    assert!(waits[..4].iter().all(|wait| *wait < Duration::from_millis(10)), "{waits:?}");
    assert!(waits[9] > Duration::from_millis(4_900) && waits[9] < Duration::from_millis(5_100), "{waits:?}");
    let later = now + Duration::from_secs(60);
    assert!(pace.when(later, 4_000) <= later, "who was quiet may burst again");
}

#[test]
fn who_came_by_itself_is_forgotten_when_it_leaves() {
    let table = Table::new(None, PeerId::random());
    let peer = PeerId::random();
    table.enter(peer, at(1), "Ada".into(), false);
    table.left(&peer);
    assert_eq!(table.address(&peer.to_bytes()), None);
    assert_eq!(table.address(b"no peer"), None);
}

#[test]
fn a_relay_that_names_no_operator_is_its_own() {
    let own = PeerId::random();
    for named in [None, Some(String::new()), Some("  ".into()), Some("x".repeat(OPERATOR_MAX + 1))] {
        assert_eq!(Table::new(named, own).greeting().operator, own.to_string());
    }
    assert_eq!(Table::new(Some(" Ada ".into()), own).greeting().operator, "Ada");
}
