//! Newsletters: messages to many, at their own times.

use std::collections::BTreeMap;

use rapport::rpc::proto::{
    ActivateCampaignRequest, ArchiveCampaignRequest, BlockReason, Campaign, CampaignRun, CampaignStats,
    CancelCampaignRunRequest, CatchUpPolicy, CreateCampaignRequest, Customer, Delay, GetCampaignRequest,
    GetCampaignStatsRequest, ListCampaignRunsRequest, ListEnrollmentsRequest, OneOffTrigger, OverlapPolicy,
    PauseCampaignRequest, PreviewCampaignRequest, Purpose, RecurringTrigger, ResumeCampaignRequest, RunCampaignRequest,
    StatsInterval, Step, TimeRange, UpdateCampaignRequest, UpdateCustomerRequest,
    campaign::{State, Trigger},
    campaign_run::{
        self,
        State::{Finished, Queued, Running, Skipped},
    },
    contact, enrollment, one_off_trigger,
    preview_campaign_request::Source,
    recurring_trigger,
    set_consent_request::Decision,
};

use serde_json::json;

use super::harness::{
    World, after_hours, at, by_name, campaign, moment, refusal, shown, step, wait_step, with_data, wrong_fields,
};

/// A newsletter about offers.
fn newsletter(id: &str, trigger: Trigger) -> Campaign {
    let send = Step { delay: None, ..step("send", after_hours(0), "offer") };
    Campaign { trigger: Some(trigger), ..campaign(id, "offers", vec![send]) }
}

fn at_instant(time: &str) -> Trigger {
    Trigger::OneOff(OneOffTrigger { at: Some(one_off_trigger::At::SendTime(at(time))) })
}

fn at_local(time: &str) -> Trigger {
    Trigger::OneOff(OneOffTrigger { at: Some(one_off_trigger::At::LocalTime(time.to_owned())) })
}

fn recurring(cron: &str, zone: Option<&str>) -> RecurringTrigger {
    let zone = match zone {
        Some(zone) => recurring_trigger::Zone::TimeZone(zone.to_owned()),
        None => recurring_trigger::Zone::CustomerTimeZone(true),
    };
    RecurringTrigger { cron: cron.to_owned(), zone: Some(zone), ..RecurringTrigger::default() }
}

async fn offers(world: &mut World) {
    world.topic("offers", Purpose::Marketing, rapport::rpc::proto::topic::OptIn::Single).await;
    world.template("offer").await;
}

/// A customer who wants offers.
async fn reader(world: &mut World, name: &str, zone: &str) -> Customer {
    let customer = world.customer(name, zone).await;
    world.consent(name, "offers", Decision::Grant).await;
    customer
}

/// Carries out whatever is due.
async fn carry_out(world: &mut World) {
    // The service's own workers are at it as well: nothing is left to do when there was nothing twice in a row.
    let mut nothing = 0;
    for _ in 0..50 {
        let done = world.run_job("run-newsletters").await;
        world.dispatch().await;
        nothing = if done == "opened 0, reached 0, closed 0" { nothing + 1 } else { 0 };
        if nothing == 2 {
            return;
        }
    }
    panic!("it never ends");
}

async fn carry_out_at(world: &mut World, time: &str) {
    world.advance_to(time);
    carry_out(world).await;
}

async fn runs(world: &mut World, id: &str) -> Vec<CampaignRun> {
    let request = ListCampaignRunsRequest { campaign_id: id.to_owned(), ..Default::default() };
    world.campaigns.list_campaign_runs(request).await.unwrap().into_inner().runs
}

async fn get(world: &mut World, id: &str) -> Campaign {
    let request = GetCampaignRequest { campaign_id: id.to_owned() };
    world.campaigns.get_campaign(request).await.unwrap().into_inner().campaign.unwrap()
}

async fn stats(world: &mut World, id: &str) -> CampaignStats {
    let request = GetCampaignStatsRequest { campaign_id: id.to_owned(), ..Default::default() };
    world.campaigns.get_campaign_stats(request).await.unwrap().into_inner().stats.unwrap()
}

async fn run_now(world: &mut World, id: &str) -> Result<CampaignRun, tonic::Status> {
    let request = RunCampaignRequest { campaign_id: id.to_owned(), ..Default::default() };
    world.campaigns.run_campaign(request).await.map(|answer| answer.into_inner().run.unwrap())
}

async fn move_to(world: &mut World, name: &str, zone: &str) {
    let customer = Customer { time_zone: zone.to_owned(), ..Customer::default() };
    let request =
        UpdateCustomerRequest { target: by_name(name), customer: Some(customer), ..UpdateCustomerRequest::default() };
    world.customers.update_customer(request).await.unwrap();
}

fn adds_up(stats: &CampaignStats) -> bool {
    let parts = [
        stats.remaining,
        stats.scheduled,
        stats.sending,
        stats.sent,
        stats.suppressed,
        stats.failed,
        stats.expired,
        stats.canceled,
        stats.unknown_outcome,
    ];
    let blocks: i64 = stats.blocks.iter().map(|block| block.count).sum();
    stats.audience == parts.iter().sum::<i64>() && blocks == stats.suppressed + stats.expired + stats.canceled
}

