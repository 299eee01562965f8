//! Campaigns that no event starts: newsletters, dates, and whoever begins to match.

use chrono::TimeDelta;
use rapport::rpc::proto::{
    self, AudienceTrigger, BlockReason, Campaign, DateTrigger, OneOffTrigger, RecurringTrigger, campaign::Trigger,
    date_trigger, one_off_trigger, recurring_trigger, reentry,
};

use super::{
    Fate, assert_same, inline, real_fates, rehearse_in, rehearsed_fates, stats_of,
    town::{START, Town, thank_you},
};
use crate::harness::{World, after_days, after_hours, at, campaign, step, wrong_fields};

/// Twice a month in the morning, where each customer lives, to those who bought something lately.
fn newsletter() -> Campaign {
    let trigger = RecurringTrigger {
        cron: "30 9 1,15 * *".to_owned(),
        zone: Some(recurring_trigger::Zone::CustomerTimeZone(true)),
        ..RecurringTrigger::default()
    };
    let send = proto::Step { delay: None, ..step("news", after_hours(0), "thank-you") };
    Campaign {
        trigger: Some(Trigger::Recurring(trigger)),
        audience_filter: "event_count(\"order.placed\", 30) >= 1".to_owned(),
        ..campaign("news", "offers", vec![send])
    }
}

/// Wishes on the day in the morning, and something more two days later.
fn birthday() -> Campaign {
    let trigger = DateTrigger {
        attribute: "birthday".to_owned(),
        recurrence: date_trigger::Recurrence::Yearly.into(),
        leap_day: date_trigger::LeapDay::March1.into(),
    };
    let steps = vec![step("wishes", after_days(0, "09:00"), "thank-you"), step("more", after_hours(50), "thank-you")];
    Campaign { trigger: Some(Trigger::Date(trigger)), ..campaign("birthday", "offers", steps) }
}

/// Whoever has not bought anything for two weeks, or gave something back in the last days: some begin to match by what happens, and
/// some as time goes by.
fn silent() -> Campaign {
    let audience_filter = "event_count(\"order.refunded\", 3) >= 1 OR \
        (event_count(\"order.placed\", 14) = 0 AND days_since(last_event(\"order.placed\")) < 31)";
    let steps = vec![step("hello", after_hours(1), "thank-you"), step("again", after_hours(5), "thank-you")];
    Campaign {
        trigger: Some(Trigger::Audience(AudienceTrigger {})),
        audience_filter: audience_filter.to_owned(),
        reentry: Some(proto::Reentry { mode: reentry::Mode::Always.into(), cooldown_days: 0 }),
        ..campaign("silent", "offers", steps)
    }
}

/// A campaign lived through in one town, and rehearsed in another where it never was.
async fn lived_and_rehearsed(
    plan: Campaign,
    range: (&str, &str),
    look_every: Option<TimeDelta>,
) -> (Vec<Fate>, proto::RehearseCampaignResponse, Town) {
    let id = plan.campaign_id.clone();
    let mut with = Town::settle().await;
    with.live_until(range.0).await;
    with.begin(plan.clone(), look_every).await;
    with.live_until(range.1).await;
    let expected = real_fates(&mut with.world, &with.names, &id).await;

    let mut without = Town::settle().await;
    without.live_until(range.1).await;
    let request = rehearse_in(range, inline(plan));
    let answer = without.world.campaigns.rehearse_campaign(request).await.unwrap().into_inner();
    assert_same(&rehearsed_fates(&without.names, &answer), &expected);
    assert_eq!(answer.stats, Some(stats_of(&mut with.world, &id).await));
    assert_eq!(answer.share, 256);
    (expected, answer, with)
}

