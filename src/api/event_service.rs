use chrono::TimeDelta;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    Api, decode, encode, open,
    upload::{self, Answers, TakeUp},
};
use crate::{
    clock::Timestamp,
    events::{self, EffectOutcome, Event, EventBody, EventEffect, LineItem, Money, OWN_SOURCE},
    intake::{NewEvent, Recorded},
    rpc::{
        Fault, Violations,
        proto::{
            self, BatchRecordEventsRequest, BatchRecordEventsResponse, EventResult, GetEventRequest, GetEventResponse,
            ListEventsRequest, ListEventsResponse, RecordEventRequest, RecordEventResponse, StreamEventsRequest,
            StreamEventsResponse, campaign_effect, event_result::Outcome, event_service_server::EventService,
            get_event_request::By,
        },
        reason_name,
    },
};

/// How far the clocks of callers may be ahead of ours.
const AHEAD: TimeDelta = TimeDelta::hours(24);

#[async_trait]
impl EventService for Api {
    async fn record_event(
        &self,
        request: Request<RecordEventRequest>,
    ) -> Result<Response<RecordEventResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let event = match message.event {
            Some(event) => new_event(&mut violations, "event", event, self.0.clock.now()),
            None => {
                violations.add("event", "is required");
                None
            }
        };
        let event = violations.finish(event)?;
        let recorded = self.0.intake.record_event(&event, message.create_customer, message.validate_only).await?;
        Ok(Response::new(RecordEventResponse {
            event: Some(encode_event(recorded.event)),
            duplicate: recorded.duplicate,
            effects: recorded.effects.into_iter().map(effect).collect(),
        }))
    }

    async fn batch_record_events(
        &self,
        request: Request<BatchRecordEventsRequest>,
    ) -> Result<Response<BatchRecordEventsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        if !(1..=1_000).contains(&message.events.len()) {
            violations.add("events", "must be 1 to 1,000");
        }
        violations.check()?;
        let results = self.record_each(message.events, message.create_customer, |place| format!("events[{place}]"));
        Ok(Response::new(BatchRecordEventsResponse { results: results.await? }))
    }

    type StreamEventsStream = Answers<StreamEventsResponse>;

    async fn stream_events(
        &self,
        request: Request<Streaming<StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let (_, messages, violations) = open(request);
        violations.check()?;
        let api = self.clone();
        Ok(Response::new(upload::answer(|out| async move {
            let events = Upload { api, told: StreamEventsResponse::default() };
            upload::all(messages, out, Ok, events).await
        })))
    }

    async fn get_event(&self, request: Request<GetEventRequest>) -> Result<Response<GetEventResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let event = match message.by {
            Some(By::EventId(id)) => {
                let id = decode::parse(&mut violations, "eventId", &id);
                self.0.events.get(violations.finish(id)?).await?
            }
            Some(By::Key(key)) => {
                let source = decode::required(&mut violations, "key.source", &key.source, 64);
                let id = decode::required(&mut violations, "key.sourceEventId", &key.source_event_id, 128);
                violations.check()?;
                self.0.events.get_by_key(&source, &id).await?
            }
            None => {
                violations.add("eventId", "one of eventId and key is required");
                return Err(Fault::Invalid(violations).into());
            }
        };
        Ok(Response::new(GetEventResponse { event: Some(encode_event(event)) }))
    }

    async fn list_events(&self, request: Request<ListEventsRequest>) -> Result<Response<ListEventsResponse>, Status> {
        let (_, message, mut violations) = open(request);
        let page_size = decode::page_size(&mut violations, message.page_size);
        let wanted = self.wanted(&mut violations, &message.filter, events::fields());
        let (customer, filter) = (message.customer.clone(), message.filter);
        let selection = ListEventsRequest { customer, filter, ..Default::default() };
        let customer = self.resolve_optional(message.customer, "customer", violations).await?;
        let page = self.0.pages.open("ListEvents", &selection, page_size, &message.page_token)?;
        let found = self.0.events.list(customer, &wanted, &page).await.map_err(Fault::from)?;
        Ok(Response::new(ListEventsResponse {
            next_page_token: self.0.pages.seal("ListEvents", &selection, found.next.as_deref()),
            events: found.rows.into_iter().map(encode_event).collect(),
        }))
    }
}

