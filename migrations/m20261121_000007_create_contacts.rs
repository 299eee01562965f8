//! Planned messages, every decision about them, and every hand-over.

use sea_orm_migration::{
    prelude::*,
    schema::{
        integer, integer_null, json_binary, small_integer, text, text_null, timestamp_with_time_zone,
        timestamp_with_time_zone_null, uuid, uuid_null,
    },
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
                    .table("contacts")
                    .col(uuid("contact_id").primary_key())
                    .col(uuid("customer_id"))
                    .col(small_integer("bucket"))
                    .col(text_null("campaign_id"))
                    .col(uuid_null("enrollment_id"))
                    .col(text_null("step_id"))
                    .col(uuid_null("event_id"))
                    .col(text("topic_id"))
                    .col(text("purpose"))
                    .col(text("channel"))
                    .col(uuid_null("address_id"))
                    .col(text("template_id"))
                    .col(integer_null("template_version"))
                    .col(json_binary("data"))
                    .col(text_null("dedupe_key").unique_key())
                    .col(timestamp_with_time_zone("due_time"))
                    .col(timestamp_with_time_zone("original_due_time"))
                    .col(text_null("due_local_time"))
                    .col(text_null("due_zone"))
                    .col(timestamp_with_time_zone("expire_time"))
                    .col(text("state"))
                    .col(text_null("block_reason"))
                    .col(text_null("block_effect"))
                    .col(text_null("block_detail"))
                    .col(timestamp_with_time_zone_null("block_retry_time"))
                    .col(integer("attempt_count"))
                    .col(uuid_null("claim_token"))
                    .col(timestamp_with_time_zone_null("lease_end"))
                    .col(timestamp_with_time_zone_null("send_time"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone("update_time"))
                    .col(integer("revision"))
                    .foreign_key(ForeignKey::create().from("contacts", "customer_id").to("customers", "customer_id"))
                    .foreign_key(
                        ForeignKey::create().from("contacts", "enrollment_id").to("enrollments", "enrollment_id"),
                    )
                    .foreign_key(ForeignKey::create().from("contacts", "topic_id").to("topics", "topic_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("decisions")
                    .col(uuid("contact_id"))
                    .col(integer("revision"))
                    .col(timestamp_with_time_zone("decide_time"))
                    .col(text("reason"))
                    .col(text("effect"))
                    .col(text("detail"))
                    .col(timestamp_with_time_zone_null("retry_time"))
                    .primary_key(Index::create().col("contact_id").col("revision"))
                    .foreign_key(ForeignKey::create().from("decisions", "contact_id").to("contacts", "contact_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("attempts")
                    .col(uuid("contact_id"))
                    .col(integer("number"))
                    .col(timestamp_with_time_zone("start_time"))
                    .col(timestamp_with_time_zone_null("end_time"))
                    .col(text_null("outcome"))
                    .col(text_null("detail"))
                    .col(text("replica"))
                    .col(uuid_null("consent_record_id"))
                    .primary_key(Index::create().col("contact_id").col("number"))
                    .foreign_key(ForeignKey::create().from("attempts", "contact_id").to("contacts", "contact_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("contacts_customer")
                    .table("contacts")
                    .col("customer_id")
                    .col("contact_id")
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create().name("contacts_campaign").table("contacts").col("campaign_id").col("state").to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("contacts_step")
                    .table("contacts")
                    .col("enrollment_id")
                    .col("step_id")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE INDEX contacts_waiting ON contacts (due_time, contact_id) WHERE state = 'scheduled'",
            )
            .await?;
        manager
            .get_connection()
            .execute_unprepared("CREATE INDEX contacts_claimed ON contacts (lease_end) WHERE claim_token IS NOT NULL")
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("attempts").to_owned()).await?;
        manager.drop_table(Table::drop().table("decisions").to_owned()).await?;
        manager.drop_table(Table::drop().table("contacts").to_owned()).await?;
        Ok(())
    }
}
