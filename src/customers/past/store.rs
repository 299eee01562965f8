use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::ExprTrait};

use super::super::entity::{address, customer, external_id};
use crate::{
    clock::Timestamp,
    database::{self, StoreError, WriteTx},
    ids::CustomerId,
};

/// Which of these customers were there at a moment and are not erased by now, each with when they were deleted since.
pub async fn living_at(
    db: &impl ConnectionTrait,
    ids: &[CustomerId],
    moment: Timestamp,
) -> Result<Vec<(CustomerId, Option<Timestamp>)>, StoreError> {
    let query = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .column(customer::Column::DeleteTime)
        .filter(customer::Column::CustomerId.is_in(ids.iter().copied()))
        .filter(customer::Column::EraseTime.is_null())
        .filter(customer::Column::DeleteTime.is_null().or(customer::Column::DeleteTime.gte(moment)));
    Ok(query.into_tuple().all(db).await?)
}

/// Copies customers into another database, where nobody is deleted yet.
pub async fn copy(from: &impl ConnectionTrait, to: &WriteTx, ids: &[CustomerId]) -> Result<(), StoreError> {
    let own = customer::Entity::find().filter(customer::Column::CustomerId.is_in(ids.iter().copied()));
    database::copy(from, own, to, |row| customer::Model { delete_time: None, ..row }).await?;
    let own = address::Entity::find().filter(address::Column::CustomerId.is_in(ids.iter().copied()));
    database::copy(from, own, to, |row| row).await?;
    let own = external_id::Entity::find().filter(external_id::Column::CustomerId.is_in(ids.iter().copied()));
    database::copy(from, own, to, |row| row).await
}
