use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    Select, Statement,
    sea_query::{
        CommonTableExpression, Expr, ExprTrait, IntoIden, LockBehavior, LockType, Query, SimpleExpr, TableRef,
        UpdateStatement, ValueTuple, WithClause,
    },
};

use super::{
    super::{
        BlockReason, Contact, ContactState, Effect, Queue,
        entity::{attempt, contact, decision},
        store::domain,
    },
    Blocked, Intent,
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::{ClaimToken, ContactId},
};

/// Waiting, and nobody's. As literals: only so do both databases see that the index of queues will do.
fn free() -> SimpleExpr {
    Expr::cust("state = 'scheduled' AND claim_token IS NULL")
}

/// Every queue in which something waits, with the moment at which its first is due. Two steps down the index for each queue,
/// however long it is.
pub async fn queues(db: &impl ConnectionTrait) -> Result<Vec<(Queue, Timestamp)>, StoreError> {
    let statement = Statement::from_string(
        db.get_database_backend(),
        "WITH RECURSIVE queues (queue) AS (\
           SELECT MIN(queue) FROM contacts WHERE state = 'scheduled' AND claim_token IS NULL \
           UNION ALL \
           SELECT (SELECT MIN(next.queue) FROM contacts AS next \
                   WHERE next.state = 'scheduled' AND next.claim_token IS NULL AND next.queue > queues.queue) \
           FROM queues WHERE queues.queue IS NOT NULL) \
         SELECT queue, (SELECT MIN(first.due_time) FROM contacts AS first \
                        WHERE first.state = 'scheduled' AND first.claim_token IS NULL AND first.queue = queues.queue) \
         FROM queues WHERE queue IS NOT NULL",
    );
    let mut queues = Vec::new();
    for row in db.query_all_raw(statement).await? {
        let (name, first): (String, Option<Timestamp>) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
        let queue = name.parse().map_err(|_| StoreError::Corrupt { table: "contacts", detail: "queue".to_owned() })?;
        queues.extend(first.map(|first| (queue, first)));
    }
    Ok(queues)
}

/// Claims up to `most` contacts of a queue that are due, the longest due first: one statement, which is a transaction by itself.
pub async fn claim(
    db: &impl ConnectionTrait,
    token: ClaimToken,
    queue: &Queue,
    now: Timestamp,
    most: u64,
) -> Result<Vec<Contact>, StoreError> {
    let due = contact::Entity::find()
        .filter(free())
        .filter(contact::Column::Queue.eq(queue.to_string()))
        .filter(contact::Column::DueTime.lte(now))
        .order_by_asc(contact::Column::DueTime)
        .order_by_asc(contact::Column::ContactId);
    take(db, token, due, most).await
}

/// Claims up to `most` contacts whose time is over, in whatever queue: what waits behind a pause ends nevertheless.
pub async fn claim_expired(
    db: &impl ConnectionTrait,
    token: ClaimToken,
    now: Timestamp,
    most: u64,
) -> Result<Vec<Contact>, StoreError> {
    let expired = contact::Entity::find()
        .filter(free())
        .filter(contact::Column::DueTime.lte(now))
        .filter(contact::Column::ExpireTime.lte(now));
    take(db, token, expired, most).await
}

async fn take(
    db: &impl ConnectionTrait,
    token: ClaimToken,
    which: Select<contact::Entity>,
    most: u64,
) -> Result<Vec<Contact>, StoreError> {
    // On SQLite the lock clause is left out: the statement is alone anyway. On Postgres the picked rows must be worked out
    // once, or more than `most` could be locked.
    let picked = which
        .select_only()
        .column(contact::Column::ContactId)
        .limit(most)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    let picked = CommonTableExpression::new().query(picked).table_name("picked").materialized(true).to_owned();
    let chosen = Query::select().column(contact::Column::ContactId).from("picked").to_owned();
    let claim = Query::update()
        .table(contact::Entity)
        .value(contact::Column::ClaimToken, Expr::val(token))
        .and_where(contact::Column::ContactId.in_subquery(chosen))
        .returning_all()
        .to_owned()
        .with(WithClause::new().cte(picked).to_owned());
    let rows = contact::Model::find_by_statement(db.get_database_backend().build(&claim)).all(db).await?;
    let mut contacts = rows.into_iter().map(domain).collect::<Result<Vec<Contact>, _>>()?;
    contacts.sort_by_key(|contact| (contact.due_time, contact.contact_id));
    Ok(contacts)
}

