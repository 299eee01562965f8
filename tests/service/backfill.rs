//! Backfills: events that occurred before a campaign was active.

use std::collections::BTreeSet;

use rapport::rpc::proto::{
    self, BackfillCampaignRequest, BackfillCampaignResponse, BlockReason, Campaign, CampaignRun,
    CancelCampaignRunRequest, Enrollment, ListCampaignRunsRequest, ListEnrollmentsRequest, PauseCampaignRequest,
    Purpose, Reentry, ResumeCampaignRequest, Step, TimeRange,
    admin_service_client::AdminServiceClient,
    campaign_run::State::{Canceled, Finished, Running},
    contact, delay, enrollment, reentry,
    set_consent_request::Decision,
    topic::OptIn,
};
use tonic::Status;

use super::harness::{
    World, after_days, after_hours, at, by_name, campaign, on_event, refusal, shown, step, wait_step, wrong_fields,
};

/// Topics and templates, and no campaign yet.
async fn bare_shop() -> World {
    let mut world = World::new().await;
    world.topic("orders", Purpose::Service, OptIn::None).await;
    world.template("check-in").await;
    world.template("more").await;
    world
}

/// A check-in a day after an order, which a refund ends.
fn check_in() -> Campaign {
    let exits = vec![proto::Exit { event_type: "order.refunded".into(), same_subject: true, ..Default::default() }];
    Campaign { exits, ..campaign("check-in", "orders", vec![step("ask", after_hours(24), "check-in")]) }
}

async fn happened(world: &mut World, event_type: &str, name: &str, subject: &str, time: &str) {
    let event = proto::Event {
        occur_time: Some(at(time)),
        source_event_id: format!("{event_type}/{name}/{subject}/{time}"),
        ..world.event(event_type, name, subject)
    };
    world.record(event).await.unwrap();
}

/// A customer and an order of theirs.
async fn ordered(world: &mut World, name: &str, time: &str) {
    world.customer(name, "Europe/Riga").await;
    happened(world, "order.placed", name, &format!("o-{name}"), time).await;
}

fn ask(max_per_minute: i32) -> BackfillCampaignRequest {
    let range = TimeRange { start_time: Some(at("2026-01-01T00:00:00Z")), end_time: Some(at("2026-02-02T09:00:00Z")) };
    BackfillCampaignRequest { campaign_id: "check-in".into(), range: Some(range), max_per_minute, ..Default::default() }
}

async fn backfill(world: &mut World, max_per_minute: i32) -> Result<BackfillCampaignResponse, Status> {
    world.campaigns.backfill_campaign(ask(max_per_minute)).await.map(tonic::Response::into_inner)
}

async fn matched(world: &mut World) -> i64 {
    let request = BackfillCampaignRequest { validate_only: true, ..ask(1) };
    let counted = world.campaigns.backfill_campaign(request).await.unwrap().into_inner();
    assert_eq!(counted.run, None);
    counted.matched
}

/// Lets in who may enter now.
async fn carry_out(world: &mut World) {
    // The service's own worker is at it as well: nothing is left to do when there was nothing twice in a row.
    let mut nothing = 0;
    while nothing < 2 {
        nothing = if world.run_job("run-backfills").await == "entered 0" { nothing + 1 } else { 0 };
    }
}

async fn enrollments(world: &mut World) -> Vec<Enrollment> {
    let request = ListEnrollmentsRequest { campaign_id: "check-in".into(), ..Default::default() };
    world.campaigns.list_enrollments(request).await.unwrap().into_inner().enrollments
}

async fn entered_at(world: &mut World, time: &str) -> usize {
    world.advance_to(time);
    carry_out(world).await;
    enrollments(world).await.len()
}

/// The latest backfill, whose numbers add up.
async fn latest(world: &mut World) -> CampaignRun {
    let request = ListCampaignRunsRequest { campaign_id: "check-in".into(), ..Default::default() };
    let run = world.campaigns.list_campaign_runs(request).await.unwrap().into_inner().runs.remove(0);
    let (of, stats) = (run.backfill.unwrap(), run.stats.clone().unwrap());
    assert_eq!(of.events, of.entered + of.exited + of.ignored + of.remaining);
    let contacts = stats.scheduled + stats.sending + stats.sent + stats.suppressed + stats.expired + stats.canceled;
    assert_eq!(stats.audience, contacts);
    run
}

