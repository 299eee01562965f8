//! Carries out what is due: claim, prepare, decide, hand over, settle; and ad-hoc messages and previews, which go the same way.
//!
//! 1. **Claim** a batch under a lease, in a short transaction. What is claimed still waits and can be called off.
//! 2. **Prepare**: render each message, outside any transaction.
//! 3. **Decide** in lots: with the customers' rows shared-locked the gate judges each contact, and intents are written for those
//!    that go out. Whatever a customer said before that commit counts.
//! 4. **Hand over** to the transport, outside any transaction.
//! 5. **Settle**: write every outcome and plan what comes next, guarded by the claim token.

mod decide;
mod forget;
mod hand_over;
mod prepare;
mod preview;
mod recover;
mod schedule;
mod settle;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

pub use self::{
    forget::ForgetRequests,
    preview::{Preview, PreviewSource},
    recover::Recover,
    schedule::{Due, NewMessage, Planned},
};
use crate::{
    campaigns::{self, Plans},
    clock::{Clock, Timestamp},
    contacts::{Claim, Contact, claims},
    database::{self, Database, StoreError},
    delivery::{Mailbox, Outcome, Transport},
    ids::{ClaimToken, ContactId},
    templates::Templates,
    tokens::SecretKey,
    workers::{Bell, Done, Job},
};

/// How many contacts are claimed at once.
const BATCH: u64 = 500;
/// How many intents are open at once: what a kill leaves in doubt at most.
const LOT: usize = 128;
/// How long a pass goes on claiming before it lets others have a turn.
const PASS: Duration = Duration::from_secs(20);

/// Sends what is due.
#[derive(Debug)]
pub struct Dispatcher {
    /// The record.
    pub db: Database,
    /// Business time.
    pub clock: Clock,
    /// What messages say.
    pub templates: Arc<Templates>,
    /// What comes after a step.
    pub plans: Plans,
    /// Where letters go.
    pub transport: Transport,
    /// Who sends.
    pub from: Mailbox,
    /// Makes Message-IDs.
    pub key: SecretKey,
    /// This process.
    pub replica: String,
    /// Wakes this worker.
    pub bell: Arc<Bell>,
}

/// How long a transaction that failed rests before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// What there is to do.
enum Look {
    /// These, now.
    Due(Claim),
    /// Nothing before this moment.
    Next(Option<Timestamp>),
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    claimed: usize,
    sent: usize,
    deferred: usize,
    ended: usize,
    later: usize,
    failed: usize,
}

impl Dispatcher {
    /// The Message-ID of a contact, without angle brackets.
    pub fn message_id(&self, contact: ContactId) -> String {
        crate::delivery::message_id(&self.key, contact, self.from.address.domain())
    }

    async fn make_pass(&self, stop: &CancellationToken) -> Result<(Tally, Option<Timestamp>), StoreError> {
        let started = Instant::now();
        let mut tally = Tally::default();
        while !stop.is_cancelled() {
            if started.elapsed() > PASS {
                self.bell.ring();
                break;
            }
            let claim = match self.claim().await? {
                Look::Due(claim) => claim,
                Look::Next(next) => return Ok((tally, next)),
            };
            tally.claimed += claim.contacts.len();
            let sent = self.carry_out(&claim, stop, &mut tally).await;
            if sent.is_err() || stop.is_cancelled() {
                self.release(&claim).await?;
            }
            sent?;
        }
        Ok((tally, None))
    }

    /// Looks before it claims, so that an idle service writes nothing.
    async fn claim(&self) -> Result<Look, StoreError> {
        let (db, now) = (self.db.reader(), self.clock.now());
        let mut due = claims::next_due(db, &[]).await?;
        let mut paused = Vec::new();
        if due.is_some_and(|due| due <= now) {
            paused = campaigns::paused(db).await?;
            if !paused.is_empty() {
                due = claims::next_due(db, &paused).await?;
            }
        }
        if due.is_none_or(|due| due > now) {
            return Ok(Look::Next(due));
        }
        let claim = claims::claim(self.db.writer(), now, &paused, BATCH).await?;
        // Another process was quicker, and looks after what is due now.
        if claim.contacts.is_empty() { Ok(Look::Next(None)) } else { Ok(Look::Due(claim)) }
    }

    async fn carry_out(&self, claim: &Claim, stop: &CancellationToken, tally: &mut Tally) -> Result<(), StoreError> {
        for lot in claim.contacts.chunks(LOT) {
            if stop.is_cancelled() {
                return Ok(());
            }
            let drafts = self.prepare(lot).await?;
            let sends = self.decide(claim.token, &drafts, tally).await?;
            let outcomes = self.hand_over(sends).await;
            self.settle_surely(claim.token, &outcomes, tally).await?;
        }
        Ok(())
    }

    /// Settles however often that takes within the lease: what is not settled would be in doubt.
    async fn settle_surely(
        &self,
        token: ClaimToken,
        outcomes: &[(&Contact, Outcome)],
        tally: &mut Tally,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        loop {
            match self.settle(token, outcomes, tally).await {
                Err(error) if error.may_pass() && started.elapsed() < claims::LEASE / 2 => {
                    tracing::warn!(%error, "outcomes could not be written; trying again");
                    tokio::time::sleep(PAUSE).await;
                }
                settled => return settled,
            }
        }
    }

    /// Gives back what was not intended.
    async fn release(&self, claim: &Claim) -> Result<(), StoreError> {
        let tx = self.db.begin_write().await?;
        claims::release(&tx, claim.token).await?;
        database::commit(tx).await
    }

    fn ring_for(&self, planned: &[Contact]) {
        for contact in planned {
            self.bell.ring_for(contact.due_time);
        }
    }
}

impl Job for Dispatcher {
    fn id(&self) -> &'static str {
        "dispatch"
    }

    fn cron(&self) -> &'static str {
        "*/5 * * * * *"
    }

    fn pass<'a>(&'a self, stop: &'a CancellationToken) -> BoxFuture<'a, Result<Done, StoreError>> {
        Box::pin(async {
            let (tally, next_time) = self.make_pass(stop).await?;
            let Tally { claimed, sent, deferred, ended, later, failed } = tally;
            if claimed > 0 {
                tracing::info!(claimed, sent, deferred, ended, later, failed, "dispatched a batch");
            }
            let summary = format!(
                "claimed {claimed}: sent {sent}, put off {deferred}, ended {ended}, to try again {later}, failed {failed}"
            );
            Ok(Done { summary, next_time })
        })
    }
}
