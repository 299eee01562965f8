use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "requests")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub caller: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub method: String,
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub request_id: String,
    #[sea_orm(column_type = "Blob")]
    pub body_digest: Vec<u8>,
    #[sea_orm(column_type = "Text")]
    pub resource: String,
    #[sea_orm(column_type = "JsonBinary")]
    pub counts: Json,
    pub create_time: DateTimeUtc,
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
