use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::OnConflict};

use super::{Answered, RequestKey, entity};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
};

/// Takes a key; false where it is taken. Waits for a transaction that is about to take it.
pub async fn take(tx: &WriteTx, key: &RequestKey, now: Timestamp) -> Result<bool, StoreError> {
    let row = entity::ActiveModel {
        caller: Set(key.caller.clone()),
        method: Set(key.method.to_owned()),
        request_id: Set(key.request_id.clone()),
        body_digest: Set(key.digest.clone()),
        resource: Set(String::new()),
        counts: Set(serde_json::Value::Array(Vec::new())),
        create_time: Set(now),
    };
    let insert = entity::Entity::insert(row).on_conflict(OnConflict::new().do_nothing().to_owned());
    Ok(insert.exec_without_returning(tx).await? == 1)
}

/// The digest of the request that took a key, and what it made.
pub async fn first(tx: &WriteTx, key: &RequestKey) -> Result<Option<(Vec<u8>, Answered)>, StoreError> {
    let id = (key.caller.clone(), key.method.to_owned(), key.request_id.clone());
    let Some(row) = entity::Entity::find_by_id(id).one(tx).await? else {
        return Ok(None);
    };
    let counts = serde_json::from_value(row.counts)
        .map_err(|wrong| StoreError::Corrupt { table: "requests", detail: wrong.to_string() })?;
    Ok(Some((row.body_digest, Answered { resource: row.resource, counts })))
}

/// Keeps what the request that took a key made.
pub async fn keep(tx: &WriteTx, key: &RequestKey, resource: String, counts: &[i64]) -> Result<(), StoreError> {
    entity::Entity::update_many()
        .col_expr(entity::Column::Resource, resource.into())
        .col_expr(entity::Column::Counts, serde_json::Value::from(counts.to_vec()).into())
        .filter(entity::Column::Caller.eq(&key.caller))
        .filter(entity::Column::Method.eq(key.method))
        .filter(entity::Column::RequestId.eq(&key.request_id))
        .exec(tx)
        .await?;
    Ok(())
}

/// Forgets keys that were taken before `before`; answers how many.
pub async fn forget(tx: &WriteTx, before: Timestamp) -> Result<u64, StoreError> {
    let forgotten = entity::Entity::delete_many().filter(entity::Column::CreateTime.lt(before)).exec(tx).await?;
    Ok(forgotten.rows_affected)
}
