//! Living customers whom a filter matches, however many there are.

mod store;

pub use self::store::{count_wanted, oldest_and_youngest, wanted_from};
