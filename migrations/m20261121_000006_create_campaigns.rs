//! Campaigns, their versions, and the customers inside them.

use sea_orm_migration::{
    prelude::*,
    schema::{integer, json_binary, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("campaigns")
                    .col(text("campaign_id").primary_key())
                    .col(text("state"))
                    .col(text("state_note"))
                    .col(integer("version"))
                    .col(text("event_type"))
                    .col(text("topic_id"))
                    .col(text("purpose"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone("update_time"))
                    .col(integer("revision"))
                    .foreign_key(ForeignKey::create().from("campaigns", "topic_id").to("topics", "topic_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("campaign_versions")
                    .col(text("campaign_id"))
                    .col(integer("version"))
                    .col(json_binary("plan"))
                    .col(timestamp_with_time_zone("create_time"))
                    .primary_key(Index::create().col("campaign_id").col("version"))
                    .foreign_key(
                        ForeignKey::create().from("campaign_versions", "campaign_id").to("campaigns", "campaign_id"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("enrollments")
                    .col(uuid("enrollment_id").primary_key())
                    .col(text("campaign_id"))
                    .col(integer("campaign_version"))
                    .col(uuid("customer_id"))
                    .col(uuid("event_id"))
                    .col(text("entry_key"))
                    .col(text("subject"))
                    .col(text("topic_id"))
                    .col(text("purpose"))
                    .col(timestamp_with_time_zone("trigger_time"))
                    .col(text("state"))
                    .col(text_null("end_cause"))
                    .col(text_null("next_step_id"))
                    .col(timestamp_with_time_zone_null("next_time"))
                    .col(timestamp_with_time_zone("start_time"))
                    .col(timestamp_with_time_zone_null("end_time"))
                    .foreign_key(ForeignKey::create().from("enrollments", "campaign_id").to("campaigns", "campaign_id"))
                    .foreign_key(ForeignKey::create().from("enrollments", "customer_id").to("customers", "customer_id"))
                    .foreign_key(ForeignKey::create().from("enrollments", "event_id").to("events", "event_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(Index::create().name("campaigns_event_type").table("campaigns").col("event_type").to_owned())
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("enrollments_entry")
                    .table("enrollments")
                    .col("campaign_id")
                    .col("customer_id")
                    .col("entry_key")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("enrollments_customer")
                    .table("enrollments")
                    .col("customer_id")
                    .col("state")
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("enrollments_campaign")
                    .table("enrollments")
                    .col("campaign_id")
                    .col("enrollment_id")
                    .to_owned(),
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("enrollments").to_owned()).await?;
        manager.drop_table(Table::drop().table("campaign_versions").to_owned()).await?;
        manager.drop_table(Table::drop().table("campaigns").to_owned()).await?;
        Ok(())
    }
}
