//! What speaks against whoever sends: complaints and hard bounces, and how many messages they are about.

mod store;

pub use self::store::{accepted_since, returned_since};

/// What came back that speaks against a sender, each message once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Returned {
    /// Messages that were marked as spam.
    pub complaints: u64,
    /// Messages to addresses that do not exist.
    pub hard_bounces: u64,
}
