use rapport::rpc::proto::{
    BatchRecordEventsRequest, Event, EventKey, GetEventRequest, LineItem, ListEventsRequest, Money, RecordEventRequest,
    campaign_effect, contact, event_result, get_event_request,
};
use serde_json::json;

use super::harness::{World, at, by_name, only, refusal, shown, structure, wrong_fields};

#[tokio::test]
async fn the_receipt_of_an_event_says_what_it_planned_and_when() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "Europe/Riga").await;
    let receipt = world.happens("order.placed", "anna", "o-1").await;
    let effect = only(&receipt.effects);
    assert_eq!((effect.campaign_id.as_str(), effect.outcome()), ("check-in", campaign_effect::Outcome::Enrolled));
    assert_eq!(shown(effect.due_time), "2026-02-03T09:00:00Z");
    assert_eq!(effect.due_local_time, "2026-02-03T11:00 Europe/Riga");
    let contact = world.contact(&effect.contact_id).await;
    assert_eq!((contact.state(), contact.enrollment_id), (contact::State::Scheduled, effect.enrollment_id.clone()));
}

#[tokio::test]
async fn a_hundred_replays_from_eight_clients_plan_one_contact_and_get_one_answer() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let event = world.event("order.placed", "anna", "o-1");
    let address = format!("http://{}", world.address());
    let clients = (0..8).map(|client| {
        let (address, event) = (address.clone(), event.clone());
        tokio::spawn(async move {
            use rapport::rpc::proto::event_service_client::EventServiceClient;
            let mut events = EventServiceClient::connect(address).await.unwrap();
            let mut answers = Vec::new();
            for _ in 0..if client < 4 { 13 } else { 12 } {
                let request = RecordEventRequest { event: Some(event.clone()), ..Default::default() };
                answers.push(events.record_event(request).await.unwrap().into_inner());
            }
            answers
        })
    });
    let answers = futures_util::future::join_all(clients).await;
    let answers: Vec<_> = answers.into_iter().flat_map(Result::unwrap).collect();
    assert_eq!(answers.len(), 100);
    assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1);
    let first = answers.iter().find(|answer| !answer.duplicate).unwrap();
    for answer in &answers {
        assert_eq!((&answer.event, &answer.effects), (&first.event, &first.effects));
    }
    assert_eq!(world.contacts_of("anna").await.len(), 1);
    world.dispatch_after_hours(24).await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    // The same once more, after it was sent.
    assert!(world.record(event).await.unwrap().duplicate);
    world.dispatch_after_hours(24).await;
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn another_event_under_the_same_key_is_an_error() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    world.customer("bo", "").await;
    let event = world.event("order.placed", "anna", "o-1");
    world.record(event.clone()).await.unwrap();
    let others = [
        Event { event_type: "order.refunded".into(), ..event.clone() },
        Event { subject: "o-2".into(), ..event.clone() },
        Event { customer: by_name("bo"), ..event.clone() },
        Event { occur_time: Some(at("2026-02-02T08:00:00Z")), ..event.clone() },
        Event { properties: Some(structure(json!({"gift": true}))), ..event.clone() },
        Event { value: Some(Money { currency_code: "EUR".into(), amount: "1".into() }), ..event.clone() },
    ];
    for other in others {
        assert_eq!(refusal(world.record(other.clone()).await), "EVENT_CONFLICT", "{other:?}");
    }
    let elsewhere = Event { source: "till".into(), subject: "o-2".into(), ..event };
    assert!(!world.record(elsewhere).await.unwrap().duplicate);
}

