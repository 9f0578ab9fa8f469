//! Invite links: `hearth://join#…`. The fragment never reaches a server, and is never logged.

use minicbor::{Decode, Encode};

use crate::{
    cbor,
    id::{GroupId, OpId, hash},
    limits::{ADDRESS_MAX, BOOTSTRAP_MAX, LINK_MAX, RELAYS_MAX},
    time::Second,
};

/// How every link begins.
pub const LINK_PREFIX: &str = "hearth://join#";
const CHECKSUM_BYTES: usize = 4;

/// What a link carries.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct InviteLink {
    /// Version, 1.
    #[n(0)]
    pub v: u8,
    /// The invite's Ed25519 and X25519 keys derive from it.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub secret: [u8; 32],
    /// The group: also the hash of its Genesis.
    #[n(2)]
    pub group: GroupId,
    /// The Invite op.
    #[n(3)]
    pub invite: OpId,
    /// The group's relays, at most three.
    #[n(4)]
    pub relays: Vec<String>,
    /// Addresses of members' own nodes, for groups without relays.
    #[n(5)]
    pub bootstrap: Vec<String>,
    /// When it ends: not used in this second or after it.
    #[n(6)]
    pub expires: Second,
}

/// A link that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not a link of this kind or version.
    #[error("not a Hearth invite link")]
    NotALink,
    /// A character is missing or changed.
    #[error("the link is damaged: copy it again, whole")]
    Checksum,
}

impl std::fmt::Debug for InviteLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InviteLink").finish_non_exhaustive()
    }
}

impl InviteLink {
    /// The text to share.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut bytes = cbor::to_vec(self);
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        format!("{LINK_PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes))
    }

    /// Reads a link back; white space around and inside it is forgiven.
    ///
    /// # Errors
    /// [`LinkError`].
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        if text.len() > LINK_MAX {
            return Err(LinkError::NotALink);
        }
        let compact: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let encoded = compact.strip_prefix(LINK_PREFIX).ok_or(LinkError::NotALink)?;
        let bytes = data_encoding::BASE64URL_NOPAD.decode(encoded.as_bytes()).map_err(|_| LinkError::Checksum)?;
        let split = bytes.len().checked_sub(CHECKSUM_BYTES).ok_or(LinkError::Checksum)?;
        let (body, sum) = bytes.split_at(split);
        if checksum(body) != sum {
            return Err(LinkError::Checksum);
        }
        let link: Self = cbor::from_slice(body, LINK_MAX).map_err(|_| LinkError::NotALink)?;
        let addresses = link.relays.iter().chain(&link.bootstrap);
        let bounded = link.relays.len() <= RELAYS_MAX && link.bootstrap.len() <= BOOTSTRAP_MAX;
        if link.v == 1 && bounded && addresses.into_iter().all(|a| a.len() <= ADDRESS_MAX) {
            Ok(link)
        } else {
            Err(LinkError::NotALink)
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let h = hash(&[b"hearth link/1", bytes]);
    [h[0], h[1], h[2], h[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> InviteLink {
        InviteLink {
            v: 1,
            secret: [3; 32],
            group: GroupId([1; 32]),
            invite: OpId([2; 32]),
            relays: vec!["/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWx".into()],
            bootstrap: vec![],
            expires: Second(9),
        }
    }

    #[test]
    fn survives_line_breaks_and_notices_every_changed_character() {
        let text = link().to_text();
        let (a, b) = text.split_at(60);
        assert_eq!(InviteLink::parse(&format!(" {a}\n  {b}\n")), Ok(link()));
        for i in LINK_PREFIX.len()..text.len() {
            let mut mangled: Vec<char> = text.chars().collect();
            mangled[i] = if mangled[i] == 'A' { 'B' } else { 'A' };
            assert!(InviteLink::parse(&mangled.iter().collect::<String>()).is_err(), "character {i}");
        }
        assert_eq!(InviteLink::parse("https://example.org"), Err(LinkError::NotALink));
        assert_eq!(InviteLink::parse(&text[..text.len() - 3]), Err(LinkError::Checksum));
    }
}
