//! A contact is claimed when its intent is written, and no sooner: what waits is nobody's. And each change of a contact costs
//! less: on Postgres it is written anew to every index that has it, so those leave out the contacts that have nothing to
//! find there, and what belongs to a contact is inserted without looking the contact up again, which the same
//! transaction has just changed.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: [&str; 7] = [
    "UPDATE contacts SET claim_token = NULL WHERE state = 'scheduled' AND claim_token IS NOT NULL",
    "DROP INDEX contacts_queue",
    "CREATE INDEX contacts_queue ON contacts (queue, due_time, contact_id) WHERE state = 'scheduled'",
    "DROP INDEX contacts_step",
    "CREATE UNIQUE INDEX contacts_step ON contacts (enrollment_id, step_id) WHERE enrollment_id IS NOT NULL",
    "DROP INDEX contacts_campaign",
    "CREATE INDEX contacts_campaign ON contacts (campaign_id, state) WHERE campaign_id IS NOT NULL",
];

const UP_ON_POSTGRES: [&str; 4] = [
    "ALTER TABLE contacts DROP CONSTRAINT contacts_dedupe_key_key",
    "CREATE UNIQUE INDEX contacts_dedupe_key_key ON contacts (dedupe_key) WHERE dedupe_key IS NOT NULL",
    "ALTER TABLE attempts DROP CONSTRAINT attempts_contact_id_fkey",
    "ALTER TABLE decisions DROP CONSTRAINT decisions_contact_id_fkey",
];

const DOWN: [&str; 6] = [
    "DROP INDEX contacts_campaign",
    "CREATE INDEX contacts_campaign ON contacts (campaign_id, state)",
    "DROP INDEX contacts_step",
    "CREATE UNIQUE INDEX contacts_step ON contacts (enrollment_id, step_id)",
    "DROP INDEX contacts_queue",
    "CREATE INDEX contacts_queue ON contacts (queue, due_time, contact_id) WHERE state = 'scheduled' AND claim_token IS NULL",
];

const DOWN_ON_POSTGRES: [&str; 4] = [
    "DROP INDEX contacts_dedupe_key_key",
    "ALTER TABLE contacts ADD CONSTRAINT contacts_dedupe_key_key UNIQUE (dedupe_key)",
    "ALTER TABLE attempts ADD CONSTRAINT attempts_contact_id_fkey FOREIGN KEY (contact_id) REFERENCES contacts",
    "ALTER TABLE decisions ADD CONSTRAINT decisions_contact_id_fkey FOREIGN KEY (contact_id) REFERENCES contacts",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &UP).await?;
        on_postgres(manager, &UP_ON_POSTGRES).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        run(manager, &DOWN).await?;
        on_postgres(manager, &DOWN_ON_POSTGRES).await
    }
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}

async fn on_postgres(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    match manager.get_database_backend() {
        DbBackend::Postgres => run(manager, statements).await,
        _ => Ok(()),
    }
}
