use std::collections::HashMap;

use super::{Intake, called_off, events::known_by};
use crate::{
    calendar::{Planned, Zone},
    campaigns::{
        EndCause,
        enrollments::{self, Concerned},
        runs::{self, Move},
    },
    clock::Timestamp,
    contacts::{self, BlockReason, CallOff, Origin},
    customers::{self, Customer, CustomerChange, CustomerKey},
    database::{self, WriteTx},
    ids::CustomerId,
    preferences,
    rpc::{Fault, Reply, RequestKey, check_etag},
};

/// A customer as an update leaves it.
#[derive(Debug)]
pub struct Updated {
    /// As it is now.
    pub customer: Customer,
    /// There was none before.
    pub created: bool,
}

/// A customer as a deletion leaves it.
#[derive(Debug)]
pub struct Deleted {
    /// As it is now.
    pub customer: Customer,
    /// How many contacts were called off.
    pub canceled: i64,
}

/// How an update is to be made.
#[derive(Debug, Clone, Default)]
pub struct UpdateOptions {
    /// Must match, unless empty.
    pub etag: String,
    /// Creates the customer when there is none.
    pub allow_missing: bool,
    /// Checks everything and changes nothing.
    pub validate_only: bool,
}

impl Intake {
    /// Creates a customer.
    pub async fn create_customer(
        &self,
        new: CustomerChange,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Customer>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(customers::read_back(&tx, &first.resource).await?));
        }
        let customer = customers::insert(&tx, new, now).await?;
        self.tell_created(&tx, customer.customer_id, customer.time_zone, now).await?;
        if let Some(key) = key {
            key.finish(&tx, customer.customer_id, &[]).await?;
        }
        if validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?;
            self.dispatcher.ring();
            self.journeys.ring();
        }
        Ok(Reply::fresh(customer))
    }

    /// Changes a customer. A new zone plans what waits by the wall clock again: the same time of day, where the customer is now.
    pub async fn update_customer(
        &self,
        target: &CustomerKey,
        change: CustomerChange,
        options: &UpdateOptions,
        key: Option<&RequestKey>,
    ) -> Result<Reply<Updated>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let customer = customers::read_back(&tx, &first.resource).await?;
            return Ok(Reply::replayed(Updated { customer, created: first.counts == [1] }));
        }
        let updated = match customers::resolve(&tx, target).await? {
            Some(id) => {
                let before = customers::lock(&tx, id).await?;
                let mut change = change;
                if options.allow_missing {
                    keep_target(target, &mut change);
                }
                check_etag(&options.etag, before.revision, id)?;
                let after = customers::change_locked(&tx, &before, change, now).await?;
                if before.time_zone != after.time_zone {
                    let (from, to) = (before.time_zone, after.time_zone);
                    runs::follow(&tx, &[Move { customer: id, from, to }]).await?;
                    let zone = preferences::zone(&tx, after.time_zone).await?;
                    self.replan(&tx, &HashMap::from([(id, zone)]), now).await?;
                }
                Updated { customer: after, created: false }
            }
            None if options.allow_missing => {
                let created = create(&tx, target, change, now).await?;
                self.tell_created(&tx, created.customer.customer_id, created.customer.time_zone, now).await?;
                created
            }
            None => return Err(customers::not_found(target)),
        };
        if let Some(key) = key {
            key.finish(&tx, updated.customer.customer_id, &[i64::from(updated.created)]).await?;
        }
        if options.validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?
        }
        self.dispatcher.ring();
        self.journeys.ring();
        Ok(Reply::fresh(updated))
    }

    /// Deletes a customer: calls off what waits and ends what would plan more. Doing it twice is harmless.
    pub async fn delete_customer(&self, id: CustomerId, etag: &str) -> Result<Deleted, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let mut customer = customers::lock_any(&tx, id).await?;
        check_etag(etag, customer.revision, id)?;
        if customer.delete_time.is_some() {
            return Ok(Deleted { customer, canceled: 0 });
        }
        enrollments::end(&tx, Concerned::Customer(id), EndCause::CustomerDeleted, now).await?;
        let block = called_off(BlockReason::CustomerDeleted, "the customer was deleted");
        let canceled = contacts::cancel(&tx, CallOff::Customer(id), &block, now).await?;
        customers::delete_locked(&tx, &mut customer, now).await?;
        database::commit(tx).await?;
        Ok(Deleted { customer, canceled: i64::try_from(canceled).unwrap_or(i64::MAX) })
    }

    /// Plans what waits by the wall clock for the zones where customers live now. What is over there by now is due at once.
    pub(super) async fn replan(
        &self,
        tx: &WriteTx,
        zones: &HashMap<CustomerId, Zone>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let ids: Vec<CustomerId> = zones.keys().copied().collect();
        for contact in contacts::waiting_by_wall_clock(tx, &ids).await? {
            let (Some((local, old_zone)), Some(zone)) = (contact.due_local, zones.get(&contact.customer_id).copied())
            else {
                continue;
            };
            let old_zone: Zone = old_zone.parse().unwrap_or(Zone::UTC);
            let patience = contact.expire_time - old_zone.instant(local.0);
            let planned = Planned::local(local, zone);
            // An ad-hoc message with a time limit of its own keeps it, wherever the customer goes.
            let keeps_expiry = contact.origin == Origin::AdHoc && patience != contacts::PATIENCE;
            let expire_time = if keeps_expiry { contact.expire_time } else { planned.instant + patience };
            contacts::replan(tx, contact.contact_id, planned, zone.name(), expire_time, now).await?;
            if let Some(step) = contact.origin.into_step() {
                enrollments::replan(tx, step.enrollment_id, planned.instant).await?;
            }
        }
        enrollments::replan_timers(tx, zones).await?;
        Ok(())
    }
}

/// An upsert by an external id finds its customer again: the id stays, whatever list replaces the others.
fn keep_target(target: &CustomerKey, change: &mut CustomerChange) {
    if let (CustomerKey::ExternalId(id), Some(ids)) = (target, &mut change.external_ids)
        && !ids.contains(id)
    {
        ids.insert(0, id.clone());
    }
}

async fn create(
    tx: &WriteTx,
    target: &CustomerKey,
    mut change: CustomerChange,
    now: Timestamp,
) -> Result<Updated, Fault> {
    let known = known_by(target).ok_or_else(|| customers::not_found(target))?;
    let mut external_ids = known.external_ids.unwrap_or_default();
    external_ids.extend(change.external_ids.take().unwrap_or_default());
    change.external_ids = Some(external_ids);
    change.addresses.splice(0..0, known.addresses);
    let customer = customers::insert(tx, change, now).await?;
    Ok(Updated { customer, created: true })
}