impl Api {
    /// Records events; each stands for itself.
    async fn record_each(
        &self,
        events: Vec<proto::Event>,
        create_customer: bool,
        path: impl Fn(usize) -> String,
    ) -> Result<Vec<EventResult>, Fault> {
        let now = self.0.clock.now();
        let (mut results, mut good) = (Vec::with_capacity(events.len()), Vec::new());
        for (place, event) in events.into_iter().enumerate() {
            let source_event_id = event.source_event_id.clone();
            let mut violations = Violations::default();
            let decoded = new_event(&mut violations, &path(place), event, now);
            let index = i64::try_from(place).unwrap_or(i64::MAX);
            let mut result = EventResult { index, source_event_id, ..EventResult::default() };
            match violations.finish(decoded) {
                Ok(event) => good.push((place, event)),
                Err(fault) => refuse(&mut result, &fault),
            }
            results.push(result);
        }
        let (places, events): (Vec<usize>, Vec<NewEvent>) = good.into_iter().unzip();
        let outcomes = self.0.intake.record_events(&events, create_customer).await?;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            match outcome {
                Ok(recorded) => accept(&mut results[place], &recorded),
                Err(fault) => refuse(&mut results[place], &fault),
            }
        }
        Ok(results)
    }
}

/// An upload of events that goes on.
struct Upload {
    api: Api,
    /// What it did so far.
    told: StreamEventsResponse,
}

impl TakeUp for Upload {
    const MOST: usize = 100;
    type Item = StreamEventsRequest;
    type Answer = StreamEventsResponse;

    async fn take_up(&mut self, lot: Vec<StreamEventsRequest>) -> Result<StreamEventsResponse, Fault> {
        self.told.rejections.clear();
        let mut lot = lot.into_iter().peekable();
        while let Some(first) = lot.next() {
            let create = first.create_customer;
            let mut events = vec![first.event.unwrap_or_default()];
            while let Some(next) = lot.next_if(|next| next.create_customer == create) {
                events.push(next.event.unwrap_or_default());
            }
            for result in self.api.record_each(events, create, |_| "event".to_owned()).await? {
                self.tell(result);
            }
        }
        Ok(self.told.clone())
    }
}

impl Upload {
    fn tell(&mut self, result: EventResult) {
        let told = &mut self.told;
        match result.outcome() {
            Outcome::Recorded => told.recorded += 1,
            Outcome::Duplicate => told.duplicates += 1,
            Outcome::Unspecified | Outcome::Conflict | Outcome::Rejected => {
                told.rejected += 1;
                told.rejections.push(EventResult { index: told.received, ..result });
            }
        }
        told.received += 1;
    }
}

fn accept(result: &mut EventResult, recorded: &Recorded) {
    let outcome = if recorded.duplicate { Outcome::Duplicate } else { Outcome::Recorded };
    result.outcome = outcome.into();
    result.event_id = recorded.event.event_id.to_string();
}

fn refuse(result: &mut EventResult, fault: &Fault) {
    let reason = fault.reason();
    let conflict = reason == Some(proto::ErrorReason::EventConflict);
    result.outcome = if conflict { Outcome::Conflict } else { Outcome::Rejected }.into();
    result.reason = reason.map(reason_name).unwrap_or_default().to_owned();
    result.detail = fault.to_string();
}

fn new_event(violations: &mut Violations, path: &str, event: proto::Event, now: Timestamp) -> Option<NewEvent> {
    let at = |name: &str| format!("{path}.{name}");
    let customer = decode::customer_key(violations, &at("customer"), event.customer);
    let source = decode::required(violations, at("source"), &event.source, 64);
    if source == OWN_SOURCE {
        violations
            .add(at("source"), format!("must not be {OWN_SOURCE:?}: that is what happens inside the service itself"));
    }
    let source_event_id = decode::required(violations, at("sourceEventId"), &event.source_event_id, 128);
    let event_type = event_type(violations, &at("eventType"), &event.event_type);
    let occur_time = match decode::time(violations, at("occurTime"), event.occur_time) {
        Some(time) if time > now + AHEAD => {
            violations.add(at("occurTime"), "must not be more than 24 hours ahead");
            None
        }
        None if event.occur_time.is_none() => {
            violations.add(at("occurTime"), "is required");
            None
        }
        time => time,
    };
    let subject = decode::line(violations, at("subject"), &event.subject, 128);
    let value = event.value.and_then(|value| money(violations, &at("value"), &value));
    let items = items(violations, &at("items"), &event.items);
    let properties = decode::object(violations, at("properties"), event.properties);
    let body =
        EventBody { source, source_event_id, event_type, occur_time: occur_time?, subject, value, items, properties };
    Some(NewEvent { customer: customer?, body })
}

