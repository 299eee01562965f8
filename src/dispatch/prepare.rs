use std::{collections::HashMap, sync::Arc};

use serde_json::{Map, Value};

use super::{Dispatcher, footer::Footer};
use crate::{
    campaigns::{Plan, runs},
    contacts::{Contact, Purpose},
    customers::Customer,
    database::StoreError,
    delivery::check_letter,
    events::{self, Event},
    ids::{CustomerId, EventId, RunId, TemplateId},
    preferences::{CONFIRMATION, SendingPolicy},
    templates::{Data, Published, Rendered},
};

/// A contact with its message.
#[derive(Debug)]
pub(super) struct Draft {
    /// The contact.
    pub contact: Contact,
    /// How the customer is addressed.
    pub to_name: String,
    /// The message and the version of the template that it says, or why there is none.
    pub message: Result<(Rendered, i32), String>,
}

impl Dispatcher {
    /// Renders messages: a handful of queries, however many contacts there are.
    pub(super) async fn prepare(
        &self,
        contacts: Vec<Contact>,
        customers: &HashMap<CustomerId, Customer>,
        policy: &SendingPolicy,
    ) -> Result<Vec<Draft>, StoreError> {
        let events: Vec<EventId> = contacts.iter().filter_map(|contact| contact.step()?.event_id).collect();
        let mut templates: Vec<TemplateId> = contacts.iter().map(|contact| contact.template_id.clone()).collect();
        templates.sort_unstable();
        templates.dedup();
        let (events, templates, newsletters) = tokio::try_join!(
            events::load(self.of.db.reader(), &events),
            self.of.templates.published(&templates),
            self.newsletters(&contacts)
        )?;
        let mut tried = self.tried_out(&contacts, policy).await?;
        let draft = |contact: Contact| {
            let customer = customers.get(&contact.customer_id);
            let event = contact.step().and_then(|step| events.get(&step.event_id?));
            let tried = tried.remove(&contact.contact_id);
            let newsletter = contact.run().and_then(|run| newsletters.get(&run.run_id)?.data_of_run());
            let message = tried.unwrap_or_else(|| {
                let own = newsletter.unwrap_or(&contact.data);
                self.render(policy, &contact, customer, event, own, templates.get(&contact.template_id))
            });
            let to_name = customer.map(|customer| customer.display_name.clone()).unwrap_or_default();
            Draft { contact, to_name, message }
        };
        Ok(contacts.into_iter().map(draft).collect())
    }

    /// What the newsletters follow that these contacts are of.
    async fn newsletters(&self, contacts: &[Contact]) -> Result<HashMap<RunId, Arc<Plan>>, StoreError> {
        let (db, mut ids) = (self.of.db.reader(), Vec::new());
        for run in contacts.iter().filter_map(Contact::run) {
            if !ids.contains(&run.run_id) {
                ids.push(run.run_id);
            }
        }
        let versions = runs::versions(db, &ids).await?;
        let plans = self.of.plans.load(db, versions.values().cloned()).await?;
        let followed = |(run_id, version)| Some((run_id, plans.get(&version)?.clone()));
        Ok(versions.into_iter().filter_map(followed).collect())
    }

    /// What it says, with a way to leave it.
    fn render(
        &self,
        policy: &SendingPolicy,
        contact: &Contact,
        customer: Option<&Customer>,
        event: Option<&Event>,
        own: &Map<String, Value>,
        template: Option<&Published>,
    ) -> Result<(Rendered, i32), String> {
        let customer = customer.ok_or("the customer is not there")?;
        let template = template.ok_or_else(|| format!("template {} has no published version", contact.template_id))?;
        let fail = |what: String| format!("template {} version {}: {what}", contact.template_id, template.version);
        let compiled = template.compiled.as_ref().map_err(|error| fail(error.to_string()))?;
        let event = event.map(|event| event.body.template_data());
        let links = &self.of.links;
        let (unsubscribe, preferences) = (links.unsubscribe(contact.contact_id), links.preferences(contact.contact_id));
        let mut own = own.clone();
        if contact.topic_id.as_str() == CONFIRMATION {
            own.insert("confirm_url".to_owned(), links.confirm(contact.contact_id).into());
        }
        let data = Data::new(customer.template_data(policy.time_zone), event, own)
            .with_links(unsubscribe.clone(), preferences.clone());
        let locale = customer.locale.as_ref().unwrap_or(&policy.default_locale);
        let mut rendered = compiled.render(Some(locale), &data).map_err(|error| fail(error.to_string()))?;
        if contact.purpose != Purpose::Transactional {
            let postal_address = &self.of.senders.of(contact.purpose).postal_address;
            let footer = Footer { unsubscribe: &unsubscribe, preferences: &preferences, postal_address };
            footer.below(&mut rendered, locale);
        }
        check_letter(&customer.display_name, &rendered.subject, &rendered.text, &rendered.html)
            .map_err(|error| fail(error.to_string()))?;
        Ok((rendered, template.version))
    }
}
