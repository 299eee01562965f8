//! What became of hand-overs. Every function is a statement or three for a whole batch, and changes only what the claim holds.

mod store;

pub use self::store::{
    end_attempts, give_back, put_off, settle_accepted, settle_late, settle_later, settle_never, settle_unknown,
    take_back,
};
use crate::{clock::Timestamp, ids::ContactId};

/// A hand-over that did not succeed.
#[derive(Debug, Clone)]
pub struct Setback {
    /// Which contact.
    pub contact_id: ContactId,
    /// The reply code, with the enhanced one; empty = none.
    pub code: String,
    /// What the transport said.
    pub detail: String,
    /// When to try again, if that is allowed.
    pub retry_time: Timestamp,
}
