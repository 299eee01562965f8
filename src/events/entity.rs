use sea_orm::entity::prelude::*;

pub mod event {
    use super::*;
    use crate::ids::{CustomerId, EventId};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "events")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: EventId,
        #[sea_orm(column_type = "Text")]
        pub source: String,
        #[sea_orm(column_type = "Text")]
        pub source_event_id: String,
        pub customer_id: CustomerId,
        pub bucket: i16,
        #[sea_orm(column_type = "Text")]
        pub event_type: String,
        pub occur_time: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        pub subject: String,
        #[sea_orm(column_type = "Text", nullable)]
        pub value_currency: Option<String>,
        pub value_minor: Option<i64>,
        #[sea_orm(column_type = "JsonBinary")]
        pub items: Json,
        #[sea_orm(column_type = "JsonBinary")]
        pub properties: Json,
        pub record_time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod effect {
    use super::*;
    use crate::{
        events::EffectOutcome,
        ids::{CampaignId, ContactId, EnrollmentId, EventId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "event_effects")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub event_id: EventId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub position: i32,
        #[sea_orm(column_type = "Text")]
        pub campaign_id: CampaignId,
        #[sea_orm(column_type = "Text")]
        pub outcome: EffectOutcome,
        #[sea_orm(column_type = "Text")]
        pub detail: String,
        pub enrollment_id: Option<EnrollmentId>,
        pub contact_id: Option<ContactId>,
        pub due_time: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub due_local_time: Option<String>,
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
        migrated.check(event::Entity).await;
        migrated.check(effect::Entity).await;
        migrated.end().await;
    }
}
