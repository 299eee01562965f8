//! The rows of customers as locks on what is planned for them.

mod store;

pub use self::store::{Locked, lock, lock_all, lock_each, lock_free, lock_shared};
