//! What a vector's outputs must be, computed from its inputs. The generator and the checker share it.

use ed25519_dalek::{Signer as _, SigningKey};
use hearth_protocol::{
    card::{self, CardContent, Record, SignedCard},
    cbor::{self, Wire},
    content::{Content, Value as Extension, group_uri, persona_uri},
    door::{ClosedReason, DoorBody, DoorWrapper, Elder, Link, LinkSignature, NetworkKeys},
    entry::{EntryAnswer, EntryGreeting, EntryRequest, KnownRelay},
    envelope::{self, AppMessage, EnvelopeContent, SignedEnvelope},
    frame::{self, CommitFrame, Control, Nack, NodeSignature, WelcomeFrame},
    id::*,
    knock::{KnockContent, SignedKnock, knock_message},
    link::InviteLink,
    mailbox::{self, Action, Answer, Blob, Frame, Greeting, QueueKind, Refusal, Request},
    op::{self, JoinMode, LastSeen, OpBody, OpContent, Role, SignedOp, Template},
    packet::{Packet, SharedEnvelopes},
    sync::{SyncMessage, SyncSet},
    time::{Day, Minute, Second},
};
use minicbor::bytes::ByteVec;
use serde_json::{Value, json};

/// The outputs of one case; `None` when the inputs are not of this kind.
pub(crate) fn compute(kind: &str, input: &Value) -> Option<Value> {
    let i = In(input);
    match kind {
        "op" => op_case(i),
        "envelope" => envelope_case(i),
        "content" => content_case(i),
        "commit_frame" => {
            let frame = commit_frame(i)?;
            let (id, frame_bytes, control) = (frame.id(), cbor::to_vec(&frame), Control::Commit(frame));
            let mut out = bytes(&control);
            out["frame"] = hex(&frame_bytes).into();
            out["frame_id"] = id.to_hex().into();
            out["control_hash"] = hex(&control.hash()).into();
            Some(out)
        }
        "node_signature" => {
            let (group, node) = (GroupId(i.array("group")?), NodeId(i.array("node")?));
            let key = i.key("persona_seed")?;
            let message = frame::signature_message(&group, &node);
            let value = NodeSignature { node, persona: PersonaId(public(&key)), sig: sign(&key, &message) };
            Some(signed(&message, &Control::Signature(value)))
        }
        "nack" => {
            let (group, frame) = (GroupId(i.array("group")?), FrameId(i.array("frame")?));
            let key = i.key("persona_seed")?;
            let message = frame::nack_message(&group, &frame);
            let value = Nack { frame, persona: PersonaId(public(&key)), sig: sign(&key, &message) };
            Some(signed(&message, &Control::Nack(value)))
        }
        "welcome" => {
            let (node, device) = (NodeId(i.array("node")?), DeviceId(i.array("device")?));
            Some(bytes(&Control::Welcome(WelcomeFrame {
                node,
                device,
                welcome: i.bytes("welcome")?,
                door: i.bytes("door")?,
            })))
        }
        "node" => node_case(i),
        "link" => link_case(i),
        "card" => card_case(i),
        "record" => record_case(i),
        "queue" => {
            let (write_pk, read_pk) = (i.array("write_pk")?, i.array("read_pk")?);
            Some(json!({ "queue": mailbox::queue_id(&write_pk, &read_pk, i.queue_kind()?).to_hex() }))
        }
        "relay" => Some(json!({ "relay_key": hex(&mailbox::relay_key(i.text("peer_id")?)) })),
        "work" => {
            let (relay, nonce, queue) = (i.array("relay_key")?, i.array("nonce")?, QueueId(i.array("queue")?));
            let bits = u8::try_from(i.number("bits")?).ok()?;
            Some(json!({ "pow": mailbox::pow_solve(&relay, &nonce, &queue, bits) }))
        }
        "request" => request_case(i),
        "greeting" => {
            let (relay_key, nonce) = (i.array("relay_key")?, i.array("nonce")?);
            Some(bytes(&Greeting { relay_key, nonce, pow_bits: u8::try_from(i.number("pow_bits")?).ok()? }))
        }
        "entry_greeting" => {
            let relays = i.list("relays")?.iter().map(|relay| {
                let relay = In(relay);
                Some(KnownRelay { peer: relay.bytes("peer")?, operator: relay.text("operator")?.into() })
            });
            let relays = relays.collect::<Option<_>>()?;
            Some(bytes(&EntryGreeting { operator: i.text("operator")?.into(), relays }))
        }
        "entry_request" => Some(bytes(&EntryRequest { peer: i.bytes("peer")? })),
        "entry_answer" => Some(bytes(&match i.text("answer")? {
            "carried" => EntryAnswer::Carried,
            "unknown" => EntryAnswer::Unknown,
            "unreachable" => EntryAnswer::Unreachable,
            "busy" => EntryAnswer::Busy,
            _ => return None,
        })),
        "reply" => reply_case(i),
        "packet" => packet_case(i),
        "application" => match i.list("ack") {
            Some(ids) => Some(bytes(&AppMessage::Ack(ids.iter().map(id_of).collect::<Option<Vec<_>>>()?))),
            None => Some(bytes(&AppMessage::Envelope(signed_envelope(i)?))),
        },
        "sync" => sync_case(i),
        "door" => door_case(i),
        "knock" => knock_case(i),
        "wrapper" => Some(bytes(&match i.text("closed") {
            Some("exhausted") => DoorWrapper::Closed { reason: ClosedReason::Exhausted },
            Some("expired") => DoorWrapper::Closed { reason: ClosedReason::Expired },
            Some("revoked") => DoorWrapper::Closed { reason: ClosedReason::Revoked },
            Some(_) => return None,
            None if i.text("charter").is_some() => DoorWrapper::Knock {
                invite: OpId(i.array("invite")?),
                name: i.text("name")?.into(),
                charter: i.text("charter")?.into(),
                history_days: u16::try_from(i.number("history_days")?).ok()?,
                suite: u16::try_from(i.number("suite")?).ok()?,
                knock_pk: i.array("knock_pk")?,
                queue: QueueId(i.array("queue")?),
            },
            None => {
                let (invite, body_slot) = (OpId(i.array("invite")?), SlotId(i.array("body_slot")?));
                DoorWrapper::Open { invite, body_key: i.array("body_key")?, body_slot }
            }
        })),
        "refused" => Some(json!({ "refused": refused(i.text("type")?, &i.bytes("bytes")?)? })),
        _ => None,
    }
}

