//! Addresses that are not written to, whoever has them: kept as keyed hashes, so that they outlive the customer.

mod entity;
mod fields;
mod returned;
mod store;
mod suppression;

use std::collections::HashMap;

pub use self::fields::suppression_fields;
pub use self::returned::{CameBack, RecordedDeliveries, record_deliveries};
use self::store::Lift;
pub use self::suppression::{AddressKey, Cause, Lifted, NewSuppression, Suppressed, Suppression};
use crate::{
    clock::{Clock, Timestamp},
    customers::{self, Address, Customer, CustomerKey},
    database::{self, Connection, Database, Erased, StoreError, WriteTx},
    delivery::{Channel, EmailAddress},
    filter::Wanted,
    ids::{AddressId, SuppressionId},
    rpc::{Fault, Page, PageOf, Reason, Reply, RequestKey},
    tokens::SecretKey,
};

/// The suppressions of this deployment.
#[derive(Debug, Clone)]
pub struct Suppressions {
    db: Database,
    clock: Clock,
    key: SecretKey,
}

impl Suppressions {
    /// Those in a database, with the key of their addresses.
    pub fn new(db: Database, clock: Clock, key: SecretKey) -> Self {
        Self { db, clock, key }
    }

    /// Keeps an address from being written to, from the next decision on.
    pub async fn create(&self, new: NewSuppression, key: Option<&RequestKey>) -> Result<Reply<Suppression>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let corrupt = |_| StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
            let id: SuppressionId = first.resource.parse().map_err(corrupt)?;
            return Ok(Reply::replayed(store::find(&tx, id).await?.ok_or_else(|| not_found(id))?));
        }
        let owner = CustomerKey::Email(new.address.clone());
        let suppression = add(&tx, &self.key, new, now).await?;
        // Whoever decides about a message to this address at this moment is done before this ends, or sees it.
        customers::lock_by_key(&tx, &owner).await?;
        if let Some(key) = key {
            key.finish(&tx, suppression.suppression_id, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(suppression))
    }

    /// Lifts a suppression on behalf of an operator.
    pub async fn delete(&self, id: SuppressionId, actor: &str, reason: &str) -> Result<(), Fault> {
        let time = self.clock.now();
        let tx = self.db.begin_write().await?;
        let found = store::lock_holding(&tx, id, time).await?.ok_or_else(|| not_found(id))?;
        if !found.cause.is_lifted_by_operator() {
            let message = format!("{id} is for {}: only a new consent of the customer's own lifts that", found.cause);
            return Err(Fault::refused(Reason::SuppressionStands, id, message));
        }
        store::lift(&tx, &[id], Lift { actor, reason, time }).await?;
        database::commit(tx).await?;
        Ok(())
    }

    /// All that ever were of an address, those that are over or were lifted too; the oldest first.
    pub async fn history(&self, address: &EmailAddress) -> Result<Vec<Suppression>, StoreError> {
        store::history(self.db.reader(), &AddressKey::of(&self.key, Channel::Email, address)).await
    }

    /// A page of those that hold, the oldest first; of one address, or of all.
    pub async fn list(
        &self,
        address: Option<&EmailAddress>,
        wanted: &Wanted,
        page: &Page,
    ) -> Result<PageOf<Suppression>, StoreError> {
        let key = address.map(|address| AddressKey::of(&self.key, Channel::Email, address));
        let rows = store::list(self.db.reader(), key, wanted, page, self.clock.now()).await?;
        Ok(PageOf::from_rows(rows, page, |one| one.suppression_id.to_string()))
    }
}

/// Suppresses an address, in the transaction of the caller. For the same cause there is one at most.
async fn add(tx: &WriteTx, key: &SecretKey, new: NewSuppression, now: Timestamp) -> Result<Suppression, StoreError> {
    let address_key = AddressKey::of(key, new.channel, &new.address);
    let known = store::of_address(tx, &address_key).await?.into_iter().find(|one| one.cause == new.cause);
    let expire_time = new.expire_time.or_else(|| new.cause.usual_end(now));
    if let Some(known) = known {
        if known.holds(now) {
            let renewed = known.reported_again(new.note, expire_time, now);
            store::renew(tx, &renewed).await?;
            return Ok(renewed);
        }
        let over = Lift { actor: "rapport", reason: "its time was over", time: now };
        store::lift(tx, &[known.suppression_id], over).await?;
    }
    let suppression = Suppression {
        suppression_id: SuppressionId::generate(),
        channel: new.channel,
        address_key,
        masked_address: new.address.masked(),
        cause: new.cause,
        note: new.note,
        actor: new.actor,
        create_time: now,
        report_time: now,
        expire_time,
    };
    store::insert(tx, &suppression).await?;
    Ok(suppression)
}

