//! What came back for messages: one row for each thing that is known, and the sum of them on the contact.

use sea_orm_migration::{
    prelude::*,
    schema::{blob_null, boolean, text, text_null, timestamp_with_time_zone, uuid, uuid_null},
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
                    .table("delivery_events")
                    .col(uuid("delivery_event_id").primary_key())
                    .col(text("source"))
                    .col(text("source_event_id"))
                    .col(uuid_null("contact_id"))
                    .col(uuid("customer_id"))
                    .col(text_null("campaign_id"))
                    .col(blob_null("address_key"))
                    .col(text("kind"))
                    .col(text_null("weight"))
                    .col(text("status_code"))
                    .col(text("detail"))
                    .col(text("url"))
                    .col(boolean("automated"))
                    .col(timestamp_with_time_zone("occur_time"))
                    .col(timestamp_with_time_zone("record_time"))
                    .foreign_key(
                        ForeignKey::create().from("delivery_events", "contact_id").to("contacts", "contact_id"),
                    )
                    .foreign_key(
                        ForeignKey::create().from("delivery_events", "customer_id").to("customers", "customer_id"),
                    )
                    .to_owned(),
            )
            .await?;
        let index = |name: &str| Index::create().name(name).table("delivery_events").to_owned();
        let once = index("delivery_events_source").col("source").col("source_event_id").unique().to_owned();
        manager.create_index(once).await?;
        let of_customer = index("delivery_events_customer").col("customer_id").col("delivery_event_id").to_owned();
        manager.create_index(of_customer).await?;
        let of_contact = index("delivery_events_contact").col("contact_id").col("delivery_event_id").to_owned();
        manager.create_index(of_contact).await?;
        let of_address = index("delivery_events_address").col("address_key").col("occur_time").to_owned();
        manager.create_index(of_address).await?;
        manager.alter_table(Table::alter().table("contacts").add_column(text_null("delivery")).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table("contacts").drop_column("delivery").to_owned()).await?;
        manager.drop_table(Table::drop().table("delivery_events").to_owned()).await
    }
}
