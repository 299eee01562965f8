use sea_orm::entity::prelude::*;

pub mod pause {
    use super::*;
    use crate::{
        delivery::Channel,
        ids::{PauseId, SenderId},
    };

    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "pauses")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub pause_id: PauseId,
        #[sea_orm(column_type = "Text", nullable)]
        pub channel: Option<Channel>,
        #[sea_orm(column_type = "Text")]
        pub reason: String,
        #[sea_orm(column_type = "Text")]
        pub actor: String,
        pub create_time: DateTimeUtc,
        pub expire_time: Option<DateTimeUtc>,
        #[sea_orm(column_type = "Text", nullable)]
        pub sender_id: Option<SenderId>,
        #[sea_orm(column_type = "JsonBinary", nullable)]
        pub purposes: Option<Json>,
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
        migrated.check(pause::Entity).await;
        migrated.end().await;
    }
}
