//! Replay of a `request_id`: the same request again gets the same answer and has no second effect.
//!
//! What is kept is the caller, the method, a digest of the request, what was made and the counts that the answer carried, in
//! the transaction of the effect. The answer itself is read again. A request that failed has had no effect and leaves nothing.

use prost::Message;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::OnConflict};
use sha2::{Digest, Sha256};

use super::{Caller, Fault, Reason, entity};
use crate::{
    clock::Timestamp,
    database::{Database, StoreError, WriteTx},
};

/// One request that its caller may repeat.
#[derive(Debug, Clone)]
pub struct RequestKey {
    caller: String,
    method: &'static str,
    request_id: String,
    digest: Vec<u8>,
}

/// What the first of several equal requests made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// The id of what was made or changed.
    pub resource: String,
    /// The counts that the answer carried, in the order of the method.
    pub counts: Vec<i64>,
}

/// What an operation answers, and whether it had been done before.
#[derive(Debug)]
pub struct Reply<T> {
    /// The answer.
    pub value: T,
    /// An equal request did it; this one changed nothing.
    pub replayed: bool,
}

impl<T> Reply<T> {
    /// Done now.
    pub fn fresh(value: T) -> Self {
        Self { value, replayed: false }
    }

    /// Done by an equal request before.
    pub fn replayed(value: T) -> Self {
        Self { value, replayed: true }
    }
}

impl RequestKey {
    /// The key of a request, without its id if it has none. `body` is the request without its id; maps are encoded in order.
    pub fn new(caller: &Caller, method: &'static str, request_id: &str, body: &impl Message) -> Option<Self> {
        if request_id.is_empty() {
            return None;
        }
        Some(Self {
            caller: caller.as_str().to_owned(),
            method,
            request_id: request_id.to_owned(),
            digest: Sha256::digest(body.encode_to_vec()).to_vec(),
        })
    }

    /// Takes the key for the effect of this transaction, or answers what the first request made. An equal request that is
    /// still under way is waited for.
    pub async fn begin(&self, tx: &WriteTx, now: Timestamp) -> Result<Option<Answered>, Fault> {
        let row = entity::ActiveModel {
            caller: Set(self.caller.clone()),
            method: Set(self.method.to_owned()),
            request_id: Set(self.request_id.clone()),
            body_digest: Set(self.digest.clone()),
            resource: Set(String::new()),
            counts: Set(serde_json::Value::Array(Vec::new())),
            create_time: Set(now),
        };
        let inserted = entity::Entity::insert(row)
            .on_conflict(OnConflict::new().do_nothing().to_owned())
            .exec_without_returning(tx)
            .await
            .map_err(StoreError::from)?;
        if inserted == 1 {
            return Ok(None);
        }
        let first = entity::Entity::find_by_id((self.caller.clone(), self.method.to_owned(), self.request_id.clone()))
            .one(tx)
            .await
            .map_err(StoreError::from)?;
        match first {
            Some(first) if first.body_digest == self.digest => Ok(Some(answered(first)?)),
            Some(_) => {
                let message = "the request id was used before, for another request";
                Err(Fault::refused(Reason::RequestIdReused, &self.request_id, message))
            }
            None => Err(Fault::refused(Reason::WriteConflict, &self.request_id, "an equal request is still under way")),
        }
    }

    /// Keeps what the request made, in the transaction that made it.
    pub async fn finish(&self, tx: &WriteTx, resource: impl ToString, counts: &[i64]) -> Result<(), Fault> {
        entity::Entity::update_many()
            .col_expr(entity::Column::Resource, resource.to_string().into())
            .col_expr(entity::Column::Counts, serde_json::Value::from(counts.to_vec()).into())
            .filter(entity::Column::Caller.eq(&self.caller))
            .filter(entity::Column::Method.eq(self.method))
            .filter(entity::Column::RequestId.eq(&self.request_id))
            .exec(tx)
            .await
            .map_err(StoreError::from)?;
        Ok(())
    }
}

/// Forgets what was answered before `before`; answers how many requests that were.
pub async fn forget_requests(db: &Database, before: Timestamp) -> Result<u64, StoreError> {
    let tx = db.begin_write().await?;
    let done = entity::Entity::delete_many().filter(entity::Column::CreateTime.lt(before)).exec(&tx).await?;
    crate::database::commit(tx).await?;
    Ok(done.rows_affected)
}

fn answered(row: entity::Model) -> Result<Answered, StoreError> {
    let counts = serde_json::from_value(row.counts)
        .map_err(|wrong| StoreError::Corrupt { table: "requests", detail: wrong.to_string() })?;
    Ok(Answered { resource: row.resource, counts })
}
