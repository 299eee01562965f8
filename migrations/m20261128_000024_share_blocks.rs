//! Templates share blocks and can be put away; a message can be tried out on an address of the operator's.

use sea_orm_migration::{
    prelude::*,
    schema::{boolean, integer, text, timestamp_with_time_zone_null},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let partial = boolean("partial").default(false).to_owned();
        manager.alter_table(Table::alter().table("templates").add_column(partial).to_owned()).await?;
        let archive_time = timestamp_with_time_zone_null("archive_time");
        manager.alter_table(Table::alter().table("templates").add_column(archive_time).to_owned()).await?;
        manager
            .create_table(
                Table::create()
                    .table("template_includes")
                    .col(text("template_id"))
                    .col(integer("version"))
                    .col(text("partial_id"))
                    .primary_key(Index::create().col("template_id").col("version").col("partial_id"))
                    .to_owned(),
            )
            .await?;
        // Who includes a block is asked when it is published and when it is put away.
        let index = Index::create()
            .name("template_includes_by_partial")
            .table("template_includes")
            .col("partial_id")
            .to_owned();
        manager.create_index(index).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("template_includes").to_owned()).await?;
        manager.alter_table(Table::alter().table("templates").drop_column("archive_time").to_owned()).await?;
        manager.alter_table(Table::alter().table("templates").drop_column("partial").to_owned()).await
    }
}
