//! A customer's rights to what is kept about them: everything personal is removed, everywhere, and a receipt is left, when they ask
//! for it and when their deletion can be undone no more; and what nobody needs is forgotten in time.

mod entity;
mod erasure;
mod retention;
mod store;

use std::collections::HashSet;

pub use self::{
    erasure::{Erasure, ErasureOrder, TABLES, Treatment},
    retention::{ForgetDeliveries, ForgetEvidence, PurgeCustomers},
};
use tokio_util::sync::CancellationToken;

use crate::{
    campaigns::{
        EndCause,
        enrollments::{self, Concerned},
        members,
    },
    clock::{Clock, Timestamp},
    contacts::{self, Block, BlockReason, CallOff, Effect},
    customers::{self, Customer, CustomerKey},
    database::{self, Database, Erased, StoreError, WriteTx},
    events,
    ids::{CustomerId, ErasureId},
    preferences,
    rpc::{self, Fault, Reply, RequestKey, Violations},
    tokens::SecretKey,
};

/// How often a transaction that got in another's way is tried.
const TRIES: usize = 5;

/// Removes what is personal.
#[derive(Debug, Clone)]
pub struct Privacy {
    db: Database,
    clock: Clock,
    key: SecretKey,
}

/// Why somebody is erased, and whether their addresses are kept from being written to.
struct Cause<'a> {
    actor: &'a str,
    reason: &'a str,
    suppress: bool,
}

impl Privacy {
    /// For the customers in a database, with the key of suppressed addresses.
    pub fn new(db: Database, clock: Clock, key: SecretKey) -> Self {
        Self { db, clock, key }
    }

    /// Removes everything personal about a customer, for ever, and calls off what waits. Whoever is erased already gets the same
    /// receipt again.
    pub async fn erase(&self, order: &ErasureOrder, key: Option<&RequestKey>) -> Result<Reply<Erasure>, Fault> {
        let mut tries = 1;
        let reply = loop {
            match self.try_erase(order, key).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => break outcome?,
            }
        };
        // Goes on when the caller does not wait any longer.
        let _ = tokio::spawn(clear_leftovers(self.db.clone())).await;
        Ok(reply)
    }

    /// The receipt of a customer's erasure; none where there was none.
    pub async fn receipt(&self, customer: CustomerId) -> Result<Option<Erasure>, StoreError> {
        store::find(self.db.reader(), customer).await
    }

    async fn try_erase(&self, order: &ErasureOrder, key: Option<&RequestKey>) -> Result<Reply<Erasure>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let is_repeated = match key {
            Some(key) => key.begin(&tx, now).await?.is_some(),
            None => false,
        };
        if matches!(order.customer, CustomerKey::Id(id) if id != order.confirmed) {
            return Err(not_confirmed());
        }
        // Whoever is erased has no other key than the id any more.
        if let Some(receipt) = store::find(&tx, order.confirmed).await? {
            if let Some(key) = key.filter(|_| !is_repeated) {
                key.finish(&tx, receipt.erasure_id, &[]).await?;
                database::commit(tx).await?;
            }
            return Ok(Reply { value: receipt, replayed: is_repeated });
        }
        let id =
            customers::resolve(&tx, &order.customer).await?.ok_or_else(|| customers::not_found(&order.customer))?;
        let customer = customers::lock_any(&tx, id).await?;
        check(order, &customer)?;
        let cause = Cause { actor: &order.actor, reason: &order.reason, suppress: true };
        let receipt = self.remove(&tx, &customer, &cause, now).await?;
        if let Some(key) = key {
            key.finish(&tx, receipt.erasure_id, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(receipt))
    }

    /// Erases up to `most` of the customers who were deleted at this moment or before; answers how many it looked at. Their addresses are
    /// not suppressed: somebody else may have them by now, and nobody asked for that.
    async fn purge_some(
        &self,
        deleted_before: Timestamp,
        most: u64,
        stop: &CancellationToken,
    ) -> Result<u64, StoreError> {
        let found = customers::deleted_before(self.db.reader(), deleted_before, most).await?;
        let cause = Cause { actor: "rapport", reason: "deleted thirty days before", suppress: false };
        for id in &found {
            if stop.is_cancelled() {
                break;
            }
            let tx = self.db.begin_write().await?;
            customers::lock_all(&tx, vec![*id]).await?;
            let still_deleted = |one: &Customer| one.purge_time().is_some() && one.delete_time <= Some(deleted_before);
            let Some(customer) = customers::find(&tx, *id).await?.filter(still_deleted) else {
                continue;
            };
            self.remove(&tx, &customer, &cause, self.clock.now()).await?;
            database::commit(tx).await?;
        }
        Ok(found.len() as u64)
    }

    /// Everything that is kept about a locked customer, in the order in which whoever writes it locks it.
    async fn remove(
        &self,
        tx: &WriteTx,
        customer: &Customer,
        cause: &Cause<'_>,
        now: Timestamp,
    ) -> Result<Erasure, StoreError> {
        let id = customer.customer_id;
        enrollments::end(tx, Concerned::Customer(id), EndCause::CustomerDeleted, now).await?;
        let former = contacts::address_keys(tx, id).await?;
        let mut erased = enrollments::erase(tx, id).await?;
        erased.extend(members::erase(tx, id).await?);
        erased.extend(contacts::erase(tx, id, now).await?);
        contacts::cancel(tx, CallOff::Customer(id), &called_off(), now).await?;
        erased.extend(events::erase(tx, id).await?);
        erased.extend(preferences::erase(tx, id).await?);
        let suppress = cause.suppress.then_some(cause.actor);
        let (blanked, suppressions) =
            preferences::forget_addresses(tx, &self.key, customer, former, suppress, now).await?;
        erased.extend(blanked);
        let about = suppressions.iter().map(ToString::to_string).collect();
        erased.extend(forget_requests(tx, id, about).await?);
        erased.extend(customers::erase(tx, customer, now).await?);
        let receipt = Erasure {
            erasure_id: ErasureId::generate(),
            customer_id: id,
            actor: cause.actor.to_owned(),
            reason: cause.reason.to_owned(),
            erased_rows: erased
                .into_iter()
                .filter(|(_, rows)| *rows > 0)
                .map(|(name, rows)| (name.into(), rows))
                .collect(),
            erase_time: now,
        };
        store::insert(tx, &receipt).await?;
        database::note_leftovers(tx).await?;
        Ok(receipt)
    }
}

