//! The lanes in which contacts go out, and how full each is.

mod store;

pub use self::store::lanes;
use crate::{clock::Timestamp, database::text_enum};

text_enum! {
    /// In which order of importance contacts go out; stored as a digit.
    Lane {
        /// What customers wait for: transactional messages.
        Transactional = "1",
        /// What a customer's own doing planned: the steps of enrollments, and service messages.
        FollowUp = "2",
        /// The rest: ad-hoc marketing and surveys.
        Bulk = "3",
    }
}

impl Lane {
    /// Every lane, the most important first.
    pub const ALL: [Self; 3] = [Self::Transactional, Self::FollowUp, Self::Bulk];

    /// Its name for people and programs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::FollowUp => "follow_up",
            Self::Bulk => "bulk",
        }
    }
}

/// How full a lane is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LaneStats {
    /// Which lane.
    pub lane: Lane,
    /// How many wait.
    pub scheduled: i64,
    /// How many of these are due.
    pub due: i64,
    /// How many are being handed over.
    pub sending: i64,
    /// How many were handed over while the answer was lost.
    pub unknown_outcome: i64,
    /// Since when the oldest of the due ones is due.
    pub oldest_due_time: Option<Timestamp>,
}

impl LaneStats {
    /// A lane in which nothing is open.
    pub fn empty(lane: Lane) -> Self {
        Self { lane, scheduled: 0, due: 0, sending: 0, unknown_outcome: 0, oldest_due_time: None }
    }

    /// How long the oldest due one has waited, in seconds; 0 when none is due.
    pub fn lag_seconds(&self, now: Timestamp) -> f64 {
        self.oldest_due_time.map_or(0.0, |due| (now - due).as_seconds_f64().max(0.0))
    }
}
