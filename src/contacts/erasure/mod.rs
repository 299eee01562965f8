//! What is left of a customer's contacts once everything personal is gone.

mod store;

pub use self::store::{erase, forget_replies, ids_since};
