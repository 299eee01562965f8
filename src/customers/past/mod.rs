//! Customers as they were, for whoever looks back.

mod store;

pub use self::store::{copy, living_at};
