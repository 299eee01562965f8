use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
    sea_query::{
        CommonTableExpression, Expr, ExprTrait, IntoIden, LockBehavior, LockType, Query, SimpleExpr, TableRef,
        UpdateStatement, ValueTuple, WithClause,
    },
};

use super::{
    super::{
        AttemptOutcome, BlockReason, Claim, Contact, ContactState, Effect, Purpose,
        entity::{attempt, contact, decision},
        store::domain,
    },
    Blocked, Intent, LEASE, Setback,
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

/// Claims up to `most` due contacts, the longest due first: one statement, which is a transaction by itself.
pub async fn claim(
    db: &impl ConnectionTrait,
    now: Timestamp,
    paused: &[CampaignId],
    most: u64,
) -> Result<Claim, StoreError> {
    let token = ClaimToken::generate();
    let free = Condition::any()
        .add(contact::Column::ClaimToken.is_null())
        .add(Expr::col(contact::Column::LeaseEnd).lt(lease_now(db)));
    // On SQLite the lock clause is left out: the statement is alone anyway. On Postgres the picked rows must be worked out
    // once, or more than `most` could be locked.
    let picked = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(due(now, paused))
        .filter(free)
        .order_by_asc(contact::Column::DueTime)
        .order_by_asc(contact::Column::ContactId)
        .limit(most)
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_query();
    let picked = CommonTableExpression::new().query(picked).table_name("picked").materialized(true).to_owned();
    let chosen = Query::select().column(contact::Column::ContactId).from("picked").to_owned();
    let claim = Query::update()
        .table(contact::Entity)
        .value(contact::Column::ClaimToken, Expr::val(token))
        .value(contact::Column::LeaseEnd, lease_end(db, LEASE))
        .and_where(contact::Column::ContactId.in_subquery(chosen))
        .returning_all()
        .to_owned()
        .with(WithClause::new().cte(picked).to_owned());
    let rows = contact::Model::find_by_statement(db.get_database_backend().build(&claim)).all(db).await?;
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

/// Records what is about to be handed over, as far as the claim still holds it: the contact as SENDING under a fresh lease, and
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
        ValueTuple::Many(vec![intent.contact_id.into(), intent.address_id.into(), intent.template_version.into()])
    });
    let mut update = update_each(token, rows.collect(), now);
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
    let mut update = update_each(token, rows.collect(), now);
    update
        .value(contact::Column::State, given(2))
        .value(contact::Column::BlockReason, given(3))
        .value(contact::Column::BlockEffect, given(4))
        .value(contact::Column::BlockDetail, given(5))
        .value(contact::Column::BlockRetryTime, given(6))
        .value(contact::Column::DueTime, Expr::expr(given(7)).if_null(own(contact::Column::DueTime)))
        .value(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .value(contact::Column::LeaseEnd, Expr::val(None::<Timestamp>));
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

/// Sets free what a worker claimed, never intended, and left when it died. Answers how many.
pub async fn release_abandoned(tx: &WriteTx) -> Result<u64, StoreError> {
    let released = contact::Entity::update_many()
        .col_expr(contact::Column::ClaimToken, Expr::val(None::<ClaimToken>))
        .col_expr(contact::Column::LeaseEnd, Expr::val(None::<Timestamp>))
        .filter(contact::Column::State.eq(ContactState::Scheduled))
        .filter(contact::Column::ClaimToken.is_not_null())
        .filter(Expr::col(contact::Column::LeaseEnd).lt(lease_now(tx)))
        .exec(tx)
        .await?;
    Ok(released.rows_affected)
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

/// `UPDATE contacts SET … FROM (VALUES …) AS given WHERE contact_id = given.column1`, for what waits under a claim: one
/// statement for rows that each get values of their own. Both databases name the columns of VALUES column1, column2 and so on.
fn update_each(token: ClaimToken, rows: Vec<ValueTuple>, now: Timestamp) -> UpdateStatement {
    Query::update()
        .table(contact::Entity)
        .from(TableRef::ValuesList(rows, "given".into_iden()))
        .value(contact::Column::UpdateTime, now)
        .value(contact::Column::Revision, own(contact::Column::Revision).add(1))
        .and_where(own(contact::Column::ContactId).eq(given(1)))
        .and_where(own(contact::Column::State).eq(ContactState::Scheduled))
        .and_where(own(contact::Column::ClaimToken).eq(token))
        .returning_col(contact::Column::ContactId)
        .to_owned()
}

/// Which rows a statement changed.
async fn changed(tx: &WriteTx, update: &UpdateStatement) -> Result<Vec<ContactId>, StoreError> {
    let rows = tx.query_all(update).await?;
    rows.iter().map(|row| Ok(row.try_get_by_index(0)?)).collect()
}

fn own(column: contact::Column) -> SimpleExpr {
    Expr::col((contact::Entity, column))
}

fn given(place: u8) -> SimpleExpr {
    Expr::col(("given", format!("column{place}")))
}
