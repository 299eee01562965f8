//! What customers want to hear about, and when: topics, the consent ledger and its sum, quiet hours, caps, snooze; addresses that
//! are suppressed; and the sending policy, which holds for everybody.
//!
//! The ledger is only added to. What a customer said last about a topic is its sum, kept beside it. `intake` records consents
//! and withdrawals, because they also call off what is planned.

mod cap;
mod consent;
mod entity;
mod policy;
#[expect(clippy::module_inception, reason = "the noun of this part is its name")]
mod preferences;
mod store;
mod suppressions;
mod topic;

pub use self::{
    cap::{FrequencyCap, OnHit},
    consent::{
        Consent, ConsentAct, ConsentMethod, ConsentRecord, ConsentState, Judgement, OBJECTION, SILENCE, Standing,
        judge, lifts,
    },
    policy::{PolicyChange, SendingPolicy},
    preferences::{PreferenceChange, Preferences},
    store::{append, find_record, load, load_topics, policy, put_consent, save},
    suppressions::{Cause, NewSuppression, Suppressed, Suppression, Suppressions, lift_by_own_act, suppressed_of},
    topic::{LocalizedText, OptIn, Topic},
};
use crate::{
    calendar::Zone,
    clock::Clock,
    contacts, customers,
    database::{self, Connection, Database, StoreError, WriteTx},
    ids::{CustomerId, TopicId},
    rpc::{Fault, Page, PageOf, Reason, Reply, RequestKey, check_etag},
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

    /// Creates a topic.
    pub async fn create_topic(&self, new: Topic, key: Option<&RequestKey>) -> Result<Reply<Topic>, Fault> {
        let now = self.clock.now();
        let tx = self.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            return Ok(Reply::replayed(find_topic(&tx, &TopicId::from_stored(first.resource)).await?));
        }
        if !store::insert_topic(&tx, &new, now).await? {
            let message = format!("there is a topic {} already", new.topic_id);
            return Err(Fault::refused(Reason::TopicExists, &new.topic_id, message));
        }
        if let Some(key) = key {
            key.finish(&tx, &new.topic_id, &[]).await?;
        }
        database::commit(tx).await?;
        Ok(Reply::fresh(new))
    }

    /// One topic.
    pub async fn topic(&self, id: &TopicId) -> Result<Topic, Fault> {
        find_topic(self.db.reader(), id).await
    }

    /// A page by id.
    pub async fn list_topics(&self, page: &Page) -> Result<PageOf<Topic>, StoreError> {
        let rows = store::list_topics(self.db.reader(), page).await?;
        Ok(PageOf::from_rows(rows, page, |topic| topic.topic_id.to_string()))
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
        preferences.quiet_hours = change.quiet_hours.unwrap_or(preferences.quiet_hours);
        if let Some(caps) = change.caps {
            check_topics(&tx, &caps).await?;
            preferences.caps = caps;
        }
        preferences.snooze_end_time = change.snooze_end_time.unwrap_or(preferences.snooze_end_time);
        preferences.revision += 1;
        store::save(&tx, &preferences, now).await?;
        contacts::ask_again(&tx, customer).await?;
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

/// A cap about a topic that is not there would never hold anything.
async fn check_topics(tx: &WriteTx, caps: &[FrequencyCap]) -> Result<(), Fault> {
    let named: Vec<TopicId> = caps.iter().filter_map(|cap| cap.topic_id.clone()).collect();
    if named.is_empty() {
        return Ok(());
    }
    let known = store::load_topics(tx, named.iter().cloned()).await?;
    named.iter().find(|id| !known.contains_key(*id)).map_or(Ok(()), |id| Err(topic_not_found(id)))
}

/// One topic.
pub async fn find_topic(db: &impl Connection, id: &TopicId) -> Result<Topic, Fault> {
    let found = store::load_topics(db, [id.clone()]).await?.remove(id);
    found.ok_or_else(|| topic_not_found(id))
}

/// There is no such topic.
pub fn topic_not_found(id: &TopicId) -> Fault {
    Fault::refused(Reason::TopicNotFound, id, format!("there is no topic {id}"))
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
