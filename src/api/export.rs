//! Everything that is kept about a customer, section by section, in the words of the contract: page by page, however much it is.

use std::collections::BTreeSet;

use prost::Message;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    Api, contact_service, customer_service, delivery_service, encode, event_service, preference_service,
    template_service,
};
use crate::{
    contacts::{Selection, Which},
    database::StoreError,
    filter::Wanted,
    ids::{CustomerId, TemplateId, WordingId},
    rpc::{Fault, Order, Page, proto::ExportCustomerResponse, to_json},
};

/// Grows when a record says something in another way than before. What is only added does not count.
const SCHEMA_VERSION: i32 = 1;
/// How many rows are read at once.
const PAGE: u64 = 200;
/// How many records wait for a caller who reads slowly.
const AHEAD: usize = 16;

/// The records as they are read.
pub type Export = ReceiverStream<Result<ExportCustomerResponse, Status>>;

/// Why an export ended early.
enum Broken {
    /// Nobody listens any more.
    HungUp,
    /// It cannot go on.
    Failed(Fault),
}

impl<F: Into<Fault>> From<F> for Broken {
    fn from(fault: F) -> Self {
        Self::Failed(fault.into())
    }
}

/// Begins to read.
pub fn begin(api: Api, customer_id: CustomerId) -> Export {
    let (out, export) = mpsc::channel(AHEAD);
    let reading = Reading { api, customer_id, out: out.clone() };
    tokio::spawn(async move {
        if let Err(Broken::Failed(fault)) = reading.all().await {
            let _ = out.send(Err(fault.into())).await;
        }
    });
    ReceiverStream::new(export)
}

struct Reading {
    api: Api,
    customer_id: CustomerId,
    out: mpsc::Sender<Result<ExportCustomerResponse, Status>>,
}

impl Reading {
    async fn all(&self) -> Result<(), Broken> {
        let (parts, now) = (&self.api.0, self.api.0.clock.now());
        let customer = parts.customers.get(self.customer_id, true).await?;
        let head = json!({
            "schemaVersion": SCHEMA_VERSION,
            "customerId": self.customer_id.to_string(),
            "exportTime": now.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        });
        self.tell("export", head).await?;
        let addresses: Vec<_> = customer.addresses.iter().map(|address| address.value.clone()).collect();
        self.tell("customer", record("Customer", &encode::customer(customer))?).await?;
        let preferences = parts.preferences.get(self.customer_id).await?;
        let preferences = preference_service::encode_preferences(preferences, now);
        self.tell("preferences", record("Preferences", &preferences)?).await?;
        self.ledger().await?;
        self.events().await?;
        self.enrollments().await?;
        self.contacts().await?;
        self.deliveries().await?;
        for address in addresses {
            for one in parts.suppressions.history(&address).await? {
                let told = record("Suppression", &preference_service::encode_suppression(one))?;
                self.tell("suppressions", told).await?;
            }
        }
        if let Some(receipt) = parts.privacy.receipt(self.customer_id).await? {
            self.tell("erasures", record("EraseCustomerResponse", &customer_service::encode_receipt(receipt))?).await?;
        }
        Ok(())
    }

    /// What the customer said, and after it the words that were agreed to.
    async fn ledger(&self) -> Result<(), Broken> {
        let book = &self.api.0.preferences;
        let (mut wordings, mut page): (BTreeSet<WordingId>, _) = (BTreeSet::new(), first_page());
        while let Some(asked) = page {
            let (found, mut evidence) = book.records(self.customer_id, &asked).await?;
            for one in found.rows {
                wordings.extend(one.wording_id);
                let evidence = evidence.remove(&one.record_id);
                let told = record("ConsentRecord", &preference_service::encode_record(one, evidence))?;
                self.tell("consent_records", told).await?;
            }
            page = page_after(found.next);
        }
        for id in wordings {
            let wording = preference_service::encode_wording(book.wording(id).await?);
            self.tell("wordings", record("Wording", &wording)?).await?;
        }
        Ok(())
    }

