use super::{Intake, TRIES, called_off, check_waits};
use crate::{
    campaigns::enrollments,
    clock::Timestamp,
    contacts::{self, Block, BlockReason, CallOff, Contact, ContactState, Selection},
    customers,
    database::{self, StoreError, WriteTx},
    ids::{ContactId, CustomerId},
    rpc::{Answered, Fault, Reason, Reply, RequestKey, check_etag},
};

/// How many rows a statement names at most.
const AT_ONCE: usize = 500;
/// How many of the contacts an answer names.
const SAMPLE: u64 = 10;

/// Which contacts are called off together, and how.
#[derive(Debug, Clone)]
pub struct BatchCancel {
    /// Which; only those that wait.
    pub which: Selection,
    /// Why.
    pub reason: String,
    /// How many match, as the caller knows; none = whatever the number is.
    pub expected_count: Option<i64>,
    /// Checks everything and changes nothing.
    pub validate_only: bool,
}

/// What was called off together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCanceled {
    /// How many matched.
    pub matched: i64,
    /// How many were called off.
    pub canceled: i64,
    /// The first of those that matched.
    pub sample: Vec<ContactId>,
}

impl Intake {
    /// Calls a waiting contact off; its enrollment goes on with the next step. Doing it twice is harmless.
    pub async fn cancel_contact(&self, id: ContactId, reason: &str, etag: &str) -> Result<Contact, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        let customer_id = contacts::find(&tx, id).await?.customer_id;
        customers::lock_any(&tx, customer_id).await?;
        let contact = contacts::lock(&tx, id).await?;
        check_etag(etag, contact.revision, id)?;
        if contact.state == ContactState::Canceled {
            return Ok(contact);
        }
        check_waits(&contact, "canceled")?;
        contacts::cancel(&tx, CallOff::Contact(id), &canceled(reason), now).await?;
        let ended = contact.step().map_or(&[][..], std::slice::from_ref);
        let next = enrollments::advance(&tx, &self.plans, ended, now).await?;
        let contact = contacts::find(&tx, id).await?;
        database::commit(tx).await?;
        self.ring_for_next(&next);
        Ok(contact)
    }

    /// Calls every waiting contact off that is meant, or none when the number is not the expected one. Their enrollments go on
    /// with the next steps.
    pub async fn cancel_contacts(
        &self,
        batch: &BatchCancel,
        key: Option<&RequestKey>,
    ) -> Result<Reply<BatchCanceled>, Fault> {
        let mut tries = 1;
        loop {
            match self.try_cancel(batch, key).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_cancel(&self, batch: &BatchCancel, key: Option<&RequestKey>) -> Result<Reply<BatchCanceled>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(BatchCanceled::read_back(&first)?));
        }
        let which = Selection { states: vec![ContactState::Scheduled], ..batch.which.clone() };
        for some in contacts::customers_of(&tx, &which).await?.chunks(AT_ONCE) {
            customers::lock_all(&tx, some.to_vec()).await?;
        }
        let matched = i64::try_from(contacts::count(&tx, &which).await?).unwrap_or(i64::MAX);
        check_count(matched, batch.expected_count)?;
        let sample = contacts::first_ids(&tx, &which, SAMPLE).await?;
        if batch.validate_only {
            return Ok(Reply::fresh(BatchCanceled { matched, canceled: 0, sample }));
        }
        let first = self.call_off(&tx, &which, matched, &canceled(&batch.reason), now).await?;
        let done = BatchCanceled { matched, canceled: matched, sample };
        if let Some(key) = key {
            key.finish(&tx, done.resource(batch.which.customer_id), &[done.matched, done.canceled]).await?;
        }
        database::commit(tx).await?;
        if let Some(due) = first {
            self.dispatcher.ring_for(due);
            self.journeys.ring_for(due);
        }
        Ok(Reply::fresh(done))
    }

    /// Calls off exactly as many as were counted; answers when the first of the next steps is due.
    async fn call_off(
        &self,
        tx: &WriteTx,
        which: &Selection,
        counted: i64,
        block: &Block,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, StoreError> {
        let (canceled, steps) = contacts::cancel_all(tx, which, block, now).await?;
        if canceled != counted {
            return Err(StoreError::Raced);
        }
        let mut first_due = None;
        for some in steps.chunks(AT_ONCE) {
            let next = enrollments::advance(tx, &self.plans, some, now).await?;
            first_due = next.contacts.iter().map(|one| one.due_time).chain(next.timer).chain(first_due).min();
        }
        Ok(first_due)
    }
}

impl BatchCanceled {
    /// What is kept of it: the customer who was meant, if it was one, and the sample.
    fn resource(&self, of: Option<CustomerId>) -> String {
        let sample = self.sample.iter().map(ToString::to_string);
        of.iter().map(ToString::to_string).chain(sample).collect::<Vec<_>>().join(" ")
    }

    fn read_back(first: &Answered) -> Result<Self, StoreError> {
        let corrupt = || StoreError::Corrupt { table: "requests", detail: "a batch of canceled contacts".to_owned() };
        let &[matched, canceled] = first.counts.as_slice() else { return Err(corrupt()) };
        let ids = first.resource.split_whitespace().filter(|id| id.parse::<CustomerId>().is_err());
        let sample = ids.map(|id| id.parse().map_err(|_| corrupt()));
        Ok(Self { matched, canceled, sample: sample.collect::<Result<_, _>>()? })
    }
}

fn canceled(reason: &str) -> Block {
    called_off(BlockReason::Canceled, if reason.is_empty() { "an operator canceled it" } else { reason })
}

fn check_count(matched: i64, expected: Option<i64>) -> Result<(), Fault> {
    match expected.filter(|expected| *expected != matched) {
        None => Ok(()),
        Some(expected) => {
            let message = format!("{matched} contacts match, not the expected {expected}: none was canceled");
            Err(Fault::refused(Reason::CountMismatch, matched, message))
        }
    }
}
