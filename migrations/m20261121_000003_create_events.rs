//! What happened, and what each event did.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer_null, integer, json_binary, small_integer, text, text_null, timestamp_with_time_zone,
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
                    .table("events")
                    .col(uuid("event_id").primary_key())
                    .col(text("source"))
                    .col(text("source_event_id"))
                    .col(uuid("customer_id"))
                    .col(small_integer("bucket"))
                    .col(text("event_type"))
                    .col(timestamp_with_time_zone("occur_time"))
                    .col(text("subject"))
                    .col(text_null("value_currency"))
                    .col(big_integer_null("value_minor"))
                    .col(json_binary("items"))
                    .col(json_binary("properties"))
                    .col(timestamp_with_time_zone("record_time"))
                    .foreign_key(ForeignKey::create().from("events", "customer_id").to("customers", "customer_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("event_effects")
                    .col(uuid("event_id"))
                    .col(integer("position"))
                    .col(text("campaign_id"))
                    .col(text("outcome"))
                    .col(text("detail"))
                    .col(uuid_null("enrollment_id"))
                    .col(uuid_null("contact_id"))
                    .col(timestamp_with_time_zone_null("due_time"))
                    .col(text_null("due_local_time"))
                    .primary_key(Index::create().col("event_id").col("position"))
                    .foreign_key(ForeignKey::create().from("event_effects", "event_id").to("events", "event_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("events_source")
                    .table("events")
                    .col("source")
                    .col("source_event_id")
                    .unique()
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("events_customer")
                    .table("events")
                    .col("customer_id")
                    .col("event_type")
                    .col("occur_time")
                    .to_owned(),
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("event_effects").to_owned()).await?;
        manager.drop_table(Table::drop().table("events").to_owned()).await?;
        Ok(())
    }
}
