use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, ExprTrait},
};

use super::{
    super::{Event, entity::event, store::domain},
    Occurred, OfTypes, Position,
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

/// The next of such events, customer by customer in the order of ids.
pub async fn occurred(
    db: &impl ConnectionTrait,
    which: &Occurred,
    after: Option<Position>,
    most: u64,
) -> Result<Vec<Event>, StoreError> {
    let order = if which.latest_first { Order::Desc } else { Order::Asc };
    let query = event::Entity::find()
        .filter(after_position(which, after))
        .order_by_asc(event::Column::CustomerId)
        .order_by(event::Column::OccurTime, order.clone())
        .order_by(event::Column::EventId, order)
        .limit(most);
    query.all(db).await?.into_iter().map(domain).collect()
}

/// How many such events come after a position.
pub async fn count_occurred(
    db: &impl ConnectionTrait,
    which: &Occurred,
    after: Option<Position>,
) -> Result<i64, StoreError> {
    let count = event::Entity::find().filter(after_position(which, after)).count(db).await?;
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

fn after_position(which: &Occurred, after: Option<Position>) -> Condition {
    let of_range = Condition::all()
        .add(event::Column::EventType.eq(which.event_type.as_str()))
        .add(event::Column::OccurTime.gte(which.start))
        .add(event::Column::OccurTime.lt(which.end));
    let Some(after) = after else { return of_range };
    let (customer, time, id) = (event::Column::CustomerId, event::Column::OccurTime, event::Column::EventId);
    let (later, behind) = match which.latest_first {
        true => (time.lt(after.occur_time), id.lt(after.event_id)),
        false => (time.gt(after.occur_time), id.gt(after.event_id)),
    };
    let same_moment = Condition::all().add(time.eq(after.occur_time)).add(behind);
    let same_customer =
        Condition::all().add(customer.eq(after.customer_id)).add(Condition::any().add(later).add(same_moment));
    // Said once more by itself, so that an index is used from there on.
    of_range
        .add(customer.gte(after.customer_id))
        .add(Condition::any().add(customer.gt(after.customer_id)).add(same_customer))
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
