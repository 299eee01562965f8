use sea_orm::entity::prelude::*;

pub mod run {
    use super::*;
    use crate::{
        campaigns::RunState,
        contacts::Purpose,
        ids::{CampaignId, RunId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "campaign_runs")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: RunId,
        #[sea_orm(column_type = "Text")]
        pub campaign_id: CampaignId,
        pub campaign_version: i32,
        /// "2026-12-01T09:00:00Z", "2026-12-01T09:00" in each customer's zone, or "manual" and the id.
        #[sea_orm(column_type = "Text")]
        pub firing: String,
        pub nominal_time: DateTimeUtc,
        #[sea_orm(column_type = "Text", nullable)]
        pub local_time: Option<String>,
        pub manual: bool,
        #[sea_orm(column_type = "Text")]
        pub purpose: Purpose,
        #[sea_orm(column_type = "Text")]
        pub state: RunState,
        #[sea_orm(column_type = "Text")]
        pub note: String,
        pub start_time: Option<DateTimeUtc>,
        pub end_time: Option<DateTimeUtc>,
        /// How far it has come stands in backfills.
        pub is_backfill: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod cursor {
    use super::*;
    use crate::ids::{CustomerId, RunId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "run_cursors")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: RunId,
        /// "*" = everybody, "" = those of whom no zone is known.
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub zone: String,
        pub due_time: DateTimeUtc,
        pub expire_time: DateTimeUtc,
        pub position: Option<CustomerId>,
        pub done_time: Option<DateTimeUtc>,
        pub version: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod exclusion {
    use super::*;
    use crate::{
        contacts::{BlockReason, Effect},
        ids::RunId,
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "run_exclusions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: RunId,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub reason: BlockReason,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub effect: Effect,
        pub customers: i64,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod mover {
    use super::*;
    use crate::ids::{CustomerId, RunId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "run_movers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub run_id: RunId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: CustomerId,
        /// Else the cursor of the zone to which the customer moved had passed already, and the customer is reached by itself.
        pub is_reached: bool,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::migrated;

    #[tokio::test]
    async fn the_entities_say_what_the_migrations_made() {
        let migrated = migrated().await;
        migrated.check(run::Entity).await;
        migrated.check(cursor::Entity).await;
        migrated.check(exclusion::Entity).await;
        migrated.check(mover::Entity).await;
        migrated.end().await;
    }
}