#[tokio::test]
async fn a_newsletter_in_local_time_is_rehearsed_as_it_goes_out() {
    // The second of its times has come everywhere but in the west of America.
    let range = (START, "1998-05-01T12:00:30Z");
    let (fates, answer, mut with) = lived_and_rehearsed(newsletter(), range, None).await;
    let stats = answer.stats.unwrap();
    assert!(stats.remaining > 3 && stats.sent > 60, "{stats:?}");
    let reasons: Vec<_> = stats.blocks.iter().map(proto::BlockCount::reason).collect();
    for reason in [BlockReason::NoConsent, BlockReason::OptedOut, BlockReason::FrequencyCap] {
        assert!(reasons.contains(&reason), "{reason:?} is not in {reasons:?}");
    }
    let times: std::collections::BTreeSet<_> = fates.iter().map(|(_, _, due, ..)| *due).collect();
    assert!(times.len() > 6, "it went out in {} zones and twice", times.len());
    assert!(answer.collisions > 3, "{}", answer.collisions);
    assert!(answer.customers > 200, "{}", answer.customers);

    // What newsletters sent is played like everything else that others sent.
    let request = rehearse_in(range, inline(thank_you()));
    let other = with.world.campaigns.rehearse_campaign(request).await.unwrap().into_inner();
    assert!(other.collisions > 0 && other.stats.unwrap().sent > 20);
}

#[tokio::test]
async fn a_birthday_is_rehearsed_as_it_is_greeted() {
    let range = (START, "1998-04-04T00:00:30Z");
    let (fates, answer, _) = lived_and_rehearsed(birthday(), range, Some(TimeDelta::minutes(10))).await;
    let stats = answer.stats.unwrap();
    assert!(stats.sent > 10 && stats.scheduled > 0, "{stats:?}");
    assert!(fates.iter().any(|(_, step, ..)| step == "more"));
    assert!(answer.customers < 150, "those without a birthday in these days are not played: {}", answer.customers);
}

#[tokio::test]
async fn whoever_begins_to_match_is_rehearsed_from_the_minute_on() {
    let range = ("1998-04-20T00:00:30Z", "1998-04-21T00:00:30Z");
    let (fates, answer, _) = lived_and_rehearsed(silent(), range, Some(TimeDelta::minutes(1))).await;
    let stats = answer.stats.unwrap();
    assert!(stats.audience > 2 && stats.sent > 0, "{stats:?}");
    let minutes: std::collections::BTreeSet<_> = fates.iter().map(|(_, _, due, ..)| *due).collect();
    assert!(minutes.len() > 1, "{minutes:?}");
}

#[tokio::test]
async fn what_does_not_go_out_in_the_range_cannot_be_rehearsed() {
    let mut world = World::at("2026-03-01T00:00:00Z").await;
    world.shop().await;
    let range = ("2026-02-01T00:00:00Z", "2026-02-28T00:00:00Z");
    let send = || vec![proto::Step { delay: None, ..step("send", after_hours(0), "offer") }];
    let once = |time: &str| {
        let at = Some(one_off_trigger::At::SendTime(at(time)));
        Campaign { trigger: Some(Trigger::OneOff(OneOffTrigger { at })), ..campaign("news", "offers", send()) }
    };
    for time in ["2026-03-02T09:00:00Z", "2026-02-28T00:00:00Z", "2026-02-01T00:00:00Z"] {
        let request = rehearse_in(range, inline(once(time)));
        assert_eq!(wrong_fields(world.campaigns.rehearse_campaign(request).await), ["inline.oneOff"], "{time}");
    }
    let yearly = RecurringTrigger {
        cron: "0 9 24 12 *".to_owned(),
        zone: Some(recurring_trigger::Zone::TimeZone("Europe/Riga".to_owned())),
        ..RecurringTrigger::default()
    };
    let christmas = Campaign { trigger: Some(Trigger::Recurring(yearly)), ..once("2026-02-02T09:00:00Z") };
    let request = rehearse_in(range, inline(christmas));
    assert_eq!(wrong_fields(world.campaigns.rehearse_campaign(request).await), ["range"]);
    let more = vec![proto::Step { delay: None, ..step("more", after_hours(0), "offer") }];
    let shapeless = Campaign { steps: [send(), more].concat(), ..once("2026-02-02T09:00:00Z") };
    let request = rehearse_in(range, inline(shapeless));
    assert_eq!(wrong_fields(world.campaigns.rehearse_campaign(request).await), ["inline.steps"]);

    // Whenever it is to act, it acts while it is rehearsed.
    let later = proto::TimeRange { start_time: Some(at("2026-06-01T00:00:00Z")), end_time: None };
    let draft = Campaign { active_range: Some(later), ..once("2026-02-02T09:00:00Z") };
    let request = rehearse_in(range, inline(draft));
    let answer = world.campaigns.rehearse_campaign(request).await.unwrap().into_inner();
    assert_eq!((answer.customers, answer.share), (0, 256));
}