/// Named access to a JSON object; bytes are lowercase hexadecimal.
#[derive(Clone, Copy)]
struct In<'a>(&'a Value);

impl<'a> In<'a> {
    fn at(self, key: &str) -> Option<In<'a>> {
        self.0.get(key).filter(|v| !v.is_null()).map(In)
    }

    fn text(self, key: &str) -> Option<&'a str> {
        self.0.get(key)?.as_str()
    }

    fn number(self, key: &str) -> Option<u64> {
        self.0.get(key)?.as_u64()
    }

    fn yes(self, key: &str) -> Option<bool> {
        self.0.get(key)?.as_bool()
    }

    fn bytes(self, key: &str) -> Option<Vec<u8>> {
        unhex(self.text(key)?)
    }

    fn array<const N: usize>(self, key: &str) -> Option<[u8; N]> {
        self.bytes(key)?.try_into().ok()
    }

    fn list(self, key: &str) -> Option<&'a Vec<Value>> {
        self.0.get(key)?.as_array()
    }

    fn texts(self, key: &str) -> Option<Vec<String>> {
        self.list(key)?.iter().map(|v| v.as_str().map(str::to_owned)).collect()
    }

    fn byte_list(self, key: &str) -> Option<Vec<ByteVec>> {
        self.list(key)?.iter().map(|v| unhex(v.as_str()?).map(ByteVec::from)).collect()
    }

    fn key(self, key: &str) -> Option<SigningKey> {
        Some(SigningKey::from_bytes(&self.array(key)?))
    }

    fn role(self) -> Option<Role> {
        Some(match self.text("role")? {
            "facilitator" => Role::Facilitator,
            "cofacilitator" => Role::Cofacilitator,
            "member" => Role::Member,
            "newcomer" => Role::Newcomer,
            "reader" => Role::Reader,
            _ => return None,
        })
    }

    fn queue_kind(self) -> Option<QueueKind> {
        match self.text("kind")? {
            "daily" => Some(QueueKind::Daily),
            "control" => Some(QueueKind::Control),
            _ => None,
        }
    }

    fn mode(self, key: &str) -> Option<JoinMode> {
        match self.text(key)? {
            "open" => Some(JoinMode::Open),
            "knock" => Some(JoinMode::Knock),
            _ => None,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).ok()
}

