//! Experiments: variants of messages, goals, and customers who are held out.

use sea_orm_migration::{
    prelude::*,
    schema::{integer, integer_null, text_null, timestamp_with_time_zone_null},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = |table: &'static str, column: ColumnDef| {
            manager.alter_table(Table::alter().table(table).add_column(column).to_owned())
        };
        add("contacts", text_null("variant_id").take()).await?;
        add("contacts", timestamp_with_time_zone_null("convert_time").take()).await?;
        add("campaigns", text_null("goal_type").take()).await?;
        add("campaigns", integer_null("holdout_percent").take()).await?;
        add("sending_policy", integer("holdout_percent").default(0).take()).await?;
        manager
            .get_connection()
            .execute_unprepared("CREATE INDEX campaigns_goal_type ON campaigns (goal_type) WHERE goal_type IS NOT NULL")
            .await
            .map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_index(Index::drop().name("campaigns_goal_type").table("campaigns").to_owned()).await?;
        for (table, column) in [
            ("sending_policy", "holdout_percent"),
            ("campaigns", "holdout_percent"),
            ("campaigns", "goal_type"),
            ("contacts", "convert_time"),
            ("contacts", "variant_id"),
        ] {
            manager.alter_table(Table::alter().table(table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }
}
