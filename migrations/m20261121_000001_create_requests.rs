//! What was answered to a `request_id`, so that the same request gets the same answer.

use sea_orm_migration::{
    prelude::*,
    schema::{blob, json_binary, text, timestamp_with_time_zone},
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
                    .table("requests")
                    .col(text("caller"))
                    .col(text("method"))
                    .col(text("request_id"))
                    .col(blob("body_digest"))
                    .col(text("resource"))
                    .col(json_binary("counts"))
                    .col(timestamp_with_time_zone("create_time"))
                    .primary_key(Index::create().col("caller").col("method").col("request_id"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_index(Index::create().name("requests_create_time").table("requests").col("create_time").to_owned())
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("requests").to_owned()).await?;
        Ok(())
    }
}
