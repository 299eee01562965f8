//! What the engine needs.

use sea_orm_migration::{prelude::*, schema::text_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = |table: &'static str, column| Table::alter().table(table).add_column(column).to_owned();
        manager.alter_table(add("campaign_versions", text_null("exit_types"))).await?;
        manager.alter_table(add("attempts", text_null("reply_code"))).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop =
            |table: &'static str, column: &'static str| Table::alter().table(table).drop_column(column).to_owned();
        manager.alter_table(drop("campaign_versions", "exit_types")).await?;
        manager.alter_table(drop("attempts", "reply_code")).await
    }
}