/// What became of the events: entered, exited, ignored, remaining.
fn became(run: &CampaignRun) -> (i64, i64, i64, i64) {
    let of = run.backfill.unwrap();
    (of.entered, of.exited, of.ignored, of.remaining)
}

#[tokio::test]
async fn an_order_of_the_past_is_followed_up_now_and_one_of_today_in_time_and_each_once() {
    let mut world = bare_shop().await;
    ordered(&mut world, "anna", "2026-01-20T10:00:00Z").await;
    ordered(&mut world, "bo", "2026-02-02T06:00:00Z").await;
    world.campaign(check_in()).await;
    assert_eq!(matched(&mut world).await, 2);
    assert!(enrollments(&mut world).await.is_empty());

    let begun = backfill(&mut world, 100).await.unwrap();
    assert_eq!((begun.matched, begun.run.unwrap().state()), (2, Running));
    carry_out(&mut world).await;
    let run = latest(&mut world).await;
    assert_eq!((run.state(), became(&run), run.manual), (Finished, (2, 0, 0, 0), true));
    let anna = world.contacts_of("anna").await.remove(0);
    assert_eq!(shown(anna.due_time), "2026-02-02T09:00:00Z");
    let bo = world.contacts_of("bo").await.remove(0);
    assert_eq!(shown(bo.due_time), "2026-02-03T06:00:00Z");
    world.dispatch().await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    world.dispatch_at("2026-02-03T06:00:00Z").await;
    assert_eq!(world.subjects(), ["check-in for anna", "check-in for bo"]);

    assert!(enrollments(&mut world).await.iter().all(|one| one.run_id == run.run_id));
    let explained = world.explain(&anna.contact_id).await;
    assert!(explained.summary.ends_with(&format!("entered by backfill {}.", run.run_id)), "{}", explained.summary);
    assert_eq!(latest(&mut world).await.stats.unwrap().sent, 2);

    // Another one over the same time finds them inside, and an order that entered by itself.
    happened(&mut world, "order.placed", "bo", "o-new", "2026-02-02T08:59:00Z").await;
    assert_eq!(matched(&mut world).await, 0);
    assert_eq!(backfill(&mut world, 100).await.unwrap().matched, 0);
    carry_out(&mut world).await;
    let again = latest(&mut world).await;
    assert_eq!((again.state(), became(&again)), (Finished, (0, 0, 3, 0)));
    assert_eq!(enrollments(&mut world).await.len(), 3);
}

#[tokio::test]
async fn so_many_enter_in_a_minute_and_no_more_whoever_restarts_the_service() {
    let mut world = bare_shop().await;
    for name in ["anna", "bo", "cai", "dora", "egon", "fia", "gil"] {
        ordered(&mut world, name, "2026-01-20T10:00:00Z").await;
    }
    world.campaign(check_in()).await;
    backfill(&mut world, 3).await.unwrap();
    assert_eq!(entered_at(&mut world, "2026-02-02T09:00:10Z").await, 3);
    assert_eq!(entered_at(&mut world, "2026-02-02T09:00:59Z").await, 3);
    let run = latest(&mut world).await;
    assert_eq!((run.state(), became(&run)), (Running, (3, 0, 0, 4)));
    assert_eq!(refusal(backfill(&mut world, 3).await), "RUN_UNDER_WAY");

    let mut world = world.restart_after(async |_| {}).await;
    assert_eq!(entered_at(&mut world, "2026-02-02T09:00:59Z").await, 3);
    assert_eq!(entered_at(&mut world, "2026-02-02T09:01:20Z").await, 6);
    assert_eq!(entered_at(&mut world, "2026-02-02T09:02:20Z").await, 7);
    let run = latest(&mut world).await;
    assert_eq!((run.state(), became(&run)), (Finished, (7, 0, 0, 0)));
    world.dispatch().await;
    assert_eq!(world.mail().len(), 7);
}

