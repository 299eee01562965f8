use chrono::TimeDelta;

use super::{Dispatcher, Tally};
use crate::{
    campaigns::enrollments,
    clock::Timestamp,
    contacts::{
        Contact, StepOf,
        claims::{self, Setback},
    },
    customers,
    database::{self, StoreError},
    delivery::Outcome,
    ids::{ClaimToken, ContactId},
};

/// The wait after the first attempt that failed; each further one waits twice as long.
const FIRST_WAIT: i64 = 30;
/// The longest wait between two attempts: six hours.
const LONGEST_WAIT: i64 = 6 * 3_600;

impl Dispatcher {
    /// Writes what became of a lot, and plans what comes after it: one transaction.
    pub(super) async fn settle(
        &self,
        token: ClaimToken,
        outcomes: &[(&Contact, Outcome)],
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        if outcomes.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let (mut accepted, mut later, mut never) = (Vec::new(), Vec::new(), Vec::new());
        for (contact, outcome) in outcomes {
            let setback = |detail: &str, retry_time| Setback {
                contact_id: contact.contact_id,
                detail: detail.to_owned(),
                retry_time,
            };
            match outcome {
                Outcome::Accepted => accepted.push(contact.contact_id),
                Outcome::Returned { detail } | Outcome::Unknown { detail } => {
                    later.push(setback(detail, next_attempt(contact, now)));
                }
                Outcome::Later(refusal) => later.push(setback(&refusal.detail, next_attempt(contact, now))),
                Outcome::Never(refusal) => never.push(setback(&refusal.detail, contact.expire_time)),
            }
        }
        if let Some(setback) = later.first() {
            tracing::warn!(contacts = later.len(), detail = setback.detail, "the transport refused for now");
        }
        let tx = self.db.begin_write().await?;
        let customers: Vec<_> = outcomes.iter().map(|(contact, _)| contact.customer_id).collect();
        customers::lock_shared(&tx, &customers).await?;
        let settled = claims::settle_accepted(&tx, token, &accepted, now).await?;
        claims::settle_later(&tx, token, &later, now).await?;
        claims::settle_never(&tx, token, &never, now).await?;
        let done = |id: ContactId| settled.contains(&id) || never.iter().any(|setback| setback.contact_id == id);
        let steps: Vec<StepOf> = outcomes
            .iter()
            .filter(|(contact, _)| done(contact.contact_id))
            .filter_map(|(contact, _)| contact.step.clone())
            .collect();
        let planned = enrollments::advance(&tx, &self.plans, &steps, now).await?;
        database::commit(tx).await?;
        self.ring_for(&planned);
        if settled.len() < accepted.len() {
            let lost = accepted.len() - settled.len();
            tracing::warn!(lost, "accepted after the lease was over; others have settled these contacts");
        }
        tally.sent += settled.len();
        tally.later += later.len();
        tally.failed += never.len();
        Ok(())
    }
}

/// When a contact is tried again: exponentially later, spread by a fifth either way so that many do not come at once, and at
/// its expiry at the latest, where it ends.
fn next_attempt(contact: &Contact, now: Timestamp) -> Timestamp {
    let doublings = u32::try_from(contact.attempt_count).unwrap_or(0).min(20);
    let wait = (FIRST_WAIT << doublings).min(LONGEST_WAIT) * 1_000;
    let spread = u64::from_be_bytes(last_bytes(contact.contact_id)) % 401;
    let wait = wait * (800 + i64::try_from(spread).unwrap_or(200)) / 1_000;
    (now + TimeDelta::milliseconds(wait)).min(contact.expire_time)
}

/// The random part of an id.
fn last_bytes(id: ContactId) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&uuid::Uuid::from(id).as_bytes()[8..]);
    bytes
}
