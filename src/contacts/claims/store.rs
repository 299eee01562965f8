use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Value,
    sea_query::{
        Expr, ExprTrait, IntoIden, LockBehavior, LockType, Query, SimpleExpr, TableRef, UpdateStatement, ValueTuple,
    },
};

use super::{
    super::{
        AttemptOutcome, Block, BlockReason, Claim, Contact, ContactState, Decision, Effect, Purpose,
        entity::{attempt, contact, decision},
        store::domain,
    },
    Intent, LEASE, Setback,
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx, lease_end, lease_now},
    ids::{CampaignId, ClaimToken, ContactId},
};

/// Due, and nobody else's. What waits for a paused campaign is due only to expire.
fn due(now: Timestamp, paused: &[CampaignId]) -> Condition {
    let mut due =
        Condition::all().add(contact::Column::State.eq(ContactState::Scheduled)).add(contact::Column::DueTime.lte(now));
    if !paused.is_empty() {
        due = due.add(
            Condition::any()
                .add(contact::Column::CampaignId.is_null())
                .add(contact::Column::CampaignId.is_not_in(paused.iter().cloned()))
                .add(contact::Column::ExpireTime.lte(now)),
        );
    }
    due
}

/// Claims up to `most` due contacts, the longest due first.
pub async fn claim(tx: &WriteTx, now: Timestamp, paused: &[CampaignId], most: u64) -> Result<Claim, StoreError> {
    let token = ClaimToken::generate();
    let free = Condition::any()
        .add(contact::Column::ClaimToken.is_null())
        .add(Expr::col(contact::Column::LeaseEnd).lt(lease_now(tx)));
    // On SQLite the lock clause is left out: the transaction is alone anyway.
    let ids: Vec<ContactId> = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(due(now, paused))
        .filter(free)
        .order_by_asc(contact::Column::DueTime)
        .order_by_asc(contact::Column::ContactId)
        .limit(most)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .all(tx)
        .await?;
    if ids.is_empty() {
        return Ok(Claim { token, contacts: Vec::new() });
    }
    let rows = contact::Entity::update_many()
        .col_expr(contact::Column::ClaimToken, Expr::val(token))
        .col_expr(contact::Column::LeaseEnd, lease_end(tx, LEASE))
        .filter(contact::Column::ContactId.is_in(ids))
        .exec_with_returning(tx)
        .await?;
    let mut contacts = rows.into_iter().map(domain).collect::<Result<Vec<Contact>, _>>()?;
    contacts.sort_by_key(|contact| (contact.due_time, contact.contact_id));
    Ok(Claim { token, contacts })
}

/// When the next contact is due that this process can claim; a moment that is over means now.
pub async fn next_due(db: &impl ConnectionTrait, paused: &[CampaignId]) -> Result<Option<Timestamp>, StoreError> {
    let waiting = || {
        contact::Entity::find()
            .select_only()
            .filter(contact::Column::State.eq(ContactState::Scheduled))
            .filter(contact::Column::ClaimToken.is_null())
    };
    let mut running = waiting().column(contact::Column::DueTime).order_by_asc(contact::Column::DueTime);
    if !paused.is_empty() {
        let going = contact::Column::CampaignId.is_not_in(paused.iter().cloned());
        running = running.filter(contact::Column::CampaignId.is_null().or(going));
    }
    let due: Option<Timestamp> = running.into_tuple().one(db).await?;
    if paused.is_empty() {
        return Ok(due);
    }
    let expires: Option<Timestamp> = waiting()
        .column(contact::Column::ExpireTime)
        .filter(contact::Column::CampaignId.is_in(paused.iter().cloned()))
        .order_by_asc(contact::Column::ExpireTime)
        .into_tuple()
        .one(db)
        .await?;
    Ok([due, expires].into_iter().flatten().min())
}

