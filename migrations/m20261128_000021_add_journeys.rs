//! Enrollments wait at steps without a contact; some begin without an event.

use sea_orm_migration::{
    prelude::*,
    schema::{text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid, uuid_null},
    sea_orm::DbBackend,
};

#[derive(DeriveMigrationName)]
pub struct Migration;

/// SQLite cannot change a column, and a table that others refer to cannot be built anew in a transaction. Whether a column may be
/// empty stands in the words of the schema alone: those are changed, as SQLite's own manual describes it.
const MAY_BE_EMPTY: &str = r#"UPDATE sqlite_schema SET sql = replace(sql, '"event_id" uuid_text NOT NULL', '"event_id" uuid_text')
    WHERE type = 'table' AND name = 'enrollments'"#;
const MUST_BE_THERE: &str = r#"UPDATE sqlite_schema SET sql = replace(sql, '"event_id" uuid_text', '"event_id" uuid_text NOT NULL')
    WHERE type = 'table' AND name = 'enrollments'"#;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        match manager.get_database_backend() {
            DbBackend::Postgres => {
                run(manager, &["ALTER TABLE enrollments ALTER COLUMN event_id DROP NOT NULL"]).await?
            }
            _ => reword(manager, MAY_BE_EMPTY).await?,
        }
        let add =
            |column: ColumnDef| manager.alter_table(Table::alter().table("enrollments").add_column(column).to_owned());
        add(text_null("waits").take()).await?;
        add(text_null("next_local_time").take()).await?;
        add(timestamp_with_time_zone_null("previous_time").take()).await?;
        let waiting =
            "CREATE INDEX enrollments_waiting ON enrollments (next_time, enrollment_id) WHERE waits IS NOT NULL";
        run(manager, &[waiting]).await?;
        manager
            .create_table(
                Table::create()
                    .table("passed_steps")
                    .col(uuid("enrollment_id"))
                    .col(text("step_id"))
                    .col(text("outcome"))
                    .col(uuid_null("event_id"))
                    .col(timestamp_with_time_zone("end_time"))
                    .primary_key(Index::create().col("enrollment_id").col("step_id"))
                    .foreign_key(
                        ForeignKey::create().from("passed_steps", "enrollment_id").to("enrollments", "enrollment_id"),
                    )
                    .to_owned(),
            )
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("passed_steps").to_owned()).await?;
        manager.drop_index(Index::drop().name("enrollments_waiting").table("enrollments").to_owned()).await?;
        for column in ["previous_time", "next_local_time", "waits"] {
            manager.alter_table(Table::alter().table("enrollments").drop_column(column).to_owned()).await?;
        }
        match manager.get_database_backend() {
            DbBackend::Postgres => run(manager, &["ALTER TABLE enrollments ALTER COLUMN event_id SET NOT NULL"]).await,
            _ => reword(manager, MUST_BE_THERE).await,
        }
    }
}

async fn reword(manager: &SchemaManager<'_>, statement: &str) -> Result<(), DbErr> {
    run(manager, &["PRAGMA writable_schema = ON", statement, "PRAGMA writable_schema = RESET"]).await
}

async fn run(manager: &SchemaManager<'_>, statements: &[&str]) -> Result<(), DbErr> {
    for statement in statements {
        manager.get_connection().execute_unprepared(statement).await?;
    }
    Ok(())
}
