//! Hearth's wire format: every byte that leaves a member, and the checks it passes on the way in.
//!
//! `SPEC.md` beside this crate is the specification; its rule ids stand beside the checks here. Everything is
//! deterministic CBOR (RFC 8949 §4.2.1): a decoder accepts exactly the bytes its encoder would have made.
//!
//! | module | what it holds |
//! |---|---|
//! | [`id`] | 32-byte identifiers, one type each |
//! | [`time`] | timestamps, seconds and minutes: never read here, always passed in |
//! | [`limits`] | every bound, in one place |
//! | [`cbor`] | strict encoding and decoding |
//! | [`op`] | the policy log's signed statements |
//! | [`frame`] | commits, signatures and Nacks as they travel |
//! | [`envelope`] | what a member says inside MLS |
//! | [`content`] | MIMI content, the body of what people write |
//! | [`packet`] | what is sealed into one padded frame |
//! | [`door`] | what a joiner finds while everybody sleeps |
//! | [`knock`] | what somebody outside asks, and what comes back |
//! | [`link`] | invite links |
//! | [`card`] | rendezvous cards and the DHT record around them |
//! | [`mailbox`] | the protocol between a member and a relay |
//! | [`entry`] | a relay carries a member's bytes to another |
//! | [`sync`] | the protocol between two members |
//! | [`name`] | names of people and files, made safe to show |

pub mod card;
pub mod cbor;
pub mod content;
pub mod door;
pub mod entry;
pub mod envelope;
pub mod frame;
pub mod id;
pub mod knock;
pub mod limits;
pub mod link;
pub mod mailbox;
pub mod name;
pub mod op;
pub mod packet;
pub mod sync;
pub mod time;
