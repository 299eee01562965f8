//! Who matches the audience of a campaign that begins when somebody starts to: kept, so that the moment is noticed.

mod store;

pub use self::store::{add, erase, newcomers, no_more, remove, reseed};
