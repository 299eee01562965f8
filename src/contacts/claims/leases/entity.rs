use sea_orm::entity::prelude::*;

use crate::ids::ClaimToken;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "replicas")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub claim_token: ClaimToken,
    #[sea_orm(column_type = "Text")]
    pub name: String,
    pub lease_end: DateTimeUtc,
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
