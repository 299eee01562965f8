use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "rates")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub name: String,
    /// The first moment that nobody has taken, in microseconds since 1970.
    pub next_micros: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::migrated;

    #[tokio::test]
    async fn the_entity_says_what_the_migrations_made() {
        let migrated = migrated().await;
        migrated.check(Entity).await;
        migrated.end().await;
    }
}
