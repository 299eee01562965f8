use std::collections::HashSet;

use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, Order, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select,
    sea_query::{Expr, ExprTrait, Query, SimpleExpr},
};
use serde_json::json;

use super::{
    super::{Event, entity::event, store::domain},
    Memory, Occurred, OfTypes, Position, Remembered,
};
use crate::{
    clock::Timestamp,
    database::{self, StoreError, WriteTx},
    ids::CustomerId,
};

/// Of which of these customers such events are.
pub async fn customers_among(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    which: &OfTypes,
) -> Result<HashSet<CustomerId>, StoreError> {
    let query = event::Entity::find()
        .select_only()
        .column(event::Column::CustomerId)
        .distinct()
        .filter(event::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(condition(which));
    let ids: Vec<CustomerId> = query.into_tuple().all(db).await?;
    Ok(ids.into_iter().collect())
}

/// What was recorded of these customers in a stretch of time, `most` events at most.
pub async fn recorded_between(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    which: &OfTypes,
    most: u64,
) -> Result<Vec<Event>, StoreError> {
    if which.types.is_empty() {
        return Ok(Vec::new());
    }
    let query = event::Entity::find()
        .filter(event::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(condition(which))
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

/// How many events of these customers are remembered.
pub async fn count_remembered(
    db: &impl ConnectionTrait,
    customers: &[CustomerId],
    which: &Memory,
) -> Result<u64, StoreError> {
    if which.of.is_empty() {
        return Ok(0);
    }
    Ok(remembered(customers, which).count(db).await?)
}

/// Copies into another database what is remembered of customers.
pub async fn copy(
    from: &impl ConnectionTrait,
    to: &WriteTx,
    customers: &[CustomerId],
    which: &Memory,
) -> Result<(), StoreError> {
    if which.of.is_empty() {
        return Ok(());
    }
    let shorten = |row: event::Model| {
        if which.read.contains(&row.event_type) {
            return row;
        }
        event::Model { items: json!([]), properties: json!({}), ..row }
    };
    database::copy(from, remembered(customers, which), to, shorten).await
}

fn remembered(customers: &[CustomerId], which: &Memory) -> Select<event::Entity> {
    let any = which.of.iter().fold(Condition::any(), |any, one| {
        let recent = event::Column::OccurTime.gt(one.after);
        let mut these = Condition::any().add(recent);
        if one.and_last {
            these = these.add(Expr::col((event::Entity, event::Column::OccurTime)).eq(last(one, which.now)));
        }
        any.add(Condition::all().add(event::Column::EventType.eq(one.event_type.as_str())).add(these))
    });
    event::Entity::find()
        .filter(event::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(event::Column::RecordTime.lt(which.now))
        .filter(any)
}

/// When an event of a type occurred last up to a moment, as far as that was recorded by now.
fn last(of: &Remembered, now: Timestamp) -> SimpleExpr {
    let earlier = |column: event::Column| Expr::col(("earlier", column));
    let query = Query::select()
        .expr(earlier(event::Column::OccurTime).max())
        .from_as(event::Entity, "earlier")
        .and_where(earlier(event::Column::CustomerId).equals((event::Entity, event::Column::CustomerId)))
        .and_where(earlier(event::Column::EventType).eq(of.event_type.as_str()))
        .and_where(earlier(event::Column::OccurTime).lte(of.after))
        .and_where(earlier(event::Column::RecordTime).lt(now))
        .to_owned();
    query.into()
}

fn condition(which: &OfTypes) -> Condition {
    Condition::all()
        .add(event::Column::EventType.is_in(which.types.iter().map(String::as_str)))
        .add(event::Column::RecordTime.gte(which.start))
        .add(event::Column::RecordTime.lt(which.end))
}
