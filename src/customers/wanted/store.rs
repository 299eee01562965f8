use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    sea_query::{Expr, ExprTrait},
};

use super::super::entity::customer;
use crate::{database::StoreError, filter::Wanted, ids::CustomerId};

/// How many they are.
pub async fn count_wanted(db: &impl ConnectionTrait, wanted: &Wanted) -> Result<i64, StoreError> {
    let count = living(db, wanted).select_only().column_as(Expr::col(customer::Column::CustomerId).count(), "wanted");
    Ok(count.into_tuple().one(db).await?.unwrap_or(0))
}

/// Some of them in the order of their ids, from one id on.
pub async fn wanted_from(
    db: &impl ConnectionTrait,
    wanted: &Wanted,
    from: CustomerId,
    most: u64,
) -> Result<Vec<CustomerId>, StoreError> {
    let some = living(db, wanted).filter(customer::Column::CustomerId.gte(from));
    let some = some.order_by_asc(customer::Column::CustomerId).limit(most);
    Ok(some.select_only().column(customer::Column::CustomerId).into_tuple().all(db).await?)
}

/// The first and the last id; none where there is nobody.
pub async fn oldest_and_youngest(db: &impl ConnectionTrait) -> Result<Option<(CustomerId, CustomerId)>, StoreError> {
    let ids = || customer::Entity::find().select_only().column(customer::Column::CustomerId);
    let oldest = ids().order_by_asc(customer::Column::CustomerId).limit(1).into_tuple().one(db).await?;
    let youngest = ids().order_by_desc(customer::Column::CustomerId).limit(1).into_tuple().one(db).await?;
    Ok(oldest.zip(youngest))
}

fn living(db: &impl ConnectionTrait, wanted: &Wanted) -> Select<customer::Entity> {
    customer::Entity::find().filter(customer::Column::DeleteTime.is_null()).filter(wanted.condition(db))
}
