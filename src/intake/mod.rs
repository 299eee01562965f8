//! Facts that change plans: events, consents, withdrawals, deletions, a new time zone, what operators decide. Each is one
//! transaction that records the fact and all that follows from it.
//!
//! Whoever changes what a customer will get locks the customer's row first, then enrollments, then contacts.

mod cancel;
mod confirm;
mod consents;
mod customers;
mod enroll;
mod events;
mod reschedule;
mod resolve;
mod returned;
mod statement;

use std::sync::Arc;

pub use self::{
    cancel::{BatchCancel, BatchCanceled},
    consents::{Choices, Unsubscription},
    customers::{Deleted, UpdateOptions, Updated},
    events::{NewEvent, Recorded},
    returned::{object_to_marketing, opt_out},
    statement::{Said, Stated, Statement},
};
use crate::{
    campaigns::Plans,
    clock::Clock,
    contacts::{Block, BlockReason, Contact, ContactState, Effect},
    database::Database,
    rpc::{Fault, Reason},
    tokens::SecretKey,
    workers::Bell,
};

/// Records facts.
#[derive(Debug, Clone)]
pub struct Intake {
    db: Database,
    clock: Clock,
    key: SecretKey,
    plans: Plans,
    dispatcher: Arc<Bell>,
}

impl Intake {
    /// Records into a database, and rings when something is due earlier than the dispatcher expects.
    pub fn new(db: Database, clock: Clock, key: SecretKey, plans: Plans, dispatcher: Arc<Bell>) -> Self {
        Self { db, clock, key, plans, dispatcher }
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

fn called_off(reason: BlockReason, detail: impl Into<String>) -> Block {
    Block { reason, effect: Effect::Cancel, detail: detail.into(), retry_time: None }
}
