use std::collections::HashMap;

use futures_util::TryStreamExt;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait, StreamTrait,
    UpdateMany,
    sea_query::{Expr, ExprTrait, IntoIden, LockType, Query, TableRef, ValueTuple},
};

use super::super::{
    AttemptOutcome, Block, BlockReason, Contact, ContactState, Effect, Planned, Purpose, Selection, StepOf, Verdict,
    attempts,
    entity::{attempt, contact},
    store::{StepColumns, condition, domain, step},
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::{ContactId, CustomerId, EnrollmentId, TopicId},
};

/// Which waiting contacts are called off.
#[derive(Debug)]
pub enum CallOff {
    /// This one.
    Contact(ContactId),
    /// These.
    Contacts(Vec<ContactId>),
    /// Those of these enrollments.
    Enrollments(Vec<EnrollmentId>),
    /// All of a customer.
    Customer(CustomerId),
    /// Those of a customer about a topic on a channel (none = on every channel) that obey an opt-out.
    Topic(CustomerId, TopicId, Option<crate::delivery::Channel>),
    /// Those of a customer with these purposes.
    Purposes(CustomerId, &'static [Purpose]),
}

/// Calls off what waits; what is being handed over is beyond reach. Answers how many.
pub async fn cancel(tx: &WriteTx, which: CallOff, block: &Block, now: Timestamp) -> Result<u64, StoreError> {
    let which = match which {
        CallOff::Contact(id) => contact::Column::ContactId.eq(id),
        CallOff::Contacts(ids) => contact::Column::ContactId.is_in(ids),
        CallOff::Enrollments(ids) if ids.is_empty() => return Ok(0),
        CallOff::Enrollments(ids) => contact::Column::EnrollmentId.is_in(ids),
        CallOff::Customer(customer) => contact::Column::CustomerId.eq(customer),
        CallOff::Topic(customer, topic, channel) => contact::Column::CustomerId
            .eq(customer)
            .and(contact::Column::TopicId.eq(topic))
            .and(contact::Column::Purpose.ne(Purpose::Transactional))
            .and(channel.map_or(Expr::val(true), |channel| contact::Column::Channel.eq(channel))),
        CallOff::Purposes(customer, purposes) => {
            contact::Column::CustomerId.eq(customer).and(contact::Column::Purpose.is_in(purposes.iter().copied()))
        }
    };
    Ok(calling_off(block, now).filter(which).exec(tx).await?.rows_affected)
}

/// Calls off all that wait of those meant. Answers how many, and the steps that this ends.
pub async fn cancel_all(
    tx: &WriteTx,
    which: &Selection,
    block: &Block,
    now: Timestamp,
) -> Result<(i64, Vec<StepOf>), StoreError> {
    let mut update = calling_off(block, now).filter(condition(tx, which)).into_query();
    update.returning(Query::returning().columns([
        contact::Column::CampaignId,
        contact::Column::EnrollmentId,
        contact::Column::StepId,
        contact::Column::EventId,
    ]));
    // They may be a great many: their rows are not held in memory all at once.
    let mut rows = tx.stream(&update).await?;
    let (mut canceled, mut steps) = (0, Vec::new());
    while let Some(row) = rows.try_next().await? {
        canceled += 1;
        let columns: StepColumns =
            (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?, row.try_get_by_index(3)?);
        steps.extend(step(columns));
    }
    Ok((canceled, steps))
}

fn calling_off(block: &Block, now: Timestamp) -> UpdateMany<contact::Entity> {
    contact::Entity::update_many()
        .col_expr(contact::Column::State, Expr::val(ContactState::Canceled))
        .col_expr(contact::Column::BlockReason, Expr::val(block.reason))
        .col_expr(contact::Column::BlockEffect, Expr::val(Effect::Cancel))
        .col_expr(contact::Column::BlockDetail, block.detail.clone().into())
        .col_expr(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>))
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
}

/// Whose contacts are meant, each once and in order.
pub async fn customers_of(tx: &WriteTx, which: &Selection) -> Result<Vec<CustomerId>, StoreError> {
    let query = contact::Entity::find()
        .select_only()
        .column(contact::Column::CustomerId)
        .distinct()
        .filter(condition(tx, which))
        .order_by_asc(contact::Column::CustomerId);
    // They may be a great many: their rows are not held in memory all at once.
    Ok(query.into_tuple::<CustomerId>().stream(tx).await?.try_collect().await?)
}

