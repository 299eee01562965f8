use std::collections::{BTreeMap, HashMap};

use crate::{
    clock::Timestamp,
    contacts::{self, Contact, DeliveryEvent, DeliveryKind},
    customers::{self, Customer, CustomerKey},
    database::WriteTx,
    delivery::{EmailAddress, Weight},
    ids::{ContactId, CustomerId, DeliveryEventId},
    intake::{self, Intake, Said},
    preferences::{self, CameBack, ConsentMethod, Evidence},
    rpc::Fault,
    tokens::SecretKey,
};

/// Something that came back, before anybody knows whom it is about.
#[derive(Debug, Clone)]
pub struct Found {
    /// Who says so.
    pub source: String,
    /// Its key there.
    pub source_event_id: String,
    /// The message that it is about, where that is said.
    pub contact: Option<ContactId>,
    /// The address that it is about, where that is said; asked only where no message is known.
    pub address: Option<EmailAddress>,
    /// What.
    pub kind: DeliveryKind,
    /// Of a bounce: what it means for the address.
    pub weight: Option<Weight>,
    /// The enhanced code; empty = none.
    pub status_code: String,
    /// In the words of who said so; without addresses.
    pub detail: String,
    /// Which link was followed.
    pub url: String,
    /// A machine did it.
    pub automated: bool,
    /// When; none = now.
    pub occur_time: Option<Timestamp>,
}

impl Found {
    /// Without control characters: no database takes all of them, and a provider that is refused tries for ever.
    pub(super) fn printable(&self) -> Self {
        let clean = |text: &str| text.chars().filter(|letter| !letter.is_control()).collect::<String>();
        Self {
            source: clean(&self.source),
            source_event_id: clean(&self.source_event_id),
            status_code: clean(&self.status_code),
            detail: clean(&self.detail),
            url: clean(&self.url),
            ..self.clone()
        }
    }
}

/// What became of something found.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// It is recorded.
    Recorded(Box<DeliveryEvent>),
    /// It had been recorded before.
    Known,
    /// It is about nobody of ours.
    Unmatched,
}

/// Whom something is about.
struct About {
    contact: Option<Contact>,
    customer_id: CustomerId,
    address: Option<EmailAddress>,
}

/// Records what was found, with all that follows from it.
pub(super) async fn record(
    tx: &WriteTx,
    key: &SecretKey,
    intake: &Intake,
    found: &[Found],
    now: Timestamp,
) -> Result<Vec<Fate>, Fault> {
    let (abouts, customers) = match_all(tx, found).await?;
    let mut by_source: BTreeMap<&str, Vec<CameBack>> = BTreeMap::new();
    for (found, about) in found.iter().zip(&abouts) {
        if let Some(about) = about {
            let came = CameBack { event: event(found, about, now), address: about.address.clone() };
            by_source.entry(found.source.as_str()).or_default().push(came);
        }
    }
    let mut recorded: HashMap<(String, String), DeliveryEvent> = HashMap::new();
    for came in by_source.into_values() {
        for event in preferences::record_deliveries(tx, key, came, now).await?.events {
            follow(tx, intake, &event, &abouts, &customers, now).await?;
            recorded.insert((event.source.clone(), event.source_event_id.clone()), event);
        }
    }
    let fate = |(found, about): (&Found, &Option<About>)| match about {
        None => Fate::Unmatched,
        Some(_) => match recorded.remove(&(found.source.clone(), found.source_event_id.clone())) {
            Some(event) => Fate::Recorded(Box::new(event)),
            None => Fate::Known,
        },
    };
    Ok(found.iter().zip(&abouts).map(fate).collect())
}