/// Who got which mail, once each.
fn readers(world: &World) -> Vec<String> {
    let mut to: Vec<String> = world.mail().into_iter().map(|mail| mail.to.replace("@example.com", "")).collect();
    to.sort_unstable();
    to
}

#[tokio::test]
async fn a_one_off_reaches_everybody_who_may_be_written_to_and_accounts_for_the_others() {
    let mut world = World::new().await;
    offers(&mut world).await;
    for name in ["anna", "bo", "cai"] {
        reader(&mut world, name, "").await;
    }
    world.customer("dora", "").await;
    reader(&mut world, "egon", "").await;
    world.consent("egon", "offers", Decision::Withdraw).await;
    world.customer_with("fia", |customer| customer.addresses.clear()).await;
    let news = world.campaign(newsletter("news", at_instant("2026-02-03T09:00:00Z"))).await;
    assert_eq!(
        news.upcoming_fire_times.iter().map(|time| shown(Some(*time))).collect::<Vec<_>>(),
        ["2026-02-03T09:00:00Z"]
    );

    carry_out_at(&mut world, "2026-02-03T08:59:59Z").await;
    assert!(world.mail().is_empty() && runs(&mut world, "news").await.is_empty());
    carry_out_at(&mut world, "2026-02-03T09:00:00Z").await;
    assert_eq!(readers(&world), ["anna", "bo", "cai"]);

    let run = runs(&mut world, "news").await.remove(0);
    let told = run.stats.clone().unwrap();
    assert_eq!(run.state(), campaign_run::State::Finished);
    assert_eq!((told.audience, told.sent, told.suppressed, told.remaining), (6, 3, 3, 0));
    assert!(adds_up(&told), "{told:?}");
    let reasons: BTreeMap<i32, i64> = told.blocks.iter().map(|block| (block.reason, block.count)).collect();
    let expected = [BlockReason::NoAddress, BlockReason::NoConsent, BlockReason::OptedOut].map(|one| (one.into(), 1));
    assert_eq!(reasons, BTreeMap::from(expected));
    assert_eq!(stats(&mut world, "news").await, told);
    let news = get(&mut world, "news").await;
    assert_eq!((news.state(), news.upcoming_fire_times.len()), (State::Completed, 0));
    let contact = world.contacts_of("anna").await.remove(0);
    assert_eq!((contact.run_id, contact.campaign_id, contact.step_id), (run.run_id, "news".into(), "send".into()));
}

#[tokio::test]
async fn a_wall_clock_time_comes_to_each_customer_where_they_live() {
    let mut world = World::new().await;
    offers(&mut world).await;
    let places = [
        ("kiri", "Pacific/Kiritimati", "2026-02-02T19:00:00Z"),
        ("riga", "Europe/Riga", "2026-02-03T07:00:00Z"),
        ("nowhere", "", "2026-02-03T09:00:00Z"),
        ("york", "America/New_York", "2026-02-03T14:00:00Z"),
        ("pago", "Pacific/Pago_Pago", "2026-02-03T20:00:00Z"),
    ];
    for (name, zone, _) in places {
        reader(&mut world, name, zone).await;
    }
    world.campaign(newsletter("news", at_local("2026-02-03T09:00"))).await;
    for (place, (_, _, time)) in places.iter().enumerate() {
        world.advance_to(&(moment(time) - chrono::TimeDelta::seconds(1)).to_rfc3339());
        carry_out(&mut world).await;
        assert_eq!(world.mail().len(), place);
        carry_out_at(&mut world, time).await;
        assert_eq!(world.mail().len(), place + 1, "{time}");
    }
    let run = runs(&mut world, "news").await.remove(0);
    assert_eq!((run.state(), run.local_time.as_str()), (campaign_run::State::Finished, "2026-02-03T09:00"));
    assert!(!run.manual);
    let told = run.stats.unwrap();
    assert_eq!((told.audience, told.sent), (5, 5));
    let contact = world.contacts_of("riga").await.remove(0);
    assert_eq!(contact.due_local_time, "2026-02-03T09:00 Europe/Riga");
}

#[tokio::test]
async fn who_moves_meanwhile_is_reached_once_all_the_same() {
    let mut world = World::new().await;
    offers(&mut world).await;
    for (name, zone) in [("early", "Asia/Tokyo"), ("late", "America/New_York"), ("far", "Europe/Riga"), ("none", "")] {
        reader(&mut world, name, zone).await;
    }
    world.customer("unwilling", "Asia/Tokyo").await;
    world.campaign(newsletter("news", at_local("2026-02-03T09:00"))).await;
    // Tokyo has had it.
    carry_out_at(&mut world, "2026-02-03T00:30:00Z").await;
    assert_eq!(readers(&world), ["early"]);
    // From where it was to where it will be: not a second time. Nor is anybody counted twice.
    move_to(&mut world, "early", "America/New_York").await;
    move_to(&mut world, "unwilling", "Europe/Riga").await;
    // From where it will be to where it was: at once.
    move_to(&mut world, "late", "Asia/Tokyo").await;
    carry_out(&mut world).await;
    assert_eq!(readers(&world), ["early", "late"]);
    // To where nobody lived, and back to where it has been.
    move_to(&mut world, "far", "America/Los_Angeles").await;
    move_to(&mut world, "none", "Asia/Tokyo").await;
    move_to(&mut world, "none", "Europe/Riga").await;
    carry_out_at(&mut world, "2026-02-03T07:00:00Z").await;
    assert_eq!(readers(&world), ["early", "late", "none"]);
    carry_out_at(&mut world, "2026-02-03T17:00:00Z").await;
    assert_eq!(readers(&world), ["early", "far", "late", "none"]);
    carry_out_at(&mut world, "2026-02-04T00:00:00Z").await;
    let told = stats(&mut world, "news").await;
    assert_eq!((told.audience, told.sent, told.suppressed), (5, 4, 1));
    assert_eq!(runs(&mut world, "news").await[0].state(), campaign_run::State::Finished);
}

