use sea_orm::entity::prelude::*;

pub mod contact {
    use super::*;
    use crate::{
        contacts::{BlockReason, ContactState, Delivery, Effect, Purpose},
        delivery::Channel,
        ids::{
            AddressId, CampaignId, ClaimToken, ContactId, CustomerId, EnrollmentId, EventId, RunId, TemplateId, TopicId,
        },
    };

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "contacts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub contact_id: ContactId,
        pub customer_id: CustomerId,
        pub bucket: i16,
        #[sea_orm(column_type = "Text", nullable)]
        pub campaign_id: Option<CampaignId>,
        pub enrollment_id: Option<EnrollmentId>,
        #[sea_orm(column_type = "Text", nullable)]
        pub step_id: Option<String>,
        pub event_id: Option<EventId>,
        pub run_id: Option<RunId>,
        #[sea_orm(column_type = "Text")]
        pub topic_id: TopicId,
        #[sea_orm(column_type = "Text")]
        pub purpose: Purpose,
        #[sea_orm(column_type = "Text")]
        pub channel: Channel,
        pub address_id: Option<AddressId>,
        #[sea_orm(column_type = "Text")]
        pub template_id: TemplateId,
        pub template_version: Option<i32>,
        #[sea_orm(column_type = "JsonBinary")]
        pub data: Json,
        #[sea_orm(column_type = "Text", nullable, unique)]
        pub dedupe_key: Option<String>,
        /// Lane and campaign: "2/check-in".
        #[sea_orm(column_type = "Text", default_value = "2/")]
        pub queue: String,
        pub due_time: DateTimeUtc,
        pub original_due_time: DateTimeUtc,
        #[sea_orm(column_type = "Text", nullable)]
        pub due_local_time: Option<String>,
        #[sea_orm(column_type = "Text", nullable)]
        pub due_zone: Option<String>,
        pub expire_time: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        pub state: ContactState,
        #[sea_orm(column_type = "Text", nullable)]
        pub block_reason: Option<BlockReason>,
        #[sea_orm(column_type = "Text", nullable)]
        pub block_effect: Option<Effect>,
        #[sea_orm(column_type = "Text", nullable)]
        pub block_detail: Option<String>,
        pub block_retry_time: Option<DateTimeUtc>,
        pub attempt_count: i32,
        pub claim_token: Option<ClaimToken>,
        pub send_time: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub delivery: Option<Delivery>,
        #[sea_orm(column_type = "Text", nullable)]
        pub variant_id: Option<String>,
        pub convert_time: Option<DateTimeUtc>,
        pub create_time: DateTimeUtc,
        pub update_time: DateTimeUtc,
        pub revision: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod decision {
    use super::*;
    use crate::{
        contacts::{BlockReason, Effect},
        ids::ContactId,
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "decisions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub contact_id: ContactId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub revision: i32,
        pub decide_time: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        pub reason: BlockReason,
        #[sea_orm(column_type = "Text")]
        pub effect: Effect,
        #[sea_orm(column_type = "Text")]
        pub detail: String,
        pub retry_time: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod attempt {
    use super::*;
    use crate::{
        contacts::AttemptOutcome,
        ids::{ConsentRecordId, ContactId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "attempts")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub contact_id: ContactId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub number: i32,
        pub start_time: DateTimeUtc,
        pub end_time: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub outcome: Option<AttemptOutcome>,
        #[sea_orm(column_type = "Text", nullable)]
        pub reply_code: Option<String>,
        #[sea_orm(column_type = "Text", nullable)]
        pub detail: Option<String>,
        #[sea_orm(column_type = "Text")]
        pub replica: String,
        pub consent_record_id: Option<ConsentRecordId>,
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
        migrated.check(contact::Entity).await;
        migrated.check(decision::Entity).await;
        migrated.check(attempt::Entity).await;
        migrated.end().await;
    }
}
