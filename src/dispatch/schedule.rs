use serde_json::{Map, Value};

use super::Dispatcher;
use crate::{
    calendar::{self, LocalTime, Zone},
    clock::Timestamp,
    contacts::{self, Contact, NewContact},
    customers, database,
    ids::{ContactId, CustomerId, TemplateId, TopicId},
    preferences,
    rpc::{Fault, Reason, Reply, RequestKey, Violations},
    templates,
};

/// An ad-hoc message.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// To whom.
    pub customer_id: CustomerId,
    /// What it is about.
    pub topic_id: TopicId,
    /// What it says.
    pub template_id: TemplateId,
    /// What the template sees as data.
    pub data: Map<String, Value>,
    /// When.
    pub due: Due,
    /// When it is too late; none = 72 hours after it is due.
    pub expire_time: Option<Timestamp>,
    /// One contact per key, for ever.
    pub dedupe_key: Option<String>,
}

/// When a message is due.
#[derive(Debug, Clone, Copy)]
pub enum Due {
    /// Now.
    Now,
    /// At an instant.
    At(Timestamp),
    /// At a wall-clock time where the customer lives.
    Local(LocalTime),
}

/// A planned message.
#[derive(Debug)]
pub struct Planned {
    /// The contact.
    pub contact: Contact,
    /// Its key was taken: it is the contact that has it, and nothing was planned.
    pub existed: bool,
}

impl Dispatcher {
    /// Plans an ad-hoc message.
    pub async fn schedule(
        &self,
        new: NewMessage,
        key: Option<&RequestKey>,
        validate_only: bool,
    ) -> Result<Reply<Planned>, Fault> {
        let now = self.of.clock.now();
        let tx = self.of.db.begin_write().await?;
        if let Some(key) = key
            && let Some(first) = key.begin(&tx, now).await?
        {
            let id: ContactId = first
                .resource
                .parse()
                .map_err(|_| database::StoreError::Corrupt { table: "requests", detail: "resource".to_owned() })?;
            let contact = contacts::find(&tx, id).await?;
            return Ok(Reply::replayed(Planned { contact, existed: first.counts == [1] }));
        }
        let zone = customers::lock_living(&tx, new.customer_id).await?;
        let zone = preferences::zone(&tx, zone).await?;
        let topic = preferences::find_topic(&tx, &new.topic_id).await?;
        let template = templates::find_latest(&tx, &new.template_id).await?;
        templates::check_published(&tx, std::slice::from_ref(&new.template_id)).await?;
        let planned = planned(new.due, zone, now);
        let expire_time = new.expire_time.unwrap_or(planned.instant + contacts::PATIENCE);
        check_expiry(expire_time, planned.instant)?;
        let contact = NewContact {
            customer_id: new.customer_id,
            step: None,
            topic_id: new.topic_id,
            purpose: topic.purpose,
            channel: template.channel,
            template_id: new.template_id,
            data: new.data,
            dedupe_key: new.dedupe_key,
            planned,
            zone,
            expire_time,
        };
        let contact = contact.plan(now);
        let existed = !contacts::insert_once(&tx, &contact).await?;
        let contact = match contact.dedupe_key.as_deref().filter(|_| existed) {
            Some(key) => find_first(&tx, key, &contact).await?,
            None => contact,
        };
        if let Some(key) = key {
            key.finish(&tx, contact.contact_id, &[i64::from(existed)]).await?;
        }
        if validate_only {
            database::rollback(tx).await?
        } else {
            database::commit(tx).await?
        }
        self.of.bell.ring_for(contact.due_time);
        Ok(Reply::fresh(Planned { contact, existed }))
    }
}

fn planned(due: Due, zone: Zone, now: Timestamp) -> calendar::Planned {
    match due {
        Due::Now => calendar::Planned { instant: now, local: None },
        Due::At(instant) => calendar::Planned { instant, local: None },
        Due::Local(local) => calendar::Planned::local(local, zone),
    }
}

fn check_expiry(expire_time: Timestamp, due: Timestamp) -> Result<(), Fault> {
    let mut violations = Violations::default();
    if expire_time <= due {
        violations.add("expireTime", "must be after the message is due");
    }
    violations.check()
}

/// The contact that has the key, if it is the same message.
async fn find_first(tx: &database::WriteTx, key: &str, asked: &Contact) -> Result<Contact, Fault> {
    let Some(first) = contacts::find_by_dedupe_key(tx, key).await? else {
        let message = "the key was taken and set free at the same time";
        return Err(Fault::refused(Reason::WriteConflict, key, message));
    };
    let about = |contact: &Contact| (contact.customer_id, contact.topic_id.clone(), contact.template_id.clone());
    if about(&first) != about(asked) {
        let message = format!("{} has this key, and another customer, topic or template", first.contact_id);
        return Err(Fault::refused(Reason::DedupeKeyTaken, key, message));
    }
    Ok(first)
}
