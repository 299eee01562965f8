//! What became of steps that have no contact.

mod store;

pub use self::store::{insert, of};