    /// What happened, and what it did.
    async fn events(&self) -> Result<(), Broken> {
        let (events, mut page) = (&self.api.0.events, first_page());
        while let Some(asked) = page {
            let found = events.list(Some(self.customer_id), &Wanted::default(), &asked).await?;
            let ids: Vec<_> = found.rows.iter().map(|event| event.event_id).collect();
            let mut effects = events.effects_of(&ids).await?;
            for event in found.rows {
                let effects = effects.remove(&event.event_id).unwrap_or_default().into_iter();
                let effects = effects.map(|one| record("CampaignEffect", &event_service::effect(one)));
                let mut told = record("Event", &event_service::encode_event(event))?;
                told["effects"] = effects.collect::<Result<_, _>>()?;
                self.tell("events", told).await?;
            }
            page = page_after(found.next);
        }
        Ok(())
    }

    async fn enrollments(&self) -> Result<(), Broken> {
        let (all, mut page) = (Wanted::default(), first_page());
        while let Some(asked) = page {
            let found = self.api.0.campaigns.enrollments(None, Some(self.customer_id), &all, &asked).await?;
            for one in self.api.0.enrollments(found.rows).await? {
                self.tell("enrollments", record("Enrollment", &one)?).await?;
            }
            page = page_after(found.next);
        }
        Ok(())
    }

    /// What was planned, decided and handed over, and after it the texts that were sent.
    async fn contacts(&self) -> Result<(), Broken> {
        let (contacts, mut page) = (&self.api.0.contacts, first_page());
        let which = Selection { customer_id: Some(self.customer_id), ..Selection::default() };
        let mut texts: BTreeSet<(TemplateId, i32)> = BTreeSet::new();
        while let Some(asked) = page {
            let found = contacts.list(&which, Order::default(), &asked).await?;
            let ids: Vec<_> = found.rows.iter().map(|contact| contact.contact_id).collect();
            let (mut attempts, mut decisions) = contacts.history_of(&ids).await?;
            let links = contacts.links(&ids).await?;
            for contact in found.rows {
                texts.extend(contact.template_version.map(|version| (contact.template_id.clone(), version)));
                let attempts = attempts.remove(&contact.contact_id).unwrap_or_default().into_iter();
                let attempts = attempts.map(|one| record("ContactAttempt", &contact_service::encode_attempt(one)));
                let decisions = decisions.remove(&contact.contact_id).unwrap_or_default().into_iter();
                let decisions = decisions.map(|one| record("ContactDecision", &contact_service::encode_decision(one)));
                let own = links.iter().filter(|link| link.contact_id == contact.contact_id);
                let links: Vec<Value> = own.map(|link| json!(link.url)).collect();
                let mut told = record("Contact", &self.api.encode_contact(contact))?;
                told["attempts"] = attempts.collect::<Result<_, _>>()?;
                told["decisions"] = decisions.collect::<Result<_, _>>()?;
                if !links.is_empty() {
                    told["trackedLinks"] = links.into();
                }
                self.tell("contacts", told).await?;
            }
            page = page_after(found.next);
        }
        for (template_id, version) in texts {
            let template = self.api.0.templates.get(&template_id, version).await?;
            self.tell("templates", record("Template", &template_service::encode_template(template, true))?).await?;
        }
        Ok(())
    }

    /// What came back for messages.
    async fn deliveries(&self) -> Result<(), Broken> {
        let (all, mut page) = (Wanted::default(), first_page());
        while let Some(asked) = page {
            let found = self.api.0.contacts.deliveries(&Which::Customer(self.customer_id), &all, &asked).await?;
            for one in found.rows {
                self.tell("delivery_events", record("DeliveryEvent", &delivery_service::encode_event(one))?).await?;
            }
            page = page_after(found.next);
        }
        Ok(())
    }

    async fn tell(&self, section: &str, record: Value) -> Result<(), Broken> {
        let fields = match record {
            Value::Object(fields) => fields,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        let answer = ExportCustomerResponse { section: section.to_owned(), record: encode::object(&fields) };
        self.out.send(Ok(answer)).await.map_err(|_| Broken::HungUp)
    }
}

/// Never more than this is in memory.
fn first_page() -> Option<Page> {
    Some(Page { size: PAGE, after: None })
}

fn page_after(next: Option<String>) -> Option<Page> {
    next.map(|after| Page { size: PAGE, after: Some(after) })
}

/// A message as JSON, as the contract's own mapping has it.
fn record(name: &str, message: &impl Message) -> Result<Value, Broken> {
    Ok(to_json(name, message).map_err(|detail| StoreError::Corrupt { table: "the contract", detail })?)
}