/// "noun.verb".
pub(super) fn event_type(violations: &mut Violations, path: &str, text: &str) -> String {
    let word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if text.len() > 64 || text.split('.').count() < 2 || !text.split('.').all(word) {
        violations
            .add(path, "must be \"noun.verb\" of a-z, 0-9 and \"_\", at most 64 characters, such as \"order.placed\"");
    }
    text.to_owned()
}

fn money(violations: &mut Violations, path: &str, money: &proto::Money) -> Option<Money> {
    use crate::events::MoneyError;
    Money::parse(&money.currency_code, &money.amount)
        .map_err(|wrong| {
            let field = if wrong == MoneyError::Currency { "currencyCode" } else { "amount" };
            violations.add(format!("{path}.{field}"), wrong.to_string());
        })
        .ok()
}

fn items(violations: &mut Violations, path: &str, items: &[proto::LineItem]) -> Vec<LineItem> {
    if items.len() > 200 {
        violations.add(path, "must be at most 200");
    }
    let each = items.iter().enumerate().take(200);
    each.map(|(place, item)| {
        let at = |name: &str| format!("{path}[{place}].{name}");
        LineItem {
            sku: decode::line(violations, at("sku"), &item.sku, 128),
            title: decode::line(violations, at("title"), &item.title, 200),
            quantity: item.quantity,
            unit_price: item.unit_price.as_ref().and_then(|price| money(violations, &at("unitPrice"), price)),
            categories: decode::lines(violations, &at("categories"), &item.categories, 20, 128),
        }
    })
    .collect()
}

/// Something that happened.
pub(super) fn encode_event(event: Event) -> proto::Event {
    let body = event.body;
    let money = |money: Money| proto::Money { currency_code: money.currency_code().to_owned(), amount: money.amount() };
    let item = |item: LineItem| proto::LineItem {
        sku: item.sku,
        title: item.title,
        quantity: item.quantity,
        unit_price: item.unit_price.map(money),
        categories: item.categories,
    };
    proto::Event {
        event_id: event.event_id.to_string(),
        source: body.source,
        source_event_id: body.source_event_id,
        customer: None,
        customer_id: event.customer_id.to_string(),
        event_type: body.event_type,
        occur_time: Some(encode::time(body.occur_time)),
        subject: body.subject,
        value: body.value.map(money),
        items: body.items.into_iter().map(item).collect(),
        properties: encode::object(&body.properties),
        record_time: Some(encode::time(event.record_time)),
    }
}

/// What it did to a campaign.
pub(super) fn effect(effect: EventEffect) -> proto::CampaignEffect {
    let outcome = match effect.outcome {
        EffectOutcome::Enrolled => campaign_effect::Outcome::Enrolled,
        EffectOutcome::Exited => campaign_effect::Outcome::Exited,
        EffectOutcome::Advanced => campaign_effect::Outcome::Advanced,
        EffectOutcome::Ignored => campaign_effect::Outcome::Ignored,
    };
    let (due_time, due_local_time) = effect.due.unzip();
    proto::CampaignEffect {
        campaign_id: effect.campaign_id.to_string(),
        outcome: outcome.into(),
        detail: effect.detail,
        enrollment_id: effect.enrollment_id.map(|id| id.to_string()).unwrap_or_default(),
        contact_id: effect.contact_id.map(|id| id.to_string()).unwrap_or_default(),
        due_time: due_time.map(encode::time),
        due_local_time: due_local_time.unwrap_or_default(),
    }
}