fn id_of(value: &Value) -> Option<EnvelopeId> {
    EnvelopeId::from_hex(value.as_str()?)
}

fn public(key: &SigningKey) -> [u8; 32] {
    key.verifying_key().to_bytes()
}

fn sign(key: &SigningKey, message: &[u8]) -> [u8; 64] {
    key.sign(message).to_bytes()
}

/// The encoding of a value that reads back.
fn bytes<T: Wire + PartialEq>(value: &T) -> Value {
    let bytes = cbor::to_vec(value);
    let reads_back = cbor::read::<T>(&bytes).as_ref() == Ok(value);
    json!({ "bytes": hex(&bytes), "reads_back": reads_back })
}

fn signed<T: Wire + PartialEq>(message: &[u8], value: &T) -> Value {
    let mut out = bytes(value);
    out["signed_message"] = hex(message).into();
    out
}

fn op_case(i: In<'_>) -> Option<Value> {
    let key = i.key("persona_seed")?;
    let prev = i.list("prev")?.iter().map(|v| OpId::from_hex(v.as_str()?)).collect::<Option<Vec<_>>>()?;
    let content = OpContent {
        group: GroupId(i.array("group")?),
        prev,
        lamport: i.number("lamport")?,
        persona: PersonaId(public(&key)),
        device: DeviceId(i.array("device")?),
        at_node: NodeId(i.array("at_node")?),
        body: op_body(i)?,
    };
    let message = op::op_message(&cbor::to_vec(&content));
    let op = SignedOp::new(&content, |message| sign(&key, message));
    let opens = op.open().as_ref() == Ok(&content);
    let mut out = signed(&message, &op);
    out["content"] = hex(&op.content).into();
    out["op_id"] = op.id().to_hex().into();
    out["opens"] = opens.into();
    Some(out)
}

fn op_body(i: In<'_>) -> Option<OpBody> {
    let body = i.at("body")?;
    let subject = || Some(PersonaId(body.array("subject")?));
    let name = || Some(body.text("name")?.to_owned());
    Some(match body.text("kind")? {
        "genesis" => OpBody::Genesis {
            name: name()?,
            charter: body.text("charter")?.into(),
            template: match body.at("template") {
                Some(_) => Some(template(body.text("template")?)?),
                None => None,
            },
            join: body.mode("join")?,
            history_days: u16::try_from(body.number("history_days")?).ok()?,
            suite: u16::try_from(body.number("suite")?).ok()?,
            relays: body.texts("relays")?,
            founder: body.text("founder")?.to_owned(),
            salt: body.array("salt")?,
        },
        "add" => OpBody::Add {
            subject: subject()?,
            name: name()?,
            role: body.role()?,
            key_package: body.bytes("key_package")?.into(),
        },
        "invite" => OpBody::Invite {
            join_pk: body.array("join_pk")?,
            door_pk: body.array("door_pk")?,
            uses: u32::try_from(body.number("uses")?).ok()?,
            role: body.role()?,
            expires: Second(body.number("expires")?),
            mode: body.mode("mode")?,
        },
        "invite_revoke" => OpBody::InviteRevoke { invite: OpId(body.array("invite")?) },
        "join" => {
            let (invite, slot) = (OpId(body.array("invite")?), u32::try_from(body.number("slot")?).ok()?);
            let (group, device) = (GroupId(i.array("group")?), DeviceId(i.array("device")?));
            let persona = PersonaId(public(&i.key("persona_seed")?));
            let message = op::join_message(&group, &persona, &device, &invite, slot);
            OpBody::Join { invite, slot, name: name()?, invite_sig: sign(&body.key("invite_seed")?, &message) }
        }
        "rejoin_request" => OpBody::RejoinRequest { key_package: body.bytes("key_package")?.into() },
        "remove" => {
            let last = |v: &Value| {
                let l = In(v);
                Some(LastSeen { device: DeviceId(l.array("device")?), seq: l.number("seq")?, hash: l.array("hash")? })
            };
            let last = body.list("last")?.iter().map(last).collect::<Option<Vec<_>>>()?;
            OpBody::Remove { subject: subject()?, reason: body.text("reason")?.to_owned(), last }
        }
        "leave" => OpBody::Leave,
        "set_role" => OpBody::SetRole { subject: subject()?, role: body.role()? },
        "set_policy" => OpBody::SetPolicy {
            charter: body.text("charter").map(Into::into),
            history_days: body.number("history_days").and_then(|n| u16::try_from(n).ok()),
            slow_mode_s: body.number("slow_mode_s").and_then(|n| u32::try_from(n).ok()),
            shield: body.yes("shield"),
            relays: body.texts("relays"),
            successors: match body.list("successors") {
                Some(list) => Some(list.iter().map(|v| PersonaId::from_hex(v.as_str()?)).collect::<Option<Vec<_>>>()?),
                None => None,
            },
        },
        "device_add" => OpBody::DeviceAdd {
            device: DeviceId(body.array("new_device")?),
            key_package: body.bytes("key_package")?.into(),
        },
        "device_revoke" => {
            let (device, seq, hash) = (DeviceId(body.array("device")?), body.number("seq")?, body.array("hash")?);
            OpBody::DeviceRevoke { last: LastSeen { device, seq, hash } }
        }
        "evict" => OpBody::Evict { subject: subject()?, device: DeviceId(body.array("device")?) },
        "recover" => OpBody::Recover {
            base: NodeId(body.array("base")?),
            facilitators: body
                .list("facilitators")?
                .iter()
                .map(|v| PersonaId::from_hex(v.as_str()?))
                .collect::<Option<_>>()?,
        },
        "restart" => OpBody::Restart {
            generation: u32::try_from(body.number("generation")?).ok()?,
            suite: u16::try_from(body.number("suite")?).ok()?,
            at_node: NodeId(body.array("at_node")?),
        },
        _ => return None,
    })
}

