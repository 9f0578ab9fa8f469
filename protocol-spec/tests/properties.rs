//! Two properties of every wire type: what is written reads back as the same value from the same bytes, and no
//! bytes make a decoder panic or accept a second encoding.

use hearth_protocol::{
    card::{CardContent, Record, SignedCard},
    cbor::{self, Wire},
    content::{Content, Expiration, Extensions, ExternalPart, Key, Part, PartKind, PartSemantics, Value},
    door::{ClosedReason, DoorBody, DoorWrapper, Elder, Link, LinkSignature, NetworkKeys},
    entry::{EntryAnswer, EntryGreeting, EntryRequest, KnownRelay},
    envelope::{AppMessage, EnvelopeContent, SignedEnvelope},
    frame::{CommitFrame, Control, Nack, NodeSignature, WelcomeFrame},
    id::*,
    knock::{KnockAnswer, KnockContent, SignedKnock},
    limits::*,
    link::InviteLink,
    mailbox::{Action, Answer, Blob, Frame, Greeting, QueueKind, Refusal, Request},
    op::{Attachment, JoinMode, LastSeen, OpBody, OpContent, Role, SignedOp, Template},
    packet::{Packet, SharedEnvelopes},
    sync::{SyncMessage, SyncSet},
    time::{Day, Minute, Second},
};
use minicbor::bytes::ByteVec;
use proptest::{array::uniform32, collection::vec, option, prelude::*, sample::select};

fn few_bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..40)
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{0,20}"
}

fn name() -> impl Strategy<Value = String> {
    "\\PC{1,20}"
}

fn sig() -> impl Strategy<Value = [u8; 64]> {
    (uniform32(any::<u8>()), uniform32(any::<u8>())).prop_map(|(a, b)| {
        let mut sig = [0; 64];
        sig[..32].copy_from_slice(&a);
        sig[32..].copy_from_slice(&b);
        sig
    })
}

macro_rules! ids {
    ($($function:ident: $name:ident),*) => {$(
        fn $function() -> impl Strategy<Value = $name> {
            uniform32(any::<u8>()).prop_map($name)
        }
    )*};
}

ids!(group: GroupId, persona: PersonaId, device: DeviceId, op_id: OpId, node: NodeId, frame_id: FrameId,
    envelope_id: EnvelopeId, message_id: MessageId, queue: QueueId, slot: SlotId);

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Facilitator, Role::Cofacilitator, Role::Member, Role::Newcomer, Role::Reader])
}

fn low_role() -> impl Strategy<Value = Role> {
    select(vec![Role::Member, Role::Newcomer, Role::Reader])
}

fn mode() -> impl Strategy<Value = JoinMode> {
    select(vec![JoinMode::Open, JoinMode::Knock])
}

fn genesis() -> impl Strategy<Value = OpBody> {
    let template = option::of(select(vec![
        Template::Recovery,
        Template::Illness,
        Template::Caregivers,
        Template::Grief,
        Template::Open,
    ]));
    let numbers = (any::<u16>(), any::<u16>(), any::<[u8; 16]>());
    (name(), text(), template, mode(), numbers, vec(text(), 0..=RELAYS_MAX), name()).prop_map(
        |(name, charter, template, join, (history_days, suite, salt), relays, founder)| OpBody::Genesis {
            name,
            charter: charter.into(),
            template,
            join,
            history_days,
            suite,
            relays,
            founder,
            salt,
        },
    )
}

fn set_policy() -> impl Strategy<Value = OpBody> {
    (
        option::of(text().prop_map(Into::into)),
        any::<Option<u16>>(),
        any::<Option<u32>>(),
        any::<Option<bool>>(),
        option::of(vec(text(), 0..=RELAYS_MAX)),
        option::of(vec(persona(), 0..=SUCCESSORS_MAX)),
    )
        .prop_map(|(charter, history_days, slow_mode_s, shield, relays, successors)| OpBody::SetPolicy {
            charter,
            history_days,
            slow_mode_s,
            shield,
            relays,
            successors,
        })
}