/// The first contacts that are meant, in the order in which they were planned.
pub async fn first_ids(tx: &WriteTx, which: &Selection, most: u64) -> Result<Vec<ContactId>, StoreError> {
    let query = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(condition(tx, which))
        .order_by_asc(contact::Column::ContactId)
        .limit(most);
    Ok(query.into_tuple().all(tx).await?)
}

/// Plans a waiting contact for an instant that somebody chose; what put it off is forgotten.
pub async fn reschedule(tx: &WriteTx, id: ContactId, due: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    planning_anew(due, now)
        .filter(contact::Column::ContactId.eq(id))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .exec(tx)
        .await?;
    Ok(())
}

fn planning_anew(due: Timestamp, now: Timestamp) -> UpdateMany<contact::Entity> {
    contact::Entity::update_many()
        .col_expr(contact::Column::DueTime, due.into())
        .col_expr(contact::Column::DueLocalTime, Expr::val(None::<String>))
        .col_expr(contact::Column::DueZone, Expr::val(None::<String>))
        .col_expr(contact::Column::BlockReason, Expr::val(None::<BlockReason>))
        .col_expr(contact::Column::BlockEffect, Expr::val(None::<Effect>))
        .col_expr(contact::Column::BlockDetail, Expr::val(None::<String>))
        .col_expr(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>))
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
}

/// Settles a locked contact in doubt, and its last attempt with it; `told` says who did and why.
pub async fn resolve(
    tx: &WriteTx,
    before: &Contact,
    verdict: Verdict,
    told: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let last = attempts(tx, before.contact_id).await?.pop();
    let update = match verdict {
        Verdict::SendAgain => planning_anew(now, now),
        Verdict::WasSent | Verdict::WasNotSent => contact::Entity::update_many()
            .col_expr(contact::Column::UpdateTime, now.into())
            .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1)),
    };
    let send_time = last.as_ref().filter(|_| verdict == Verdict::WasSent).map(|attempt| attempt.start_time);
    update
        .col_expr(contact::Column::State, Expr::val(verdict.state()))
        .col_expr(contact::Column::SendTime, Expr::val(send_time))
        .filter(contact::Column::ContactId.eq(before.contact_id))
        .filter(contact::Column::State.eq(before.state))
        .exec(tx)
        .await?;
    let Some(last) = last else { return Ok(()) };
    let detail = if last.detail.is_empty() { told.to_owned() } else { format!("{}; {told}", last.detail) };
    let outcome = last.outcome.filter(|outcome| *outcome != AttemptOutcome::Unknown).unwrap_or(verdict.outcome());
    attempt::Entity::update_many()
        .col_expr(attempt::Column::Outcome, Expr::val(outcome))
        .col_expr(attempt::Column::Detail, detail.into())
        .filter(attempt::Column::ContactId.eq(before.contact_id))
        .filter(attempt::Column::Number.eq(last.number))
        .exec(tx)
        .await?;
    Ok(())
}

