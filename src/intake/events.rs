use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::{Intake, TRIES, happenings::Starts};
use crate::{
    calendar::Zone,
    clock::Timestamp,
    customers::{self, CustomerChange, CustomerKey, Locked, NewAddress},
    database::{self, StoreError, WriteTx},
    delivery::Channel,
    events::{self, Event, EventBody, EventEffect},
    ids::{CustomerId, EventId},
    preferences,
    rpc::{Fault, Reason},
};

/// How many events of a batch share a transaction: enough to share its cost, few enough to keep others waiting only shortly.
const CHUNK: usize = 100;
/// After how long a transaction ends although its events are not all recorded, as others wait for it.
const LONGEST_CHUNK: Duration = Duration::from_millis(250);

/// An event as a caller reports it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// To whom.
    pub customer: CustomerKey,
    /// What.
    pub body: EventBody,
}

/// An event as it is recorded, and what it did when it first was.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The event.
    pub event: Event,
    /// It had been recorded before.
    pub duplicate: bool,
    /// What it did.
    pub effects: Vec<EventEffect>,
}

impl Intake {
    /// Records an event and all that follows from it. The same event again changes nothing and answers the same.
    pub async fn record_event(
        &self,
        new: &NewEvent,
        create_customer: bool,
        validate_only: bool,
    ) -> Result<Recorded, Fault> {
        let mut tries = 1;
        loop {
            match self.try_record(new, create_customer, validate_only).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_record(&self, new: &NewEvent, create: bool, validate_only: bool) -> Result<Recorded, Fault> {
        let tx = self.db.begin_write().await?;
        let home = preferences::policy(&tx).await?.time_zone;
        let recorded = self.record(&tx, new, create, home).await?;
        if validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?
        }
        self.ring_for(&recorded);
        Ok(recorded)
    }

    /// Records many events; each stands for itself.
    pub async fn record_events(
        &self,
        new: &[NewEvent],
        create_customer: bool,
    ) -> Result<Vec<Result<Recorded, Fault>>, Fault> {
        let mut outcomes = Vec::with_capacity(new.len());
        while outcomes.len() < new.len() {
            let rest = &new[outcomes.len()..];
            let chunk = &rest[..rest.len().min(CHUNK)];
            let mut tries = 1;
            let recorded = loop {
                match self.try_record_chunk(chunk, create_customer).await {
                    Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                    outcome => break outcome?,
                }
            };
            recorded.iter().flatten().for_each(|recorded| self.ring_for(recorded));
            outcomes.extend(recorded);
        }
        Ok(outcomes)
    }

    /// One transaction; answers for as many of the events as it got to, which is one at least. An event that is refused has
    /// written nothing, so the others stand.
    async fn try_record_chunk(&self, chunk: &[NewEvent], create: bool) -> Result<Vec<Result<Recorded, Fault>>, Fault> {
        let tx = self.db.begin_write().await?;
        let (mut customers, mut missing) = (Vec::with_capacity(chunk.len()), BTreeMap::new());
        for new in chunk {
            match customers::resolve(&tx, &new.customer).await? {
                Some(id) => customers.push(id),
                None => drop(missing.entry(format!("{:?}", new.customer)).or_insert(new)),
            }
        }
        // Each in one order, so that two batches with the same customers wait for each other and do not get stuck.
        if create {
            for new in missing.into_values() {
                self.create_missing(&tx, new, self.clock.now()).await?;
            }
        }
        customers::lock_all(&tx, customers).await?;
        let home = preferences::policy(&tx).await?.time_zone;
        let started = Instant::now();
        let mut outcomes = Vec::with_capacity(chunk.len());
        for new in chunk {
            if !outcomes.is_empty() && started.elapsed() > LONGEST_CHUNK {
                break;
            }
            match self.record(&tx, new, create, home).await {
                Err(Fault::Store(error)) => return Err(error.into()),
                outcome => outcomes.push(outcome),
            }
        }
        database::commit(tx).await?;
        Ok(outcomes)
    }

    /// `home` is the zone of customers of whom none is known.
    async fn record(&self, tx: &WriteTx, new: &NewEvent, create: bool, home: Zone) -> Result<Recorded, Fault> {
        let (body, now) = (&new.body, self.clock.now());
        let (customer_id, zone, created) = match customers::lock_by_key(tx, &new.customer).await? {
            Some(Locked { customer_id, delete_time: None, zone }) => (customer_id, zone.unwrap_or(home), false),
            Some(Locked { customer_id, .. }) => {
                let refused = customers::deleted(customer_id);
                return known_or(tx, Some(customer_id), body, refused).await;
            }
            None if create => {
                if let Some(first) = events::find_by_key(tx, &body.source, &body.source_event_id).await? {
                    return duplicate(tx, first, None, body).await;
                }
                (create_bare(tx, &new.customer, now).await?, home, true)
            }
            None => return known_or(tx, None, body, customers::not_found(&new.customer)).await,
        };
        let event = Event { event_id: EventId::generate(), customer_id, record_time: now, body: body.clone() };
        if !events::insert(tx, &event).await? {
            let first = events::find_by_key(tx, &body.source, &body.source_event_id).await?;
            // Somebody recorded it in this very moment. What this try has created must go; the next finds everything.
            let first = first.filter(|_| !created).ok_or(StoreError::Raced)?;
            return duplicate(tx, first, Some(customer_id), body).await;
        }
        if created {
            self.tell_created(tx, customer_id, Some(zone), now).await?;
        }
        let effects = self.act_on(tx, &event, &Starts::Everything, zone, now).await?;
        events::insert_effects(tx, event.event_id, &effects).await?;
        Ok(Recorded { event, duplicate: false, effects })
    }

    /// Creates the customer of an event, unless the event will be refused.
    async fn create_missing(&self, tx: &WriteTx, new: &NewEvent, now: Timestamp) -> Result<(), Fault> {
        let body = &new.body;
        let known = events::find_by_key(tx, &body.source, &body.source_event_id).await?.is_some();
        if !known && known_by(&new.customer).is_some() {
            let customer_id = create_bare(tx, &new.customer, now).await?;
            self.tell_created(tx, customer_id, None, now).await?;
        }
        Ok(())
    }

    fn ring_for(&self, recorded: &Recorded) {
        if let Some((due, _)) = recorded.effects.iter().filter_map(|effect| effect.due.as_ref()).min() {
            self.dispatcher.ring_for(*due);
            self.journeys.ring_for(*due);
        }
    }
}

/// The event as it was recorded before, if it was; else the refusal.
async fn known_or(
    tx: &WriteTx,
    customer: Option<CustomerId>,
    body: &EventBody,
    refusal: Fault,
) -> Result<Recorded, Fault> {
    match events::find_by_key(tx, &body.source, &body.source_event_id).await? {
        Some(first) => duplicate(tx, first, customer, body).await,
        None => Err(refusal),
    }
}

async fn duplicate(
    tx: &WriteTx,
    first: Event,
    customer: Option<CustomerId>,
    body: &EventBody,
) -> Result<Recorded, Fault> {
    if Some(first.customer_id) != customer || !first.body.says_the_same(body) {
        let message =
            format!("{} reported another event as {:?} before ({})", body.source, body.source_event_id, first.event_id);
        return Err(Fault::refused(Reason::EventConflict, &body.source_event_id, message));
    }
    let effects = events::effects(tx, first.event_id).await?;
    Ok(Recorded { event: first, duplicate: true, effects })
}

async fn create_bare(tx: &WriteTx, key: &CustomerKey, now: Timestamp) -> Result<CustomerId, Fault> {
    let change = known_by(key).ok_or_else(|| customers::not_found(key))?;
    match customers::insert(tx, change, now).await {
        Ok(customer) => Ok(customer.customer_id),
        // It was not there a moment ago: somebody else has just created it, and the next try finds it.
        Err(fault) if matches!(fault.reason(), Some(Reason::ExternalIdTaken | Reason::EmailTaken)) => {
            Err(StoreError::Raced.into())
        }
        Err(fault) => Err(fault),
    }
}

/// What is known about a customer of whom only a key is known; nothing for one of our own ids, which nobody can choose.
pub(super) fn known_by(key: &CustomerKey) -> Option<CustomerChange> {
    match key {
        CustomerKey::Id(_) => None,
        CustomerKey::ExternalId(id) => {
            Some(CustomerChange { external_ids: Some(vec![id.clone()]), ..CustomerChange::default() })
        }
        CustomerKey::Email(email) => {
            let address = NewAddress { channel: Channel::Email, value: email.clone(), primary: true };
            Some(CustomerChange { addresses: vec![address], ..CustomerChange::default() })
        }
    }
}
