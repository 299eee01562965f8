use sea_orm::entity::prelude::*;

pub mod topic {
    use super::*;
    use crate::{contacts::Purpose, ids::TopicId, preferences::OptIn};

    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "topics")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
        pub topic_id: TopicId,
        #[sea_orm(column_type = "JsonBinary")]
        pub names: Json,
        #[sea_orm(column_type = "Text")]
        pub purpose: Purpose,
        #[sea_orm(column_type = "Text")]
        pub opt_in: OptIn,
        #[sea_orm(column_type = "JsonBinary")]
        pub channels: Json,
        pub create_time: DateTimeUtc,
        pub revision: i32,
        pub essential: bool,
        #[sea_orm(column_type = "JsonBinary")]
        pub descriptions: Json,
        pub archive_time: Option<DateTimeUtc>,
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
        migrated.check(topic::Entity).await;
        migrated.end().await;
    }
}
