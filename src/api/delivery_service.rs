//! What came back, on the wire.

use tonic::{Request, Response, Status, async_trait};

use super::{Api, decode, encode, open};
use crate::{
    clock::Timestamp,
    contacts::{DeliveryEvent, DeliveryKind, Which, delivery_fields},
    delivery::Weight,
    inbound::{Classification, Found, Reading},
    rpc::{
        Fault, Violations,
        proto::{
            self, IngestInboundMessageRequest, IngestInboundMessageResponse, ListDeliveryEventsRequest,
            ListDeliveryEventsResponse, ReportDeliveryEventsRequest, ReportDeliveryEventsResponse,
            delivery_event::Kind, delivery_service_server::DeliveryService,
        },
    },
};

/// How large a message may be that came back.
pub const LARGEST_MESSAGE: usize = 10 * 1_024 * 1_024;

#[async_trait]
impl DeliveryService for Api {
    async fn report_delivery_events(
        &self,
        request: Request<ReportDeliveryEventsRequest>,
    ) -> Result<Response<ReportDeliveryEventsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        if !(1..=1_000).contains(&message.events.len()) {
            violations.add("events", "must be 1 to 1,000");
        }
        let each = message.events.into_iter().take(1_000).enumerate();
        let found: Vec<Option<Found>> =
            each.map(|(place, event)| self.found(&mut violations, &format!("events[{place}]"), event)).collect();
        let found = violations.finish(found.into_iter().collect::<Option<Vec<Found>>>())?;
        let tally = self.0.inbound.report(&found).await?;
        let count = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(Response::new(ReportDeliveryEventsResponse {
            recorded: count(tally.recorded),
            duplicates: count(tally.duplicates),
            unmatched: count(tally.unmatched),
        }))
    }

    async fn list_delivery_events(
        &self,
        request: Request<ListDeliveryEventsRequest>,
    ) -> Result<Response<ListDeliveryEventsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let paged = ListDeliveryEventsRequest { page_size: 0, page_token: String::new(), ..message.clone() };
        let contact = decode::parse_optional(&mut violations, "contactId", &message.contact_id);
        if contact.is_some() && message.customer.is_some() {
            violations.add("customer", "must be absent where contactId is given");
        }
        let wanted = self.wanted(&mut violations, &message.filter, delivery_fields());
        let page_size = decode::page_size(&mut violations, message.page_size);
        let customer = self.resolve_optional(message.customer, "customer", violations).await?;
        let which = match (contact, customer) {
            (Some(contact), _) => Which::Contact(self.0.contacts.get(contact).await?.contact_id),
            (None, Some(customer)) => Which::Customer(customer),
            (None, None) => Which::All,
        };
        let page = self.0.pages.open("ListDeliveryEvents", &paged, page_size, &message.page_token)?;
        let found = self.0.contacts.deliveries(&which, &wanted, &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListDeliveryEventsResponse {
            next_page_token: self.0.pages.seal("ListDeliveryEvents", &paged, found.next.as_deref()),
            events: found.rows.into_iter().map(encode_event).collect(),
        }))
    }

    async fn ingest_inbound_message(
        &self,
        request: Request<IngestInboundMessageRequest>,
    ) -> Result<Response<IngestInboundMessageResponse>, Status> {
        let (_, message, mut violations) = open(request);
        if message.raw.is_empty() || message.raw.len() > LARGEST_MESSAGE {
            violations.add("raw", "must be 1 byte to 10 MiB");
        }
        let recipient = decode::line(&mut violations, "envelopeRecipient", &message.envelope_recipient, 320);
        violations.check()?;
        let ingested = self.0.inbound.ingest(message.raw, &recipient).await?;
        let classification = match ingested.classification {
            Classification::Bounce => "bounce",
            Classification::Complaint => "complaint",
            Classification::AutoReply => "auto-reply",
            Classification::Reply => "reply",
            Classification::Unknown => "unknown",
        };
        Ok(Response::new(IngestInboundMessageResponse {
            classification: classification.to_owned(),
            events: ingested.readings.into_iter().map(reading).collect(),
        }))
    }
}

