use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};

use super::{
    super::{Event, entity::event, store::domain},
    OfTypes,
};
use crate::{
    clock::Timestamp,
    database::{self, StoreError, WriteTx},
    ids::CustomerId,
};

/// How many customers of each bucket such events are of.
pub async fn count_by_bucket(db: &impl ConnectionTrait, which: &OfTypes) -> Result<Vec<(i16, i64)>, StoreError> {
    let query = event::Entity::find()
        .select_only()
        .column(event::Column::Bucket)
        .column_as(Expr::col(event::Column::CustomerId).count_distinct(), "customers")
        .filter(condition(which))
        .group_by(event::Column::Bucket)
        .order_by_asc(event::Column::Bucket);
    Ok(query.into_tuple().all(db).await?)
}

/// The customers in the buckets below `bucket` whom such events are of, bucket by bucket.
pub async fn customers_below(
    db: &impl ConnectionTrait,
    which: &OfTypes,
    bucket: i16,
) -> Result<Vec<CustomerId>, StoreError> {
    let query = event::Entity::find()
        .select_only()
        .column(event::Column::CustomerId)
        .filter(condition(which))
        .filter(event::Column::Bucket.lt(bucket))
        .group_by(event::Column::Bucket)
        .group_by(event::Column::CustomerId)
        .order_by_asc(event::Column::Bucket)
        .order_by_asc(event::Column::CustomerId);
    Ok(query.into_tuple().all(db).await?)
}

/// Everything that was recorded of these customers in a stretch of time, `most` events at most.
pub async fn recorded_between(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    (start, end): (Timestamp, Timestamp),
    most: u64,
) -> Result<Vec<Event>, StoreError> {
    let query = event::Entity::find()
        .filter(event::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(event::Column::RecordTime.gte(start))
        .filter(event::Column::RecordTime.lt(end))
        .limit(most);
    query.all(db).await?.into_iter().map(domain).collect()
}

/// Copies into another database what of these types (none = of any) had been recorded of customers before a moment and occurred after another.
pub async fn copy(
    from: &impl ConnectionTrait,
    to: &WriteTx,
    customers: &[CustomerId],
    types: Option<&[String]>,
    (occurred_after, recorded_before): (Timestamp, Timestamp),
) -> Result<(), StoreError> {
    let rows = event::Entity::find()
        .filter(event::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(of_types(types))
        .filter(event::Column::OccurTime.gt(occurred_after))
        .filter(event::Column::RecordTime.lt(recorded_before));
    database::copy(from, rows, to, |row| row).await
}

fn of_types(types: Option<&[String]>) -> Condition {
    let named = |types: &[String]| event::Column::EventType.is_in(types.iter().map(String::as_str));
    Condition::all().add_option(types.map(named))
}

fn condition(which: &OfTypes) -> Condition {
    Condition::all()
        .add(event::Column::EventType.is_in(which.types.iter().map(String::as_str)))
        .add(event::Column::RecordTime.gte(which.start))
        .add(event::Column::RecordTime.lt(which.end))
}
