//! Customers and their addresses.
//!
//! The row of a customer is the lock on everything that is planned for them: whoever changes plans or preferences takes it
//! first, and the dispatcher shares it while it decides. So no decision is made beside a change.

mod audience;
mod bulk;
mod customer;
mod entity;
mod fields;
mod locks;
mod matching;
mod past;
mod store;
mod wanted;

pub use self::{
    audience::{Residents, audience, count_audience, inhabited_zones},
    bulk::{CustomerBatch, Described, MatchBy},
    customer::{Address, Customer, CustomerChange, CustomerKey, NewAddress, RESTORABLE},
    fields::fields,
    locks::{Locked, lock as lock_by_key, lock_all, lock_each, lock_free, lock_shared},
    matching::{living, matching, matching_query},
    past::{Stay, come, copy, there},
    store::{deleted_before, erase, load, profiles, reach, zones},
    wanted::{count_wanted, oldest_and_youngest, wanted_from},
};
use crate::{
    clock::{Clock, Timestamp},
    database::{self, Connection, Database, StoreError, WriteTx},
    filter::Wanted,
    ids::{AddressId, CustomerId},
    rpc::{Fault, Order, Page, PageOf, Reason, Reply, RequestKey, Violations},
};

/// How many external ids a customer has at most.
const MOST_EXTERNAL_IDS: usize = 20;
/// How many addresses a customer has at most.
const MOST_ADDRESSES: usize = 20;
/// How many tags a customer has at most.
const MOST_TAGS: usize = 100;
/// How many attributes a customer has at most.
const MOST_ATTRIBUTES: usize = 100;
/// How many bytes of JSON they are at most.
const LARGEST_ATTRIBUTES: usize = 32 * 1_024;

/// The customers of this deployment.
#[derive(Debug, Clone)]
pub struct Customers {
    db: Database,
    clock: Clock,
}

impl Customers {
    /// The customers in a database.
    pub fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Adds an address; the same address again changes nothing but who is primary.
    pub async fn add_address(
        &self,
        id: CustomerId,
        address: NewAddress,
        key: Option<&RequestKey>,
    ) -> Result<Reply<Customer>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(read_back(&tx, &first.resource).await?));
        }
        let before = lock(&tx, id).await?;
        let change = CustomerChange { addresses: vec![address], ..CustomerChange::default() };
        let after = change_locked(&tx, &before, change, now).await?;
        if let Some(key) = key {
            key.finish(&tx, id, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(after))
    }

    /// Removes an address. A consent that was given for it counts for no other; what is planned is decided when it is due.
    pub async fn remove_address(&self, id: CustomerId, address: AddressId) -> Result<Customer, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let before = lock(&tx, id).await?;
        let mut after = before.clone();
        if !after.remove_address(address) {
            return Err(no_address(address));
        }
        after.touch(now);
        store::save(&tx, &before, &after).await?;
        database::commit(tx).await?;
        Ok(after)
    }

    /// Notes that a customer reads an address; the first time counts.
    pub async fn verify_address(&self, id: AddressId) -> Result<Address, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let owner = store::owner_of(&tx, id).await?.ok_or_else(|| no_address(id))?;
        let before = lock(&tx, owner).await?;
        let verified = verify_locked(&tx, &before, id, now).await?;
        database::commit(tx).await?;
        Ok(verified)
    }

    /// Takes a deletion back, as long as that is possible. What was called off with it stays so; a customer who lives is left as
    /// they are.
    pub async fn undelete(&self, id: CustomerId) -> Result<Customer, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let mut customer = lock_any(&tx, id).await?;
        if customer.delete_time.is_none() {
            return Ok(customer);
        }
        if customer.purge_time().is_none_or(|purge| purge <= now) {
            let message = format!("the deletion of customer {id} cannot be undone any more");
            return Err(Fault::refused(Reason::CustomerErased, id, message));
        }
        check_free(&tx, &customer).await?;
        customer.delete_time = None;
        customer.touch(now);
        store::restore(&tx, &customer).await?;
        database::commit(tx).await?;
        Ok(customer)
    }

    /// One customer; a deleted one only when asked for.
    pub async fn get(&self, id: CustomerId, show_deleted: bool) -> Result<Customer, Fault> {
        let found = find(self.db.reader(), id).await?;
        found
            .filter(|customer| show_deleted || customer.delete_time.is_none())
            .ok_or_else(|| not_found(&CustomerKey::Id(id)))
    }

    /// Customers in the order of the keys that name them; none where there is nobody, or a deleted one is not asked for.
    pub async fn get_each(
        &self,
        keys: &[CustomerKey],
        show_deleted: bool,
    ) -> Result<Vec<Option<Customer>>, StoreError> {
        let db = self.db.reader();
        let ids = bulk::resolve_each(db, &keys.iter().collect::<Vec<_>>()).await?;
        let found = bulk::load_all(db, &ids.iter().flatten().copied().collect::<Vec<_>>()).await?;
        let shown = |customer: &&Customer| show_deleted || customer.delete_time.is_none();
        Ok(ids.into_iter().map(|id| found.get(&id?).filter(shown).cloned()).collect())
    }

    /// A page in the order of creation.
    pub async fn list(
        &self,
        show_deleted: bool,
        wanted: &Wanted,
        order: Order<()>,
        page: &Page,
    ) -> Result<PageOf<Customer>, StoreError> {
        let rows = store::list(self.db.reader(), show_deleted, wanted, order, page).await?;
        Ok(PageOf::from_rows(rows, page, |customer| customer.customer_id.to_string()))
    }

    /// How many there are.
    pub async fn count(&self, show_deleted: bool, wanted: &Wanted) -> Result<u64, StoreError> {
        store::count(self.db.reader(), show_deleted, wanted).await
    }

    /// Whom a key names.
    pub async fn resolve(&self, key: &CustomerKey) -> Result<CustomerId, Fault> {
        store::resolve(self.db.reader(), key).await?.ok_or_else(|| not_found(key))
    }

    /// Whom a key names, or nobody.
    pub async fn find_id(&self, key: &CustomerKey) -> Result<Option<CustomerId>, StoreError> {
        store::resolve(self.db.reader(), key).await
    }
}

