//! 32-byte identifiers. Each is its own type, so one can never be passed for another.

use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use sha2::{Digest, Sha256};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The bytes.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Lowercase hexadecimal, 64 characters: the form of the program interface. Never for logs.
            #[must_use]
            pub fn to_hex(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0)
            }

            /// Reads the 64-character form back; `None` for anything else.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
                Some(Self(bytes.try_into().ok()?))
            }
        }

        /// Two bytes are enough to tell ids apart in a test, and too few to follow one in a log.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({:02x}{:02x}…)"), self.0[0], self.0[1])
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.to_hex())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("an id is 64 lowercase hex digits"))
            }
        }

        impl<C> Encode<C> for $name {
            fn encode<W: encode::Write>(&self, e: &mut Encoder<W>, _: &mut C) -> Result<(), encode::Error<W::Error>> {
                e.bytes(&self.0)?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $name {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
                let bytes = d.bytes()?;
                bytes.try_into().map(Self).map_err(|_| decode::Error::message("an id is 32 bytes"))
            }
        }
    };
}

id!(/// A group: SHA-256 of its Genesis op.
    GroupId);
id!(/// A persona: the Ed25519 public key made for one group alone.
    PersonaId);
id!(/// A device: the Ed25519 signature key of an MLS leaf.
    DeviceId);
id!(/// A policy op: SHA-256 of its encoding.
    OpId);
id!(/// A node of the commit DAG, one MLS epoch: SHA-256 over a label and the GroupContext.
    NodeId);
id!(/// A commit as sent: SHA-256 of the whole frame.
    FrameId);
id!(/// A signed envelope: SHA-256 of its encoding.
    EnvelopeId);
id!(/// A message: the MIMI content message id.
    MessageId);
id!(/// A knock: SHA-256 of its encoding.
    KnockId);
id!(/// A relay's append-only queue.
    QueueId);
id!(/// A relay's replaceable slot.
    SlotId);

/// SHA-256 over the concatenation of `parts`. Callers begin with a label, so no two uses share an input.
#[must_use]
pub fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_everything_else() {
        let id = GroupId([7; 32]);
        assert_eq!(GroupId::from_hex(&id.to_hex()), Some(id));
        assert_eq!(GroupId::from_hex("07"), None);
        assert_eq!(GroupId::from_hex(&id.to_hex().to_uppercase().replace("07", "0G")), None);
    }

    #[test]
    fn debug_shows_two_bytes_only() {
        assert_eq!(format!("{:?}", PersonaId([0xab; 32])), "PersonaId(abab…)");
    }
}
