use sea_orm::{
    ColumnTrait, EntityTrait, QueryFilter,
    sea_query::{CaseStatement, Expr, ExprTrait, IntoIden, Query, SimpleExpr, TableRef, UpdateStatement, ValueTuple},
};

use super::{
    super::{
        super::{
            AttemptOutcome, BlockReason, ContactState, Effect, Purpose,
            entity::{attempt, contact},
        },
        store::{attempt_key, changed, given, own, update_held},
    },
    Setback,
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::{ClaimToken, ContactId},
};

/// Records what the transport accepted; answers which of them were still this claim's to settle.
pub async fn settle_accepted(
    tx: &WriteTx,
    token: ClaimToken,
    ids: &[ContactId],
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut update = Query::update();
    update
        .table(contact::Entity)
        .value(contact::Column::State, Expr::val(ContactState::Sent))
        .value(contact::Column::SendTime, now)
        .value(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .value(contact::Column::UpdateTime, now)
        .value(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .and_where(contact::Column::ContactId.is_in(ids.iter().copied()))
        .and_where(contact::Column::State.eq(ContactState::Sending))
        .and_where(contact::Column::ClaimToken.eq(token))
        .returning(attempt_key());
    let settled = changed(tx, &update).await?;
    end_attempts(tx, &settled, AttemptOutcome::Accepted, "", now).await?;
    Ok(settled.into_iter().map(|(id, _)| id).collect())
}

/// Records what was accepted after the claim was lost, each with the number of its attempt, as far as that was given up for lost.
/// Where nobody tries again at this moment and nobody has ended it otherwise, the doubt is over; answers which of them that are.
pub async fn settle_late(
    tx: &WriteTx,
    accepted: &[(ContactId, i32)],
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    if accepted.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<ValueTuple> =
        accepted.iter().map(|(id, number)| ValueTuple::Two((*id).into(), (*number).into())).collect();
    let was_lost = Query::select()
        .expr(Expr::val(1))
        .from(attempt::Entity)
        .and_where(of_attempt(attempt::Column::ContactId).eq(given(1)))
        .and_where(of_attempt(attempt::Column::Number).eq(given(2)))
        .and_where(of_attempt(attempt::Column::Outcome).eq(AttemptOutcome::Unknown))
        .to_owned();
    let mut update = Query::update();
    update
        .table(contact::Entity)
        .from(TableRef::ValuesList(rows.clone(), "given".into_iden()))
        .value(contact::Column::State, Expr::val(ContactState::Sent))
        .value(contact::Column::SendTime, now)
        .value(contact::Column::BlockReason, Expr::val(None::<BlockReason>))
        .value(contact::Column::BlockEffect, Expr::val(None::<Effect>))
        .value(contact::Column::BlockDetail, Expr::val(None::<String>))
        .value(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>))
        .value(contact::Column::UpdateTime, now)
        .value(contact::Column::Revision, own(contact::Column::Revision).add(1))
        .and_where(own(contact::Column::ContactId).eq(given(1)))
        .and_where(own(contact::Column::State).is_in([ContactState::UnknownOutcome, ContactState::Scheduled]))
        .and_where(own(contact::Column::ClaimToken).is_null())
        .and_where(Expr::exists(was_lost))
        .returning(attempt_key());
    let settled: Vec<ContactId> = changed(tx, &update).await?.into_iter().map(|(id, _)| id).collect();
    let mut attempts = Query::update();
    attempts
        .table(attempt::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(attempt::Column::Outcome, Expr::val(AttemptOutcome::Accepted))
        .value(attempt::Column::Detail, "the answer came late")
        .and_where(of_attempt(attempt::Column::ContactId).eq(given(1)))
        .and_where(of_attempt(attempt::Column::Number).eq(given(2)))
        .and_where(of_attempt(attempt::Column::Outcome).eq(AttemptOutcome::Unknown));
    sea_orm::ConnectionTrait::execute(tx, &attempts).await?;
    Ok(settled)
}

/// Records what the transport refused for now: the contact waits for its next attempt.
pub async fn settle_later(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    now: Timestamp,
) -> Result<(), StoreError> {
    let wait = Expr::val(ContactState::Scheduled);
    settle(tx, token, setbacks, AttemptOutcome::TemporaryFailure, wait, now).await?;
    Ok(())
}

/// Records what the transport refused for good. Answers which of them were still this claim's to settle.
pub async fn settle_never(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    settle(tx, token, setbacks, AttemptOutcome::PermanentFailure, Expr::val(ContactState::Failed), now).await
}

/// Records that an answer was lost: a transactional contact waits for its next attempt, any other is in doubt. Answers which
/// of them were still this claim's to settle.
pub async fn settle_unknown(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    settle(tx, token, setbacks, AttemptOutcome::Unknown, after_a_lost_answer().into(), now).await
}

/// Where a contact stands whose answer was lost.
fn after_a_lost_answer() -> CaseStatement {
    Expr::case(own(contact::Column::Purpose).eq(Purpose::Transactional), Expr::val(ContactState::Scheduled))
        .finally(Expr::val(ContactState::UnknownOutcome))
}

async fn settle(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    outcome: AttemptOutcome,
    state: SimpleExpr,
    now: Timestamp,
) -> Result<Vec<ContactId>, StoreError> {
    if setbacks.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<ValueTuple> = setbacks
        .iter()
        .map(|setback| {
            ValueTuple::Many(vec![
                setback.contact_id.into(),
                setback.retry_time.into(),
                setback.code.clone().into(),
                setback.detail.clone().into(),
            ])
        })
        .collect();
    let if_it_waits = |then: SimpleExpr, otherwise: SimpleExpr| -> SimpleExpr {
        let waits = state.clone().eq(Expr::val(ContactState::Scheduled));
        Expr::case(waits, then).finally(otherwise).into()
    };
    let mut update = update_held(token, rows.clone(), now);
    update
        .value(contact::Column::State, state.clone())
        .value(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .value(contact::Column::DueTime, if_it_waits(given(2), own(contact::Column::DueTime)))
        .value(
            contact::Column::BlockReason,
            if_it_waits(Expr::val(BlockReason::BackOff), Expr::val(None::<BlockReason>)),
        )
        .value(contact::Column::BlockEffect, if_it_waits(Expr::val(Effect::Defer), Expr::val(None::<Effect>)))
        .value(contact::Column::BlockDetail, if_it_waits(given(4), Expr::val(None::<String>)))
        .value(contact::Column::BlockRetryTime, if_it_waits(given(2), Expr::val(None::<Timestamp>)));
    let settled = changed(tx, &update).await?;
    let told = |(id, number): &(ContactId, i32)| {
        let setback = setbacks.iter().find(|setback| setback.contact_id == *id)?;
        let (code, detail) = (setback.code.clone().into(), setback.detail.clone().into());
        Some(ValueTuple::Many(vec![(*id).into(), (*number).into(), code, detail]))
    };
    let rows: Vec<ValueTuple> = settled.iter().filter_map(told).collect();
    if !rows.is_empty() {
        let mut attempts = update_attempts(rows, outcome, now);
        attempts.value(attempt::Column::ReplyCode, given(3)).value(attempt::Column::Detail, given(4));
        sea_orm::ConnectionTrait::execute(tx, &attempts).await?;
    }
    Ok(settled.into_iter().map(|(id, _)| id).collect())
}

/// Takes intents back that were never handed over: the contacts wait as before, as if nothing had been tried.
pub async fn give_back(tx: &WriteTx, token: ClaimToken, ids: &[ContactId], now: Timestamp) -> Result<(), StoreError> {
    if ids.is_empty() {
        return Ok(());
    }
    let rows = ids.iter().map(|id| ValueTuple::One((*id).into())).collect();
    take_back(tx, update_held(token, rows, now)).await?;
    Ok(())
}

/// Takes intents back that were never handed over, because something stands in their way that was not known before.
pub async fn put_off(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    reason: BlockReason,
    now: Timestamp,
) -> Result<(), StoreError> {
    if setbacks.is_empty() {
        return Ok(());
    }
    let row = |setback: &Setback| {
        let retry = setback.retry_time.into();
        ValueTuple::Many(vec![setback.contact_id.into(), retry, setback.detail.clone().into()])
    };
    let mut update = update_held(token, setbacks.iter().map(row).collect(), now);
    update
        .value(contact::Column::DueTime, given(2))
        .value(contact::Column::BlockReason, Expr::val(reason))
        .value(contact::Column::BlockEffect, Expr::val(Effect::Defer))
        .value(contact::Column::BlockDetail, given(3))
        .value(contact::Column::BlockRetryTime, given(2));
    take_back(tx, update).await?;
    Ok(())
}

/// Makes an intent a waiting contact again that nobody holds, and forgets the attempt. Answers which.
pub async fn take_back(tx: &WriteTx, mut update: UpdateStatement) -> Result<Vec<ContactId>, StoreError> {
    update
        .value(contact::Column::State, Expr::val(ContactState::Scheduled))
        .value(contact::Column::AttemptCount, own(contact::Column::AttemptCount).sub(1))
        .value(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>));
    let taken_back: Vec<ContactId> = changed(tx, &update).await?.into_iter().map(|(id, _)| id).collect();
    attempt::Entity::delete_many()
        .filter(attempt::Column::ContactId.is_in(taken_back.iter().copied()))
        .filter(attempt::Column::EndTime.is_null())
        .exec(tx)
        .await?;
    Ok(taken_back)
}

/// Completes attempts, each by its contact and number.
pub async fn end_attempts(
    tx: &WriteTx,
    attempts: &[(ContactId, i32)],
    outcome: AttemptOutcome,
    detail: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    if attempts.is_empty() {
        return Ok(());
    }
    let detail = Some(detail).filter(|detail| !detail.is_empty()).map(str::to_owned);
    let rows = attempts.iter().map(|(id, number)| ValueTuple::Two((*id).into(), (*number).into())).collect();
    let mut update = update_attempts(rows, outcome, now);
    update.value(attempt::Column::Detail, Expr::val(detail));
    sea_orm::ConnectionTrait::execute(tx, &update).await?;
    Ok(())
}

/// Each row begins with the key of an attempt.
fn update_attempts(rows: Vec<ValueTuple>, outcome: AttemptOutcome, now: Timestamp) -> UpdateStatement {
    Query::update()
        .table(attempt::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(attempt::Column::Outcome, Expr::val(outcome))
        .value(attempt::Column::EndTime, now)
        .and_where(of_attempt(attempt::Column::ContactId).eq(given(1)))
        .and_where(of_attempt(attempt::Column::Number).eq(given(2)))
        .to_owned()
}

fn of_attempt(column: attempt::Column) -> SimpleExpr {
    Expr::col((attempt::Entity, column))
}
