//! The state machine as it is meant: written from the diagram beside `ContactState` and from nothing else, one contact at a
//! time, in memory.

use chrono::TimeDelta;
use rapport::{
    clock::Timestamp,
    contacts::{AttemptOutcome, BlockReason, ContactState, Effect, Lane, Purpose, Verdict},
    ids::{ClaimToken, ContactId},
};

/// A contact with its hand-overs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub contact_id: ContactId,
    pub purpose: Purpose,
    pub due: Timestamp,
    pub expire: Timestamp,
    pub state: ContactState,
    pub block: Option<BlockReason>,
    pub claim: Option<ClaimToken>,
    /// Counts its changes.
    pub revision: i32,
    /// What came of each hand-over; none = still under way.
    pub attempts: Vec<Option<AttemptOutcome>>,
}

/// What becomes of a hand-over; with how many minutes it takes until the next one, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Accepted,
    Later(i64),
    Never,
    Lost(i64),
    /// It was not begun.
    Back,
    /// It was not begun, and has its turn later.
    PutOff(i64),
}

impl Answer {
    /// When the next hand-over may be.
    pub fn next(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Later(minutes) | Self::Lost(minutes) | Self::PutOff(minutes) => now + TimeDelta::minutes(minutes),
            Self::Accepted | Self::Never | Self::Back => now,
        }
    }
}

impl Mirror {
    pub fn lane(&self) -> Lane {
        match self.purpose {
            Purpose::Transactional => Lane::Transactional,
            Purpose::Service => Lane::FollowUp,
            Purpose::Marketing | Purpose::Survey => Lane::Bulk,
        }
    }

    pub fn waits(&self) -> bool {
        self.state == ContactState::Scheduled
    }

    /// Nothing happens to it any more by itself.
    pub fn is_at_rest(&self) -> bool {
        !matches!(self.state, ContactState::Scheduled | ContactState::Sending)
    }

    /// The decision that it goes out, by whoever saw this revision; answers whether that holds.
    pub fn intend(&mut self, token: ClaimToken, seen: i32) -> bool {
        let holds = self.waits() && self.revision == seen;
        if holds {
            self.change_to(ContactState::Sending);
            self.claim = Some(token);
            self.block = None;
            self.attempts.push(None);
        }
        holds
    }

    /// The decision that it does not go out, by whoever saw this revision; answers whether that holds.
    pub fn hold_back(&mut self, seen: i32, reason: BlockReason, effect: Effect, until: Option<Timestamp>) -> bool {
        let holds = self.waits() && self.revision == seen;
        if holds {
            self.revision += 1;
            self.block = Some(reason);
            match effect {
                Effect::Defer => self.due = until.unwrap_or(self.due),
                Effect::Suppress => self.state = ContactState::Suppressed,
                Effect::Expire => self.state = ContactState::Expired,
                Effect::Cancel => self.state = ContactState::Canceled,
            }
        }
        holds
    }

    /// The outcome of a hand-over, by whoever began it; answers whether it was still theirs to record.
    pub fn settle(&mut self, token: ClaimToken, answer: Answer, now: Timestamp) -> bool {
        let is_theirs = self.state == ContactState::Sending && self.claim == Some(token);
        if is_theirs {
            self.claim = None;
            self.revision += 1;
            match answer {
                Answer::Accepted => self.end_attempt(AttemptOutcome::Accepted),
                Answer::Later(_) => self.end_attempt(AttemptOutcome::TemporaryFailure),
                Answer::Never => self.end_attempt(AttemptOutcome::PermanentFailure),
                Answer::Lost(_) => self.end_attempt(AttemptOutcome::Unknown),
                // As if nothing had been tried.
                Answer::Back | Answer::PutOff(_) => {
                    self.attempts.pop();
                    self.state = ContactState::Scheduled;
                }
            }
            match answer {
                Answer::Later(_) | Answer::Lost(_) if self.state == ContactState::Scheduled => {
                    (self.due, self.block) = (answer.next(now), Some(BlockReason::BackOff));
                }
                Answer::PutOff(_) => (self.due, self.block) = (answer.next(now), Some(BlockReason::Throttled)),
                _ => {}
            }
        }
        is_theirs
    }

    /// The number of a hand-over turns out to have been accepted after its answer was given up; answers whether that settles it.
    pub fn settle_late(&mut self, number: usize) -> bool {
        let was_lost = self.attempts.get(number - 1) == Some(&Some(AttemptOutcome::Unknown));
        if was_lost {
            self.attempts[number - 1] = Some(AttemptOutcome::Accepted);
        }
        let settles = was_lost && (self.waits() || self.state == ContactState::UnknownOutcome);
        if settles {
            self.change_to(ContactState::Sent);
            self.block = None;
        }
        settles
    }

    /// This, with those of its lost answers that are known to the other: what may still change once all is over.
    pub fn told_late(&self, other: &Self) -> Self {
        let told = |(own, other): (&_, &_)| match (own, other) {
            (Some(AttemptOutcome::Unknown), Some(AttemptOutcome::Accepted)) => *other,
            _ => *own,
        };
        Self { attempts: self.attempts.iter().zip(&other.attempts).map(told).collect(), ..self.clone() }
    }

    /// Whoever claimed it is gone.
    pub fn recover(&mut self) {
        self.claim = None;
        self.revision += 1;
        self.end_attempt(AttemptOutcome::Unknown);
    }

    /// Answers whether it could still be called off.
    pub fn call_off(&mut self, reason: BlockReason) -> bool {
        let waits = self.waits();
        if waits {
            self.change_to(ContactState::Canceled);
            self.block = Some(reason);
        }
        waits
    }

    pub fn reschedule(&mut self, due: Timestamp) {
        if self.waits() {
            self.revision += 1;
            self.due = due;
            self.block = None;
        }
    }

    /// Whether there is something for an operator to settle.
    pub fn is_settled_by(&self, verdict: Verdict) -> bool {
        match self.state {
            ContactState::UnknownOutcome => true,
            ContactState::Failed => verdict == Verdict::SendAgain,
            _ => false,
        }
    }

    pub fn resolve(&mut self, verdict: Verdict, now: Timestamp) {
        let (state, outcome) = match verdict {
            Verdict::WasSent => (ContactState::Sent, AttemptOutcome::Accepted),
            Verdict::WasNotSent => (ContactState::Failed, AttemptOutcome::PermanentFailure),
            Verdict::SendAgain => (ContactState::Scheduled, AttemptOutcome::TemporaryFailure),
        };
        self.change_to(state);
        if verdict == Verdict::SendAgain {
            self.due = now;
        }
        if let Some(last) = self.attempts.last_mut().filter(|last| **last == Some(AttemptOutcome::Unknown)) {
            *last = Some(outcome);
        }
    }

    fn change_to(&mut self, state: ContactState) {
        self.state = state;
        self.revision += 1;
    }

    fn end_attempt(&mut self, outcome: AttemptOutcome) {
        if let Some(last) = self.attempts.last_mut() {
            *last = Some(outcome);
        }
        self.state = match outcome {
            AttemptOutcome::Accepted => ContactState::Sent,
            AttemptOutcome::TemporaryFailure => ContactState::Scheduled,
            AttemptOutcome::PermanentFailure => ContactState::Failed,
            AttemptOutcome::Unknown if self.purpose == Purpose::Transactional => ContactState::Scheduled,
            AttemptOutcome::Unknown => ContactState::UnknownOutcome,
        };
    }
}
