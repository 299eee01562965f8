//! Customers many at a time: found, kept from others, changed in memory, and written in a few statements, however many they are.

mod store;

use std::collections::HashMap;

pub(super) use self::store::{load_all, resolve_each};
use super::{
    Customer, CustomerChange, CustomerKey, check_size, deleted, not_found, store::email_key, store::insert_all,
};
use crate::{
    clock::Timestamp,
    database::{StoreError, WriteTx},
    ids::CustomerId,
    rpc::{Fault, Reason, Violations},
};

/// What tells whether there is a customer already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MatchBy {
    /// External ids where there are any, else addresses.
    #[default]
    Either,
    /// External ids alone.
    ExternalId,
    /// Addresses alone.
    Email,
}

/// Whom somebody says something about, and what.
#[derive(Debug, Clone, Default)]
pub struct Described {
    /// Our own id, if that is known.
    pub customer_id: Option<CustomerId>,
    /// What is said.
    pub change: CustomerChange,
}

/// The customers whom descriptions may be about, kept from others until the transaction ends.
#[derive(Debug)]
pub struct CustomerBatch {
    match_by: MatchBy,
    owners: HashMap<String, CustomerId>,
    residents: HashMap<String, CustomerId>,
    held: HashMap<CustomerId, Held>,
    /// Those who are new, in order.
    new: Vec<CustomerId>,
}

/// A customer as the record has it, if it does, and as it will be.
#[derive(Debug)]
struct Held {
    before: Option<Customer>,
    now: Customer,
}

impl CustomerBatch {
    /// Finds and locks all who are described, in as many queries as one would take.
    pub async fn lock(tx: &WriteTx, described: &[&Described], match_by: MatchBy) -> Result<Self, StoreError> {
        let external_ids = described.iter().flat_map(|one| one.change.external_ids.iter().flatten());
        let external_ids: Vec<&str> = external_ids.map(String::as_str).collect();
        let addresses = described.iter().flat_map(|one| &one.change.addresses);
        let keys: Vec<String> = addresses.map(|address| email_key(&address.value)).collect();
        let owners = store::owners(tx, &external_ids).await?;
        let residents = store::residents(tx, &keys).await?;
        let mut customers = Self { match_by, owners, residents, held: HashMap::new(), new: Vec::new() };
        let mut ids: Vec<CustomerId> = described.iter().filter_map(|one| customers.find(one).ok().flatten()).collect();
        ids.sort_unstable();
        ids.dedup();
        super::lock_all(tx, ids.clone()).await?;
        for (id, customer) in load_all(tx, &ids).await? {
            customers.held.insert(id, Held { before: Some(customer.clone()), now: customer });
        }
        match customers.is_stale() {
            true => Err(StoreError::Raced),
            false => Ok(customers),
        }
    }

    /// Whether a key was taken from whom it named before they were locked.
    fn is_stale(&self) -> bool {
        let lost =
            |id: &CustomerId, has: &dyn Fn(&Customer) -> bool| self.held.get(id).is_some_and(|held| !has(&held.now));
        let mut owners = self.owners.iter();
        let mut residents = self.residents.iter();
        owners.any(|(key, id)| lost(id, &|customer| customer.external_ids.contains(key)))
            || residents.any(|(key, id)| {
                lost(id, &|customer| {
                    customer.delete_time.is_none()
                        && customer.addresses.iter().any(|address| email_key(&address.value) == *key)
                })
            })
    }

    /// Who is described: nobody yet, or a living customer.
    pub fn find(&self, described: &Described) -> Result<Option<CustomerId>, Fault> {
        if let Some(id) = described.customer_id {
            return Ok(Some(id));
        }
        let change = &described.change;
        let external_ids = || change.external_ids.iter().flatten();
        let has_external_id = external_ids().next().is_some();
        let by_external_id = match self.match_by {
            MatchBy::Either => has_external_id,
            MatchBy::ExternalId => true,
            MatchBy::Email => false,
        };
        if by_external_id {
            require(has_external_id, "customer.externalIds", self.match_by)?;
            return one_of(external_ids().filter_map(|id| self.owners.get(id)), Reason::ExternalIdTaken);
        }
        require(!change.addresses.is_empty(), "customer.addresses", self.match_by)?;
        let keys = change.addresses.iter().map(|address| email_key(&address.value));
        one_of(keys.filter_map(|key| self.residents.get(&key)), Reason::EmailTaken)
    }

