use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Dispatcher;
use crate::{
    calendar::{self, LocalTime, Zone},
    clock::Timestamp,
    contacts::{self, Contact, NewContact, Origin},
    customers::{self, CustomerKey, Locked},
    database::{self, StoreError, WriteTx},
    ids::{ContactId, TemplateId, TopicId},
    preferences::{self, Topic},
    rpc::{Answered, Answers, Fault, Reason, Reply, RequestKey, Violations},
    templates::Channels,
};

/// How often a transaction that got in another's way is tried.
const TRIES: usize = 5;

/// An ad-hoc message.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// To whom.
    pub customer: CustomerKey,
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
    /// Its request, if that may be repeated.
    pub request: Option<RequestKey>,
    /// Checks everything and changes nothing.
    pub validate_only: bool,
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
    pub async fn schedule(&self, new: NewMessage) -> Result<Reply<Planned>, Fault> {
        self.schedule_all(&[new]).await?.swap_remove(0)
    }

    /// Plans many ad-hoc messages in one transaction; each stands for itself. Answers in their order.
    pub async fn schedule_all(&self, new: &[NewMessage]) -> Result<Vec<Result<Reply<Planned>, Fault>>, Fault> {
        let mut tries = 1;
        loop {
            match self.try_schedule(new).await {
                Err(fault) if fault.is_conflict() && tries < TRIES => tries += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_schedule(&self, new: &[NewMessage]) -> Result<Vec<Result<Reply<Planned>, Fault>>, Fault> {
        let now = self.of.clock.now();
        let tx = self.of.db.begin_write().await?;
        let customers = customers::lock_each(&tx, &new.iter().map(|one| &one.customer).collect::<Vec<_>>()).await?;
        let mut batch = Batch::load(&tx, new, now).await?;
        let outcomes = new.iter().zip(customers).map(|(one, customer)| batch.plan(one, customer)).collect();
        let first_due = batch.planned.iter().map(|contact| contact.due_time).min();
        batch.keep(&tx).await?;
        database::commit(tx).await?;
        if let Some(due) = first_due {
            self.of.bell.ring_for(due);
        }
        Ok(outcomes)
    }
}

/// Messages that are planned together: what they refer to, read in a query for each kind, and what becomes of them.
struct Batch {
    now: Timestamp,
    /// Where customers are taken to live of whom that is not known.
    home: Zone,
    topics: HashMap<TopicId, Topic>,
    channels: Channels,
    /// What was answered to their requests before.
    answers: Answers,
    /// Every contact that one of them may be answered with.
    known: HashMap<ContactId, Contact>,
    /// The contacts that have the callers' keys.
    taken: HashMap<String, ContactId>,
    planned: Vec<Contact>,
}

impl Batch {
    async fn load(tx: &WriteTx, new: &[NewMessage], now: Timestamp) -> Result<Self, StoreError> {
        let requests: Vec<&RequestKey> = new.iter().filter_map(|one| one.request.as_ref()).collect();
        let answers = Answers::read(tx, &requests).await?;
        let answered = answers.iter().map(contact_of).collect::<Result<Vec<_>, _>>()?;
        let keys = new.iter().filter_map(|one| one.dedupe_key.clone()).collect();
        let known = contacts::known(tx, answered, keys).await?;
        let topics = preferences::load_topics(tx, distinct(new.iter().map(|one| &one.topic_id))).await?;
        let channels = Channels::load(tx, distinct(new.iter().map(|one| &one.template_id)).into_iter()).await?;
        let taken =
            known.iter().filter_map(|contact| Some((contact.dedupe_key.clone()?, contact.contact_id))).collect();
        let known = known.into_iter().map(|contact| (contact.contact_id, contact)).collect();
        let home = preferences::zone(tx, None).await?;
        Ok(Self { now, home, topics, channels, answers, known, taken, planned: Vec::new() })
    }

    /// Plans one message, or says why not.
    fn plan(&mut self, new: &NewMessage, customer: Option<Locked>) -> Result<Reply<Planned>, Fault> {
        if let Some(request) = &new.request
            && let Some(first) = self.answers.find(request)?
        {
            let contact = self.contact(contact_of(first)?)?;
            return Ok(Reply::replayed(Planned { contact, existed: first.counts == [1] }));
        }
        let customer = customer.ok_or_else(|| customers::not_found(&new.customer))?;
        if customer.delete_time.is_some() {
            return Err(customers::deleted(customer.customer_id));
        }
        let asked = self.draft(new, customer)?;
        let first = new.dedupe_key.as_ref().and_then(|key| Some((key, *self.taken.get(key)?)));
        let planned = match first {
            Some((key, first)) => Planned { contact: same_message(self.contact(first)?, key, &asked)?, existed: true },
            None => Planned { contact: asked, existed: false },
        };
        if !new.validate_only {
            self.note(new, &planned);
        }
        Ok(Reply::fresh(planned))
    }

    fn draft(&self, new: &NewMessage, customer: Locked) -> Result<Contact, Fault> {
        let topic = self.topics.get(&new.topic_id).ok_or_else(|| preferences::topic_not_found(&new.topic_id))?;
        topic.check_open()?;
        let channel = self.channels.of(&new.template_id)?;
        let zone = customer.zone.unwrap_or(self.home);
        let planned = planned(new.due, zone, self.now);
        let expire_time = new.expire_time.unwrap_or(planned.instant + contacts::PATIENCE);
        check_expiry(expire_time, planned.instant)?;
        let contact = NewContact {
            customer_id: customer.customer_id,
            origin: Origin::AdHoc,
            topic_id: new.topic_id.clone(),
            purpose: topic.purpose,
            channel,
            address_id: None,
            template_id: new.template_id.clone(),
            variant_id: None,
            data: new.data.clone(),
            dedupe_key: new.dedupe_key.clone(),
            planned,
            zone,
            expire_time,
        };
        Ok(contact.plan(self.now))
    }

    fn note(&mut self, new: &NewMessage, planned: &Planned) {
        let id = planned.contact.contact_id;
        if let Some(request) = &new.request {
            self.answers.add(request, id, &[i64::from(planned.existed)]);
        }
        if planned.existed {
            return;
        }
        if let Some(key) = &new.dedupe_key {
            self.taken.insert(key.clone(), id);
        }
        self.known.insert(id, planned.contact.clone());
        self.planned.push(planned.contact.clone());
    }

    fn contact(&self, id: ContactId) -> Result<Contact, StoreError> {
        let missing = || StoreError::Corrupt { table: "requests", detail: format!("there is no contact {id}") };
        self.known.get(&id).cloned().ok_or_else(missing)
    }

    async fn keep(mut self, tx: &WriteTx) -> Result<(), StoreError> {
        // In one order, so that two batches with the same keys wait for each other and do not get stuck.
        self.planned.sort_by(|one, other| one.dedupe_key.cmp(&other.dedupe_key));
        contacts::insert(tx, &self.planned).await?;
        self.answers.keep(tx, self.now).await
    }
}

fn distinct<'a, T: Ord + Clone + 'a>(keys: impl Iterator<Item = &'a T>) -> Vec<T> {
    let mut keys: Vec<T> = keys.cloned().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn contact_of(answered: &Answered) -> Result<ContactId, StoreError> {
    let corrupt = |_| StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
    answered.resource.parse().map_err(corrupt)
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

/// The contact that has a key, if it is the message that was asked for.
fn same_message(first: Contact, key: &str, asked: &Contact) -> Result<Contact, Fault> {
    let about = |contact: &Contact| (contact.customer_id, contact.topic_id.clone(), contact.template_id.clone());
    if about(&first) != about(asked) {
        let message = format!("{} has this key, and another customer, topic or template", first.contact_id);
        return Err(Fault::refused(Reason::DedupeKeyTaken, key, message));
    }
    Ok(first)
}
