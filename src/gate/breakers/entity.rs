use sea_orm::entity::prelude::*;

use crate::ids::{PauseId, SenderId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "breakers")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false, column_type = "Text")]
    pub sender_id: SenderId,
    pub pause_id: Option<PauseId>,
    pub pause_end: Option<DateTimeUtc>,
    pub watch_from: Option<DateTimeUtc>,
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
