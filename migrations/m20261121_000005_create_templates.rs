//! Templates and their versions.

use sea_orm_migration::{
    prelude::*,
    schema::{integer, integer_null, json_binary, text, timestamp_with_time_zone},
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
                    .table("templates")
                    .col(text("template_id").primary_key())
                    .col(text("display_name"))
                    .col(text("channel"))
                    .col(integer("latest_version"))
                    .col(integer_null("published_version"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(integer("revision"))
                    .to_owned(),
            )
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("template_versions")
                    .col(text("template_id"))
                    .col(integer("version"))
                    .col(text("state"))
                    .col(json_binary("content"))
                    .col(timestamp_with_time_zone("update_time"))
                    .primary_key(Index::create().col("template_id").col("version"))
                    .foreign_key(
                        ForeignKey::create().from("template_versions", "template_id").to("templates", "template_id"),
                    )
                    .to_owned(),
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("template_versions").to_owned()).await?;
        manager.drop_table(Table::drop().table("templates").to_owned()).await?;
        Ok(())
    }
}