#[tokio::test]
async fn clock_changes_neither_skip_nor_double_a_customer() {
    // Place, the moment before, what the wall clock is to show, and when that is.
    let table = [
        ("America/New_York", "2026-03-07T00:00:00Z", "2026-03-08T02:30", "2026-03-08T07:00:00Z"),
        ("America/New_York", "2026-10-31T00:00:00Z", "2026-11-01T01:30", "2026-11-01T05:30:00Z"),
        ("Europe/London", "2026-03-28T00:00:00Z", "2026-03-29T01:15", "2026-03-29T01:00:00Z"),
        ("Europe/London", "2026-10-24T00:00:00Z", "2026-10-25T01:15", "2026-10-25T00:15:00Z"),
        ("Australia/Lord_Howe", "2026-10-02T00:00:00Z", "2026-10-04T02:15", "2026-10-03T15:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-03T00:00:00Z", "2026-04-05T01:45", "2026-04-04T14:45:00Z"),
        ("Antarctica/Troll", "2026-03-28T00:00:00Z", "2026-03-29T02:10", "2026-03-29T01:00:00Z"),
        ("Antarctica/Troll", "2026-10-24T00:00:00Z", "2026-10-25T02:30", "2026-10-25T00:30:00Z"),
        ("Pacific/Apia", "2011-12-28T00:00:00Z", "2011-12-30T09:00", "2011-12-30T10:00:00Z"),
        ("Pacific/Apia", "2011-12-28T00:00:00Z", "2011-12-29T09:00", "2011-12-29T19:00:00Z"),
    ];
    for (zone, start, local, expected) in table {
        let mut world = World::at(start).await;
        offers(&mut world).await;
        reader(&mut world, "there", zone).await;
        reader(&mut world, "utc", "UTC").await;
        world.campaign(newsletter("news", at_local(local))).await;
        world.advance_to(&(moment(expected) - chrono::TimeDelta::seconds(1)).to_rfc3339());
        carry_out(&mut world).await;
        assert!(!readers(&world).contains(&"there".to_owned()), "{zone} {local}");
        carry_out_at(&mut world, expected).await;
        assert!(readers(&world).contains(&"there".to_owned()), "{zone} {local}");
        world.advance_to(&(moment(expected) + chrono::TimeDelta::hours(40)).to_rfc3339());
        carry_out(&mut world).await;
        assert_eq!(readers(&world), ["there", "utc"], "{zone} {local}");
        assert_eq!(get(&mut world, "news").await.state(), State::Completed, "{zone} {local}");
    }
}

#[tokio::test]
async fn a_newsletter_that_comes_again_catches_up_with_the_latest_that_was_missed() {
    let mut world = World::new().await;
    offers(&mut world).await;
    reader(&mut world, "anna", "").await;
    let weekly = newsletter("news", Trigger::Recurring(recurring("0 9 * * *", Some("Europe/Riga"))));
    let news = world.campaign(weekly).await;
    let times: Vec<String> = news.upcoming_fire_times.iter().map(|time| shown(Some(*time))).collect();
    assert_eq!(
        (times.len(), times[0].as_str(), times[9].as_str()),
        (10, "2026-02-03T07:00:00Z", "2026-02-12T07:00:00Z")
    );
    carry_out_at(&mut world, "2026-02-03T07:00:00Z").await;
    assert_eq!(world.mail().len(), 1);
    // Nobody was there for three days.
    world.advance_to("2026-02-06T15:00:00Z");
    carry_out(&mut world).await;
    assert_eq!(world.mail().len(), 2);
    let states: Vec<_> = runs(&mut world, "news").await.iter().map(|run| (run.state(), run.note.clone())).collect();
    let missed = || (Skipped, "it was missed, and a later one as well".to_owned());
    assert_eq!(states, [(Finished, String::new()), missed(), missed(), (Finished, String::new())]);
    // Too long ago to be worth it.
    world.advance_to("2026-02-08T06:59:00Z");
    let request = PauseCampaignRequest { campaign_id: "news".into(), note: String::new() };
    world.campaigns.pause_campaign(request).await.unwrap();
    world.advance_to("2026-02-09T06:59:00Z");
    let change = Campaign {
        campaign_id: "news".into(),
        trigger: Some(Trigger::Recurring(RecurringTrigger {
            catch_up_window_minutes: 60,
            ..recurring("0 9 * * MON", Some("Europe/Riga"))
        })),
        ..Campaign::default()
    };
    let request = UpdateCampaignRequest { campaign: Some(change), ..UpdateCampaignRequest::default() };
    world.campaigns.update_campaign(request).await.unwrap();
    world.advance_to("2026-02-09T09:30:00Z");
    let request = ResumeCampaignRequest { campaign_id: "news".into() };
    world.campaigns.resume_campaign(request).await.unwrap();
    carry_out(&mut world).await;
    let latest = runs(&mut world, "news").await.remove(0);
    assert_eq!((latest.state(), latest.note.as_str()), (Skipped, "it was missed"));
    assert_eq!(get(&mut world, "news").await.state(), State::Active);
}

