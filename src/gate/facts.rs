use std::collections::HashMap;

use super::Case;
use crate::{
    campaigns::{CampaignState, EndCause, EnrollmentState, enrollments},
    contacts::{BlockReason, Contact},
    customers::{self, Customer},
    database::{Database, StoreError, WriteTx},
    ids::{CustomerId, EnrollmentId, TopicId},
    preferences::{self, Preferences, Topic},
};

/// What the gate needs to know about some contacts, read in a handful of queries however many they are.
#[derive(Debug)]
pub struct Facts {
    customers: HashMap<CustomerId, Customer>,
    preferences: HashMap<CustomerId, Preferences>,
    topics: HashMap<TopicId, Topic>,
    standings: HashMap<EnrollmentId, (EnrollmentState, Option<EndCause>, CampaignState)>,
}

impl Facts {
    /// As they stand, kept so until the transaction ends: nobody can change a preference beside a decision.
    pub async fn lock(tx: &WriteTx, contacts: &[&Contact]) -> Result<Self, StoreError> {
        let keys = Keys::of(contacts.iter().copied());
        customers::lock_shared(tx, &keys.customers).await?;
        Ok(Self {
            customers: customers::reach(tx, &keys.customers).await?,
            preferences: preferences::load(tx, &keys.customers).await?,
            topics: preferences::load_topics(tx, keys.topics).await?,
            standings: enrollments::standings(tx, &keys.enrollments).await?,
        })
    }

    /// As they stand, for looking only.
    pub async fn read(db: &Database, contacts: &[&Contact]) -> Result<Self, StoreError> {
        let keys = Keys::of(contacts.iter().copied());
        let db = db.reader();
        Ok(Self {
            customers: customers::reach(db, &keys.customers).await?,
            preferences: preferences::load(db, &keys.customers).await?,
            topics: preferences::load_topics(db, keys.topics).await?,
            standings: enrollments::standings(db, &keys.enrollments).await?,
        })
    }

    /// The case of one of the contacts.
    pub fn case<'a>(&'a self, contact: &'a Contact, template_error: Option<&'a str>) -> Result<Case<'a>, StoreError> {
        let missing = |table| StoreError::Corrupt { table, detail: format!("nothing for {}", contact.contact_id) };
        let topic = self.topics.get(&contact.topic_id).ok_or_else(|| missing("topics"))?;
        let failed = contact.block.as_ref().filter(|block| block.reason == BlockReason::BackOff);
        Ok(Case {
            customer: self.customers.get(&contact.customer_id).ok_or_else(|| missing("customers"))?,
            preferences: self.preferences.get(&contact.customer_id).ok_or_else(|| missing("preferences"))?,
            topic_id: &contact.topic_id,
            purpose: contact.purpose,
            opt_in: topic.opt_in,
            channel: contact.channel,
            expire_time: Some(contact.expire_time),
            enrollment: contact.step.as_ref().and_then(|step| self.standings.get(&step.enrollment_id).copied()),
            template_error,
            back_off: failed.and_then(|block| block.retry_time),
        })
    }
}

/// Each once, in order.
struct Keys {
    customers: Vec<CustomerId>,
    topics: Vec<TopicId>,
    enrollments: Vec<EnrollmentId>,
}

impl Keys {
    fn of<'a>(contacts: impl Iterator<Item = &'a Contact> + Clone) -> Self {
        Self {
            customers: distinct(contacts.clone().map(|contact| contact.customer_id)),
            topics: distinct(contacts.clone().map(|contact| contact.topic_id.clone())),
            enrollments: distinct(contacts.filter_map(|contact| contact.step.as_ref()).map(|step| step.enrollment_id)),
        }
    }
}

fn distinct<T: Ord>(keys: impl Iterator<Item = T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}
