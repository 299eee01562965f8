//! What customers want to hear about, and when: topics, the consent ledger and its sum, quiet hours, caps, snooze; addresses that
//! are suppressed; and the sending policy, which holds for everybody.
//!
//! The ledger is only added to. What a customer said last about a topic is its sum, kept beside it. `intake` records consents
//! and withdrawals, because they also call off what is planned.

mod cap;
mod consent;
mod entity;
mod ledger;
mod policy;
#[expect(clippy::module_inception, reason = "the noun of this part is its name")]
mod preferences;
mod store;
mod suppressions;
mod topics;

pub use self::{
    cap::{FrequencyCap, OnHit},
    consent::{Consent, ConsentMethod, ConsentState, DataUse, Judgement, OBJECTION, SILENCE, Standing, judge, lifts},
    ledger::{
        ConsentAct, ConsentRecord, Evidence, NewWording, Wording, append, append_all, count_requests, find_record,
        find_request, find_wording, forget_evidence, is_confirmed, records_before, spoke_since, topics_of_wordings,
    },
    policy::{PolicyChange, SendingPolicy},
    preferences::{PreferenceChange, Preferences},
    store::{Said, consented, copy, load, policy, put_consent, put_consents, save},
    suppressions::{
        AddressKey, CameBack, Cause, Lifted, NewSuppression, RecordedDeliveries, Suppressed, Suppression, Suppressions,
        forget_addresses, lift_by_own_act, record_deliveries, suppressed_of, suppression_fields, suppressions_before,
        take_over as take_over_suppression,
    },
    topics::{
        CONFIRMATION, LocalizedText, OptIn, TRIAL, Topic, TopicChange, find as find_topic,
        find_open as find_open_topic, load as load_topics, not_found as topic_not_found, trial as trial_topic,
    },
};
use crate::{
    calendar::Zone,
    clock::{Clock, Timestamp},
    contacts, customers,
    database::{self, Connection, Database, Erased, StoreError, WriteTx},
    ids::{CustomerId, TopicId},
    rpc::{Fault, Reply, RequestKey, check_etag},
};

/// The topics of this deployment, and what customers said.
#[derive(Debug, Clone)]
pub struct PreferenceBook {
    db: Database,
    clock: Clock,
}

impl PreferenceBook {
    /// The book in a database.
    pub fn new(db: Database, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Everything that a customer said.
    pub async fn get(&self, customer: CustomerId) -> Result<Preferences, StoreError> {
        of(self.db.reader(), customer).await
    }

    /// Changes quiet hours, caps and snooze.
    pub async fn update(
        &self,
        customer: CustomerId,
        etag: &str,
        change: PreferenceChange,
        key: Option<&RequestKey>,
    ) -> Result<Reply<Preferences>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && key.begin(&tx, now).await?.is_some()
        {
            return Ok(Reply::replayed(of(&tx, customer).await?));
        }
        customers::lock(&tx, customer).await?;
        let mut preferences = of(&tx, customer).await?;
        check_etag(etag, preferences.revision, customer)?;
        apply(&tx, &mut preferences, change, now).await?;
        if let Some(key) = key {
            key.finish(&tx, customer, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(preferences))
    }

    /// What holds for everybody.
    pub async fn policy(&self) -> Result<SendingPolicy, StoreError> {
        policy(self.db.reader()).await
    }

    /// Changes what holds for everybody, from the next decision on. What is planned or put off already stays where it is.
    pub async fn update_policy(&self, etag: &str, change: PolicyChange) -> Result<SendingPolicy, Fault> {
        let tx = self.db.begin_write().await?;
        let mut policy = store::lock_policy(&tx).await?;
        check_etag(etag, policy.revision, "the sending policy")?;
        check_topics(&tx, change.caps.as_deref().unwrap_or_default()).await?;
        policy.apply(change);
        store::save_policy(&tx, &policy).await?;
        database::commit(tx).await?;
        Ok(policy)
    }
}

/// Changes what a customer, who is kept from others, wants, and has what waits for it asked about again.
pub async fn change(
    tx: &WriteTx,
    customer: CustomerId,
    change: PreferenceChange,
    now: Timestamp,
) -> Result<Preferences, Fault> {
    let mut preferences = of(tx, customer).await?;
    apply(tx, &mut preferences, change, now).await?;
    Ok(preferences)
}

async fn apply(
    tx: &WriteTx,
    preferences: &mut Preferences,
    change: PreferenceChange,
    now: Timestamp,
) -> Result<(), Fault> {
    preferences.quiet_hours = change.quiet_hours.unwrap_or(preferences.quiet_hours.take());
    if let Some(caps) = change.caps {
        check_topics(tx, &caps).await?;
        preferences.caps = caps;
    }
    preferences.snooze_end_time = change.snooze_end_time.unwrap_or(preferences.snooze_end_time);
    preferences.revision += 1;
    store::save(tx, preferences, now).await?;
    contacts::ask_again(tx, &[preferences.customer_id]).await?;
    Ok(())
}

/// A cap about a topic that is not there would never hold anything.
async fn check_topics(tx: &WriteTx, caps: &[FrequencyCap]) -> Result<(), Fault> {
    let named: Vec<TopicId> = caps.iter().filter_map(|cap| cap.topic_id.clone()).collect();
    if named.is_empty() {
        return Ok(());
    }
    let known = topics::load(tx, named.iter().cloned()).await?;
    named.iter().find(|id| !known.contains_key(*id)).map_or(Ok(()), |id| Err(topic_not_found(id)))
}

/// Where a customer lives, or is taken to live where that is not known.
pub async fn zone(db: &impl Connection, known: Option<Zone>) -> Result<Zone, StoreError> {
    match known {
        Some(zone) => Ok(zone),
        None => Ok(policy(db).await?.time_zone),
    }
}

/// Everything that a customer said.
pub async fn of(db: &impl Connection, customer: CustomerId) -> Result<Preferences, StoreError> {
    let said = store::load(db, &[customer]).await?.remove(&customer);
    Ok(said.unwrap_or_else(|| Preferences::none(customer)))
}

/// Puts what holds for everybody in the place of what does in another database: the policy, topics, wordings.
pub async fn copy_settings(from: &impl Connection, to: &WriteTx) -> Result<(), StoreError> {
    store::copy_policy(from, to).await?;
    topics::copy(from, to).await?;
    ledger::copy_wordings(from, to).await
}

/// Removes what a customer wants, and what shows that they said so. The ledger stays: without the customer it says nothing about
/// anybody.
pub async fn erase(tx: &WriteTx, customer: CustomerId) -> Result<Erased, StoreError> {
    let mut erased = store::erase(tx, customer).await?;
    erased.push(("consent_evidence", ledger::erase_evidence(tx, customer).await?));
    Ok(erased)
}