fn template(name: &str) -> Option<Template> {
    Some(match name {
        "recovery" => Template::Recovery,
        "illness" => Template::Illness,
        "caregivers" => Template::Caregivers,
        "grief" => Template::Grief,
        "open" => Template::Open,
        _ => return None,
    })
}

fn signed_envelope(i: In<'_>) -> Option<SignedEnvelope> {
    let key = i.key("device_seed")?;
    let content = EnvelopeContent {
        v: u8::try_from(i.number("v")?).ok()?,
        persona: PersonaId(i.array("persona")?),
        device: DeviceId(public(&key)),
        node: NodeId(i.array("node")?),
        seq: i.number("seq")?,
        prev: EnvelopeId(i.array("prev")?),
        parents: i.list("parents")?.iter().map(id_of).collect::<Option<Vec<_>>>()?,
        sent_at: Minute(i.number("sent_at")?),
        body: i.bytes("body")?,
    };
    let content = cbor::to_vec(&content);
    let sig = sign(&key, &envelope::signed_message(&GroupId(i.array("group")?), &content));
    Some(SignedEnvelope { content, sig })
}

fn envelope_case(i: In<'_>) -> Option<Value> {
    let envelope = signed_envelope(i)?;
    let mut out = signed(&envelope::signed_message(&GroupId(i.array("group")?), &envelope.content), &envelope);
    out["content"] = hex(&envelope.content).into();
    out["envelope_id"] = envelope.id().to_hex().into();
    out["opens"] = envelope.open().is_ok().into();
    Some(out)
}