/// Records what is about to be handed over, as far as the claim still holds it and nobody has handed it over since: the contact
/// as SENDING, and the attempt. Answers which contacts that are.
pub async fn intend(
    tx: &WriteTx,
    token: ClaimToken,
    intents: &[Intent],
    replica: &str,
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    if intents.is_empty() {
        return Ok(Vec::new());
    }
    let rows = intents.iter().map(|intent| {
        let (address, version) = (intent.address_id.into(), intent.template_version.into());
        ValueTuple::Many(vec![intent.contact_id.into(), address, version, intent.number.into()])
    });
    let mut update = update_held(token, ContactState::Scheduled, rows.collect(), now);
    update
        .value(contact::Column::State, Expr::val(ContactState::Sending))
        .value(contact::Column::AttemptCount, given(4))
        .and_where(own(contact::Column::AttemptCount).eq(given(4).sub(1)))
        .value(contact::Column::AddressId, given(2))
        .value(contact::Column::TemplateVersion, given(3))
        .value(contact::Column::BlockReason, Expr::val(None::<BlockReason>))
        .value(contact::Column::BlockEffect, Expr::val(None::<Effect>))
        .value(contact::Column::BlockDetail, Expr::val(None::<String>))
        .value(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>));
    let held = changed(tx, &update).await?;
    let attempts =
        intents.iter().filter(|intent| held.contains(&intent.contact_id)).map(|intent| attempt::ActiveModel {
            contact_id: Set(intent.contact_id),
            number: Set(intent.number),
            start_time: Set(now),
            end_time: Set(None),
            outcome: Set(None),
            reply_code: Set(None),
            detail: Set(None),
            replica: Set(replica.to_owned()),
            consent_record_id: Set(intent.consent),
        });
    if !held.is_empty() {
        attempt::Entity::insert_many(attempts).exec_without_returning(tx).await?;
    }
    Ok(held)
}

/// Ends contacts for good or puts them off, as far as the claim still holds them, and records why. Answers which contacts that
/// are. One that is put off until no known moment stays due and is asked about again.
pub async fn block(
    tx: &WriteTx,
    token: ClaimToken,
    blocked: &[Blocked],
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    if blocked.is_empty() {
        return Ok(Vec::new());
    }
    let rows = blocked.iter().map(|Blocked { contact_id, block, .. }| {
        let due = block.retry_time.filter(|_| block.effect == Effect::Defer);
        ValueTuple::Many(vec![
            (*contact_id).into(),
            block.effect.state().into(),
            block.reason.into(),
            block.effect.into(),
            block.detail.clone().into(),
            block.retry_time.into(),
            due.into(),
        ])
    });
    let mut update = update_held(token, ContactState::Scheduled, rows.collect(), now);
    update
        .value(contact::Column::State, given(2))
        .value(contact::Column::BlockReason, given(3))
        .value(contact::Column::BlockEffect, given(4))
        .value(contact::Column::BlockDetail, given(5))
        .value(contact::Column::BlockRetryTime, given(6))
        .value(contact::Column::DueTime, Expr::expr(given(7)).if_null(own(contact::Column::DueTime)))
        .value(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>));
    let held = changed(tx, &update).await?;
    let decisions =
        blocked.iter().filter(|blocked| held.contains(&blocked.contact_id)).map(|blocked| decision::ActiveModel {
            contact_id: Set(blocked.contact_id),
            revision: Set(blocked.revision + 1),
            decide_time: Set(now),
            reason: Set(blocked.block.reason),
            effect: Set(blocked.block.effect),
            detail: Set(blocked.block.detail.clone()),
            retry_time: Set(blocked.block.retry_time),
        });
    if !held.is_empty() {
        decision::Entity::insert_many(decisions).exec_without_returning(tx).await?;
    }
    Ok(held)
}

/// Gives back what was claimed and never intended.
pub async fn release(db: &impl ConnectionTrait, token: ClaimToken, ids: &[ContactId]) -> Result<(), StoreError> {
    contact::Entity::update_many()
        .col_expr(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .filter(contact::Column::ContactId.is_in(ids.iter().copied()))
        .filter(contact::Column::ClaimToken.eq(token))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .exec(db)
        .await?;
    Ok(())
}

/// `UPDATE contacts SET … FROM (VALUES …) AS given WHERE contact_id = given.column1`, for what a claim holds in a state: one
/// statement for rows that each get values of their own. Both databases name the columns of VALUES column1, column2 and so on.
pub(super) fn update_held(
    token: ClaimToken,
    state: ContactState,
    rows: Vec<ValueTuple>,
    now: Timestamp,
) -> UpdateStatement {
    Query::update()
        .table(contact::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(contact::Column::UpdateTime, now)
        .value(contact::Column::Revision, own(contact::Column::Revision).add(1))
        .and_where(own(contact::Column::ContactId).eq(given(1)))
        .and_where(own(contact::Column::State).eq(state))
        .and_where(own(contact::Column::ClaimToken).eq(token))
        .returning_col(contact::Column::ContactId)
        .to_owned()
}

/// Which rows a statement changed.
pub(super) async fn changed(tx: &WriteTx, update: &UpdateStatement) -> Result<Vec<ContactId>, StoreError> {
    let rows = tx.query_all(update).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

pub(super) fn own(column: contact::Column) -> SimpleExpr {
    Expr::col((contact::Entity, column))
}

pub(super) fn given(place: u8) -> SimpleExpr {
    Expr::col(("given", format!("column{place}")))
}
