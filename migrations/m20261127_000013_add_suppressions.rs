//! Addresses that are not written to, and topics that go out even after a complaint.

use sea_orm_migration::{
    prelude::*,
    schema::{blob, boolean, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .create_table(
                Table::create()
                    .table("suppressions")
                    .col(uuid("suppression_id").primary_key())
                    .col(text("channel"))
                    .col(blob("address_key"))
                    .col(text("masked_address"))
                    .col(text("cause"))
                    .col(text("note"))
                    .col(text("actor"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone("report_time"))
                    .col(timestamp_with_time_zone_null("expire_time"))
                    .col(timestamp_with_time_zone_null("lift_time"))
                    .col(text_null("lift_actor"))
                    .col(text_null("lift_reason"))
                    .to_owned(),
            )
            .await?;
        // One for each address and cause, and the way to it.
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE UNIQUE INDEX suppressions_standing ON suppressions (address_key, cause) WHERE lift_time IS NULL",
            )
            .await?;
        manager
            .alter_table(Table::alter().table("topics").add_column(boolean("essential").default(false)).to_owned())
            .await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("topics").drop_column("essential").to_owned()).await?;
        manager.drop_table(Table::drop().table("suppressions").to_owned()).await
    }
}