fn content_case(i: In<'_>) -> Option<Value> {
    let salt = i.array("salt")?;
    let message = |key| i.array(key).map(MessageId);
    let mut content = match i.text("kind")? {
        "text" => Content::text(salt, i.text("text")?),
        "edit" => Content::edit(salt, message("replaces")?, i.text("text")?),
        "retraction" => Content::retraction(salt, message("replaces")?),
        "reaction" => Content::reaction(salt, message("in_reply_to")?, i.text("reaction")?),
        "unreaction" => Content::unreaction(salt, message("in_reply_to")?, message("replaces")?),
        _ => return None,
    };
    content.in_reply_to = message("in_reply_to");
    if let Some(topic) = i.bytes("topic_id") {
        content = content.topic(&topic);
    }
    if let Some(seconds) = i.number("expires_relative") {
        content = content.expires_relative(u32::try_from(seconds).ok()?);
    }
    if let Some(note) = i.text("content_note") {
        content = content.note(note);
    }
    if let Some(consent) = i.yes("library_consent") {
        content = content.library(consent);
    }
    if let Some(value) = i.bytes("unknown_extension") {
        content = content.extension("hearth.later", Extension::from_cbor(&value).ok()?);
    }
    let (sender, room) = (PersonaId(i.array("sender")?), GroupId(i.array("room")?));
    let mut out = bytes(&content);
    out["sender_uri"] = persona_uri(&sender).into();
    out["room_uri"] = group_uri(&room).into();
    out["message_id"] = content.message_id(&content.encode(), &sender, &room).to_hex().into();
    Some(out)
}

fn commit_frame(i: In<'_>) -> Option<CommitFrame> {
    Some(CommitFrame { parent: NodeId(i.array("parent")?), commit: i.bytes("commit")? })
}

/// The GroupContext of a node as RFC 9420 encodes it (§8.1, §11.1, §12.4.2 there), and the NodeId that it gives with the
/// confirmation tag.
fn node_case(i: In<'_>) -> Option<Value> {
    let list = |key| i.list(key)?.iter().map(|v| OpId::from_hex(v.as_str()?)).collect::<Option<Vec<_>>>();
    let network = match i.at("network") {
        Some(_) => Some(NodeId(i.array("network")?)),
        None => None,
    };
    let (roster, generation) = (ByteVec::from(i.bytes("roster_root")?), u32::try_from(i.number("generation")?).ok()?);
    let first_day = i.number("first_day")?;
    let binding = (list("heads")?, roster, network, first_day, generation, i.number("began")?, i.number("written_at")?);
    let binding = cbor::to_vec(&binding);
    let extension = |kind: u16, data: &[u8]| [&kind.to_be_bytes(), vector(data).as_slice()].concat();
    let required = [vector(&[0xf0, 0xa1]), vector(&[]), vector(&[0, 1])].concat();
    let extensions = [extension(3, &required), extension(0xf0a1, &binding)].concat();
    let suite = u16::try_from(i.number("suite")?).ok()?;
    let context = [
        vec![0, 1],
        suite.to_be_bytes().to_vec(),
        vector(&i.bytes("mls_group_id")?),
        i.number("epoch")?.to_be_bytes().to_vec(),
        vector(&i.bytes("tree_hash")?),
        vector(&i.bytes("confirmed_transcript_hash")?),
        vector(&extensions),
    ]
    .concat();
    let node = hash(&[b"hearth node/2", &context, &vector(&i.bytes("confirmation_tag")?)]);
    Some(json!({ "binding": hex(&binding), "group_context": hex(&context), "node": hex(&node) }))
}

/// A TLS vector with the variable-length header of RFC 9420 §2.1.2.
fn vector(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len();
    let header = match u16::try_from(length) {
        Ok(short) if short < 64 => vec![short as u8],
        Ok(middle) if middle < 16_384 => (middle | 0x4000).to_be_bytes().to_vec(),
        _ => (length as u32 | 0x8000_0000).to_be_bytes().to_vec(),
    };
    [header.as_slice(), bytes].concat()
}

fn link_case(i: In<'_>) -> Option<Value> {
    let link = InviteLink {
        v: u8::try_from(i.number("v")?).ok()?,
        secret: i.array("secret")?,
        group: GroupId(i.array("group")?),
        invite: OpId(i.array("invite")?),
        relays: i.texts("relays")?,
        bootstrap: i.texts("bootstrap")?,
        expires: Second(i.number("expires")?),
    };
    let text = link.to_text();
    let parses = InviteLink::parse(&text).as_ref() == Ok(&link);
    Some(json!({ "bytes": hex(&cbor::to_vec(&link)), "text": text, "parses": parses }))
}

