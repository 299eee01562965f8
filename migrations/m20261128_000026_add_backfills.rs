//! Backfills: runs of campaigns that an event starts, how far each has come, and who entered by which.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, boolean, integer, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

const BY_RUN: &str = "CREATE INDEX enrollments_run ON enrollments (run_id, enrollment_id) WHERE run_id IS NOT NULL";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let is_backfill = boolean("is_backfill").default(false).take();
        manager.alter_table(Table::alter().table("campaign_runs").add_column(is_backfill).to_owned()).await?;
        for column in [uuid_null("run_id"), timestamp_with_time_zone_null("anchor_time")] {
            manager.alter_table(Table::alter().table("enrollments").add_column(column).to_owned()).await?;
        }
        manager.get_connection().execute_unprepared(BY_RUN).await?;
        manager.create_table(backfills()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("backfills").to_owned()).await?;
        manager.get_connection().execute_unprepared("DROP INDEX enrollments_run").await?;
        for column in ["anchor_time", "run_id"] {
            manager.alter_table(Table::alter().table("enrollments").drop_column(column).to_owned()).await?;
        }
        manager.alter_table(Table::alter().table("campaign_runs").drop_column("is_backfill").to_owned()).await
    }
}

fn backfills() -> TableCreateStatement {
    Table::create()
        .table("backfills")
        .col(uuid("run_id").primary_key())
        .col(timestamp_with_time_zone("range_start"))
        .col(timestamp_with_time_zone("range_end"))
        .col(integer("max_per_minute"))
        .col(uuid_null("customer_id"))
        .col(timestamp_with_time_zone_null("occur_time"))
        .col(uuid_null("event_id"))
        .col(timestamp_with_time_zone("due_time"))
        .col(integer("room"))
        .col(big_integer("entered"))
        .col(big_integer("exited"))
        .col(big_integer("ignored"))
        .col(big_integer("unreached"))
        .foreign_key(ForeignKey::create().from("backfills", "run_id").to("campaign_runs", "run_id"))
        .to_owned()
}