/// Removes what suppressions of an erased customer's addresses tell about them: which address they are for is left as a key alone.
/// `former` are the keys of addresses that the customer had before.
/// `suppress` keeps the addresses from being written to from now on, whoever comes with them.
pub async fn forget_addresses(
    tx: &WriteTx,
    key: &SecretKey,
    customer: &Customer,
    former: Vec<Vec<u8>>,
    suppress: Option<&str>,
    now: Timestamp,
) -> Result<(Erased, Vec<SuppressionId>), StoreError> {
    for address in customer.addresses.iter().filter(|_| suppress.is_some()) {
        let new = NewSuppression {
            channel: address.channel,
            address: address.value.clone(),
            cause: Cause::Erasure,
            note: String::new(),
            actor: suppress.unwrap_or_default().to_owned(),
            expire_time: None,
        };
        add(tx, key, new, now).await?;
    }
    let keys = customer.addresses.iter().map(|address| AddressKey::of(key, address.channel, &address.value));
    let blanked = store::blank(tx, keys.map(AddressKey::into_bytes).chain(former)).await?;
    Ok((vec![("suppressions", blanked.len() as u64)], blanked))
}

/// Lifts what only a customer can, as far as it is older than what the customer said: after a consent of the customer's own for
/// an address.
pub async fn lift_by_own_act(
    tx: &WriteTx,
    key: &SecretKey,
    address: &Address,
    said: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    let found = store::of_address(tx, &AddressKey::of(key, address.channel, &address.value)).await?;
    let older = found.iter().filter(|one| !one.cause.is_lifted_by_operator() && one.report_time < said);
    let ids: Vec<SuppressionId> = older.map(|one| one.suppression_id).collect();
    store::lift(tx, &ids, Lift { actor: "customer", reason: "a new consent of the customer's own", time: now }).await
}

/// What is suppressed of the addresses of some customers, in one query.
pub async fn suppressed_of(
    db: &impl Connection,
    key: &SecretKey,
    customers: impl IntoIterator<Item = &Customer>,
    now: Timestamp,
) -> Result<Suppressed, StoreError> {
    let addresses = customers.into_iter().flat_map(|customer| &customer.addresses);
    let keys: HashMap<AddressId, AddressKey> =
        addresses.map(|address| (address.address_id, AddressKey::of(key, address.channel, &address.value))).collect();
    if keys.is_empty() {
        return Ok(Suppressed::default());
    }
    let by_key = store::load(db, keys.values().cloned(), now).await?;
    if by_key.is_empty() {
        return Ok(Suppressed::default());
    }
    let own = |(id, key)| Some((id, by_key.get(&key)?.clone()));
    Ok(Suppressed::new(keys.into_iter().filter_map(own).collect()))
}

/// Every suppression of some customers' addresses that began before a moment.
pub async fn suppressions_before(
    db: &impl Connection,
    key: &SecretKey,
    customers: impl IntoIterator<Item = &Customer>,
    before: Timestamp,
) -> Result<Vec<Lifted>, StoreError> {
    let addresses = customers.into_iter().flat_map(|customer| &customer.addresses);
    let keys = addresses.map(|address| AddressKey::of(key, address.channel, &address.value));
    store::of_addresses(db, keys, before).await
}

/// Takes a suppression over as another database has it at a moment: lifted, if it was by then.
pub async fn take_over(tx: &WriteTx, of: &Lifted, now: Timestamp) -> Result<(), StoreError> {
    let Lifted { suppression, lift_time } = of;
    match lift_time.filter(|time| *time <= now) {
        None => store::insert(tx, suppression).await,
        Some(time) => {
            let by = Lift { actor: "rapport", reason: "lifted as it was", time };
            store::lift(tx, &[suppression.suppression_id], by).await
        }
    }
}

fn not_found(id: SuppressionId) -> Fault {
    Fault::refused(Reason::SuppressionNotFound, id, format!("there is no suppression {id} that holds"))
}
