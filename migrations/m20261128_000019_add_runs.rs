//! Newsletters: their runs, how far each has come, and whom it left out.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, boolean, integer, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
        uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub struct Migration;

const INDEXES: [&str; 5] = [
    "CREATE INDEX campaign_runs_open ON campaign_runs (run_id) WHERE end_time IS NULL",
    "CREATE INDEX run_cursors_open ON run_cursors (due_time) WHERE done_time IS NULL",
    // Each customer once in a run, whatever is repeated.
    "CREATE UNIQUE INDEX contacts_run ON contacts (run_id, customer_id) WHERE run_id IS NOT NULL",
    "CREATE INDEX customers_zone ON customers (time_zone, customer_id) WHERE delete_time IS NULL",
    "CREATE INDEX campaigns_fire_time ON campaigns (fire_time) WHERE fire_time IS NOT NULL",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(runs()).await?;
        manager.create_table(cursors()).await?;
        manager.create_table(exclusions()).await?;
        manager.create_table(movers()).await?;
        let mut once = Index::create();
        once.name("campaign_runs_firing").table("campaign_runs").unique().col("campaign_id").col("firing");
        manager.create_index(once.take()).await?;
        for column in ["fire_time", "active_from", "active_until"] {
            let column = timestamp_with_time_zone_null(column);
            manager.alter_table(Table::alter().table("campaigns").add_column(column).to_owned()).await?;
        }
        manager.alter_table(Table::alter().table("contacts").add_column(uuid_null("run_id")).to_owned()).await?;
        for index in INDEXES {
            manager.get_connection().execute_unprepared(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for index in ["campaigns_fire_time", "customers_zone", "contacts_run"] {
            manager.get_connection().execute_unprepared(&format!("DROP INDEX {index}")).await?;
        }
        manager.alter_table(Table::alter().table("contacts").drop_column("run_id").to_owned()).await?;
        for column in ["active_until", "active_from", "fire_time"] {
            manager.alter_table(Table::alter().table("campaigns").drop_column(column).to_owned()).await?;
        }
        for table in ["run_movers", "run_exclusions", "run_cursors", "campaign_runs"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn runs() -> TableCreateStatement {
    Table::create()
        .table("campaign_runs")
        .col(uuid("run_id").primary_key())
        .col(text("campaign_id"))
        .col(integer("campaign_version"))
        .col(text("firing"))
        .col(timestamp_with_time_zone("nominal_time"))
        .col(text_null("local_time"))
        .col(boolean("manual"))
        .col(text("purpose"))
        .col(text("state"))
        .col(text("note"))
        .col(timestamp_with_time_zone_null("start_time"))
        .col(timestamp_with_time_zone_null("end_time"))
        .foreign_key(ForeignKey::create().from("campaign_runs", "campaign_id").to("campaigns", "campaign_id"))
        .to_owned()
}

fn cursors() -> TableCreateStatement {
    Table::create()
        .table("run_cursors")
        .col(uuid("run_id"))
        .col(text("zone"))
        .col(timestamp_with_time_zone("due_time"))
        .col(timestamp_with_time_zone("expire_time"))
        .col(uuid_null("position"))
        .col(timestamp_with_time_zone_null("done_time"))
        .col(integer("version"))
        .primary_key(Index::create().col("run_id").col("zone"))
        .foreign_key(ForeignKey::create().from("run_cursors", "run_id").to("campaign_runs", "run_id"))
        .to_owned()
}

fn exclusions() -> TableCreateStatement {
    Table::create()
        .table("run_exclusions")
        .col(uuid("run_id"))
        .col(text("reason"))
        .col(text("effect"))
        .col(big_integer("customers"))
        .primary_key(Index::create().col("run_id").col("reason").col("effect"))
        .foreign_key(ForeignKey::create().from("run_exclusions", "run_id").to("campaign_runs", "run_id"))
        .to_owned()
}

fn movers() -> TableCreateStatement {
    Table::create()
        .table("run_movers")
        .col(uuid("run_id"))
        .col(uuid("customer_id"))
        .col(boolean("is_reached"))
        .primary_key(Index::create().col("run_id").col("customer_id"))
        .foreign_key(ForeignKey::create().from("run_movers", "run_id").to("campaign_runs", "run_id"))
        .to_owned()
}
