use sea_orm::sea_query::Condition;

use super::Filter;
use crate::{clock::Timestamp, database::Connection};

/// Which rows a list is asked for: those that a filter matches at a moment, or all.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Option<(Filter, Timestamp)>);

impl Wanted {
    /// Those that a filter matches at a moment; without one, all.
    pub fn at(filter: Option<Filter>, now: Timestamp) -> Self {
        Self(filter.map(|filter| (filter, now)))
    }

    /// As a condition of a query over the table of the filter's schema.
    pub fn condition(&self, db: &impl Connection) -> Condition {
        let Some((filter, now)) = &self.0 else { return Condition::all() };
        filter.condition(db.get_database_backend(), *now)
    }
}
