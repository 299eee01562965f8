//! Customers as they were, for whoever looks back.

mod store;

pub use self::store::{come, copy, there};
use crate::{clock::Timestamp, ids::CustomerId};

/// A customer who was there in a stretch of time, or came in it.
#[derive(Debug, Clone, Copy)]
pub struct Stay {
    /// Who.
    pub customer_id: CustomerId,
    /// Since when.
    pub create_time: Timestamp,
    /// Until when; none = still.
    pub delete_time: Option<Timestamp>,
}