/// Finds out whom each is about, and keeps these customers from others: by the message, else by the address.
async fn match_all(
    tx: &WriteTx,
    found: &[Found],
) -> Result<(Vec<Option<About>>, HashMap<CustomerId, Customer>), Fault> {
    let ids = found.iter().filter_map(|one| one.contact).collect();
    let contacts: HashMap<ContactId, Contact> =
        contacts::known(tx, ids, Vec::new()).await?.into_iter().map(|one| (one.contact_id, one)).collect();
    let key = |one: &Found| match one.contact.and_then(|id| contacts.get(&id)) {
        Some(contact) => Some(CustomerKey::Id(contact.customer_id)),
        None => one.address.clone().map(CustomerKey::Email),
    };
    let keys: Vec<Option<CustomerKey>> = found.iter().map(key).collect();
    let asked: Vec<&CustomerKey> = keys.iter().flatten().collect();
    let mut locked = customers::lock_each(tx, &asked).await?.into_iter();
    let owners: Vec<Option<CustomerId>> =
        keys.iter().map(|key| key.as_ref().and_then(|_| locked.next().flatten()).map(|one| one.customer_id)).collect();
    let ids: Vec<CustomerId> = owners.iter().flatten().copied().collect();
    let customers = customers::load(tx, &ids).await?;
    let mut abouts = Vec::with_capacity(found.len());
    for (one, owner) in found.iter().zip(owners) {
        let contact = one.contact.and_then(|id| contacts.get(&id)).cloned();
        // Nothing is kept any more of whoever is erased.
        let customer = owner.and_then(|id| customers.get(&id)).filter(|customer| customer.erase_time.is_none());
        let Some(customer) = customer else {
            abouts.push(None);
            continue;
        };
        abouts.push(Some(about(tx, one, contact, customer).await?));
    }
    Ok((abouts, customers))
}

async fn about(tx: &WriteTx, one: &Found, contact: Option<Contact>, customer: &Customer) -> Result<About, Fault> {
    let customer_id = customer.customer_id;
    if let Some(contact) = contact {
        let went_to = customer.addresses.iter().find(|address| Some(address.address_id) == contact.address_id);
        let address = went_to.map(|address| address.value.clone());
        return Ok(About { contact: Some(contact), customer_id, address });
    }
    let key = one.address.as_ref().map(EmailAddress::key);
    let own = customer.addresses.iter().find(|address| Some(address.value.key()) == key);
    let contact = match own {
        Some(own) => contacts::last_sent_to(tx, customer_id, own.address_id).await?,
        None => None,
    };
    Ok(About { contact, customer_id, address: one.address.clone() })
}

fn event(found: &Found, about: &About, now: Timestamp) -> DeliveryEvent {
    let contact = about.contact.as_ref();
    DeliveryEvent {
        delivery_event_id: DeliveryEventId::generate(),
        source: found.source.clone(),
        source_event_id: found.source_event_id.clone(),
        contact_id: contact.map(|contact| contact.contact_id),
        customer_id: about.customer_id,
        campaign_id: contact.and_then(Contact::campaign_id).cloned(),
        address_key: None,
        kind: found.kind,
        weight: found.weight,
        status_code: found.status_code.clone(),
        detail: found.detail.clone(),
        url: found.url.clone(),
        automated: found.automated,
        // What a clock elsewhere puts ahead of ours happened now.
        occur_time: found.occur_time.map_or(now, |time| time.min(now)),
        record_time: now,
    }
}

/// What a customer says with it.
async fn follow(
    tx: &WriteTx,
    intake: &Intake,
    event: &DeliveryEvent,
    abouts: &[Option<About>],
    customers: &HashMap<CustomerId, Customer>,
    now: Timestamp,
) -> Result<(), Fault> {
    let living = customers.get(&event.customer_id).filter(|customer| customer.delete_time.is_none());
    let (Some(customer), false) = (living, event.automated) else { return Ok(()) };
    let mut contacts = abouts.iter().flatten().filter_map(|about| about.contact.as_ref());
    let contact = contacts.find(|contact| Some(contact.contact_id) == event.contact_id);
    let said = |method| Said {
        method,
        evidence: Evidence::new(&event.source, &event.source_event_id),
        contact_id: event.contact_id,
        proven: None,
    };
    match event.kind {
        DeliveryKind::Complained => {
            intake::object_to_marketing(tx, customer, &said(ConsentMethod::Complaint), now).await?
        }
        DeliveryKind::Unsubscribed => {
            if let Some(contact) = contact {
                let said = said(ConsentMethod::OneClick);
                intake.opt_out(tx, customer, &contact.topic_id, &said, now).await?;
            }
        }
        _ => {}
    }
    let step = contact.and_then(|contact| contact.step());
    intake.tell_delivery(tx, customer, event, step, now).await
}
