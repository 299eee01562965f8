//! The ledger of what happened, and of what each event did. `intake` writes it.

mod entity;
mod event;
mod fields;
mod money;
mod recorded;
mod store;

pub use self::{
    event::{EffectOutcome, Event, EventBody, EventEffect, LineItem, OWN_SOURCE},
    fields::fields,
    money::{Money, MoneyError},
    recorded::{
        Memory, Occurred, OfTypes, Position, Remembered, copy, count_occurred, count_remembered, customers_among,
        occurred, recorded_between,
    },
    store::{
        effects, erase, event_count, find_by_key, happened_since, insert, insert_effects, last_event, latest_effect,
        load,
    },
};
use std::collections::HashMap;

use crate::{
    database::{Database, StoreError},
    filter::Wanted,
    ids::{CustomerId, EventId},
    rpc::{Fault, Page, PageOf, Reason},
};

/// The events of this deployment, for reading.
#[derive(Debug, Clone)]
pub struct Events {
    db: Database,
}

impl Events {
    /// The events in a database.
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// One event.
    pub async fn get(&self, id: EventId) -> Result<Event, Fault> {
        let found = store::find(self.db.reader(), id).await?;
        found.ok_or_else(|| Fault::refused(Reason::EventNotFound, id, format!("there is no event {id}")))
    }

    /// The event that was recorded under a key.
    pub async fn get_by_key(&self, source: &str, source_event_id: &str) -> Result<Event, Fault> {
        let found = store::find_by_key(self.db.reader(), source, source_event_id).await?;
        found.ok_or_else(|| {
            let message = format!("{source} has reported no event {source_event_id:?}");
            Fault::refused(Reason::EventNotFound, source_event_id, message)
        })
    }

    /// What these events did.
    pub async fn effects_of(&self, ids: &[EventId]) -> Result<HashMap<EventId, Vec<EventEffect>>, StoreError> {
        store::effects_of(self.db.reader(), ids).await
    }

    /// A page in the order in which they were recorded.
    pub async fn list(
        &self,
        customer: Option<CustomerId>,
        wanted: &Wanted,
        page: &Page,
    ) -> Result<PageOf<Event>, StoreError> {
        let rows = store::list(self.db.reader(), customer, wanted, page).await?;
        Ok(PageOf::from_rows(rows, page, |event| event.event_id.to_string()))
    }
}
