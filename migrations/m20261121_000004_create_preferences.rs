//! Topics, what customers said about them, and the ledger of it.

use sea_orm_migration::{
    prelude::*,
    schema::{
        integer, json_binary, json_binary_null, text, text_null, timestamp_with_time_zone,
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
                    .table("topics")
                    .col(text("topic_id").primary_key())
                    .col(json_binary("names"))
                    .col(text("purpose"))
                    .col(text("opt_in"))
                    .col(json_binary("channels"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(integer("revision"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("preferences")
                    .col(uuid("customer_id").primary_key())
                    .col(json_binary_null("quiet_hours"))
                    .col(timestamp_with_time_zone_null("snooze_end_time"))
                    .col(timestamp_with_time_zone_null("objection_time"))
                    .col(timestamp_with_time_zone_null("silence_time"))
                    .col(timestamp_with_time_zone("update_time"))
                    .col(integer("revision"))
                    .foreign_key(ForeignKey::create().from("preferences", "customer_id").to("customers", "customer_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("consents")
                    .col(uuid("customer_id"))
                    .col(text("topic_id"))
                    .col(text("channel"))
                    .col(text("state"))
                    .col(text("method"))
                    .col(uuid_null("address_id"))
                    .col(timestamp_with_time_zone("change_time"))
                    .col(uuid("record_id"))
                    .primary_key(Index::create().col("customer_id").col("topic_id").col("channel"))
                    .foreign_key(ForeignKey::create().from("consents", "customer_id").to("customers", "customer_id"))
                    .foreign_key(ForeignKey::create().from("consents", "topic_id").to("topics", "topic_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("consent_records")
                    .col(uuid("record_id").primary_key())
                    .col(uuid("customer_id"))
                    .col(text("act"))
                    .col(text_null("topic_id"))
                    .col(text_null("channel"))
                    .col(text("method"))
                    .col(uuid_null("address_id"))
                    .col(timestamp_with_time_zone("occur_time"))
                    .col(timestamp_with_time_zone("record_time"))
                    .foreign_key(
                        ForeignKey::create().from("consent_records", "customer_id").to("customers", "customer_id"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create()
                    .name("consent_records_customer")
                    .table("consent_records")
                    .col("customer_id")
                    .col("record_id")
                    .to_owned(),
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("consent_records").to_owned()).await?;
        manager.drop_table(Table::drop().table("consents").to_owned()).await?;
        manager.drop_table(Table::drop().table("preferences").to_owned()).await?;
        manager.drop_table(Table::drop().table("topics").to_owned()).await?;
        Ok(())
    }
}
