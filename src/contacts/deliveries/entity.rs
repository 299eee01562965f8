use sea_orm::entity::prelude::*;

use crate::{
    contacts::deliveries::DeliveryKind,
    delivery::Weight,
    ids::{CampaignId, ContactId, CustomerId, DeliveryEventId},
};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "delivery_events")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub delivery_event_id: DeliveryEventId,
    #[sea_orm(column_type = "Text")]
    pub source: String,
    #[sea_orm(column_type = "Text")]
    pub source_event_id: String,
    pub contact_id: Option<ContactId>,
    pub customer_id: CustomerId,
    #[sea_orm(column_type = "Text", nullable)]
    pub campaign_id: Option<CampaignId>,
    #[sea_orm(column_type = "Blob", nullable)]
    pub address_key: Option<Vec<u8>>,
    #[sea_orm(column_type = "Text")]
    pub kind: DeliveryKind,
    #[sea_orm(column_type = "Text", nullable)]
    pub weight: Option<Weight>,
    #[sea_orm(column_type = "Text")]
    pub status_code: String,
    #[sea_orm(column_type = "Text")]
    pub detail: String,
    #[sea_orm(column_type = "Text")]
    pub url: String,
    pub automated: bool,
    pub occur_time: DateTimeUtc,
    pub record_time: DateTimeUtc,
    /// Set until campaigns that listen are told.
    pub untold: Option<bool>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database;

    #[tokio::test]
    async fn entities_say_what_the_migrations_made() {
        let migrated = database::migrated().await;
        migrated.check(Entity).await;
        migrated.end().await;
    }
}
