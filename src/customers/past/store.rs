use std::collections::HashSet;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};

use super::{
    super::entity::{address, customer, external_id},
    Stay,
};
use crate::{
    clock::Timestamp,
    database::{self, StoreError, WriteTx},
    ids::CustomerId,
};

/// The next of all customers who were there in a stretch of time, and are not erased by now, in the order of their ids.
pub async fn there(
    db: &impl ConnectionTrait,
    (start, end): (Timestamp, Timestamp),
    after: Option<CustomerId>,
    most: u64,
) -> Result<Vec<Stay>, StoreError> {
    let query = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .column(customer::Column::CreateTime)
        .column(customer::Column::DeleteTime)
        .filter(customer::Column::CreateTime.lt(end))
        .filter(customer::Column::EraseTime.is_null())
        .filter(customer::Column::DeleteTime.is_null().or(customer::Column::DeleteTime.gte(start)))
        .filter(Condition::all().add_option(after.map(|after| customer::Column::CustomerId.gt(after))))
        .order_by_asc(customer::Column::CustomerId)
        .limit(most);
    let rows: Vec<(CustomerId, Timestamp, Option<Timestamp>)> = query.into_tuple().all(db).await?;
    let stay = |(customer_id, create_time, delete_time)| Stay { customer_id, create_time, delete_time };
    Ok(rows.into_iter().map(stay).collect())
}

/// Copies customers into another database, where nobody is deleted yet; those who are still to [come] are not there.
pub async fn copy(
    from: &impl ConnectionTrait,
    to: &WriteTx,
    ids: &[CustomerId],
    to_come: &HashSet<CustomerId>,
) -> Result<(), StoreError> {
    let own = customer::Entity::find().filter(customer::Column::CustomerId.is_in(ids.iter().copied()));
    let as_then = |row: customer::Model| {
        let delete_time = to_come.contains(&row.customer_id).then_some(row.create_time);
        customer::Model { delete_time, ..row }
    };
    database::copy(from, own, to, as_then).await?;
    let own = address::Entity::find().filter(address::Column::CustomerId.is_in(ids.iter().copied()));
    database::copy(from, own, to, |row| row).await?;
    let own = external_id::Entity::find().filter(external_id::Column::CustomerId.is_in(ids.iter().copied()));
    database::copy(from, own, to, |row| row).await
}

/// Has a customer be there from now on who was copied before they came.
pub async fn come(tx: &WriteTx, id: CustomerId) -> Result<(), StoreError> {
    customer::Entity::update_many()
        .col_expr(customer::Column::DeleteTime, Expr::val(None::<Timestamp>))
        .filter(customer::Column::CustomerId.eq(id))
        .exec(tx)
        .await?;
    Ok(())
}
