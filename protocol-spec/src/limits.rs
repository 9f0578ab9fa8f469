//! Every bound of the protocol, in one place. A limit is checked before anything is allocated for it.

/// The small frame: bytes on the wire, sealed and padded.
pub const FRAME_SMALL: usize = 4_096;
/// The large frame.
pub const FRAME_LARGE: usize = 16_384;
/// Nonce (24), authentication tag (16) and length (4) of a sealed frame.
pub const FRAME_OVERHEAD: usize = 44;
/// The longest packet that fits one frame.
pub const PACKET_MAX: usize = FRAME_LARGE - FRAME_OVERHEAD;
/// Payload bytes of one part of a larger object; leaves room for the part's own header.
pub const PART_BYTES: usize = PACKET_MAX - 128;
/// Parts of one object: 4 MiB.
pub const PARTS_MAX: usize = 260;
/// The largest object that travels in parts.
pub const OBJECT_MAX: usize = PARTS_MAX * PART_BYTES;
/// Nesting of CBOR.
pub const CBOR_DEPTH: usize = 16;
/// One policy op.
pub const OP_MAX: usize = 32 * 1024;
/// Ops named in one `prev`.
pub const OP_PREV_MAX: usize = 32;
/// A text that a person wrote: what `message.send` accepts, in bytes of UTF-8.
pub const TEXT_MAX: usize = 64 * 1024;
/// One signed envelope.
pub const ENVELOPE_MAX: usize = 96 * 1024;
/// One MIMI content; an envelope adds its own fields.
pub const CONTENT_MAX: usize = ENVELOPE_MAX - 1_024;
/// Parts of one content, nested ones included.
pub const CONTENT_PARTS_MAX: usize = 64;
/// Multi parts inside one another.
pub const CONTENT_PART_DEPTH: usize = 4;
/// Extensions of one content.
pub const EXTENSIONS_MAX: usize = 32;
/// The name of an extension, in bytes.
pub const EXTENSION_NAME_MAX: usize = 255;
/// The encoded value of an extension.
pub const EXTENSION_VALUE_MAX: usize = 4_096;
/// A topic id.
pub const TOPIC_ID_MAX: usize = 64;
/// A language list, in bytes.
pub const LANGUAGE_MAX: usize = 64;
/// A media type with its parameters, in bytes.
pub const CONTENT_TYPE_MAX: usize = 256;
/// URL, description or file name of an external part, in bytes.
pub const EXTERNAL_TEXT_MAX: usize = 2 * 1024;
/// Key, nonce, associated data or hash of an external part.
pub const EXTERNAL_BYTES_MAX: usize = 256;
/// Envelopes in one packet of shared history.
pub const SHARED_ENVELOPES_MAX: usize = 256;
/// Causal parents of an envelope.
pub const ENVELOPE_PARENTS_MAX: usize = 4;
/// Envelope ids in one acknowledgement.
pub const ACK_IDS_MAX: usize = 256;
/// A name of a person or a group, in characters after normalisation.
pub const NAME_CHARS_MAX: usize = 64;
/// A name in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// What is looked at of a name before it is cleaned, in bytes.
pub const NAME_INPUT_MAX: usize = 64 * 1024;
/// The name of a received file, in characters.
pub const FILE_NAME_CHARS_MAX: usize = 128;
/// A charter, in bytes.
pub const CHARTER_MAX: usize = 16 * 1024;
/// A reason or an introduction, in bytes.
pub const REASON_MAX: usize = 2 * 1024;
/// A content note, in characters.
pub const CONTENT_NOTE_CHARS_MAX: usize = 64;
/// Relays of a group.
pub const RELAYS_MAX: usize = 3;
/// An address, in bytes.
pub const ADDRESS_MAX: usize = 256;
/// Bootstrap addresses of a link.
pub const BOOTSTRAP_MAX: usize = 4;
/// Successors that a policy names.
pub const SUCCESSORS_MAX: usize = 8;
/// Devices that a Remove names.
pub const LAST_SEEN_MAX: usize = 16;
/// Devices of one persona with a leaf at one time.
pub const DEVICES_MAX: usize = 16;
/// Devices of one persona that were revoked or evicted.
pub const DEVICES_GONE_MAX: usize = 256;
/// Uses of an invite.
pub const INVITE_USES_MAX: u32 = 1_000;
/// Members of a group.
pub const MEMBERS_MAX: usize = 10_000;
/// A sealed card, in bytes.
pub const CARD_BYTES: usize = 1_024;
/// A libp2p PeerId, in bytes.
pub const PEER_ID_MAX: usize = 64;
/// Who runs a relay, in bytes.
pub const OPERATOR_MAX: usize = 256;
/// Relays in the table of an entry relay.
pub const ENTRY_RELAYS_MAX: usize = 64;
/// Addresses of a card.
pub const CARD_ADDRESSES_MAX: usize = 3;
/// A DHT record's value.
pub const RECORD_MAX: usize = 1_400;
/// A body of a slot.
pub const SLOT_BODY_MAX: usize = 1024 * 1024;
/// The sealed body of a door before padding: a slot's body less the seal.
pub const DOOR_MAX: usize = SLOT_BODY_MAX - FRAME_OVERHEAD;
/// Ops of one door.
pub const DOOR_OPS_MAX: usize = 8_192;
/// Commits of one door.
pub const DOOR_FRAMES_MAX: usize = 2_048;
/// Signatures of one door.
pub const DOOR_SIGNATURES_MAX: usize = 8_192;
/// A knock, in bytes: a frame less what HPKE and the length take.
pub const KNOCK_BYTES: usize = FRAME_LARGE - 52;
/// Places in seniority that one door tells.
pub const DOOR_ELDERS_MAX: usize = 8_192;
/// Links of the chain from Genesis to a later base.
pub const CHAIN_MAX: usize = 64;
/// A GroupContext in a link, in bytes.
pub const CONTEXT_MAX: usize = 16_384;
/// Bodies that a slot keeps.
pub const SLOT_KEEPS: usize = 4;
/// One length-prefixed frame between a member and a relay.
pub const MAILBOX_FRAME_MAX: usize = SLOT_KEEPS * SLOT_BODY_MAX + 64 * 1024;
/// One request to a relay.
pub const REQUEST_MAX: usize = SLOT_BODY_MAX + 4_096;
/// Leading zero bits that a relay may ask for: seconds of work, not hours.
pub const POW_BITS_MAX: u8 = 26;
/// Blobs in one answer to GET.
pub const GET_MAX: usize = 64;
/// One length-prefixed frame between two members.
pub const SYNC_FRAME_MAX: usize = 1024 * 1024 + 64 * 1024;
/// Ids in one request of a sync.
pub const SYNC_WANT_MAX: usize = 4_096;
/// Packets in one answer of a sync.
pub const SYNC_ITEMS_MAX: usize = 4_096;
/// An invite link, in characters.
pub const LINK_MAX: usize = 4_096;
/// Class 2 and 3 nodes of one persona since the last class 0 node.
pub const LIGHT_NODES_MAX: usize = 8;
/// Children of one device on one parent that are kept as they compare by themselves, and of those that a member speaks of.
pub const TWINS_MAX: usize = 4;
