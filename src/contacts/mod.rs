//! Contacts: planned messages and their state machine. Everything that plans or calls off goes through here; `claims` holds
//! what the dispatcher does with what is due.

mod changes;
pub mod claims;
mod contact;
mod deliveries;
mod entity;
mod erasure;
mod experiments;
mod fields;
mod hand_overs;
mod lane;
mod past;
mod returned;
mod stats;
mod store;
mod tally;
mod tracked;
mod verdict;

pub use self::{
    changes::{
        CallOff, ask_again, ask_again_after_pause, ask_again_when_ready, cancel, cancel_all, customers_of, first_ids,
        lock_waiting, replan, replan_all, reschedule, resolve, waiting_by_wall_clock,
    },
    contact::{
        Attempt, AttemptOutcome, Block, BlockReason, Contact, ContactState, Decision, Effect, HandOver, NewContact,
        Origin, PATIENCE, Purpose, RunOf, Selection, StepOf,
    },
    deliveries::{
        Delivery, DeliveryEvent, DeliveryKind, Which, address_keys, are_told, clicked_since, delivery_fields,
        forget as forget_deliveries, insert as insert_deliveries, known as known_deliveries, noticed,
        past as past_deliveries, show as show_delivery, tell_later, untold,
    },
    erasure::{erase, forget_replies, ids_since},
    experiments::{Results, convert},
    fields::{ContactOrder, fields},
    hand_overs::{due_of, hand_overs},
    lane::{Lane, Queue},
    past::{Sent, copy_sent, count_sent, looks_back, sent_between},
    returned::{Returned, accepted_since, returned_since},
    stats::{LaneStats, lane_stats},
    store::{
        attempts, contacted, count, count_due, decisions, find_latest, has_open, insert, insert_decisions,
        insert_of_run, known, last_sent_to, of_enrollments, waiting_of, waiting_with,
    },
    tally::{Counted, Part, Tally, tallies},
    tracked::{TrackedLink, keep as keep_links},
    verdict::Verdict,
};
use std::collections::HashMap;

use crate::{
    calendar::Planned,
    database::{Database, StoreError, WriteTx},
    ids::{CampaignId, ContactId},
    rpc::{Fault, Order, Page, PageOf, Reason, page_key},
};

/// The contacts of this deployment, for reading.
#[derive(Debug, Clone)]
pub struct Contacts {
    db: Database,
}

impl Contacts {
    /// The contacts in a database.
    pub fn new(db: Database) -> Self {
        Self { db }
    }

    /// One contact.
    pub async fn get(&self, id: ContactId) -> Result<Contact, Fault> {
        store::find(self.db.reader(), id).await?.ok_or_else(|| not_found(id))
    }

    /// A page of them.
    pub async fn list(
        &self,
        which: &Selection,
        order: Order<ContactOrder>,
        page: &Page,
    ) -> Result<PageOf<Contact>, StoreError> {
        let rows = store::list(self.db.reader(), which, order, page).await?;
        let time = |contact: &Contact| (order.by == ContactOrder::Due).then_some(contact.due_time);
        Ok(PageOf::from_rows(rows, page, |contact| page_key(time(contact), &contact.contact_id)))
    }

    /// Where a link of a message leads, if its customer agreed that following it is noticed.
    pub async fn link(&self, id: ContactId, number: u16) -> Result<Option<String>, StoreError> {
        tracked::find(self.db.reader(), id, number).await
    }

    /// Where the links of these messages lead, as far as following them is noticed.
    pub async fn links(&self, ids: &[ContactId]) -> Result<Vec<TrackedLink>, StoreError> {
        tracked::of(self.db.reader(), ids).await
    }

    /// How many are meant.
    pub async fn count(&self, which: &Selection) -> Result<u64, StoreError> {
        store::count(self.db.reader(), which).await
    }

    /// Every hand-over of a contact, oldest first.
    pub async fn attempts(&self, id: ContactId) -> Result<Vec<Attempt>, Fault> {
        self.get(id).await?;
        Ok(attempts(self.db.reader(), id).await?)
    }

    /// Every hand-over of these contacts, and every decision that they do not go out, oldest first.
    pub async fn history_of(
        &self,
        ids: &[ContactId],
    ) -> Result<(HashMap<ContactId, Vec<Attempt>>, HashMap<ContactId, Vec<Decision>>), StoreError> {
        let db = self.db.reader();
        Ok((store::attempts_of(db, ids).await?, store::decisions_of(db, ids).await?))
    }

    /// What came of a campaign's messages, step by step and variant by variant, and of those who were held out.
    pub async fn results(&self, campaign_id: &CampaignId) -> Result<Vec<Results>, StoreError> {
        experiments::results(self.db.reader(), campaign_id).await
    }
}

/// One contact.
pub async fn find(tx: &WriteTx, id: ContactId) -> Result<Contact, Fault> {
    store::find(tx, id).await?.ok_or_else(|| not_found(id))
}

/// A contact, kept from others until this transaction ends.
pub async fn lock(tx: &WriteTx, id: ContactId) -> Result<Contact, Fault> {
    store::lock(tx, id).await?.ok_or_else(|| not_found(id))
}

fn not_found(id: ContactId) -> Fault {
    Fault::refused(Reason::ContactNotFound, id, format!("there is no contact {id}"))
}
