//! What was recorded in a stretch of time, for whoever looks back.

mod store;

use chrono::TimeDelta;

pub use self::store::{copy, count_occurred, count_remembered, customers_among, occurred, recorded_between};
use super::Event;
use crate::{
    clock::Timestamp,
    filter::Call,
    ids::{CustomerId, EventId},
};

/// Events of some types that were recorded in a stretch of time.
#[derive(Debug, Clone)]
pub struct OfTypes {
    /// Of which types.
    pub types: Vec<String>,
    /// The first moment inside.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
}

/// Events of a type that occurred in a stretch of time, customer by customer.
#[derive(Debug, Clone)]
pub struct Occurred {
    /// Of which type.
    pub event_type: String,
    /// The first moment inside.
    pub start: Timestamp,
    /// The first moment after.
    pub end: Timestamp,
    /// Each customer's latest first; else their earliest.
    pub latest_first: bool,
}

/// How far somebody has come who goes through such events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Whose the last one was.
    pub customer_id: CustomerId,
    /// When it occurred.
    pub occur_time: Timestamp,
    /// Which it was.
    pub event_id: EventId,
}

impl Position {
    /// Just after an event.
    pub fn after(event: &Event) -> Self {
        Self { customer_id: event.customer_id, occur_time: event.body.occur_time, event_id: event.event_id }
    }
}

/// What of the past still matters at a moment.
#[derive(Debug, Clone)]
pub struct Memory {
    /// The moment: nothing counts that was recorded later.
    pub now: Timestamp,
    /// Which events, type by type.
    pub of: Vec<Remembered>,
    /// Of which types somebody reads what they say. Of the others only that they occurred counts.
    pub read: Vec<String>,
}

/// Events of a type that still matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// Of which type.
    pub event_type: String,
    /// Those that occurred after this moment.
    pub after: Timestamp,
    /// And the last before.
    pub and_last: bool,
}

impl Remembered {
    /// What a call of a filter's function looks at from a moment on; none = no events.
    pub fn by(call: &Call, now: Timestamp) -> Option<Self> {
        let (days, and_last) = match call.function.name {
            "event_count" => (call.days(1), false),
            "last_event" => (0, true),
            _ => return None,
        };
        let after = now - TimeDelta::days(days.into());
        Some(Self { event_type: call.text(0).to_owned(), after, and_last })
    }
}