/// What is in the way now is out of the way when the job comes by.
async fn clear_leftovers(db: Database) {
    match db.clear_leftovers().await {
        Ok(true) => {}
        Ok(false) => tracing::warn!("the database's log still holds what was erased: a reader was in the way"),
        Err(error) => tracing::warn!(%error, "the database's file still holds leftovers of what was erased"),
    }
}

/// Refuses to erase somebody else than was confirmed, and to keep their name in the receipt.
fn check(order: &ErasureOrder, customer: &Customer) -> Result<(), Fault> {
    if order.confirmed != customer.customer_id {
        return Err(not_confirmed());
    }
    let mut violations = Violations::default();
    if erasure::names(customer, &order.reason) {
        violations.add("reason", "must not name the customer: it stays in the receipt");
    }
    violations.check()
}

fn not_confirmed() -> Fault {
    let mut violations = Violations::default();
    violations.add("confirmCustomerId", "must be the id of the customer that the request names");
    Fault::Invalid(violations)
}

fn called_off() -> Block {
    let detail = "the customer was erased".to_owned();
    Block { reason: BlockReason::CustomerErased, effect: Effect::Cancel, detail, retry_time: None }
}

/// Forgets the requests that made or changed the customer, their contacts, or any of `about`.
async fn forget_requests(tx: &WriteTx, customer: CustomerId, mut about: HashSet<String>) -> Result<Erased, StoreError> {
    about.insert(customer.to_string());
    if let Some(oldest) = rpc::oldest_request(tx).await? {
        about.extend(contacts::ids_since(tx, customer, oldest).await?.iter().map(ToString::to_string));
    }
    Ok(vec![("requests", rpc::forget_requests_about(tx, about).await?)])
}
