//! Customers whom a filter matches.

mod store;

pub use self::store::{living, matching, matching_query};
