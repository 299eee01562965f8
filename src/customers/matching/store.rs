use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
    sea_query::{Expr, Query, SelectStatement},
};
use serde_json::{Map, Value};

use super::super::{entity::customer, store::corrupt};
use crate::{calendar::Zone, clock::Timestamp, database::StoreError, filter::Filter, ids::CustomerId};

/// A query over the living customers whom a filter matches, in which nothing is asked for yet.
pub fn matching_query(filter: &Filter, backend: DbBackend, now: Timestamp) -> SelectStatement {
    Query::select()
        .from(customer::Entity)
        .and_where(Expr::cust("customers.delete_time IS NULL"))
        .cond_where(filter.condition(backend, now))
        .to_owned()
}

/// The next of the living customers whom all of these filters match: where they live and what is known of them.
pub async fn matching(
    db: &impl ConnectionTrait,
    filters: &[&Filter],
    after: Option<CustomerId>,
    most: u64,
    now: Timestamp,
) -> Result<Vec<(CustomerId, Option<Zone>, Map<String, Value>)>, StoreError> {
    let mut query = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .column(customer::Column::TimeZone)
        .column(customer::Column::Attributes)
        .filter(customer::Column::DeleteTime.is_null())
        .order_by_asc(customer::Column::CustomerId)
        .limit(most);
    for filter in filters {
        query = query.filter(filter.condition(db.get_database_backend(), now));
    }
    if let Some(after) = after {
        query = query.filter(customer::Column::CustomerId.gt(after));
    }
    let rows: Vec<(CustomerId, Option<String>, Value)> = query.into_tuple().all(db).await?;
    rows.into_iter()
        .map(|(id, zone, attributes)| {
            let zone = zone.map(|name| name.parse().map_err(|_| corrupt("customers", "time_zone"))).transpose()?;
            let Value::Object(attributes) = attributes else { return Err(corrupt("customers", "attributes")) };
            Ok((id, zone, attributes))
        })
        .collect()
}

/// Which of these customers live.
pub async fn living(db: &impl ConnectionTrait, ids: &[CustomerId]) -> Result<Vec<CustomerId>, StoreError> {
    let query = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .filter(customer::Column::CustomerId.is_in(ids.iter().copied()))
        .filter(customer::Column::DeleteTime.is_null());
    Ok(query.into_tuple().all(db).await?)
}
