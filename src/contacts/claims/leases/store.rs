use sea_orm::{
    ActiveValue::Set,
    ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect,
    sea_query::{Expr, ExprTrait, LockBehavior, LockType, Query, ValueTuple},
};

use super::{
    super::{
        super::{AttemptOutcome, Contact, ContactState, Purpose, entity::contact, store::domain},
        outcomes::{end_attempts, take_back},
        store::{given, own, update_held},
    },
    Held, LEASE,
    entity::{self as replica},
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx, lease_end, lease_now},
    ids::{ClaimToken, ContactId},
};

/// How many contacts are recovered at once.
const MOST: u64 = 1_000;

/// Takes a lease.
pub async fn register(tx: &WriteTx, token: ClaimToken, name: &str) -> Result<(), StoreError> {
    let row = replica::ActiveModel {
        claim_token: Set(token),
        name: Set(name.to_owned()),
        lease_end: Set(Timestamp::UNIX_EPOCH),
    };
    replica::Entity::insert(row).exec_without_returning(tx).await?;
    renew(tx, token).await?;
    Ok(())
}

/// Renews a lease; false when it is gone: others have recovered what it held.
pub async fn renew(tx: &WriteTx, token: ClaimToken) -> Result<bool, StoreError> {
    let renewed = replica::Entity::update_many()
        .col_expr(replica::Column::LeaseEnd, lease_end(tx, LEASE))
        .filter(replica::Column::ClaimToken.eq(token))
        .exec(tx)
        .await?;
    Ok(renewed.rows_affected == 1)
}

/// Whether a lease has not ended; until the transaction does, nobody can recover what it holds. Renewing goes on beside it.
pub async fn is_held(tx: &WriteTx, token: ClaimToken) -> Result<bool, StoreError> {
    let held: Option<ClaimToken> = replica::Entity::find()
        .select_only()
        .column(replica::Column::ClaimToken)
        .filter(replica::Column::ClaimToken.eq(token))
        .filter(Expr::col(replica::Column::LeaseEnd).gt(lease_now(tx)))
        .lock(LockType::KeyShare)
        .into_tuple()
        .one(tx)
        .await?;
    Ok(held.is_some())
}

/// Gives a lease up.
pub async fn end(tx: &WriteTx, token: ClaimToken) -> Result<(), StoreError> {
    replica::Entity::delete_by_id(token).exec(tx).await?;
    Ok(())
}

/// Ends every lease: on SQLite, where this process is the only one, whoever held them is gone.
pub async fn expire_all(tx: &WriteTx) -> Result<(), StoreError> {
    replica::Entity::delete_many().exec(tx).await?;
    Ok(())
}

/// Finds what was being handed over under a lease that has ended: the answer is lost. A transactional contact is due again, any
/// other is in doubt. Answers the contacts as they are now.
pub async fn recover(tx: &WriteTx, now: Timestamp) -> Result<Vec<Contact>, StoreError> {
    let lost = lost_leases(tx).await?;
    if lost.is_empty() {
        return Ok(Vec::new());
    }
    let left: Vec<ContactId> = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .filter(contact::Column::State.eq(ContactState::Sending))
        .filter(contact::Column::ClaimToken.is_in(lost))
        .limit(MOST)
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
        .col_expr(contact::Column::UpdateTime, now.into())
        .col_expr(contact::Column::Revision, Expr::col(contact::Column::Revision).add(1))
        .filter(contact::Column::ContactId.is_in(left.iter().copied()))
        .exec_with_returning(tx)
        .await?;
    let attempts: Vec<(ContactId, i32)> = rows.iter().map(|row| (row.contact_id, row.attempt_count)).collect();
    end_attempts(tx, &attempts, AttemptOutcome::Unknown, "the answer was lost", now).await?;
    rows.into_iter().map(domain).collect()
}

/// What is held under a lease.
pub async fn held(db: &impl ConnectionTrait, token: ClaimToken) -> Result<Vec<Held>, StoreError> {
    let rows: Vec<(ContactId, Timestamp, i32)> = contact::Entity::find()
        .select_only()
        .column(contact::Column::ContactId)
        .column(contact::Column::DueTime)
        .column(contact::Column::Revision)
        .filter(contact::Column::ClaimToken.eq(token))
        .into_tuple()
        .all(db)
        .await?;
    let held = |(contact_id, due_time, revision)| Held { contact_id, due_time, revision };
    Ok(rows.into_iter().map(held).collect())
}

/// Takes intents back that were never handed over, as if nothing had been tried, as far as they have not changed since they were
/// read. Answers how many.
pub async fn take_back_unchanged(
    tx: &WriteTx,
    token: ClaimToken,
    contacts: &[Held],
    now: Timestamp,
) -> Result<u64, StoreError> {
    if contacts.is_empty() {
        return Ok(0);
    }
    let row = |one: &Held| ValueTuple::Two(one.contact_id.into(), one.revision.into());
    let mut update = update_held(token, contacts.iter().map(row).collect(), now);
    update.and_where(own(contact::Column::Revision).eq(given(2)));
    let taken_back = take_back(tx, update).await?;
    Ok(u64::try_from(taken_back.len()).unwrap_or(u64::MAX))
}

/// The leases that have ended under which contacts are held still. Those that ran out are ended for good first, so that whoever
/// held one finds it gone; a lease whose process is in the middle of a transaction is left for the next time.
async fn lost_leases(tx: &WriteTx) -> Result<Vec<ClaimToken>, StoreError> {
    let over: Vec<ClaimToken> = replica::Entity::find()
        .select_only()
        .column(replica::Column::ClaimToken)
        .filter(Expr::col(replica::Column::LeaseEnd).lt(lease_now(tx)))
        .lock_with_behavior(LockType::Update, LockBehavior::SkipLocked)
        .into_tuple()
        .all(tx)
        .await?;
    if !over.is_empty() {
        replica::Entity::delete_many().filter(replica::Column::ClaimToken.is_in(over)).exec(tx).await?;
    }
    let alive = Query::select().column(replica::Column::ClaimToken).from(replica::Entity).to_owned();
    let lost = contact::Entity::find()
        .select_only()
        .column(contact::Column::ClaimToken)
        .distinct()
        .filter(contact::Column::ClaimToken.is_not_null())
        .filter(contact::Column::ClaimToken.not_in_subquery(alive));
    let lost: Vec<ClaimToken> = lost.into_tuple().all(tx).await?;
    Ok(lost)
}