    /// A customer as they are by now.
    pub fn get(&self, id: CustomerId) -> Result<&Customer, Fault> {
        self.held.get(&id).map(|held| &held.now).ok_or_else(|| not_found(&CustomerKey::Id(id)))
    }

    /// A customer as the record has them; none = they are new.
    pub fn before(&self, id: CustomerId) -> Option<&Customer> {
        self.held.get(&id)?.before.as_ref()
    }

    /// Describes a new customer.
    pub fn create(&mut self, new: CustomerChange, now: Timestamp) -> Result<CustomerId, Fault> {
        let mut customer = Customer::bare(now);
        customer.apply(new, now);
        self.check_free(&customer)?;
        let id = customer.customer_id;
        self.new.push(id);
        self.hold(customer, None);
        Ok(id)
    }

    /// Adds to what is known about a customer; false where all of it was known.
    pub fn grow(&mut self, id: CustomerId, mut change: CustomerChange, now: Timestamp) -> Result<bool, Fault> {
        let known = self.get(id)?;
        if known.delete_time.is_some() {
            return Err(deleted(id));
        }
        if let Some(external_ids) = change.external_ids {
            change.external_ids = Some(known.external_ids.iter().cloned().chain(external_ids).collect());
        }
        change.add_tags = change.tags.take().unwrap_or_default();
        let mut grown = known.clone();
        grown.apply(change, now);
        let (revision, update_time) = (known.revision, known.update_time);
        if (Customer { revision, update_time, ..grown.clone() }) == *known {
            return Ok(false);
        }
        check_size(&grown)?;
        self.check_free(&grown)?;
        let before = self.held.remove(&id).and_then(|held| held.before);
        // However often it is described, it is written once.
        if let Some(before) = &before {
            grown.revision = before.revision + 1;
        }
        self.hold(grown, before);
        Ok(true)
    }

    fn hold(&mut self, now: Customer, before: Option<Customer>) {
        let id = now.customer_id;
        self.owners.extend(now.external_ids.iter().map(|external_id| (external_id.clone(), id)));
        self.residents.extend(now.addresses.iter().map(|address| (email_key(&address.value), id)));
        self.held.insert(id, Held { before, now });
    }

    fn check_free(&self, customer: &Customer) -> Result<(), Fault> {
        let anothers = |owner: Option<&CustomerId>| owner.is_some_and(|owner| *owner != customer.customer_id);
        if let Some(taken) = customer.external_ids.iter().find(|id| anothers(self.owners.get(*id))) {
            let message = format!("another customer has the external id {taken:?}");
            return Err(Fault::refused(Reason::ExternalIdTaken, taken, message));
        }
        if customer.addresses.iter().any(|address| anothers(self.residents.get(&email_key(&address.value)))) {
            let message = "another living customer has one of these e-mail addresses";
            return Err(Fault::refused(Reason::EmailTaken, "addresses", message));
        }
        Ok(())
    }

    /// Writes what is new and what has changed.
    pub async fn save(&self, tx: &WriteTx) -> Result<(), StoreError> {
        let new: Vec<&Customer> = self.new.iter().filter_map(|id| Some(&self.held.get(id)?.now)).collect();
        insert_all(tx, &new).await?;
        store::save_grown(tx, &self.grown().collect::<Vec<_>>()).await
    }

    /// Those whom the record has otherwise: what each was before, and is now.
    pub fn grown(&self) -> impl Iterator<Item = (&Customer, &Customer)> {
        let grown = self.held.values().filter_map(|held| Some((held.before.as_ref()?, &held.now)));
        grown.filter(|(before, now)| before.revision != now.revision)
    }
}

fn require(is_there: bool, field: &str, match_by: MatchBy) -> Result<(), Fault> {
    let mut violations = Violations::default();
    match (is_there, match_by) {
        (true, _) => {}
        (false, MatchBy::Either) => {
            violations.add("customer", "must have an external id or an e-mail address: who is it?");
        }
        (false, _) => violations.add(field, "is required: customers are told apart by it"),
    }
    violations.check()
}

/// The only one of those who were found.
fn one_of<'a>(mut found: impl Iterator<Item = &'a CustomerId>, reason: Reason) -> Result<Option<CustomerId>, Fault> {
    let first = found.next().copied();
    if found.all(|other| Some(*other) == first) {
        return Ok(first);
    }
    let message = "these external ids or addresses belong to different customers";
    Err(Fault::refused(reason, "customer", message))
}
