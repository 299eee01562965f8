//! Whom newsletters go through: the living, in the order of their ids.

mod store;

pub use self::store::{audience, count_audience, inhabited_zones};
use crate::calendar::Zone;

/// Who of the living.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residents {
    /// All of them.
    OfAnywhere,
    /// Those who live in a zone; none = those of whom it is not known where they live.
    Of(Option<Zone>),
}
