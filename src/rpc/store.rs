use std::collections::HashMap;

use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QuerySelect, sea_query::OnConflict};

use super::{Answered, RequestKey, entity};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
};

/// How many things a statement names at most.
const AT_ONCE: usize = 500;

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
    Ok(Some((row.body_digest, Answered { resource: row.resource, counts: counts(row.counts)? })))
}

/// The digests of the requests that took any of these keys, all of one caller and method, and what they made; by request id.
pub async fn all_first(tx: &WriteTx, keys: &[&RequestKey]) -> Result<HashMap<String, (Vec<u8>, Answered)>, StoreError> {
    let Some(one) = keys.first() else {
        return Ok(HashMap::new());
    };
    let rows = entity::Entity::find()
        .filter(entity::Column::Caller.eq(&one.caller))
        .filter(entity::Column::Method.eq(one.method))
        .filter(entity::Column::RequestId.is_in(keys.iter().map(|key| key.request_id.as_str())))
        .all(tx)
        .await?;
    rows.into_iter()
        .map(|row| {
            let answered = Answered { resource: row.resource, counts: counts(row.counts)? };
            Ok((row.request_id, (row.body_digest, answered)))
        })
        .collect()
}

/// Keeps what requests made that nobody had taken the keys of; raced when somebody has meanwhile.
pub async fn keep_all(tx: &WriteTx, made: Vec<(RequestKey, Answered)>, now: Timestamp) -> Result<(), StoreError> {
    if made.is_empty() {
        return Ok(());
    }
    let count = made.len() as u64;
    let rows = made.into_iter().map(|(key, answered)| entity::ActiveModel {
        caller: Set(key.caller),
        method: Set(key.method.to_owned()),
        request_id: Set(key.request_id),
        body_digest: Set(key.digest),
        resource: Set(answered.resource),
        counts: Set(answered.counts.into()),
        create_time: Set(now),
    });
    let taken = OnConflict::new().do_nothing().to_owned();
    let kept = entity::Entity::insert_many(rows).on_conflict(taken).exec_without_returning(tx).await?;
    if kept == count { Ok(()) } else { Err(StoreError::Raced) }
}

fn counts(json: serde_json::Value) -> Result<Vec<i64>, StoreError> {
    serde_json::from_value(json).map_err(|wrong| StoreError::Corrupt { table: "requests", detail: wrong.to_string() })
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

/// When the oldest key was taken.
pub async fn oldest(tx: &WriteTx) -> Result<Option<Timestamp>, StoreError> {
    let query = entity::Entity::find().select_only().column_as(entity::Column::CreateTime.min(), "oldest");
    Ok(query.into_tuple::<Option<Timestamp>>().one(tx).await?.flatten())
}

/// What requests made that made several things.
pub async fn lists(tx: &WriteTx) -> Result<Vec<String>, StoreError> {
    let query = entity::Entity::find().select_only().column(entity::Column::Resource);
    Ok(query.filter(entity::Column::Resource.like("% %")).into_tuple().all(tx).await?)
}

/// Forgets the keys of requests that made one of these; answers how many.
pub async fn forget_about(tx: &WriteTx, resources: &[String]) -> Result<u64, StoreError> {
    let mut forgotten = 0;
    for some in resources.chunks(AT_ONCE) {
        let about = entity::Column::Resource.is_in(some.iter().map(String::as_str));
        forgotten += entity::Entity::delete_many().filter(about).exec(tx).await?.rows_affected;
    }
    Ok(forgotten)
}