#[tokio::test]
async fn an_operator_fires_a_newsletter_once_and_calls_it_off() {
    let mut world = World::new().await;
    offers(&mut world).await;
    for name in ["anna", "bo"] {
        reader(&mut world, name, "").await;
    }
    world.customer("cai", "").await;
    let news = newsletter("news", Trigger::Recurring(recurring("0 9 1 * *", None)));
    let request = CreateCampaignRequest { campaign: Some(news), ..Default::default() };
    world.campaigns.create_campaign(request).await.unwrap();
    assert_eq!(refusal(run_now(&mut world, "news").await), "CAMPAIGN_NOT_ACTIVE");
    let request = ActivateCampaignRequest { campaign_id: "news".into(), ..Default::default() };
    world.campaigns.activate_campaign(request).await.unwrap();
    let request = RunCampaignRequest { campaign_id: "news".into(), request_id: "once".into(), validate_only: false };
    let first = world.campaigns.run_campaign(request.clone()).await.unwrap().into_inner().run.unwrap();
    let again = world.campaigns.run_campaign(request).await.unwrap();
    assert!(again.metadata().contains_key("x-replayed"));
    assert_eq!(again.into_inner().run.unwrap().run_id, first.run_id);
    assert!(first.manual);
    carry_out(&mut world).await;
    assert_eq!(readers(&world), ["anna", "bo"]);

    let request = PauseCampaignRequest { campaign_id: "news".into(), note: String::new() };
    world.campaigns.pause_campaign(request).await.unwrap();
    assert_eq!(refusal(run_now(&mut world, "news").await), "CAMPAIGN_NOT_ACTIVE");
    let request = ResumeCampaignRequest { campaign_id: "news".into() };
    world.campaigns.resume_campaign(request).await.unwrap();
    // Nothing goes out, so the run stays under way.
    let pause = rapport::rpc::proto::PauseDispatchRequest { reason: "a look".into(), ..Default::default() };
    let pause = world.admin.pause_dispatch(pause).await.unwrap().into_inner().pause.unwrap();
    let second = run_now(&mut world, "news").await.unwrap();
    carry_out(&mut world).await;
    assert_eq!(refusal(run_now(&mut world, "news").await), "RUN_UNDER_WAY");
    let told = runs(&mut world, "news").await.remove(0).stats.unwrap();
    assert_eq!((told.audience, told.remaining), (3, 3));
    let cancel = CancelCampaignRunRequest { run_id: second.run_id.clone(), note: "wrong price".into() };
    let canceled = world.campaigns.cancel_campaign_run(cancel.clone()).await.unwrap().into_inner().run.unwrap();
    assert_eq!((canceled.state(), canceled.note.as_str()), (campaign_run::State::Canceled, "wrong price"));
    carry_out(&mut world).await;
    let request = rapport::rpc::proto::ResumeDispatchRequest { pause_id: pause.pause_id };
    world.admin.resume_dispatch(request).await.unwrap();
    carry_out(&mut world).await;
    assert_eq!(world.mail().len(), 2);
    let run = runs(&mut world, "news").await.remove(0);
    let told = run.stats.unwrap();
    assert_eq!((told.audience, told.canceled, told.remaining), (3, 3, 0));
    assert!(run.end_time.is_some() && adds_up(&told), "{told:?}");
    world.campaigns.cancel_campaign_run(cancel).await.unwrap();
    let done = CancelCampaignRunRequest { run_id: first.run_id, note: String::new() };
    assert_eq!(refusal(world.campaigns.cancel_campaign_run(done).await), "RUN_ENDED");
    let unknown = CancelCampaignRunRequest { run_id: "run_0000000000000000000000000a".into(), note: String::new() };
    assert_eq!(refusal(world.campaigns.cancel_campaign_run(unknown).await), "RUN_NOT_FOUND");
}

