//! What happens inside the service starts, ends and advances campaigns like everything that callers report.

use rapport::rpc::proto::{
    self, DeliveryEvent, Event, ListEventsRequest, ReportDeliveryEventsRequest, delivery_event::Kind,
    set_consent_request::Decision,
};

use super::harness::{World, after_hours, by_name, campaign, on_event, step, wait_step, wrong_fields};

/// A campaign that an event of a type starts, whenever it occurs.
fn on(event_type: &str, id: &str, topic: &str, steps: Vec<proto::Step>) -> proto::Campaign {
    let reentry = proto::Reentry { mode: proto::reentry::Mode::Always.into(), cooldown_days: 0 };
    proto::Campaign { trigger: on_event(event_type), reentry: Some(reentry), ..campaign(id, topic, steps) }
}

async fn world() -> World {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    world.topic("news", proto::Purpose::Marketing, proto::topic::OptIn::Single).await;
    for id in ["hello", "tips", "last", "sorry"] {
        world.template(id).await;
    }
    world
}

async fn events(world: &mut World, name: &str) -> Vec<Event> {
    let request = ListEventsRequest { customer: by_name(name), ..Default::default() };
    world.events.list_events(request).await.unwrap().into_inner().events
}

async fn report(world: &mut World, contact_id: &str, kind: Kind) {
    let event = DeliveryEvent {
        source: "ses".into(),
        source_event_id: format!("{kind:?} {contact_id}"),
        contact_id: contact_id.into(),
        kind: kind.into(),
        ..DeliveryEvent::default()
    };
    let request = ReportDeliveryEventsRequest { events: vec![event] };
    assert_eq!(world.deliveries.report_delivery_events(request).await.unwrap().into_inner().recorded, 1);
}

#[tokio::test]
async fn a_welcome_series_needs_no_caller() {
    let mut world = world().await;
    let steps = vec![
        step("now", after_hours(0), "hello"),
        step("day", after_hours(24), "tips"),
        step("three-days", after_hours(48), "last"),
    ];
    world.campaign(on("consent.granted", "welcome", "news", steps)).await;
    world.customer("anna", "").await;
    world.customer("ben", "").await;
    world.consent("anna", "news", Decision::Grant).await;
    world.consent("ben", "news", Decision::Grant).await;
    // What was said before is no news.
    world.consent("anna", "news", Decision::Grant).await;
    let granted = events(&mut world, "anna").await;
    assert_eq!(granted.len(), 1);
    let own = &granted[0];
    assert_eq!(
        (own.source.as_str(), own.event_type.as_str(), own.subject.as_str()),
        ("rapport", "consent.granted", "news")
    );
    world.live().await;
    world.dispatch_after_hours(24).await;
    // Ben has enough, and gets nothing more.
    world.consent("ben", "news", Decision::Withdraw).await;
    world.dispatch_after_hours(48).await;
    let mut subjects = world.subjects();
    subjects.sort();
    assert_eq!(subjects, ["hello for anna", "hello for ben", "last for anna", "tips for anna", "tips for ben"]);
    // Who agrees again is welcome again.
    world.consent("ben", "news", Decision::Grant).await;
    world.live().await;
    assert_eq!(world.mail().len(), 6);
}

#[tokio::test]
async fn whoever_becomes_a_customer_by_any_call_is_greeted_once() {
    let mut world = world().await;
    world.campaign(on("customer.created", "greeting", "orders", vec![step("now", after_hours(0), "hello")])).await;
    world.customer("anna", "").await;
    let ben = proto::Customer {
        given_name: "ben".into(),
        addresses: vec![super::harness::email("ben@example.com")],
        ..Default::default()
    };
    let request = proto::UpdateCustomerRequest {
        target: by_name("ben"),
        customer: Some(ben),
        allow_missing: true,
        ..Default::default()
    };
    for _ in 0..2 {
        world.customers.update_customer(request.clone()).await.unwrap();
    }
    let carl = proto::CustomerRef { key: Some(proto::customer_ref::Key::Email("carl@example.com".into())) };
    let event = Event { customer: Some(carl), ..world.event("order.placed", "carl", "o-1") };
    let request = proto::RecordEventRequest { event: Some(event), create_customer: true, ..Default::default() };
    world.events.record_event(request).await.unwrap();
    world.live().await;
    let mut to: Vec<String> = world.mail().into_iter().map(|mail| mail.to).collect();
    to.sort();
    assert_eq!(to, ["anna@example.com", "ben@example.com", "carl@example.com"]);
}

