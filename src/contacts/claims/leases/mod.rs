//! Who may hold contacts: each process has one lease that it renews; what a process held whose lease has ended is found again.

mod entity;
mod store;

use std::time::Duration;

pub use self::store::{end, expire_all, is_held, recover, register, release_lost, renew};

/// How long a process counts as alive after it last renewed its lease.
pub const LEASE: Duration = Duration::from_secs(10);