fn later_body() -> impl Strategy<Value = OpBody> {
    let last_seen =
        (device(), any::<u64>(), uniform32(any::<u8>())).prop_map(|(device, seq, hash)| LastSeen { device, seq, hash });
    prop_oneof![
        (persona(), name(), low_role(), attachment()).prop_map(|(subject, name, role, key_package)| OpBody::Add {
            subject,
            name,
            role,
            key_package
        }),
        (uniform32(any::<u8>()), uniform32(any::<u8>()), 1..=INVITE_USES_MAX, low_role(), any::<u64>(), mode())
            .prop_map(|(join_pk, door_pk, uses, role, expires, mode)| {
                OpBody::Invite { join_pk, door_pk, uses, role, expires: Second(expires), mode }
            }),
        op_id().prop_map(|invite| OpBody::InviteRevoke { invite }),
        (op_id(), 0..INVITE_USES_MAX, name(), sig()).prop_map(|(invite, slot, name, invite_sig)| OpBody::Join {
            invite,
            slot,
            name,
            invite_sig
        }),
        attachment().prop_map(|key_package| OpBody::RejoinRequest { key_package }),
        (persona(), text(), vec(last_seen, 0..=LAST_SEEN_MAX)).prop_map(|(subject, reason, last)| OpBody::Remove {
            subject,
            reason,
            last
        }),
        Just(OpBody::Leave),
        (persona(), role()).prop_map(|(subject, role)| OpBody::SetRole { subject, role }),
        set_policy(),
        about_devices(),
        recovery(),
    ]
}

fn attachment() -> impl Strategy<Value = Attachment> {
    few_bytes().prop_map(Into::into)
}

fn about_devices() -> impl Strategy<Value = OpBody> {
    let last = (device(), 1..=u64::MAX, uniform32(any::<u8>()));
    prop_oneof![
        (device(), attachment()).prop_map(|(device, key_package)| OpBody::DeviceAdd { device, key_package }),
        last.prop_map(|(device, seq, hash)| OpBody::DeviceRevoke { last: LastSeen { device, seq, hash } }),
        (persona(), device()).prop_map(|(subject, device)| OpBody::Evict { subject, device }),
    ]
}

fn recovery() -> impl Strategy<Value = OpBody> {
    let named = proptest::collection::btree_set(persona(), 1..=SUCCESSORS_MAX);
    prop_oneof![
        (node(), named).prop_map(|(base, named)| OpBody::Recover { base, facilitators: named.into_iter().collect() }),
        (1..=u32::MAX, any::<u16>(), node()).prop_map(|(generation, suite, at_node)| OpBody::Restart {
            generation,
            suite,
            at_node
        }),
    ]
}

fn op_content() -> impl Strategy<Value = OpContent> {
    let first = (persona(), device(), genesis()).prop_map(|(persona, device, body)| OpContent {
        group: GroupId([0; 32]),
        prev: vec![],
        lamport: 0,
        persona,
        device,
        at_node: NodeId([0; 32]),
        body,
    });
    let later = (
        group().prop_filter("a group", |g| g.0 != [0; 32]),
        proptest::collection::btree_set(op_id(), 1..5),
        1..=u64::MAX,
        persona(),
        device(),
        node(),
        later_body(),
    )
        .prop_map(|(group, prev, lamport, persona, device, at_node, body)| OpContent {
            group,
            prev: prev.into_iter().collect(),
            lamport,
            persona,
            device,
            at_node,
            body,
        });
    prop_oneof![1 => first, 4 => later]
}

fn signed_op() -> impl Strategy<Value = SignedOp> {
    (few_bytes(), sig(), option::of(few_bytes())).prop_map(|(content, sig, attached)| SignedOp {
        content,
        sig,
        attached,
    })
}