#[tokio::test]
async fn a_firing_waits_for_an_earlier_one_or_is_left_out() {
    for (overlap, waits) in [(OverlapPolicy::Skip, false), (OverlapPolicy::Queue, true)] {
        let mut world = World::new().await;
        offers(&mut world).await;
        reader(&mut world, "anna", "").await;
        let trigger = RecurringTrigger { overlap: overlap.into(), ..recurring("0 * * * *", Some("UTC")) };
        world.campaign(newsletter("news", Trigger::Recurring(trigger))).await;
        let pause = rapport::rpc::proto::PauseDispatchRequest { reason: "a look".into(), ..Default::default() };
        let pause = world.admin.pause_dispatch(pause).await.unwrap().into_inner().pause.unwrap();
        carry_out_at(&mut world, "2026-02-02T10:00:00Z").await;
        carry_out_at(&mut world, "2026-02-02T11:00:00Z").await;
        let states: Vec<_> = runs(&mut world, "news").await.iter().map(CampaignRun::state).collect();
        assert_eq!(states, [if waits { Queued } else { Skipped }, Running]);
        let request = rapport::rpc::proto::ResumeDispatchRequest { pause_id: pause.pause_id };
        world.admin.resume_dispatch(request).await.unwrap();
        carry_out(&mut world).await;
        let states: Vec<_> = runs(&mut world, "news").await.iter().map(CampaignRun::state).collect();
        assert_eq!(states, [if waits { Finished } else { Skipped }, Finished]);
        assert_eq!(world.mail().len(), if waits { 2 } else { 1 });
    }
}

#[tokio::test]
async fn archiving_calls_off_what_is_open_of_newsletters_and_of_follow_ups() {
    let mut world = World::new().await;
    world.shop().await;
    reader(&mut world, "anna", "").await;
    reader(&mut world, "bo", "").await;
    world.happens("order.placed", "anna", "o-1").await;
    let request = ArchiveCampaignRequest { campaign_id: "check-in".into(), note: "no more".into() };
    let archived = world.campaigns.archive_campaign(request.clone()).await.unwrap().into_inner();
    assert_eq!((archived.canceled_contacts, archived.campaign.unwrap().state()), (1, State::Archived));
    let contact = world.contacts_of("anna").await.remove(0);
    assert_eq!(contact.state(), contact::State::Canceled);
    assert_eq!(contact.block.unwrap().reason(), BlockReason::CampaignEnded);
    let request_all = ListEnrollmentsRequest { campaign_id: "check-in".into(), ..Default::default() };
    let ended = world.campaigns.list_enrollments(request_all).await.unwrap().into_inner().enrollments.remove(0);
    assert_eq!(ended.end_cause(), enrollment::EndCause::Archived);
    assert!(world.happens("order.placed", "bo", "o-2").await.effects.is_empty());
    assert_eq!(world.campaigns.archive_campaign(request).await.unwrap().into_inner().canceled_contacts, 0);

    // A newsletter for those who wake up late: what waits for them is called off, what was not reached is counted.
    let quiet = rapport::rpc::proto::QuietHours { start: "08:00".into(), end: "12:00".into(), ..Default::default() };
    let preferences = rapport::rpc::proto::Preferences { quiet_hours: Some(quiet), ..Default::default() };
    let request = rapport::rpc::proto::UpdatePreferencesRequest {
        customer: by_name("anna"),
        preferences: Some(preferences),
        ..Default::default()
    };
    world.preferences.update_preferences(request).await.unwrap();
    world.campaign(newsletter("news", at_instant("2026-02-03T09:00:00Z"))).await;
    carry_out_at(&mut world, "2026-02-03T09:00:00Z").await;
    assert_eq!(readers(&world), ["bo"]);
    let run = runs(&mut world, "news").await.remove(0);
    assert_eq!((run.state(), run.stats.unwrap().scheduled), (campaign_run::State::Running, 1));
    let request = ArchiveCampaignRequest { campaign_id: "news".into(), note: String::new() };
    let archived = world.campaigns.archive_campaign(request).await.unwrap().into_inner();
    // Whoever carries newsletters out may have been quicker.
    assert!(archived.canceled_contacts <= 1);
    carry_out_at(&mut world, "2026-02-03T13:00:00Z").await;
    assert_eq!(readers(&world), ["bo"]);
    let run = runs(&mut world, "news").await.remove(0);
    let told = run.stats.clone().unwrap();
    assert_eq!((run.state(), told.sent, told.canceled), (campaign_run::State::Canceled, 1, 1));
    assert!(run.end_time.is_some() && adds_up(&told));
}

#[tokio::test]
async fn a_pause_holds_the_cursor_and_what_comes_too_late_is_counted_as_expired() {
    let mut world = World::new().await;
    offers(&mut world).await;
    for name in ["anna", "bo", "cai"] {
        reader(&mut world, name, "").await;
    }
    world.campaign(newsletter("news", at_instant("2026-02-03T09:00:00Z"))).await;
    let pause = rapport::rpc::proto::PauseDispatchRequest { reason: "a look".into(), ..Default::default() };
    let pause = world.admin.pause_dispatch(pause).await.unwrap().into_inner().pause.unwrap();
    carry_out_at(&mut world, "2026-02-03T09:00:00Z").await;
    let request = PauseCampaignRequest { campaign_id: "news".into(), note: String::new() };
    world.campaigns.pause_campaign(request).await.unwrap();
    let request = rapport::rpc::proto::ResumeDispatchRequest { pause_id: pause.pause_id };
    world.admin.resume_dispatch(request).await.unwrap();
    carry_out(&mut world).await;
    assert!(world.mail().is_empty());
    carry_out_at(&mut world, "2026-02-06T09:00:00Z").await;
    let request = ResumeCampaignRequest { campaign_id: "news".into() };
    world.campaigns.resume_campaign(request).await.unwrap();
    carry_out(&mut world).await;
    let run = runs(&mut world, "news").await.remove(0);
    let told = run.stats.clone().unwrap();
    assert_eq!((run.state(), told.audience, told.expired), (campaign_run::State::Finished, 3, 3));
    assert!(adds_up(&told) && world.mail().is_empty());
    assert_eq!(get(&mut world, "news").await.state(), State::Completed);
}

