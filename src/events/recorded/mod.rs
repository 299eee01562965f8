//! What was recorded in a stretch of time, for whoever looks back.

mod store;

pub use self::store::{copy, count_by_bucket, customers_below, recorded_between};
use crate::clock::Timestamp;

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
