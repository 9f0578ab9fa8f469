use super::*;

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn a_full_table_keeps_the_relays_that_it_was_given() {
    let table = Table::new(None, PeerId::random());
    let own: Vec<PeerId> = (0..2).map(|_| PeerId::random()).collect();
    table.enter(own[0], at(1), "Ada".into(), true);
    for port in 0..100 {
        table.enter(PeerId::random(), at(port), "somebody".into(), false);
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