fn card_case(i: In<'_>) -> Option<Value> {
    let key = i.key("device_seed")?;
    let content = CardContent {
        persona: PersonaId(i.array("persona")?),
        device: DeviceId(public(&key)),
        peer: i.bytes("peer")?,
        addresses: i.texts("addresses")?,
        network: NodeId(i.array("network")?),
        made: Minute(i.number("made")?),
        expires: Minute(i.number("expires")?),
    };
    let content_bytes = cbor::to_vec(&content);
    let message = card::card_message(&GroupId(i.array("group")?), &content_bytes);
    let card = SignedCard { sig: sign(&key, &message), content: content_bytes };
    let mut out = signed(&message, &card);
    out["opens"] = (card.open().as_ref() == Ok(&content)).into();
    Some(out)
}

fn record_case(i: In<'_>) -> Option<Value> {
    let key = i.key("record_seed")?;
    let sealed = vec![u8::try_from(i.number("sealed_byte")?).ok()?; hearth_protocol::limits::CARD_BYTES];
    let seq = i.number("seq")?;
    let message = card::record_message(seq, &sealed);
    let record = Record { pk: public(&key), seq, sig: sign(&key, &message), sealed };
    let mut out = signed(&message, &record);
    out["record_key"] = hex(&card::record_key(&record.pk)).into();
    Some(out)
}

fn request_case(i: In<'_>) -> Option<Value> {
    let action = action(i)?;
    let message = mailbox::request_message(&i.array("relay_key")?, &i.array("nonce")?, &action);
    let sig = match i.key("seed") {
        Some(key) => sign(&key, &message),
        None => [0; 64],
    };
    Some(signed(&message, &Request { id: i.number("id")?, action, sig }))
}

fn action(i: In<'_>) -> Option<Action> {
    let queue = || Some(QueueId(i.array("queue")?));
    let slot = || Some(SlotId(i.array("slot")?));
    Some(match i.text("action")? {
        "create" => Action::Create {
            write_pk: i.array("write_pk")?,
            read_pk: i.array("read_pk")?,
            kind: i.queue_kind()?,
            pow: i.number("pow")?,
        },
        "put" => {
            let size = usize::try_from(i.number("blob_size")?).ok()?;
            Action::Put { queue: queue()?, blob: vec![u8::try_from(i.number("blob_byte")?).ok()?; size] }
        }
        "get" => {
            let max = u16::try_from(i.number("max")?).ok()?;
            Action::Get { queue: queue()?, after: i.number("after")?, max }
        }
        "subscribe" => Action::Subscribe { queue: queue()?, after: i.number("after")? },
        "slot_put" => {
            let (write_pk, version) = (i.array("write_pk")?, i.number("version")?);
            Action::SlotPut { slot: slot()?, write_pk, version, body: i.bytes("body")? }
        }
        "slot_rotate" => Action::SlotRotate { slot: slot()?, write_pk: i.array("write_pk")? },
        "slot_get" => Action::SlotGet { slot: slot()? },
        _ => return None,
    })
}

fn reply_case(i: In<'_>) -> Option<Value> {
    let blob = |i: In<'_>| {
        let byte = u8::try_from(i.number("blob_byte")?).ok()?;
        let size = usize::try_from(i.number("blob_size")?).ok()?;
        Some(Blob { seq: i.number("seq")?, bytes: vec![byte; size] })
    };
    let answer = match i.text("answer")? {
        "push" => return Some(bytes(&Frame::Push { queue: QueueId(i.array("queue")?), blob: blob(i)? })),
        "created" => Answer::Created,
        "stored" => Answer::Stored { seq: i.number("seq")? },
        "blobs" => Answer::Blobs { blobs: vec![blob(i)?], more: i.yes("more")? },
        "slot_stored" => Answer::SlotStored,
        "slot" => {
            let (version, write_pk) = (i.number("version")?, i.array("write_pk")?);
            Answer::Slot { version, write_pk, bodies: i.byte_list("bodies")? }
        }
        "refused" => Answer::Refused(match i.text("refusal")? {
            "not_found" => Refusal::NotFound,
            "full" => Refusal::Full,
            "signature" => Refusal::Signature,
            "work" => Refusal::Work,
            "busy" => Refusal::Busy,
            "size" => Refusal::Size,
            "version" => Refusal::Version,
            "invalid" => Refusal::Invalid,
            _ => return None,
        }),
        _ => return None,
    };
    Some(bytes(&Frame::Reply { id: i.number("id")?, answer }))
}

