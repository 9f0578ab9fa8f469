//! Making, sealing, opening and checking knocks.

use hearth_protocol::{
    cbor,
    id::{GroupId, KnockId},
    knock::{KnockContent, SignedKnock, knock_message},
    limits::{FRAME_LARGE, KNOCK_BYTES},
};

use crate::{
    hpke,
    persona::{DeviceKeys, verify},
};

/// HPKE info of knocks.
const KNOCK_INFO: &[u8] = b"hearth knock/1";
const LENGTH: usize = 4;

/// A knock whose form and signature are checked: this persona asks to be let into this group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedKnock {
    /// Its id.
    pub id: KnockId,
    /// What it says.
    pub content: KnockContent,
    /// As it travels.
    pub signed: SignedKnock,
}

/// Signs a knock.
#[must_use]
pub fn sign(keys: &DeviceKeys, content: &KnockContent) -> SignedKnock {
    let content = cbor::to_vec(content);
    let sig = keys.sign_as_persona(&knock_message(&content));
    SignedKnock { content, sig }
}

/// Checks form, group and signature.
#[must_use]
pub fn check(group: &GroupId, signed: SignedKnock) -> Option<CheckedKnock> {
    let content = signed.open().ok().filter(|c| c.group == *group)?;
    let signed_by_it = verify(&content.persona.0, &knock_message(&signed.content), &signed.sig);
    signed_by_it.then(|| CheckedKnock { id: signed.id(), content, signed })
}

/// Seals a knock to the knock key: a blob of one size, whatever is said. `None` when it is too long.
#[must_use]
pub fn seal(knock_pk: &[u8; 32], group: &GroupId, knock: &SignedKnock) -> Option<Vec<u8>> {
    let bytes = cbor::to_vec(knock);
    let length = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= KNOCK_BYTES)?;
    let mut plain = Vec::with_capacity(LENGTH + KNOCK_BYTES);
    plain.extend(length.to_be_bytes());
    plain.extend(bytes);
    plain.resize(LENGTH + KNOCK_BYTES, 0);
    hpke::seal_to(knock_pk, KNOCK_INFO, &group.0, &plain).ok()
}

/// Opens a blob with the seed of the knock key.
#[must_use]
pub fn open(seed: &[u8; 32], group: &GroupId, blob: &[u8]) -> Option<SignedKnock> {
    let plain = hpke::open_with(seed, KNOCK_INFO, &group.0, blob).ok().filter(|_| blob.len() == FRAME_LARGE)?;
    let (head, rest) = plain.split_first_chunk::<LENGTH>()?;
    let length = usize::try_from(u32::from_be_bytes(*head)).ok()?;
    cbor::read(rest.get(..length)?).ok()
}

#[cfg(test)]
mod tests {
    use hearth_protocol::id::OpId;

    use super::*;

    const GROUP: GroupId = GroupId([1; 32]);

    fn knock(introduction: &str) -> (DeviceKeys, SignedKnock) {
        let keys = DeviceKeys::from_seed(&[5; 64]);
        let content = KnockContent {
            group: GROUP,
            invite: OpId([2; 32]),
            persona: keys.persona(),
            name: "Ben".into(),
            introduction: introduction.into(),
            key_package: vec![7; 3_000],
            answer: [9; 32],
        };
        let signed = sign(&keys, &content);
        (keys, signed)
    }

    #[test]
    fn every_knock_looks_alike_and_opens_with_its_key_alone() {
        let pk = hpke::public_key(&[3; 32]).unwrap();
        for introduction in ["", "I was here before"] {
            let (_, signed) = knock(introduction);
            let blob = seal(&pk, &GROUP, &signed).unwrap();
            assert_eq!(blob.len(), FRAME_LARGE);
            assert_eq!(open(&[3; 32], &GROUP, &blob), Some(signed));
            assert_eq!(open(&[4; 32], &GROUP, &blob), None);
            assert_eq!(open(&[3; 32], &GroupId([8; 32]), &blob), None);
            for at in (0..blob.len()).step_by(1_001) {
                let mut bad = blob.clone();
                bad[at] ^= 1;
                assert_eq!(open(&[3; 32], &GROUP, &bad), None, "byte {at}");
                assert_eq!(open(&[3; 32], &GROUP, &blob[..at]), None, "up to {at}");
            }
        }
        let (_, signed) = knock("x");
        let long = SignedKnock { content: vec![0; KNOCK_BYTES], ..signed };
        assert_eq!(seal(&pk, &GROUP, &long), None);
    }

    #[test]
    fn only_the_personas_own_word_for_this_group_counts() {
        let (keys, signed) = knock("hello");
        assert_eq!(check(&GROUP, signed.clone()).unwrap().content.persona, keys.persona());
        assert_eq!(check(&GroupId([8; 32]), signed.clone()), None);
        let other = DeviceKeys::from_seed(&[6; 64]);
        let forged = SignedKnock { sig: other.sign_as_persona(&knock_message(&signed.content)), ..signed.clone() };
        assert_eq!(check(&GROUP, forged), None);
        for at in (0..signed.content.len()).step_by(7) {
            let mut bad = signed.clone();
            bad.content[at] ^= 1;
            assert_eq!(check(&GROUP, bad), None, "byte {at}");
        }
    }
}
