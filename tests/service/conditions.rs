//! Steps that depend on the customer, on what started them, and on what became of the steps before.

use rapport::rpc::proto::{
    self, BlockReason, CreateCampaignRequest, DeliveryEvent, Event, ReportDeliveryEventsRequest,
    campaign_effect::Outcome, contact, delivery_event::Kind,
};
use serde_json::json;

use super::harness::{
    World, after_hours, by_name, campaign, only, refusal, step, structure, update_step, wait_step, wrong_fields,
};

fn when(condition: &str, step: proto::Step) -> proto::Step {
    proto::Step { condition_filter: condition.into(), ..step }
}

async fn world(steps: Vec<proto::Step>) -> World {
    world_of(campaign("journey", "orders", steps)).await
}

async fn world_of(plan: proto::Campaign) -> World {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    for id in ["thanks", "nudge", "gift"] {
        world.template(id).await;
    }
    world.campaign(plan).await;
    world.customer("anna", "").await;
    world
}

async fn set(world: &mut World, name: &str, attributes: serde_json::Value) {
    let customer = proto::Customer { attributes: Some(structure(attributes)), ..Default::default() };
    let request =
        proto::UpdateCustomerRequest { target: by_name(name), customer: Some(customer), ..Default::default() };
    world.customers.update_customer(request).await.unwrap();
}

async fn report(world: &mut World, contact_id: &str, kind: Kind) {
    let event = DeliveryEvent {
        source: "ses".into(),
        source_event_id: format!("{kind:?} {contact_id}"),
        contact_id: contact_id.into(),
        kind: kind.into(),
        ..DeliveryEvent::default()
    };
    world.deliveries.report_delivery_events(ReportDeliveryEventsRequest { events: vec![event] }).await.unwrap();
}

#[tokio::test]
async fn a_condition_is_judged_when_its_step_is_due_and_not_before() {
    let steps = vec![when("customer.attributes.plan = \"gold\"", step("gift", after_hours(24), "gift"))];
    let mut world = world(steps).await;
    world.customer("ben", "").await;
    set(&mut world, "anna", json!({"plan": "gold"})).await;
    for name in ["anna", "ben"] {
        world.happens("order.placed", name, "o-1").await;
    }
    set(&mut world, "anna", json!({"plan": "tin"})).await;
    set(&mut world, "ben", json!({"plan": "gold"})).await;
    world.live_until("2026-02-03T09:00:00Z").await;
    assert_eq!(world.subjects(), ["gift for ben"]);
    let left_out = world.contacts_of("anna").await.pop().unwrap();
    assert_eq!(left_out.state(), contact::State::Suppressed);
    assert_eq!(left_out.block.as_ref().unwrap().reason(), BlockReason::ConditionFalse);
    let why = world.explain(&left_out.contact_id).await;
    assert!(why.summary.contains("the condition of gift did not hold"), "{}", why.summary);
    assert_eq!((why.checks.len(), why.decisions.len()), (1, 1));
}

#[tokio::test]
async fn a_condition_sees_the_event_and_the_functions_of_audiences() {
    let large = "event.properties.total >= 100 AND NOT event.subject = \"test*\"";
    let steps = vec![
        when(large, step("large", after_hours(1), "gift")),
        when("event_count(\"order.placed\", 30) >= 2", step("again", after_hours(0), "thanks")),
    ];
    let mut world = world(steps).await;
    for (subject, total) in [("o-1", 20), ("test-2", 200), ("o-3", 200)] {
        let properties = Some(structure(json!({"total": total})));
        let event = Event { properties, ..world.event("order.placed", "anna", subject) };
        world.record(event).await.unwrap();
        world.dispatch_after_hours(1).await;
        world.live().await;
    }
    assert_eq!(world.subjects(), ["thanks for anna", "gift for anna", "thanks for anna"]);
}

#[tokio::test]
async fn a_condition_sees_what_became_of_earlier_steps() {
    let tag = |tag: &str| update_step(tag, proto::UpdateAction { add_tags: vec![tag.into()], ..Default::default() });
    let steps = vec![
        step("first", after_hours(0), "thanks"),
        wait_step("until-answered", "survey.answered", 24),
        when("steps.first.state = SENT AND steps.first.clicked = true", tag("clicker")),
        when("steps.first.bounced = true OR steps.first.opened = true", tag("bouncer")),
        when("steps.\"until-answered\".state = TIMED_OUT", step("nudge", after_hours(0), "nudge")),
        when("steps.nudge.state = SUPPRESSED AND steps.bouncer.state = SKIPPED", tag("calm")),
    ];
    let mut world = world(steps).await;
    world.customer("ben", "").await;
    for name in ["anna", "ben"] {
        world.happens("order.placed", name, "o-1").await;
    }
    world.live().await;
    let first = world.contacts_of("anna").await.pop().unwrap();
    world.dispatch_after_hours(2).await;
    report(&mut world, &first.contact_id, Kind::Clicked).await;
    let answered = world.happens("survey.answered", "anna", "").await;
    assert_eq!(only(&answered.effects).outcome(), Outcome::Advanced);
    world.dispatch_after_hours(23).await;
    world.live().await;
    assert_eq!(world.subjects(), ["thanks for anna", "thanks for ben", "nudge for ben"]);
    for (name, tags) in [("anna", &["clicker", "calm"][..]), ("ben", &[])] {
        let request = proto::GetCustomerRequest { customer: by_name(name), ..Default::default() };
        let customer = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
        assert_eq!(customer.tags, tags, "{name}");
    }
}

