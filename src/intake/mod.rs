//! Facts that change plans: events, consents, withdrawals, deletions, a new time zone, what operators decide. Each is one
//! transaction that records the fact and all that follows from it.
//!
//! Whoever changes what a customer will get locks the customer's row first, then enrollments, then contacts.

mod again;
mod backfill;
mod cancel;
mod confirm;
mod consents;
mod customers;
mod enroll;
mod events;
mod happenings;
mod imports;
mod journeys;
mod refused;
mod replan;
mod reschedule;
mod resolve;
mod returned;
mod statement;
mod stop;
mod triggers;

use std::sync::Arc;

pub use self::{
    backfill::{BackfillOrder, Backfilled, RunBackfills},
    cancel::{BatchCancel, BatchCanceled},
    consents::{Choices, Unsubscription},
    customers::{Deleted, UpdateOptions, Updated},
    events::{NewEvent, Recorded},
    happenings::comes_about_anew,
    imports::{ImportOptions, ImportRow, ImportedConsent, Noted, RowOutcome, Taken},
    journeys::AdvanceEnrollments,
    returned::object_to_marketing,
    statement::{Said, Stated, Statement},
    triggers::{LOOK_AHEAD, LOOK_EVERY, ScanTriggers},
};
use crate::{
    campaigns::{Plans, enrollments::Advanced},
    clock::Clock,
    contacts::{Block, BlockReason, Contact, ContactState, Effect},
    database::{Database, StoreError},
    rpc::{Fault, Reason},
    tokens::SecretKey,
    workers::Bell,
};

/// How often a transaction that got in another's way is tried.
const TRIES: usize = 5;

/// Records facts.
#[derive(Debug, Clone)]
pub struct Intake {
    db: Database,
    clock: Clock,
    key: SecretKey,
    plans: Plans,
    dispatcher: Arc<Bell>,
    journeys: Arc<Bell>,
}

impl Intake {
    /// Records into a database, and rings when something is due earlier than the dispatcher, or whoever brings enrollments on,
    /// expects.
    pub fn new(
        db: Database,
        clock: Clock,
        key: SecretKey,
        plans: Plans,
        dispatcher: Arc<Bell>,
        journeys: Arc<Bell>,
    ) -> Self {
        Self { db, clock, key, plans, dispatcher, journeys }
    }

    /// Rings for what comes after steps that have ended, once it can be seen.
    fn ring_for_next(&self, next: &Advanced) {
        next.contacts.iter().for_each(|contact| self.dispatcher.ring_for(contact.due_time));
        next.timer.iter().for_each(|due| self.journeys.ring_for(*due));
    }
}

/// Refuses what is not possible any more once a contact is on its way or done.
fn check_waits(contact: &Contact, what: &str) -> Result<(), Fault> {
    if contact.state == ContactState::Scheduled {
        return Ok(());
    }
    let id = contact.contact_id;
    let message = format!("contact {id} is {}: only one that waits can be {what}", contact.state);
    Err(Fault::refused(Reason::ContactNotScheduled, id, message))
}

/// What a worker does nobody asked for: where it is refused, what is stored is wrong.
fn unasked(fault: Fault, table: &'static str) -> StoreError {
    match fault {
        Fault::Store(error) => error,
        fault => StoreError::Corrupt { table, detail: fault.to_string() },
    }
}

fn called_off(reason: BlockReason, detail: impl Into<String>) -> Block {
    Block { reason, effect: Effect::Cancel, detail: detail.into(), retry_time: None }
}
