//! Steps that are no messages: waits, changes of the customer, moments that stand in a field.

use rapport::rpc::proto::{
    self, Event, ListEnrollmentsRequest, StopEnrollmentRequest, campaign_effect::Outcome, contact, delay, enrollment,
    passed_step,
};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::harness::{
    World, after_hours, at, by_name, campaign, only, refusal, shown, step, structure, update_step, wait_step,
    with_data, wrong_fields,
};

/// Anna, and a campaign that orders start beside those of the shop.
async fn shop_with(steps: Vec<proto::Step>) -> World {
    shop_with_plan(campaign("journey", "orders", steps)).await
}

async fn shop_with_plan(plan: proto::Campaign) -> World {
    let mut world = World::new().await;
    for id in ["orders", "deliveries"] {
        world.topic(id, proto::Purpose::Service, proto::topic::OptIn::None).await;
    }
    for id in ["thanks", "nudge", "review"] {
        world.template(id).await;
    }
    world.campaign(plan).await;
    world.customer("anna", "Europe/Riga").await;
    world
}

async fn enrollment(world: &mut World) -> proto::Enrollment {
    let request = ListEnrollmentsRequest { campaign_id: "journey".into(), ..Default::default() };
    world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments.remove(0)
}

fn passed(of: &proto::Enrollment) -> Vec<(&str, passed_step::Outcome)> {
    of.passed_steps.iter().map(|step| (step.step_id.as_str(), step.outcome())).collect()
}

/// Wait for the delivery of the same order, then ask for a review two hours later; a nudge after a week without one.
fn delivery_journey() -> Vec<proto::Step> {
    let mut wait = wait_step("until-delivered", "order.delivered", 7 * 24);
    if let Some(proto::step::Action::Wait(wait)) = &mut wait.action {
        wait.same_subject = true;
    }
    vec![wait, step("ask", after_hours(2), "review")]
}

#[tokio::test]
async fn a_wait_ends_at_its_event_and_what_comes_next_is_planned_from_it() {
    let mut world = shop_with(delivery_journey()).await;
    let receipt = world.happens("order.placed", "anna", "o-1").await;
    let entry = only(&receipt.effects);
    assert_eq!((entry.outcome(), entry.contact_id.as_str()), (Outcome::Enrolled, ""));
    world.live_until("2026-02-03T09:00:00Z").await;
    let waiting = enrollment(&mut world).await;
    assert_eq!(waiting.waiting(), enrollment::Waiting::ForEvent);
    assert_eq!(waiting.next_step_id, "until-delivered");
    assert_eq!(shown(waiting.next_time), "2026-02-09T09:00:00Z");

    let other = world.happens("order.delivered", "anna", "o-2").await;
    assert_eq!(other.effects, []);
    let delivered =
        Event { occur_time: Some(at("2026-02-03T08:00:00Z")), ..world.event("order.delivered", "anna", "o-1") };
    let receipt = world.record(delivered.clone()).await.unwrap();
    let effect = only(&receipt.effects);
    assert_eq!((effect.outcome(), effect.detail.as_str()), (Outcome::Advanced, "until-delivered waited for it"));
    assert_eq!(shown(effect.due_time), "2026-02-03T10:00:00Z");
    assert_eq!(effect.due_local_time, "2026-02-03T12:00 Europe/Riga");
    // Its replay answers the same, and does nothing.
    let again = world.record(delivered).await.unwrap();
    assert_eq!((again.duplicate, again.effects), (true, receipt.effects.clone()));
    world.live_until("2026-02-03T10:00:00Z").await;
    assert_eq!(world.subjects(), ["review for anna"]);
    let done = enrollment(&mut world).await;
    assert_eq!(done.state(), enrollment::State::Completed);
    assert_eq!(passed(&done), [("until-delivered", passed_step::Outcome::Reached)]);
    assert_eq!(done.passed_steps[0].event_id, receipt.event.unwrap().event_id);
}