#[tokio::test]
async fn a_campaign_acts_inside_its_active_range_alone() {
    let mut world = World::new().await;
    world.shop().await;
    reader(&mut world, "anna", "").await;
    let range = TimeRange { start_time: Some(at("2026-02-04T00:00:00Z")), end_time: Some(at("2026-02-06T00:00:00Z")) };
    let daily = newsletter("news", Trigger::Recurring(recurring("0 9 * * *", Some("UTC"))));
    let news = world.campaign(Campaign { active_range: Some(range), ..daily }).await;
    let times: Vec<String> = news.upcoming_fire_times.iter().map(|time| shown(Some(*time))).collect();
    assert_eq!(times, ["2026-02-04T09:00:00Z", "2026-02-05T09:00:00Z"]);
    let thanks = campaign("thanks", "orders", vec![step("thank", after_hours(48), "check-in")]);
    world.campaign(Campaign { active_range: Some(range), ..thanks }).await;
    let enrolled = |effects: Vec<rapport::rpc::proto::CampaignEffect>| {
        effects.into_iter().any(|effect| effect.campaign_id == "thanks")
    };
    assert!(!enrolled(world.happens("order.placed", "anna", "o-1").await.effects));
    carry_out_at(&mut world, "2026-02-03T09:00:00Z").await;
    assert_eq!(world.subjects(), ["check-in for anna"]);
    carry_out_at(&mut world, "2026-02-05T09:00:00Z").await;
    assert!(enrolled(world.happens("order.placed", "anna", "o-2").await.effects));
    let sent = world.mail().len();
    carry_out_at(&mut world, "2026-02-08T09:00:00Z").await;
    assert_eq!(
        (get(&mut world, "news").await.state(), get(&mut world, "thanks").await.state()),
        (State::Completed, State::Completed)
    );
    // The check-in of the shop's own campaign, which has no end, and nothing else.
    let later = &world.subjects()[sent..];
    assert_eq!(later, ["check-in for anna"]);
    assert_eq!(stats(&mut world, "thanks").await.canceled, 1);
    let over = Campaign {
        active_range: Some(range),
        ..campaign("late", "orders", vec![step("ask", after_hours(1), "check-in")])
    };
    world
        .campaigns
        .create_campaign(CreateCampaignRequest { campaign: Some(over), ..Default::default() })
        .await
        .unwrap();
    let request = ActivateCampaignRequest { campaign_id: "late".into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.activate_campaign(request).await), "CAMPAIGN_NEVER_FIRES");
}

#[tokio::test]
async fn numbers_are_given_for_a_range_and_by_interval() {
    let mut world = World::new().await;
    offers(&mut world).await;
    reader(&mut world, "anna", "").await;
    world.customer("bo", "").await;
    world.campaign(newsletter("news", Trigger::Recurring(recurring("0 9 * * *", Some("UTC"))))).await;
    for day in ["03", "04", "06"] {
        carry_out_at(&mut world, &format!("2026-02-{day}T09:00:00Z")).await;
    }
    let range = TimeRange { start_time: Some(at("2026-02-04T00:00:00Z")), end_time: Some(at("2026-02-07T00:00:00Z")) };
    let request = |range, interval: StatsInterval| GetCampaignStatsRequest {
        campaign_id: "news".into(),
        range,
        interval: interval.into(),
    };
    let answer =
        world.campaigns.get_campaign_stats(request(Some(range), StatsInterval::Day)).await.unwrap().into_inner();
    let whole = answer.stats.unwrap();
    assert_eq!((whole.audience, whole.sent, whole.suppressed), (4, 2, 2));
    let points: Vec<(String, i64, i64)> = answer
        .points
        .iter()
        .map(|point| {
            (shown(point.start_time), point.stats.as_ref().unwrap().sent, point.stats.as_ref().unwrap().suppressed)
        })
        .collect();
    assert_eq!(points, [("2026-02-04T00:00:00Z".into(), 1, 1), ("2026-02-06T00:00:00Z".into(), 1, 1)]);
    assert_eq!(
        wrong_fields(world.campaigns.get_campaign_stats(request(None, StatsInterval::Hour)).await),
        ["range.startTime"]
    );
    let wide = TimeRange { start_time: Some(at("2020-01-01T00:00:00Z")), end_time: None };
    assert_eq!(
        wrong_fields(world.campaigns.get_campaign_stats(request(Some(wide), StatsInterval::Hour)).await),
        ["interval"]
    );
}