#[tokio::test]
async fn an_event_keeps_what_it_was_told_to_the_cent() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    let event = Event {
        value: Some(Money { currency_code: "JPY".into(), amount: "1200".into() }),
        items: vec![LineItem {
            sku: "cd-1".into(),
            title: "Mūzika".into(),
            quantity: 2,
            unit_price: Some(Money { currency_code: "EUR".into(), amount: "9.99".into() }),
            categories: vec!["music".into()],
        }],
        properties: Some(structure(json!({"gift": true, "note": "for 林", "lines": [1, 2.5, null]}))),
        ..world.event("order.placed", "anna", "o-1")
    };
    let recorded = world.record(event.clone()).await.unwrap().event.unwrap();
    let key = EventKey { source: "shop".into(), source_event_id: event.source_event_id.clone() };
    for by in [get_event_request::By::EventId(recorded.event_id.clone()), get_event_request::By::Key(key)] {
        let found = world.events.get_event(GetEventRequest { by: Some(by) }).await.unwrap().into_inner().event;
        let found = found.unwrap();
        assert_eq!((&found.value, &found.items), (&event.value, &event.items));
        assert_eq!((&found.properties, &found.subject), (&event.properties, &event.subject));
        assert_eq!(shown(found.record_time), "2026-02-02T09:00:00Z");
    }
}

#[tokio::test]
async fn wrong_events_are_told_every_wrong_field() {
    let mut world = World::new().await;
    let event = Event {
        source: String::new(),
        customer: None,
        event_type: "Order placed".into(),
        occur_time: Some(at("2026-02-03T09:00:01Z")),
        value: Some(Money { currency_code: "XXQ".into(), amount: "1.2.3".into() }),
        items: vec![LineItem {
            unit_price: Some(Money { currency_code: "EUR".into(), amount: "nine".into() }),
            ..LineItem::default()
        }],
        ..Event::default()
    };
    let fields = wrong_fields(world.record(event).await);
    for field in
        ["event.source", "event.sourceEventId", "event.customer", "event.eventType", "event.occurTime", "event.value"]
    {
        assert!(fields.iter().any(|wrong| wrong.starts_with(field)), "{field} is not among {fields:?}");
    }
    assert!(fields.contains(&"event.items[0].unitPrice.amount".to_owned()), "{fields:?}");
}

#[tokio::test]
async fn an_event_of_nobody_is_refused_or_makes_the_customer() {
    let mut world = World::new().await;
    world.shop().await;
    let event = world.event("order.placed", "new", "o-1");
    assert_eq!(refusal(world.record(event.clone()).await), "CUSTOMER_NOT_FOUND");
    let request = RecordEventRequest { event: Some(event), create_customer: true, ..Default::default() };
    for duplicate in [false, true] {
        let answer = world.events.record_event(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.duplicate, duplicate);
    }
    assert_eq!(world.contacts_of("new").await.len(), 1);
}

#[tokio::test]
async fn an_event_that_is_only_validated_answers_its_receipt_and_leaves_no_trace() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let event = world.event("order.placed", "anna", "o-1");
    let request = RecordEventRequest { event: Some(event), validate_only: true, ..Default::default() };
    let answer = world.events.record_event(request).await.unwrap().into_inner();
    assert_eq!(only(&answer.effects).outcome(), campaign_effect::Outcome::Enrolled);
    assert!(world.contacts_of("anna").await.is_empty());
}

