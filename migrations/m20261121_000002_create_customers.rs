//! Customers, their external ids and their addresses.

use sea_orm_migration::{
    prelude::*,
    schema::{
        boolean, integer, json_binary, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
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
                    .table("customers")
                    .col(uuid("customer_id").primary_key())
                    .col(text("display_name"))
                    .col(text("given_name"))
                    .col(text("family_name"))
                    .col(text_null("time_zone"))
                    .col(text_null("locale"))
                    .col(json_binary("attributes"))
                    .col(json_binary("tags"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone("update_time"))
                    .col(timestamp_with_time_zone_null("delete_time"))
                    .col(integer("revision"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("external_ids")
                    .col(text("external_id").primary_key())
                    .col(uuid("customer_id"))
                    .col(integer("position"))
                    .foreign_key(
                        ForeignKey::create().from("external_ids", "customer_id").to("customers", "customer_id"),
                    )
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("addresses")
                    .col(uuid("address_id").primary_key())
                    .col(uuid("customer_id"))
                    .col(text("channel"))
                    .col(text("value"))
                    .col(text_null("living_key").unique_key())
                    .col(boolean("is_primary"))
                    .col(timestamp_with_time_zone("create_time"))
                    .foreign_key(ForeignKey::create().from("addresses", "customer_id").to("customers", "customer_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(
                Index::create().name("external_ids_customer").table("external_ids").col("customer_id").to_owned(),
            )
            .await?;
        manager
            .create_index(Index::create().name("addresses_customer").table("addresses").col("customer_id").to_owned())
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("addresses").to_owned()).await?;
        manager.drop_table(Table::drop().table("external_ids").to_owned()).await?;
        manager.drop_table(Table::drop().table("customers").to_owned()).await?;
        Ok(())
    }
}