/// One customer, living or not.
pub async fn find(db: &impl Connection, id: CustomerId) -> Result<Option<Customer>, StoreError> {
    Ok(store::load(db, &[id]).await?.remove(&id))
}

/// Whom a key names, in a transaction that may go on to create them.
pub async fn resolve(tx: &WriteTx, key: &CustomerKey) -> Result<Option<CustomerId>, StoreError> {
    store::resolve(tx, key).await
}

/// A living customer, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, id: CustomerId) -> Result<Customer, Fault> {
    let customer = lock_any(tx, id).await?;
    if customer.delete_time.is_some() {
        return Err(Fault::refused(Reason::CustomerDeleted, id, format!("customer {id} is deleted")));
    }
    Ok(customer)
}

/// A customer, living or not, kept from others until this transaction ends.
pub async fn lock_any(tx: &WriteTx, id: CustomerId) -> Result<Customer, Fault> {
    let missing = || not_found(&CustomerKey::Id(id));
    lock_by_key(tx, &CustomerKey::Id(id)).await?.ok_or_else(missing)?;
    find(tx, id).await?.ok_or_else(missing)
}

/// Creates a customer in the caller's transaction.
pub async fn insert(tx: &WriteTx, new: CustomerChange, now: Timestamp) -> Result<Customer, Fault> {
    let mut customer = Customer::bare(now);
    customer.apply(new, now);
    check_free(tx, &customer).await?;
    store::insert(tx, &customer).await?;
    Ok(customer)
}

/// Changes a locked customer in the caller's transaction.
pub async fn change_locked(
    tx: &WriteTx,
    before: &Customer,
    change: CustomerChange,
    now: Timestamp,
) -> Result<Customer, Fault> {
    let mut after = before.clone();
    after.apply(change, now);
    check_size(&after)?;
    check_free(tx, &after).await?;
    store::save(tx, before, &after).await?;
    Ok(after)
}

