//! Where the links of messages lead whose readers agreed that following them is noticed.

mod entity;
mod store;

pub use self::store::{erase, find, keep, of};
use crate::ids::ContactId;

/// A link of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedLink {
    /// Of which message.
    pub contact_id: ContactId,
    /// From 0, in the order in which they stand there.
    pub number: u16,
    /// Where it leads.
    pub url: String,
}
