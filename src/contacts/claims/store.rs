use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select, Statement,
    sea_query::{
        Expr, ExprTrait, IntoIden, LockBehavior, LockType, Query, ReturningClause, SimpleExpr, TableRef,
        UpdateStatement, ValueTuple,
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

/// Waiting. As a literal: only so do both databases see that the index of queues will do.
fn waits() -> SimpleExpr {
    Expr::cust("state = 'scheduled'")
}

/// Every queue in which something waits, with the moment at which its first is due. Two steps down the index for each queue,
/// however long it is.
pub async fn queues(db: &impl ConnectionTrait) -> Result<Vec<(Queue, Timestamp)>, StoreError> {
    let statement = Statement::from_string(
        db.get_database_backend(),
        "WITH RECURSIVE queues (queue) AS (\
           SELECT MIN(queue) FROM contacts WHERE state = 'scheduled' \
           UNION ALL \
           SELECT (SELECT MIN(next.queue) FROM contacts AS next \
                   WHERE next.state = 'scheduled' AND next.queue > queues.queue) \
           FROM queues WHERE queues.queue IS NOT NULL) \
         SELECT queue, (SELECT MIN(first.due_time) FROM contacts AS first \
                        WHERE first.state = 'scheduled' AND first.queue = queues.queue) \
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

/// Up to `most` contacts of a queue that are due, the longest due first. In a transaction on Postgres they are nobody else's
/// until it ends, and those that somebody has already are left out.
pub async fn due(
    db: &impl ConnectionTrait,
    queue: &Queue,
    now: Timestamp,
    most: u64,
) -> Result<Vec<Contact>, StoreError> {
    let due = contact::Entity::find()
        .filter(waits())
        .filter(contact::Column::Queue.eq(queue.to_string()))
        .filter(contact::Column::DueTime.lte(now))
        .order_by_asc(contact::Column::DueTime)
        .order_by_asc(contact::Column::ContactId);
    pick(db, due, most).await
}

/// Up to `most` contacts whose time is over, in whatever queue: what waits behind a pause ends nevertheless. Otherwise as
/// [`due`].
pub async fn overdue(db: &impl ConnectionTrait, now: Timestamp, most: u64) -> Result<Vec<Contact>, StoreError> {
    let overdue = contact::Entity::find()
        .filter(waits())
        .filter(contact::Column::DueTime.lte(now))
        .filter(contact::Column::ExpireTime.lte(now));
    pick(db, overdue, most).await
}

async fn pick(
    db: &impl ConnectionTrait,
    which: Select<contact::Entity>,
    most: u64,
) -> Result<Vec<Contact>, StoreError> {
    // SQLite has no such clause, and it is left out there.
    let picked = which.limit(most).lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked);
    picked.all(db).await?.into_iter().map(domain).collect()
}

/// Records what is about to be handed over, as far as it still waits as it was picked: the contact as SENDING and claimed, and
/// the attempt. Answers which contacts that are.
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
        ValueTuple::Many(vec![intent.contact_id.into(), intent.revision.into(), address, version])
    });
    let mut update = update_waiting(rows.collect(), now);
    update
        .value(contact::Column::State, Expr::val(ContactState::Sending))
        .value(contact::Column::ClaimToken, Expr::val(token))
        .value(contact::Column::AttemptCount, own(contact::Column::AttemptCount).add(1))
        .value(contact::Column::AddressId, given(3))
        .value(contact::Column::TemplateVersion, given(4))
        .value(contact::Column::BlockReason, Expr::val(None::<BlockReason>))
        .value(contact::Column::BlockEffect, Expr::val(None::<Effect>))
        .value(contact::Column::BlockDetail, Expr::val(None::<String>))
        .value(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>));
    let held = changed_contacts(tx, &update).await?;
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

/// Ends contacts for good or puts them off, as far as they still wait as they were picked, and records why. Answers which
/// contacts that are. One that is put off until no known moment stays due and is asked about again.
pub async fn block(tx: &WriteTx, blocked: &[Blocked], now: Timestamp) -> Result<Vec<ContactId>, StoreError> {
    if blocked.is_empty() {
        return Ok(Vec::new());
    }
    let rows = blocked.iter().map(|Blocked { contact_id, revision, block }| {
        let due = block.retry_time.filter(|_| block.effect == Effect::Defer);
        ValueTuple::Many(vec![
            (*contact_id).into(),
            (*revision).into(),
            block.effect.state().into(),
            block.reason.into(),
            block.effect.into(),
            block.detail.clone().into(),
            block.retry_time.into(),
            due.into(),
        ])
    });
    let mut update = update_waiting(rows.collect(), now);
    update
        .value(contact::Column::State, given(3))
        .value(contact::Column::BlockReason, given(4))
        .value(contact::Column::BlockEffect, given(5))
        .value(contact::Column::BlockDetail, given(6))
        .value(contact::Column::BlockRetryTime, given(7))
        .value(contact::Column::DueTime, Expr::expr(given(8)).if_null(own(contact::Column::DueTime)));
    let held = changed_contacts(tx, &update).await?;
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

/// `UPDATE contacts SET … FROM (VALUES …) AS given WHERE contact_id = given.column1 AND revision = given.column2`, for what waits
/// and has not changed since it was read: one statement for rows that each get values of their own.
fn update_waiting(rows: Vec<ValueTuple>, now: Timestamp) -> UpdateStatement {
    let mut update = update_given(rows, now);
    update
        .and_where(own(contact::Column::State).eq(ContactState::Scheduled))
        .and_where(own(contact::Column::Revision).eq(given(2)));
    update
}

/// The same for what is being handed over under a claim, whatever its revision.
pub(super) fn update_held(token: ClaimToken, rows: Vec<ValueTuple>, now: Timestamp) -> UpdateStatement {
    let mut update = update_given(rows, now);
    update
        .and_where(own(contact::Column::State).eq(ContactState::Sending))
        .and_where(own(contact::Column::ClaimToken).eq(token));
    update
}

/// Both databases name the columns of VALUES column1, column2 and so on.
fn update_given(rows: Vec<ValueTuple>, now: Timestamp) -> UpdateStatement {
    Query::update()
        .table(contact::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(contact::Column::UpdateTime, now)
        .value(contact::Column::Revision, own(contact::Column::Revision).add(1))
        .and_where(own(contact::Column::ContactId).eq(given(1)))
        .returning(attempt_key())
        .to_owned()
}

/// What statements that change contacts answer: the key of the last attempt.
pub(in super::super) fn attempt_key() -> ReturningClause {
    Query::returning().columns([contact::Column::ContactId, contact::Column::AttemptCount])
}

/// Which contacts a statement changed, each with the number of its last attempt.
pub(in super::super) async fn changed(
    tx: &WriteTx,
    update: &UpdateStatement,
) -> Result<Vec<(ContactId, i32)>, StoreError> {
    let rows = tx.query_all(update).await?;
    rows.iter().map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?))).collect()
}

async fn changed_contacts(tx: &WriteTx, update: &UpdateStatement) -> Result<Vec<ContactId>, StoreError> {
    Ok(changed(tx, update).await?.into_iter().map(|(id, _)| id).collect())
}

pub(super) fn own(column: contact::Column) -> SimpleExpr {
    Expr::col((contact::Entity, column))
}

pub(super) fn given(place: u8) -> SimpleExpr {
    Expr::col(("given", format!("column{place}")))
}