#[tokio::test]
async fn two_processes_together_let_in_as_many_as_one_and_everybody_once() {
    let mut world = bare_shop().await;
    for number in 0..20 {
        ordered(&mut world, &format!("customer-{number:02}"), "2026-01-20T10:00:00Z").await;
    }
    world.campaign(check_in()).await;
    let Some(replica) = world.another_replica().await else { return };
    let mut other = AdminServiceClient::new(replica.channel().await);
    backfill(&mut world, 5).await.unwrap();
    for (time, expected) in [("09:00:00", 5), ("09:01:00", 10), ("09:02:00", 15), ("09:03:00", 20)] {
        world.advance_to(&format!("2026-02-02T{time}Z"));
        let request = proto::RunJobRequest { job_id: "run-backfills".into() };
        let (theirs, ()) = tokio::join!(other.run_job(request), carry_out(&mut world));
        theirs.unwrap();
        assert_eq!(enrollments(&mut world).await.len(), expected);
    }
    let run = latest(&mut world).await;
    assert_eq!((run.state(), became(&run)), (Finished, (20, 0, 0, 0)));
    let customers: BTreeSet<String> = enrollments(&mut world).await.into_iter().map(|one| one.customer_id).collect();
    assert_eq!(customers.len(), 20);
    replica.stop().await;
}

#[tokio::test]
async fn what_happened_since_counts_a_refund_an_objection_a_deletion() {
    let mut world = bare_shop().await;
    for name in ["anna", "bo", "cai", "dora"] {
        ordered(&mut world, name, "2026-01-20T10:00:00Z").await;
    }
    happened(&mut world, "order.refunded", "bo", "o-bo", "2026-01-25T10:00:00Z").await;
    happened(&mut world, "order.refunded", "anna", "o-other", "2026-01-25T10:00:00Z").await;
    world.consent("cai", "orders", Decision::Withdraw).await;
    let request = proto::DeleteCustomerRequest { customer: by_name("dora"), ..Default::default() };
    world.customers.delete_customer(request).await.unwrap();
    world.campaign(check_in()).await;
    assert_eq!(matched(&mut world).await, 2);
    backfill(&mut world, 100).await.unwrap();
    carry_out(&mut world).await;
    assert_eq!(became(&latest(&mut world).await), (2, 1, 1, 0));
    world.dispatch().await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    assert!(world.contacts_of("bo").await.is_empty());
    let exited = enrollments(&mut world).await.into_iter().find(|one| one.subject == "o-bo").unwrap();
    assert_eq!(exited.end_cause(), enrollment::EndCause::ExitEvent);
    let held_back = world.contacts_of("cai").await.remove(0);
    assert_eq!(held_back.state(), contact::State::Suppressed);
    assert_eq!(held_back.block.unwrap().reason(), BlockReason::OptedOut);

    // Who was refunded once is not let in by another backfill either.
    assert_eq!(matched(&mut world).await, 0);
}

#[tokio::test]
async fn a_time_of_day_stays_one_and_what_follows_keeps_its_distance() {
    let mut world = bare_shop().await;
    ordered(&mut world, "anna", "2026-01-20T10:00:00Z").await;
    ordered(&mut world, "bo", "2026-02-01T10:00:00Z").await;
    let from_trigger = |delay: proto::Delay| proto::Delay { anchor: delay::Anchor::Trigger.into(), ..delay };
    let steps = vec![
        step("ask", after_days(1, "10:00"), "check-in"),
        step("more", from_trigger(after_days(4, "10:00")), "more"),
    ];
    world.campaign(campaign("check-in", "orders", steps)).await;
    backfill(&mut world, 100).await.unwrap();
    carry_out(&mut world).await;
    // It is 11:00 in Riga: 10:00 is over today.
    world.live_until("2026-02-03T07:59:00Z").await;
    assert!(world.mail().is_empty());
    world.live_until("2026-02-03T08:00:00Z").await;
    assert_eq!(world.subjects(), ["check-in for anna", "check-in for bo"]);
    // Bo's 10:00 of the day after came an hour before the backfill.
    for name in ["anna", "bo"] {
        let mut dues: Vec<String> = world.contacts_of(name).await.iter().map(|one| shown(one.due_time)).collect();
        dues.sort_unstable();
        assert_eq!(dues, ["2026-02-03T08:00:00Z", "2026-02-06T08:00:00Z"], "{name}");
    }
}

