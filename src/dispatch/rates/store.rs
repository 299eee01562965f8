use std::time::Duration;

use sea_orm::{
    ActiveValue::Set,
    ConnectionTrait, EntityTrait,
    sea_query::{Expr, ExprTrait, OnConflict, Query},
};

use super::entity as rate;
use crate::database::{StoreError, WriteTx, lease_micros};

/// Takes the next `count` moments of a rate, if the first of them is not further away than `ahead`. Answers how long it is until
/// the first, or how long nothing is to be had.
pub async fn take(
    tx: &WriteTx,
    name: &str,
    every: Duration,
    count: usize,
    ahead: Duration,
) -> Result<Result<Duration, Duration>, StoreError> {
    let now = || lease_micros(tx);
    let long = micros(every).saturating_mul(i64::try_from(count).unwrap_or(i64::MAX));
    let next = || Expr::col((rate::Entity, rate::Column::NextMicros));
    let first = || Expr::case(next().gt(now()), next()).finally(now());
    let mut update = Query::update();
    update
        .table(rate::Entity)
        .value(rate::Column::NextMicros, Expr::expr(first()).add(long))
        .and_where(Expr::col((rate::Entity, rate::Column::Name)).eq(name))
        .and_where(next().lte(now().add(micros(ahead))))
        .returning(Query::returning().expr(next().sub(now())));
    if let Some(row) = tx.query_one(&update).await? {
        let until_after: i64 = row.try_get_by_index(0)?;
        return Ok(Ok(duration(until_after - long)));
    }
    let look = Query::select()
        .expr(next().sub(now()))
        .from(rate::Entity)
        .and_where(Expr::col((rate::Entity, rate::Column::Name)).eq(name))
        .to_owned();
    if let Some(row) = tx.query_one(&look).await? {
        let until_next: i64 = row.try_get_by_index(0)?;
        return Ok(Err(duration(until_next).saturating_sub(ahead)));
    }
    let row = rate::ActiveModel { name: Set(name.to_owned()), next_micros: Set(0) };
    let taken = OnConflict::column(rate::Column::Name).do_nothing().to_owned();
    rate::Entity::insert(row).on_conflict(taken).exec_without_returning(tx).await?;
    Ok(Err(Duration::ZERO))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}
