//! The way of a due contact through its states, in batches: claimed, decided, intended, settled; and what is found again after
//! a crash. Each function is one or two statements for a whole batch, in the transaction of the caller.

mod store;

use std::time::Duration;

pub use self::store::{
    block, claim, intend, next_due, purge_claims, recover, release, release_abandoned, settle_accepted, settle_later,
    settle_never,
};
use super::Block;
use crate::{
    clock::Timestamp,
    ids::{AddressId, ConsentRecordId, ContactId},
};

/// How long a worker may hold what it claimed. A hand-over takes less than half of it.
pub const LEASE: Duration = Duration::from_secs(60);

/// A contact that is about to be handed over.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Which contact.
    pub contact_id: ContactId,
    /// Which hand-over it is, from 1.
    pub number: i32,
    /// Where it goes.
    pub address_id: AddressId,
    /// Which version of its template it says.
    pub template_version: i32,
    /// The consent that allows it, where one was needed.
    pub consent: Option<ConsentRecordId>,
}

/// A contact that does not go out now.
#[derive(Debug, Clone)]
pub struct Blocked {
    /// Which contact.
    pub contact_id: ContactId,
    /// Its revision before.
    pub revision: i32,
    /// Why, and what follows.
    pub block: Block,
}

/// A hand-over that did not succeed.
#[derive(Debug, Clone)]
pub struct Setback {
    /// Which contact.
    pub contact_id: ContactId,
    /// What the transport said.
    pub detail: String,
    /// When to try again; the contact's expiry if never.
    pub retry_time: Timestamp,
}