fn packet_case(i: In<'_>) -> Option<Value> {
    let node = || Some(NodeId(i.array("node")?));
    Some(bytes(&match i.text("packet")? {
        "app" => Packet::App { node: node()?, mls: i.bytes("mls")? },
        "control" => Packet::Control(Control::Commit(commit_frame(i)?)),
        "shared" => Packet::Shared { node: node()?, sealed: i.bytes("sealed")? },
        "part" => {
            let (index, count) = (u16::try_from(i.number("index")?).ok()?, u16::try_from(i.number("count")?).ok()?);
            Packet::Part { object: i.array("object")?, index, count, bytes: i.bytes("bytes")? }
        }
        "envelopes" => return Some(bytes(&SharedEnvelopes { envelopes: vec![signed_envelope(i)?] })),
        _ => return None,
    }))
}

fn sync_case(i: In<'_>) -> Option<Value> {
    let set = match i.text("set") {
        Some("envelopes") => SyncSet::Envelopes,
        Some("control") | None => SyncSet::Control,
        Some(_) => return None,
    };
    Some(bytes(&match i.text("message")? {
        "hello" => SyncMessage::Hello {
            card: SignedCard { content: i.bytes("content")?, sig: i.array("sig")? },
            base: i.number("base")?,
        },
        "reconcile" => {
            SyncMessage::Reconcile { set, to_initiator: i.yes("to_initiator")?, payload: i.bytes("payload")? }
        }
        "want" => SyncMessage::Want { set, ids: i.byte_list("ids")? },
        "items" => SyncMessage::Items { packets: i.byte_list("packets")? },
        "done" => SyncMessage::Done { set },
        _ => return None,
    }))
}

fn door_case(i: In<'_>) -> Option<Value> {
    let (secret, control) = (i.array("secret")?, i.array("control")?);
    let network = NodeId(i.array("network")?);
    Some(bytes(&DoorBody {
        group: GroupId(i.array("group")?),
        node: NodeId(i.array("node")?),
        group_info: i.bytes("group_info")?,
        base: NodeId(i.array("base")?),
        base_info: i.bytes("base_info")?,
        frames: vec![commit_frame(i)?],
        ops: vec![SignedOp { content: i.bytes("op_content")?, sig: i.array("op_sig")?, attached: None }],
        signatures: vec![],
        keys: NetworkKeys { network, day: Day(i.number("day")?), secret, control },
        elders: vec![Elder { persona: PersonaId(i.array("persona")?), depth: i.number("depth")?, leaf: 3 }],
        chain: vec![Link {
            context: i.bytes("context")?,
            signatures: vec![LinkSignature { persona: PersonaId(i.array("persona")?), sig: i.array("op_sig")? }],
        }],
        nacks: vec![],
    }))
}

fn knock_case(i: In<'_>) -> Option<Value> {
    let key = i.key("persona_seed")?;
    let content = KnockContent {
        group: GroupId(i.array("group")?),
        invite: OpId(i.array("invite")?),
        persona: PersonaId(public(&key)),
        name: i.text("name")?.into(),
        introduction: i.text("introduction")?.into(),
        key_package: i.bytes("key_package")?,
        answer: i.array("answer")?,
    };
    let content = cbor::to_vec(&content);
    let sig = sign(&key, &knock_message(&content));
    let knock = SignedKnock { content, sig };
    Some(json!({ "knock": hex(&cbor::to_vec(&knock)), "id": knock.id().to_hex() }))
}

fn refused(kind: &str, bytes: &[u8]) -> Option<bool> {
    Some(match kind {
        "content" => cbor::read::<Content>(bytes).is_err(),
        "sync" => cbor::read::<SyncMessage>(bytes).is_err(),
        "packet" => cbor::read::<Packet>(bytes).is_err(),
        "application" => cbor::read::<AppMessage>(bytes).is_err(),
        "request" => cbor::read::<Request>(bytes).is_err(),
        "op_content" => SignedOp { content: bytes.to_vec(), sig: [0; 64], attached: None }.open().is_err(),
        "frame_prefix" => cbor::frame_length(bytes.try_into().ok()?, hearth_protocol::limits::SYNC_FRAME_MAX).is_err(),
        _ => return None,
    })
}