fn envelope_content() -> impl Strategy<Value = EnvelopeContent> {
    let parents = proptest::collection::btree_set(envelope_id(), 0..=ENVELOPE_PARENTS_MAX);
    let place = (persona(), device(), node(), envelope_id().prop_filter("linked", |e| e.0 != [0; 32]));
    (place, 1..=u64::MAX, parents, any::<u64>(), few_bytes()).prop_map(
        |((persona, device, node, prev), seq, parents, sent_at, body)| EnvelopeContent {
            v: 1,
            persona,
            device,
            node,
            seq,
            prev: if seq == 1 { EnvelopeId([0; 32]) } else { prev },
            parents: parents.into_iter().collect(),
            sent_at: Minute(sent_at),
            body,
        },
    )
}

fn signed_envelope() -> impl Strategy<Value = SignedEnvelope> {
    (few_bytes(), sig()).prop_map(|(content, sig)| SignedEnvelope { content, sig })
}

fn app_message() -> impl Strategy<Value = AppMessage> {
    prop_oneof![
        signed_envelope().prop_map(AppMessage::Envelope),
        vec(envelope_id(), 1..20).prop_map(AppMessage::Ack),
        uniform32(any::<u8>()).prop_map(|id| AppMessage::Declined(hearth_protocol::id::KnockId(id))),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let simple = ["f6", "f7", "80", "a0", "f93e00", "fa47c35000", "c100", "a10181a0", "3863"];
    prop_oneof![
        text().prop_map(|t| Value::text(&t)),
        any::<u64>().prop_map(Value::uint),
        any::<bool>().prop_map(Value::bool),
        few_bytes().prop_map(|b| Value::bytes(&b)),
        select(simple.to_vec()).prop_filter_map("an encoding", |hex| {
            Value::from_cbor(&data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?).ok()
        }),
    ]
}

fn external() -> impl Strategy<Value = ExternalPart> {
    let texts = (text(), text(), text(), text());
    let bytes = (few_bytes(), few_bytes(), few_bytes(), few_bytes());
    (texts, bytes, any::<u32>(), any::<u64>(), any::<u16>(), any::<u8>()).prop_map(
        |(
            (content_type, url, description, filename),
            (key, nonce, aad, content_hash),
            expires,
            size,
            enc_alg,
            hash_alg,
        )| {
            ExternalPart {
                content_type,
                url,
                expires,
                size,
                enc_alg,
                key,
                nonce,
                aad,
                hash_alg,
                content_hash,
                description,
                filename,
            }
        },
    )
}

fn part() -> impl Strategy<Value = Part> {
    let leaf = prop_oneof![
        Just(PartKind::Null),
        (text(), few_bytes()).prop_map(|(content_type, content)| PartKind::Single { content_type, content }),
        external().prop_map(|e| PartKind::External(Box::new(e))),
        (4..=u64::MAX, vec(value(), 0..4)).prop_map(|(cardinality, fields)| PartKind::Unknown { cardinality, fields }),
    ];
    let make = |(disposition, language, kind)| Part { disposition, language, kind };
    let semantics = select(vec![PartSemantics::ChooseOne, PartSemantics::SingleUnit, PartSemantics::ProcessAll]);
    (any::<u8>(), "[a-z]{0,8}", leaf).prop_map(make).prop_recursive(CONTENT_PART_DEPTH as u32, 16, 2, move |inner| {
        let kind =
            (semantics.clone(), vec(inner, 2..3)).prop_map(|(semantics, parts)| PartKind::Multi { semantics, parts });
        (any::<u8>(), "[a-z]{0,8}", kind).prop_map(make)
    })
}

fn content() -> impl Strategy<Value = Content> {
    let key = prop_oneof![
        any::<u64>().prop_map(Key::Uint),
        any::<u64>().prop_map(Key::Negative),
        name().prop_map(|n| Key::text(&n)),
    ];
    let extensions = proptest::collection::btree_map(key, value(), 0..6).prop_map(Extensions);
    let expires = option::of((any::<bool>(), any::<u32>()).prop_map(|(relative, time)| Expiration { relative, time }));
    (any::<[u8; 16]>(), option::of(message_id()), few_bytes(), expires, option::of(message_id()), extensions, part())
        .prop_map(|(salt, replaces, topic_id, expires, in_reply_to, extensions, body)| Content {
            salt,
            replaces,
            topic_id,
            expires,
            in_reply_to,
            extensions,
            body,
        })
}

fn commit_frame() -> impl Strategy<Value = CommitFrame> {
    (node(), few_bytes()).prop_map(|(parent, commit)| CommitFrame { parent, commit })
}

fn node_signature() -> impl Strategy<Value = NodeSignature> {
    (node(), persona(), sig()).prop_map(|(node, persona, sig)| NodeSignature { node, persona, sig })
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        signed_op().prop_map(Control::Op),
        commit_frame().prop_map(Control::Commit),
        node_signature().prop_map(Control::Signature),
        (frame_id(), persona(), sig()).prop_map(|(frame, persona, sig)| Control::Nack(Nack { frame, persona, sig })),
        (node(), device(), few_bytes()).prop_map(|(node, device, welcome)| Control::Welcome(WelcomeFrame {
            node,
            device,
            door: welcome.clone(),
            welcome,
        })),
    ]
}

fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        (node(), few_bytes()).prop_map(|(node, mls)| Packet::App { node, mls }),
        control().prop_map(Packet::Control),
        (node(), few_bytes()).prop_map(|(node, sealed)| Packet::Shared { node, sealed }),
        knock_answer().prop_map(Packet::Answer),
        (uniform32(any::<u8>()), 1..=PARTS_MAX as u16, any::<u16>(), few_bytes())
            .prop_map(|(object, count, index, bytes)| Packet::Part { object, index: index % count, count, bytes }),
    ]
}

fn door() -> impl Strategy<Value = DoorBody> {
    let keys = (node(), any::<u64>(), uniform32(any::<u8>()), uniform32(any::<u8>()))
        .prop_map(|(network, day, secret, control)| NetworkKeys { network, day: Day(day), secret, control });
    let lists = (vec(commit_frame(), 0..3), vec(signed_op(), 1..3), vec(node_signature(), 0..3));
    let elder =
        (persona(), any::<u64>(), any::<u32>()).prop_map(|(persona, depth, leaf)| Elder { persona, depth, leaf });
    let signature = (persona(), sig()).prop_map(|(persona, sig)| LinkSignature { persona, sig });
    let link = (few_bytes(), vec(signature, 0..3)).prop_map(|(context, signatures)| Link { context, signatures });
    let base = (node(), few_bytes(), vec(elder, 0..3), vec(link, 0..3));
    (group(), node(), few_bytes(), base, lists, keys).prop_map(
        |(group, node, group_info, (base, base_info, elders, chain), (frames, ops, signatures), keys)| DoorBody {
            group,
            node,
            group_info,
            base,
            base_info,
            frames,
            ops,
            signatures,
            keys,
            elders,
            chain,
            nacks: Vec::new(),
        },
    )
}

fn wrapper() -> impl Strategy<Value = DoorWrapper> {
    prop_oneof![
        (op_id(), uniform32(any::<u8>()), slot()).prop_map(|(invite, body_key, body_slot)| DoorWrapper::Open {
            invite,
            body_key,
            body_slot
        }),
        select(vec![ClosedReason::Exhausted, ClosedReason::Expired, ClosedReason::Revoked])
            .prop_map(|reason| DoorWrapper::Closed { reason }),
        (op_id(), (text(), text()), any::<(u16, u16)>(), uniform32(any::<u8>()), uniform32(any::<u8>())).prop_map(
            |(invite, (name, charter), (history_days, suite), knock_pk, queue)| {
                let queue = hearth_protocol::id::QueueId(queue);
                DoorWrapper::Knock { invite, name, charter, history_days, suite, knock_pk, queue }
            }
        ),
    ]
}

