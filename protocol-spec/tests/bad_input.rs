//! What a hostile sender may try on the codec: every row must be an error, before anything is allocated for it.

use hearth_protocol::{
    card::{CardContent, Record, SignedCard},
    cbor::{self, DecodeError, Wire},
    content::Content,
    door::{DoorBody, NetworkKeys},
    entry::{EntryAnswer, EntryGreeting, EntryRequest, KnownRelay},
    envelope::{AppMessage, EnvelopeContent, SignedEnvelope},
    frame::{CommitFrame, Control},
    id::*,
    limits::*,
    mailbox::{Answer, Blob, Frame, Greeting, Request},
    op::{JoinMode, LastSeen, OpBody, OpContent, Role, SignedOp},
    packet::{Packet, SharedEnvelopes},
    sync::{SyncMessage, SyncSet},
    time::{Day, Minute, Second},
};

type Reader = (&'static str, fn(&[u8]) -> Option<DecodeError>, usize);

fn reader<T: Wire>(name: &'static str) -> Reader {
    (name, |bytes| cbor::read::<T>(bytes).err(), T::MAX)
}

/// Every decoder that bytes from others reach.
fn readers() -> Vec<Reader> {
    vec![
        reader::<SignedOp>("signed op"),
        reader::<SignedEnvelope>("signed envelope"),
        reader::<AppMessage>("application message"),
        reader::<Content>("content"),
        reader::<CommitFrame>("commit frame"),
        reader::<Control>("control"),
        reader::<Packet>("packet"),
        reader::<SharedEnvelopes>("shared envelopes"),
        reader::<DoorBody>("door body"),
        reader::<hearth_protocol::door::DoorWrapper>("door wrapper"),
        reader::<hearth_protocol::knock::SignedKnock>("signed knock"),
        reader::<hearth_protocol::knock::KnockContent>("knock"),
        reader::<CardContent>("card content"),
        reader::<SignedCard>("signed card"),
        reader::<Record>("record"),
        reader::<SyncMessage>("sync message"),
        reader::<Greeting>("greeting"),
        reader::<Request>("request"),
        reader::<Frame>("mailbox frame"),
        reader::<EntryGreeting>("entry greeting"),
        reader::<EntryRequest>("entry request"),
        reader::<EntryAnswer>("entry answer"),
    ]
}

#[test]
fn a_frame_that_announces_too_much_is_refused_by_its_first_four_bytes() {
    for (prefix, limit, expected) in [
        ([0xff; 4], SYNC_FRAME_MAX, None),
        ([0xff; 4], MAILBOX_FRAME_MAX, None),
        ([0x00, 0x01, 0x00, 0x01], 64 * 1024, None),
        ([0x00, 0x01, 0x00, 0x00], 64 * 1024, Some(64 * 1024)),
        ([0; 4], 64 * 1024, Some(0)),
    ] {
        assert_eq!(cbor::frame_length(prefix, limit).ok(), expected);
    }
    let frame = cbor::frame(&SyncMessage::Done { set: SyncSet::Control });
    let length = cbor::frame_length([frame[0], frame[1], frame[2], frame[3]], SYNC_FRAME_MAX).unwrap();
    assert_eq!(length, frame.len() - 4);
}

#[test]
fn every_decoder_refuses_depth_counts_and_length() {
    let deep = vec![0x81; 10_000];
    let deep_maps = [0xa1, 0x00].repeat(5_000);
    let huge_array = [0x9b, 0, 0, 0, 1, 0, 0, 0, 0];
    let huge_map = [0xbb, 0, 0, 0, 1, 0, 0, 0, 0];
    let huge_bytes = [0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    for (name, read, max) in readers() {
        for bytes in [deep.as_slice(), &deep_maps, &huge_array, &huge_map, &huge_bytes, &[]] {
            assert!(read(bytes).is_some(), "{name}");
        }
        assert_eq!(read(&vec![0; max + 1]), Some(DecodeError::TooLong { limit: max }), "{name}");
    }
}

fn limit<T: Wire>(value: &T) -> Result<(), DecodeError> {
    cbor::read::<T>(&cbor::to_vec(value)).map(|_| ())
}

#[test]
fn counts_hold_at_their_edge() {
    let id = EnvelopeId([1; 32]);
    let ack = |n| limit(&AppMessage::Ack(vec![id; n]));
    assert_eq!(
        (ack(0), ack(ACK_IDS_MAX), ack(ACK_IDS_MAX + 1)),
        (Err(DecodeError::Limit), Ok(()), Err(DecodeError::Limit))
    );

    let want = |n, length| {
        limit(&SyncMessage::Want {
            set: SyncSet::Control,
            ids: vec![minicbor::bytes::ByteVec::from(vec![0; length]); n],
        })
    };
    assert_eq!((want(SYNC_WANT_MAX, 32), want(SYNC_WANT_MAX + 1, 32)), (Ok(()), Err(DecodeError::Limit)));
    assert_eq!((want(1, 31), want(1, 33)), (Err(DecodeError::Limit), Err(DecodeError::Limit)));

    let items = |n| limit(&SyncMessage::Items { packets: vec![minicbor::bytes::ByteVec::from(vec![]); n] });
    assert_eq!((items(SYNC_ITEMS_MAX), items(SYNC_ITEMS_MAX + 1)), (Ok(()), Err(DecodeError::Limit)));

    let part = |index, count, length| limit(&Packet::Part { object: [0; 32], index, count, bytes: vec![0; length] });
    let most = u16::try_from(PARTS_MAX).unwrap();
    assert_eq!(part(most - 1, most, PART_BYTES), Ok(()));
    for bad in [part(0, 0, 1), part(1, 1, 1), part(0, most + 1, 1), part(0, 1, 0), part(0, 1, PART_BYTES + 1)] {
        assert_eq!(bad, Err(DecodeError::Limit));
    }
    let whole = Packet::Part { object: [0; 32], index: 259, count: 260, bytes: vec![0; PART_BYTES] };
    assert!(cbor::to_vec(&whole).len() <= PACKET_MAX, "a full part fits the large frame");

    let envelope = SignedEnvelope { content: vec![], sig: [0; 64] };
    let shared = |n| limit(&SharedEnvelopes { envelopes: vec![envelope.clone(); n] });
    assert_eq!((shared(SHARED_ENVELOPES_MAX), shared(SHARED_ENVELOPES_MAX + 1)), (Ok(()), Err(DecodeError::Limit)));

    let record = |n| limit(&Record { pk: [0; 32], seq: 1, sig: [0; 64], sealed: vec![0; n] });
    assert_eq!((record(CARD_BYTES), record(CARD_BYTES - 1)), (Ok(()), Err(DecodeError::Limit)));

    let greeting = |pow_bits| limit(&Greeting { relay_key: [0; 32], nonce: [0; 32], pow_bits });
    assert_eq!((greeting(POW_BITS_MAX), greeting(POW_BITS_MAX + 1)), (Ok(()), Err(DecodeError::Limit)));

    let entry = |relays, peer, operator| {
        let relay = KnownRelay { peer: vec![0; peer], operator: "o".repeat(operator) };
        limit(&EntryGreeting { operator: "o".repeat(operator), relays: vec![relay; relays] })
    };
    assert_eq!(entry(ENTRY_RELAYS_MAX, PEER_ID_MAX, OPERATOR_MAX), Ok(()));
    for (relays, peer, operator) in [(ENTRY_RELAYS_MAX + 1, 1, 1), (1, PEER_ID_MAX + 1, 1), (0, 1, OPERATOR_MAX + 1)] {
        assert_eq!(entry(relays, peer, operator), Err(DecodeError::Limit));
    }
    assert_eq!(limit(&EntryRequest { peer: vec![0; PEER_ID_MAX + 1] }), Err(DecodeError::Limit));
}

#[test]
fn a_relays_answers_are_checked() {
    let blobs = |sizes: &[(u64, usize)]| {
        let blobs = sizes.iter().map(|(seq, n)| Blob { seq: *seq, bytes: vec![0; *n] }).collect();
        limit(&Frame::Reply { id: 1, answer: Answer::Blobs { blobs, more: false } })
    };
    assert_eq!(blobs(&[(1, FRAME_SMALL), (2, FRAME_LARGE)]), Ok(()));
    assert_eq!(blobs(&[(1, FRAME_SMALL + 1)]), Err(DecodeError::Limit));
    assert_eq!(blobs(&[(2, FRAME_SMALL), (1, FRAME_SMALL)]), Err(DecodeError::Limit));
    assert_eq!(blobs(&[(1, FRAME_SMALL), (1, FRAME_SMALL)]), Err(DecodeError::Limit));
    assert_eq!(blobs(&[(0, FRAME_SMALL)]), Err(DecodeError::Limit));
    let many: Vec<_> = (1..=GET_MAX as u64 + 1).map(|seq| (seq, FRAME_SMALL)).collect();
    assert_eq!((blobs(&many[1..]), blobs(&many)), (Ok(()), Err(DecodeError::Limit)));

    let slot = |n, length| {
        let bodies = vec![minicbor::bytes::ByteVec::from(vec![0; length]); n];
        limit(&Frame::Reply { id: 1, answer: Answer::Slot { version: 1, write_pk: [0; 32], bodies } })
    };
    assert_eq!(slot(SLOT_KEEPS, SLOT_BODY_MAX), Ok(()));
    assert_eq!(
        (slot(SLOT_KEEPS + 1, 1), slot(1, SLOT_BODY_MAX + 1)),
        (Err(DecodeError::Limit), Err(DecodeError::Limit))
    );
}

#[test]
fn a_door_holds_at_least_genesis() {
    let keys = NetworkKeys { network: NodeId([0; 32]), day: Day(1), secret: [0; 32], control: [0; 32] };
    let door = |ops| {
        let (frames, signatures, info) = (vec![], vec![], vec![0]);
        let (group, node, base) = (GroupId([1; 32]), NodeId([2; 32]), NodeId([2; 32]));
        limit(&DoorBody {
            group,
            node,
            group_info: info,
            base,
            base_info: vec![],
            frames,
            ops,
            signatures,
            keys: keys.clone(),
            elders: vec![],
            chain: vec![],
            nacks: vec![],
        })
    };
    assert_eq!(door(vec![SignedOp { content: vec![], sig: [0; 64], attached: None }]), Ok(()));
    assert_eq!(door(vec![]), Err(DecodeError::Limit));
    assert_eq!(
        door(vec![SignedOp { content: vec![0; OP_MAX + 1], sig: [0; 64], attached: None }]),
        Err(DecodeError::Limit)
    );
}

fn op(body: OpBody) -> OpContent {
    let genesis = matches!(body, OpBody::Genesis { .. });
    OpContent {
        group: GroupId(if genesis { [0; 32] } else { [1; 32] }),
        prev: if genesis { vec![] } else { vec![OpId([2; 32])] },
        lamport: u64::from(!genesis),
        persona: PersonaId([3; 32]),
        device: DeviceId([4; 32]),
        at_node: NodeId([if genesis { 0 } else { 5 }; 32]),
        body,
    }
}

fn open(content: &OpContent) -> Result<(), DecodeError> {
    SignedOp::new(content, |_| [0; 64]).open().map(|_| ())
}

#[test]
fn ops_are_bounded_field_by_field() {
    let add = |name: &str, role| {
        op(OpBody::Add { subject: PersonaId([6; 32]), name: name.into(), role, key_package: vec![1].into() })
    };
    let invite = |uses, role| {
        let (join_pk, door_pk, expires, mode) = ([7; 32], [8; 32], Second(9), JoinMode::Open);
        op(OpBody::Invite { join_pk, door_pk, uses, role, expires, mode })
    };
    let policy = |charter: Option<String>, relays, successors| {
        let (charter, history_days, slow_mode_s, shield) = (charter.map(Into::into), None, None, None);
        op(OpBody::SetPolicy { charter, history_days, slow_mode_s, shield, relays, successors })
    };
    let remove = |reason: String| op(OpBody::Remove { subject: PersonaId([6; 32]), reason, last: vec![] });
    let recover = |named: &[u8]| {
        let facilitators = named.iter().map(|n| PersonaId([*n; 32])).collect();
        op(OpBody::Recover { base: NodeId([6; 32]), facilitators })
    };
    let revoke = |seq, hash| op(OpBody::DeviceRevoke { last: LastSeen { device: DeviceId([6; 32]), seq, hash } });
    let restart = |generation| op(OpBody::Restart { generation, suite: 3, at_node: NodeId([6; 32]) });
    let many: Vec<u8> = (0..=SUCCESSORS_MAX as u8).collect();
    for good in [
        recover(&many[1..]),
        recover(&[1]),
        revoke(0, [0; 32]),
        revoke(1, [1; 32]),
        restart(1),
        restart(u32::MAX),
        add("Mara", Role::Member),
        add(&"a".repeat(NAME_CHARS_MAX), Role::Reader),
        invite(1, Role::Member),
        invite(INVITE_USES_MAX, Role::Newcomer),
        policy(Some("c".repeat(CHARTER_MAX)), Some(vec!["r".repeat(ADDRESS_MAX); RELAYS_MAX]), None),
        policy(None, None, Some(vec![PersonaId([1; 32]); SUCCESSORS_MAX])),
        remove("r".repeat(REASON_MAX)),
        op(OpBody::Leave),
    ] {
        assert_eq!(open(&good), Ok(()));
    }
    for bad in [
        recover(&many),
        recover(&[]),
        recover(&[2, 1]),
        recover(&[1, 1]),
        revoke(0, [1; 32]),
        restart(0),
        add("", Role::Member),
        add(&"a".repeat(NAME_CHARS_MAX + 1), Role::Member),
        add(&"𝔸".repeat(NAME_CHARS_MAX + 1), Role::Member),
        add("Mara", Role::Facilitator),
        add("Mara", Role::Cofacilitator),
        invite(0, Role::Member),
        invite(INVITE_USES_MAX + 1, Role::Member),
        invite(1, Role::Facilitator),
        policy(Some("c".repeat(CHARTER_MAX + 1)), None, None),
        policy(None, Some(vec!["r".into(); RELAYS_MAX + 1]), None),
        policy(None, Some(vec!["r".repeat(ADDRESS_MAX + 1)]), None),
        policy(None, None, Some(vec![PersonaId([1; 32]); SUCCESSORS_MAX + 1])),
        remove("r".repeat(REASON_MAX + 1)),
        OpContent { prev: vec![], ..op(OpBody::Leave) },
        OpContent { prev: vec![OpId([2; 32]), OpId([1; 32])], ..op(OpBody::Leave) },
        OpContent { prev: vec![OpId([2; 32]); 2], ..op(OpBody::Leave) },
        OpContent { prev: (0..=OP_PREV_MAX as u8).map(|i| OpId([i; 32])).collect(), ..op(OpBody::Leave) },
        OpContent { lamport: 0, ..op(OpBody::Leave) },
        OpContent { group: GroupId([0; 32]), ..op(OpBody::Leave) },
    ] {
        assert_eq!(open(&bad), Err(DecodeError::Shape));
    }
}

#[test]
fn envelopes_are_bounded_field_by_field() {
    let good = EnvelopeContent {
        v: 1,
        persona: PersonaId([1; 32]),
        device: DeviceId([2; 32]),
        node: NodeId([3; 32]),
        seq: 2,
        prev: EnvelopeId([4; 32]),
        parents: vec![EnvelopeId([5; 32])],
        sent_at: Minute(6),
        body: vec![7],
    };
    let open = |content: EnvelopeContent| SignedEnvelope { content: cbor::to_vec(&content), sig: [0; 64] }.open();
    assert_eq!(open(good.clone()), Ok(good.clone()));
    let first = EnvelopeContent { seq: 1, prev: EnvelopeId([0; 32]), ..good.clone() };
    assert!(open(first.clone()).is_ok());
    let ids = |n: u8| (0..n).map(|i| EnvelopeId([i; 32])).collect::<Vec<_>>();
    assert!(open(EnvelopeContent { parents: ids(ENVELOPE_PARENTS_MAX as u8), ..good.clone() }).is_ok());
    for bad in [
        EnvelopeContent { v: 2, ..good.clone() },
        EnvelopeContent { seq: 0, ..good.clone() },
        EnvelopeContent { seq: 1, ..good.clone() },
        EnvelopeContent { prev: EnvelopeId([0; 32]), ..good.clone() },
        EnvelopeContent { parents: ids(ENVELOPE_PARENTS_MAX as u8 + 1), ..good.clone() },
        EnvelopeContent { parents: vec![EnvelopeId([5; 32]); 2], ..good.clone() },
        EnvelopeContent { body: vec![0; CONTENT_MAX + 1], ..good.clone() },
    ] {
        assert_eq!(open(bad), Err(DecodeError::Shape));
    }
}
