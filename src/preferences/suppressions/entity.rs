use sea_orm::entity::prelude::*;

pub mod suppression {
    use super::*;
    use crate::{delivery::Channel, ids::SuppressionId, preferences::Cause};

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "suppressions")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub suppression_id: SuppressionId,
        #[sea_orm(column_type = "Text")]
        pub channel: Channel,
        #[sea_orm(column_type = "Blob")]
        pub address_key: Vec<u8>,
        #[sea_orm(column_type = "Text")]
        pub masked_address: String,
        #[sea_orm(column_type = "Text")]
        pub cause: Cause,
        #[sea_orm(column_type = "Text")]
        pub note: String,
        #[sea_orm(column_type = "Text")]
        pub actor: String,
        pub create_time: DateTimeUtc,
        pub report_time: DateTimeUtc,
        pub expire_time: Option<DateTimeUtc>,
        pub lift_time: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub lift_actor: Option<String>,
        #[sea_orm(column_type = "Text", nullable)]
        pub lift_reason: Option<String>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database;

    #[tokio::test]
    async fn entities_say_what_the_migrations_made() {
        let migrated = database::migrated().await;
        migrated.check(suppression::Entity).await;
        migrated.end().await;
    }
}