fn knock_content() -> impl Strategy<Value = KnockContent> {
    let said = ("[a-z]{1,20}", text(), vec(any::<u8>(), 1..40));
    (group(), op_id(), persona(), said, uniform32(any::<u8>())).prop_map(
        |(group, invite, persona, (name, introduction, key_package), answer)| KnockContent {
            group,
            invite,
            persona,
            name,
            introduction,
            key_package,
            answer,
        },
    )
}

fn knock_answer() -> impl Strategy<Value = KnockAnswer> {
    let admitted = (vec(any::<u8>(), 1..40), door());
    prop_oneof![
        admitted.prop_map(|(welcome, door)| KnockAnswer::Admitted { welcome, door }),
        Just(KnockAnswer::Declined)
    ]
}

fn card_content() -> impl Strategy<Value = CardContent> {
    let times = (any::<u64>(), any::<u64>());
    (persona(), device(), few_bytes(), vec(text(), 0..=CARD_ADDRESSES_MAX), node(), times).prop_map(
        |(persona, device, peer, addresses, network, (made, expires))| CardContent {
            persona,
            device,
            peer,
            addresses,
            network,
            made: Minute(made),
            expires: Minute(expires),
        },
    )
}

fn signed_card() -> impl Strategy<Value = SignedCard> {
    (few_bytes(), sig()).prop_map(|(content, sig)| SignedCard { content, sig })
}

fn record() -> impl Strategy<Value = Record> {
    (uniform32(any::<u8>()), any::<u64>(), sig(), vec(any::<u8>(), CARD_BYTES))
        .prop_map(|(pk, seq, sig, sealed)| Record { pk, seq, sig, sealed })
}

fn sync_message() -> impl Strategy<Value = SyncMessage> {
    let set = || select(vec![SyncSet::Control, SyncSet::Envelopes]);
    let lists = || vec(few_bytes().prop_map(ByteVec::from), 0..5);
    prop_oneof![
        (signed_card(), any::<u64>()).prop_map(|(card, base)| SyncMessage::Hello { card, base }),
        (set(), any::<bool>(), few_bytes()).prop_map(|(set, to_initiator, payload)| SyncMessage::Reconcile {
            set,
            to_initiator,
            payload
        }),
        (set(), vec(vec(any::<u8>(), 32).prop_map(ByteVec::from), 0..5))
            .prop_map(|(set, ids)| SyncMessage::Want { set, ids }),
        lists().prop_map(|packets| SyncMessage::Items { packets }),
        set().prop_map(|set| SyncMessage::Done { set }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let key = || uniform32(any::<u8>());
    let action = prop_oneof![
        (key(), key(), select(vec![QueueKind::Daily, QueueKind::Control]), any::<u64>())
            .prop_map(|(write_pk, read_pk, kind, pow)| Action::Create { write_pk, read_pk, kind, pow }),
        (queue(), few_bytes()).prop_map(|(queue, blob)| Action::Put { queue, blob }),
        (queue(), any::<u64>(), any::<u16>()).prop_map(|(queue, after, max)| Action::Get { queue, after, max }),
        (queue(), any::<u64>()).prop_map(|(queue, after)| Action::Subscribe { queue, after }),
        (slot(), key(), any::<u64>(), few_bytes()).prop_map(|(slot, write_pk, version, body)| Action::SlotPut {
            slot,
            write_pk,
            version,
            body
        }),
        (slot(), key()).prop_map(|(slot, write_pk)| Action::SlotRotate { slot, write_pk }),
        slot().prop_map(|slot| Action::SlotGet { slot }),
    ];
    (any::<u64>(), action, sig()).prop_map(|(id, action, sig)| Request { id, action, sig })
}

fn mailbox_frame() -> impl Strategy<Value = Frame> {
    let blob = |seq| Blob { seq, bytes: vec![seq as u8; FRAME_SMALL] };
    let refusals = [
        Refusal::NotFound,
        Refusal::Full,
        Refusal::Signature,
        Refusal::Work,
        Refusal::Busy,
        Refusal::Size,
        Refusal::Version,
        Refusal::Invalid,
    ];
    let answer = prop_oneof![
        Just(Answer::Created),
        any::<u64>().prop_map(|seq| Answer::Stored { seq }),
        (1u64..1_000, 0u64..3, any::<bool>())
            .prop_map(move |(from, n, more)| Answer::Blobs { blobs: (from..from + n).map(blob).collect(), more }),
        Just(Answer::SlotStored),
        (any::<u64>(), uniform32(any::<u8>()), vec(few_bytes().prop_map(ByteVec::from), 0..=SLOT_KEEPS))
            .prop_map(|(version, write_pk, bodies)| Answer::Slot { version, write_pk, bodies }),
        select(refusals.to_vec()).prop_map(Answer::Refused),
    ];
    prop_oneof![
        4 => (any::<u64>(), answer).prop_map(|(id, answer)| Frame::Reply { id, answer }),
        1 => (queue(), 1..=u64::MAX).prop_map(move |(queue, seq)| Frame::Push { queue, blob: blob(seq) }),
    ]
}

fn reads_back<T: Wire + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = cbor::to_vec(value);
    let back = cbor::read::<T>(&bytes);
    prop_assert_eq!(back.as_ref(), Ok(value));
    prop_assert_eq!(back.map(|v| cbor::to_vec(&v)), Ok(bytes));
    Ok(())
}

/// Refused, or the one encoding of what was read.
fn is_strict<T: Wire>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(value) = cbor::read::<T>(bytes) {
        prop_assert_eq!(cbor::to_vec(&value), bytes);
    }
    Ok(())
}

