//! What follow-ups get wrong elsewhere, as far as no other file tells it: a purchase between plan and mail stands in `exits`, the same
//! event twice in `events`, clock changes in `campaigns`, leap days in `triggers`, an edited delay in `journeys`, erasure in `erasure`.

use rapport::rpc::proto::{
    self, BlockReason, Event, ListEnrollmentsRequest, SendingPolicy, UpdateSendingPolicyRequest, contact, enrollment,
};

use super::harness::{
    World, after_days, after_hours, at, by_name, campaign, only, shown, step, update_step, wait_step,
};

async fn shop_with(steps: Vec<proto::Step>) -> World {
    let mut world = World::new().await;
    world.topic("orders", proto::Purpose::Service, proto::topic::OptIn::None).await;
    for id in ["one", "two"] {
        world.template(id).await;
    }
    world.campaign(campaign("journey", "orders", steps)).await;
    world.customer("anna", "").await;
    world
}

async fn set_policy(world: &mut World, policy: SendingPolicy) {
    let request = UpdateSendingPolicyRequest { policy: Some(policy), ..Default::default() };
    world.preferences.update_sending_policy(request).await.unwrap();
}

async fn enrollment(world: &mut World) -> proto::Enrollment {
    let request = ListEnrollmentsRequest { campaign_id: "journey".into(), ..Default::default() };
    world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments.remove(0)
}

#[tokio::test]
async fn an_event_that_comes_late_counts_from_when_it_occurred_and_what_is_too_late_is_never_made_up_for_in_a_burst() {
    let steps = vec![
        step("first", after_hours(1), "one"),
        wait_step("wait", "order.paid", 24),
        step("second", after_hours(24), "two"),
    ];
    let mut world = shop_with(steps).await;
    let late = Event { occur_time: Some(at("2026-01-29T09:00:00Z")), ..world.event("order.placed", "anna", "o-1") };
    let receipt = world.record(late).await.unwrap();
    assert_eq!(shown(only(&receipt.effects).due_time), "2026-01-29T10:00:00Z");
    world.live().await;
    let first = world.contacts_of("anna").await.remove(0);
    assert_eq!((first.state(), first.block.unwrap().reason()), (contact::State::Expired, BlockReason::Expired));
    assert!(world.mail().is_empty());
    // What follows counts from when that was decided.
    let waiting = enrollment(&mut world).await;
    assert_eq!((waiting.next_step_id.as_str(), shown(waiting.next_time)), ("wait", "2026-02-03T09:00:00Z".to_owned()));
}

#[tokio::test]
async fn quiet_hours_that_last_longer_than_a_message_is_worth_let_it_expire() {
    let mut world = shop_with(vec![step("first", after_hours(0), "one")]).await;
    let policy = Some(proto::CampaignPolicy { expire_after_hours: 2, ..Default::default() });
    let request = proto::UpdateCampaignRequest {
        campaign: Some(proto::Campaign { campaign_id: "journey".into(), policy, ..Default::default() }),
        ..Default::default()
    };
    world.campaigns.update_campaign(request).await.unwrap();
    let quiet = proto::QuietHours { start: "08:00".into(), end: "20:00".into(), days: Vec::new() };
    set_policy(&mut world, SendingPolicy { quiet_hours: Some(quiet), ..SendingPolicy::default() }).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live().await;
    assert_eq!(world.contacts_of("anna").await[0].state(), contact::State::Expired);
    assert_eq!(enrollment(&mut world).await.state(), enrollment::State::Completed);
}

#[tokio::test]
async fn whoever_lives_nobody_knows_where_lives_where_the_shop_does() {
    let tomorrow = update_step("mark", proto::UpdateAction { add_tags: vec!["old".into()], ..Default::default() });
    let tomorrow = proto::Step { delay: Some(after_days(1, "10:00")), ..tomorrow };
    let mut world = shop_with(vec![tomorrow]).await;
    set_policy(&mut world, SendingPolicy { time_zone: "Europe/Riga".into(), ..SendingPolicy::default() }).await;
    let receipt = world.happens("order.placed", "anna", "o-1").await;
    assert_eq!(only(&receipt.effects).due_local_time, "2026-02-03T10:00 Europe/Riga");
}

#[tokio::test]
async fn whoever_is_deleted_waits_for_nothing_any_more() {
    let update = proto::UpdateAction { add_tags: vec!["old".into()], ..Default::default() };
    let steps = vec![wait_step("wait", "order.paid", 24), update_step("mark", update)];
    let mut world = shop_with(steps).await;
    world.happens("order.placed", "anna", "o-1").await;
    world.live().await;
    let request = proto::DeleteCustomerRequest { customer: by_name("anna"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    let over = enrollment(&mut world).await;
    assert_eq!((over.state(), over.waiting()), (enrollment::State::Exited, enrollment::Waiting::Unspecified));
    world.dispatch_after_hours(48).await;
    assert_eq!(world.run_job("advance-enrollments").await, "advanced 0, told 0");
}

#[tokio::test]
async fn two_replicas_and_two_events_at_once_bring_nobody_on_twice() {
    let update = proto::UpdateAction { add_tags: vec!["old".into()], ..Default::default() };
    let steps = vec![
        wait_step("wait", "order.paid", 24),
        update_step("mark", update),
        step("first", after_hours(1), "one"),
        proto::Step { condition_filter: "customer.tags:\"old\"".into(), ..step("second", after_hours(1), "two") },
    ];
    let mut world = shop_with(steps).await;
    let names: Vec<String> = (0..30).map(|number| format!("customer-{number}")).collect();
    for name in &names {
        world.customer(name, "").await;
        world.happens("order.placed", name, "o-1").await;
    }
    let Some(replica) = world.another_replica().await else { return };
    let mut other = proto::admin_service_client::AdminServiceClient::new(replica.channel().await);
    for moment in ["2026-02-03T09:00:00Z", "2026-02-03T10:00:00Z", "2026-02-03T11:00:00Z"] {
        world.advance_to(moment);
        for _ in 0..4 {
            for job_id in ["advance-enrollments", "dispatch"] {
                let request = proto::RunJobRequest { job_id: job_id.to_owned() };
                let (ours, theirs) = tokio::join!(world.admin.run_job(request.clone()), other.run_job(request));
                assert!(ours.is_ok() && theirs.is_ok());
            }
        }
    }
    replica.stop().await;
    for template in ["one", "two"] {
        let mut to: Vec<String> =
            world.mail().into_iter().filter(|mail| mail.subject.starts_with(template)).map(|mail| mail.to).collect();
        to.sort();
        to.dedup();
        assert_eq!(to.len(), 30, "{template}");
    }
    assert_eq!(world.mail().len(), 60);
    assert_eq!(world.happens("order.paid", &names[0], "o-1").await.effects.len(), 0);
}