#[tokio::test]
async fn a_newsletter_addresses_whom_its_filter_matches_and_counts_nobody_else() {
    let mut world = World::new().await;
    offers(&mut world).await;
    for (name, tag) in [("anna", "vip"), ("bo", "vip"), ("cai", "new"), ("dora", "")] {
        world.customer_with(name, |customer| customer.tags.extend((!tag.is_empty()).then(|| tag.to_owned()))).await;
        world.consent(name, "offers", Decision::Grant).await;
    }
    world.consent("bo", "offers", Decision::Withdraw).await;
    let news = newsletter("news", at_instant("2026-02-03T09:00:00Z"));
    world.campaign(Campaign { audience_filter: "tags:\"vip\"".to_owned(), ..news }).await;
    carry_out_at(&mut world, "2026-02-03T09:00:00Z").await;
    assert_eq!(readers(&world), ["anna"]);
    let told = stats(&mut world, "news").await;
    assert_eq!((told.audience, told.sent, told.suppressed), (2, 1, 1));
}

#[tokio::test]
async fn whoever_has_left_the_audience_before_it_is_sent_gets_nothing() {
    let mut world = World::new().await;
    offers(&mut world).await;
    for name in ["anna", "bo"] {
        world.customer_with(name, |customer| customer.tags.push("vip".to_owned())).await;
        world.consent(name, "offers", Decision::Grant).await;
        let quiet =
            rapport::rpc::proto::QuietHours { start: "08:00".into(), end: "12:00".into(), ..Default::default() };
        let preferences = rapport::rpc::proto::Preferences { quiet_hours: Some(quiet), ..Default::default() };
        let request = rapport::rpc::proto::UpdatePreferencesRequest {
            customer: by_name(name),
            preferences: Some(preferences),
            ..Default::default()
        };
        world.preferences.update_preferences(request).await.unwrap();
    }
    let news = newsletter("news", at_instant("2026-02-03T09:00:00Z"));
    let filter = "tags:\"vip\" AND addresses.value:\"*@example.com\" AND external_ids:*".to_owned();
    world.campaign(Campaign { audience_filter: filter, ..news }).await;
    carry_out_at(&mut world, "2026-02-03T09:00:00Z").await;
    assert!(world.mail().is_empty());
    let request = UpdateCustomerRequest {
        target: by_name("bo"),
        customer: Some(Customer::default()),
        update_mask: Some(prost_types::FieldMask { paths: vec!["tags".to_owned()] }),
        ..UpdateCustomerRequest::default()
    };
    world.customers.update_customer(request).await.unwrap();
    carry_out_at(&mut world, "2026-02-03T12:00:00Z").await;
    assert_eq!(readers(&world), ["anna"]);
    let told = stats(&mut world, "news").await;
    assert!(adds_up(&told));
    let blocks: Vec<_> = told.blocks.iter().map(|block| (block.reason(), block.count)).collect();
    assert_eq!((told.audience, told.sent, blocks), (2, 1, vec![(BlockReason::NotInAudience, 1)]));
}

#[tokio::test]
async fn a_newsletter_has_one_message_and_times_that_come() {
    let mut world = World::new().await;
    offers(&mut world).await;
    let ask = |campaign: Campaign| CreateCampaignRequest { campaign: Some(campaign), ..Default::default() };
    for (trigger, fields) in [
        (Trigger::Recurring(recurring("0 0 9 * * *", Some("UTC"))), vec!["campaign.recurring.cron"]),
        (Trigger::Recurring(recurring("*/20 9 * * *", Some("UTC"))), vec!["campaign.recurring.cron"]),
        (Trigger::Recurring(recurring("0 9 30 2 *", None)), vec!["campaign.recurring.cron"]),
        (Trigger::Recurring(recurring("0 9 * * *", Some("CET+1"))), vec!["campaign.recurring.timeZone"]),
        (
            Trigger::Recurring(RecurringTrigger { zone: None, ..recurring("", None) }),
            vec!["campaign.recurring.cron", "campaign.recurring"],
        ),
        (
            Trigger::Recurring(RecurringTrigger {
                catch_up: CatchUpPolicy::Skip.into(),
                catch_up_window_minutes: 5,
                ..recurring("0 9 * * *", None)
            }),
            vec!["campaign.recurring.catchUpWindowMinutes"],
        ),
        (at_local("2026-02-30T09:00"), vec!["campaign.oneOff.localTime"]),
        (Trigger::OneOff(OneOffTrigger { at: None }), vec!["campaign.oneOff"]),
    ] {
        let answer = world.campaigns.create_campaign(ask(newsletter("news", trigger.clone()))).await;
        assert_eq!(wrong_fields(answer), fields, "{trigger:?}");
    }
    let once = || at_instant("2026-02-03T09:00:00Z");
    let two = vec![step("one", after_hours(0), "offer"), step("two", after_hours(1), "offer")];
    let exits = vec![rapport::rpc::proto::Exit { event_type: "order.placed".into(), ..Default::default() }];
    let wrong = Campaign { steps: two, exits, ..newsletter("news", once()) };
    let answer = world.campaigns.create_campaign(ask(wrong)).await;
    assert_eq!(wrong_fields(answer), ["campaign.steps", "campaign.steps[1].delay", "campaign.exits"]);

    world.campaigns.create_campaign(ask(newsletter("late", at_instant("2026-02-02T09:00:00Z")))).await.unwrap();
    let request = ActivateCampaignRequest { campaign_id: "late".into(), ..Default::default() };
    assert_eq!(refusal(world.campaigns.activate_campaign(request).await), "CAMPAIGN_NEVER_FIRES");
    world.campaign(newsletter("news", once())).await;
    let follow_up = Campaign { campaign_id: "news".into(), ..campaign("news", "offers", vec![]) };
    let request = UpdateCampaignRequest {
        campaign: Some(Campaign { steps: vec![], display_name: String::new(), topic_id: String::new(), ..follow_up }),
        ..Default::default()
    };
    assert_eq!(refusal(world.campaigns.update_campaign(request).await), "CAMPAIGN_NOT_DRAFT");
    world.topic("orders", Purpose::Service, rapport::rpc::proto::topic::OptIn::None).await;
    world.template("check-in").await;
    world.campaign(campaign("check-in", "orders", vec![step("ask", after_hours(24), "check-in")])).await;
    assert_eq!(refusal(run_now(&mut world, "check-in").await), "NOT_A_NEWSLETTER");
}