#[tokio::test]
async fn a_late_event_counts_from_when_it_occurred() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    // A day and an hour late: due an hour ago, and sent at once.
    let late = Event { occur_time: Some(at("2026-02-01T08:00:00Z")), ..world.event("order.placed", "anna", "o-1") };
    let receipt = world.record(late).await.unwrap();
    assert_eq!(shown(only(&receipt.effects).due_time), "2026-02-02T08:00:00Z");
    world.dispatch().await;
    assert_eq!(world.mail().len(), 1);
    // So late that what it plans has expired: 24 hours and 72 more.
    let ancient = Event { occur_time: Some(at("2026-01-29T09:00:00Z")), ..world.event("order.placed", "anna", "o-0") };
    let receipt = world.record(ancient).await.unwrap();
    world.dispatch().await;
    let contact = world.contact(&only(&receipt.effects).contact_id).await;
    assert_eq!(contact.state(), contact::State::Expired);
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn a_batch_records_each_event_for_itself() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let known = world.event("order.placed", "anna", "o-1");
    let events = vec![
        world.event("order.placed", "anna", "o-2"),
        known.clone(),
        Event { subject: "o-9".into(), ..known },
        world.event("order.placed", "nobody", "o-3"),
        Event { source: String::new(), ..world.event("order.placed", "anna", "o-4") },
        world.event("order.placed", "anna", "o-5"),
    ];
    let request = BatchRecordEventsRequest { events, ..Default::default() };
    let results = world.events.batch_record_events(request).await.unwrap().into_inner().results;
    let told: Vec<_> = results.iter().map(|result| (result.index, result.outcome(), result.reason.as_str())).collect();
    use event_result::Outcome::{Conflict, Duplicate, Recorded, Rejected};
    assert_eq!(
        told,
        [
            (0, Recorded, ""),
            (1, Duplicate, ""),
            (2, Conflict, "EVENT_CONFLICT"),
            (3, Rejected, "CUSTOMER_NOT_FOUND"),
            (4, Rejected, "INVALID_FIELDS"),
            (5, Recorded, ""),
        ]
    );
    assert_eq!(world.contacts_of("anna").await.len(), 3);
}

#[tokio::test]
async fn a_customers_events_are_listed_in_the_order_in_which_they_were_recorded() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    for day in ["2026-01-03", "2026-01-01", "2026-01-02"] {
        let occur_time = Some(at(&format!("{day}T12:00:00Z")));
        let event = Event { occur_time, source_event_id: day.into(), ..world.event("order.placed", "anna", day) };
        world.record(event).await.unwrap();
    }
    let mut subjects = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEventsRequest { customer: by_name("anna"), page_size: 2, page_token, ..Default::default() };
        let answer = world.events.list_events(request).await.unwrap().into_inner();
        subjects.extend(answer.events.into_iter().map(|event| event.subject));
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(subjects, ["2026-01-03", "2026-01-01", "2026-01-02"]);
}

#[tokio::test]
async fn a_number_is_the_same_number_when_the_event_comes_again() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    for (place, number) in [123_456_789.123_456_79, 0.1 + 0.2, 1e299, 5e-324, -1.5e-300].into_iter().enumerate() {
        let event = Event {
            source_event_id: place.to_string(),
            properties: Some(structure(json!({"n": number}))),
            ..world.event("order.placed", "anna", "o-1")
        };
        assert!(!world.record(event.clone()).await.unwrap().duplicate);
        assert!(world.record(event).await.unwrap().duplicate, "{number}");
    }
    let event =
        Event { properties: Some(structure(json!({"n": f64::MAX}))), ..world.event("order.placed", "anna", "o-2") };
    assert_eq!(wrong_fields(world.record(event).await), ["event.properties.n"]);
}

#[tokio::test]
async fn batches_with_the_same_new_customers_do_not_get_stuck() {
    let mut world = World::new().await;
    world.shop().await;
    let batches = (0..6).map(|client| {
        let mut events = world.events.clone();
        let mut all: Vec<Event> = (0..30)
            .map(|number| Event {
                source_event_id: format!("{client}-{number}"),
                ..world.event("order.placed", &format!("new-{number}"), &format!("o-{client}"))
            })
            .collect();
        if client % 2 == 1 {
            all.reverse();
        }
        tokio::spawn(async move {
            let request = BatchRecordEventsRequest { events: all, create_customer: true };
            events.batch_record_events(request).await.unwrap().into_inner().results
        })
    });
    for results in futures_util::future::join_all(batches).await {
        let results = results.unwrap();
        assert_eq!(results.len(), 30);
        assert!(results.iter().all(|result| result.outcome() == event_result::Outcome::Recorded), "{results:?}");
    }
    assert_eq!(world.contacts_of("new-0").await.len(), 6);
}
