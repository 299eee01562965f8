//! Verified addresses, customers who were erased, and the receipts of that.

use sea_orm_migration::{
    prelude::*,
    schema::{json_binary, text, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = |table: &'static str, column: &'static str| {
            Table::alter().table(table).add_column(timestamp_with_time_zone_null(column)).to_owned()
        };
        manager.alter_table(add("addresses", "verify_time")).await?;
        manager.alter_table(add("customers", "erase_time")).await?;
        manager
            .create_table(
                Table::create()
                    .table("erasures")
                    .col(uuid("erasure_id").primary_key())
                    .col(uuid("customer_id").unique_key())
                    .col(text("actor"))
                    .col(text("reason"))
                    .col(json_binary("erased_rows"))
                    .col(timestamp_with_time_zone("erase_time"))
                    .foreign_key(ForeignKey::create().from("erasures", "customer_id").to("customers", "customer_id"))
                    .to_owned(),
            )
            .await?;
        // Those whose deletion can be undone no more are found without reading the living.
        let sql = "CREATE INDEX customers_deleted ON customers (delete_time, customer_id) \
            WHERE delete_time IS NOT NULL AND erase_time IS NULL";
        manager.get_connection().execute_unprepared(sql).await?;
        // What mail servers answered is forgotten in time; what they took without a word is not in the index.
        let sql = "CREATE INDEX attempts_told ON attempts (start_time) WHERE detail IS NOT NULL";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("attempts_told").table("attempts").to_owned()).await?;
        manager.drop_index(Index::drop().name("customers_deleted").table("customers").to_owned()).await?;
        manager.drop_table(Table::drop().table("erasures").to_owned()).await?;
        manager.alter_table(Table::alter().table("customers").drop_column("erase_time").to_owned()).await?;
        manager.alter_table(Table::alter().table("addresses").drop_column("verify_time").to_owned()).await
    }
}
