//! The senders whose marketing is watched, and pauses that hold only a sender's.

use sea_orm_migration::{
    prelude::*,
    schema::{json_binary_null, text, text_null, timestamp_with_time_zone_null, uuid_null},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = |column| Table::alter().table("pauses").add_column(column).to_owned();
        manager.alter_table(add(text_null("sender_id"))).await?;
        manager.alter_table(add(json_binary_null("purposes"))).await?;
        manager
            .create_table(
                Table::create()
                    .table("breakers")
                    .col(text("sender_id").primary_key())
                    .col(uuid_null("pause_id"))
                    .col(timestamp_with_time_zone_null("pause_end"))
                    .col(timestamp_with_time_zone_null("watch_from"))
                    .to_owned(),
            )
            .await?;
        // What speaks against a sender is little, and found without reading what arrived.
        let sql =
            "CREATE INDEX delivery_events_bad ON delivery_events (occur_time) WHERE kind IN ('bounced', 'complained')";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let index = Index::drop().name("delivery_events_bad").table("delivery_events").to_owned();
        manager.drop_index(index).await?;
        manager.drop_table(Table::drop().table("breakers").to_owned()).await?;
        manager.alter_table(Table::alter().table("pauses").drop_column("purposes").to_owned()).await?;
        manager.alter_table(Table::alter().table("pauses").drop_column("sender_id").to_owned()).await
    }
}
