//! A contact is claimed when its intent is written, and no sooner: what waits is nobody's.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: [&str; 3] = [
    "UPDATE contacts SET claim_token = NULL WHERE state = 'scheduled' AND claim_token IS NOT NULL",
    "DROP INDEX contacts_queue",
    "CREATE INDEX contacts_queue ON contacts (queue, due_time, contact_id) WHERE state = 'scheduled'",
];

const DOWN: [&str; 2] = [
    "DROP INDEX contacts_queue",
    "CREATE INDEX contacts_queue ON contacts (queue, due_time, contact_id) WHERE state = 'scheduled' AND claim_token IS NULL",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &DOWN).await
    }
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
