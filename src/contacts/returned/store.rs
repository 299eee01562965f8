use sea_orm::{
    ColumnTrait, ConnectionTrait, Order, Statement,
    sea_query::{Asterisk, Expr, ExprTrait, Query},
};

use super::{
    super::{ContactState, Purpose, entity::contact},
    Returned,
};
use crate::{clock::Timestamp, database::StoreError};

/// What came back for messages with these purposes that were accepted since a moment, or refused at once since then.
pub async fn returned_since(
    db: &impl ConnectionTrait,
    purposes: &[Purpose],
    from: Timestamp,
) -> Result<Returned, StoreError> {
    let named: Vec<String> = purposes.iter().map(|purpose| format!("'{purpose}'")).collect();
    // Literals: the partial index is used for no other.
    let sql = format!(
        "SELECT count(DISTINCT e.contact_id) FILTER (WHERE e.kind = 'complained'),
            count(DISTINCT e.contact_id) FILTER (WHERE e.kind = 'bounced' AND e.weight = 'hard')
        FROM delivery_events AS e JOIN contacts AS c ON c.contact_id = e.contact_id
        WHERE e.kind IN ('bounced', 'complained') AND e.occur_time > $1 AND NOT e.automated
            AND c.purpose IN ({}) AND (c.send_time > $2 OR c.send_time IS NULL)",
        named.join(", ")
    );
    let statement = Statement::from_sql_and_values(db.get_database_backend(), sql, [from.into(), from.into()]);
    let Some(row) = db.query_one_raw(statement).await? else { return Ok(Returned::default()) };
    let (complaints, hard_bounces): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    let count = |count: i64| u64::try_from(count).unwrap_or(0);
    Ok(Returned { complaints: count(complaints), hard_bounces: count(hard_bounces) })
}

/// How many messages with these purposes were accepted since a moment; `most` where it is more.
pub async fn accepted_since(
    db: &impl ConnectionTrait,
    purposes: &[Purpose],
    from: Timestamp,
    most: u64,
) -> Result<u64, StoreError> {
    let some = Query::select()
        .expr(Expr::val(1))
        .from(contact::Entity)
        .and_where(contact::Column::Purpose.is_in(purposes.iter().copied()))
        // What a server refused at once is a message as well: else the rate of a bought list would look small.
        .and_where(
            contact::Column::State
                .eq(ContactState::Sent)
                .and(contact::Column::SendTime.gt(from))
                .or(contact::Column::State.eq(ContactState::Failed).and(contact::Column::UpdateTime.gt(from))),
        )
        // The latest are found at once where they are many.
        .order_by(contact::Column::ContactId, Order::Desc)
        .limit(most)
        .to_owned();
    let count = Query::select().expr(Expr::col(Asterisk).count()).from_subquery(some, "some").to_owned();
    let row = db.query_one(&count).await?;
    let accepted: i64 = row.map_or(Ok(0), |row| row.try_get_by_index(0))?;
    Ok(u64::try_from(accepted).unwrap_or(0))
}
