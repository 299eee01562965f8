//! What became of a campaign's or a run's contacts is counted in one index, without looking at a million of them.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        index_by(manager, "campaign_id, state, run_id, block_reason, delivery").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        index_by(manager, "campaign_id, state").await
    }
}

async fn index_by(manager: &SchemaManager<'_>, columns: &str) -> Result<(), DbErr> {
    manager.get_connection().execute_unprepared("DROP INDEX contacts_campaign").await?;
    let sql = format!("CREATE INDEX contacts_campaign ON contacts ({columns}) WHERE campaign_id IS NOT NULL");
    manager.get_connection().execute_unprepared(&sql).await.map(drop)
}