#[tokio::test]
async fn a_wait_in_vain_is_over_at_its_timeout_to_the_second() {
    let mut world = shop_with(delivery_journey()).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-09T08:59:59Z").await;
    assert_eq!(enrollment(&mut world).await.waiting(), enrollment::Waiting::ForEvent);
    world.live_until("2026-02-09T09:00:00Z").await;
    let on = enrollment(&mut world).await;
    assert_eq!(passed(&on), [("until-delivered", passed_step::Outcome::TimedOut)]);
    assert_eq!((on.next_step_id.as_str(), shown(on.next_time)), ("ask", "2026-02-09T11:00:00Z".to_owned()));
    // Too late: what it waited for ends nothing any more.
    assert_eq!(world.happens("order.delivered", "anna", "o-1").await.effects, []);
}

#[tokio::test]
async fn an_enrollment_may_end_where_it_waited_in_vain() {
    let mut steps = delivery_journey();
    if let Some(proto::step::Action::Wait(wait)) = &mut steps[0].action {
        wait.exit_on_timeout = true;
    }
    let mut world = shop_with(steps).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-12T09:00:00Z").await;
    let over = enrollment(&mut world).await;
    assert_eq!((over.state(), over.end_cause()), (enrollment::State::Exited, enrollment::EndCause::WaitTimeout));
    assert_eq!(over.waiting(), enrollment::Waiting::Unspecified);
    world.live_until("2026-02-20T09:00:00Z").await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn what_a_wait_waits_for_counts_also_where_it_arrived_before_the_wait_began() {
    let mut world = shop_with(delivery_journey()).await;
    let delivered =
        Event { occur_time: Some(at("2026-02-01T09:00:00Z")), ..world.event("order.delivered", "anna", "o-1") };
    assert_eq!(world.record(delivered).await.unwrap().effects, []);
    let placed = Event { occur_time: Some(at("2026-01-31T09:00:00Z")), ..world.event("order.placed", "anna", "o-1") };
    let receipt = world.record(placed).await.unwrap();
    assert_eq!(shown(only(&receipt.effects).due_time), "2026-02-01T11:00:00Z");
    world.live().await;
    assert_eq!(world.subjects(), ["review for anna"]);
}

#[tokio::test]
async fn an_exit_acts_before_a_wait_for_the_same_event() {
    let exits = vec![proto::Exit { event_type: "order.delivered".into(), ..Default::default() }];
    let plan = proto::Campaign { exits, ..campaign("journey", "orders", delivery_journey()) };
    let mut world = shop_with_plan(plan).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-03T09:00:00Z").await;
    let receipt = world.happens("order.delivered", "anna", "o-1").await;
    assert_eq!(only(&receipt.effects).outcome(), Outcome::Exited);
    world.live_until("2026-02-20T09:00:00Z").await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn a_wait_that_follows_a_message_hears_what_happened_since_that_was_sent() {
    let steps = vec![
        step("thank", after_hours(1), "thanks"),
        wait_step("until-reviewed", "review.left", 72),
        step("nudge", after_hours(0), "nudge"),
    ];
    let mut world = shop_with(steps).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-02T10:00:00Z").await;
    world.live_until("2026-02-03T10:00:00Z").await;
    let receipt = world.happens("review.left", "anna", "").await;
    // The nudge follows at once, as nothing says that it should not.
    assert_eq!(shown(only(&receipt.effects).due_time), "2026-02-03T10:00:00Z");
    world.live().await;
    assert_eq!(world.subjects(), ["thanks for anna", "nudge for anna"]);
}

#[tokio::test]
async fn an_update_changes_the_customer_and_withdraws_but_never_grants() {
    let update = proto::UpdateAction {
        set_attributes: Some(structure(json!({"stage": "buyer", "lead": null}))),
        add_tags: vec!["bought".into()],
        remove_tags: vec!["prospect".into()],
        withdraw_topic_id: "deliveries".into(),
    };
    let steps = vec![update_step("mark", update), step("thank", after_hours(1), "thanks")];
    let mut world = shop_with(steps).await;
    world
        .customer_with("ben", |customer| {
            customer.tags = vec!["prospect".into(), "local".into()];
            customer.attributes = Some(structure(json!({"lead": 7, "city": "Riga"})));
        })
        .await;
    world.happens("order.placed", "ben", "o-1").await;
    world.live_until("2026-02-02T10:00:00Z").await;
    assert_eq!(world.subjects(), ["thanks for ben"]);
    let request = proto::GetCustomerRequest { customer: by_name("ben"), ..Default::default() };
    let ben = world.customers.get_customer(request).await.unwrap().into_inner().customer.unwrap();
    assert_eq!(ben.tags, ["local", "bought"]);
    assert_eq!(ben.attributes, Some(structure(json!({"city": "Riga", "stage": "buyer"}))));
    let request = proto::GetPreferencesRequest { customer: by_name("ben") };
    let said = world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap();
    let denied: Vec<_> = said.consents.iter().map(|consent| (consent.topic_id.as_str(), consent.state())).collect();
    assert_eq!(denied, [("deliveries", proto::consent::State::Denied)]);
    assert_eq!(passed(&enrollment(&mut world).await), [("mark", passed_step::Outcome::Done)]);
}

/// So many hours before or after the moment in a field.
fn from_field(hours: i32, field: &str, if_past: delay::IfPast) -> proto::Delay {
    proto::Delay {
        anchor: delay::Anchor::Field.into(),
        field: field.into(),
        if_past: if_past.into(),
        ..after_hours(hours)
    }
}

#[tokio::test]
async fn a_message_goes_out_two_hours_before_the_webinar_that_the_event_names() {
    let field = "event.properties.starts_at";
    let steps = vec![
        step("week", from_field(-7 * 24, field, delay::IfPast::Skip), "thanks"),
        step("soon", from_field(-2, field, delay::IfPast::Skip), "nudge"),
        step("after", from_field(1, field, delay::IfPast::Skip), "review"),
    ];
    let mut world = shop_with(steps).await;
    let properties = Some(structure(json!({"starts_at": "2026-02-04T18:00:00+02:00"})));
    let signed_up = Event { properties, ..world.event("order.placed", "anna", "o-1") };
    let receipt = world.record(signed_up).await.unwrap();
    // The week before is over: the first step is left out.
    assert_eq!(shown(only(&receipt.effects).due_time), "2026-02-04T14:00:00Z");
    assert_ne!(only(&receipt.effects).contact_id, "");
    for (moment, mails) in [
        ("2026-02-04T13:59:59Z", 0),
        ("2026-02-04T14:00:00Z", 1),
        ("2026-02-04T16:59:59Z", 1),
        ("2026-02-04T17:00:00Z", 2),
    ] {
        world.live_until(moment).await;
        assert_eq!(world.mail().len(), mails, "{moment}");
    }
    let done = enrollment(&mut world).await;
    assert_eq!(done.state(), enrollment::State::Completed);
    assert_eq!(passed(&done), [("week", passed_step::Outcome::Skipped)]);
}

#[tokio::test]
async fn a_delay_counts_from_when_the_event_was_recorded_or_the_customer_was_created() {
    let steps = vec![
        step("first", from_field(50, "event.occur_time", delay::IfPast::Skip), "thanks"),
        step("second", from_field(50, "event.record_time", delay::IfPast::Skip), "nudge"),
        step("third", from_field(120, "customer.create_time", delay::IfPast::Skip), "review"),
    ];
    let mut world = shop_with(steps).await;
    world.advance_to("2026-02-03T09:00:00Z");
    let late = Event { occur_time: Some(at("2026-02-02T12:00:00Z")), ..world.event("order.placed", "anna", "o-1") };
    assert_eq!(shown(only(&world.record(late).await.unwrap().effects).due_time), "2026-02-04T14:00:00Z");
    for (moment, mails) in [
        ("2026-02-04T14:00:00Z", 1),
        ("2026-02-05T10:59:59Z", 1),
        ("2026-02-05T11:00:00Z", 2),
        ("2026-02-07T08:59:59Z", 2),
        ("2026-02-07T09:00:00Z", 3),
    ] {
        world.live_until(moment).await;
        assert_eq!(world.mail().len(), mails, "{moment}");
    }
}

#[tokio::test]
async fn a_moment_that_is_over_is_left_out_or_made_up_for_and_a_missing_one_is_left_out() {
    let field = "customer.attributes.renewal_date";
    let steps = vec![
        step("before", from_field(-24, field, delay::IfPast::SendNow), "nudge"),
        step("missing", from_field(1, "event.properties.nothing", delay::IfPast::SendNow), "review"),
    ];
    let mut world = shop_with(steps).await;
    world.customer_with("ben", |ben| ben.attributes = Some(structure(json!({"renewal_date": "2026-02-03"})))).await;
    let receipt = world.happens("order.placed", "ben", "o-1").await;
    assert_eq!(shown(only(&receipt.effects).due_time), "2026-02-02T09:00:00Z");
    world.live().await;
    assert_eq!(world.subjects(), ["nudge for ben"]);
    let done = enrollment(&mut world).await;
    assert_eq!(done.state(), enrollment::State::Completed);
    assert_eq!(passed(&done), [("missing", passed_step::Outcome::Skipped)]);
}

#[tokio::test]
async fn a_goal_that_ends_the_enrollment_is_an_exit_by_its_own_name() {
    let goal = Some(proto::Goal { event_type: "order.paid".into(), exit: true, ..Default::default() });
    let steps = vec![step("remind", after_hours(4), "nudge")];
    let mut world = shop_with_plan(proto::Campaign { goal, ..campaign("journey", "orders", steps) }).await;
    let planned = only(&world.happens("order.placed", "anna", "o-1").await.effects).contact_id.clone();
    world.live_until("2026-02-02T10:00:00Z").await;
    let receipt = world.happens("order.paid", "anna", "").await;
    assert_eq!(only(&receipt.effects).outcome(), Outcome::Exited);
    assert_eq!(world.contact(&planned).await.state(), contact::State::Canceled);
    assert_eq!(enrollment(&mut world).await.end_cause(), enrollment::EndCause::Goal);
}

#[tokio::test]
async fn an_operator_stops_an_enrollment_once_and_what_is_over_cannot_be_stopped() {
    let mut world = shop_with(vec![step("remind", after_hours(4), "nudge")]).await;
    let effects = world.happens("order.placed", "anna", "o-1").await.effects;
    let (enrollment_id, contact_id) = (only(&effects).enrollment_id.clone(), only(&effects).contact_id.clone());
    let stop = StopEnrollmentRequest { enrollment_id, reason: "she called".into() };
    for _ in 0..2 {
        let stopped = world.campaigns.stop_enrollment(stop.clone()).await.unwrap().into_inner().enrollment.unwrap();
        assert_eq!(
            (stopped.state(), stopped.end_cause()),
            (enrollment::State::Stopped, enrollment::EndCause::Operator)
        );
    }
    let contact = world.contact(&contact_id).await;
    assert_eq!((contact.state(), contact.block.unwrap().detail.as_str()), (contact::State::Canceled, "she called"));
    let effects = world.happens("order.placed", "anna", "o-2").await.effects;
    world.live_until("2026-02-02T13:00:00Z").await;
    let over = StopEnrollmentRequest { enrollment_id: only(&effects).enrollment_id.clone(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.stop_enrollment(over).await), "ENROLLMENT_NOT_ACTIVE");
    let unknown = StopEnrollmentRequest { enrollment_id: "enr_00000000000000000000000000".into(), ..stop };
    assert_eq!(refusal(world.campaigns.stop_enrollment(unknown).await), "ENROLLMENT_NOT_FOUND");
}

#[tokio::test]
async fn whoever_asks_why_nothing_came_hears_what_is_waited_for() {
    let mut world = shop_with(delivery_journey()).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-03T09:00:00Z").await;
    let about = proto::explain_contact_request::About::CampaignAndCustomer(proto::CampaignAndCustomer {
        campaign_id: "journey".into(),
        customer: by_name("anna"),
    });
    let request = proto::ExplainContactRequest { about: Some(about), at_time: None };
    let why = world.contacts.explain_contact(request).await.unwrap().into_inner().summary;
    assert_eq!(
        why,
        "until-delivered of journey waits for order.delivered about the same subject, until 2026-02-09T09:00:00Z \
         (2026-02-09 11:00 Europe/Riga) at most."
    );
}

#[tokio::test]
async fn a_wait_by_the_wall_clock_moves_with_the_customer() {
    let calendar = proto::CalendarDelay { days: 1, at: "10:00".into(), weekdays: Vec::new() };
    let tomorrow = proto::Delay { length: Some(delay::Length::Calendar(calendar)), ..Default::default() };
    let tags = proto::UpdateAction { add_tags: vec!["old".into()], ..Default::default() };
    let mark = proto::Step { delay: Some(tomorrow), ..update_step("mark", tags) };
    let mut world = shop_with(vec![mark]).await;
    world.happens("order.placed", "anna", "o-1").await;
    assert_eq!(shown(enrollment(&mut world).await.next_time), "2026-02-03T08:00:00Z");
    let moved = proto::Customer { time_zone: "America/New_York".into(), ..Default::default() };
    let request = proto::UpdateCustomerRequest { target: by_name("anna"), customer: Some(moved), ..Default::default() };
    world.customers.update_customer(request).await.unwrap();
    assert_eq!(shown(enrollment(&mut world).await.next_time), "2026-02-03T15:00:00Z");
    world.live_until("2026-02-03T15:00:00Z").await;
    assert_eq!(enrollment(&mut world).await.state(), enrollment::State::Completed);
}

#[tokio::test]
async fn everything_that_is_wrong_with_steps_is_told_at_once() {
    let mut world = World::new().await;
    world.shop().await;
    let before = proto::Delay { anchor: delay::Anchor::Trigger.into(), ..after_hours(-1) };
    let odd = proto::Delay { field: "event.subject".into(), anchor: delay::Anchor::Field.into(), ..after_hours(-1) };
    let steps = vec![
        step("a", before, "check-in"),
        wait_step("b", "delivered", 0),
        update_step("c", proto::UpdateAction::default()),
        step("d", odd, "check-in"),
    ];
    let request =
        proto::CreateCampaignRequest { campaign: Some(campaign("journey", "orders", steps)), ..Default::default() };
    let wrong = wrong_fields(world.campaigns.create_campaign(request).await);
    let expected = [
        "campaign.steps[0].delay.elapsed.hours",
        "campaign.steps[1].wait.eventType",
        "campaign.steps[1].wait.timeoutHours",
        "campaign.steps[2].update",
        "campaign.steps[3].delay.field",
        "campaign.steps[3].delay.elapsed.hours",
    ];
    assert_eq!(wrong, expected);
}

/// Changes the steps of the campaign, and has open enrollments follow; answers how many contacts were planned anew.
async fn replan(world: &mut World, steps: Vec<proto::Step>, validate_only: bool) -> i64 {
    let request = proto::UpdateCampaignRequest {
        campaign: Some(proto::Campaign { campaign_id: "journey".into(), steps, ..Default::default() }),
        replan_open: true,
        validate_only,
        ..Default::default()
    };
    world.campaigns.update_campaign(request).await.unwrap().into_inner().replanned_contacts
}

#[tokio::test]
async fn open_enrollments_follow_a_new_version_only_where_that_is_asked_for() {
    let steps = vec![step("thank", after_hours(24), "thanks"), step("nudge", after_hours(24), "nudge")];
    let mut world = shop_with(steps).await;
    let planned = only(&world.happens("order.placed", "anna", "o-1").await.effects).contact_id.clone();
    let sooner = vec![step("thank", after_hours(2), "review"), step("nudge", after_hours(3), "nudge")];
    assert_eq!(replan(&mut world, sooner.clone(), true).await, 1);
    assert_eq!(shown(world.contact(&planned).await.due_time), "2026-02-03T09:00:00Z");
    assert_eq!(replan(&mut world, sooner, false).await, 1);
    let contact = world.contact(&planned).await;
    assert_eq!(shown(contact.due_time), "2026-02-02T11:00:00Z");
    assert_eq!((contact.template_id.as_str(), enrollment(&mut world).await.campaign_version), ("review", 2));
    world.live_until("2026-02-02T11:00:00Z").await;
    world.live_until("2026-02-02T14:00:00Z").await;
    assert_eq!(world.subjects(), ["review for anna", "nudge for anna"]);
}

#[tokio::test]
async fn what_a_step_gives_its_template_is_kept_with_the_version_and_by_what_it_plans() {
    let says =
        |code: &str| with_data(step("gift", after_hours(24), "gift"), json!({"code": code, "more": {"deep": [1]}}));
    let mut world = shop_with(vec![step("thank", after_hours(24), "thanks")]).await;
    world.template_with("gift", "Your code: {{ data.code }}", "Use {{ data.code }}.").await;
    replan(&mut world, vec![says("A1")], false).await;
    let planned = only(&world.happens("order.placed", "anna", "o-1").await.effects).contact_id.clone();
    assert_eq!(world.contact(&planned).await.data, Some(structure(json!({"code": "A1", "more": {"deep": [1]}}))));
    let request = proto::GetCampaignRequest { campaign_id: "journey".into() };
    let shown = world.campaigns.get_campaign(request).await.unwrap().into_inner().campaign.unwrap();
    assert_eq!(shown.steps, [with_anchor(says("A1"))]);
    assert_eq!(replan(&mut world, vec![says("B2")], false).await, 1);
    world.happens("order.placed", "anna", "o-2").await;
    world.live_until("2026-02-03T09:00:00Z").await;
    assert_eq!(world.subjects(), ["Your code: B2", "Your code: B2"]);

    let large = with_data(says(""), json!({"long": "x".repeat(20_000)}));
    let request =
        proto::CreateCampaignRequest { campaign: Some(campaign("large", "orders", vec![large])), ..Default::default() };
    assert_eq!(wrong_fields(world.campaigns.create_campaign(request).await), ["campaign.steps[0].send.data"]);
}

/// As it is shown: counted from what starts the campaign.
fn with_anchor(mut of: proto::Step) -> proto::Step {
    if let Some(delay) = &mut of.delay {
        delay.anchor = proto::delay::Anchor::Trigger.into();
    }
    of
}

#[tokio::test]
async fn a_wait_gets_its_new_timeout_from_when_it_began_and_a_step_that_is_gone_keeps_its_enrollment() {
    let mut world = shop_with(delivery_journey()).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-03T09:00:00Z").await;
    let mut patient = delivery_journey();
    if let Some(proto::step::Action::Wait(wait)) = &mut patient[0].action {
        wait.timeout_hours = 48;
    }
    assert_eq!(replan(&mut world, patient, false).await, 0);
    let moved = enrollment(&mut world).await;
    assert_eq!((moved.campaign_version, shown(moved.next_time)), (2, "2026-02-04T09:00:00Z".to_owned()));
    assert_eq!(replan(&mut world, vec![step("ask", after_hours(1), "review")], false).await, 0);
    assert_eq!(enrollment(&mut world).await.campaign_version, 2);
    world.live_until("2026-02-04T11:00:00Z").await;
    assert_eq!(world.subjects(), ["review for anna"]);
}

#[tokio::test]
async fn an_enrollment_stays_where_a_new_order_of_steps_would_bring_it_to_one_again() {
    let steps = vec![step("thank", after_hours(24), "thanks"), step("nudge", after_hours(24), "nudge")];
    let mut world = shop_with(steps).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live_until("2026-02-03T09:00:00Z").await;
    let turned = vec![step("nudge", after_hours(24), "nudge"), step("thank", after_hours(24), "thanks")];
    assert_eq!(replan(&mut world, turned, false).await, 0);
    assert_eq!(enrollment(&mut world).await.campaign_version, 1);
    world.live_until("2026-02-04T09:00:00Z").await;
    assert_eq!(world.subjects(), ["thanks for anna", "nudge for anna"]);
    assert_eq!(enrollment(&mut world).await.state(), proto::enrollment::State::Completed);
}

#[tokio::test]
async fn what_is_left_open_of_a_campaign_that_has_ended_is_ended_by_whoever_comes_next() {
    let mut world = shop_with(vec![step("thank", after_hours(24), "thanks")]).await;
    let planned = only(&world.happens("order.placed", "anna", "o-1").await.effects).contact_id.clone();
    // As whoever archived it left it, who was killed after the first of its transactions.
    let record = world.own_connection().await;
    let sql = "UPDATE campaigns SET state = 'archived', state_note = 'no longer sold', is_ending = true";
    record.execute_unprepared(sql).await.unwrap();
    record.close().await.unwrap();
    world.advance_to("2026-02-02T09:01:00Z");
    world.run_job("run-newsletters").await;
    let contact = world.contact(&planned).await;
    assert_eq!(contact.state(), proto::contact::State::Canceled);
    assert_eq!(contact.block.unwrap().detail, "its campaign was archived: no longer sold");
    assert_eq!(enrollment(&mut world).await.state(), proto::enrollment::State::Exited);
}
