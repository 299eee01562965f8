//! Replay of a `request_id`: the same request again gets the same answer and has no second effect.
//!
//! What is kept is the caller, the method, a digest of the request, what was made and the counts that the answer carried, in
//! the transaction of the effect. The answer itself is read again. A request that failed has had no effect and leaves nothing.

use std::collections::{HashMap, HashSet};

use prost::Message;
use sha2::{Digest, Sha256};

use super::{Caller, Fault, Reason, store};
use crate::{
    clock::Timestamp,
    database::{Database, StoreError, WriteTx},
};

/// One request that its caller may repeat.
#[derive(Debug, Clone)]
pub struct RequestKey {
    pub(super) caller: String,
    pub(super) method: &'static str,
    pub(super) request_id: String,
    pub(super) digest: Vec<u8>,
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
        if store::take(tx, self, now).await? {
            return Ok(None);
        }
        match store::first(tx, self).await? {
            Some((digest, answered)) => {
                self.check(&digest)?;
                Ok(Some(answered))
            }
            None => Err(Fault::refused(Reason::WriteConflict, &self.request_id, "an equal request is still under way")),
        }
    }

    /// Keeps what the request made, in the transaction that made it.
    pub async fn finish(&self, tx: &WriteTx, resource: impl ToString, counts: &[i64]) -> Result<(), Fault> {
        Ok(store::keep(tx, self, resource.to_string(), counts).await?)
    }

    /// Refuses when the first request with this id was another one.
    fn check(&self, first: &[u8]) -> Result<(), Fault> {
        if first == self.digest {
            return Ok(());
        }
        let message = "the request id was used before, for another request";
        Err(Fault::refused(Reason::RequestIdReused, &self.request_id, message))
    }
}

/// What the requests of a batch made that may each be repeated by themselves: all of one caller and one method.
#[derive(Debug, Default)]
pub struct Answers {
    first: HashMap<String, (Vec<u8>, Answered)>,
    new: Vec<(RequestKey, Answered)>,
}

impl Answers {
    /// What was answered to these keys before, in one query.
    pub async fn read(tx: &WriteTx, keys: &[&RequestKey]) -> Result<Self, StoreError> {
        Ok(Self { first: store::all_first(tx, keys).await?, new: Vec::new() })
    }

    /// What was made before, by an earlier request of the batch too.
    pub fn find(&self, key: &RequestKey) -> Result<Option<&Answered>, Fault> {
        let Some((digest, answered)) = self.first.get(&key.request_id) else {
            return Ok(None);
        };
        key.check(digest)?;
        Ok(Some(answered))
    }

    /// All that was made before.
    pub fn iter(&self) -> impl Iterator<Item = &Answered> {
        self.first.values().map(|(_, answered)| answered)
    }

    /// Notes what a request made.
    pub fn add(&mut self, key: &RequestKey, resource: impl ToString, counts: &[i64]) {
        let answered = Answered { resource: resource.to_string(), counts: counts.to_vec() };
        self.first.insert(key.request_id.clone(), (key.digest.clone(), answered.clone()));
        self.new.push((key.clone(), answered));
    }

    /// Keeps what was noted, in the transaction that made it.
    pub async fn keep(mut self, tx: &WriteTx, now: Timestamp) -> Result<(), StoreError> {
        // In one order, so that two batches with the same ids wait for each other and do not get stuck.
        self.new.sort_unstable_by(|(one, _), (other, _)| one.request_id.cmp(&other.request_id));
        store::keep_all(tx, self.new, now).await
    }
}

/// When the oldest answer was given that is still kept.
pub async fn oldest_request(tx: &WriteTx) -> Result<Option<Timestamp>, StoreError> {
    store::oldest(tx).await
}

/// Forgets every request that made or changed one of these; answers how many that were. A request id is the caller's, who may have
/// put anything into it, and a digest tells whether a guess at the request is right.
pub async fn forget_requests_about(tx: &WriteTx, resources: HashSet<String>) -> Result<u64, StoreError> {
    let mut named: Vec<String> = store::lists(tx).await?;
    named.retain(|list| list.split(' ').any(|one| resources.contains(one)));
    named.extend(resources);
    store::forget_about(tx, &named).await
}

/// Forgets what was answered before `before`; answers how many requests that were.
pub async fn forget_requests(db: &Database, before: Timestamp) -> Result<u64, StoreError> {
    let tx = db.begin_write().await?;
    let forgotten = store::forget(&tx, before).await?;
    crate::database::commit(tx).await?;
    Ok(forgotten)
}
