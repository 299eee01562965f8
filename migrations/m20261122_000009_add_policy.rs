//! What holds for everybody: the sending policy, frequency caps, and pauses of the dispatch.

use sea_orm_migration::{
    prelude::*,
    schema::{
        integer, json_binary_null, text, text_null, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid,
    },
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
                    .table("sending_policy")
                    .col(integer("policy_id").primary_key())
                    .col(json_binary_null("quiet_hours"))
                    .col(json_binary_null("caps"))
                    .col(text("time_zone"))
                    .col(text("default_locale"))
                    .col(integer("revision"))
                    .to_owned(),
            )
            .await?;
        // The only row: it is there from the start, so that whoever changes it finds something to lock.
        manager
            .get_connection()
            .execute_unprepared(
                "INSERT INTO sending_policy (policy_id, time_zone, default_locale, revision) VALUES (1, 'UTC', 'en', 0)",
            )
            .await?;
        manager
            .alter_table(Table::alter().table("preferences").add_column(json_binary_null("caps")).to_owned())
            .await?;
        manager
            .create_table(
                Table::create()
                    .table("pauses")
                    .col(uuid("pause_id").primary_key())
                    .col(text_null("channel"))
                    .col(text("reason"))
                    .col(text("actor"))
                    .col(timestamp_with_time_zone("create_time"))
                    .col(timestamp_with_time_zone_null("expire_time"))
                    .to_owned(),
            )
            .await?;
        // What a pause has put off is found at once when the pause ends; there is hardly ever any.
        manager
            .get_connection()
            .execute_unprepared(
                "CREATE INDEX contacts_paused ON contacts (contact_id)
                WHERE state = 'scheduled' AND block_reason = 'dispatch_paused'",
            )
            .await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("contacts_paused").table("contacts").to_owned()).await?;
        manager.drop_table(Table::drop().table("pauses").to_owned()).await?;
        manager.alter_table(Table::alter().table("preferences").drop_column("caps").to_owned()).await?;
        manager.drop_table(Table::drop().table("sending_policy").to_owned()).await
    }
}
