//! Campaigns that dates and audiences start.

use sea_orm_migration::{
    prelude::*,
    schema::{text, timestamp_with_time_zone, timestamp_with_time_zone_null, uuid},
};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let scan_time = timestamp_with_time_zone_null("scan_time");
        manager.alter_table(Table::alter().table("campaigns").add_column(scan_time).to_owned()).await?;
        manager
            .create_table(
                Table::create()
                    .table("audience_members")
                    .col(text("campaign_id"))
                    .col(uuid("customer_id"))
                    .col(timestamp_with_time_zone("since_time"))
                    .primary_key(Index::create().col("campaign_id").col("customer_id"))
                    .foreign_key(
                        ForeignKey::create().from("audience_members", "campaign_id").to("campaigns", "campaign_id"),
                    )
                    .foreign_key(
                        ForeignKey::create().from("audience_members", "customer_id").to("customers", "customer_id"),
                    )
                    .to_owned(),
            )
            .await?;
        let of_customer =
            Index::create().name("audience_members_customer").table("audience_members").col("customer_id").to_owned();
        manager.create_index(of_customer).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table("audience_members").to_owned()).await?;
        manager.alter_table(Table::alter().table("campaigns").drop_column("scan_time").to_owned()).await
    }
}