#[tokio::test]
async fn nothing_is_recorded_where_nobody_listens_and_nobody_else_reports_in_our_name() {
    let mut world = world().await;
    world.customer("anna", "").await;
    world.consent("anna", "news", Decision::Grant).await;
    assert_eq!(events(&mut world, "anna").await, []);
    let forged = Event { source: "rapport".into(), ..world.event("consent.granted", "anna", "news") };
    assert_eq!(wrong_fields(world.record(forged).await), ["event.source"]);
}

#[tokio::test]
async fn a_click_ends_a_wait_and_an_answer_ends_the_follow_up() {
    let mut world = world().await;
    let steps = vec![
        step("first", after_hours(0), "hello"),
        wait_step("until-clicked", "contact.clicked", 72),
        step("second", after_hours(1), "tips"),
        step("third", after_hours(24), "last"),
    ];
    let exits = vec![proto::Exit { event_type: "contact.replied".into(), ..Default::default() }];
    world.campaign(proto::Campaign { exits, ..campaign("journey", "orders", steps) }).await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live().await;
    let first = world.contacts_of("anna").await.pop().unwrap();
    world.dispatch_after_hours(2).await;
    report(&mut world, &first.contact_id, Kind::Clicked).await;
    let clicked = events(&mut world, "anna").await.pop().unwrap();
    assert_eq!((clicked.event_type.as_str(), clicked.subject.as_str()), ("contact.clicked", "o-1"));
    world.dispatch_after_hours(1).await;
    assert_eq!(world.subjects(), ["hello for anna", "tips for anna"]);
    report(&mut world, &first.contact_id, Kind::Replied).await;
    world.dispatch_after_hours(48).await;
    assert_eq!(world.mail().len(), 2);
}

#[tokio::test]
async fn what_only_an_audience_asks_for_is_recorded_as_well() {
    let mut world = world().await;
    world.campaign(campaign("journey", "orders", vec![step("first", after_hours(0), "hello")])).await;
    let trigger = Some(proto::campaign::Trigger::Audience(proto::AudienceTrigger {}));
    let audience_filter = r#"event_count("contact.clicked", 30) >= 1"#.into();
    let steps = vec![step("now", after_hours(0), "tips")];
    world.campaign(proto::Campaign { trigger, audience_filter, ..campaign("fans", "orders", steps) }).await;
    for name in ["anna", "ben"] {
        world.customer(name, "").await;
        world.happens("order.placed", name, "o-1").await;
    }
    world.live().await;
    let first = world.contacts_of("anna").await.pop().unwrap();
    world.dispatch_after_hours(2).await;
    report(&mut world, &first.contact_id, Kind::Clicked).await;
    world.run_job("scan-triggers").await;
    world.live().await;
    assert_eq!(world.subjects()[2..], ["tips for anna"]);
}

#[tokio::test]
async fn what_a_campaigns_messages_bring_about_keeps_nothing_going_for_ever() {
    let mut world = world().await;
    // Each answers bounces with mail, at once and every time.
    for id in ["sorry-one", "sorry-two"] {
        world.campaign(on("contact.bounced", id, "orders", vec![step("now", after_hours(0), "sorry")])).await;
    }
    world.campaign(campaign("journey", "orders", vec![step("first", after_hours(0), "hello")])).await;
    world.customer("anna", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    for round in 0..5 {
        world.live().await;
        for contact in world.contacts_of("anna").await {
            if contact.state() == proto::contact::State::Sent
                && contact.delivery() == proto::contact::Delivery::Unspecified
            {
                report(&mut world, &contact.contact_id, Kind::Bounced).await;
            }
        }
        world.dispatch_after_hours(1).await;
        // The first bounce starts both, theirs start nothing.
        assert_eq!(world.mail().len(), 3, "in round {round}");
    }
}
