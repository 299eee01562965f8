use sea_orm::entity::prelude::*;

pub mod preference {
    use super::*;
    use crate::ids::CustomerId;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "preferences")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: CustomerId,
        #[sea_orm(column_type = "JsonBinary", nullable)]
        pub quiet_hours: Option<Json>,
        pub snooze_end_time: Option<DateTimeUtc>,
        pub objection_time: Option<DateTimeUtc>,
        pub silence_time: Option<DateTimeUtc>,
        pub update_time: DateTimeUtc,
        pub revision: i32,
        #[sea_orm(column_type = "JsonBinary", nullable)]
        pub caps: Option<Json>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod consent {
    use super::*;
    use crate::{
        delivery::Channel,
        ids::{AddressId, ConsentRecordId, CustomerId, TopicId, WordingId},
        preferences::{ConsentMethod, ConsentState, DataUse},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "consents")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: CustomerId,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub topic_id: TopicId,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub channel: Channel,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub data_use: DataUse,
        #[sea_orm(column_type = "Text")]
        pub state: ConsentState,
        #[sea_orm(column_type = "Text")]
        pub method: ConsentMethod,
        pub address_id: Option<AddressId>,
        pub wording_id: Option<WordingId>,
        pub change_time: DateTimeUtc,
        pub expire_time: Option<DateTimeUtc>,
        pub record_id: ConsentRecordId,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod policy {
    use super::*;

    /// One row: number 1.
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "sending_policy")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub policy_id: i32,
        #[sea_orm(column_type = "JsonBinary", nullable)]
        pub quiet_hours: Option<Json>,
        #[sea_orm(column_type = "JsonBinary", nullable)]
        pub caps: Option<Json>,
        #[sea_orm(column_type = "Text")]
        pub time_zone: String,
        #[sea_orm(column_type = "Text")]
        pub default_locale: String,
        pub holdout_percent: i32,
        pub revision: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database;

    #[tokio::test]
    async fn entities_say_what_the_migrations_made() {
        let migrated = database::migrated().await;
        migrated.check(preference::Entity).await;
        migrated.check(consent::Entity).await;
        migrated.check(policy::Entity).await;
        migrated.end().await;
    }
}
