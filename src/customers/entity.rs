use sea_orm::entity::prelude::*;

pub mod customer {
    use super::*;
    use crate::ids::CustomerId;

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "customers")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub customer_id: CustomerId,
        #[sea_orm(column_type = "Text")]
        pub display_name: String,
        #[sea_orm(column_type = "Text")]
        pub given_name: String,
        #[sea_orm(column_type = "Text")]
        pub family_name: String,
        #[sea_orm(column_type = "Text", nullable)]
        pub time_zone: Option<String>,
        #[sea_orm(column_type = "Text", nullable)]
        pub locale: Option<String>,
        #[sea_orm(column_type = "JsonBinary")]
        pub attributes: Json,
        #[sea_orm(column_type = "JsonBinary")]
        pub tags: Json,
        pub create_time: DateTimeUtc,
        pub update_time: DateTimeUtc,
        pub delete_time: Option<DateTimeUtc>,
        pub revision: i32,
        pub erase_time: Option<DateTimeUtc>,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod external_id {
    use super::*;
    use crate::ids::CustomerId;

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "external_ids")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub external_id: String,
        pub customer_id: CustomerId,
        pub position: i32,
    }

    #[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
    pub enum Relation {}

    impl ActiveModelBehavior for ActiveModel {}
}

pub mod address {
    use super::*;
    use crate::{
        delivery::Channel,
        ids::{AddressId, CustomerId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "addresses")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub address_id: AddressId,
        pub customer_id: CustomerId,
        #[sea_orm(column_type = "Text")]
        pub channel: Channel,
        #[sea_orm(column_type = "Text")]
        pub value: String,
        /// What makes the address unique among living customers; empty for those of a deleted one.
        #[sea_orm(column_type = "Text", nullable, unique)]
        pub living_key: Option<String>,
        pub is_primary: bool,
        pub create_time: DateTimeUtc,
        pub verify_time: Option<DateTimeUtc>,
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
        migrated.check(customer::Entity).await;
        migrated.check(external_id::Entity).await;
        migrated.check(address::Entity).await;
        migrated.end().await;
    }
}