/// Whether a customer holds no more than a customer may.
pub fn fits(customer: &Customer) -> bool {
    check_size(customer).is_ok()
}

/// Writes the attributes and tags of locked customers back, in the caller's transaction.
pub async fn save_profiles(tx: &WriteTx, changed: &[&Customer]) -> Result<(), StoreError> {
    store::save_profiles(tx, changed).await
}

/// What a customer holds after many changes has the limits that one request has.
fn check_size(customer: &Customer) -> Result<(), Fault> {
    let mut violations = Violations::default();
    let mut limit = |field: &str, count: usize, most: usize| {
        if count > most {
            violations.add(format!("customer.{field}"), format!("would be {count}; must be at most {most} together"));
        }
    };
    limit("externalIds", customer.external_ids.len(), MOST_EXTERNAL_IDS);
    limit("addresses", customer.addresses.len(), MOST_ADDRESSES);
    limit("tags", customer.tags.len(), MOST_TAGS);
    limit("attributes", customer.attributes.len(), MOST_ATTRIBUTES);
    let bytes = serde_json::Value::Object(customer.attributes.clone()).to_string().len();
    if bytes > LARGEST_ATTRIBUTES {
        violations.add(
            "customer.attributes",
            format!("would be {bytes} bytes; must be at most {LARGEST_ATTRIBUTES} together"),
        );
    }
    violations.check()
}

/// Notes in the caller's transaction that a locked customer reads an address; the first time counts.
pub async fn verify_locked(tx: &WriteTx, before: &Customer, id: AddressId, now: Timestamp) -> Result<Address, Fault> {
    let mut after = before.clone();
    let address = after.addresses.iter_mut().find(|address| address.address_id == id).ok_or_else(|| no_address(id))?;
    address.verify_time.get_or_insert(now);
    let verified = address.clone();
    if after.addresses != before.addresses {
        after.touch(now);
        store::save(tx, before, &after).await?;
    }
    Ok(verified)
}

/// Marks a locked customer as deleted in the caller's transaction.
pub async fn delete_locked(tx: &WriteTx, customer: &mut Customer, now: Timestamp) -> Result<(), StoreError> {
    customer.delete_time = Some(now);
    customer.touch(now);
    store::delete(tx, customer.customer_id, customer.revision, now).await
}

/// The customer that an earlier, equal request made or changed.
pub async fn read_back(tx: &WriteTx, resource: &str) -> Result<Customer, Fault> {
    let corrupt = || StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
    let id: CustomerId = resource.parse().map_err(|_| corrupt())?;
    find(tx, id).await?.ok_or_else(|| corrupt().into())
}

/// The customer is deleted.
pub fn deleted(id: CustomerId) -> Fault {
    Fault::refused(Reason::CustomerDeleted, id, format!("customer {id} is deleted"))
}

async fn check_free(tx: &WriteTx, customer: &Customer) -> Result<(), Fault> {
    if let Some(taken) = store::taken_external_id(tx, &customer.external_ids, customer.customer_id).await? {
        let message = format!("another customer has the external id {taken:?}");
        return Err(Fault::refused(Reason::ExternalIdTaken, taken, message));
    }
    if store::taken_address(tx, customer).await?.is_some() {
        let message = "another living customer has one of these e-mail addresses";
        return Err(Fault::refused(Reason::EmailTaken, "addresses", message));
    }
    Ok(())
}

fn no_address(id: AddressId) -> Fault {
    Fault::refused(Reason::AddressNotFound, id, format!("there is no address {id}"))
}

/// Nobody has this key.
pub fn not_found(key: &CustomerKey) -> Fault {
    let (subject, message) = match key {
        CustomerKey::Id(id) => (id.to_string(), format!("there is no customer {id}")),
        CustomerKey::ExternalId(id) => (id.clone(), format!("no customer has the external id {id:?}")),
        CustomerKey::Email(_) => ("email".to_owned(), "no living customer has this e-mail address".to_owned()),
    };
    Fault::refused(Reason::CustomerNotFound, subject, message)
}
