//! What happens inside the service is an event as well, where a campaign listens: recorded by the code that records what callers
//! report, in the transaction in which it happens.

use serde_json::{Map, Value, json};

use super::{
    Intake,
    statement::{Said, Stated},
};
use crate::{
    calendar::Zone,
    campaigns,
    clock::Timestamp,
    contacts::{DeliveryEvent, DeliveryKind, StepOf},
    customers::Customer,
    database::{StoreError, WriteTx},
    events::{self, Event, EventBody, OWN_SOURCE},
    ids::{CampaignId, CustomerId, EventId},
    preferences::{self, ConsentAct, DataUse},
    rpc::Fault,
};

/// What messages do is told by events of types that begin so.
const OF_CONTACTS: &str = "contact.";

/// Whether events of a type come about by themselves when what customers did is played again.
pub fn comes_about_anew(event_type: &str) -> bool {
    matches!(event_type, "customer.created" | "consent.granted" | "consent.withdrawn")
}

/// Something that happened inside the service.
#[derive(Debug)]
pub(super) struct Happening {
    pub customer_id: CustomerId,
    pub event_type: &'static str,
    /// What makes it the only one of its kind.
    pub key: String,
    pub subject: String,
    pub occur_time: Timestamp,
    pub properties: Map<String, Value>,
    pub starts: Starts,
}

/// Which campaigns an event may start. What a campaign does itself must not keep it going for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Starts {
    Everything,
    AllBut(CampaignId),
    Nothing,
}

impl Starts {
    pub fn allows(&self, campaign: &CampaignId) -> bool {
        match self {
            Self::Everything => true,
            Self::AllBut(one) => one != campaign,
            Self::Nothing => false,
        }
    }
}

impl Intake {
    /// Records what happened and all that follows from it, if a campaign listens. The customer is locked; `zone` is where they live,
    /// if that is known.
    pub(super) async fn happen(
        &self,
        tx: &WriteTx,
        happening: Happening,
        zone: Option<Zone>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        if !campaigns::is_heard(tx, happening.event_type).await? {
            return Ok(());
        }
        let body = EventBody {
            source: OWN_SOURCE.to_owned(),
            source_event_id: happening.key,
            event_type: happening.event_type.to_owned(),
            occur_time: happening.occur_time,
            subject: happening.subject,
            value: None,
            items: Vec::new(),
            properties: happening.properties,
        };
        let event = Event { event_id: EventId::generate(), customer_id: happening.customer_id, record_time: now, body };
        if !events::insert(tx, &event).await? {
            return Ok(());
        }
        let zone = preferences::zone(tx, zone).await?;
        // What follows may happen inside the service, too.
        let effects = Box::pin(self.act_on(tx, &event, &happening.starts, zone, now)).await?;
        Ok(events::insert_effects(tx, event.event_id, &effects).await?)
    }

    /// That a customer came to be known by a call.
    pub(super) async fn tell_created(
        &self,
        tx: &WriteTx,
        customer_id: CustomerId,
        zone: Option<Zone>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let happening = Happening {
            customer_id,
            event_type: "customer.created",
            key: format!("created {customer_id}"),
            subject: String::new(),
            occur_time: now,
            properties: Map::new(),
            starts: Starts::Everything,
        };
        self.happen(tx, happening, zone, now).await
    }

    /// What a customer said of a topic, where that is something new.
    pub(super) async fn tell_said(
        &self,
        tx: &WriteTx,
        customer: &Customer,
        said: &Said,
        stated: &Stated,
        starts: Starts,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let event_type = match stated.news {
            Some(ConsentAct::Grant) => "consent.granted",
            Some(ConsentAct::Withdraw) => "consent.withdrawn",
            _ => return Ok(()),
        };
        let consent = &stated.consent;
        if consent.data_use != DataUse::Messages {
            return Ok(());
        }
        let properties = json!({
            "topic_id": consent.topic_id.as_str(),
            "channel": consent.channel.as_str(),
            "method": said.method.as_str(),
        });
        let happening = Happening {
            customer_id: customer.customer_id,
            event_type,
            key: consent.record_id.to_string(),
            subject: consent.topic_id.to_string(),
            occur_time: consent.change_time,
            properties: map(properties),
            starts,
        };
        self.happen(tx, happening, customer.time_zone, now).await
    }

    /// What came back for a message, in the transaction that records it.
    pub async fn tell_delivery(
        &self,
        tx: &WriteTx,
        customer: &Customer,
        event: &DeliveryEvent,
        step: Option<&StepOf>,
        now: Timestamp,
    ) -> Result<(), Fault> {
        let event_type = match event.kind {
            DeliveryKind::Bounced => "contact.bounced",
            DeliveryKind::Complained => "contact.complained",
            DeliveryKind::Clicked => "contact.clicked",
            DeliveryKind::Replied => "contact.replied",
            _ => return Ok(()),
        };
        if event.automated || !campaigns::is_heard(tx, event_type).await? {
            return Ok(());
        }
        let (starts, subject) = match step {
            Some(step) => self.echo(tx, step).await?,
            None => (event.campaign_id.clone().map_or(Starts::Everything, Starts::AllBut), String::new()),
        };
        let properties = json!({
            "contact_id": event.contact_id.map(|id| id.to_string()),
            "campaign_id": event.campaign_id.as_ref().map(CampaignId::as_str),
            "step_id": step.map(|step| step.step_id.as_str()),
            "url": event.url,
            "status_code": event.status_code,
        });
        let happening = Happening {
            customer_id: event.customer_id,
            event_type,
            key: event.delivery_event_id.to_string(),
            subject,
            occur_time: event.occur_time,
            properties: map(properties),
            starts,
        };
        self.happen(tx, happening, customer.time_zone, now).await
    }

    /// What an event about a message of a step may start, and what that is about: nothing of the same campaign, and nothing at all
    /// where such an event started the step's campaign.
    async fn echo(&self, tx: &WriteTx, step: &StepOf) -> Result<(Starts, String), StoreError> {
        let trigger = match step.event_id {
            Some(id) => events::load(tx, &[id]).await?.remove(&id),
            None => None,
        };
        let Some(trigger) = trigger else {
            return Ok((Starts::AllBut(step.campaign_id.clone()), String::new()));
        };
        let body = trigger.body;
        let is_echo = body.source == OWN_SOURCE && body.event_type.starts_with(OF_CONTACTS);
        let starts = if is_echo { Starts::Nothing } else { Starts::AllBut(step.campaign_id.clone()) };
        Ok((starts, body.subject))
    }
}

/// Whether an event tells what a campaign's own message brought about.
pub(super) fn is_own_doing(event: &Event, campaign: &CampaignId) -> bool {
    let body = &event.body;
    body.source == OWN_SOURCE && body.properties.get("campaign_id").and_then(Value::as_str) == Some(campaign.as_str())
}

/// An object without the fields that hold nothing.
fn map(of: Value) -> Map<String, Value> {
    let Value::Object(mut fields) = of else { return Map::new() };
    fields.retain(|_, value| !value.is_null() && value.as_str() != Some(""));
    fields
}
