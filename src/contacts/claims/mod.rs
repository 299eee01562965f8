//! The way of a due contact through its states, in batches: picked, decided, claimed with its intent, settled; and what is found
//! again after a crash. Each function is a few statements for a whole batch, in the transaction of the caller.

mod leases;
mod outcomes;
mod store;

pub(super) use self::store::{attempt_key, changed};
pub use self::{
    leases::{Held, LEASE, end, expire_all, held, is_held, recover, register, renew, take_back_unchanged},
    outcomes::{
        Setback, end_attempts, give_back, put_off, settle_accepted, settle_late, settle_later, settle_never,
        settle_unknown,
    },
    store::{block, due, intend, overdue, queues},
};
use super::Block;
use crate::ids::{AddressId, ConsentRecordId, ContactId};

/// A contact that is about to be handed over.
#[derive(Debug, Clone)]
pub struct Intent {
    /// Which contact.
    pub contact_id: ContactId,
    /// Its revision before.
    pub revision: i32,
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
