//! Who may hold contacts: each process has one lease that it renews; what a process held whose lease has ended is found again.

mod entity;
mod store;

use std::time::Duration;

pub use self::store::{end, expire_all, held, is_held, recover, register, renew, take_back_unchanged};
use crate::{clock::Timestamp, ids::ContactId};

/// A contact that a process has claimed and recorded as being handed over.
#[derive(Debug, Clone)]
pub struct Held {
    /// Which.
    pub contact_id: ContactId,
    /// When it was due.
    pub due_time: Timestamp,
    /// As it was read.
    pub revision: i32,
}

/// How long a process counts as alive after it last renewed its lease.
pub const LEASE: Duration = Duration::from_secs(10);