/// The waiting contacts of a customer that are planned by the wall clock.
pub async fn waiting_by_wall_clock(tx: &WriteTx, customers: &[CustomerId]) -> Result<Vec<Contact>, StoreError> {
    let rows = contact::Entity::find()
        .filter(contact::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .filter(contact::Column::DueLocalTime.is_not_null())
        .order_by_asc(contact::Column::ContactId)
        .lock(LockType::Update)
        .all(tx)
        .await?;
    rows.into_iter().map(domain).collect()
}

/// The contacts of these enrollments that wait, kept from others until the transaction ends.
pub async fn lock_waiting(
    tx: &WriteTx,
    enrollments: &[EnrollmentId],
) -> Result<HashMap<EnrollmentId, Contact>, StoreError> {
    let rows = contact::Entity::find()
        .filter(contact::Column::EnrollmentId.is_in(enrollments.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .order_by_asc(contact::Column::ContactId)
        .lock(LockType::Update)
        .all(tx)
        .await?;
    rows.into_iter().filter_map(|row| Some((row.enrollment_id?, row))).map(|(id, row)| Ok((id, domain(row)?))).collect()
}

/// Plans waiting contacts anew, in a statement for all of them: when they are due, what they are about and what they say.
pub async fn replan_all(tx: &WriteTx, changed: &[Contact], now: Timestamp) -> Result<(), StoreError> {
    let given = |place: u8| Expr::col(("given", format!("column{place}")));
    let own = |column: contact::Column| Expr::col((contact::Entity, column));
    for some in changed.chunks(500) {
        let row = |one: &Contact| {
            let local = one.due_local.as_ref();
            ValueTuple::Many(vec![
                one.contact_id.into(),
                one.due_time.into(),
                local.map(|(time, _)| time.to_string()).into(),
                local.map(|(_, zone)| zone.clone()).into(),
                one.expire_time.into(),
                one.topic_id.as_str().into(),
                one.purpose.as_str().into(),
                one.template_id.as_str().into(),
                one.variant_id.clone().into(),
                serde_json::Value::Object(one.data.clone()).into(),
                one.queue().to_string().into(),
            ])
        };
        let columns = [
            contact::Column::DueTime,
            contact::Column::DueLocalTime,
            contact::Column::DueZone,
            contact::Column::ExpireTime,
            contact::Column::TopicId,
            contact::Column::Purpose,
            contact::Column::TemplateId,
            contact::Column::VariantId,
            contact::Column::Data,
            contact::Column::Queue,
        ];
        let mut update = Query::update();
        update
            .table(contact::Entity)
            .from(TableRef::ValuesList(some.iter().map(row).collect(), "given".into_iden()))
            .value(contact::Column::OriginalDueTime, given(2))
            .value(contact::Column::BlockReason, Expr::val(None::<BlockReason>))
            .value(contact::Column::BlockEffect, Expr::val(None::<Effect>))
            .value(contact::Column::BlockDetail, Expr::val(None::<String>))
            .value(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>))
            .value(contact::Column::UpdateTime, now)
            .value(contact::Column::Revision, own(contact::Column::Revision).add(1))
            .and_where(own(contact::Column::ContactId).equals(("given", "column1")))
            .and_where(own(contact::Column::State).eq(ContactState::Scheduled));
        for (column, place) in columns.into_iter().zip(2..) {
            update.value(column, given(place));
        }
        tx.execute(&update).await?;
    }
    Ok(())
}

/// Plans a waiting contact for another moment.
pub async fn replan(
    tx: &WriteTx,
    id: ContactId,
    planned: Planned,
    zone: &str,
    expire_time: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    contact::Entity::update_many()
        .col_expr(contact::Column::DueTime, planned.instant.into())
        .col_expr(contact::Column::OriginalDueTime, planned.instant.into())
        .col_expr(contact::Column::DueZone, zone.into())
        .col_expr(contact::Column::ExpireTime, expire_time.into())
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::ContactId.eq(id))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .exec(tx)
        .await?;
    Ok(())
}

/// Has what a pending consent, snooze, quiet hours or caps put off for these customers asked about again, from the moment on for
/// which it was planned.
pub async fn ask_again(tx: &WriteTx, customers: &[CustomerId]) -> Result<(), StoreError> {
    if customers.is_empty() {
        return Ok(());
    }
    contact::Entity::update_many()
        .col_expr(contact::Column::DueTime, Expr::col(contact::Column::OriginalDueTime))
        .filter(contact::Column::CustomerId.is_in(customers.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .filter(contact::Column::BlockReason.is_in([
            BlockReason::ConsentPending,
            BlockReason::Snoozed,
            BlockReason::QuietHours,
            BlockReason::FrequencyCap,
        ]))
        .exec(tx)
        .await?;
    Ok(())
}

/// Has what a pause of the dispatch put off asked about again: only what was picked when the pause began.
pub async fn ask_again_after_pause(tx: &WriteTx) -> Result<(), StoreError> {
    // Literals: the partial index is used for no other.
    contact::Entity::update_many()
        .col_expr(contact::Column::DueTime, Expr::col(contact::Column::OriginalDueTime))
        .filter(Expr::cust("state = 'scheduled' AND block_reason = 'dispatch_paused'"))
        .exec(tx)
        .await?;
    Ok(())
}

/// Has what waits for a sender that was not ready asked about again, as far as it has one of these purposes. Answers how many.
pub async fn ask_again_when_ready(db: &impl ConnectionTrait, purposes: &[Purpose]) -> Result<u64, StoreError> {
    // Literals: the partial index is used for no other.
    let done = contact::Entity::update_many()
        .col_expr(contact::Column::DueTime, Expr::col(contact::Column::OriginalDueTime))
        .filter(Expr::cust("state = 'scheduled' AND block_reason = 'sender_not_ready'"))
        .filter(contact::Column::Purpose.is_in(purposes.iter().copied()))
        .filter(Expr::col(contact::Column::DueTime).ne(Expr::col(contact::Column::OriginalDueTime)))
        .exec(db)
        .await?;
    Ok(done.rows_affected)
}