/// Which of these are still held under the claim; they stay so until the transaction ends.
pub async fn still_held(tx: &WriteTx, token: ClaimToken, ids: &[ContactId]) -> Result<Vec<ContactId>, StoreError> {
    let held = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(contact::Column::ContactId.is_in(ids.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .filter(contact::Column::ClaimToken.eq(token))
        .order_by_asc(contact::Column::ContactId)
        .lock(LockType::Update)
        .into_tuple()
        .all(tx)
        .await?;
    Ok(held)
}

/// Records what is about to be handed over: the decision, the attempt, and the contact as SENDING under a fresh lease.
pub async fn intend(tx: &WriteTx, intents: &[Intent], replica: &str, now: Timestamp) -> Result<(), StoreError> {
    if intents.is_empty() {
        return Ok(());
    }
    let attempts = intents.iter().map(|intent| attempt::ActiveModel {
        contact_id: Set(intent.contact_id),
        number: Set(intent.number),
        start_time: Set(now),
        end_time: Set(None),
        outcome: Set(None),
        detail: Set(None),
        replica: Set(replica.to_owned()),
    });
    attempt::Entity::insert_many(attempts).exec_without_returning(tx).await?;
    let decisions = intents.iter().map(|intent| Decision {
        contact_id: intent.contact_id,
        revision: intent.revision + 1,
        time: now,
        block: None,
        consent: intent.consent,
    });
    record(tx, decisions).await?;
    let rows = intents.iter().map(|intent| {
        let values = vec![intent.contact_id.into(), intent.address_id.into(), intent.template_version.into()];
        ValueTuple::Many(values)
    });
    let mut update = update_each(rows.collect(), now);
    update
        .value(contact::Column::State, Expr::val(ContactState::Sending))
        .value(contact::Column::AttemptCount, own(contact::Column::AttemptCount).add(1))
        .value(contact::Column::LeaseEnd, lease_end(tx, LEASE))
        .value(contact::Column::AddressId, given(2))
        .value(contact::Column::TemplateVersion, given(3))
        .value(contact::Column::BlockReason, Expr::val(None::<BlockReason>))
        .value(contact::Column::BlockEffect, Expr::val(None::<Effect>))
        .value(contact::Column::BlockDetail, Expr::val(None::<String>))
        .value(contact::Column::BlockRetryTime, Expr::val(None::<Timestamp>));
    tx.execute(&update).await?;
    Ok(())
}

/// Ends contacts for good, with the decision that ends them.
pub async fn end(tx: &WriteTx, ends: &[(ContactId, i32, Block)], now: Timestamp) -> Result<(), StoreError> {
    let rows: Vec<(ContactId, i32, Block, Option<Timestamp>)> =
        ends.iter().map(|(id, revision, block)| (*id, *revision, block.clone(), None)).collect();
    set_blocks(tx, &rows, now).await
}

/// Puts contacts off until a later moment (none = they stay due and are asked about again), with the decision.
pub async fn defer(
    tx: &WriteTx,
    deferrals: &[(ContactId, i32, Block, Option<Timestamp>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    set_blocks(tx, deferrals, now).await
}

async fn set_blocks(
    tx: &WriteTx,
    rows: &[(ContactId, i32, Block, Option<Timestamp>)],
    now: Timestamp,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let decisions = rows.iter().map(|(contact_id, revision, block, _)| Decision {
        contact_id: *contact_id,
        revision: revision + 1,
        time: now,
        block: Some(block.clone()),
        consent: None,
    });
    record(tx, decisions).await?;
    let values = rows.iter().map(|(id, _, block, due)| {
        ValueTuple::Many(vec![
            (*id).into(),
            block.effect.state().into(),
            block.reason.into(),
            block.effect.into(),
            block.detail.clone().into(),
            block.retry_time.into(),
            (*due).into(),
        ])
    });
    let mut update = update_each(values.collect(), now);
    update
        .value(contact::Column::State, given(2))
        .value(contact::Column::BlockReason, given(3))
        .value(contact::Column::BlockEffect, given(4))
        .value(contact::Column::BlockDetail, given(5))
        .value(contact::Column::BlockRetryTime, given(6))
        .value(contact::Column::DueTime, Expr::expr(given(7)).if_null(own(contact::Column::DueTime)));
    free(&mut update);
    tx.execute(&update).await?;
    Ok(())
}

/// Gives back what was claimed and never intended.
pub async fn release(tx: &WriteTx, token: ClaimToken) -> Result<(), StoreError> {
    contact::Entity::update_many()
        .col_expr(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .col_expr(contact::Column::LeaseEnd, Expr::val(None::<Timestamp>))
        .filter(contact::Column::ClaimToken.eq(token))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .exec(tx)
        .await?;
    Ok(())
}

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
    let settled = contact::Entity::update_many()
        .col_expr(contact::Column::State, Expr::val(ContactState::Sent))
        .col_expr(contact::Column::SendTime, now.into())
        .col_expr(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .col_expr(contact::Column::LeaseEnd, Expr::val(None::<Timestamp>))
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::ContactId.is_in(ids.iter().copied()))
        .filter(contact::Column::State.eq(ContactState::Sending))
        .filter(contact::Column::ClaimToken.eq(token))
        .exec_with_returning(tx)
        .await?;
    let settled: Vec<ContactId> = settled.into_iter().map(|row| row.contact_id).collect();
    end_attempts(tx, &settled, AttemptOutcome::Accepted, None, now).await?;
    Ok(settled)
}

/// Records what the transport refused for now: the contact waits for its next attempt.
pub async fn settle_later(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    now: Timestamp,
) -> Result<(), StoreError> {
    settle_setbacks(tx, token, setbacks, AttemptOutcome::TemporaryFailure, ContactState::Scheduled, now).await
}

/// Records what the transport refused for good.
pub async fn settle_never(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    now: Timestamp,
) -> Result<(), StoreError> {
    settle_setbacks(tx, token, setbacks, AttemptOutcome::PermanentFailure, ContactState::Failed, now).await
}

async fn settle_setbacks(
    tx: &WriteTx,
    token: ClaimToken,
    setbacks: &[Setback],
    outcome: AttemptOutcome,
    state: ContactState,
    now: Timestamp,
) -> Result<(), StoreError> {
    // Setbacks are rare and each has a text of its own, so each is a statement of its own.
    for setback in setbacks {
        let mut update = contact::Entity::update_many()
            .col_expr(contact::Column::State, Expr::val(state))
            .col_expr(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
            .col_expr(contact::Column::LeaseEnd, Expr::val(None::<Timestamp>))
            .col_expr(contact::Column::UpdateTime, now.into())
            .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
            .filter(contact::Column::ContactId.eq(setback.contact_id))
            .filter(contact::Column::State.eq(ContactState::Sending))
            .filter(contact::Column::ClaimToken.eq(token));
        if state == ContactState::Scheduled {
            update = update
                .col_expr(contact::Column::DueTime, setback.retry_time.into())
                .col_expr(contact::Column::BlockReason, Expr::val(BlockReason::BackOff))
                .col_expr(contact::Column::BlockEffect, Expr::val(Effect::Defer))
                .col_expr(contact::Column::BlockDetail, setback.detail.clone().into())
                .col_expr(contact::Column::BlockRetryTime, setback.retry_time.into());
        }
        if update.exec(tx).await?.rows_affected == 1 {
            end_attempts(tx, &[setback.contact_id], outcome, Some(&setback.detail), now).await?;
        }
    }
    Ok(())
}

async fn end_attempts(
    tx: &WriteTx,
    ids: &[ContactId],
    outcome: AttemptOutcome,
    detail: Option<&str>,
    now: Timestamp,
) -> Result<(), StoreError> {
    attempt::Entity::update_many()
        .col_expr(attempt::Column::Outcome, Expr::val(outcome))
        .col_expr(attempt::Column::Detail, Expr::val(detail.map(str::to_owned)))
        .col_expr(attempt::Column::EndTime, now.into())
        .filter(attempt::Column::ContactId.is_in(ids.iter().copied()))
        .filter(attempt::Column::EndTime.is_null())
        .exec(tx)
        .await?;
    Ok(())
}

/// Finds what a worker left in the middle of a hand-over: its answer is lost. A transactional contact is due again, any other
/// is in doubt. Answers the contacts as they are now.
pub async fn recover(tx: &WriteTx, now: Timestamp) -> Result<Vec<Contact>, StoreError> {
    let left: Vec<ContactId> = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(contact::Column::State.eq(ContactState::Sending))
        .filter(contact::Column::ClaimToken.is_not_null())
        .filter(Expr::col(contact::Column::LeaseEnd).lt(lease_now(tx)))
        .limit(1_000)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .all(tx)
        .await?;
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let again = Expr::case(contact::Column::Purpose.eq(Purpose::Transactional), Expr::val(ContactState::Scheduled))
        .finally(Expr::val(ContactState::UnknownOutcome));
    let rows = contact::Entity::update_many()
        .col_expr(contact::Column::State, again.into())
        .col_expr(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .col_expr(contact::Column::LeaseEnd, Expr::val(None::<Timestamp>))
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::ContactId.is_in(left.iter().copied()))
        .exec_with_returning(tx)
        .await?;
    end_attempts(tx, &left, AttemptOutcome::Unknown, Some("the answer was lost"), now).await?;
    rows.into_iter().map(domain).collect()
}

/// Voids every lease: on SQLite, where this process is the only one, whoever held them is gone.
pub async fn purge_claims(tx: &WriteTx) -> Result<(), StoreError> {
    contact::Entity::update_many()
        .col_expr(contact::Column::LeaseEnd, Expr::val(Timestamp::UNIX_EPOCH))
        .filter(contact::Column::ClaimToken.is_not_null())
        .exec(tx)
        .await?;
    Ok(())
}

async fn record(tx: &WriteTx, decisions: impl Iterator<Item = Decision>) -> Result<(), StoreError> {
    let rows = decisions.map(|decision| decision::ActiveModel {
        contact_id: Set(decision.contact_id),
        revision: Set(decision.revision),
        decide_time: Set(decision.time),
        reason: Set(decision.block.as_ref().map(|block| block.reason)),
        effect: Set(decision.block.as_ref().map(|block| block.effect)),
        retry_time: Set(decision.block.as_ref().and_then(|block| block.retry_time)),
        detail: Set(decision.block.map(|block| block.detail)),
        consent_record_id: Set(decision.consent),
    });
    decision::Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}

/// `UPDATE contacts SET … FROM (VALUES …) AS given WHERE contact_id = given.column1`: one statement for rows that each get
/// values of their own. Both databases name the columns of VALUES column1, column2 and so on.
fn update_each(rows: Vec<ValueTuple>, now: Timestamp) -> UpdateStatement {
    Query::update()
        .table(contact::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(contact::Column::UpdateTime, now)
        .value(contact::Column::Revision, own(contact::Column::Revision).add(1))
        .and_where(own(contact::Column::ContactId).eq(given(1)))
        .to_owned()
}

fn free(update: &mut UpdateStatement) {
    update
        .value(contact::Column::ClaimToken, Value::from(None::<ClaimToken>))
        .value(contact::Column::LeaseEnd, Value::from(None::<Timestamp>));
}

fn own(column: contact::Column) -> SimpleExpr {
    Expr::col((contact::Entity, column))
}

fn given(place: u8) -> SimpleExpr {
    Expr::col(("given", format!("column{place}")))
}
