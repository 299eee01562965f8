use super::{AttemptOutcome, Contact, ContactState};

/// What an operator says about a contact in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was sent.
    WasSent,
    /// It was not sent, and is not to be.
    WasNotSent,
    /// It is to be sent, again or at last; also for one that failed.
    SendAgain,
}

impl Verdict {
    /// The state in which it leaves a contact.
    pub fn state(self) -> ContactState {
        match self {
            Self::WasSent => ContactState::Sent,
            Self::WasNotSent => ContactState::Failed,
            Self::SendAgain => ContactState::Scheduled,
        }
    }

    /// What it makes of an attempt whose answer was lost.
    pub fn outcome(self) -> AttemptOutcome {
        match self {
            Self::WasSent => AttemptOutcome::Accepted,
            Self::WasNotSent => AttemptOutcome::PermanentFailure,
            Self::SendAgain => AttemptOutcome::TemporaryFailure,
        }
    }

    /// Whether there is something that it can settle.
    pub fn settles(self, state: ContactState) -> bool {
        state == ContactState::UnknownOutcome || (state == ContactState::Failed && self == Self::SendAgain)
    }

    /// Whether a contact that was handed over is already where it would leave it.
    pub fn is_settled(self, contact: &Contact) -> bool {
        contact.state == self.state() && contact.attempt_count > 0
    }
}
