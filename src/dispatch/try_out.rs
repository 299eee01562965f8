//! Messages that are tried out: a contact like any other, to an address that the operator named, marked as a test. What it says is
//! worked out when it goes, by the code that renders all others.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Dispatcher;
use crate::{
    calendar::Planned,
    contacts::{self, Contact, NewContact, Origin, PATIENCE, Purpose},
    customers::{self, CustomerChange, CustomerKey, NewAddress},
    database::{self, StoreError, WriteTx},
    delivery::{Channel, EmailAddress, check_letter},
    ids::{ContactId, CustomerId, TemplateId},
    preferences::{self, SendingPolicy, TRIAL},
    rpc::{Fault, Reason, Reply, RequestKey},
    templates::{Locale, Rendered, sample_of},
};

/// Where a contact keeps what is tried out.
const KEY: &str = "test";
const MARK: &str = "[Test] ";

/// A message to try out.
#[derive(Debug, Clone)]
pub struct TestMessage {
    /// What it says, in which version; 0 = the latest.
    pub template_id: TemplateId,
    /// Which version.
    pub version: i32,
    /// Where it goes.
    pub address: EmailAddress,
    /// Whose message it is to be; none = that of the sample data.
    pub customer: Option<CustomerId>,
    /// Lies over what the customer brings, and over the sample data.
    pub data: Map<String, Value>,
    /// In which language; none = the customer's, or the fallback.
    pub locale: Option<Locale>,
    /// Its request, if that may be repeated.
    pub request: Option<RequestKey>,
}

/// What a contact keeps of it. Of a customer only the id: what is erased must not live on here.
#[derive(Serialize, Deserialize)]
struct Kept {
    version: i32,
    customer_id: Option<String>,
    locale: Option<Locale>,
    data: Map<String, Value>,
}

impl Dispatcher {
    /// Plans it, due now.
    pub async fn send_test(&self, of: TestMessage) -> Result<Reply<ContactId>, Fault> {
        if !self.of.test_recipients.allow(of.address.as_str()) {
            let message = "this address is not one of those that the setting test_recipients names";
            return Err(Fault::refused(Reason::TestRecipientNotAllowed, "", message));
        }
        let template = self.of.templates.get(&of.template_id, of.version).await?;
        if template.partial {
            let message = format!("template {} is a partial: other templates include it", of.template_id);
            return Err(Fault::refused(Reason::TemplateIsPartial, &of.template_id, message));
        }
        let now = self.of.clock.now();
        let tx = self.of.db.begin_write().await?;
        if let Some(request) = &of.request
            && let Some(first) = request.begin(&tx, now).await?
        {
            let corrupt = |_| StoreError::Corrupt { table: "requests", detail: "resource".to_owned() };
            return Ok(Reply::replayed(first.resource.parse().map_err(corrupt)?));
        }
        let (customer_id, zone) = self.recipient(&tx, &of.address).await?;
        let topic = preferences::trial_topic(&tx, now).await?;
        let kept = Kept {
            version: template.version,
            customer_id: of.customer.map(|id| id.to_string()),
            locale: of.locale,
            data: of.data,
        };
        let wrong = |error: serde_json::Error| StoreError::Corrupt { table: "contacts", detail: error.to_string() };
        let contact = NewContact {
            customer_id,
            origin: Origin::AdHoc,
            topic_id: topic.topic_id,
            purpose: Purpose::Transactional,
            channel: Channel::Email,
            address_id: None,
            template_id: of.template_id,
            data: Map::from_iter([(KEY.to_owned(), serde_json::to_value(kept).map_err(wrong)?)]),
            dedupe_key: None,
            variant_id: None,
            planned: Planned { instant: now, local: None },
            zone,
            expire_time: now + PATIENCE,
        };
        let contact = contact.plan(now);
        contacts::insert(&tx, std::slice::from_ref(&contact)).await?;
        if let Some(request) = &of.request {
            request.finish(&tx, contact.contact_id, &[]).await?;
        }
        database::commit(tx).await?;
        self.of.bell.ring_for(contact.due_time);
        Ok(Reply::fresh(contact.contact_id))
    }

    /// Whoever has the address, or a customer of its own for it.
    async fn recipient(
        &self,
        tx: &WriteTx,
        address: &EmailAddress,
    ) -> Result<(CustomerId, crate::calendar::Zone), Fault> {
        let home = preferences::zone(tx, None).await?;
        let key = CustomerKey::Email(address.clone());
        if let Some(found) = customers::lock_each(tx, &[&key]).await?.into_iter().flatten().next() {
            return Ok((found.customer_id, found.zone.unwrap_or(home)));
        }
        let change = CustomerChange {
            display_name: Some("Test recipient".to_owned()),
            add_tags: vec!["test-recipient".to_owned()],
            addresses: vec![NewAddress { channel: Channel::Email, value: address.clone(), primary: true }],
            ..CustomerChange::default()
        };
        Ok((customers::insert(tx, change, self.of.clock.now()).await?.customer_id, home))
    }

    /// What the messages among these say that are tried out. A few queries for each of them, and none for the others.
    pub(super) async fn tried_out(
        &self,
        contacts: &[Contact],
        policy: &SendingPolicy,
    ) -> Result<HashMap<ContactId, Result<(Rendered, i32), String>>, StoreError> {
        let mut tried = HashMap::new();
        for contact in contacts.iter().filter(|contact| contact.topic_id.as_str() == TRIAL) {
            let Some(kept) = contact.data.get(KEY).and_then(|kept| serde_json::from_value(kept.clone()).ok()) else {
                continue;
            };
            tried.insert(contact.contact_id, self.try_out(contact, kept, policy).await?);
        }
        Ok(tried)
    }

    async fn try_out(
        &self,
        contact: &Contact,
        kept: Kept,
        policy: &SendingPolicy,
    ) -> Result<Result<(Rendered, i32), String>, StoreError> {
        let template = match self.of.templates.get(&contact.template_id, kept.version).await {
            Ok(template) => template,
            Err(Fault::Store(error)) => return Err(error),
            Err(_) => {
                return Ok(Err(format!("template {} version {} is not there", contact.template_id, kept.version)));
            }
        };
        let fail = |what: String| format!("template {} version {}: {what}", contact.template_id, template.version);
        let compiled = match self.of.templates.compile(&template).await? {
            Ok(compiled) => compiled,
            Err(error) => return Ok(Err(fail(error.to_string()))),
        };
        let (data, own_locale) = match kept.customer_id.as_deref().map(str::parse) {
            None => (sample_of(&template.content), None),
            Some(Err(_)) => return Ok(Err("the customer is not there".to_owned())),
            Some(Ok(id)) => match customers::find(self.of.db.reader(), id).await? {
                None => return Ok(Err("the customer is not there".to_owned())),
                Some(customer) => {
                    let data = sample_of(&template.content).to(customer.template_data(policy.time_zone));
                    (data, customer.locale.or_else(|| Some(policy.default_locale.clone())))
                }
            },
        };
        let links = &self.of.links;
        let data = data
            .overlaid(kept.data)
            .with_links(links.unsubscribe(contact.contact_id), links.preferences(contact.contact_id));
        let locale = kept.locale.or(own_locale);
        let rendered = compiled.render(locale.as_ref(), &data).map_err(|error| fail(error.to_string()));
        Ok(rendered.and_then(|mut rendered| {
            rendered.subject.insert_str(0, MARK);
            check_letter("", &rendered.subject, &rendered.text, &rendered.html)
                .map_err(|error| fail(error.to_string()))?;
            Ok((rendered, template.version))
        }))
    }
}
