use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, Query, SelectStatement},
};

use super::super::{
    AttemptOutcome, ContactState,
    claims::{attempt_key, changed, end_attempts},
    deliveries,
    entity::{attempt, contact, decision},
    tracked,
};
use crate::{
    clock::Timestamp,
    database::{Erased, StoreError, WriteTx},
    ids::{ClaimToken, ContactId, CustomerId},
};

/// Removes what contacts say about a customer who is locked; that they were planned, and what became of them, stays.
///
/// What is being handed over is taken from whoever does: the letter may arrive, and its outcome is in doubt, but nothing that the
/// receiver answers is written any more.
pub async fn erase(tx: &WriteTx, customer: CustomerId, now: Timestamp) -> Result<Erased, StoreError> {
    let mut taken = Query::update();
    taken
        .table(contact::Entity)
        .value(contact::Column::State, Expr::val(ContactState::UnknownOutcome))
        .value(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .and_where(contact::Column::CustomerId.eq(customer))
        .and_where(contact::Column::State.eq(ContactState::Sending))
        .returning(attempt_key());
    let taken = changed(tx, &taken).await?;
    end_attempts(tx, &taken, AttemptOutcome::Unknown, "", now).await?;
    let contacts = contact::Entity::update_many()
        .col_expr(contact::Column::Data, Expr::val(serde_json::json!({})))
        .col_expr(contact::Column::DedupeKey, Expr::val(None::<String>))
        .col_expr(contact::Column::DueLocalTime, Expr::val(None::<String>))
        .col_expr(contact::Column::DueZone, Expr::val(None::<String>))
        .col_expr(contact::Column::BlockDetail, Expr::val(None::<String>))
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::CustomerId.eq(customer))
        .exec(tx)
        .await?;
    let attempts = attempt::Entity::update_many()
        .col_expr(attempt::Column::Detail, Expr::val(None::<String>))
        .filter(attempt::Column::Detail.is_not_null())
        .filter(attempt::Column::ContactId.in_subquery(of(customer)))
        .exec(tx)
        .await?;
    let decisions = decision::Entity::update_many()
        .col_expr(decision::Column::Detail, "".into())
        .filter(decision::Column::Detail.ne(""))
        .filter(decision::Column::ContactId.in_subquery(of(customer)))
        .exec(tx)
        .await?;
    let links = tracked::erase(tx, of(customer)).await?;
    let deliveries = deliveries::erase(tx, customer).await?;
    Ok(vec![
        ("delivery_events", deliveries),
        ("tracked_links", links),
        ("contacts", contacts.rows_affected),
        ("attempts", attempts.rows_affected),
        ("decisions", decisions.rows_affected),
    ])
}

/// Removes what mail servers answered to hand-overs before a moment, of up to `most` of them; the reply codes stay. Answers how many.
pub async fn forget_replies(tx: &WriteTx, before: Timestamp, most: u64) -> Result<u64, StoreError> {
    let key = [attempt::Column::ContactId, attempt::Column::Number];
    let old = Query::select()
        .columns(key)
        .from(attempt::Entity)
        // As a literal: only so do both databases see that the index will do.
        .and_where(Expr::cust("detail IS NOT NULL"))
        .and_where(attempt::Column::StartTime.lt(before))
        .limit(most)
        .to_owned();
    let forgotten = attempt::Entity::update_many()
        .col_expr(attempt::Column::Detail, Expr::val(None::<String>))
        .filter(Expr::tuple(key.map(Expr::col)).in_subquery(old))
        .exec(tx)
        .await?;
    Ok(forgotten.rows_affected)
}

/// Those of a customer that were planned at a moment or later.
pub async fn ids_since(
    db: &impl ConnectionTrait,
    customer: CustomerId,
    from: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    let query = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(contact::Column::CustomerId.eq(customer))
        .filter(contact::Column::CreateTime.gte(from));
    Ok(query.into_tuple().all(db).await?)
}

fn of(customer: CustomerId) -> SelectStatement {
    Query::select()
        .column(contact::Column::ContactId)
        .from(contact::Entity)
        .and_where(contact::Column::CustomerId.eq(customer))
        .to_owned()
}
