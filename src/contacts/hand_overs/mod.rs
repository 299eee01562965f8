//! What customers got and what is due to them, for those who count it.

mod store;

pub use self::store::{due_of, hand_overs};