fn every_decoder(bytes: &[u8]) -> Result<(), TestCaseError> {
    is_strict::<SignedOp>(bytes)?;
    is_strict::<SignedEnvelope>(bytes)?;
    is_strict::<AppMessage>(bytes)?;
    is_strict::<Content>(bytes)?;
    is_strict::<CommitFrame>(bytes)?;
    is_strict::<Control>(bytes)?;
    is_strict::<Packet>(bytes)?;
    is_strict::<SharedEnvelopes>(bytes)?;
    is_strict::<DoorBody>(bytes)?;
    is_strict::<DoorWrapper>(bytes)?;
    is_strict::<SignedKnock>(bytes)?;
    is_strict::<KnockContent>(bytes)?;
    is_strict::<CardContent>(bytes)?;
    is_strict::<SignedCard>(bytes)?;
    is_strict::<Record>(bytes)?;
    is_strict::<SyncMessage>(bytes)?;
    is_strict::<Greeting>(bytes)?;
    is_strict::<Request>(bytes)?;
    is_strict::<Frame>(bytes)?;
    is_strict::<EntryGreeting>(bytes)?;
    is_strict::<EntryRequest>(bytes)?;
    is_strict::<EntryAnswer>(bytes)?;
    let _ = cbor::check_deterministic(bytes);
    let _ = SignedOp { content: bytes.to_vec(), sig: [0; 64], attached: None }.open();
    let _ = SignedEnvelope { content: bytes.to_vec(), sig: [0; 64] }.open();
    let text = String::from_utf8_lossy(bytes);
    let _ = InviteLink::parse(&text);
    let _ = hearth_protocol::name::clean(&text);
    let _ = hearth_protocol::name::file(&text);
    Ok(())
}