#[tokio::test]
async fn a_preview_says_when_a_newsletter_would_go_out_that_is_not_stored_yet() {
    let mut world = World::new().await;
    offers(&mut world).await;
    let local = Trigger::Recurring(recurring("0 9 * * MON", None));
    let plan = newsletter("news", local);
    let request = PreviewCampaignRequest { source: Some(Source::Inline(plan.clone())), sample_size: 1 };
    let preview = world.campaigns.preview_campaign(request).await.unwrap().into_inner();
    assert_eq!((preview.fire_times.len(), shown(Some(preview.fire_times[0]))), (10, "2026-02-09T09:00:00Z".to_owned()));
    let stored = world.campaign(plan).await;
    assert_eq!(stored.upcoming_fire_times, preview.fire_times);
    let request = PreviewCampaignRequest { source: Some(Source::CampaignId("news".into())), sample_size: 1 };
    let preview = world.campaigns.preview_campaign(request).await.unwrap().into_inner();
    assert_eq!(stored.upcoming_fire_times, preview.fire_times);

    let follow_up = campaign("check-in", "offers", vec![step("ask", after_hours(24), "offer")]);
    let request = PreviewCampaignRequest { source: Some(Source::Inline(follow_up)), sample_size: 1 };
    assert!(world.campaigns.preview_campaign(request).await.unwrap().into_inner().fire_times.is_empty());
}

#[tokio::test]
async fn a_newsletter_tells_the_stories_that_its_campaign_gives_it() {
    let mut world = World::new().await;
    offers(&mut world).await;
    let stories = "{% for story in data.stories %}{{ story.title }}. {% endfor %}";
    world.template_with("letter", "{{ data.title | default('News') }}", stories).await;
    for name in ["anna", "ben"] {
        reader(&mut world, name, "").await;
    }
    let data = json!({"title": "Spring", "stories": [{"title": "Tulips"}, {"title": "Bees"}]});
    let send = with_data(Step { delay: None, ..step("send", after_hours(0), "letter") }, data);
    let trigger = at_instant("2026-02-02T10:00:00Z");
    world.campaign(Campaign { steps: vec![send], ..newsletter("spring", trigger) }).await;
    world.live_until("2026-02-02T10:00:00Z").await;
    carry_out(&mut world).await;
    assert_eq!(world.subjects(), ["Spring", "Spring"]);
    assert!(world.mail().iter().all(|mail| mail.words().starts_with("Tulips. Bees.")));
    assert_eq!(world.contacts_of("anna").await.pop().unwrap().data, None, "nobody has a copy");
}

#[tokio::test]
async fn the_step_of_a_newsletter_sends_to_the_whole_audience_or_is_refused() {
    let mut world = World::new().await;
    offers(&mut world).await;
    let send = Step { delay: None, ..step("send", after_hours(0), "offer") };
    let some = Step { condition_filter: "customer.attributes.plan = \"pro\"".into(), ..send.clone() };
    let waits = Step { delay: None, ..wait_step("send", "order.placed", 1) };
    let update = rapport::rpc::proto::UpdateAction { add_tags: vec!["asked".into()], ..Default::default() };
    let updates = Step { action: Some(rapport::rpc::proto::step::Action::Update(update)), ..send.clone() };
    let anchor = rapport::rpc::proto::delay::Anchor::Field.into();
    let delay = Delay { anchor, field: "customer.attributes.birthday".into(), ..after_hours(0) };
    let on_a_day = Step { delay: Some(delay), ..send.clone() };
    for trigger in [at_instant("2026-02-03T09:00:00Z"), Trigger::Recurring(recurring("0 9 * * *", None))] {
        for (wrong, fields) in [
            (some.clone(), ["campaign.steps[0].conditionFilter"]),
            (waits.clone(), ["campaign.steps[0].send"]),
            (updates.clone(), ["campaign.steps[0].send"]),
            (on_a_day.clone(), ["campaign.steps[0].delay"]),
        ] {
            let campaign = Campaign { steps: vec![wrong], ..newsletter("news", trigger.clone()) };
            let request = CreateCampaignRequest { campaign: Some(campaign), ..Default::default() };
            assert_eq!(wrong_fields(world.campaigns.create_campaign(request).await), fields, "{trigger:?}");
        }
    }
}
