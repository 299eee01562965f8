//! Newsletters are told from other campaigns, what readers did with a campaign's mail is found without looking at all mail, and
//! what waits for a sender without looking at all that waits.

use sea_orm_migration::{prelude::*, schema::boolean};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let newsletter = boolean("is_newsletter").default(false).take();
        manager.alter_table(Table::alter().table("campaigns").add_column(newsletter).to_owned()).await?;
        let sql = "CREATE INDEX delivery_events_campaign ON delivery_events (campaign_id, kind) \
            WHERE kind IN ('opened', 'clicked')";
        manager.get_connection().execute_unprepared(sql).await?;
        let sql = "CREATE INDEX contacts_sender_not_ready ON contacts (purpose) \
            WHERE state = 'scheduled' AND block_reason = 'sender_not_ready'";
        manager.get_connection().execute_unprepared(sql).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DROP INDEX contacts_sender_not_ready").await?;
        manager.get_connection().execute_unprepared("DROP INDEX delivery_events_campaign").await?;
        manager.alter_table(Table::alter().table("campaigns").drop_column("is_newsletter").to_owned()).await
    }
}
