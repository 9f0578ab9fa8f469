//! Making and verifying signed envelopes and cards. Chains (seq, prev) are the engine's to follow.

use hearth_protocol::{
    card::{CardContent, SignedCard, card_message},
    cbor::{self, DecodeError},
    envelope::{EnvelopeContent, SignedEnvelope, signed_message},
    id::{EnvelopeId, GroupId},
};

use crate::persona::{DeviceKeys, verify};

/// An envelope whose form and signature are checked: its device said this, in this group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedEnvelope {
    /// Its id.
    pub id: EnvelopeId,
    /// What it says.
    pub content: EnvelopeContent,
    /// As it travels.
    pub signed: SignedEnvelope,
}

/// Why an envelope or card was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Not of the form.
    #[error(transparent)]
    Form(#[from] DecodeError),
    /// The signature is of another key, group or content.
    #[error("the signature does not check")]
    Signature,
}

/// Signs an envelope.
#[must_use]
pub fn sign(keys: &DeviceKeys, group: &GroupId, content: &EnvelopeContent) -> SignedEnvelope {
    let content = cbor::to_vec(content);
    let sig = keys.sign_as_device(&signed_message(group, &content));
    SignedEnvelope { content, sig }
}

/// Checks form and signature.
///
/// # Errors
/// [`EnvelopeError`].
pub fn check(group: &GroupId, signed: SignedEnvelope) -> Result<CheckedEnvelope, EnvelopeError> {
    let content = signed.open()?;
    if !verify(&content.device.0, &signed_message(group, &signed.content), &signed.sig) {
        return Err(EnvelopeError::Signature);
    }
    Ok(CheckedEnvelope { id: signed.id(), content, signed })
}

/// Signs a card.
#[must_use]
pub fn sign_card(keys: &DeviceKeys, group: &GroupId, content: &CardContent) -> SignedCard {
    let content = cbor::to_vec(content);
    let sig = keys.sign_as_device(&card_message(group, &content));
    SignedCard { content, sig }
}

/// Checks a card's form and signature; whether the device is a member is the caller's to know.
///
/// # Errors
/// [`EnvelopeError`].
pub fn check_card(group: &GroupId, card: &SignedCard) -> Result<CardContent, EnvelopeError> {
    let content = card.open()?;
    if !verify(&content.device.0, &card_message(group, &card.content), &card.sig) {
        return Err(EnvelopeError::Signature);
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use hearth_protocol::{id::NodeId, time::Minute};

    use super::*;

    #[test]
    fn an_envelope_belongs_to_one_group_and_one_content() {
        let keys = DeviceKeys::generate(&mut rand::rng());
        let content = EnvelopeContent {
            v: 1,
            persona: keys.persona(),
            device: keys.device(),
            node: NodeId([1; 32]),
            seq: 1,
            prev: EnvelopeId([0; 32]),
            parents: vec![],
            sent_at: Minute(5),
            body: b"body".to_vec(),
        };
        let (here, there) = (GroupId([1; 32]), GroupId([2; 32]));
        let signed = sign(&keys, &here, &content);
        assert_eq!(check(&here, signed.clone()).unwrap().content, content);
        assert_eq!(check(&there, signed.clone()), Err(EnvelopeError::Signature));
        let mut later = content.clone();
        later.sent_at = Minute(6);
        let forged = SignedEnvelope { content: cbor::to_vec(&later), sig: signed.sig };
        assert_eq!(check(&here, forged), Err(EnvelopeError::Signature));
    }
}
