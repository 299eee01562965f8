//! What was recorded in a stretch of time, for whoever looks back.

mod store;

pub use self::store::{copy, count_by_bucket, count_occurred, customers_below, occurred, recorded_between};
use super::Event;
use crate::{
    clock::Timestamp,
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
