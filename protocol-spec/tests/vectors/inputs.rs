//! The inputs of the vectors: fixed, so that the generator makes the same files on every machine.

use serde_json::{Value, json};

/// One file of vectors: its name, what it shows, and (case, kind, inputs).
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cases: Vec<(&'static str, &'static str, Value)>,
}

/// Thirty-two equal bytes in hexadecimal; easy to find again in an encoding.
fn b32(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

pub(crate) fn files() -> Vec<File> {
    vec![ops(), envelopes(), contents(), frames(), nodes(), links(), cards(), mailbox(), entry(), packets(), refused()]
}

fn op(lamport: u64, body: Value) -> Value {
    let genesis = lamport == 0;
    json!({
        "group": b32(if genesis { 0 } else { 0xaa }),
        "prev": if genesis { json!([]) } else { json!([b32(0x01), b32(0x02)]) },
        "lamport": lamport,
        "persona_seed": b32(0x11),
        "device": b32(0xd1),
        "at_node": b32(if genesis { 0 } else { 0x0e }),
        "body": body,
    })
}

fn ops() -> File {
    let genesis = |template, relays: Value| {
        json!({ "kind": "genesis", "name": "Tuesday evenings", "charter": "What is said here stays here.",
            "template": template, "join": "open", "history_days": 30, "suite": 0x004f, "relays": relays,
            "founder": "Mara", "salt": "000102030405060708090a0b0c0d0e0f" })
    };
    let relay = "/dns4/relay.example/tcp/4001/p2p/12D3KooWExample";
    File {
        name: "op",
        about: "policy ops: content, the bytes signed, the signed op and its OpId (a Genesis' OpId is the group id)",
        cases: vec![
            ("genesis", "op", op(0, genesis(json!("grief"), json!([relay])))),
            ("genesis without template and relays", "op", op(0, genesis(Value::Null, json!([])))),
            (
                "add",
                "op",
                op(
                    300,
                    json!({ "kind": "add", "subject": b32(0x55), "name": "Jo", "role": "member", "key_package": "0a0b0c" }),
                ),
            ),
            (
                "invite",
                "op",
                op(
                    3,
                    json!({ "kind": "invite", "join_pk": b32(0x77), "door_pk": b32(0x78), "uses": 12, "role": "newcomer", "expires": 1_764_000_001, "mode": "knock" }),
                ),
            ),
            ("invite revoke", "op", op(4, json!({ "kind": "invite_revoke", "invite": b32(0x79) }))),
            (
                "join",
                "op",
                op(
                    5,
                    json!({ "kind": "join", "invite": b32(0x79), "slot": 7, "name": "Ada", "invite_seed": b32(0x22) }),
                ),
            ),
            ("rejoin request", "op", op(6, json!({ "kind": "rejoin_request", "key_package": "0a" }))),
            (
                "remove",
                "op",
                op(
                    7,
                    json!({ "kind": "remove", "subject": b32(0x55), "reason": "broke the charter", "last": [{ "device": b32(0xd2), "seq": 41, "hash": b32(0x42) }] }),
                ),
            ),
            ("leave", "op", op(8, json!({ "kind": "leave" }))),
            ("set role", "op", op(9, json!({ "kind": "set_role", "subject": b32(0x55), "role": "cofacilitator" }))),
            ("set policy: nothing", "op", op(10, json!({ "kind": "set_policy" }))),
            ("set policy: one field in the middle", "op", op(11, json!({ "kind": "set_policy", "slow_mode_s": 60 }))),
            (
                "set policy: every field",
                "op",
                op(
                    12,
                    json!({ "kind": "set_policy", "charter": "Kind and brief.", "history_days": 0, "slow_mode_s": 5, "shield": true, "relays": [relay], "successors": [b32(0x55)] }),
                ),
            ),
            (
                "device add",
                "op",
                op(13, json!({ "kind": "device_add", "new_device": b32(0xd3), "key_package": "0a0b" })),
            ),
            (
                "device revoke",
                "op",
                op(14, json!({ "kind": "device_revoke", "device": b32(0xd3), "seq": 41, "hash": b32(0x42) })),
            ),
            (
                "device revoke: it wrote nothing",
                "op",
                op(15, json!({ "kind": "device_revoke", "device": b32(0xd3), "seq": 0, "hash": b32(0x00) })),
            ),
            ("evict", "op", op(16, json!({ "kind": "evict", "subject": b32(0x55), "device": b32(0xd4) }))),
            (
                "recover",
                "op",
                op(17, json!({ "kind": "recover", "base": b32(0x0e), "facilitators": [b32(0x55), b32(0x66)] })),
            ),
            (
                "restart",
                "op",
                op(18, json!({ "kind": "restart", "generation": 1, "suite": 0x004f, "at_node": b32(0x0f) })),
            ),
        ],
    }
}

fn envelope(seq: u64, body: &str) -> Value {
    let parents = if seq == 1 { json!([]) } else { json!([b32(0x31), b32(0x32)]) };
    json!({ "group": b32(0xaa), "v": 1, "persona": b32(0x51), "device_seed": b32(0x12), "node": b32(0x0e),
        "seq": seq, "prev": b32(if seq == 1 { 0 } else { 0x30 }), "parents": parents, "sent_at": 29_400_001, "body": body })
}

fn envelopes() -> File {
    File {
        name: "envelope",
        about: "envelopes: content, the bytes the device signs, the signed envelope and its id",
        cases: vec![
            ("a device's first", "envelope", envelope(1, "80")),
            ("a later one with two parents", "envelope", envelope(2, "8100")),
            ("inside an application message", "application", envelope(3, "8100")),
            ("acknowledgement", "application", json!({ "ack": [b32(0x31), b32(0x32)] })),
        ],
    }
}

fn contents() -> File {
    let case = |extra: Value| {
        let mut case = json!({ "salt": "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf", "sender": b32(0x51), "room": b32(0xaa) });
        if let (Some(case), Some(extra)) = (case.as_object_mut(), extra.as_object()) {
            case.extend(extra.clone());
        }
        case
    };
    let target = format!("01{}", "6d".repeat(31));
    File {
        name: "content",
        about: "MIMI contents and their message ids",
        cases: vec![
            ("text", "content", case(json!({ "kind": "text", "text": "Day **30**. Grüße!" }))),
            (
                "everything at once",
                "content",
                case(
                    json!({ "kind": "text", "text": "hard news", "topic_id": "0102", "in_reply_to": target, "expires_relative": 86_400, "content_note": "illness", "library_consent": true, "unknown_extension": "a2018261610002f6" }),
                ),
            ),
            ("edit", "content", case(json!({ "kind": "edit", "text": "Day **31**.", "replaces": target }))),
            ("retraction", "content", case(json!({ "kind": "retraction", "replaces": target }))),
            ("reaction", "content", case(json!({ "kind": "reaction", "reaction": "with_you", "in_reply_to": target }))),
            (
                "reaction taken back",
                "content",
                case(
                    json!({ "kind": "unreaction", "in_reply_to": target, "replaces": format!("01{}", "72".repeat(31)) }),
                ),
            ),
        ],
    }
}

fn frames() -> File {
    File {
        name: "frame",
        about: "what the control queue carries; `control_hash` is what sync compares",
        cases: vec![
            ("commit", "commit_frame", json!({ "parent": b32(0x0e), "commit": "00010002c0ffee" })),
            (
                "node signature",
                "node_signature",
                json!({ "group": b32(0xaa), "node": b32(0x0f), "persona_seed": b32(0x11) }),
            ),
            ("nack", "nack", json!({ "group": b32(0xaa), "frame": b32(0xf1), "persona_seed": b32(0x11) })),
            (
                "welcome",
                "welcome",
                json!({ "node": b32(0x0f), "device": b32(0xd2), "welcome": "00010003c0ffee", "door": "d0" }),
            ),
        ],
    }
}

fn nodes() -> File {
    let node = |epoch: u64, network: Value, heads: Value| {
        json!({ "suite": 3, "mls_group_id": b32(0xaa), "epoch": epoch, "tree_hash": b32(0x71), "confirmed_transcript_hash": if epoch == 0 { String::new() } else { b32(0x72) },
            "confirmation_tag": b32(0x74), "heads": heads, "roster_root": b32(0x73), "network": network, "first_day": 20_415, "generation": 0,
            "began": 0, "written_at": epoch - epoch % 7 })
    };
    File {
        name: "node",
        about: "nodes: the binding in extension 0xF0A1, the GroupContext around it, and the NodeId. `written_at` is the MLS epoch of the node that wrote the binding",
        cases: vec![
            ("the first node, which begins its network", "node", node(0, Value::Null, json!([b32(0xaa)]))),
            ("a later node", "node", node(300, json!(b32(0x0e)), json!([b32(0x01), b32(0x02), b32(0x03)]))),
        ],
    }
}

fn links() -> File {
    let relay = "/dns4/relay.example/tcp/4001/p2p/12D3KooWExample";
    let link = |relays: Value, bootstrap: Value| json!({ "v": 1, "secret": b32(0x5e), "group": b32(0xaa), "invite": b32(0x79), "relays": relays, "bootstrap": bootstrap, "expires": 1_764_000_001 });
    File {
        name: "link",
        about: "invite links, doors and their wrappers, knocks",
        cases: vec![
            ("with a relay", "link", link(json!([relay]), json!([]))),
            ("without relays", "link", link(json!([]), json!(["/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWExample"]))),
            ("open wrapper", "wrapper", json!({ "invite": b32(0x79), "body_key": b32(0xb0), "body_slot": b32(0xb1) })),
            (
                "wrapper of an invite that admits by hand",
                "wrapper",
                json!({ "invite": b32(0x79), "name": "Night watch", "charter": "Be kind", "history_days": 7, "suite": 79, "knock_pk": b32(0xb2), "queue": b32(0xb3) }),
            ),
            (
                "knock",
                "knock",
                json!({ "persona_seed": b32(0x14), "group": b32(0xaa), "invite": b32(0x79), "name": "Ben", "introduction": "I read here for a year", "key_package": "c7", "answer": b32(0xb4) }),
            ),
            ("closed wrapper: exhausted", "wrapper", json!({ "closed": "exhausted" })),
            ("closed wrapper: expired", "wrapper", json!({ "closed": "expired" })),
            ("closed wrapper: revoked", "wrapper", json!({ "closed": "revoked" })),
            (
                "door",
                "door",
                json!({ "group": b32(0xaa), "node": b32(0x0f), "group_info": "c1", "base": b32(0x0e), "base_info": "c2", "parent": b32(0x0e), "commit": "c3", "op_content": "c4", "op_sig": "c5".repeat(64), "network": b32(0x0e), "day": 20_415, "secret": b32(0x5e), "control": b32(0x5f), "persona": b32(0x51), "depth": 7, "context": "c6" }),
            ),
        ],
    }
}

fn cards() -> File {
    File {
        name: "card",
        about: "cards and the self-certifying DHT record; a record's sealed card is `sealed_byte` 1,024 times",
        cases: vec![
            (
                "card",
                "card",
                json!({ "group": b32(0xaa), "device_seed": b32(0x12), "persona": b32(0x51), "peer": "00240801", "addresses": ["/ip4/192.0.2.7/tcp/4001"], "network": b32(0x0e), "made": 29_400_001, "expires": 29_400_361 }),
            ),
            ("record", "record", json!({ "record_seed": b32(0x13), "seq": 29_400_001, "sealed_byte": 0x5c })),
        ],
    }
}

fn entry() -> File {
    File {
        name: "entry",
        about: "/hearth/entry/1: greeting, request, answers",
        cases: vec![
            (
                "greeting",
                "entry_greeting",
                json!({ "operator": "Ada, Tuesdays", "relays": [{ "peer": "0024aabb", "operator": "12D3KooWExample" }] }),
            ),
            (
                "greeting of one that knows nobody",
                "entry_greeting",
                json!({ "operator": "12D3KooWExample", "relays": [] }),
            ),
            ("request", "entry_request", json!({ "peer": "0024aabb" })),
            ("carried", "entry_answer", json!({ "answer": "carried" })),
            ("unknown", "entry_answer", json!({ "answer": "unknown" })),
            ("unreachable", "entry_answer", json!({ "answer": "unreachable" })),
            ("busy", "entry_answer", json!({ "answer": "busy" })),
        ],
    }
}

fn mailbox() -> File {
    let request = |extra: Value| {
        let mut case = json!({ "id": 9, "relay_key": b32(0x4e), "nonce": b32(0x4f) });
        if let (Some(case), Some(extra)) = (case.as_object_mut(), extra.as_object()) {
            case.extend(extra.clone());
        }
        case
    };
    let (queue, slot, seed) = (b32(0x90), b32(0x51), b32(0x14));
    File {
        name: "mailbox",
        about: "/hearth/mailbox/1: ids, proof of work, requests with the bytes signed, answers",
        cases: vec![
            ("relay key", "relay", json!({ "peer_id": "12D3KooWExample" })),
            ("daily queue", "queue", json!({ "write_pk": b32(0x61), "read_pk": b32(0x62), "kind": "daily" })),
            ("control queue", "queue", json!({ "write_pk": b32(0x61), "read_pk": b32(0x62), "kind": "control" })),
            (
                "least proof of work",
                "work",
                json!({ "relay_key": b32(0x4e), "nonce": b32(0x4f), "queue": queue, "bits": 10 }),
            ),
            ("greeting", "greeting", json!({ "relay_key": b32(0x4e), "nonce": b32(0x4f), "pow_bits": 18 })),
            (
                "create",
                "request",
                request(
                    json!({ "action": "create", "write_pk": b32(0x61), "read_pk": b32(0x62), "kind": "control", "pow": 77 }),
                ),
            ),
            (
                "put",
                "request",
                request(json!({ "action": "put", "queue": queue, "blob_size": 4096, "blob_byte": 7, "seed": seed })),
            ),
            (
                "get",
                "request",
                request(json!({ "action": "get", "queue": queue, "after": 1000, "max": 64, "seed": seed })),
            ),
            (
                "subscribe",
                "request",
                request(json!({ "action": "subscribe", "queue": queue, "after": 0, "seed": seed })),
            ),
            (
                "slot put",
                "request",
                request(
                    json!({ "action": "slot_put", "slot": slot, "write_pk": b32(0x63), "version": 1, "body": "0102", "seed": seed }),
                ),
            ),
            (
                "slot rotate",
                "request",
                request(json!({ "action": "slot_rotate", "slot": slot, "write_pk": b32(0x64), "seed": seed })),
            ),
            ("slot get", "request", request(json!({ "action": "slot_get", "slot": slot }))),
            ("created", "reply", json!({ "id": 9, "answer": "created" })),
            ("stored", "reply", json!({ "id": 9, "answer": "stored", "seq": 12 })),
            (
                "blobs",
                "reply",
                json!({ "id": 9, "answer": "blobs", "seq": 12, "blob_size": 4096, "blob_byte": 7, "more": true }),
            ),
            ("slot stored", "reply", json!({ "id": 9, "answer": "slot_stored" })),
            (
                "slot",
                "reply",
                json!({ "id": 9, "answer": "slot", "version": 2, "write_pk": b32(0x63), "bodies": ["02", "01"] }),
            ),
            ("refused", "reply", json!({ "id": 9, "answer": "refused", "refusal": "busy" })),
            (
                "push",
                "reply",
                json!({ "answer": "push", "queue": queue, "seq": 13, "blob_size": 16384, "blob_byte": 8 }),
            ),
        ],
    }
}

fn packets() -> File {
    let mut envelopes = envelope(2, "8100");
    envelopes["packet"] = "envelopes".into();
    File {
        name: "packet",
        about: "packets inside the seal, and /hearth/sync/1",
        cases: vec![
            ("application message", "packet", json!({ "packet": "app", "node": b32(0x0f), "mls": "0001000200" })),
            ("control", "packet", json!({ "packet": "control", "parent": b32(0x0e), "commit": "c0" })),
            ("shared", "packet", json!({ "packet": "shared", "node": b32(0x0f), "sealed": "5ea1" })),
            (
                "part",
                "packet",
                json!({ "packet": "part", "object": b32(0x0b), "index": 2, "count": 3, "bytes": "ff00" }),
            ),
            ("shared envelopes", "packet", envelopes),
            ("hello", "sync", json!({ "message": "hello", "base": 9, "content": "c0", "sig": "51".repeat(64) })),
            (
                "reconcile",
                "sync",
                json!({ "message": "reconcile", "set": "envelopes", "to_initiator": true, "payload": "61" }),
            ),
            ("want", "sync", json!({ "message": "want", "set": "control", "ids": [b32(0x31), b32(0x32)] })),
            ("items", "sync", json!({ "message": "items", "packets": ["8100", "8101"] })),
            ("done", "sync", json!({ "message": "done", "set": "envelopes" })),
        ],
    }
}

fn refused() -> File {
    let case = |kind: &str, bytes: &str| json!({ "type": kind, "bytes": bytes });
    File {
        name: "refused",
        about: "bytes that every decoder must refuse",
        cases: vec![
            ("a frame of 2^32 - 1 bytes", "refused", case("frame_prefix", "ffffffff")),
            ("an array of 2^32 items", "refused", case("packet", "9b0000000100000000")),
            ("nested too deep", "refused", case("content", &"81".repeat(64))),
            ("indefinite length", "refused", case("sync", "9f048100ff")),
            ("bytes after the value", "refused", case("sync", "8204810000")),
            ("an integer longer than needed", "refused", case("sync", "8218048100")),
            ("a head longer than needed", "refused", case("sync", "8204980100")),
            ("an unknown variant", "refused", case("sync", "82098100")),
            ("an id of 31 bytes", "refused", case("sync", &format!("8202820081581f{}", "31".repeat(31)))),
            ("an empty acknowledgement", "refused", case("application", "82018180")),
            ("a part beyond its count", "refused", case("packet", &format!("8203845820{}010141ff", b32(0x0b)))),
            (
                "a map key twice",
                "refused",
                case("content", "8750a0a1a2a3a4a5a6a7a8a9aaabacadaeaff640f6f6a20100010083016000"),
            ),
            (
                "map keys out of order",
                "refused",
                case("content", "8750a0a1a2a3a4a5a6a7a8a9aaabacadaeaff640f6f6a20200010083016000"),
            ),
            (
                "a float longer than needed",
                "refused",
                case("content", "8750a0a1a2a3a4a5a6a7a8a9aaabacadaeaff640f6f6a101fa3fc0000083016000"),
            ),
            ("a content of six fields", "refused", case("content", "8650a0a1a2a3a4a5a6a7a8a9aaabacadaeaff640f6f6a0")),
        ],
    }
}
