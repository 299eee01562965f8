//! How full the lanes are, for those who watch.

mod store;

pub use self::store::lane_stats;
use super::Lane;
use crate::clock::Timestamp;

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