#[tokio::test]
async fn waits_and_goals_hear_only_the_events_that_their_filters_match() {
    let mut wait = wait_step("until-answered", "survey.answered", 48);
    if let Some(proto::step::Action::Wait(wait)) = &mut wait.action {
        wait.event_filter = "properties.score <= 6".into();
    }
    let goal = proto::Goal {
        event_type: "order.paid".into(),
        event_filter: "properties.total > 50".into(),
        exit: true,
        ..Default::default()
    };
    let steps = vec![wait, step("sorry", after_hours(1), "gift")];
    let mut world = world_of(proto::Campaign { goal: Some(goal), ..campaign("journey", "orders", steps) }).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_after_hours(1).await;
    world.live().await;
    for (event_type, properties, outcome) in [
        ("survey.answered", json!({"score": 9}), None),
        ("order.paid", json!({"total": 20}), None),
        ("survey.answered", json!({"score": 3}), Some(Outcome::Advanced)),
        ("order.paid", json!({"total": 80}), Some(Outcome::Exited)),
    ] {
        let event = world.event(event_type, "anna", &properties.to_string());
        let event = Event { properties: Some(structure(properties)), ..event };
        let effects = world.record(event).await.unwrap().effects;
        assert_eq!(effects.iter().map(proto::CampaignEffect::outcome).collect::<Vec<_>>(), Vec::from_iter(outcome));
        world.dispatch_after_hours(0).await;
    }
    world.dispatch_after_hours(72).await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn who_is_not_in_the_audience_does_not_enter() {
    let audience_filter = "tags:\"vip\" AND NOT contacted(\"orders\", 7)".to_owned();
    let steps = vec![step("gift", after_hours(0), "gift")];
    let mut world = world_of(proto::Campaign { audience_filter, ..campaign("journey", "orders", steps) }).await;
    world.customer_with("ben", |ben| ben.tags = vec!["vip".into()]).await;
    for (name, subject, outcome) in
        [("anna", "o-1", Outcome::Ignored), ("ben", "o-1", Outcome::Enrolled), ("ben", "o-2", Outcome::Ignored)]
    {
        let receipt = world.happens("order.placed", name, subject).await;
        let effect = only(&receipt.effects);
        assert_eq!(effect.outcome(), outcome, "{name} {subject}");
        assert_eq!(effect.detail == "the customer is not in the audience", outcome == Outcome::Ignored);
        world.dispatch_after_hours(1).await;
    }
}

#[tokio::test]
async fn a_wrong_filter_is_refused_with_its_column_and_a_step_sees_only_those_before_it() {
    let mut world = world(vec![step("gift", after_hours(0), "gift")]).await;
    let mut wait = wait_step("wait", "survey.answered", 1);
    if let Some(proto::step::Action::Wait(wait)) = &mut wait.action {
        wait.event_filter = "score = 1".into();
    }
    let steps = vec![when("steps.wait.state = REACHED", step("a", after_hours(0), "gift")), wait];
    let goal = Some(proto::Goal { event_type: "order.paid".into(), event_filter: "(".into(), ..Default::default() });
    let plan = proto::Campaign { goal, ..campaign("wrong", "orders", steps) };
    let request = CreateCampaignRequest { campaign: Some(plan), ..Default::default() };
    let fields = wrong_fields(world.campaigns.create_campaign(request).await);
    let expected =
        ["campaign.steps[0].conditionFilter", "campaign.steps[1].wait.eventFilter", "campaign.goal.eventFilter"];
    assert_eq!(fields, expected);
    let steps = vec![when("customer.plan = 'gold'", step("a", after_hours(0), "gift"))];
    let request = CreateCampaignRequest { campaign: Some(campaign("wrong", "orders", steps)), ..Default::default() };
    assert_eq!(refusal(world.campaigns.create_campaign(request).await), "FILTER_UNKNOWN_FIELD");
}