#[tokio::test]
async fn a_wait_hears_what_has_happened_and_ends_where_it_would_have_ended() {
    let mut world = bare_shop().await;
    for name in ["anna", "bo", "cai"] {
        ordered(&mut world, name, "2026-01-20T10:00:00Z").await;
    }
    happened(&mut world, "order.reviewed", "anna", "o-anna", "2026-01-21T10:00:00Z").await;
    ordered(&mut world, "dora", "2026-02-01T10:00:00Z").await;
    let unless = |of: Step| Step { condition_filter: "steps.review.state = TIMED_OUT".into(), ..of };
    let steps = vec![wait_step("review", "order.reviewed", 72), unless(step("ask", after_hours(24), "check-in"))];
    world.campaign(campaign("check-in", "orders", steps)).await;
    backfill(&mut world, 100).await.unwrap();
    carry_out(&mut world).await;
    world.live().await;
    assert_eq!(world.subjects(), ["check-in for bo", "check-in for cai"]);
    // Dora's wait ends three days after her order, a day before her mail.
    world.live_until("2026-02-05T09:59:00Z").await;
    assert_eq!(world.mail().len(), 2);
    world.live_until("2026-02-05T10:00:00Z").await;
    assert_eq!(world.subjects(), ["check-in for bo", "check-in for cai", "check-in for dora"]);
}

#[tokio::test]
async fn whatever_the_rule_as_many_enter_as_were_counted() {
    for (mode, cooldown_days, expected) in [
        (reentry::Mode::Once, 0, 3),
        (reentry::Mode::OncePerSubject, 0, 6),
        (reentry::Mode::Always, 0, 9),
        (reentry::Mode::Always, 5, 6),
        (reentry::Mode::Restart, 0, 3),
    ] {
        let mut world = bare_shop().await;
        for name in ["anna", "bo", "cai", "dora"] {
            world
                .customer_with(name, |customer| customer.locale = if name == "dora" { "lv" } else { "en" }.into())
                .await;
            for (subject, day) in [("o-1", "10"), ("o-2", "20"), ("o-1", "12")] {
                happened(&mut world, "order.placed", name, subject, &format!("2026-01-{day}T10:00:00Z")).await;
            }
        }
        let plan = Campaign {
            reentry: Some(Reentry { mode: mode.into(), cooldown_days }),
            audience_filter: "locale = \"en\"".into(),
            ..check_in()
        };
        world.campaign(plan).await;
        assert_eq!(matched(&mut world).await, expected, "{mode:?} {cooldown_days}");
        assert_eq!(backfill(&mut world, 100).await.unwrap().matched, expected);
        carry_out(&mut world).await;
        let entered = became(&latest(&mut world).await);
        assert_eq!(entered, (expected, 0, 12 - expected, 0), "{mode:?} {cooldown_days}");
        if mode == reentry::Mode::Restart {
            let subjects: Vec<String> = enrollments(&mut world).await.into_iter().map(|one| one.subject).collect();
            assert_eq!(subjects, ["o-2"; 3]);
        }
        assert_eq!(matched(&mut world).await, 0, "{mode:?} {cooldown_days}");
    }
}

#[tokio::test]
async fn a_pause_stops_it_and_who_calls_it_off_stops_what_it_began() {
    let mut world = bare_shop().await;
    for name in ["anna", "bo", "cai", "dora", "egon", "fia"] {
        ordered(&mut world, name, "2026-02-02T06:00:00Z").await;
    }
    world.campaign(check_in()).await;
    let pause = PauseCampaignRequest { campaign_id: "check-in".into(), ..Default::default() };
    world.campaigns.pause_campaign(pause).await.unwrap();
    assert_eq!(refusal(backfill(&mut world, 2).await), "CAMPAIGN_NOT_ACTIVE");
    let resume = || ResumeCampaignRequest { campaign_id: "check-in".into() };
    world.campaigns.resume_campaign(resume()).await.unwrap();
    backfill(&mut world, 2).await.unwrap();
    assert_eq!(entered_at(&mut world, "2026-02-02T09:00:10Z").await, 2);
    let pause = PauseCampaignRequest { campaign_id: "check-in".into(), ..Default::default() };
    world.campaigns.pause_campaign(pause).await.unwrap();
    assert_eq!(entered_at(&mut world, "2026-02-02T09:05:00Z").await, 2);
    world.campaigns.resume_campaign(resume()).await.unwrap();
    world.dispatch_at("2026-02-02T09:05:01Z").await;

    let cancel = CancelCampaignRunRequest { run_id: latest(&mut world).await.run_id, note: "too early".into() };
    let run = world.campaigns.cancel_campaign_run(cancel.clone()).await.unwrap().into_inner().run.unwrap();
    assert_eq!((run.state(), run.note.as_str()), (Canceled, "too early"));
    carry_out(&mut world).await;
    let run = latest(&mut world).await;
    let (entered, exited, ignored, remaining) = became(&run);
    assert_eq!((run.state(), exited, ignored, entered + remaining), (Canceled, 0, 0, 6));
    assert!(run.end_time.is_some() && entered >= 2);
    let stopped = enrollments(&mut world).await;
    assert!(stopped.iter().all(|one| one.state() == enrollment::State::Stopped));
    assert_eq!(run.stats.unwrap().canceled, entered);
    world.campaigns.cancel_campaign_run(cancel).await.unwrap();
    world.dispatch_after_hours(48).await;
    assert!(world.mail().is_empty());
    // What was stopped does not enter again, the others may.
    assert_eq!(matched(&mut world).await, remaining);
}

