use sea_orm::entity::prelude::*;

use crate::ids::{CustomerId, EventId, RunId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "backfills")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub run_id: RunId,
    pub range_start: DateTimeUtc,
    pub range_end: DateTimeUtc,
    pub max_per_minute: i32,
    /// The last event that it has come to: whose, when, which.
    pub customer_id: Option<CustomerId>,
    pub occur_time: Option<DateTimeUtc>,
    pub event_id: Option<EventId>,
    pub due_time: DateTimeUtc,
    pub room: i32,
    pub entered: i64,
    pub exited: i64,
    pub ignored: i64,
    pub unreached: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::migrated;

    #[tokio::test]
    async fn the_entity_says_what_the_migrations_made() {
        let migrated = migrated().await;
        migrated.check(Entity).await;
        migrated.end().await;
    }
}
