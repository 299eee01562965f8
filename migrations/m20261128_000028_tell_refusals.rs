//! What a server refused while a letter was handed over becomes an event afterwards: until then it is marked.

use sea_orm_migration::{prelude::*, schema::boolean_null};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let column = boolean_null("untold").take();
        manager.alter_table(Table::alter().table("delivery_events").add_column(column).to_owned()).await?;
        let sql = "CREATE INDEX delivery_events_untold ON delivery_events (delivery_event_id) WHERE untold IS NOT NULL";
        manager.get_connection().execute_unprepared(sql).await.map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP INDEX delivery_events_untold").await?;
        manager.alter_table(Table::alter().table("delivery_events").drop_column("untold").to_owned()).await
    }
}