#[tokio::test]
async fn the_same_request_again_begins_nothing_and_what_cannot_be_is_refused_all_at_once() {
    let mut world = bare_shop().await;
    ordered(&mut world, "anna", "2026-01-20T10:00:00Z").await;
    world.campaign(check_in()).await;
    let request = BackfillCampaignRequest { request_id: "once".into(), ..ask(100) };
    let first = world.campaigns.backfill_campaign(request.clone()).await.unwrap().into_inner();
    carry_out(&mut world).await;
    let again = world.campaigns.backfill_campaign(request.clone()).await.unwrap();
    assert_eq!(again.metadata().get("x-replayed").unwrap(), "true");
    let again = again.into_inner();
    assert_eq!((again.matched, again.run.unwrap().run_id), (first.matched, first.run.unwrap().run_id));
    let other = BackfillCampaignRequest { max_per_minute: 5, ..request };
    assert_eq!(refusal(world.campaigns.backfill_campaign(other).await), "REQUEST_ID_REUSED");

    let wrong = BackfillCampaignRequest {
        campaign_id: "Check in".into(),
        range: Some(TimeRange { end_time: Some(at("2026-02-02T09:00:01Z")), start_time: None }),
        ..Default::default()
    };
    let answer = world.campaigns.backfill_campaign(wrong).await;
    assert_eq!(wrong_fields(answer), ["campaignId", "range.startTime", "maxPerMinute"]);
    let end = at("2026-02-02T09:00:01Z");
    let ahead = TimeRange { start_time: Some(end), end_time: Some(end) };
    let answer = world.campaigns.backfill_campaign(BackfillCampaignRequest { range: Some(ahead), ..ask(1) }).await;
    assert_eq!(wrong_fields(answer), ["range.endTime", "range.endTime"]);

    let unknown = BackfillCampaignRequest { campaign_id: "unknown".into(), ..ask(1) };
    assert_eq!(refusal(world.campaigns.backfill_campaign(unknown).await), "CAMPAIGN_NOT_FOUND");
    let audience = proto::campaign::Trigger::Audience(proto::AudienceTrigger {});
    let plan = Campaign {
        trigger: Some(audience),
        audience_filter: "tags:\"vip\"".into(),
        ..campaign("vips", "orders", vec![step("ask", after_hours(0), "check-in")])
    };
    world.campaign(plan).await;
    let request = BackfillCampaignRequest { campaign_id: "vips".into(), ..ask(1) };
    assert_eq!(refusal(world.campaigns.backfill_campaign(request).await), "CAMPAIGN_NOT_STARTED_BY_EVENT");
    let draft = Campaign { trigger: on_event("order.placed"), campaign_id: "draft".into(), ..check_in() };
    let create = proto::CreateCampaignRequest { campaign: Some(draft), ..Default::default() };
    world.campaigns.create_campaign(create).await.unwrap();
    let request = BackfillCampaignRequest { campaign_id: "draft".into(), ..ask(1) };
    assert_eq!(refusal(world.campaigns.backfill_campaign(request).await), "CAMPAIGN_NOT_ACTIVE");
}
