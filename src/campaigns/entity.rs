use sea_orm::entity::prelude::*;

pub mod campaign {
    use super::*;
    use crate::{
        campaigns::CampaignState,
        contacts::Purpose,
        ids::{CampaignId, TopicId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "campaigns")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub campaign_id: CampaignId,
        #[sea_orm(column_type = "Text")]
        pub state: CampaignState,
        #[sea_orm(column_type = "Text")]
        pub state_note: String,
        pub version: i32,
        #[sea_orm(column_type = "Text")]
        pub event_type: String,
        #[sea_orm(column_type = "Text")]
        pub topic_id: TopicId,
        #[sea_orm(column_type = "Text")]
        pub purpose: Purpose,
        /// Of the current plan, whichever version a contact follows.
        pub max_per_minute: Option<i32>,
        /// Of the current plan.
        pub is_newsletter: bool,
        /// Of a newsletter that acts: when its next firing begins.
        pub fire_time: Option<DateTimeUtc>,
        /// Of the current plan.
        pub active_from: Option<DateTimeUtc>,
        /// Of the current plan.
        pub active_until: Option<DateTimeUtc>,
        /// Of the current plan.
        #[sea_orm(column_type = "Text", nullable)]
        pub goal_type: Option<String>,
        /// Of the current plan; none = nobody.
        pub holdout_percent: Option<i32>,
        /// Of the current plan; none = 0.
        pub priority: Option<i32>,
        /// It has ended, and something of it is still to be ended.
        pub is_ending: bool,
        /// Up to when what starts it was looked for.
        pub scan_time: Option<DateTimeUtc>,
        pub create_time: DateTimeUtc,
        pub update_time: DateTimeUtc,
        pub revision: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod version {
    use super::*;
    use crate::ids::CampaignId;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "campaign_versions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub version: i32,
        #[sea_orm(column_type = "JsonBinary")]
        pub plan: Json,
        /// The event types that end its enrollments or a wait of theirs, each between bars: "|order.refunded|order.canceled|". None = written before
        /// there was this column, and not known.
        #[sea_orm(column_type = "Text", nullable)]
        pub exit_types: Option<String>,
        pub create_time: DateTimeUtc,
        /// Who may be reached at all; none = everybody. The gate reads it with where a run stands.
        #[sea_orm(column_type = "Text", nullable)]
        pub audience_filter: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod enrollment {
    use super::*;
    use crate::{
        campaigns::{EndCause, EnrollmentState, Waits},
        contacts::Purpose,
        ids::{CampaignId, CustomerId, EnrollmentId, EventId, RunId, TopicId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "enrollments")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub enrollment_id: EnrollmentId,
        #[sea_orm(column_type = "Text")]
        pub campaign_id: CampaignId,
        pub campaign_version: i32,
        pub customer_id: CustomerId,
        pub event_id: Option<EventId>,
        #[sea_orm(column_type = "Text")]
        pub entry_key: String,
        #[sea_orm(column_type = "Text")]
        pub subject: String,
        #[sea_orm(column_type = "Text")]
        pub topic_id: TopicId,
        #[sea_orm(column_type = "Text")]
        pub purpose: Purpose,
        pub trigger_time: DateTimeUtc,
        #[sea_orm(column_type = "Text")]
        pub state: EnrollmentState,
        #[sea_orm(column_type = "Text", nullable)]
        pub end_cause: Option<EndCause>,
        #[sea_orm(column_type = "Text", nullable)]
        pub next_step_id: Option<String>,
        pub next_time: Option<DateTimeUtc>,
        pub start_time: DateTimeUtc,
        pub end_time: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub waits: Option<Waits>,
        #[sea_orm(column_type = "Text", nullable)]
        pub next_local_time: Option<String>,
        /// None = written before there was this column.
        pub previous_time: Option<DateTimeUtc>,
        /// The backfill that it began by.
        pub run_id: Option<RunId>,
        /// None = trigger_time.
        pub anchor_time: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod member {
    use super::*;
    use crate::ids::{CampaignId, CustomerId};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "audience_members")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub campaign_id: CampaignId,
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: CustomerId,
        pub since_time: DateTimeUtc,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod passed_step {
    use super::*;
    use crate::{
        campaigns::StepOutcome,
        ids::{EnrollmentId, EventId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "passed_steps")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub enrollment_id: EnrollmentId,
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub step_id: String,
        #[sea_orm(column_type = "Text")]
        pub outcome: StepOutcome,
        pub event_id: Option<EventId>,
        pub end_time: DateTimeUtc,
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
        migrated.check(campaign::Entity).await;
        migrated.check(version::Entity).await;
        migrated.check(enrollment::Entity).await;
        migrated.check(passed_step::Entity).await;
        migrated.check(member::Entity).await;
        migrated.end().await;
    }
}
