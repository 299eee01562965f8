//! What the engine needs: queues by lane and campaign, the leases of processes, rates that processes share.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, text, text_null, timestamp_with_time_zone, uuid},
    sea_orm::DbBackend,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        add_columns(manager).await?;
        let db = manager.get_connection();
        for statement in FILL_AND_INDEX {
            db.execute_unprepared(statement).await?;
        }
        if manager.get_database_backend() == DbBackend::Postgres {
            db.execute_unprepared(VACUUM).await?;
        }
        create_leases(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("rates").to_owned()).await?;
        manager.drop_table(Table::drop().table("replicas").to_owned()).await
    }
}

const FILL_AND_INDEX: [&str; 6] = [
    "UPDATE contacts SET queue = CASE WHEN purpose = 'transactional' THEN '1' \
     WHEN campaign_id IS NOT NULL OR purpose = 'service' THEN '2' ELSE '3' END || '/' || COALESCE(campaign_id, '')",
    "DROP INDEX contacts_waiting",
    "DROP INDEX contacts_claimed",
    "ALTER TABLE contacts DROP COLUMN lease_end",
    "CREATE INDEX contacts_queue ON contacts (queue, due_time, contact_id) WHERE state = 'scheduled' AND claim_token IS NULL",
    "CREATE INDEX contacts_held ON contacts (claim_token) WHERE claim_token IS NOT NULL",
];

/// Rows that move through the queue leave dead ones behind; they are cleared away before they slow the queue down.
const VACUUM: &str = "ALTER TABLE contacts SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, \
    autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)";

async fn add_columns(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    let add = |table: &'static str, column| Table::alter().table(table).add_column(column).to_owned();
    manager.alter_table(add("campaign_versions", text_null("exit_types"))).await?;
    manager.alter_table(add("contacts", text("queue").default("2/").to_owned())).await?;
    manager.alter_table(add("attempts", text_null("reply_code"))).await
}

async fn create_leases(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    manager
        .create_table(
            Table::create()
                .table("replicas")
                .col(uuid("claim_token").primary_key())
                .col(text("name"))
                .col(timestamp_with_time_zone("lease_end"))
                .to_owned(),
        )
        .await?;
    manager
        .create_table(
            Table::create().table("rates").col(text("name").primary_key()).col(big_integer("next_micros")).to_owned(),
        )
        .await
}
