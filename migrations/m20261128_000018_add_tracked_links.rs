//! Where the links of a message lead, for customers who agreed that following them is noticed.

use sea_orm_migration::{
    prelude::*,
    schema::{integer, text, uuid},
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
                    .table("tracked_links")
                    .col(uuid("contact_id"))
                    .col(integer("number"))
                    .col(text("url"))
                    .primary_key(Index::create().col("contact_id").col("number"))
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("tracked_links").to_owned()).await
    }
}
