//! What is still to be ended of a campaign that has ended is known, so that whoever breaks off is followed by somebody else.

use sea_orm_migration::{prelude::*, schema::boolean};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let ending = boolean("is_ending").default(false).take();
        manager.alter_table(Table::alter().table("campaigns").add_column(ending).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("campaigns").drop_column("is_ending").to_owned()).await
    }
}
