//! What customers got, for those who count it.

mod store;

pub use self::store::hand_overs;
