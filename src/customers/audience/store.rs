use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select, Statement,
    sea_query::Expr,
};

use super::{
    super::{entity::customer, store::corrupt},
    Residents,
};
use crate::{calendar::Zone, database::StoreError, filter::Wanted, ids::CustomerId};

/// The next of an audience after one of them.
pub async fn audience(
    db: &impl ConnectionTrait,
    who: Residents,
    wanted: &Wanted,
    after: Option<CustomerId>,
    most: u64,
) -> Result<Vec<CustomerId>, StoreError> {
    let some = living(who, after).filter(wanted.condition(db)).order_by_asc(customer::Column::CustomerId).limit(most);
    Ok(some.select_only().column(customer::Column::CustomerId).into_tuple().all(db).await?)
}

/// How many of an audience come after one of them; all, or among these.
pub async fn count_audience(
    db: &impl ConnectionTrait,
    who: Residents,
    wanted: &Wanted,
    after: Option<CustomerId>,
    among: Option<&[CustomerId]>,
) -> Result<i64, StoreError> {
    let mut some = living(who, after).filter(wanted.condition(db));
    if let Some(among) = among {
        some = some.filter(customer::Column::CustomerId.is_in(among.iter().copied()));
    }
    Ok(i64::try_from(some.count(db).await?).unwrap_or(i64::MAX))
}

fn living(who: Residents, after: Option<CustomerId>) -> Select<customer::Entity> {
    // As a literal: only so do both databases see that the index of zones will do.
    let mut living = customer::Entity::find().filter(Expr::cust("delete_time IS NULL"));
    living = match who {
        Residents::OfAnywhere => living,
        Residents::Of(Some(zone)) => living.filter(customer::Column::TimeZone.eq(zone.name())),
        Residents::Of(None) => living.filter(customer::Column::TimeZone.is_null()),
    };
    match after {
        Some(after) => living.filter(customer::Column::CustomerId.gt(after)),
        None => living,
    }
}

/// Every zone in which somebody lives. A step down the index for each, however many live there.
pub async fn inhabited_zones(db: &impl ConnectionTrait) -> Result<Vec<Zone>, StoreError> {
    let statement = Statement::from_string(
        db.get_database_backend(),
        "WITH RECURSIVE zones (zone) AS (\
           SELECT MIN(time_zone) FROM customers WHERE delete_time IS NULL \
           UNION ALL \
           SELECT (SELECT MIN(next.time_zone) FROM customers AS next \
                   WHERE next.delete_time IS NULL AND next.time_zone > zones.zone) \
           FROM zones WHERE zones.zone IS NOT NULL) \
         SELECT zone FROM zones WHERE zone IS NOT NULL",
    );
    let rows = db.query_all_raw(statement).await?;
    let zone = |name: String| name.parse().map_err(|_| corrupt("customers", "time_zone"));
    rows.iter().map(|row| zone(row.try_get_by_index(0)?)).collect()
}
