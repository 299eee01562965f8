//! Exits before, between and after: what decision 12 of the design says.

use rapport::rpc::proto::{self, Event, ListEnrollmentsRequest, campaign_effect::Outcome, contact, enrollment};

use super::harness::{World, after_hours, at, campaign, only, step};

/// An order and its refund, each at a moment of a day.
fn events(world: &World) -> (Event, Event) {
    let order = Event {
        occur_time: Some(at("2026-02-02T06:00:00Z")),
        source_event_id: "order".into(),
        ..world.event("order.placed", "anna", "o-1")
    };
    let refund = Event {
        occur_time: Some(at("2026-02-02T08:00:00Z")),
        source_event_id: "refund".into(),
        ..world.event("order.refunded", "anna", "o-1")
    };
    (order, refund)
}

async fn shop_with_anna() -> World {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    world
}

async fn enrollments(world: &mut World) -> Vec<proto::Enrollment> {
    let request = ListEnrollmentsRequest { campaign_id: "check-in".into(), ..Default::default() };
    world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments
}

#[tokio::test]
async fn a_refund_that_arrives_before_its_order_is_found_again_when_the_order_comes() {
    let mut world = shop_with_anna().await;
    let (order, refund) = events(&world);
    assert!(world.record(refund).await.unwrap().effects.is_empty());
    let receipt = world.record(order).await.unwrap();
    assert_eq!(only(&receipt.effects).outcome(), Outcome::Exited);
    assert!(world.contacts_of("anna").await.is_empty());
    let enrollment = enrollments(&mut world).await.remove(0);
    assert_eq!(enrollment.state(), enrollment::State::Exited);
    assert_eq!(enrollment.end_cause(), enrollment::EndCause::ExitEvent);
    world.dispatch_after_hours(48).await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn a_refund_between_the_order_and_the_mail_calls_the_mail_off() {
    let mut world = shop_with_anna().await;
    let (order, refund) = events(&world);
    let planned = only(&world.record(order).await.unwrap().effects).contact_id.clone();
    let receipt = world.record(refund.clone()).await.unwrap();
    assert_eq!(only(&receipt.effects).outcome(), Outcome::Exited);
    let contact = world.contact(&planned).await;
    assert_eq!(contact.state(), contact::State::Canceled);
    let why = world.explain(&planned).await.summary;
    assert!(why.contains("called off") && why.contains("order.refunded"), "{why}");
    // Its replay answers the same.
    let again = world.record(refund).await.unwrap();
    assert_eq!((again.duplicate, again.effects), (true, receipt.effects));
    world.dispatch_after_hours(48).await;
    assert!(world.mail().is_empty());
}

#[tokio::test]
async fn a_refund_after_the_mail_changes_nothing_any_more() {
    let mut world = shop_with_anna().await;
    let (order, refund) = events(&world);
    let planned = only(&world.record(order).await.unwrap().effects).contact_id.clone();
    world.dispatch_after_hours(24).await;
    let refund = Event { occur_time: Some(at("2026-02-03T08:00:00Z")), ..refund };
    assert!(world.record(refund).await.unwrap().effects.is_empty());
    assert_eq!(world.contact(&planned).await.state(), contact::State::Sent);
    assert_eq!(enrollments(&mut world).await.remove(0).state(), enrollment::State::Completed);
}

#[tokio::test]
async fn a_refund_of_something_else_or_from_before_the_order_ends_nothing() {
    let mut world = shop_with_anna().await;
    let (order, refund) = events(&world);
    world.record(order).await.unwrap();
    let others = [
        Event { subject: "o-2".into(), source_event_id: "other".into(), ..refund.clone() },
        Event { occur_time: Some(at("2026-02-02T05:00:00Z")), source_event_id: "older".into(), ..refund },
    ];
    for other in others {
        assert!(world.record(other).await.unwrap().effects.is_empty());
    }
    world.dispatch_after_hours(24).await;
    assert_eq!(world.mail().len(), 1);
}

#[tokio::test]
async fn an_event_that_is_both_trigger_and_exit_ends_what_was_and_begins_anew() {
    let mut world = shop_with_anna().await;
    let exits = vec![proto::Exit { event_type: "order.placed".into(), same_subject: false, ..Default::default() }];
    let steps = vec![step("miss-you", after_hours(72), "offer")];
    let plan = proto::Campaign { exits, ..campaign("silence", "orders", steps) };
    world.campaign(plan).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_after_hours(24).await;
    let receipt = world.happens("order.placed", "anna", "o-2").await;
    let outcomes: Vec<_> =
        receipt.effects.iter().map(|effect| (effect.campaign_id.as_str(), effect.outcome())).collect();
    let expected = [("silence", Outcome::Exited), ("check-in", Outcome::Enrolled), ("silence", Outcome::Enrolled)];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn a_refund_in_the_middle_of_several_steps_ends_the_rest() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let exits = vec![proto::Exit { event_type: "order.refunded".into(), same_subject: false, ..Default::default() }];
    let steps = vec![step("first", after_hours(1), "check-in"), step("second", after_hours(48), "offer")];
    world.campaign(proto::Campaign { exits, ..campaign("two", "orders", steps) }).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.dispatch_after_hours(1).await;
    assert_eq!(world.mail().len(), 1);
    world.happens("order.refunded", "anna", "o-1").await;
    world.dispatch_after_hours(100).await;
    assert_eq!(world.mail().len(), 1);
}
