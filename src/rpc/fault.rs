use std::fmt;

use super::Violations;
pub use super::proto::ErrorReason as Reason;
use crate::database::StoreError;

/// Why an operation did not happen. Nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Fields of the request are wrong, whatever the state.
    #[error("{0}")]
    Invalid(Violations),
    /// The state, or the request as a whole, forbids it.
    #[error("{0}")]
    Refused(Refusal),
    /// The database did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One reason of the contract, about one thing.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What a program branches on.
    pub reason: Reason,
    /// What it is about: an id, a field, a name; never personal data.
    pub subject: String,
    /// One sentence for people.
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Fault {
    /// Refused for a reason of the contract.
    pub fn refused(reason: Reason, subject: impl fmt::Display, message: impl Into<String>) -> Self {
        Self::Refused(Refusal { reason, subject: subject.to_string(), message: message.into() })
    }

    /// Somebody changed it meanwhile.
    pub fn etag_mismatch(subject: impl fmt::Display) -> Self {
        let message = format!("{subject} has changed meanwhile: read it again and decide anew");
        Self::refused(Reason::EtagMismatch, subject, message)
    }

    /// The reason, where it is a refusal.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Invalid(violations) => Some(violations.reason()),
            Self::Refused(refusal) => Some(refusal.reason),
            Self::Store(_) => None,
        }
    }

    /// Whether the same call may succeed when it is repeated at once.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict(_) | StoreError::Taken(_) | StoreError::Raced))
    }
}