impl Api {
    fn found(&self, violations: &mut Violations, path: &str, event: proto::DeliveryEvent) -> Option<Found> {
        let at = |name: &str| format!("{path}.{name}");
        let source = decode::required(violations, at("source"), &event.source, 64);
        let source_event_id = decode::required(violations, at("sourceEventId"), &event.source_event_id, 200);
        let contact = decode::parse_optional(violations, at("contactId"), &event.contact_id);
        if event.contact_id.is_empty() && event.message_id.trim().is_empty() {
            violations.add(at("contactId"), "one of contactId and messageId is required");
        }
        let allowed = "is required: what happened, such as KIND_BOUNCED";
        let kind: Option<Kind> = decode::required_choice(violations, at("kind"), event.kind, allowed);
        let status_code = decode::line(violations, at("statusCode"), &event.status_code, 20);
        let detail = decode::line(violations, at("detail"), &event.detail, 500);
        let url = decode::line(violations, at("url"), &event.url, 2_000);
        let occur_time: Option<Timestamp> = decode::time(violations, at("occurTime"), event.occur_time);
        let weight = if event.permanent { Weight::Hard } else { Weight::Soft };
        let kind = domain_kind(kind?)?;
        Some(Found {
            source,
            source_event_id,
            contact: contact.or_else(|| self.0.inbound.contact_of(&event.message_id)),
            address: None,
            weight: (kind == DeliveryKind::Bounced).then_some(weight),
            kind,
            status_code,
            detail,
            url,
            automated: event.automated,
            occur_time,
        })
    }
}

fn domain_kind(kind: Kind) -> Option<DeliveryKind> {
    Some(match kind {
        Kind::Unspecified => return None,
        Kind::Delivered => DeliveryKind::Delivered,
        Kind::Deferred => DeliveryKind::Deferred,
        Kind::Bounced => DeliveryKind::Bounced,
        Kind::Complained => DeliveryKind::Complained,
        Kind::Opened => DeliveryKind::Opened,
        Kind::Clicked => DeliveryKind::Clicked,
        Kind::Unsubscribed => DeliveryKind::Unsubscribed,
        Kind::Replied => DeliveryKind::Replied,
        Kind::AutoReplied => DeliveryKind::AutoReplied,
        Kind::Feedback => DeliveryKind::Feedback,
    })
}

fn wire_kind(kind: DeliveryKind) -> Kind {
    match kind {
        DeliveryKind::Delivered => Kind::Delivered,
        DeliveryKind::Deferred => Kind::Deferred,
        DeliveryKind::Bounced => Kind::Bounced,
        DeliveryKind::Complained => Kind::Complained,
        DeliveryKind::Opened => Kind::Opened,
        DeliveryKind::Clicked => Kind::Clicked,
        DeliveryKind::Unsubscribed => Kind::Unsubscribed,
        DeliveryKind::Replied => Kind::Replied,
        DeliveryKind::AutoReplied => Kind::AutoReplied,
        DeliveryKind::Feedback => Kind::Feedback,
    }
}

/// As it is recorded.
pub(super) fn encode_event(of: DeliveryEvent) -> proto::DeliveryEvent {
    proto::DeliveryEvent {
        delivery_event_id: of.delivery_event_id.to_string(),
        source: of.source,
        source_event_id: of.source_event_id,
        contact_id: of.contact_id.map(|id| id.to_string()).unwrap_or_default(),
        message_id: String::new(),
        customer_id: of.customer_id.to_string(),
        campaign_id: of.campaign_id.map(|id| id.to_string()).unwrap_or_default(),
        kind: wire_kind(of.kind).into(),
        permanent: of.weight == Some(Weight::Hard),
        status_code: of.status_code,
        detail: of.detail,
        url: of.url,
        automated: of.automated,
        occur_time: Some(encode::time(of.occur_time)),
        record_time: Some(encode::time(of.record_time)),
        recipient: String::new(),
    }
}

fn reading(of: Reading) -> proto::DeliveryEvent {
    let recipient = of.recipient;
    match of.recorded {
        Some(recorded) => proto::DeliveryEvent { recipient, ..encode_event(recorded) },
        None => proto::DeliveryEvent {
            source: of.found.source,
            source_event_id: of.found.source_event_id,
            kind: wire_kind(of.found.kind).into(),
            permanent: of.found.weight == Some(Weight::Hard),
            status_code: of.found.status_code,
            detail: of.found.detail,
            automated: of.found.automated,
            recipient,
            ..proto::DeliveryEvent::default()
        },
    }
}
