//! What OpenMLS's errors mean to a caller.

use openmls::{
    framing::errors::{MessageDecryptionError, SecretTreeError},
    group::{
        CreateCommitError, ExternalCommitValidationError, ProcessMessageError, ProposalValidationError,
        PublicProcessMessageError, StageCommitError, ValidationError, WelcomeError,
    },
};

use super::store::StoreError;
use crate::mls::MlsError;

/// Why a commit failed where anybody can check it.
pub(super) fn public(error: &PublicProcessMessageError) -> MlsError {
    match error {
        PublicProcessMessageError::ValidationError(error) => validation(error),
        PublicProcessMessageError::InvalidCommit(error) => commit(error),
        PublicProcessMessageError::UnauthorizedExternalCommitMessage
        | PublicProcessMessageError::UnsupportedProposalType => MlsError::Forbidden,
        PublicProcessMessageError::IncompatibleWireFormat => MlsError::NotForThisNode,
        _ => MlsError::Invalid,
    }
}

/// Whether the commit is this member's own, made elsewhere: its secrets cannot be had from it.
pub(super) fn is_own_commit(error: &ProcessMessageError<StoreError>) -> bool {
    matches!(error, ProcessMessageError::InvalidCommit(StageCommitError::OwnCommitMismatch))
}

/// Whether somebody changed the frame on its way: its membership tag, which members alone can check, is in nothing that
/// names the node. Its author is not to blame.
pub(super) fn is_tampered(error: &ProcessMessageError<StoreError>) -> bool {
    let ProcessMessageError::ValidationError(error) = error else { return false };
    matches!(error, ValidationError::InvalidMembershipTag | ValidationError::MissingMembershipTag)
}

fn commit(error: &StageCommitError) -> MlsError {
    match error {
        // No proposal is ever queued here, so one that is missing was sent by reference.
        StageCommitError::MissingProposal
        | StageCommitError::RequiredPathNotFound
        | StageCommitError::SenderTypeExternal
        | StageCommitError::SenderTypeNewMemberProposal
        | StageCommitError::PskError(_)
        | StageCommitError::GroupContextExtensionsProposalValidationError(_)
        | StageCommitError::ProposalValidationError(
            ProposalValidationError::DuplicateSignatureKey
            | ProposalValidationError::Psk(_)
            | ProposalValidationError::UnsupportedProposalType
            | ProposalValidationError::ExternalInitProposalInRegularCommit,
        )
        | StageCommitError::ExternalCommitValidation(
            ExternalCommitValidationError::NoPath
            | ExternalCommitValidationError::ReferencedProposal
            | ExternalCommitValidationError::InvalidInlineProposals
            | ExternalCommitValidationError::MultipleRemoveProposals,
        ) => MlsError::Forbidden,
        StageCommitError::EpochMismatch => MlsError::NotForThisNode,
        _ => MlsError::Invalid,
    }
}

fn validation(error: &ValidationError) -> MlsError {
    match error {
        ValidationError::WrongGroupId | ValidationError::WrongEpoch | ValidationError::NoPastEpochData => {
            MlsError::NotForThisNode
        }
        ValidationError::NoPath => MlsError::Forbidden,
        ValidationError::UnableToDecrypt(MessageDecryptionError::SecretTreeError(
            SecretTreeError::SecretReuseError | SecretTreeError::TooDistantInThePast,
        )) => MlsError::AlreadyUsed,
        _ => MlsError::Invalid,
    }
}

/// Why a message did not decrypt.
pub(super) fn message(error: &ProcessMessageError<StoreError>) -> MlsError {
    match error {
        ProcessMessageError::ValidationError(error) => validation(error),
        ProcessMessageError::GroupStateError(_) => MlsError::NoSecrets,
        ProcessMessageError::IncompatibleWireFormat => MlsError::NotForThisNode,
        ProcessMessageError::StorageError(_) => MlsError::Library,
        _ => MlsError::Invalid,
    }
}

/// Why an own commit was not built.
pub(super) fn create(error: &CreateCommitError) -> MlsError {
    match error {
        CreateCommitError::LibraryError(_) | CreateCommitError::SignatureError(_) => MlsError::Library,
        _ => MlsError::Invalid,
    }
}

/// Why a Welcome did not open.
pub(super) fn welcome(error: &WelcomeError<StoreError>) -> MlsError {
    match error {
        WelcomeError::NoMatchingKeyPackage
        | WelcomeError::JoinerSecretNotFound
        | WelcomeError::PrivateInitKeyNotFound => MlsError::NotForThisNode,
        WelcomeError::StorageError(_) => MlsError::State,
        _ => MlsError::Invalid,
    }
}
