//! What a server refused while a letter was handed over. Whoever hands over writes it down and goes on; here it becomes an event.

use std::collections::{HashMap, HashSet};

use tokio_util::sync::CancellationToken;

use super::{Intake, unasked};
use crate::{
    contacts::{self, Contact},
    customers,
    database::{self, StoreError},
    ids::{ContactId, CustomerId},
    rpc::Fault,
};

/// How many a transaction tells of: enough to share its cost, few enough to keep others waiting only shortly.
const AT_ONCE: u64 = 100;

impl Intake {
    /// Tells the campaigns that listen of what was refused since the last time. Answers of how many refusals.
    pub(super) async fn tell_all_refused(&self, stop: &CancellationToken) -> Result<usize, StoreError> {
        let (mut told, mut failures) = (0, 0);
        while !stop.is_cancelled() {
            match self.tell_refused().await {
                Ok((count, true)) => told += count,
                Ok((count, false)) => return Ok(told + count),
                Err(fault) if fault.is_conflict() && failures < super::TRIES => failures += 1,
                Err(fault) => return Err(unasked(fault, "delivery_events")),
            }
        }
        Ok(told)
    }

    /// A transaction. Answers of how many, and whether
    /// there may be more.
    async fn tell_refused(&self) -> Result<(usize, bool), Fault> {
        // Asked beside the one who writes: mostly there is nothing to do.
        if contacts::untold(self.db.reader(), 1).await?.is_empty() {
            return Ok((0, false));
        }
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let mut events = contacts::untold(&tx, AT_ONCE).await?;
        let may_be_more = events.len() as u64 == AT_ONCE;
        let mut ids: Vec<CustomerId> = events.iter().map(|event| event.customer_id).collect();
        ids.sort_unstable();
        ids.dedup();
        // Whose customer is kept by somebody else is told of the next time.
        let free: HashSet<CustomerId> = customers::lock_free(&tx, ids).await?.into_iter().collect();
        events.retain(|event| free.contains(&event.customer_id));
        let customers = customers::load(&tx, &free.into_iter().collect::<Vec<_>>()).await?;
        let of = events.iter().filter_map(|event| event.contact_id).collect();
        let contacts = contacts::known(&tx, of, Vec::new()).await?.into_iter();
        let contacts: HashMap<ContactId, Contact> = contacts.map(|contact| (contact.contact_id, contact)).collect();
        for event in &events {
            let customer = customers.get(&event.customer_id).filter(|customer| customer.delete_time.is_none());
            let step = event.contact_id.and_then(|id| contacts.get(&id)?.step());
            if let Some(customer) = customer {
                self.tell_delivery(&tx, customer, event, step, now).await?;
            }
        }
        contacts::are_told(&tx, events.iter().map(|event| event.delivery_event_id).collect()).await?;
        database::commit(tx).await?;
        Ok((events.len(), may_be_more && !events.is_empty()))
    }
}
