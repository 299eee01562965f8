use std::collections::HashMap;

use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait,
    sea_query::{LockBehavior, LockType, SimpleExpr},
};

use super::super::{
    CustomerKey,
    bulk::resolve_each,
    entity::{address, customer, external_id},
    store::{corrupt, email_key},
};
use crate::{
    calendar::Zone,
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::CustomerId,
};

/// What a lock on a customer shows.
#[derive(Debug, Clone, Copy)]
pub struct Locked {
    /// Who.
    pub customer_id: CustomerId,
    /// When they were deleted; none = they were not.
    pub delete_time: Option<Timestamp>,
    /// Where they live; none = not known.
    pub zone: Option<Zone>,
}

/// Keeps the plans of whom a key names from others until this transaction ends, in one query.
pub async fn lock(tx: &WriteTx, key: &CustomerKey) -> Result<Option<Locked>, StoreError> {
    let named = match key {
        CustomerKey::Id(id) => customer::Column::CustomerId.eq(*id),
        CustomerKey::ExternalId(external_id) => {
            let owner = external_id::Entity::find_by_id(external_id.clone()).select_only();
            customer::Column::CustomerId.in_subquery(owner.column(external_id::Column::CustomerId).into_query())
        }
        CustomerKey::Email(email) => {
            let owner = address::Entity::find().select_only().column(address::Column::CustomerId);
            let living = address::Column::LivingKey.eq(email_key(email));
            customer::Column::CustomerId.in_subquery(owner.filter(living).into_query())
        }
    };
    Ok(lock_named(tx, named).await?.pop())
}

/// Keeps the plans of all whom keys name from others until this transaction ends, in one order for everybody and in a query for
/// each kind of key. Answers in the order of the keys.
pub async fn lock_each(tx: &WriteTx, keys: &[&CustomerKey]) -> Result<Vec<Option<Locked>>, StoreError> {
    let ids = resolve_each(tx, keys).await?;
    let named = customer::Column::CustomerId.is_in(ids.iter().flatten().copied());
    let locked: HashMap<CustomerId, Locked> =
        lock_named(tx, named).await?.into_iter().map(|one| (one.customer_id, one)).collect();
    Ok(ids.into_iter().map(|id| locked.get(&id?).copied()).collect())
}

async fn lock_named(tx: &WriteTx, named: SimpleExpr) -> Result<Vec<Locked>, StoreError> {
    let rows: Vec<(CustomerId, Option<Timestamp>, Option<String>)> = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .column(customer::Column::DeleteTime)
        .column(customer::Column::TimeZone)
        .filter(named)
        .order_by_asc(customer::Column::CustomerId)
        .lock(LockType::NoKeyUpdate)
        .into_tuple()
        .all(tx)
        .await?;
    rows.into_iter()
        .map(|(customer_id, delete_time, name)| {
            let zone = name.map(|name| name.parse().map_err(|_| corrupt("customers", "time_zone"))).transpose()?;
            Ok(Locked { customer_id, delete_time, zone })
        })
        .collect()
}

/// Keeps the plans of customers from others until this transaction ends, in one order for everybody.
pub async fn lock_all(tx: &WriteTx, ids: Vec<CustomerId>) -> Result<(), StoreError> {
    lock_rows(tx, ids, LockType::NoKeyUpdate).await
}

/// The same for those whose plans nobody keeps at this moment: it waits for nobody. Answers who they are.
pub async fn lock_free(tx: &WriteTx, ids: Vec<CustomerId>) -> Result<Vec<CustomerId>, StoreError> {
    if tx.get_database_backend() == DbBackend::Sqlite {
        return Ok(ids);
    }
    let query = customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .filter(customer::Column::CustomerId.is_in(ids))
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked);
    Ok(query.into_tuple().all(tx).await?)
}

/// Keeps what these customers said from being changed until this transaction ends.
pub async fn lock_shared(tx: &WriteTx, ids: &[CustomerId]) -> Result<(), StoreError> {
    lock_rows(tx, ids.to_vec(), LockType::Share).await
}

async fn lock_rows(tx: &WriteTx, ids: Vec<CustomerId>, how: LockType) -> Result<(), StoreError> {
    // On SQLite the transaction is alone: there is nothing to lock.
    if ids.is_empty() || tx.get_database_backend() == DbBackend::Sqlite {
        return Ok(());
    }
    customer::Entity::find()
        .select_only()
        .column(customer::Column::CustomerId)
        .filter(customer::Column::CustomerId.is_in(ids))
        .order_by_asc(customer::Column::CustomerId)
        .lock(how)
        .into_tuple::<CustomerId>()
        .all(tx)
        .await?;
    Ok(())
}