/// A valid encoding of some type, to be damaged.
fn encodings() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        op_content().prop_map(|v| cbor::to_vec(&v)),
        envelope_content().prop_map(|v| cbor::to_vec(&v)),
        content().prop_map(|v| cbor::to_vec(&v)),
        packet().prop_map(|v| cbor::to_vec(&v)),
        door().prop_map(|v| cbor::to_vec(&v)),
        sync_message().prop_map(|v| cbor::to_vec(&v)),
        request().prop_map(|v| cbor::to_vec(&v)),
        app_message().prop_map(|v| cbor::to_vec(&v)),
        card_content().prop_map(|v| cbor::to_vec(&v)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ops_read_back(content in op_content(), op in signed_op(), sig in sig()) {
        reads_back(&op)?;
        let signed = SignedOp::new(&content, |_| sig);
        prop_assert_eq!(signed.open(), Ok(content));
        reads_back(&signed)?;
    }

    #[test]
    fn envelopes_read_back(content in envelope_content(), message in app_message(), sig in sig()) {
        reads_back(&message)?;
        let signed = SignedEnvelope { content: cbor::to_vec(&content), sig };
        prop_assert_eq!(signed.open(), Ok(content));
        reads_back(&SharedEnvelopes { envelopes: vec![signed] })?;
    }

    #[test]
    fn contents_read_back(content in content()) {
        reads_back(&content)?;
    }

    #[test]
    fn packets_read_back(packet in packet(), control in control(), frame in commit_frame()) {
        reads_back(&packet)?;
        reads_back(&control)?;
        reads_back(&frame)?;
    }

    #[test]
    fn doors_read_back(door in door(), wrapper in wrapper()) {
        reads_back(&door)?;
        reads_back(&wrapper)?;
    }

    #[test]
    fn knocks_read_back(content in knock_content(), sig in sig()) {
        reads_back(&content)?;
        let content = cbor::to_vec(&content);
        reads_back(&SignedKnock { content, sig })?;
    }

    #[test]
    fn cards_read_back(content in card_content(), card in signed_card(), record in record()) {
        reads_back(&content)?;
        reads_back(&card)?;
        reads_back(&record)?;
    }

    #[test]
    fn sync_reads_back(message in sync_message()) {
        reads_back(&message)?;
    }

    #[test]
    fn mailbox_reads_back(request in request(), frame in mailbox_frame(), pow_bits in 0..=POW_BITS_MAX) {
        reads_back(&request)?;
        reads_back(&frame)?;
        reads_back(&Greeting { relay_key: [1; 32], nonce: [2; 32], pow_bits })?;
    }

    #[test]
    fn entry_reads_back(operator in text(), peers in vec(vec(any::<u8>(), 0..=PEER_ID_MAX), 0..=3)) {
        let known = |peer: &Vec<u8>| KnownRelay { peer: peer.clone(), operator: operator.clone() };
        reads_back(&EntryGreeting { operator: operator.clone(), relays: peers.iter().map(known).collect() })?;
        for peer in peers {
            reads_back(&EntryRequest { peer })?;
        }
        for answer in [EntryAnswer::Carried, EntryAnswer::Unknown, EntryAnswer::Unreachable, EntryAnswer::Busy] {
            reads_back(&answer)?;
        }
    }

    #[test]
    fn links_read_back(secret in uniform32(any::<u8>()), group in group(), invite in op_id(),
        relays in vec(text(), 0..=RELAYS_MAX), bootstrap in vec(text(), 0..=BOOTSTRAP_MAX), end in any::<u64>()) {
        let link = InviteLink { v: 1, secret, group, invite, relays, bootstrap, expires: Second(end) };
        prop_assert_eq!(InviteLink::parse(&link.to_text()), Ok(link));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        every_decoder(&bytes)?;
    }

    #[test]
    fn damaged_encodings_never_panic(mut bytes in encodings(), at in any::<prop::sample::Index>(), to in any::<u8>(),
        cut in any::<Option<prop::sample::Index>>()) {
        let i = at.index(bytes.len());
        bytes[i] = to;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        every_decoder(&bytes)?;
    }
}
